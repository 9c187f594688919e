"""How much of the front's hypervolume a candidate is likely to add.

By random directions: hypervolume is the mean over directions of the best scalarization min((r - y) / w) to the power
of the number of objectives (Golovin and Zhang 2020, "Random hypervolume scalarizations"), so the improvement that a
candidate is expected to bring is the mean of what it adds to each of them, over draws from what it is likely to be.
"""

from __future__ import annotations

import numpy as np

from explorer.search.pareto.columns import Array

DIRECTIONS = 64
DRAWS = 10
MARGIN = 0.3  # of the reference point, in units of median minus best


class Scale:
    """An objective, to minimize, on a scale where half of what was seen lies within a few units of the best.

    Above the median it is compressed by a logarithm: how bad the bad are is of little use to a model of the good.
    """

    def __init__(self, seen: Array) -> None:
        self.middle = float(np.median(seen))
        spread = self.middle - float(np.min(seen))
        self.unit = spread if spread > 1e-12 * max(abs(self.middle), 1e-300) else float(np.std(seen)) or 1.0

    def model(self, values: Array) -> Array:
        """On the model's scale."""
        z = (values - self.middle) / self.unit
        return np.where(z > 0, np.log1p(np.maximum(z, 0)), z)

    def linear(self, modelled: Array) -> Array:
        """From the model's scale to a linear one: units of median minus best."""
        return np.where(modelled > 0, np.expm1(np.minimum(modelled, 20.0)), modelled)


def directions(count: int, rng: np.random.Generator) -> Array:
    """(DIRECTIONS, count) unit vectors of the positive orthant."""
    found = np.abs(rng.normal(size=(DIRECTIONS, count))) + 1e-3
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def scalarized(points: Array, reference: Array, weights: Array) -> Array:
    """(..., directions) of points (..., objectives): how far along each direction they dominate."""
    found = np.full((*points.shape[:-1], len(weights)), np.inf)
    for j in range(points.shape[-1]):  # one after the other: the ratios of all at once would fill the caches
        np.minimum(found, np.maximum(reference[j] - points[..., j, None], 0.0) / weights[:, j], out=found)
    return np.asarray(found ** points.shape[-1])


def corner(front: Array, seen: Array) -> Array:
    """(objectives,) the reference point: a little beyond the worst that is feasible.

    Were it beyond the front's own worst, a front that ends too early would never grow at its ends.
    """
    return np.asarray(np.maximum(seen.max(axis=0), front.max(axis=0)) + MARGIN)


class Improvement:
    """What candidates are expected to add to the hypervolume of a front, all measured by the same directions and draws.

    `front` (n, objectives) is on the linear scale, and so is `seen`, all that is feasible.
    """

    def __init__(self, scales: list[Scale], front: Array, seen: Array, rng: np.random.Generator) -> None:
        self.scales = scales
        self.reference = corner(front, seen)
        self.weights = directions(len(scales), rng)
        self.best = scalarized(front, self.reference, self.weights).max(axis=0)  # (directions,)
        noise = rng.normal(size=(DRAWS // 2, 1, len(scales)))
        self.noise = np.concatenate([noise, -noise])

    def expected(self, means: Array, deviations: Array) -> Array:
        """(candidates,) gain; means and deviations (candidates, objectives) are on the models' scales."""
        drawn = means + self.noise * deviations  # (draws, candidates, objectives)
        for j, scale in enumerate(self.scales):
            drawn[..., j] = scale.linear(drawn[..., j])
        gain = np.maximum(scalarized(drawn, self.reference, self.weights) - self.best, 0.0)
        return np.asarray(gain.mean(axis=(0, 2)))
