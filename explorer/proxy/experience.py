"""What earlier trainings on this machine saw of faster ways to run steps, and what is expected of the next from it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from explorer.folders import state_folder
from explorer.whole import replacing

FORMAT = "vitscape/training_speed@1"
KEPT = 20  # last trainings of a kind that count
MARGIN = 1.5  # times its cost that a way must be expected to save


@dataclass(frozen=True)
class Expected:
    """Of one way of running steps."""

    cost_s: float  # to prepare it
    speedup: float  # eager time of a step over its own


PRIOR = {  # before anything was seen; conservative
    "graph/launch": Expected(2.0, 1.3),  # the host is the slower one: a graph launches all kernels at once
    "graph/compute": Expected(2.0, 1.0),
    "compile/launch": Expected(90.0, 1.2),
    "compile/compute": Expected(90.0, 1.2),
}


def worth_trying(step_s: float, steps_left: int, expected: Mapping[str, Expected]) -> str | None:
    """The way that is expected to save most of `steps_left` eager steps of `step_s` seconds; None: none pays.

    >>> worth_trying(0.004, 10_000, {"graph": Expected(2.0, 2.0)})
    'graph'
    """

    def saving(way: str) -> float:
        one = expected[way]
        return steps_left * step_s * (1 - 1 / one.speedup) - MARGIN * one.cost_s

    best = max(expected, key=saving, default=None)
    return best if best is not None and saving(best) > 0 else None


class Experience:
    """Of one kind of device, as "NVIDIA H200"; in a small file of the user's, which is ignored where it is no such."""

    def __init__(self, device: str, path: Path | None = None) -> None:
        self.device = device
        self.path = path or state_folder() / "training_speed.json"

    def expected(self, kind: str) -> Expected:
        """What the next training of a kind, such as "graph/launch", is expected to see: medians of the last ones."""
        seen = self._read().get(self.device, {}).get(kind, [])
        if not seen:
            return PRIOR[kind]
        return Expected(median(one[0] for one in seen), median(one[1] for one in seen))

    def learn(self, kind: str, found: Expected) -> None:
        """Note what a training saw. Where the file cannot be written, nothing is noted."""
        devices = self._read()
        seen = devices.setdefault(self.device, {}).setdefault(kind, [])
        seen.append([round(found.cost_s, 3), round(found.speedup, 4)])
        del seen[:-KEPT]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.path) as part:
                part.write_text(json.dumps({"format": FORMAT, "devices": devices}, indent=1))
        except OSError:
            return

    def _read(self) -> dict[str, dict[str, list[list[float]]]]:
        try:
            found = json.loads(self.path.read_text())
            if found["format"] != FORMAT:
                return {}
            return {
                str(device): {str(kind): [_pair(one) for one in seen] for kind, seen in kinds.items()}
                for device, kinds in found["devices"].items()
            }
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return {}


def _pair(found: list[float]) -> list[float]:
    cost, speedup = (float(value) for value in found)
    if not (0 <= cost < math.inf and 0 < speedup < math.inf):
        raise ValueError(found)
    return [cost, speedup]
