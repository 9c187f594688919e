"""A study as a tidy table: one row a trial, and of each latency four columns.

Columns carry their unit in the name (latency_ms, memory_mb in MiB) or have the base unit (accuracy in %, macs and
params as counts). A frame of several latencies has further columns, whose names end in what tells each from the first:
latency_ms@cuda_graph/b1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.trial import FrozenTrial

from explorer.columns.arrays import latency_column
from explorer.columns.columnar import Head, columns_of_records
from explorer.columns.gather import LATENCY_COLUMNS, gathered, measured_targets, names
from explorer.columns.parse import readable_record
from explorer.finals import final_accuracies
from explorer.measured import added_latencies
from explorer.metrics import LATENCY, METRICS, Metric, MetricError, metrics
from explorer.record import TrialRecord
from explorer.storage import ATTRIBUTE, StorageError

COLUMNS: dict[str, str] = {  # column -> dtype, of every study's frame
    "number": "int64",  # of the trial in its study
    "status": "string",  # complete, duplicate, infeasible, failed, interrupted; running, waiting
    "id": "string",  # of the architecture
    "preset": "string",  # the published model that it is
    "what": "string",  # the architecture in a few words
    "accuracy": "float64",  # top-1 of the proxy, %
    "final_accuracy": "float64",  # top-1 of the training in full, %, where it was among the finalists
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
    "stopped_after": "Int64",  # epochs after which its training was ended early; 0: it was not begun
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


def frame(study: optuna.Study) -> pd.DataFrame:
    """One row a trial in order of number, with the columns and dtypes of COLUMNS; missing values where not measured.

    Each further latency has four columns more (LATENCY_COLUMNS): those that the search measures, by runtime and batch
    size, and those that were added to the study later, by all of their conditions. What was added under the conditions
    that the study itself was measured under takes the place of the trial's own value, unless its verdict is not ok and
    the other's is. `.attrs["latency"]` says what the first latency is of: "eager/b1"; `.attrs["versions"]` by which
    versions those were measured whose names would else be one.
    """
    trials = study.get_trials(deepcopy=False)
    records = [trial_record(trial) for trial in trials]
    own = columns_of_records(Head.of(trials), records)
    targets = measured_targets(study.user_attrs.get(ATTRIBUTE))
    found = gathered(own, targets, added_latencies(study), final_accuracies(study.user_attrs))
    architectures = np.empty(len(records), dtype=object)
    architectures[:] = [None if record is None else record.architecture for record in records]
    columns = COLUMNS | {latency_column(name, key): COLUMNS[name] for key in found.keys for name in LATENCY_COLUMNS}
    arrays = found.columns | {"architecture": architectures}
    table = pd.DataFrame({name: arrays[name] for name in columns}).astype(columns)
    table.attrs |= found.attrs
    return table


def latency_names(study: optuna.Study) -> dict[tuple[str, ...], str]:
    """The names that latencies have in the study's frame, by what they compare with: "latency", "latency@eager/b32"."""
    trials = study.get_trials(deepcopy=False)
    own = columns_of_records(Head.of(trials), [trial_record(trial) for trial in trials])
    keys = names(own, added_latencies(study))
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
    complete = (frame["status"] == "complete") & ~frame["duplicate"]
    return f"measured: {(frame[row.column].notna() & complete).sum()} of {complete.sum()} complete trials"


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
    timed = frame[row.column].notna()
    key = row.column.removeprefix("latency_ms").removeprefix("@")
    if not timed.any() or key.count("/") > 1:
        device, *words = key.split("/")
        versions = filter(None, [frame.attrs.get("versions", {}).get(key)])
        return " · ".join([device, *map(_spelt, words), *versions])

    def distinct(column: str, form: str = "{}") -> list[str]:
        values = [form.format(value) for value in frame[column][timed].dropna().unique()]
        return [" / ".join(values)] if values else []

    runtime, _, size = key.rpartition("/b")
    parts = [*distinct("device_name"), *distinct("threads", "threads {}"), *([runtime] if key else distinct("runtime"))]
    return " · ".join(
        [*parts, *distinct("precision"), *([f"batch {size}"] if key else distinct("batch_size", "batch {}"))]
    )


def _spelt(word: str) -> str:
    """A word of a latency's name as conditions are written: "b1" -> "batch 1", "t4" -> "threads 4"."""
    named = re.fullmatch(r"([bt])(\d+)", word)
    return word if named is None else f"{'batch' if named[1] == 'b' else 'threads'} {named[2]}"


def trial_record(trial: FrozenTrial) -> TrialRecord | None:
    """What a search wrote of a trial; None where it has not come to it. StorageError of one line where it is broken."""
    try:
        return readable_record(trial.user_attrs.get(ATTRIBUTE))
    except ValueError as error:
        raise StorageError(f"trial {trial.number}: its record cannot be read: {error}") from None
