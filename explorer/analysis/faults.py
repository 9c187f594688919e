"""What is wrong in a study, from its frame: failures by reason, latencies in doubt or missing, trials cut short."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from explorer import results
from explorer.metrics import Metric

LONGEST = 160  # characters of a reason
_NUMBERS = re.compile(r"0x[0-9a-fA-F]+|\d+(?:[.,:]\d+)*(?:[eE][+-]?\d+)?")
NO_REASON = "no reason kept: the trial ended before its record was written"


def failures(frame: pd.DataFrame) -> pd.DataFrame:
    """Failed trials by reason, the most frequent first: reason, trials, share of all failed, example (the last number).

    The reason is the error's line with its numbers left out, so that two sizes of one want of memory are one reason.
    """
    failed = frame.loc[frame["status"].isin(["failed"]), ["number", "error"]]
    errors = failed["error"].astype("object")
    reasons = {error: reason(error) for error in errors.dropna().unique()}
    table = pd.DataFrame({"reason": errors.map(reasons).fillna(NO_REASON), "number": failed["number"]})
    grouped = table.groupby("reason", sort=False)["number"].agg(["size", "max"]).reset_index()
    grouped.columns = pd.Index(["reason", "trials", "example"])
    grouped.insert(2, "share", grouped["trials"] / max(len(failed), 1))
    return grouped.sort_values(["trials", "example"], ascending=False, ignore_index=True)


def reason(error: str) -> str:
    """An error's first line with "…" for its numbers.

    >>> reason("OutOfMemoryError: tried to allocate 3.00 GiB at 0x7f3a")
    'OutOfMemoryError: tried to allocate … GiB at …'
    """
    line = (str(error).strip().splitlines() or [""])[0]
    found = _NUMBERS.sub("…", line)
    return found if len(found) <= LONGEST else found[: LONGEST - 1] + "…"


def repeats(frame: pd.DataFrame) -> tuple[int, int]:
    """How many ended trials only repeated an architecture, and how many ended."""
    ended = ~frame["status"].isin(["running", "waiting"])
    return int(frame["status"].isin(["duplicate"]).sum()), int(ended.sum())


def doubtful(frame: pd.DataFrame) -> pd.DataFrame:
    """Latencies by verdict: latency, verdict, trials, share of those measured; the verdict ok is left out.

    Each architecture once. A latency without a verdict was measured by an early protocol, which gave none.
    """
    once = frame[~frame["status"].isin(["duplicate"])]
    rows: list[tuple[Any, ...]] = []
    for metric in _timed(frame):
        measured = once[once[metric.column].notna()]
        verdicts = measured[results.verdict_column(metric)].astype("object").fillna("none")
        for verdict, count in verdicts.value_counts().items():
            if verdict != "ok":
                rows.append((metric.name, verdict, int(count), count / len(measured)))
    return pd.DataFrame(rows, columns=["latency", "verdict", "trials", "share"])


def partly_measured(frame: pd.DataFrame) -> pd.DataFrame:
    """Latencies that some complete architectures have not: latency, measured, complete (how many of each)."""
    complete = frame[frame["status"].isin(["complete"]) & ~frame["duplicate"]]
    rows = []
    for metric in _timed(frame):
        measured = int(complete[metric.column].notna().sum())
        if measured < len(complete):
            rows.append((metric.name, measured, len(complete)))
    return pd.DataFrame(rows, columns=["latency", "measured", "complete"])


def interrupted(frame: pd.DataFrame) -> tuple[int, int]:
    """How many trials were interrupted, and how many of these no ended trial has repeated yet.

    A repeat that was itself interrupted counts as one: it is then the one to repeat.
    """
    cut = frame.loc[frame["status"].isin(["interrupted"]), "number"]
    again = frame.loc[~frame["status"].isin(["waiting", "running"]), "retry_of"].dropna()
    return len(cut), int((~cut.isin(again.to_numpy(dtype="int64"))).sum())


def _timed(frame: pd.DataFrame) -> tuple[Metric, ...]:
    """The latencies that the frame has any value of."""
    names = results.latencies(frame)
    return results.metrics_of(frame, names) if names else ()
