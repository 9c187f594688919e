"""Returns where a trial comes from as a table of words: study, times, versions, data, limits, what it repeats."""

from __future__ import annotations

from typing import Any

import pandas as pd

from dashboard.data import View
from explorer.metrics import METRICS
from explorer.record import Conditions, TrialRecord


def provenance(view: View, number: int) -> pd.DataFrame:
    """One row a fact, `what` and `value`, both text as it was written."""
    row = view.frame[view.frame["number"] == number].iloc[0]
    record = view.trial_record(number)
    facts: dict[str, Any] = {
        "study": view.name,
        "storage": view.storage,
        "trial": number,
        "status": row["status"],
        "id of the architecture": row["id"],
        "preset": row["preset"],
        "infeasible": row["infeasible"],
        "error": row["error"],
        "repeat of trial": row["duplicate_of"],
        "retry of trial": row["retry_of"],
        "started": _time(row["started"]),
        "finished": _time(row["finished"]),
        "duration, s": _seconds(row["seconds"]),
    }
    if record is not None:
        facts |= _of_record(record)
    facts |= _of_study(view.record)
    known = {what: value for what, value in facts.items() if value is not None and not pd.isna(value) and value != ""}
    return pd.DataFrame({"what": list(known), "value": [str(value) for value in known.values()]}, dtype="object")


def _of_record(record: TrialRecord) -> dict[str, Any]:
    """Seconds by step and the conditions of the latency; how it was repeated."""
    facts: dict[str, Any] = {"retries": record.retries or None}
    if record.evaluation is None:
        return facts
    facts |= {f"seconds for {step}": _seconds(seconds) for step, seconds in record.evaluation.seconds.items()}
    latency = record.evaluation.latency
    if latency is None:
        return facts
    facts |= {"latency measured": f"{latency.samples} samples, {latency.stop}"}
    facts |= {"verdict on the latency": ": ".join(filter(None, [latency.verdict, latency.reason]))}
    return facts | _conditions(latency.conditions)


def _conditions(measured: Conditions) -> dict[str, Any]:
    versions = [f"torch {measured.torch}", *(f"{name} {version}" for name, version in measured.libraries.items())]
    return {
        "device": measured.device_name,
        "driver": measured.driver,
        "runtime": f"{measured.runtime}, {measured.precision}, batch {measured.batch_size}",
        "threads": measured.threads,
        "versions": ", ".join(versions),
    }


def _of_study(record: dict[str, Any]) -> dict[str, Any]:
    """What holds for all trials of the study."""
    proxy, data, limits = (record.get(name) or {} for name in ("proxy", "data", "limits"))
    stated = {
        METRICS[name].label: METRICS[name].text(float(limit)) for name, limit in limits.items() if _limit(name, limit)
    }
    return {
        "space": record.get("space_name"),
        "seed": record.get("seed"),
        "data": data.get("source"),
        "fingerprint of the data": data.get("fingerprint"),
        "proxy training": ", ".join(
            f"{name.replace('_', ' ')} {value}" for name, value in proxy.items() if value is not None
        ),
        "limits": ", ".join(f"{label} at most {text}" for label, text in stated.items()) or "none",
    }


def _limit(name: str, limit: Any) -> bool:
    return name in METRICS and isinstance(limit, int | float)


def _time(value: Any) -> str | None:
    return None if pd.isna(value) else f"{value:%Y-%m-%d %H:%M:%S} UTC"


def _seconds(value: Any) -> str | None:
    return None if pd.isna(value) else f"{value:.3g}"
