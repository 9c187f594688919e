"""What an architecture costs: profiling, proxy training, search, results, export.

The verbs are `profile`, `evaluate`, `search` and `export`, beside the module `results`.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from explorer.evaluate import Setup
from explorer.limits import Limits

if TYPE_CHECKING:
    from explorer.evaluate import evaluate
    from explorer.export import export
    from explorer.profile import profile
    from explorer.search import search
else:
    from explorer import evaluate, export, profile, search


class Verb(ModuleType):
    """A room that can be called by its verb: `explorer.search(...)` is `explorer.search.search(...)`.

    Were the function put here in the room's place, `import explorer.search.study` would not find its way any more.
    """

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call the function of the room's name."""
        return vars(self)[self.__name__.rpartition(".")[2]](*args, **options)


for _verb in ("evaluate", "export", "profile", "search"):
    sys.modules[f"explorer.{_verb}"].__class__ = Verb

__all__ = ["Limits", "Setup", "evaluate", "export", "profile", "search"]
