"""Candidates: points near the front, mixtures of its members, and random ones; none that was tried or is under way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution

from explorer.search.pareto.domain import Domain, Learned, Point, moved, seen
from explorer.search.pareto.history import History

CHANGES = (1, 1, 1, 2, 2, 3)  # how many choices of a member are changed, each as likely
MIXED, RANDOM = 0.2, 0.15  # shares of candidates; the rest are members changed

Rng = np.random.Generator


class Candidates:
    """New points for a study, found by chance."""

    def __init__(self, history: History, domain: Domain | None, column_of: Callable[[str], str], rng: Rng) -> None:
        self.history, self.domain, self.column_of, self.rng = history, domain, column_of, rng
        self.learned = Learned(history.tree)

    def random(self, count: int) -> list[Point]:
        """Random points."""
        return self._distinct(count, dict)

    def near(self, members: list[Point], count: int) -> list[Point]:
        """Members changed in a few choices, mixtures of two, and a few random points."""

        def wanted() -> dict[str, Any]:
            kind = self.rng.random()
            if kind < RANDOM or not members:
                return {}
            one = members[int(self.rng.integers(len(members)))]
            if kind < RANDOM + MIXED and len(members) > 1:
                other = members[int(self.rng.integers(len(members)))]
                return self._mixed(one, other)
            return self._changed(one, CHANGES[int(self.rng.integers(len(CHANGES)))])

        return self._distinct(count, wanted)

    def moves(self, member: Point) -> list[Point]:
        """Points that differ from a member in one choice."""
        return self._distinct(8, lambda: self._changed(member, 1))

    def _distinct(self, count: int, wanted: Callable[[], dict[str, Any]]) -> list[Point]:
        found: dict[frozenset[tuple[str, float]], Point] = {}
        for _ in range(2 * count):
            point, distributions = self._complete(wanted())
            key = frozenset(point.items())
            if point and key not in self.history.taken and key not in found:
                self.history.take(point, distributions)
                found[key] = point
                if len(found) == count:
                    break
        return list(found.values())

    def _complete(self, wanted: dict[str, Any]) -> tuple[Point, dict[str, BaseDistribution]]:
        if self.domain is not None:
            return self.domain.complete(wanted, self.rng)
        return self.learned.complete(wanted, self.rng, self.column_of)

    def _wanted(self, point: Point) -> dict[str, Any]:
        return {self.column_of(n): seen(self.history.distributions[n], value) for n, value in point.items()}

    def _changed(self, member: Point, changes: int) -> dict[str, Any]:
        wanted, names = self._wanted(member), list(member)
        for i in self.rng.permutation(len(names))[:changes]:
            distribution = self.history.distributions[names[i]]
            wanted[self.column_of(names[i])] = seen(distribution, moved(distribution, member[names[i]], self.rng))
        return wanted

    def _mixed(self, one: Point, other: Point) -> dict[str, Any]:
        wanted, also = self._wanted(one), self._wanted(other)
        for column, value in also.items():
            if column not in wanted or self.rng.random() < 0.5:
                wanted[column] = value
        return wanted
