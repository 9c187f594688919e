"""Which choice of an architecture tells most of a metric, at a glance: by the means of its levels alone."""

from __future__ import annotations

import numpy as np
import pandas as pd

from explorer import results, structure
from explorer.analysis import distribution


def strongest_split(frame: pd.DataFrame, metric: str) -> str | None:
    """The structure column whose levels tell most of a metric: the largest share of its variance between them.

    The share is corrected for the number of levels (omega squared); levels of fewer than 8 trials do not count.
    """
    rows = results.candidates(frame, [metric])
    (goal,) = results.metrics_of(frame, [metric])
    best: tuple[float, str] | None = None
    for split in structure.splits(rows):
        level = distribution.levels(rows[split])
        codes, values = level.cat.codes.to_numpy(), rows[goal.column].to_numpy(dtype=float)
        counts = np.bincount(codes[codes >= 0])
        large = np.flatnonzero(counts >= distribution.FEWEST)
        kept = np.isin(codes, large)
        if len(large) < 2:
            continue
        groups = pd.Series(values[kept]).groupby(codes[kept])
        within = float((groups.var(ddof=0) * groups.size()).sum())
        total = float(((values[kept] - values[kept].mean()) ** 2).sum())
        error = within / max(int(kept.sum()) - len(large), 1)
        share = (total - within - (len(large) - 1) * error) / (total + error) if total + error > 0 else 0.0
        if best is None or share > best[0]:
            best = (share, split)
    return None if best is None or best[0] <= 0 else best[1]
