"""What training in full changed: how the finalists' accuracies and ranks moved, and who is on the front by them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from explorer import results
from explorer.metrics import FINAL

MOVES = {  # column -> dtype
    "number": "int64",  # of the trial
    "what": "string",
    "accuracy": "float64",  # in the search, %
    "final_accuracy": "float64",  # in full, %
    "rank": "int64",  # among these by the accuracy in the search, 1 is the best
    "final_rank": "int64",  # and in full
    "on_front": "bool",  # of the study, by the accuracies in the search
    "final_front": "bool",  # of these, by those in full
    "dominated_by": "Int64",  # number of the most accurate of these that dominates it in full
}


def moves(frame: pd.DataFrame, numbers: Sequence[int], objectives: Sequence[str]) -> pd.DataFrame:
    """One row for each of these trials that was trained in full, by its final rank, with the columns of MOVES.

    `.attrs["tau"]` is Kendall's tau-b of the two accuracies, NaN for fewer than two; `.attrs["n"]` how many there are.
    They are the best of their search, closer to each other than the space's networks: their tau is lower than the
    space's is.
    """
    from scipy.stats import kendalltau

    final = [FINAL.name if name == "accuracy" else name for name in objectives]
    among = results.candidates(frame[frame["number"].isin(numbers)], final)
    points = results.points(among, final)  # to minimise
    members = set(results.front(among, final)["number"])
    before = set(results.front(frame, objectives)["number"])
    by = pd.Series(pd.NA, among.index, dtype="Int64")
    for place, row in enumerate(among.index):
        if among.loc[row, "number"] not in members:
            better = np.less_equal(points, points[place]).all(axis=1) & (among.index != row)  # and nowhere worse
            by[row] = among.loc[among.loc[better, "final_accuracy"].idxmax(), "number"]
    table = among[["number", "what", "accuracy", "final_accuracy"]].assign(
        rank=among["accuracy"].rank(ascending=False, method="min"),
        final_rank=among["final_accuracy"].rank(ascending=False, method="min"),
        on_front=among["number"].isin(before),
        final_front=among["number"].isin(members),
        dominated_by=by,
    )
    table = table.astype(MOVES).sort_values(["final_rank", "number"], kind="stable").reset_index(drop=True)
    table.attrs = {"n": len(table), "tau": float("nan")}
    if len(table) > 1:
        table.attrs["tau"] = float(kendalltau(table["accuracy"], table["final_accuracy"]).statistic)
    return table
