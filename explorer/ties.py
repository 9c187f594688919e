"""How sure a front is, given that every latency is an interval: probabilities of being on it, and ties.

Pure functions on a results frame (explorer/results.py). Latencies alone are uncertain here: accuracy, MACs, parameters
and memory are taken as exact, although another seed would train to another accuracy. A latency without an interval
counts as exact as well. Of several latencies each is uncertain by itself; what two of them share is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import moocore
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explorer.results import OBJECTIVES, candidates, front, interval_columns, metrics_of, points

NORMAL_95 = 1.96  # standard deviations from the median to either end of a 95 % interval
WORTH_TELLING = 0.05  # probability from which a candidate off the front is told of

Points = NDArray[np.float64]  # (candidates, objectives), all to be minimized


def front_probability(
    frame: pd.DataFrame, objectives: Sequence[str] = OBJECTIVES, draws: int = 2000, seed: int = 0
) -> pd.Series[Any]:
    """Probability 0 to 1 of being on the front, indexed by the number of every trial that may be on it.

    The share of `draws` in which a candidate is on the front (results.front) when every latency is drawn from its
    interval: normal in the logarithm, the median in the middle and an end of the interval at 1.96 standard deviations,
    where the tails are cut. So nothing is drawn from outside of an interval, and a candidate that is dominated
    beyond all intervals has exactly 0. The standard error of a probability of one half is 0.011 with 2,000 draws.

    >>> front_probability(frame(study))[7]
    0.97
    """
    rows = candidates(frame, objectives)
    low, middle, high = _interval_points(rows, objectives)
    generator = np.random.default_rng(seed)
    hits = np.zeros(len(rows))
    uncertain = np.flatnonzero((low < high).any(axis=0))
    for _ in range(draws if uncertain.size and len(rows) else min(1, len(rows))):
        points = middle.copy()
        for column in uncertain:
            z = _cut_normal(generator, len(rows)) / NORMAL_95  # -1 .. 1
            ends = np.where(z < 0, low[:, column], high[:, column])
            points[:, column] = middle[:, column] * (ends / middle[:, column]) ** np.abs(z)
        hits += moocore.is_nondominated(points)
    share = hits / (draws if uncertain.size else 1)
    return pd.Series(share, index=pd.Index(rows["number"], name="number"), name="probability", dtype="float64")


def ties(frame: pd.DataFrame, objectives: Sequence[str] = OBJECTIVES) -> dict[int, tuple[int, ...]]:
    """Numbers of the front's members that a trial cannot be told from, by the trial's number, where there are any.

    Two trials tie where their latencies' intervals overlap so that it is open whether one dominates the other. A trial
    that is dominated for certain, whatever the latencies in their intervals, ties with none. Every trial off the
    front that could be on it is here, and so are members that could take each other's place.
    """
    rows = candidates(frame, objectives)
    if rows.empty:
        return {}
    low, middle, high = _interval_points(rows, objectives)
    possible = ~_dominated_for_certain(low, high)
    numbers = rows["number"].to_numpy()
    found: dict[int, list[int]] = {}
    for member in np.flatnonzero(moocore.is_nondominated(middle)):
        may_dominate = (low[member] <= high).all(axis=1) & ~(high[member] <= low).all(axis=1)
        may_be_dominated = (low <= high[member]).all(axis=1) & ~(high <= low[member]).all(axis=1)
        for other in np.flatnonzero((may_dominate | may_be_dominated) & possible):
            if other != member:
                found.setdefault(int(numbers[other]), []).append(int(numbers[member]))
    return {number: tuple(found[number]) for number in sorted(found)}


def almost_on_front(frame: pd.DataFrame, objectives: Sequence[str], probability: pd.Series[Any]) -> pd.DataFrame:
    """The rows off the front that cannot be told from it (`probability` at least 0.05), the likeliest first."""
    rows, members = candidates(frame, objectives), front(frame, objectives)["number"]
    likely = probability[(probability >= WORTH_TELLING) & ~probability.index.isin(members)]
    order = likely.sort_values(ascending=False, kind="stable").index
    return rows.set_index("number", drop=False).loc[order].reset_index(drop=True)


def _interval_points(rows: pd.DataFrame, objectives: Sequence[str]) -> tuple[Points, Points, Points]:
    """The candidates' points at the lower ends of their intervals, at their medians, and at the upper ends."""
    middle = points(rows, objectives)
    low, high = middle.copy(), middle.copy()
    for column, row in enumerate(metrics_of(rows, objectives)):
        ends = interval_columns(row)
        if ends is None or not set(ends) <= set(rows.columns):
            continue
        below, above = (rows[end].to_numpy(dtype=float, na_value=np.nan) for end in ends)
        known = (below <= middle[:, column]) & (middle[:, column] <= above) & np.isfinite(above)
        high[known, column] = above[known]
        # an interval wider than the median itself may reach below 0, where no time is
        low[known, column] = np.where(below > 0, below, middle[:, column] ** 2 / high[:, column])[known]
    return low, middle, high


def _cut_normal(generator: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Standard normal numbers within the 95 % around 0."""
    z = generator.standard_normal(count)
    while (outside := np.abs(z) > NORMAL_95).any():
        z[outside] = generator.standard_normal(int(outside.sum()))
    return z


def _dominated_for_certain(low: Points, high: Points) -> NDArray[np.bool_]:
    """Whether another candidate is at least as good at the upper ends as this one at its lower ends.

    Of candidates that are equal and exact the first is not, as on the front.
    """
    found = np.zeros(len(low), dtype=bool)
    index = np.arange(len(low))
    for other in np.flatnonzero(moocore.is_nondominated(high)):
        equal = (high[other] == low).all(axis=1)
        found |= (high[other] <= low).all(axis=1) & (~equal | (index > other))
    return found
