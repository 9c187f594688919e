"""What choosing by the wrong device costs: a front found by one latency, or by MACs, looked at by another latency.

Pure functions on a results frame (explorer/results.py); the architectures compared are those measured under both.
"""

from __future__ import annotations

import moocore
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explorer.analysis.agreement import LEAST, PROXIES, Floats, Values, measured, quantity, values
from explorer.results import latencies

STAYS, OPEN, LEAVES = "yes", "cannot be told", "no"


def transfer(frame: pd.DataFrame, by: str, on: str, goal: str = "accuracy") -> pd.DataFrame:
    """The front of `goal` against `by`, and what becomes of each member under the latency `on`; by rising `by`.

    `number`, `what`, `goal`, `by`, `on` (base units); `stays` on the front of `on`: yes, no, or cannot be told, where
    the intervals leave open whether it is dominated. `better` is the trial that has the best goal within the member's
    time under `on`, and `lost` by how much the member falls short of that (percentage points of accuracy). `faster` is
    the quickest trial under `on` that is as good, and `time_lost` how many percent longer the member takes. Where the
    member itself is the best, these are its own number and 0. `.attrs["n"]` architectures were compared.
    """
    metric = quantity(frame, goal)
    rows = measured(frame)
    rows = rows[rows["status"] == "complete"]
    chosen_by, timed = values(rows, by), values(rows, on)
    reached = rows[metric.column].to_numpy(dtype=float, na_value=np.nan)
    both = np.flatnonzero(np.isfinite(chosen_by.middle) & np.isfinite(timed.middle) & np.isfinite(reached))
    rows, cost, time, reached = rows.iloc[both], chosen_by.take(both).middle, timed.take(both), reached[both]
    worse = -reached if metric.maximize else reached
    members = np.flatnonzero(_front(cost, worse))
    members = members[np.argsort(cost[members], kind="stable")]
    better, faster = _best_within(time.middle, worse, members), _quickest(time.middle, worse, members)
    numbers = rows["number"].to_numpy()
    table = rows.iloc[members][["number", "what"]].assign(
        goal=reached[members],
        by=cost[members],
        on=time.middle[members],
        stays=_stays(time, worse, members),
        better=numbers[better],
        lost=(worse[members] - worse[better]),
        faster=numbers[faster],
        time_lost=100 * (time.middle[members] / time.middle[faster] - 1),
    )
    table = table.reset_index(drop=True)
    table.attrs["n"] = len(both)
    return table


def transfers(frame: pd.DataFrame, goal: str = "accuracy") -> pd.DataFrame:
    """For every way to choose (latencies, MACs, ...) and every latency: what its front keeps and loses there.

    `by`, `on`, `n` (architectures compared), `members` (of the front of `by`), `stay`, `open` (cannot be told) and
    `leave` (counts), `lost_mean` and `lost_most` (in the goal's unit) and `time_lost_mean` (%) over the members. Two
    with fewer than 5 architectures in common have no row, nor has the goal itself as either of them.
    """
    found = []
    timed = latencies(frame)
    for by in [*timed, *PROXIES]:
        for on in timed:
            if by == on or quantity(frame, goal).column in (quantity(frame, by).column, quantity(frame, on).column):
                continue
            table = transfer(frame, by, on, goal)
            if table.attrs["n"] < LEAST:
                continue
            stays = table["stays"]
            found.append(
                {
                    "by": by,
                    "on": on,
                    "n": table.attrs["n"],
                    "members": len(table),
                    "stay": int((stays == STAYS).sum()),
                    "open": int((stays == OPEN).sum()),
                    "leave": int((stays == LEAVES).sum()),
                    "lost_mean": float(table["lost"].mean()),
                    "lost_most": float(table["lost"].max()),
                    "time_lost_mean": float(table["time_lost"].mean()),
                }
            )
    columns = ["by", "on", "n", "members", "stay", "open", "leave", "lost_mean", "lost_most", "time_lost_mean"]
    return pd.DataFrame(found, columns=columns)


def front_numbers(frame: pd.DataFrame, by: str, goal: str = "accuracy") -> set[int]:
    """The trials that no other dominates in `goal` and a latency or count."""
    rows = measured(frame)
    rows = rows[rows["status"] == "complete"]
    metric = quantity(frame, goal)
    cost, reached = values(rows, by).middle, rows[metric.column].to_numpy(dtype=float, na_value=np.nan)
    both = np.flatnonzero(np.isfinite(cost) & np.isfinite(reached))
    worse = -reached[both] if metric.maximize else reached[both]
    return {int(number) for number in rows["number"].to_numpy()[both][_front(cost[both], worse)]}


def _front(cost: Floats, worse: Floats) -> NDArray[np.bool_]:
    """Which are dominated by none, of two quantities to be minimized; of equals the first."""
    if not len(cost):
        return np.zeros(0, dtype=bool)
    kept: NDArray[np.bool_] = moocore.is_nondominated(np.column_stack([cost, worse]))
    return kept


def _stays(time: Values, worse: Floats, members: NDArray[np.int64]) -> list[str]:
    """Whether each member is on the front by the medians; if not, whether it is off it for certain."""
    on_front = _front(time.middle, worse)
    found = []
    for member in members:
        certain = (time.high <= time.low[member]) & (worse <= worse[member])
        certain &= (time.high < time.low[member]) | (worse < worse[member])
        found.append(STAYS if on_front[member] else LEAVES if certain.any() else OPEN)
    return found


def _best_within(time: Floats, worse: Floats, members: NDArray[np.int64]) -> NDArray[np.int64]:
    """Index of the best architecture within each member's time; the member itself where none is better."""
    order = np.lexsort((worse, time))
    best = np.minimum.accumulate(worse[order])
    last = np.searchsorted(time[order], time[members], side="right") - 1
    first = np.searchsorted(-best, -best[last], side="left")  # where that best was reached first
    return np.where(best[last] < worse[members], order[first], members)


def _quickest(time: Floats, worse: Floats, members: NDArray[np.int64]) -> NDArray[np.int64]:
    """Index of the quickest architecture as good as each member; the member itself where none is quicker."""
    order = np.lexsort((time, worse))
    least = np.minimum.accumulate(time[order])
    last = np.searchsorted(worse[order], worse[members], side="right") - 1
    first = np.searchsorted(-least, -least[last], side="left")
    return np.where(least[last] < time[members], order[first], members)
