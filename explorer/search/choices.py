"""What a network is, as numbers that networks can be compared by: its choices and its sizes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from explorer.record import Evaluation

Floats: TypeAlias = NDArray[np.float64]
Traits: TypeAlias = Mapping[str, float]  # of a network, by name; what it has not is left out


def traits(architecture: Mapping[str, Any], known: Evaluation) -> dict[str, float]:
    """The choices of a canonical architecture, and its MACs, parameters and activations: numbers by their logarithm.

    A choice among words is a trait of its own for each word: {"stages.0.mixer.kind=window": 1.0}.
    """
    sizes = {"macs": known.macs, "params": known.params, "activations": known.activations}
    return dict(_leaves(architecture)) | {name: math.log(max(value, 1)) for name, value in sizes.items()}


def _leaves(part: Any, name: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(part, Mapping | Sequence) and not isinstance(part, str):
        for key, value in part.items() if isinstance(part, Mapping) else enumerate(part):
            yield from _leaves(value, f"{name}.{key}" if name else str(key))
    elif isinstance(part, bool | str):
        yield f"{name}={part}", 1.0
    elif part is not None:
        yield name, math.log1p(max(part, 0.0))


class Scale:
    """Traits on one scale, as those of some networks are spread. What all of them have alike tells nothing."""

    def __init__(self, networks: Sequence[Traits]) -> None:
        words = {name for one in networks for name in one if "=" in name}
        table = {name: np.array([one.get(name, 0.0 if "=" in name else np.nan) for one in networks]) for name in words}
        numbers = {name for one in networks for name in one} - words
        table |= {name: np.array([one.get(name, np.nan) for one in networks]) for name in numbers}
        self.known = frozenset(table)
        self.at = {name: (float(np.nanmean(column)), float(np.nanstd(column))) for name, column in table.items()}
        self.names = sorted(name for name, (_, spread) in self.at.items() if spread > 1e-9)

    def rows(self, networks: Sequence[Traits]) -> Floats:
        """(networks, traits + 1) such that the squared distance of two usual networks is about 2.

        A number that a network has not is taken for the mean; the last column counts what no known network has.
        """
        found = np.zeros((len(networks), len(self.names) + 1))
        for row, one in zip(found, networks, strict=True):
            for place, name in enumerate(self.names):
                mean, spread = self.at[name]
                row[place] = (one.get(name, 0.0 if "=" in name else mean) - mean) / spread
            row[-1] = math.sqrt(sum(name not in self.known for name in one))
        return found / math.sqrt(max(len(self.names), 1))
