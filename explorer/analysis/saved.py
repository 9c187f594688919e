"""Training time that a search did not spend, in seconds, by the rule that saved it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

COLUMNS = ("rule", "trials", "seconds", "basis", "how")
STOPPED = "training ended early, out of reach of the front"
UNBEGUN = "not trained, out of reach of the front"


def trained(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows whose own training was run to its end; a repeat's time is its original's."""
    return frame[frame["train_seconds"].notna() & ~frame["status"].isin(["duplicate", "stopped"])]


def spent_seconds(frame: pd.DataFrame) -> float:
    """Seconds of training that the search has spent, also on trials that were stopped early."""
    return float(frame.loc[~frame["status"].isin(["duplicate"]), "train_seconds"].sum())


class Trainings(NamedTuple):
    """How many trainings ran to the end, were ended early and were not begun, and what that cost and saved."""

    whole: int
    stopped: int
    unbegun: int
    seconds: float  # of training, spent
    saved: float  # seconds, estimated; missing where nothing has been trained


def trainings(frame: pd.DataFrame, record: Mapping[str, Any]) -> Trainings:
    """What the rule that ends trainings has done in a search; `record` is the study's."""
    rows = _rule(frame, record)
    many = [next((row[1] for row in rows if row[0] == name), 0) for name in (STOPPED, UNBEGUN)]
    saved = float(sum(row[2] for row in rows))
    return Trainings(len(trained(frame)), many[0], many[1], spent_seconds(frame), saved)


def saved(frame: pd.DataFrame, record: Mapping[str, Any]) -> pd.DataFrame:
    """What each rule saved: rule, trials, seconds, basis (measured, estimated), how it was reckoned in words.

    `record` is the study's. Where nothing has been trained the seconds are missing.
    """
    seconds = trained(frame)["train_seconds"]
    mean = float(seconds.mean()) if len(seconds) else np.nan
    rows = [_repeats(frame), *_limits(frame, mean, len(seconds)), *_rule(frame, record), _schedule(seconds, record)]
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


def _rule(frame: pd.DataFrame, record: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """What cannot reach the front is trained no longer, or not at all. Each row only where there is such a trial."""
    proxy = record.get("proxy") or {}
    epochs = proxy.get("stop_epoch") or proxy.get("epochs")
    own = frame[~frame["status"].isin(["duplicate"])]
    after = own["stopped_after"].to_numpy(dtype="float64", na_value=np.nan)
    took = own["train_seconds"].to_numpy(dtype="float64", na_value=np.nan)
    early, unbegun = after > 0, after == 0
    if not epochs or not (early | unbegun).any():
        return []
    each = took / np.where(early, after, epochs)  # seconds an epoch
    each = each[np.isfinite(each)]
    rest = float((took[early] / after[early] * (epochs - after[early])).sum())
    whole = float(unbegun.sum()) * epochs * (float(each.mean()) if len(each) else np.nan)
    how = f"the epochs of {epochs} that they did not run × each one's own time an epoch"
    mean = f"their number × {epochs} epochs of the mean time that the {len(each):,} trained ones took for one"
    rows = [
        (STOPPED, int(early.sum()), rest, "estimated", how),
        (UNBEGUN, int(unbegun.sum()), whole, "estimated", mean),
    ]
    return [row for row in rows if row[1]]


def _schedule(seconds: pd.Series[Any], record: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """A training stopped before the end of its schedule."""
    proxy = record.get("proxy") or {}
    epochs, stop = proxy.get("epochs"), proxy.get("stop_epoch")
    if not epochs or not stop or stop >= epochs:
        return None
    how = f"each of the trained ran {stop} of its schedule's {epochs} epochs; an epoch costs the same early and late"
    rest = float(seconds.sum()) * (epochs / stop - 1) if len(seconds) else np.nan
    return f"every training stopped after epoch {stop} of {epochs}", len(seconds), rest, "estimated", how
