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

from explorer.results import OBJECTIVES, candidate_points, front, interval_columns, metrics_of

NORMAL_95 = 1.96  # standard deviations from the median to either end of a 95 % interval
SAMPLE = 400  # candidates by which the order of comparisons is chosen
DRAWN_AT_ONCE = 1_000_000  # numbers
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
    rows, middle = candidate_points(frame, objectives)
    low, high = _ends(frame, rows, middle, objectives)
    possible = _not_dominated_for_certain(low, high)
    numbers = frame["number"].to_numpy()[rows]
    share = np.zeros(len(rows))
    share[possible] = _shares(low[possible], middle[possible], high[possible], numbers[possible], draws, seed)
    return pd.Series(share, index=pd.Index(numbers, name="number"), name="probability", dtype="float64")


def ties(frame: pd.DataFrame, objectives: Sequence[str] = OBJECTIVES) -> dict[int, tuple[int, ...]]:
    """Numbers of the front's members that a trial cannot be told from, by the trial's number, where there are any.

    Two trials tie where their latencies' intervals overlap so that it is open whether one dominates the other. A trial
    that is dominated for certain, whatever the latencies in their intervals, ties with none. Every trial off the
    front that could be on it is here, and so are members that could take each other's place.
    """
    rows, middle = candidate_points(frame, objectives)
    if not len(rows):
        return {}
    low, high = _ends(frame, rows, middle, objectives)
    possible = _not_dominated_for_certain(low, high)
    low, middle, high = low[possible], middle[possible], high[possible]
    numbers = frame["number"].to_numpy()[rows[possible]].tolist()
    found: dict[int, list[int]] = {}
    for member in np.flatnonzero(moocore.is_nondominated(middle)):
        may_dominate = (low[member] <= high).all(axis=1) & ~(high[member] <= low).all(axis=1)
        may_be_dominated = (low <= high[member]).all(axis=1) & ~(high <= low[member]).all(axis=1)
        for other in np.flatnonzero(may_dominate | may_be_dominated):
            if other != member:
                found.setdefault(numbers[other], []).append(numbers[member])
    return {number: tuple(found[number]) for number in sorted(found)}


def almost_on_front(frame: pd.DataFrame, objectives: Sequence[str], probability: pd.Series[Any]) -> pd.DataFrame:
    """The rows off the front that cannot be told from it (`probability` at least 0.05), the likeliest first."""
    members = front(frame, objectives)["number"]
    likely = probability[(probability >= WORTH_TELLING) & ~probability.index.isin(members)]
    order = likely.sort_values(ascending=False, kind="stable").index
    rows, _ = candidate_points(frame, objectives)
    places = pd.Index(frame["number"].to_numpy()[rows]).get_indexer(order)
    return frame.iloc[rows[places]].reset_index(drop=True)


def _ends(
    frame: pd.DataFrame, rows: NDArray[np.intp], middle: Points, objectives: Sequence[str]
) -> tuple[Points, Points]:
    """The candidates' points at the lower and at the upper ends of their intervals, `middle` being at the medians."""
    low, high = middle.copy(), middle.copy()
    for column, row in enumerate(metrics_of(frame, objectives)):
        ends = interval_columns(row)
        if ends is None or not set(ends) <= set(frame.columns):
            continue
        below, above = (frame[end].to_numpy(dtype=float, na_value=np.nan)[rows] for end in ends)
        known = (below <= middle[:, column]) & (middle[:, column] <= above) & np.isfinite(above)
        high[known, column] = above[known]
        # an interval wider than the median itself may reach below 0, where no time is
        low[known, column] = np.where(below > 0, below, middle[:, column] ** 2 / high[:, column])[known]
    return low, high


def _shares(
    low: Points, middle: Points, high: Points, numbers: NDArray[np.int64], draws: int, seed: int
) -> NDArray[np.float64]:
    """The share of draws in which each candidate is on the front of these: (candidates,).

    Every candidate has random numbers of its own, so that those of one do not depend on which others there are.
    """
    uncertain = np.flatnonzero((low < high).any(axis=0))
    if not uncertain.size:
        return moocore.is_nondominated(middle).astype(np.float64) if len(middle) else np.zeros(0)
    keys = [np.array([seed, number], dtype=np.uint64) for number in numbers.tolist()]
    generators = [np.random.Generator(np.random.Philox(key=key)) for key in keys]
    hits = np.zeros(len(middle))
    at_once = max(1, DRAWN_AT_ONCE // middle.size)
    for start in range(0, draws, at_once):
        count = min(at_once, draws - start)
        points = np.repeat(middle[np.newaxis], count, axis=0)  # (draws, candidates, objectives)
        z = np.stack([_cut_normal(own, (count, uncertain.size)) for own in generators], axis=1) / NORMAL_95  # -1 .. 1
        ends = np.where(z < 0, low[:, uncertain], high[:, uncertain])
        points[:, :, uncertain] *= (ends / middle[:, uncertain]) ** np.abs(z)
        for drawn in points:
            hits += moocore.is_nondominated(drawn)
    return hits / draws


def _cut_normal(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Standard normal numbers within the 95 % around 0."""
    z = generator.standard_normal(shape)
    while (outside := np.abs(z) > NORMAL_95).any():
        z[outside] = generator.standard_normal(int(outside.sum()))
    return z


def _not_dominated_for_certain(low: Points, high: Points) -> NDArray[np.intp]:
    """Places of the candidates that none is at least as good as at its upper ends, they being at their lower ones.

    The others are on no front that can be drawn, and leaving them out changes no draw: what one of them dominates is
    dominated by its own dominator, too. Of candidates that are equal and exact the first stays, as on the front.
    """
    left = np.arange(len(low))
    others = np.flatnonzero(moocore.is_nondominated(high)) if len(high) else left
    for other in others[_widest_first(high[others], low[:: len(low) // SAMPLE + 1])]:
        reached = low[left]
        dominated = np.flatnonzero((high[other] <= reached).all(axis=1))
        equal = (reached[dominated] == high[other]).all(axis=1)
        left = np.delete(left, dominated[~equal | (left[dominated] > other)])
    return left


def _widest_first(points: Points, sample: Points) -> NDArray[np.intp]:
    """An order of points in which each dominates the most of the sample that those before it do not.

    Only the speed hangs on it: what is dominated goes early, so that most points meet few candidates.
    """
    covers: NDArray[np.bool_] = np.all(points[:, np.newaxis] <= sample, axis=2)  # (points, sample)
    order: list[int] = []
    while covers.any():
        order.append(int(covers.sum(axis=1).argmax()))
        covers = covers[:, ~covers[order[-1]]]
    return np.array([*order, *np.setdiff1d(np.arange(len(points)), order)], dtype=np.intp)
