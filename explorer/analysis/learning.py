"""What learning curves say: which to show, where they lie at each epoch, and how early they tell the order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explorer import results

MOST_CURVES = 300
MOST_OF_FRONT = 100


def sample(
    frame: pd.DataFrame, objectives: Sequence[str], most: int = MOST_CURVES
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Numbers of the trials whose curves are shown: of the front, and of the other trained ones.

    All where they are few enough, else evenly spaced: along the front, and by their number.
    """
    best = results.front(frame, objectives)["number"].to_numpy()
    others = frame.loc[frame["train_seconds"].notna() & ~frame["status"].isin(["duplicate"]), "number"].to_numpy()
    others = np.sort(others[~np.isin(others, best)])
    members = _evenly(best, min(MOST_OF_FRONT, most))
    return members, _evenly(others, most - len(members))


def stopped(curves: pd.DataFrame, epochs: int) -> pd.DataFrame:
    """The curves that end before so many epochs: number, epoch (the last), accuracy (%)."""
    last = curves.sort_values(["number", "epoch"], kind="stable").groupby("number", sort=True).tail(1)
    return last[last["epoch"] < epochs].reset_index(drop=True)


def by_epoch(curves: pd.DataFrame) -> pd.DataFrame:
    """Where curves lie at each epoch: epoch, curves, lower quartile, median, upper quartile (%), rank agreement.

    Rank agreement is Spearman's correlation, over the curves that reach the last epoch, of the accuracy at this epoch
    with that at the last: how far a training stopped here would have told the same order. Missing below ten curves.
    """
    wide = curves.pivot_table(index="number", columns="epoch", values="accuracy", aggfunc="last")
    table = wide.quantile([0.25, 0.5, 0.75]).T
    table.columns = pd.Index(["q1", "median", "q3"])
    table.insert(0, "curves", wide.notna().sum())
    full = wide.dropna()
    agreement = pd.Series(np.nan, index=wide.columns, dtype="float64")
    if len(full) >= 10:
        ranks = full.rank()
        varies = ranks.columns[ranks.std() > 0]
        if len(varies) and varies[-1] == wide.columns[-1]:
            agreement[varies] = ranks[varies].corrwith(ranks[varies[-1]])
    return table.assign(rank_agreement=agreement).reset_index()


def _evenly(numbers: NDArray[np.int64], most: int) -> tuple[int, ...]:
    if len(numbers) > most:
        numbers = numbers[np.unique(np.linspace(0, len(numbers) - 1, max(most, 0)).round().astype(int))]
    return tuple(int(number) for number in numbers)
