"""The shapes of a study's processes: which columns matter, over what distances, and how much is noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from explorer.search.pareto.acquisition import Scale
from explorer.search.pareto.columns import Array
from explorer.search.pareto.domain import Facts
from explorer.search.pareto.history import History, Row
from explorer.search.pareto.surrogate import Geometry, Shape, explained, fit

MOST = 1e9  # of a constraint's values: farther ones, and infinite ones, are taken for as much


@dataclass(frozen=True)
class Fitted:
    """Shapes, and the trials that they were chosen from."""

    numbers: tuple[int, ...]
    shapes: dict[str, Shape]  # by the process's name
    names: list[str]  # of the columns


def fitted(history: History, rows: list[Row]) -> Fitted:
    """The likeliest shapes of all processes of a study, given some of its rows."""
    table, facts = history.columns.table([row.levels for row in rows]), [row.facts for row in rows]
    x, f = table.indicators(table.levels), features_of(facts, feature_range(facts))
    valued = np.array([row.values is not None for row in rows])
    values = np.array([row.values for row in rows if row.values is not None])
    goals = {f"objective {j}": (valued, Scale(y).model(y)) for j, y in enumerate(values.T)}
    for name in sorted({name for row in rows for name in row.constraints}):
        violations = squeezed(np.array([row.constraints.get(name, 0.0) for row in rows]))
        goals[f"constraint {name}"] = np.full(len(rows), True), violations
    shapes, geometry = {}, Geometry(table.distances)
    for name, (known, y) in goals.items():
        shares = explained(table.levels[known], f[known], y)
        shapes[name] = fit(geometry, (x[known], f[known]), shares, y)
    return Fitted(tuple(row.number for row in rows), shapes, table.names)


def squeezed(values: Array) -> Array:
    """Values of a constraint with far ones drawn near, 0 staying 0."""
    values = np.clip(values, -MOST, MOST)
    unit = float(np.median(np.abs(values))) or float(np.std(values)) or 1.0
    return np.arcsinh(values / unit)


class Range(NamedTuple):
    """From where to where features go, (features,) each."""

    low: Array
    width: Array


def feature_range(facts: list[Facts]) -> Range:
    """The range of these features."""
    many = max((len(fact.features) for fact in facts), default=0)
    found = _table(facts, many)
    low, high = found.min(axis=0), found.max(axis=0)
    return Range(low, np.where(high > low, high - low, 1.0))


def features_of(facts: list[Facts], range: Range) -> Array:
    """(points, features) in parts of a range."""
    return (_table(facts, len(range.low)) - range.low) / range.width


def _table(facts: list[Facts], many: int) -> Array:
    found = np.zeros((len(facts), many))
    for i, fact in enumerate(facts):
        found[i, : len(fact.features)] = fact.features
    return found
