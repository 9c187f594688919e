"""How fast a search goes, from its frame: trials an hour, hours of the device, time left, trials by stretch of time.

The frame has the column `finished` (UTC) beside those of explorer/frame.py. Pure functions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

PAUSE = 600.0  # seconds without any trial that count as a pause of the search
RECENT = 30  # evaluated trials of which the present rate is taken
ENDED = ("complete", "duplicate", "infeasible", "stopped", "failed", "interrupted")
HOUR = 3600.0
STRETCHES = (  # seconds
    *(1, 2, 5, 10, 30),
    *(60 * minutes for minutes in (1, 2, 5, 10, 30)),
    *(3600 * hours for hours in (1, 2, 3, 6, 12, 24, 48, 168)),
)


@dataclass(frozen=True)
class Pace:
    """The rate of a search; evaluated trials are those that count towards `--trials` (evaluated)."""

    evaluated: int
    hours: float  # in which it ran, pauses left out
    paused_hours: float
    device_hours: float  # wall time of the trials, added up
    per_hour: float | None  # evaluated trials an hour; None below two
    recent_per_hour: float | None  # the same over the last RECENT


def evaluated(frame: pd.DataFrame) -> NDArray[np.bool_]:
    """Which rows count towards `vitscape search --trials`: evaluated or failed, not rejected in closed form alone."""
    status = frame["status"]
    took_time = frame["seconds"].fillna(0).to_numpy(dtype=float) > 0
    always = _among(status, ("complete", "stopped", "failed"))
    counted: NDArray[np.bool_] = always | (_among(status, ("infeasible",)) & took_time)
    return counted


def pace(frame: pd.DataFrame) -> Pace:
    """How fast the search went, in all and over the last 30 evaluated trials."""
    spans = _spans(frame)
    counted = np.sort(_seconds(ends(frame)[evaluated(frame)].dropna()))
    hours, paused = _running_hours(spans)
    rate = recent = None
    if len(counted) > 1 and hours > 0:
        rate = len(counted) / hours
        since = counted[-min(RECENT + 1, len(counted))]
        lately, _ = _running_hours(spans[spans[:, 1] > since], since)
        recent = (min(RECENT + 1, len(counted)) - 1) / lately if lately > 0 else None
    return Pace(len(counted), hours, paused, float(frame["seconds"].sum()) / HOUR, rate, recent)


def ends(frame: pd.DataFrame) -> pd.Series[Any]:
    """When each trial's work ended (UTC); missing where it has not.

    A trial that was interrupted, or failed without a time of its own, is closed by the resume, hours later perhaps: it
    ended when it had taken the seconds that its record says, at its start where it says none.
    """
    finished = frame["finished"]
    seconds = frame["seconds"].fillna(0).astype("float64")
    unrecorded = _among(frame["status"], ("failed",)) & (seconds <= 0).to_numpy(dtype=bool)
    closed = (_among(frame["status"], ("interrupted",)) | unrecorded) & frame["started"].notna().to_numpy(dtype=bool)
    worked = frame["started"] + pd.to_timedelta(seconds, unit="s")
    return finished.where(~closed | finished.isna() | (finished <= worked), worked)


def hours_left(pace: Pace, asked: int) -> float | None:
    """Hours until so many trials are evaluated, at the recent rate; None where there is no rate yet."""
    if pace.recent_per_hour is None:
        return None
    return max(asked - pace.evaluated, 0) / pace.recent_per_hour


def stale(frame: pd.DataFrame, now: pd.Timestamp) -> pd.DataFrame:
    """The running trials that have run so long that their process is probably dead: number, hours.

    Longer than ten minutes, and than twenty times the median trial. Optuna writes times by the writer's clock and does
    not say its zone: none is told of where the storage is no SQLite file (the frame's attribute `remote`), so that the
    writer may be in another zone, nor where a trial began in the future of `now`, so that it is.
    """
    if frame.attrs.get("remote", False) or bool((frame["started"] > now).any()):
        return pd.DataFrame({"number": pd.Series(dtype="int64"), "hours": pd.Series(dtype="float64")})
    running = frame.loc[_among(frame["status"], ("running",)), ["number", "started"]]
    usual = frame.loc[evaluated(frame), "seconds"].median()
    hours = (now - running["started"]).dt.total_seconds() / HOUR
    bound = max(PAUSE, 0.0 if pd.isna(usual) else 20 * float(usual)) / HOUR
    return pd.DataFrame({"number": running["number"], "hours": hours})[hours > bound].reset_index(drop=True)


def clock(frame: pd.DataFrame, over: str) -> pd.DataFrame:
    """The ended trials in the order in which they ended, with the frame's index: number, and x, their place on an axis.

    `over` is "trials" (x is the number), "time" (hours since the first trial began, pauses included) or "device-hours"
    (hours that the trials up to this one took, added up).
    """
    ended = _among(frame["status"], ENDED)
    if over == "trials":
        ordered = frame.loc[ended, ["number"]].sort_values("number", kind="stable")
        return ordered.assign(x=ordered["number"].astype("float64"))
    rows = frame[["number", "seconds"]].assign(finished=ends(frame))[ended]
    rows = rows[rows["finished"].notna()].sort_values(["finished", "number"], kind="stable")
    hours = rows["seconds"].fillna(0).astype("float64").cumsum() / HOUR
    if over == "time":
        hours = (rows["finished"] - frame["started"].min()).dt.total_seconds() / HOUR
    return rows[["number"]].assign(x=hours)


def throughput(frame: pd.DataFrame, bins: int = 60) -> pd.DataFrame:
    """Trials that finished in each stretch of time, by status: start, end (UTC), status, trials; empty ones left out.

    A stretch is a round one: seconds, minutes or hours, so that there are at most `bins`.
    """
    ended = frame[["status"]].assign(finished=ends(frame))[_among(frame["status"], ENDED)].dropna(subset=["finished"])
    if ended.empty:
        return pd.DataFrame({"start": [], "end": [], "status": [], "trials": []})
    span = (ended["finished"].max() - ended["finished"].min()).total_seconds()
    longest = STRETCHES[-1] * (1 + span // (STRETCHES[-1] * bins))
    step = pd.Timedelta(seconds=next((s for s in STRETCHES if span / s <= bins - 1), longest))
    start = ended["finished"].dt.floor(step)
    counts = pd.DataFrame({"start": start, "status": ended["status"].astype(str)}).value_counts(sort=False)
    table = counts.rename("trials").reset_index().sort_values(["start", "status"], ignore_index=True)
    table.insert(1, "end", table["start"] + step)
    return table


def _among(status: pd.Series[Any], names: tuple[str, ...]) -> NDArray[np.bool_]:
    return status.isin(names).to_numpy(dtype=bool)


def _seconds(times: pd.Series[Any]) -> NDArray[np.float64]:
    """Seconds since 1970."""
    return times.to_numpy(dtype="datetime64[us]").astype("int64") / 1e6


def _spans(frame: pd.DataFrame) -> NDArray[np.float64]:
    """(n, 2): when each ended trial began and finished, in seconds, by its start."""
    times = frame[["started"]].assign(finished=ends(frame))[_among(frame["status"], ENDED)].dropna()
    spans = np.column_stack([_seconds(times["started"]), _seconds(times["finished"])])
    ordered: NDArray[np.float64] = spans[np.argsort(spans[:, 0], kind="stable")]
    return ordered


def _running_hours(spans: NDArray[np.float64], since: float = -np.inf) -> tuple[float, float]:
    """Hours from the first start (or from `since`) to the last finish without pauses, and hours of the pauses."""
    if not len(spans):
        return 0.0, 0.0
    starts = np.maximum(spans[:, 0], since)
    until = np.maximum.accumulate(spans[:, 1])
    gaps = starts[1:] - until[:-1]
    if np.isfinite(since):
        gaps = np.append(gaps, starts[0] - since)
        starts = np.append(starts, since)
    paused = float(gaps[gaps > PAUSE].sum())
    return (float(until[-1] - starts.min()) - paused) / HOUR, paused / HOUR
