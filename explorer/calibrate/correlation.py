"""Rank correlations with 95 % intervals: a bootstrap over networks, with the same draws for all that is compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DRAWS = 2000
LEVEL = (0.025, 0.975)


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
        self.weights = np.ones((1 + draws, n))
        self.weights[1:] = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=draws)

    def tau(self, first: Sequence[float] | Floats, second: Sequence[float] | Floats) -> Floats:
        """Kendall's tau-b of two quantities of the networks, of each row; a network drawn twice ties with itself."""
        one, other = _order(np.asarray(first, dtype=float)), _order(np.asarray(second, dtype=float))
        both, left, right = (
            np.einsum("bi,bi->b", self.weights @ signs, self.weights) for signs in (one * other, one**2, other**2)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            found: Floats = both / np.sqrt(left * right)
        return found

    def rho(self, first: Sequence[float] | Floats, second: Sequence[float] | Floats) -> Floats:
        """Spearman's rho, of each row; equal values share their mean rank."""
        one, other = (self._ranks(np.asarray(values, dtype=float)) for values in (first, second))
        share = self.weights / self.weights.sum(axis=1, keepdims=True)
        one, other = (ranks - (share * ranks).sum(axis=1, keepdims=True) for ranks in (one, other))
        with np.errstate(divide="ignore", invalid="ignore"):
            found: Floats = (share * one * other).sum(axis=1) / np.sqrt(
                (share * one**2).sum(axis=1) * (share * other**2).sum(axis=1)
            )
        return found

    def interval(self, statistic: Floats) -> Interval:
        """The statistic of the sample, and 95 % of those of the draws."""
        drawn = statistic[1:][np.isfinite(statistic[1:])]
        if not drawn.size or not np.isfinite(statistic[0]):
            return Interval(float(statistic[0]), np.nan, np.nan)
        low, high = np.quantile(drawn, LEVEL)
        return Interval(float(statistic[0]), float(low), float(high))

    def _ranks(self, values: Floats) -> Floats:
        """(1 + draws, n): the mean rank of each network's value where network i is there weights[:, i] times."""
        distinct, index = np.unique(values, return_inverse=True)
        totals = np.zeros((len(distinct), len(self.weights)))
        np.add.at(totals, index, self.weights.T)
        ranked: Floats = (totals.cumsum(axis=0) - (totals - 1) / 2)[index].T
        return ranked


def _order(values: Floats) -> Floats:
    """(n, n): 1 where the row's value is the higher, -1 where the lower, 0 where equal."""
    higher = values[:, None] > values[None, :]
    return higher.astype(float) - higher.T.astype(float)
