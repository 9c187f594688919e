"""Rank correlations under a bootstrap: of the sample itself, and of samples drawn from it with replacement.

A sample is how often each of n items was drawn, a row of weights; an item that is drawn twice ties with itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Floats = NDArray[np.float64]

LEVEL = (0.025, 0.975)


def weights(count: int, draws: int, generator: np.random.Generator, dtype: DTypeLike = float) -> NDArray[Any]:
    """(1 + draws, count): how often each was drawn, the first row for the sample itself."""
    found = np.ones((1 + draws, count), dtype=dtype)
    found[1:] = generator.multinomial(count, np.full(count, 1 / count), size=draws)
    return found


def weighted_tau(first: NDArray[Any], second: NDArray[Any], weights: NDArray[Any]) -> Floats:
    """Kendall's tau-b of each weighting, of two orders (n, n): 1 where the row is above, -1 below, else 0."""
    products = (first * second, np.abs(first), np.abs(second))
    both, left, right = (np.einsum("bi,bi->b", weights @ signs, weights) for signs in products)
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = both / np.sqrt(left * right)
    return found


def weighted_rho(first: Floats, second: Floats, weights: NDArray[Any]) -> Floats:
    """Spearman's rho of each weighting, equal values sharing their mean rank."""
    share = weights / weights.sum(axis=1, keepdims=True)
    one, other = (_ranks(values, weights) for values in (first, second))
    one, other = (ranks - (share * ranks).sum(axis=1, keepdims=True) for ranks in (one, other))
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = (share * one * other).sum(axis=1) / np.sqrt(
            (share * one**2).sum(axis=1) * (share * other**2).sum(axis=1)
        )
    return found


def interval(drawn: Floats) -> tuple[float, float, float]:
    """(estimate, low, high): the first of these, and 95 % of the others; NaN ends where nothing can be told."""
    others = drawn[1:][np.isfinite(drawn[1:])]
    if not others.size or not np.isfinite(drawn[0]):
        return float(drawn[0]), np.nan, np.nan
    low, high = np.quantile(others, LEVEL)
    return float(drawn[0]), float(low), float(high)


def _ranks(values: Floats, weights: NDArray[Any]) -> Floats:
    """(draws, n): each value's mean rank where value i is there weights[:, i] times."""
    distinct, index = np.unique(values, return_inverse=True)
    totals = np.zeros((len(distinct), len(weights)))
    np.add.at(totals, index, weights.T)
    ranked: Floats = (totals.cumsum(axis=0) - (totals - 1) / 2)[index].T
    return ranked
