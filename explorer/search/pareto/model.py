"""What a study's objectives and constraints are likely to be at points that were not evaluated."""

from __future__ import annotations

import math
from dataclasses import dataclass

import moocore
import numpy as np
from scipy.special import ndtr

from explorer.search.pareto.acquisition import Scale, expected_improvement
from explorer.search.pareto.columns import Array
from explorer.search.pareto.domain import Facts, Point
from explorer.search.pareto.history import History, Row
from explorer.search.pareto.support import support
from explorer.search.pareto.surrogate import Geometry, Process, Shape, explained, fit

CONSTRAINED = 80  # trials that constraints did not let come to their objectives: the latest of them are learned from
MOST = 1e9  # of a constraint's values: farther ones, and infinite ones, are taken for as much
FIT_AGAIN = 1.15  # the shapes are chosen anew when there are so many times more points


@dataclass(frozen=True)
class Fitted:
    """Shapes, and the trials that they were chosen from."""

    numbers: tuple[int, ...]
    shapes: dict[str, Shape]  # by the process's name
    names: list[str]  # of the columns
    features: int


class Model:
    """The processes of a study. They follow from its trials alone: nothing is kept but what would come out again."""

    def __init__(self, history: History) -> None:
        self.history = history
        self._fitted: Fitted | None = None

    def front(self) -> list[Point]:
        """The points of the front; where nothing is feasible, those that violate the constraints least."""
        rows = self.history.rows
        feasible = [row for row in rows if row.feasible]
        if feasible:
            values = np.array([row.values for row in feasible])
            return [feasible[i].point for i in np.flatnonzero(moocore.is_nondominated(values))]
        excess = [sum(max(value, 0.0) for value in row.constraints.values()) for row in rows]
        return [rows[i].point for i in np.argsort(excess, kind="stable")[:5]]

    def allowed(self, found: list[Point]) -> list[Point]:
        """Those of the points that no constraint known beforehand forbids."""
        return [point for point in found if not _forbidden(self.history.facts(point))]

    def farthest(self, found: list[Point], under_way: list[Point]) -> int:
        """Which of the points is farthest from its nearest neighbour among those known or under way."""
        known = [row.levels for row in self.history.rows] + [self.history.levels(point) for point in under_way]
        if not known:
            return 0
        levels = self.history.columns.table([self.history.levels(point) for point in found] + known).levels
        apart = (levels[: len(found), None, :] != levels[None, len(found) :, :]).sum(axis=2)
        return int(np.argmax(apart.min(axis=1) + 1e-3 * apart.mean(axis=1)))

    def best(self, found: list[Point], under_way: list[Point], rng: np.random.Generator) -> Point:
        """The candidate that is expected to add most to the front's hypervolume, and to violate no constraint."""
        history = self.history
        facts = [history.facts(point) for point in found]
        if allowed := [i for i, fact in enumerate(facts) if not _forbidden(fact)]:
            found, facts = [found[i] for i in allowed], [facts[i] for i in allowed]
        every = [row for row in history.rows if row.values is not None]
        rows = support(every)
        others = [row for row in history.rows if row.values is None][-CONSTRAINED:]
        places = _Places(history, self._shapes(), rows + others, under_way, found, facts)
        chance = self._feasible(places, rows + others, facts)
        feasible = np.array([row.values for row in every if row.feasible])  # (trials, objectives)
        if not len(feasible):
            return found[int(np.argmax(chance))]

        seen, values = np.array([row.values for row in every]), np.array([row.values for row in rows])
        scales = [Scale(seen[:, j]) for j in range(seen.shape[1])]
        means, deviations, fantasies = [], [], []
        for j, scale in enumerate(scales):
            process, fantasy = places.process(f"objective {j}", scale.model(values[:, j]))
            mean, deviation = process.predict(places.asked)
            told = np.array([_value(fact, j) for fact in facts])
            exact = np.isfinite(told)
            means.append(np.where(exact, scale.model(history.signs[j] * np.where(exact, told, 0.0)), mean))
            deviations.append(np.where(exact, 1e-9, deviation))
            fantasies.append(scale.linear(fantasy))
        linear = np.stack([scale.linear(scale.model(feasible[:, j])) for j, scale in enumerate(scales)], axis=1)
        front = np.concatenate([linear[moocore.is_nondominated(linear)], np.stack(fantasies, axis=1)])
        gain = expected_improvement(np.stack(means, axis=1), np.stack(deviations, axis=1), scales, front, linear, rng)
        return found[int(np.argmax(gain * chance + 1e-12 * chance))]

    def _feasible(self, places: _Places, rows: list[Row], facts: list[Facts]) -> Array:
        """(candidates,) the chance that no constraint is violated."""
        chance = np.ones(len(facts))
        for name in sorted(self.history.constraints):
            told = np.array([(fact.constraints or {}).get(name, np.nan) for fact in facts])
            if np.isfinite(told).all():
                chance *= told <= 0
                continue
            values = np.array([row.constraints.get(name, 0.0) for row in rows])
            if np.ptp(values) == 0:
                continue  # nothing is known that tells one from another
            process, _ = places.process(f"constraint {name}", squeezed(values))
            mean, deviation = process.predict(places.asked)
            chance *= np.where(np.isfinite(told), told <= 0, ndtr(-mean / deviation))
        return chance

    def _shapes(self) -> Fitted:
        """The shapes of all processes, chosen from as many of the first trials as were there when they were due."""
        step = math.floor(math.log(len(self.history.rows)) / math.log(FIT_AGAIN))
        rows = self.history.rows[: math.ceil(FIT_AGAIN**step)]
        numbers = tuple(row.number for row in rows)
        if self._fitted is None or self._fitted.numbers != numbers:
            self._fitted = self._fit(rows, numbers)
        return self._fitted

    def _fit(self, rows: list[Row], numbers: tuple[int, ...]) -> Fitted:
        table = self.history.columns.table([row.levels for row in rows])
        x, f = table.indicators(), scaled([row.facts for row in rows])
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
        return Fitted(numbers, shapes, table.names, f.shape[1])


class _Places:
    """Rows, what is under way and candidates as points of a process."""

    def __init__(
        self,
        history: History,
        fitted: Fitted,
        rows: list[Row],
        under_way: list[Point],
        found: list[Point],
        facts: list[Facts],
    ) -> None:
        every = [row.levels for row in rows] + [history.levels(point) for point in (*under_way, *found)]
        table = history.columns.table(every)
        x = table.indicators()
        f = scaled([*(row.facts for row in rows), *map(history.facts, under_way), *facts])
        n, m = len(rows), len(rows) + len(under_way)
        self.geometry, self.fitted, self.names = Geometry(table.distances), fitted, table.names
        self.known, self.pending, self.asked = (x[:n], f[:n]), (x[n:m], f[n:m]), (x[m:], f[m:])

    def process(self, name: str, y: Array) -> tuple[Process, Array]:
        """The process given y of the first rows and, at the points under way, what it expects there; and that."""
        shape = self._shape(name, self.known[1].shape[1])
        known = (self.known[0][: len(y)], self.known[1][: len(y)])
        process = Process(self.geometry, known, y, shape)
        if not len(self.pending[0]):
            return process, np.zeros(0)
        expected, _ = process.predict(self.pending)
        both = (
            np.concatenate([known[0], self.pending[0]]),
            np.concatenate([known[1], self.pending[1]]),
        )
        return Process(self.geometry, both, np.concatenate([y, expected]), shape), expected

    def _shape(self, name: str, features: int) -> Shape:
        """The shape as it was chosen; a column that was not there yet has the least share of all."""
        shape = self.fitted.shapes.get(name) or Shape(np.full(len(self.fitted.names), 1.0), 4.0, 0.05)
        known = dict(zip(self.fitted.names, shape.shares, strict=False))
        least = float(shape.shares.min())
        shares = [known.get(column, least) for column in self.names]
        shares += list(shape.shares[len(self.fitted.names) :]) or [least] * features
        return Shape(np.array(shares) / sum(shares), shape.scale, shape.noise)


def squeezed(values: Array) -> Array:
    """Values of a constraint with far ones drawn near, 0 staying 0."""
    values = np.clip(values, -MOST, MOST)
    unit = float(np.median(np.abs(values))) or float(np.std(values)) or 1.0
    return np.arcsinh(values / unit)


def scaled(facts: list[Facts]) -> Array:
    """(points, features) from 0 to 1."""
    width = max((len(fact.features) for fact in facts), default=0)
    found = np.zeros((len(facts), width))
    for i, fact in enumerate(facts):
        found[i, : len(fact.features)] = fact.features
    low, high = found.min(axis=0), found.max(axis=0)
    return np.asarray((found - low) / np.where(high > low, high - low, 1.0))


def _value(facts: Facts, j: int) -> float:
    value = facts.values[j] if facts.values else None
    return np.nan if value is None else value


def _forbidden(facts: Facts) -> bool:
    return any(value > 0 for value in (facts.constraints or {}).values())
