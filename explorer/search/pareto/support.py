"""The trials that a model is conditioned on where there are too many for all."""

from __future__ import annotations

import numpy as np

from explorer.search.pareto.history import Row

SUPPORT = 240  # at most
NEAR = 160  # of them those that are nearest to the front


def support(rows: list[Row]) -> list[Row]:
    """All rows, or those near the front and some of the others, in their order.

    Near is what is little worse than the best, for some weights, in the worst of its weighted ranks in the objectives.
    """
    if len(rows) <= SUPPORT:
        return rows
    values = np.array([row.values for row in rows])
    n, objectives = values.shape
    ranks = np.argsort(np.argsort(values, axis=0, kind="stable"), axis=0) / n
    depth = np.full(n, np.inf)
    for share in np.linspace(0.02, 0.98, 17):
        for j in range(objectives):
            weights = np.full(objectives, (1 - share) / max(objectives - 1, 1))
            weights[j] = share
            worst = np.maximum.reduce([ranks[:, k] * weights[k] for k in range(objectives)])
            depth = np.minimum(depth, worst - worst.min())
    near = np.argsort(depth, kind="stable")[:NEAR]
    others = np.setdiff1d(np.arange(n), near)
    spread = others[np.linspace(0, len(others) - 1, SUPPORT - NEAR).astype(int)]
    return [rows[i] for i in np.sort(np.concatenate([near, spread]))]
