"""Candidates: points near the front, mixtures of its members, and random ones; none that was tried or is under way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from explorer.search.pareto.domain import Key, Learned, Point, internal, moved
from explorer.search.pareto.history import History
from explorer.search.pareto.tree import external

MANY = 4  # a member is changed in one choice, or in two to a quarter of all, three at least
MIXED, RANDOM = 0.2, 0.15  # shares of candidates; the rest are members changed

Rng = np.random.Generator
Wanted = dict[str, Any]  # by column


class Candidates:
    """New points for a study, found by chance; all of them with the parameters that are `fixed`."""

    def __init__(self, history: History, fixed: Mapping[str, Any], rng: Rng) -> None:
        self.history, self.fixed, self.rng = history, fixed, rng
        self.column = history.columns.column_of
        self.space = history.domain or Learned(history.tree, self.column)

    def random(self, count: int) -> list[Point]:
        """Random points."""
        return self._distinct(count, dict)

    def near(self, members: list[Point], count: int) -> list[Point]:
        """Members changed in some choices, mixtures of two, and a few random points."""

        def wanted() -> Wanted:
            kind = self.rng.random()
            if kind < RANDOM or not members:
                return {}
            one = self._any(members)
            if kind < RANDOM + MIXED and len(members) > 1:
                return self._mixed(one, self._any(members))
            return self._changed(one, self._many(one))

        return self._distinct(count, wanted)

    def like(self, best: list[Point], count: int) -> list[Point]:
        """What is near the best of earlier candidates: changed in one choice or two, or mixtures of two."""

        def wanted() -> Wanted:
            one = self._any(best)
            if self.rng.random() < MIXED:
                return self._mixed(one, self._any(best))
            return self._changed(one, 1 + int(self.rng.integers(2)))

        return self._distinct(count, wanted)

    def moves(self, member: Point) -> list[Point]:
        """Points that differ from a member in one choice."""
        return self._distinct(8, lambda: self._changed(member, 1))

    def _distinct(self, count: int, wanted: Callable[[], Wanted]) -> list[Point]:
        found: dict[Key, Point] = {}
        fixed = {self.column(name): value for name, value in self.fixed.items()}
        for _ in range(2 * count):
            point = self.space.complete({**wanted(), **fixed}, self.rng)
            key = point.key
            if key and key not in self.history.taken and key not in found and self._has_fixed(point):
                found[key] = point
                if len(found) == count:
                    break
        return list(found.values())

    def _has_fixed(self, point: Point) -> bool:
        return all(
            internal(point.distributions[name], value) == point.values[name]
            for name, value in self.fixed.items()
            if name in point.values
        )

    def _any(self, points: list[Point]) -> Point:
        return points[int(self.rng.integers(len(points)))]

    def _many(self, member: Point) -> int:
        """How many choices of a member are to be changed."""
        return 1 if self.rng.random() < 0.5 else int(self.rng.integers(2, max(3, len(member.values) // MANY) + 1))

    def _wanted(self, point: Point) -> Wanted:
        return {self.column(name): value for name, value in point.params.items()}

    def _changed(self, member: Point, changes: int) -> Wanted:
        wanted, names = self._wanted(member), list(member.values)
        for i in self.rng.permutation(len(names))[:changes]:
            distribution = member.distributions[names[i]]
            value = moved(distribution, member.values[names[i]], self.rng)
            wanted[self.column(names[i])] = external(distribution, value)
        return wanted

    def _mixed(self, one: Point, other: Point) -> Wanted:
        wanted, also = self._wanted(one), self._wanted(other)
        for column, value in also.items():
            if column not in wanted or self.rng.random() < 0.5:
                wanted[column] = value
        return wanted
