"""A study as a tidy table: one row a trial, and of each latency four columns.

Columns carry their unit in the name (latency_ms, memory_mb in MiB) or have the base unit (accuracy in %, macs and
params as counts). A frame of several latencies has further columns, whose names end in what tells each from the first:
latency_ms@cuda_graph/b1.
"""

from __future__ import annotations

from collections import Counter
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
    that the study itself was measured under takes the place of the trial's own value, unless its verdict is not ok and
    the other's is. `.attrs["latency"]` says what the first latency is of: "eager/b1"; `.attrs["versions"]` by which
    versions those were measured whose names would else be one.
    """
    rows: list[dict[str, Any]] = []
    evaluations: dict[int, Evaluation] = {}
    complete: set[str] = set()
    for trial in study.get_trials(deepcopy=False):
        row: dict[str, Any] = {"number": trial.number, "started": _utc(trial.datetime_start), "duplicate": False}
        record = trial_record(trial)
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
    targets, added = _targets(study), added_latencies(study)
    keys = _keys(evaluations.values(), added)
    _put_latencies(rows, evaluations, added, keys)
    further = dict.fromkeys([*targets[1:], *filter(None, keys.values())])
    columns = COLUMNS | {f"{column}@{key}": COLUMNS[column] for key in further for column in LATENCY_COLUMNS}
    table = pd.DataFrame(rows, columns=list(columns)) if rows else pd.DataFrame({c: [] for c in columns})
    table = table.astype(columns)
    table.attrs["latency"] = targets[0] if targets else None
    table.attrs["versions"] = _versions(keys)
    return table


def latency_names(study: optuna.Study) -> dict[tuple[str, ...], str]:
    """The names that latencies have in the study's frame, by what they compare with: "latency", "latency@eager/b32"."""
    records = [trial_record(trial) for trial in study.get_trials(deepcopy=False)]
    own = [record.evaluation for record in records if record is not None and record.evaluation is not None]
    keys = _keys(own, added_latencies(study))
    return {comparable: LATENCY + key if key else "latency" for comparable, key in keys.items()}


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


def coverage(frame: pd.DataFrame, latency: str = "latency") -> str:
    """How many of the complete trials, each architecture once, have a latency: "measured: 12 of 40 complete trials"."""
    (row,) = metrics_of(frame, [latency])
    complete = frame[(frame["status"] == "complete") & ~frame["duplicate"]]
    return f"measured: {complete[row.column].notna().sum()} of {len(complete)} complete trials"


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

    Of one that was added later, it is the name that says it, and the versions where several have that name.
    """
    (row,) = metrics_of(frame, [latency])
    timed = frame[frame[row.column].notna()]
    key = row.column.removeprefix("latency_ms").removeprefix("@")
    if timed.empty or key.count("/") > 1:
        return " · ".join([*key.split("/"), *filter(None, [frame.attrs.get("versions", {}).get(key)])])

    def distinct(column: str, form: str = "{}") -> list[str]:
        values = [form.format(value) for value in timed[column].dropna().unique()]
        return [" / ".join(values)] if values else []

    runtime, _, size = key.rpartition("/b")
    parts = [*distinct("device_name"), *distinct("threads", "threads {}"), *([runtime] if key else distinct("runtime"))]
    return " · ".join(
        [*parts, *distinct("precision"), *([f"batch {size}"] if key else distinct("batch_size", "batch {}"))]
    )


def trial_record(trial: FrozenTrial) -> TrialRecord | None:
    """What a search wrote of a trial; None where it has not come to it. StorageError of one line where it is broken."""
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


def _own_latencies(evaluation: Evaluation) -> dict[str, Latency]:
    """The latencies that a trial measured itself, the first one's key being ""."""
    return ({"": evaluation.latency} if evaluation.latency else {}) | evaluation.latencies


def _keys(own: Iterable[Evaluation], added: Mapping[str, Sequence[Latency]]) -> dict[tuple[str, ...], str]:
    """What the columns of each kind of latency end in after their "@", by what it compares with: the study's own first.

    Of others it is their conditions. Where these differ in versions alone, the kind that most architectures have keeps
    the name, and the next one's device is called "nvidia_h200-2".
    """
    found = {one.comparable: key for evaluation in own for key, one in _own_latencies(evaluation).items()}
    kinds = [comparable for several in added.values() for comparable in {one.comparable for one in several}]
    counts = Counter(comparable for comparable in kinds if comparable not in found)
    taken: Counter[str] = Counter()
    others: dict[tuple[str, ...], str] = {}
    for comparable in sorted(counts, key=lambda one: (counts[one], one), reverse=True):
        name = comparable[0]
        taken[name] += 1
        device, _, rest = name.partition("/")
        others[comparable] = name if taken[name] == 1 else f"{device}-{taken[name]}/{rest}"
    return found | dict(sorted(others.items(), key=lambda item: item[1]))


def _versions(keys: Mapping[tuple[str, ...], str]) -> dict[str, str]:
    """By what latencies were measured whose conditions alone are the same, by key: "torch 2.13.0, cudnn 91900"."""
    of_name = Counter(comparable[0] for comparable, key in keys.items() if key.count("/") > 1)
    return {
        key: ", ".join([f"torch {comparable[1]}", *comparable[2:]])
        for comparable, key in keys.items()
        if of_name[comparable[0]] > 1 and key.count("/") > 1
    }


def _put_latencies(
    rows: Sequence[dict[str, Any]],
    evaluations: Mapping[int, Evaluation],
    added: Mapping[str, Sequence[Latency]],
    keys: Mapping[tuple[str, ...], str],
) -> None:
    """Puts every latency into its trial's row: of two that compare the later one, unless that one alone is doubtful."""
    for row in rows:
        evaluation = evaluations.get(row["number"])
        found = {} if evaluation is None else _own_latencies(evaluation)
        for latency in added.get(row.get("id", ""), ()):
            key = keys[latency.comparable]
            if latency.verdict == "ok" or key not in found or found[key].verdict != "ok":
                found[key] = latency
        for key, latency in found.items():
            values = (latency.median_ms, *latency.ci95_ms, latency.verdict)
            names = (f"{column}@{key}" if key else column for column in LATENCY_COLUMNS)
            row |= zip(names, values, strict=True)


def _utc(local: datetime | None) -> datetime | None:
    """Optuna stores the writer's local time without a zone; read here as this machine's."""
    return None if local is None else local.astimezone(timezone.utc)
