"""A study as a tidy table: one row a trial, and of each latency four columns.

Columns carry their unit in the name (latency_ms, memory_mb in MiB) or have the base unit (accuracy in %, macs and
params as counts). A frame of several latencies has further columns, whose names end in what tells each from the first:
latency_ms@cuda_graph/b1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState
from pydantic import ValidationError

from explorer.measured import added_latencies
from explorer.metrics import LATENCY, METRICS, Metric, MetricError, metrics
from explorer.record import Evaluation, Latency, TrialRecord
from explorer.setup import Setup
from explorer.storage import ATTRIBUTE, StorageError

COLUMNS: dict[str, str] = {  # column -> dtype, of every study's frame
    "number": "int64",  # of the trial in its study
    "status": "string",  # complete, duplicate, infeasible, failed, interrupted; running, waiting
    "id": "string",  # of the architecture
    "preset": "string",  # the published model that it is
    "what": "string",  # the architecture in a few words
    "accuracy": "float64",  # top-1 of the proxy, %
    "latency_ms": "float64",  # median of one forward pass of a batch
    "latency_lo_ms": "float64",  # its 95 % confidence interval
    "latency_hi_ms": "float64",
    "verdict": "string",  # on the latency: ok, noisy, throttled, shared
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
LATENCY_COLUMNS = ("latency_ms", "latency_lo_ms", "latency_hi_ms", "verdict")
STATUS_WITHOUT_RECORD = {
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
    TrialState.FAIL: "interrupted",  # closed by a later start, its process having died before it wrote anything
    TrialState.PRUNED: "failed",
    TrialState.COMPLETE: "failed",
}


def frame(study: optuna.Study) -> pd.DataFrame:
    """One row a trial in order of number, with the columns and dtypes of COLUMNS; missing values where not measured.

    Each further latency has four columns more (LATENCY_COLUMNS): those that the search measures, by runtime and batch
    size, and those that were added to the study later, by all of their conditions. What was added under the conditions
    that the study itself was measured under takes the place of the trial's own value. `.attrs["latency"]` says
    what the first latency is of: "eager/b1".
    """
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
    keys = _targets(study)
    further = dict.fromkeys([*keys[1:], *_put_latencies(rows, evaluations, added_latencies(study))])
    columns = COLUMNS | {f"{column}@{key}": COLUMNS[column] for key in further for column in LATENCY_COLUMNS}
    table = pd.DataFrame(rows, columns=list(columns)) if rows else pd.DataFrame({c: [] for c in columns})
    table = table.astype(columns)
    table.attrs["latency"] = keys[0] if keys else None
    return table


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


def latencies(frame: pd.DataFrame) -> list[str]:
    """Names of the latencies that a frame has any value of: ["latency", "latency@cuda_graph/b1"]."""
    found = [column for column in frame.columns if str(column).partition("@")[0] == "latency_ms"]
    return [column.replace("latency_ms", "latency") for column in found if frame[column].notna().any()]


def metrics_of(frame: pd.DataFrame, names: Iterable[str]) -> tuple[Metric, ...]:
    """The metrics of these names, whose columns the frame has.

    The first latency of a search may be named as the others are: "latency@eager/b1".

    Raises:
        MetricError: an unknown, a repeated or no name, or one of a latency that the frame has not.
    """
    first = f"{LATENCY}{frame.attrs.get('latency')}"
    rows = tuple(replace(row, column="latency_ms") if row.name == first else row for row in metrics(names))
    for row in rows:
        if row.column not in frame.columns:
            known = [name for name in [*METRICS, *latencies(frame)] if name != "latency"]
            shown = f"latency ({frame.attrs['latency']})" if frame.attrs.get("latency") else "latency"
            raise MetricError(f"{row.name}: not measured in this study; there are {', '.join([shown, *known])}")
    return rows


def interval_columns(metric: Metric) -> tuple[str, str] | None:
    """The frame's columns with the ends of a latency's 95 % interval; None for another metric."""
    if not metric.column.startswith("latency_ms"):
        return None
    return metric.column.replace("latency_ms", "latency_lo_ms"), metric.column.replace("latency_ms", "latency_hi_ms")


def verdict_column(metric: Metric) -> str:
    """The frame's column with the verdict on a latency."""
    return metric.column.replace("latency_ms", "verdict")


def conditions(frame: pd.DataFrame, latency: str = "latency") -> str:
    """Under what a latency was measured: "NVIDIA H200 · eager · fp16 · batch 1"; "" where none was.

    Of one that was added later, it is the name that says it.
    """
    (row,) = metrics_of(frame, [latency])
    timed = frame[frame[row.column].notna()]
    key = row.column.removeprefix("latency_ms").removeprefix("@")
    if timed.empty or key.count("/") > 1:
        return key.replace("/", " · ")

    def distinct(column: str, form: str = "{}") -> list[str]:
        values = [form.format(value) for value in timed[column].dropna().unique()]
        return [" / ".join(values)] if values else []

    runtime, _, size = key.rpartition("/b")
    parts = [*distinct("device_name"), *distinct("threads", "threads {}"), *([runtime] if key else distinct("runtime"))]
    return " · ".join(
        [*parts, *distinct("precision"), *([f"batch {size}"] if key else distinct("batch_size", "batch {}"))]
    )


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
    """The columns that come from an evaluation, without its latencies."""
    row: dict[str, Any] = {metric.column: metric.read(evaluation) for metric in METRICS.values()}
    row |= {"params_folded": evaluation.params_folded, "activations": evaluation.activations}
    row |= {"infeasible": evaluation.infeasible, "train_seconds": evaluation.seconds.get("train")}
    if evaluation.latency is not None:
        measured = evaluation.latency.conditions
        row |= measured.model_dump(include={"device", "device_name", "runtime", "precision", "batch_size", "threads"})
    return row


def _targets(study: optuna.Study) -> list[str]:
    """Keys of the latencies that a search measures, the first one's first: ["eager/b1", "eager/b32"]."""
    stored = study.user_attrs.get(ATTRIBUTE, {}).get("conditions")
    if stored is None:
        return []
    if "runtime" in stored:  # a study from before a search could measure several
        stored = {"runtimes": [stored["runtime"]], "batch_sizes": [stored["batch_size"]]}
    return [target.key for target in Setup(runtimes=stored["runtimes"], batch_sizes=stored["batch_sizes"]).targets]


def _put_latencies(
    rows: Sequence[dict[str, Any]], evaluations: Mapping[int, Evaluation], added: Mapping[str, Sequence[Latency]]
) -> list[str]:
    """Puts every latency into its trial's row; returns the keys of those beside the first, the study's own first."""
    measured = {
        number: ({"": evaluation.latency} if evaluation.latency else {}) | evaluation.latencies
        for number, evaluation in evaluations.items()
    }
    own = {_comparable(latency): key for found in measured.values() for key, latency in found.items()}
    attached: set[str] = set()
    for row in rows:
        found = measured.get(row["number"], {})
        for latency in added.get(row.get("id", ""), ()):
            key = own.get(_comparable(latency), latency.conditions.full_key)
            found[key] = latency
            attached |= {key} - set(own.values())
        for key, latency in found.items():
            values = (latency.median_ms, *latency.ci95_ms, latency.verdict)
            names = (f"{column}@{key}" if key else column for column in LATENCY_COLUMNS)
            row |= zip(names, values, strict=True)
    return [*(key for key in dict.fromkeys(own.values()) if key), *sorted(attached)]


def _comparable(latency: Latency) -> tuple[object, ...]:
    """What two latencies must have in common to stand in one column: what one search does not change either.

    Device, runtime, precision, batch size and threads, versions, and the protocol: the first one gave no verdict.
    """
    where = latency.conditions
    return where.full_key, where.torch, *sorted(where.libraries.items()), latency.verdict is None


def _utc(local: datetime | None) -> datetime | None:
    """Optuna stores the writer's local time without a zone; read here as this machine's."""
    return None if local is None else local.astimezone(timezone.utc)
