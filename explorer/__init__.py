"""What an architecture costs: profiling, proxy training, search, results, export.

The verbs are `profile`, `evaluate`, `calibrate`, `search`, `measure`, `attach`, `bench`, `export`, `train` and
`explain`, beside the module `results`.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from explorer.limits import Limits
from explorer.search.resources import Cluster
from explorer.setup import Setup

if TYPE_CHECKING:
    from explorer.attach import attach
    from explorer.bench import bench
    from explorer.calibrate import calibrate
    from explorer.evaluate import evaluate
    from explorer.explain import explain
    from explorer.export import export
    from explorer.measure import measure
    from explorer.profile import profile
    from explorer.search import search
    from explorer.train import train
else:
    from explorer import attach, bench, calibrate, evaluate, explain, export, measure, profile, search, train

VERBS = ("attach", "bench", "calibrate", "evaluate", "explain", "export", "measure", "profile", "search", "train")


class Verb(ModuleType):
    """A room that can be called by its verb: `explorer.search(...)` is `explorer.search.search(...)`.

    Were the function put here in the room's place, `import explorer.search.study` would not find its way any more.
    """

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call the function of the room's name."""
        return vars(self)[self.__name__.rpartition(".")[2]](*args, **options)


for _verb in VERBS:
    sys.modules[f"explorer.{_verb}"].__class__ = Verb

__all__ = [
    "Cluster",
    "Limits",
    "Setup",
    "attach",
    "bench",
    "calibrate",
    "evaluate",
    "explain",
    "export",
    "measure",
    "profile",
    "search",
    "train",
]
