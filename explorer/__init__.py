"""What an architecture costs: profiling, proxy training, search, results, export.

The verbs are `profile`, `evaluate`, `search`, `export`, and the module `results`.
"""

from explorer.evaluate import Setup, evaluate
from explorer.export import export
from explorer.limits import Limits
from explorer.profile import profile
from explorer.search import search

__all__ = ["Limits", "Setup", "evaluate", "export", "profile", "search"]
