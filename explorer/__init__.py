"""What an architecture costs: profiling, proxy training, search, results, export.

The verbs are `profile`, `evaluate`, `search`, `measure`, `attach` and `export`, beside the module `results`.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from explorer.limits import Limits
from explorer.search.resources import Cluster
from explorer.setup import Setup

if TYPE_CHECKING:
    from explorer.attach import attach
    from explorer.evaluate import evaluate
    from explorer.export import export
    from explorer.measure import measure
    from explorer.profile import profile
    from explorer.search import search
else:
    from explorer import attach, evaluate, export, measure, profile, search


class Verb(ModuleType):
    """A room that can be called by its verb: `explorer.search(...)` is `explorer.search.search(...)`.

    Were the function put here in the room's place, `import explorer.search.study` would not find its way any more.
    """

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call the function of the room's name."""
        return vars(self)[self.__name__.rpartition(".")[2]](*args, **options)


for _verb in ("attach", "evaluate", "export", "measure", "profile", "search"):
    sys.modules[f"explorer.{_verb}"].__class__ = Verb

__all__ = ["Cluster", "Limits", "Setup", "attach", "evaluate", "export", "measure", "profile", "search"]
