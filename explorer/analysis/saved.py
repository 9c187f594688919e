"""Training time that a search did not spend, in seconds, by the rule that saved it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

COLUMNS = ("rule", "trials", "seconds", "basis", "how")


def trained(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows whose own training was run to its end; a repeat's time is its original's."""
    return frame[frame["train_seconds"].notna() & ~frame["status"].isin(["duplicate", "stopped"])]


def spent_seconds(frame: pd.DataFrame) -> float:
    """Seconds of training that the search has spent on trials that trained to their end."""
    return float(trained(frame)["train_seconds"].sum())


def saved(frame: pd.DataFrame, record: Mapping[str, Any]) -> pd.DataFrame:
    """What each rule saved: rule, trials, seconds, basis (measured, estimated), how it was reckoned in words.

    `record` is the study's. Where nothing has been trained the seconds are missing.
    """
    seconds = trained(frame)["train_seconds"]
    mean = float(seconds.mean()) if len(seconds) else np.nan
    rows = [_repeats(frame), *_limits(frame, mean, len(seconds)), _schedule(seconds, record)]
    return pd.DataFrame([row for row in rows if row is not None], columns=list(COLUMNS))


def _repeats(frame: pd.DataFrame) -> tuple[Any, ...]:
    """An architecture proposed again is answered from its first trial."""
    replayed = frame.loc[frame["status"].isin(["duplicate"]), "train_seconds"].dropna()
    how = "the training time of the first trial of the same architecture, once for each repeat"
    return "repeats answered from the record", len(replayed), float(replayed.sum()), "measured", how


def _limits(frame: pd.DataFrame, mean: float, n: int) -> list[tuple[Any, ...]]:
    """What is over a limit is not trained: rejected in closed form, or after it was timed."""
    over = frame[frame["status"].isin(["infeasible"]) & frame["train_seconds"].isna()]
    timed = over["seconds"].fillna(0).to_numpy(dtype=float) > 0
    how = f"their number × the mean training time of the {n:,} trained ones"
    large = "; networks over a limit on MACs or parameters are larger than those, so it is likely more"
    return [
        ("over a limit in closed form", int((~timed).sum()), float((~timed).sum()) * mean, "estimated", how + large),
        ("over a limit on latency or memory", int(timed.sum()), float(timed.sum()) * mean, "estimated", how),
    ]


def _schedule(seconds: pd.Series[Any], record: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """A training stopped before the end of its schedule."""
    proxy = record.get("proxy") or {}
    epochs, stop = proxy.get("epochs"), proxy.get("stop_epoch")
    if not epochs or not stop or stop >= epochs:
        return None
    how = f"each of the trained ran {stop} of its schedule's {epochs} epochs; an epoch costs the same early and late"
    rest = float(seconds.sum()) * (epochs / stop - 1) if len(seconds) else np.nan
    return f"every training stopped after epoch {stop} of {epochs}", len(seconds), rest, "estimated", how
