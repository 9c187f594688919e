"""Rank correlations with 95 % intervals: a bootstrap over networks, with the same draws for all that is compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from explorer.analysis.bootstrap import interval, weighted_rho, weighted_tau, weights

Floats = NDArray[np.float64]

DRAWS = 2000


class Interval(NamedTuple):
    """An estimate and the ends of its 95 % interval; NaN where nothing can be told."""

    value: float
    lo: float
    hi: float


class Bootstrap:
    """How often each of n networks is drawn: (1 + draws, n), the first row the sample itself.

    >>> boot = Bootstrap(24, seed=0)
    >>> boot.interval(boot.tau(proxy, long) - boot.tau(params, long))
    """

    def __init__(self, n: int, *, draws: int = DRAWS, seed: int = 0) -> None:
        self.weights = weights(n, draws, np.random.default_rng(seed))

    def tau(self, first: Sequence[float] | Floats, second: Sequence[float] | Floats) -> Floats:
        """Kendall's tau-b of two quantities of the networks, of each row."""
        one, other = _order(np.asarray(first, dtype=float)), _order(np.asarray(second, dtype=float))
        return weighted_tau(one, other, self.weights)

    def rho(self, first: Sequence[float] | Floats, second: Sequence[float] | Floats) -> Floats:
        """Spearman's rho, of each row."""
        return weighted_rho(np.asarray(first, dtype=float), np.asarray(second, dtype=float), self.weights)

    def interval(self, statistic: Floats) -> Interval:
        """The statistic of the sample, and 95 % of those of the draws."""
        return Interval(*interval(statistic))


def _order(values: Floats) -> Floats:
    """(n, n): 1 where the row's value is the higher, -1 where the lower, 0 where equal."""
    higher = values[:, None] > values[None, :]
    return higher.astype(float) - higher.T.astype(float)
