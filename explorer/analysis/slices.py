"""How an objective lies at each value of one choice of the architecture: counts, quartiles, the best."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from explorer import results

MOST_VALUES = 12  # of a number, above which they are put into bins
BINS = 8
ABSENT = "not there"


def levels(frame: pd.DataFrame, column: str) -> pd.Series[Any]:
    """The value of a structure column of each row as an ordered category: as it is, or in bins; "not there" last.

    >>> levels(frame, "width@1").cat.categories
    Index(['32', '48', '64 to 96', 'not there'])
    """
    values = frame[column]
    known = values.dropna()
    if isinstance(values.dtype, pd.CategoricalDtype | pd.StringDtype | pd.BooleanDtype):
        words = known.astype("object").map(lambda value: {True: "yes", False: "no"}.get(value, str(value)))
        order = sorted(words.unique())
    else:
        numbers = known.to_numpy(dtype=float)
        words = pd.Series(_binned(numbers), index=known.index, dtype="object")
        places = pd.DataFrame({"word": words, "number": numbers}).groupby("word")["number"].min()
        order = list(places.sort_values().index)
    found = words.reindex(frame.index).astype("object")
    if found.isna().any():
        found, order = found.fillna(ABSENT), [*order, ABSENT]
    return pd.Series(pd.Categorical(found, categories=order, ordered=True), index=frame.index)


def by_level(frame: pd.DataFrame, column: str, objective: str) -> pd.DataFrame:
    """Of each value of a column: level, trials, least, q1, median, q3, most of an objective, in stored units.

    Complete trials with this objective, each architecture once.
    """
    (metric,) = results.metrics_of(frame, [objective])
    rows = results.candidates(frame, [objective])
    values = rows[metric.column].astype("float64")
    grouped = values.groupby(levels(rows, column), observed=True)
    table = grouped.quantile(np.array([0, 0.25, 0.5, 0.75, 1])).unstack()
    table.columns = pd.Index(["least", "q1", "median", "q3", "most"])
    table.insert(0, "trials", grouped.size())
    return table.rename_axis("level").reset_index().astype({"level": "object"})


def _binned(numbers: np.ndarray[Any, np.dtype[np.float64]]) -> list[str]:
    """Each number in words, with others in its bin where there are too many different ones."""
    different = np.unique(numbers)
    if len(different) <= MOST_VALUES:
        return [f"{number:.4g}" for number in numbers]
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, BINS + 1)[1:-1], method="higher"))
    which = np.searchsorted(edges, numbers, side="right")
    ends = {int(k): (numbers[which == k].min(), numbers[which == k].max()) for k in np.unique(which)}
    words = {k: f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}" for k, (low, high) in ends.items()}
    return [words[int(k)] for k in which]
