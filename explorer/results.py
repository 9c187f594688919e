"""Returns a study as a tidy frame, one row a trial, and what follows: front, hypervolume, knee, best under budgets.

Pure functions on the frame; columns carry their unit in the name (latency_ms, memory_mb in MiB) or have the base unit
(accuracy in %, macs and params as counts). Objectives are named as in explorer/metrics.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import moocore
import numpy as np
import optuna
import pandas as pd
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState
from pydantic import ValidationError

from explorer.metrics import METRICS, MetricError, metrics
from explorer.record import Evaluation, TrialRecord
from explorer.storage import ATTRIBUTE, StorageError

OBJECTIVES = ("accuracy", "latency")
REFERENCE_MARGIN = 1.1  # default reference point: this times the worst cost seen

COLUMNS: dict[str, str] = {  # column -> dtype, the same for an empty study
    "number": "int64",  # of the trial in its study
    "status": "string",  # complete, duplicate, infeasible, failed, interrupted; running, waiting
    "id": "string",  # of the architecture
    "preset": "string",  # the published model that it is
    "what": "string",  # the architecture in a few words
    "accuracy": "float64",  # top-1 of the proxy, %
    "latency_ms": "float64",  # median of one forward pass of a batch
    "latency_lo_ms": "float64",  # its 95 % confidence interval
    "latency_hi_ms": "float64",
    "macs": "Int64",  # multiply-adds, batch 1
    "params": "Int64",
    "params_folded": "Int64",
    "activations": "Int64",  # elements, batch 1
    "memory_mb": "float64",  # MiB, peak
    "seconds": "float64",  # wall time of the trial
    "train_seconds": "float64",
    "infeasible": "string",  # the limit exceeded
    "error": "string",  # one line
    "duplicate": "bool",  # an earlier complete trial has this architecture
    "duplicate_of": "Int64",  # number of the trial whose values were replayed
    "retry_of": "Int64",
    "device": "string",  # conditions of the latency
    "device_name": "string",
    "runtime": "string",
    "precision": "string",
    "batch_size": "Int64",
    "threads": "Int64",
    "started": "datetime64[us, UTC]",
    "architecture": "object",  # canonical form, a dict
}
STATUS_WITHOUT_RECORD = {
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
    TrialState.FAIL: "interrupted",  # closed by a later start, its process having died before it wrote anything
    TrialState.PRUNED: "failed",
    TrialState.COMPLETE: "failed",
}


def frame(study: optuna.Study) -> pd.DataFrame:
    """One row a trial in order of number, with the columns and dtypes of COLUMNS; missing values where not measured."""
    rows: list[dict[str, Any]] = []
    evaluations: dict[int, Evaluation] = {}
    complete: set[str] = set()
    for trial in study.get_trials(deepcopy=False):
        row: dict[str, Any] = {"number": trial.number, "started": _utc(trial.datetime_start), "duplicate": False}
        record = _record(trial)
        if record is None:
            rows.append(row | {"status": STATUS_WITHOUT_RECORD[trial.state]})
            continue
        row |= record.model_dump(include={"id", "status", "preset", "seconds", "error", "duplicate_of", "retry_of"})
        row |= {"architecture": record.architecture, "what": what(record.architecture)}
        row["duplicate"] = record.status == "duplicate" or record.id in complete
        if record.status == "complete":
            complete.add(record.id)
        evaluation = record.evaluation
        if evaluation is None and record.duplicate_of is not None:
            evaluation = evaluations.get(record.duplicate_of)
        if evaluation is not None:
            evaluations[trial.number] = evaluation
            row |= _measured(evaluation)
        rows.append(row)
    table = pd.DataFrame(rows, columns=list(COLUMNS)) if rows else pd.DataFrame({c: [] for c in COLUMNS})
    return table.astype(COLUMNS)


def what(architecture: Mapping[str, Any]) -> str:
    """A canonical architecture in a few words: "conv/4 · 32×2 window4 · 64×2 single_head+dw bn".

    Stem and stride; of each stage width×depth, mixer, +dw for the local convolution, bn for BatchNorm (else LayerNorm).
    """
    stem = architecture["stem"]
    parts = [f"{stem['kind']}/{stem['stride']}"]
    for stage in architecture["stages"]:
        mixer = stage["mixer"]
        size = mixer.get("size", mixer.get("kernel", ""))  # of a window, of a convolution; the other mixers have none
        local, norm = "+dw" * stage["local"], " bn" * (stage["norm"] == "batch")
        parts.append(f"{stage['width']}×{stage['depth']} {mixer['kind']}{size}{local}{norm}")
    return " · ".join(parts)


def conditions(frame: pd.DataFrame) -> str:
    """Under what the latencies were measured: "NVIDIA H200 · eager · fp16 · batch 1"; "" where none was."""
    timed = frame[frame["latency_ms"].notna()]

    def distinct(column: str, form: str = "{}") -> list[str]:
        values = [form.format(value) for value in timed[column].dropna().unique()]
        return [" / ".join(values)] if values else []

    parts = [*distinct("device_name"), *distinct("threads", "threads {}"), *distinct("runtime"), *distinct("precision")]
    return " · ".join([*parts, *distinct("batch_size", "batch {}")])


def front(frame: pd.DataFrame, objectives: Sequence[str] = OBJECTIVES) -> pd.DataFrame:
    """The rows that no other dominates, by rising cost (the first objective to minimize); same columns as the frame.

    Complete trials alone count, each architecture once, and only with all objectives measured. Of several architectures
    with the very same objectives the earliest trial stays.
    """
    rows = _candidates(frame, objectives)
    if rows.empty:
        return rows
    best: pd.DataFrame = rows[moocore.is_nondominated(_points(rows, objectives))]
    cost = next((row for row in metrics(objectives) if not row.maximize), metrics(objectives)[0])
    return best.sort_values(cost.column, kind="stable", ascending=not cost.maximize).reset_index(drop=True)


def knee(frame: pd.DataFrame, objectives: Sequence[str] = OBJECTIVES) -> pd.Series[Any] | None:
    """The front's row farthest from the line between its ends: where giving up either objective starts to cost more.

    Each objective is scaled to 0 (worst on the front) .. 1 (best), costs by their logarithm, since twice the time
    weighs the same from 1 to 2 ms as from 10 to 20. The knee has the largest sum: for two objectives that is the
    distance from the straight line between the ends, for more from the plane through the best of each (Das 1999). A row
    that is the worst in some objective, as both ends are, is no compromise and is taken only where there is no other.
    Ties, and so the two points of a front of two, go to the cheaper. None where the front is empty.
    """
    best = front(frame, objectives)
    if best.empty:
        return None
    scaled = []
    for row in metrics(objectives):
        values = best[row.column].to_numpy(dtype=float)
        gain = values if row.maximize else -np.log(values)
        if np.ptp(gain) > 0:
            scaled.append((gain - gain.min()) / np.ptp(gain))
    gains = np.array(scaled).reshape(len(scaled), len(best))  # (objectives that differ, rows)
    total = np.round(gains.sum(axis=0), 9)  # rounded: the two ends are equals
    inner = (gains > 0).all(axis=0)
    return best.iloc[int(np.argmax(np.where(inner | ~inner.any(), total, -np.inf)))]


def best_under(frame: pd.DataFrame, objective: str = "accuracy", **budgets: float) -> pd.Series[Any] | None:
    """The row with the best objective within all budgets, None where there is none.

    Budgets are in stored units and inclusive: a most for costs (latency=2.0 ms, macs=1e9, memory=64 MiB), a least for
    accuracy (%). Of equals the first in the budgets' own cost, then the earliest trial.

    >>> best_under(frame(study), "accuracy", latency=2.0, macs=1e9)
    """
    (goal,) = metrics([objective])
    limits = metrics(budgets) if budgets else ()
    rows = _candidates(frame, [objective])
    for row in limits:
        values = rows[row.column].to_numpy(dtype=float, na_value=np.nan)
        rows = rows[values >= budgets[row.name] if row.maximize else values <= budgets[row.name]]
    if rows.empty:
        return None
    keys = [goal, *(row for row in limits if row is not goal)]
    ranked = rows.sort_values([k.column for k in keys], ascending=[not k.maximize for k in keys], kind="stable")
    return ranked.iloc[0]


def find_trial(frame: pd.DataFrame, number: int) -> pd.Series[Any] | None:
    """The row of a trial by its number; None where there is none, or none with an architecture."""
    rows = frame[(frame["number"] == number) & frame["architecture"].notna()]
    return None if rows.empty else rows.iloc[0]


def reference_point(frame: pd.DataFrame, objectives: Sequence[str] = OBJECTIVES) -> dict[str, float]:
    """The hypervolume's default reference by objective: 0 for accuracy, 1.1 times the worst complete trial for costs.

    It moves when a worse trial arrives. To compare studies, or one study at two times, state one reference for both.
    """
    rows = _candidates(frame, objectives)
    return {
        row.name: 0.0 if row.maximize else float(rows[row.column].astype("float64").max() * REFERENCE_MARGIN)
        for row in metrics(objectives)
    }


def hypervolume(
    frame: pd.DataFrame, objectives: Sequence[str] = OBJECTIVES, reference: Mapping[str, float] | None = None
) -> pd.Series[Any]:
    """Hypervolume of the front after each trial, indexed by trial number, in the product of the units (%·ms).

    One reference holds for the whole series (reference_point where None is given), so it never falls; it is stated in
    `.attrs["reference"]`. Trials outside the reference add nothing.
    """
    rows = metrics(objectives)
    stated = dict(reference) if reference is not None else reference_point(frame, objectives)
    if set(stated) != {row.name for row in rows}:
        raise MetricError(f"the reference point needs a value for each of {', '.join(row.name for row in rows)}")
    corner = np.array([-stated[row.name] if row.maximize else stated[row.name] for row in rows])
    candidates = _candidates(frame, objectives)
    points = dict(zip(candidates["number"], _points(candidates, objectives), strict=True))
    archive = np.empty((0, len(rows)))
    volume, volumes = 0.0, []
    numbers = frame["number"].sort_values()
    for number in numbers:
        point = points.get(number)
        if point is not None and (point < corner).all() and not (archive <= point).all(axis=1).any():
            archive = np.vstack([archive[~(point <= archive).all(axis=1)], point])
            volume = max(volume, _volume(archive, corner))  # max: not even rounding may make it fall
        volumes.append(volume)
    series = pd.Series(volumes, index=pd.Index(numbers, name="number"), name="hypervolume", dtype="float64")
    series.attrs["reference"] = stated
    return series


def _volume(points: NDArray[np.float64], corner: NDArray[np.float64]) -> float:
    if points.shape[1] == 1:  # moocore starts at two objectives
        return float((corner - points).max())
    return float(moocore.hypervolume(points, ref=corner))


def _candidates(frame: pd.DataFrame, objectives: Sequence[str]) -> pd.DataFrame:
    """Complete rows, no duplicates, all objectives finite, by number."""
    values = np.column_stack([frame[m.column].to_numpy(dtype=float, na_value=np.nan) for m in metrics(objectives)])
    complete = (frame["status"] == "complete").to_numpy(dtype=bool) & ~frame["duplicate"].to_numpy(dtype=bool)
    rows: pd.DataFrame = frame[complete & np.isfinite(values).all(axis=1)]
    return rows.sort_values("number").reset_index(drop=True)


def _points(rows: pd.DataFrame, objectives: Sequence[str]) -> NDArray[np.float64]:
    """(rows, objectives), all to be minimized."""
    columns = [(rows[m.column].to_numpy(dtype=float), m.maximize) for m in metrics(objectives)]
    return np.column_stack([-values if maximize else values for values, maximize in columns])


def _record(trial: FrozenTrial) -> TrialRecord | None:
    stored = trial.user_attrs.get(ATTRIBUTE)
    if stored is None:
        return None
    try:
        return TrialRecord.model_validate(stored)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise StorageError(f"trial {trial.number}: its record cannot be read: {where}: {first['msg']}") from None


def _measured(evaluation: Evaluation) -> dict[str, Any]:
    """The columns that come from an evaluation."""
    row: dict[str, Any] = {metric.column: metric.read(evaluation) for metric in METRICS.values()}
    row |= {"params_folded": evaluation.params_folded, "activations": evaluation.activations}
    row |= {"infeasible": evaluation.infeasible, "train_seconds": evaluation.seconds.get("train")}
    if evaluation.latency is not None:
        row["latency_lo_ms"], row["latency_hi_ms"] = evaluation.latency.ci95_ms
        measured = evaluation.latency.conditions
        row |= measured.model_dump(include={"device", "device_name", "runtime", "precision", "batch_size", "threads"})
    return row


def _utc(local: datetime | None) -> datetime | None:
    """Optuna stores the writer's local time without a zone; read here as this machine's."""
    return None if local is None else local.astimezone(timezone.utc)
