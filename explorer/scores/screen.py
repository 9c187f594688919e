"""Candidates that a zero-cost score tells to be hopeless, before anything is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from search_spaces.errors import InputError

SHARE = 0.3  # of candidates of like cost, the lowest of which are hopeless
LEAST = 20  # candidates seen before any is
NEAREST = 20  # of those seen are of like cost


class Seen(NamedTuple):
    """A candidate whose score is known."""

    number: int  # its trial's
    ln_cost: float
    score: float


@dataclass
class Screen:
    """Tells the hopeless from what those seen before it have scored at like cost.

    Scores grow with size, so that the lowest of all would be the small, fast end of the front: a candidate is compared
    with the 20 nearest in cost, by ratio. What it tells follows from what was seen, in whichever order.

    >>> screen = Screen()
    >>> for number in range(20): screen.see(number, cost=1e6, score=number)
    >>> screen.hopeless(cost=1e6, score=5.5), screen.hopeless(cost=1e6, score=6)
    (True, False)
    """

    share: float = SHARE
    least: int = LEAST
    nearest: int = NEAREST
    seen: dict[int, Seen] = field(default_factory=dict)  # by number

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise InputError(f"screen share={self.share}: give a share of the candidates, from 0 to below 1")

    def see(self, number: int, cost: float, score: float) -> None:
        """Takes note of a candidate: its cost, above 0 in any unit, and its score, whether it is trained or not."""
        self.seen[number] = Seen(number, math.log(cost), score)

    def hopeless(self, cost: float, score: float) -> bool:
        """Whether fewer than `share` of those of like cost score as low; False until enough were seen."""
        return len(self.seen) >= self.least and self.rank(cost, score) < self.share

    def rank(self, cost: float, score: float) -> float:
        """Share of those seen of like cost that score no higher, 0 to 1; 1 where nothing was seen."""
        ln_cost = math.log(cost)
        like = sorted(self.seen.values(), key=lambda one: (abs(one.ln_cost - ln_cost), one.number))[: self.nearest]
        return sum(one.score <= score for one in like) / len(like) if like else 1.0
