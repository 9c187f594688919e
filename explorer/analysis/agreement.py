"""How far devices, runtimes and batch sizes agree on which architecture is the faster, and how far MACs know it.

Pure functions on a results frame (explorer/results.py). A latency is an interval: two architectures whose intervals
overlap are equals, on that device, and count for neither order.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explorer.analysis.bootstrap import interval, weighted_rho, weighted_tau, weights
from explorer.analysis.distribution import COMPLEXITY
from explorer.metrics import Metric
from explorer.results import interval_columns, latencies, metrics_of, verdict_column

Floats = NDArray[np.float64]

LEAST = 5  # architectures in common, below which two are not compared
MOST = 1000  # architectures compared: all pairs are, and with so many tau is known to about 0.02
DRAWS = 200  # of the bootstrap
DOUBTFUL = ("shared", "throttled")  # verdicts that shift a latency; a noisy one has a wider interval and counts
PROXIES = tuple(COMPLEXITY)  # counted in closed form, of every architecture: macs, params, activations


class Values(NamedTuple):
    """A quantity of some architectures: the middle and the ends of its interval, equal where it is exact."""

    low: Floats
    middle: Floats
    high: Floats

    def take(self, rows: NDArray[Any]) -> Values:
        return Values(self.low[rows], self.middle[rows], self.high[rows])


def quantity(frame: pd.DataFrame, name: str) -> Metric:
    """The metric of a latency or of a count that may stand for one: "latency@cuda_graph/b1", "macs", "activations"."""
    if name in PROXIES:
        return COMPLEXITY[name]
    (found,) = metrics_of(frame, [name])
    return found


def measured(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that may have been timed, each architecture once and by number: complete, stopped, or over a limit."""
    rows = frame[frame["status"].isin(["complete", "infeasible", "stopped"]) & ~frame["duplicate"]]
    return rows.drop_duplicates("id").sort_values("number", kind="stable")


def values(rows: pd.DataFrame, name: str) -> Values:
    """A quantity of each row, in its base unit (ms, counts); NaN where missing, or shifted by its verdict."""
    metric = quantity(rows, name)
    middle = rows[metric.column].to_numpy(dtype=float, na_value=np.nan)
    middle = np.where(middle > 0, middle, np.nan)
    ends = interval_columns(metric)
    if ends is None:
        return Values(middle, middle, middle)
    middle = np.where(rows[verdict_column(metric)].isin(DOUBTFUL).to_numpy(dtype=bool), np.nan, middle)
    low, high = (rows[end].to_numpy(dtype=float, na_value=np.nan) for end in ends)
    # an interval wider than the median may reach below 0
    low = np.where(low <= 0, middle**2 / np.where(high > 0, high, np.nan), low)
    # False where an end is missing or infinite: then the median counts as exact
    known = (low <= middle) & (middle <= high) & np.isfinite(high)
    return Values(np.where(known, low, middle), middle, np.where(known, high, middle))


def agreement(
    frame: pd.DataFrame, names: Sequence[str] | None = None, draws: int = DRAWS, seed: int = 0
) -> pd.DataFrame:
    """Rank agreement of every two latencies, and of every latency with MACs, parameters and activations.

    A row has `first` and `second` (names), `n` (architectures that have both), `tau` (Kendall's tau-b, where intervals
    overlap a tie) and `rho` (Spearman's, of the medians), each -1 to 1 with the ends of its 95 % bootstrap interval
    over architectures (`tau_lo`, `tau_hi`, ...). Ties lower tau also where nothing disagrees, so there are `told`, the
    share 0 to 1 of the pairs of architectures whose order both tell, and `same`, the share of those in the same order.
    Two with fewer than 5 architectures in common have no row. Of more than 1,000 a random 1,000 is compared.

    >>> agreement(frame(study), ["latency", "macs"])[["n", "tau", "tau_lo", "tau_hi"]]
    """
    rows = measured(frame)
    wanted = list(names) if names is not None else [*latencies(rows), *PROXIES]
    each = {name: values(rows, name) for name in wanted}
    found: list[dict[str, Any]] = []
    for first, second in combinations(wanted, 2):
        if first in PROXIES and second in PROXIES:
            continue
        both = np.flatnonzero(np.isfinite(each[first].middle) & np.isfinite(each[second].middle))
        generator = np.random.default_rng(seed)  # of each two the same: what has the same rows is resampled alike
        if len(both) > MOST:
            both = np.sort(generator.choice(both, MOST, replace=False))
        if len(both) >= LEAST:
            row = compared(each[first].take(both), each[second].take(both), draws, generator)
            found.append({"first": first, "second": second, "n": len(both)} | row)
    columns = ["first", "second", "n", "tau", "tau_lo", "tau_hi", "rho", "rho_lo", "rho_hi", "told", "same"]
    return pd.DataFrame(found, columns=columns)


def compared(first: Values, second: Values, draws: int, generator: np.random.Generator) -> dict[str, float]:
    """tau, rho, their intervals, and the shares of pairs told and in the same order, of the same architectures."""
    count = len(first.middle)
    one, other = order(first), order(second)
    agree = one * other
    drawn = weights(count, draws, generator, np.float32)
    tau, rho = weighted_tau(one, other, drawn), weighted_rho(first.middle, second.middle, drawn)
    told = float(np.abs(agree).sum())
    same = float((agree > 0).sum()) / told if told else np.nan
    shares = {"told": told / (count * (count - 1)), "same": same}
    return _with_interval("tau", tau) | _with_interval("rho", rho) | shares


def order(values: Values) -> NDArray[np.float32]:
    """(n, n): 1 where the row's is certainly more than the column's, -1 where less, 0 where that cannot be told."""
    more = values.low[:, None] > values.high[None, :]
    return more.astype(np.float32) - more.T.astype(np.float32)


def movers(frame: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """The architectures that two latencies rank differently beyond their intervals, the farthest first.

    Ranks begin at 1, the fastest. `number`, `what`, `first`, `second` (medians in the base unit), `rank_first_lo`,
    `rank_first_hi` and likewise `rank_second_*` (the best and worst rank that the intervals allow), and `moved`: by how
    many ranks for certain, positive where the second ranks it slower. `.attrs["n"]` architectures were ranked.
    """
    rows = measured(frame)
    one, other = values(rows, first), values(rows, second)
    both = np.flatnonzero(np.isfinite(one.middle) & np.isfinite(other.middle))
    one, other = one.take(both), other.take(both)
    (best1, worst1), (best2, worst2) = ranks(one), ranks(other)
    moved = np.where(best2 > worst1, best2 - worst1, np.where(worst2 < best1, worst2 - best1, 0))
    table = rows.iloc[both][["number", "what"]].assign(
        first=one.middle,
        second=other.middle,
        rank_first_lo=best1,
        rank_first_hi=worst1,
        rank_second_lo=best2,
        rank_second_hi=worst2,
        moved=moved,
    )
    table = table[moved != 0].sort_values("moved", key=lambda column: -column.abs(), kind="stable")
    table = table.reset_index(drop=True)
    table.attrs["n"] = len(both)
    return table


def ranks(values: Values) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The best and the worst rank (1 is the least) that the intervals allow each."""
    best = 1 + np.searchsorted(np.sort(values.high), values.low, side="left")
    worst = np.searchsorted(np.sort(values.low), values.high, side="right")
    return best, worst


def _with_interval(name: str, drawn: Floats) -> dict[str, float]:
    return dict(zip((name, f"{name}_lo", f"{name}_hi"), interval(drawn), strict=True))
