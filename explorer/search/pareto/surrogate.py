"""A Gaussian process over rows of levels: what an objective is likely to be at a point that was not evaluated.

The distance of two points is T = sum over columns of h * d, d being the distance of two values (columns.py) and h the
share of the objective's variance that the column explains by itself. The covariance is exp(-s T); `s` and the noise
are those of the largest marginal likelihood on a small grid (Rasmussen and Williams 2006, section 5.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from explorer.search.pareto.columns import Array

SCALES = (1.0, 2.0, 4.0, 8.0, 16.0)  # s
NOISES = (1e-4, 1e-3, 1e-2, 0.05, 0.2)  # variance of the noise over that of the process
LEAST_SHARE = 0.02  # of a column that explains nothing by itself: it may yet matter beside others
FITTED_ON = 160  # points that the likelihood is computed of


Points: TypeAlias = tuple[Array, Array]  # (indicators, features)


@dataclass(frozen=True)
class Shape:
    """What the likelihood has chosen."""

    shares: Array  # (columns,) h, their sum is 1
    scale: float
    noise: float


class Geometry:
    """What distances of two sets of points are made of: tables of the columns, and features on a scale of their own."""

    def __init__(self, tables: list[Array]) -> None:
        self.tables = tables

    def distance(self, shares: Array, one: Points, other: Points) -> Array:
        """(n, m) T of points given as (indicators, features); features come last among the shares."""
        (x, f), (y, g) = one, other
        starts = np.cumsum([0, *(len(table) for table in self.tables)])
        block = np.empty_like(y)  # the tables side by side in a diagonal, times y
        for i, table in enumerate(self.tables):
            part = slice(starts[i], starts[i + 1])
            block[:, part] = y[:, part] @ (shares[i] * table)
        found = x @ block.T
        for j in range(f.shape[1]):
            found += shares[len(self.tables) + j] * np.minimum(np.abs(f[:, j, None] - g[None, :, j]), 1.0)
        return found


def explained(levels: np.ndarray, features: Array, y: Array) -> Array:
    """(columns + features,) the share of y's variance that each explains by itself (omega squared), or a little."""
    total, n = float(((y - y.mean()) ** 2).sum()), len(y)
    binned = [np.searchsorted(np.quantile(f, (0.2, 0.4, 0.6, 0.8)), f) for f in features.T]
    found = []
    for groups in [*levels.T, *binned]:
        counts = np.bincount(groups)
        present = counts > 0
        sums = np.bincount(groups, weights=y)[present]
        between = float((sums**2 / counts[present]).sum() - n * y.mean() ** 2)
        freedom = int(present.sum()) - 1
        within = (total - between) / max(n - freedom - 1, 1)
        found.append(max(0.0, (between - freedom * within) / (total + within)) if total > 0 else 0.0)
    shares = LEAST_SHARE + np.array(found)
    return shares / shares.sum()


def covariance(distance: Array, shape: Shape) -> Array:
    """(n, m) covariance at distances T, relative to the variance."""
    return np.exp(-shape.scale * distance)


def fit(geometry: Geometry, points: Points, shares: Array, y: Array) -> Shape:
    """The likeliest shape."""
    if len(y) > FITTED_ON:
        chosen = np.linspace(0, len(y) - 1, FITTED_ON).astype(int)
        points, y = (points[0][chosen], points[1][chosen]), y[chosen]
    distance, z = geometry.distance(shares, points, points), y - y.mean()

    def likelihood(shape: Shape) -> float:
        lower = _cholesky(covariance(distance, shape), shape.noise)
        white = solve_triangular(lower, z, lower=True, check_finite=False)
        return float(-0.5 * len(z) * np.log(max(white @ white / len(z), 1e-12)) - np.log(np.diag(lower)).sum())

    return max((Shape(shares, scale, noise) for scale in SCALES for noise in NOISES), key=likelihood)


class Process:
    """A Gaussian process given y at points; `predict` gives means and deviations."""

    def __init__(self, geometry: Geometry, points: Points, y: Array, shape: Shape) -> None:
        self.geometry, self.points, self.shape = geometry, points, shape
        self.mean = float(y.mean())
        distance = geometry.distance(shape.shares, points, points)
        self.lower = _cholesky(covariance(distance, shape), shape.noise)
        self.weights = cho_solve((self.lower, True), y - self.mean, check_finite=False)
        self.variance = max(float((y - self.mean) @ self.weights) / len(y), 1e-12)

    def predict(self, points: Points) -> tuple[Array, Array]:
        """(m,) means and (m,) standard deviations at points, without the noise."""
        cross = covariance(self.geometry.distance(self.shape.shares, points, self.points), self.shape)
        half = solve_triangular(self.lower, cross.T, lower=True, check_finite=False)
        spread = np.maximum(1.0 - (half**2).sum(axis=0), 1e-9)
        return self.mean + cross @ self.weights, np.sqrt(self.variance * spread)


def _cholesky(matrix: Array, noise: float) -> Array:
    lower, _ = cho_factor(matrix + (noise + 1e-8) * np.eye(len(matrix)), lower=True, check_finite=False)
    found: Array = np.tril(lower)
    return found


__all__ = ["Geometry", "Process", "Shape", "covariance", "explained", "fit"]
