"""What is known of a study: its front, what is far from all its points, and what candidates are judged by."""

from __future__ import annotations

import math

import moocore
import numpy as np

from explorer.search.pareto.domain import Point, excess
from explorer.search.pareto.history import History
from explorer.search.pareto.prospects import Prospects
from explorer.search.pareto.shapes import Fitted, fitted

FIT_AGAIN = 1.15  # the shapes are chosen anew when there are so many times more points


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
        violated = [excess(row.constraints) for row in rows]
        return [rows[i].point for i in np.argsort(violated, kind="stable")[:5]]

    def allowed(self, found: list[Point]) -> list[Point]:
        """Those of the points that no constraint known beforehand forbids."""
        return [point for point in found if excess(self.history.facts(point).constraints) == 0]

    def farthest(self, found: list[Point], under_way: list[Point]) -> int:
        """Which of the points is farthest from its nearest neighbour among those known or under way."""
        known = [row.levels for row in self.history.rows] + [self.history.levels(point) for point in under_way]
        if not known:
            return 0
        levels = self.history.columns.table([self.history.levels(point) for point in found] + known).levels
        apart = (levels[: len(found), None, :] != levels[None, len(found) :, :]).sum(axis=2)
        return int(np.argmax(apart.min(axis=1) + 1e-3 * apart.mean(axis=1)))

    def prospects(self, under_way: list[Point], first: list[Point], rng: np.random.Generator) -> Prospects:
        """What tells the worth of candidates, of which `first` are some."""
        return Prospects(self.history, self._shapes(), under_way, first, rng)

    def _shapes(self) -> Fitted:
        """The shapes of all processes, chosen from as many of the first trials as were there when they were due."""
        step = math.floor(math.log(len(self.history.rows)) / math.log(FIT_AGAIN))
        rows = self.history.rows[: math.ceil(FIT_AGAIN**step)]
        numbers = tuple(row.number for row in rows)
        if self._fitted is None or self._fitted.numbers != numbers:
            self._fitted = fitted(self.history, rows)
        return self._fitted
