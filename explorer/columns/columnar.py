"""Trials as columns, thousands at a time: what the record of each says by itself.

What follows from several trials together (duplicates, replayed values, which latency is kept) is gather.py's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from optuna.trial import FrozenTrial
from pydantic_core import from_json

from explorer.columns.arrays import SEPARATOR, Columns, from_arrow, latency_column, utc
from explorer.columns.parse import CONDITIONS, Parser, from_plain, latency_places, readable_record, sound
from explorer.record import Conditions, Latency, TrialRecord
from explorer.structure import Architectures

STATUS_WITHOUT_RECORD = {
    "RUNNING": "running",
    "WAITING": "waiting",
    "FAIL": "interrupted",  # closed by a later start, its process having died before it wrote anything
    "PRUNED": "failed",
    "COMPLETE": "failed",
}

OF_RECORD = ("id", "preset", "error", "duplicate_of", "retry_of", "stopped_after")


class Head(NamedTuple):
    """What Optuna says of some trials, a sequence each; times are local and have no zone."""

    trial_ids: Sequence[int]
    numbers: Sequence[int]
    states: Sequence[str]  # in Optuna's words
    started: Sequence[datetime | None]
    finished: Sequence[datetime | None]

    @classmethod
    def of(cls, trials: Sequence[FrozenTrial]) -> Head:
        """Of trials that Optuna has read."""
        return cls(
            [trial._trial_id for trial in trials],
            [trial.number for trial in trials],
            [trial.state.name for trial in trials],
            [trial.datetime_start for trial in trials],
            [trial.datetime_complete for trial in trials],
        )


def columns_of_texts(head: Head, texts: Sequence[str | None], parser: Parser) -> Columns:
    """The columns of trials whose records are JSON; a record that cannot be read makes a failed trial that says so."""
    written = np.array([text is not None for text in texts], dtype=bool)
    try:
        records = parser.records(texts)
        if not (sound(records) | ~written).all():
            raise pa.ArrowInvalid("not a record, or one that pydantic has to put right")
    except pa.ArrowInvalid:
        return _columns_of_doubtful(head, texts)
    return _columns(head, records, written)


def columns_of_records(head: Head, records: Sequence[TrialRecord | None]) -> Columns:
    """The columns of trials whose records were checked; None: the trial has none."""
    table = from_plain([None if record is None else record.model_dump() for record in records])
    return _columns(head, table, np.array([record is not None for record in records], dtype=bool))


def _columns_of_doubtful(head: Head, texts: Sequence[str | None]) -> Columns:
    """As columns_of_texts, each record checked by itself: slower, and it says what is wrong with which."""
    records: list[TrialRecord | None] = []
    reasons: list[str | None] = []
    for text in texts:
        try:
            records.append(readable_record(None if text is None else from_json(text)))
            reasons.append(None)
        except ValueError as wrong:
            records.append(None)
            reasons.append(f"its record cannot be read: {wrong}")
    table = from_plain([None if record is None else record.model_dump() for record in records])
    return _columns(head, table, np.array([record is not None for record in records], dtype=bool), reasons)


def _columns(head: Head, records: pa.StructArray, written: Any, reasons: Sequence[str | None] | None = None) -> Columns:
    """The columns of trials and their records: which trials have one, and why one that is there is not read."""

    def field(*place: str) -> pa.Array:
        return pc.struct_field(records, list(place))

    architectures = Architectures(pc.struct_field(records, ["architecture"]))
    unwritten = pa.array([STATUS_WITHOUT_RECORD.get(state) for state in head.states], pa.string())
    status = pc.if_else(pa.array(written), field("status"), unwritten)
    seconds = pc.if_else(pa.array(written), pc.fill_null(field("seconds"), 0.0), None)
    columns: dict[str, pa.Array] = {name: field(name) for name in OF_RECORD}
    if reasons is not None:
        broken = pa.array(reasons, pa.string())
        status, columns["error"] = (
            pc.if_else(pc.is_valid(broken), "failed", status),
            pc.coalesce(broken, field("error")),
        )
    columns |= {"status": status, "seconds": seconds, "what": architectures.what()}
    for name in ("macs", "params", "params_folded", "activations", "accuracy", "infeasible"):
        columns[name] = field("evaluation", name)
    columns |= {"memory_mb": field("evaluation", "peak_memory_mb")}
    columns |= {"train_seconds": field("evaluation", "seconds", "train")}
    for name in ("device", "device_name", "runtime", "precision", "batch_size", "threads"):
        columns[name] = field("evaluation", "latency", "conditions", name)
    columns |= architectures.columns()
    for key, place in latency_places(records.type):
        columns |= {latency_column(name, key): one for name, one in _latency(pc.struct_field(records, place)).items()}
    found: Columns = {
        "trial_id": np.asarray(head.trial_ids, dtype=np.int64),
        "number": np.asarray(head.numbers, dtype=np.int64),
        "state": from_arrow(pa.array(head.states, pa.string()), "state"),
        "key": pd.util.hash_array(np.asarray(columns["id"].to_pandas(), dtype=object)),
        "evaluated": np.asarray(pc.is_valid(field("evaluation"))),
        "started": utc(head.started),
        "finished": utc(head.finished),
    }
    return found | {name: from_arrow(column, name) for name, column in columns.items()}


def _latency(latency: pa.StructArray) -> dict[str, pa.Array]:
    """The columns of one latency of many trials."""
    ends = pc.struct_field(latency, ["ci95_ms"])
    low, high = (_element(ends, i) for i in (0, 1))
    medians, verdict = (pc.struct_field(latency, [name]) for name in ("median_ms", "verdict"))
    found = {"latency_ms": medians, "latency_lo_ms": low, "latency_hi_ms": high, "verdict": verdict}
    return found | {"comparable": _comparable(latency)}


def _element(lists: pa.ListArray, index: int) -> pa.Array:
    """One element of each list of two; null where there is none."""
    flat = pc.list_flatten(lists)
    known = np.asarray(pc.is_valid(lists))
    places = np.cumsum(known) * 2 - 2 + index
    return pc.take(flat, pa.array(places, mask=~known))


def _comparable(latency: pa.StructArray) -> pa.Array:
    """What each latency compares with (Latency.comparable), joined by SEPARATOR; asked once of each kind there is."""
    conditions = pc.struct_field(latency, ["conditions"])
    libraries = [field.name for field in conditions.type.field("libraries").type]
    places = [[name] for name in CONDITIONS if name not in ("device", "image_size")]
    places += [["libraries", name] for name in libraries]
    parts = [pc.fill_null(pc.cast(pc.struct_field(conditions, place), pa.string()), "") for place in places]
    parts.append(pc.cast(pc.is_null(pc.struct_field(latency, ["verdict"])), pa.string()))
    coded = pc.binary_join_element_wise(*parts, SEPARATOR).dictionary_encode()
    codes = np.asarray(coded.indices)
    kinds = [_kind(latency[int(np.argmax(codes == code))].as_py()) for code in range(len(coded.dictionary))]
    return pc.take(pa.array(kinds, pa.string()), pa.array(codes, mask=np.asarray(pc.is_null(latency))))


def _kind(latency: Mapping[str, Any] | None) -> str | None:
    if latency is None:
        return None
    stored = latency["conditions"]
    libraries = {name: version for name, version in (stored["libraries"] or {}).items() if version is not None}
    conditions = Conditions.model_validate(stored | {"libraries": libraries})
    known = {"median_ms": 1.0, "ci95_ms": (1.0, 1.0), "samples": 1, "stop": "converged"}  # compare with all
    whole = Latency.model_validate(known | {"verdict": latency["verdict"], "conditions": conditions})
    return SEPARATOR.join(whole.comparable)
