"""Points as rows of indicators: for each parameter a column of values, and how far apart two of its values are, 0 to 1.

A value that one of two points does not have at all (of another mixer, say) is as far as can be from any that it has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from explorer.search.pareto.tree import count, external

Array: TypeAlias = NDArray[np.float64]
Levels: TypeAlias = dict[str, int]  # of a point, by column

BINS = 12  # of a parameter with more values than MOST_LEVELS
MOST_LEVELS = 40
REMEMBERED = 20_000  # values whose places are kept
NO_VALUE = -1  # of points that have no value in a column
UNEQUAL = 0.4  # how far apart two neighbours on a long scale are at least


class Level(NamedTuple):
    """A value of a column: what it is called, and where on a scale it is, if it is on one."""

    label: str
    place: float | None


class Columns:
    """The values that points have; `column_of` says which parameters are one choice under several names."""

    def __init__(self, column_of: Callable[[str], str]) -> None:
        self.column_of = column_of
        self.levels: list[Level] = []
        self._numbers: dict[tuple[str, str], int] = {}  # (column, label) -> place in levels
        # (parameter, value) of the distribution it was last looked up in: which column, and place in levels
        self._known: dict[tuple[str, float], tuple[BaseDistribution, str, int]] = {}

    def row(self, values: Mapping[str, float], distributions: Mapping[str, BaseDistribution]) -> Levels:
        """The levels of a point's values."""
        found = {}
        for name, value in values.items():
            distribution, known = distributions[name], self._known.get((name, value))
            if known is None or known[0] is not distribution:
                if len(self._known) >= REMEMBERED:
                    self._known.clear()
                known = self._known[name, value] = (distribution, *self._looked_up(name, value, distribution))
            found[known[1]] = known[2]
        return found

    def _looked_up(self, name: str, value: float, distribution: BaseDistribution) -> tuple[str, int]:
        """The column of a parameter's value, and its place in the levels."""
        column, level = self.column_of(name), _level(distribution, value)
        number = self._numbers.setdefault((column, level.label), len(self.levels))
        if number == len(self.levels):
            self.levels.append(level)
        return column, number

    def table(self, rows: list[Levels]) -> Table:
        """The rows as indicators; it follows from them alone, not from what was seen before."""
        names = sorted({name for row in rows for name in row})
        place = {name: i for i, name in enumerate(names)}
        numbers = np.full((len(rows), len(names)), NO_VALUE, dtype=np.intp)
        for i, row in enumerate(rows):
            for name, number in row.items():
                numbers[i, place[name]] = number
        found, distances, ranks = np.zeros_like(numbers), [], list[dict[int, int]]()
        for j in range(len(names)):
            used = np.union1d(numbers[:, j], (NO_VALUE,))
            levels = [Level("", None) if number == NO_VALUE else self.levels[number] for number in used]
            order = sorted(range(len(levels)), key=lambda k: levels[k].label)
            rank = np.empty(len(order), dtype=np.intp)
            rank[order] = np.arange(len(order))
            found[:, j] = rank[np.searchsorted(used, numbers[:, j])]
            ranks.append(dict(zip(used.tolist(), rank.tolist(), strict=True)))
            distances.append(_distances([levels[k].place for k in order]))
        return Table(names, found, distances, ranks)

    def ranked(self, rows: list[Levels], table: Table) -> NDArray[np.intp]:
        """(rows, columns) levels of other rows in a table; for a value that it lacks, the nearest that it has."""
        found = np.empty((len(rows), len(table.names)), dtype=np.intp)
        for i, row in enumerate(rows):
            for j, (name, ranks) in enumerate(zip(table.names, table.ranks, strict=True)):
                number = row.get(name, NO_VALUE)
                rank = ranks.get(number)
                found[i, j] = self._nearest(number, ranks) if rank is None else rank
        return found

    def _nearest(self, number: int, ranks: dict[int, int]) -> int:
        """The rank of the nearest level on the same scale; where there is none that of points that have no value."""
        at = self.levels[number].place
        places = [(rank, self.levels[other].place) for other, rank in ranks.items() if other != NO_VALUE]
        apart = [(abs(place - at), rank) for rank, place in places if place is not None and at is not None]
        return min(apart)[1] if apart else ranks[NO_VALUE]


class Table(NamedTuple):
    """Rows of levels, each column's counted from 0, and the distances of its levels."""

    names: list[str]
    levels: NDArray[np.intp]  # (rows, columns)
    distances: list[Array]  # a column: (levels, levels)
    ranks: list[dict[int, int]]  # a column: its levels by their places in Columns.levels, and by NO_VALUE

    def indicators(self, levels: NDArray[np.intp]) -> Array:
        """(rows, all levels) of levels (rows, columns): a one for each value that a point has."""
        sizes = [len(distances) for distances in self.distances]
        starts = np.cumsum([0, *sizes])[:-1].astype(np.intp)
        found = np.zeros((len(levels), sum(sizes)))
        found[np.arange(len(levels))[:, None], levels + starts] = 1.0
        return found


def _level(distribution: BaseDistribution, value: float) -> Level:
    if isinstance(distribution, CategoricalDistribution):
        choice = distribution.choices[int(value)]
        return Level(f"{type(choice).__name__} {choice!r}", _place(choice))
    if count(distribution) <= MOST_LEVELS:
        return Level(f"int {external(distribution, value)!r}", value)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    low, high, at = (_scaled(distribution, v) for v in (distribution.low, distribution.high, value))
    part = min(int((at - low) / (high - low) * BINS), BINS - 1)
    place = low + (part + 0.5) / BINS * (high - low)
    return Level(f"bin {place!r}", place)  # by its place: ranges of one parameter may differ


def _place(choice: Any) -> float | None:
    """Where a choice is on a scale of numbers; None where it is none."""
    if not isinstance(choice, int | float) or isinstance(choice, bool):
        return None
    try:
        place = float(choice)
    except OverflowError:
        return None
    return place if math.isfinite(place) else None


def _distances(places: list[float | None]) -> Array:
    """(levels, levels): 0 on the diagonal; 1 between values without a scale, or as far apart on it as can be."""
    scale = sorted({place for place in places if place is not None})
    order = {place: i / max(len(scale) - 1, 1) for i, place in enumerate(scale)}
    at = np.array([math.nan if place is None else order[place] for place in places])
    apart = np.abs(at[:, None] - at[None, :])
    table = np.where(np.isnan(apart), 1.0, UNEQUAL + (1 - UNEQUAL) * apart)
    np.fill_diagonal(table, 0.0)
    return np.asarray(table)


def _scaled(distribution: BaseDistribution, value: Any) -> float:
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return math.log(value) if distribution.log else float(value)
