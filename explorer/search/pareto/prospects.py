"""What candidates are worth: the hypervolume that they are expected to add, times the chance that they are feasible."""

from __future__ import annotations

import moocore
import numpy as np
from scipy.special import ndtr

from explorer.search.pareto.acquisition import Improvement, Scale
from explorer.search.pareto.columns import Array
from explorer.search.pareto.domain import Facts, Point, excess
from explorer.search.pareto.history import History, Row
from explorer.search.pareto.shapes import Fitted, feature_range, features_of, squeezed
from explorer.search.pareto.support import support
from explorer.search.pareto.surrogate import Geometry, Points, Process, Shape

CONSTRAINED = 80  # trials that constraints did not let come to their objectives: the latest of them are learned from


class Prospects:
    """The processes of one proposal, given all that is known and under way; any number of candidates can be judged.

    Values that neither these nor the candidates `first` have are taken for the nearest that they have.
    """

    def __init__(
        self, history: History, fitted: Fitted, under_way: list[Point], first: list[Point], rng: np.random.Generator
    ) -> None:
        self.history = history
        every = [row for row in history.rows if row.values is not None]
        rows = support(every)
        self.rows = rows + [row for row in history.rows if row.values is None][-CONSTRAINED:]
        self.places = _Places(history, fitted, self.rows, under_way, first)
        self._constraints: dict[str, Process | None] = {}
        feasible = np.array([row.values for row in every if row.feasible])  # (trials, objectives)
        self.improvement: Improvement | None = None  # None: nothing is feasible so far
        if not len(feasible):
            return
        seen, values = np.array([row.values for row in every]), np.array([row.values for row in rows])
        self.scales = [Scale(seen[:, j]) for j in range(seen.shape[1])]
        self.objectives, fantasies = [], []
        for j, scale in enumerate(self.scales):
            process, fantasy = self.places.process(f"objective {j}", scale.model(values[:, j]))
            self.objectives.append(process)
            fantasies.append(scale.linear(fantasy))
        linear = np.stack([scale.linear(scale.model(feasible[:, j])) for j, scale in enumerate(self.scales)], axis=1)
        front = np.concatenate([linear[moocore.is_nondominated(linear)], np.stack(fantasies, axis=1)])
        self.improvement = Improvement(self.scales, front, linear, rng)

    def worth(self, found: list[Point]) -> Array:
        """(candidates,) the more the better.

        Below 0 what a constraint known beforehand forbids, by how far.
        """
        facts = [self.history.facts(point) for point in found]
        asked = self.places.of(found, facts)
        worth = self._feasible(asked, facts)
        if self.improvement is not None:
            means, deviations = self._expected(asked, facts)
            worth = worth * self.improvement.expected(means, deviations) + 1e-12 * worth
        violated = np.array([excess(fact.constraints) for fact in facts])
        return np.where(violated > 0, -violated, worth)

    def _expected(self, asked: Points, facts: list[Facts]) -> tuple[Array, Array]:
        """(candidates, objectives) means and deviations on the models' scales; what is known is exact."""
        means, deviations = [], []
        for j, (scale, process) in enumerate(zip(self.scales, self.objectives, strict=True)):
            told = np.array([_value(fact, j) for fact in facts])
            exact = np.isfinite(told)
            mean, deviation = process.predict(asked)
            means.append(np.where(exact, scale.model(self.history.signs[j] * np.where(exact, told, 0.0)), mean))
            deviations.append(np.where(exact, 1e-9, deviation))
        return np.stack(means, axis=1), np.stack(deviations, axis=1)

    def _feasible(self, asked: Points, facts: list[Facts]) -> Array:
        """(candidates,) the chance that no constraint is violated."""
        chance = np.ones(len(facts))
        for name in sorted(self.history.constraints):
            told = np.array([(fact.constraints or {}).get(name, np.nan) for fact in facts])
            if np.isfinite(told).all():
                chance *= told <= 0
            elif (process := self._constraint(name)) is not None:
                mean, deviation = process.predict(asked)
                chance *= np.where(np.isfinite(told), told <= 0, ndtr(-mean / deviation))
        return chance

    def _constraint(self, name: str) -> Process | None:
        """The process of a constraint; None where nothing is known that tells one point from another."""
        if name not in self._constraints:
            values = np.array([row.constraints.get(name, 0.0) for row in self.rows])
            same = np.ptp(values) == 0
            self._constraints[name] = None if same else self.places.process(f"constraint {name}", squeezed(values))[0]
        return self._constraints[name]


class _Places:
    """Rows, what is under way and candidates as points of a process."""

    def __init__(
        self, history: History, fitted: Fitted, rows: list[Row], under_way: list[Point], first: list[Point]
    ) -> None:
        self.history, self.fitted = history, fitted
        self.table = history.columns.table(
            [row.levels for row in rows] + [history.levels(point) for point in (*under_way, *first)]
        )
        self.geometry = Geometry(self.table.distances)
        facts = [*(row.facts for row in rows), *map(history.facts, under_way)]
        self.range = feature_range([*facts, *map(history.facts, first)])
        n, m = len(rows), len(facts)
        x, f = self.table.indicators(self.table.levels[:m]), features_of(facts, self.range)
        self.known, self.pending = (x[:n], f[:n]), (x[n:], f[n:])

    def of(self, found: list[Point], facts: list[Facts]) -> Points:
        """Candidates as points of a process."""
        levels = self.history.columns.ranked([self.history.levels(point) for point in found], self.table)
        return self.table.indicators(levels), features_of(facts, self.range)

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
        shares = [known.get(column, least) for column in self.table.names]
        shares += list(shape.shares[len(self.fitted.names) :]) or [least] * features
        return Shape(np.array(shares) / sum(shares), shape.scale, shape.noise)


def _value(facts: Facts, j: int) -> float:
    value = facts.values[j] if facts.values else None
    return np.nan if value is None else value
