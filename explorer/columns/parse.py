"""Records of trials as Arrow holds them: parsed from JSON by the thousand, or taken from what pydantic has checked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
from pydantic import ValidationError

from explorer.record import TRUST, Precision, Status, TrialRecord
from explorer.structure import TYPE, Architectures

LIBRARIES = b'"libraries": '
FORMAT = TrialRecord.model_fields["format"].default
CONDITIONS = {
    "device": pa.string(),
    "device_name": pa.string(),
    "runtime": pa.string(),
    "precision": pa.string(),
    "batch_size": pa.int64(),
    "image_size": pa.int64(),
    "threads": pa.int64(),
    "torch": pa.string(),
}


class Parser:
    """Parses records as Vitscape writes them; it remembers which latencies and libraries there are.

    Their names are keys of JSON objects, and Arrow has to be told keys. Looking for them takes a third of the time.
    """

    def __init__(self) -> None:
        self.keys: list[str] = []  # of the further latencies
        self.libraries: list[bytes] = []  # the different texts of the libraries

    def records(self, texts: Sequence[str | None]) -> pa.StructArray:
        """The records of JSON texts, empty where there is none.

        Raises:
            pyarrow.ArrowInvalid: some is not as Vitscape writes them.
        """
        blob = "\n".join("{}" if text is None else text for text in texts).encode()
        if not self._knows_libraries(blob):
            self.libraries = _libraries(blob)
            if not self._knows_libraries(blob):
                raise pa.ArrowInvalid("libraries in another form than ours")
        longest = max((len(text) for text in texts if text is not None), default=0)
        table, latencies = self._table(blob, longest), blob.count(b'"median_ms"')
        if latencies != _medians(table):
            self.keys = _latency_keys(blob)
            table = self._table(blob, longest)
        if table.num_rows != len(texts) or latencies != _medians(table):
            raise pa.ArrowInvalid("another number of records, or of latencies, than there are")
        arrays = [column.combine_chunks() for column in table.columns]
        return pa.StructArray.from_arrays(arrays, fields=list(table.schema))

    def _knows_libraries(self, blob: bytes) -> bool:
        return sum(blob.count(LIBRARIES + text) for text in self.libraries) == blob.count(b'"libraries"')

    def _table(self, blob: bytes, longest: int) -> pa.Table:
        names = dict.fromkeys(name for text in self.libraries for name in _loads(text))
        return pyarrow.json.read_json(
            pa.BufferReader(blob),
            read_options=pyarrow.json.ReadOptions(block_size=max(1 << 20, 8 * longest)),
            parse_options=pyarrow.json.ParseOptions(
                explicit_schema=_schema(self.keys, names), unexpected_field_behavior="ignore"
            ),
        )


def sound(records: pa.StructArray) -> Any:
    """Whether each record has what a record must have: (rows,) booleans."""

    def has(*place: str) -> Any:
        return np.asarray(pc.is_valid(pc.struct_field(records, list(place))))

    formats = np.asarray(pc.fill_null(pc.equal(pc.struct_field(records, ["format"]), FORMAT), True))
    statuses = np.asarray(pc.is_in(pc.struct_field(records, ["status"]), value_set=pa.array(get_args(Status))))
    costs = has("evaluation", "macs") & has("evaluation", "params")
    costs &= has("evaluation", "activations") & has("evaluation", "params_folded")
    sound = formats & statuses & has("id") & Architectures(pc.struct_field(records, ["architecture"])).readable
    sound &= costs | ~has("evaluation")
    for _, place in latency_places(records.type):
        latency = pc.struct_field(records, place)
        ends = np.asarray(pc.fill_null(pc.equal(pc.list_value_length(pc.struct_field(latency, ["ci95_ms"])), 2), False))
        known = np.asarray(pc.is_in(pc.struct_field(latency, ["verdict"]), value_set=pa.array([*TRUST, None])))
        precision = pc.struct_field(latency, ["conditions", "precision"])
        known &= np.asarray(pc.is_in(precision, value_set=pa.array(get_args(Precision))))
        whole = ends & known & has(*place, "median_ms")
        for name in CONDITIONS:
            whole &= has(*place, "conditions", name) | (name == "threads")
        sound &= whole | ~has(*place)
    return sound


def latency_places(record: pa.StructType) -> list[tuple[str, list[str]]]:
    """Keys of the latencies, "" of the first, and where in a record they are."""
    further = [field.name for field in record.field("evaluation").type.field("latencies").type]
    return [("", ["evaluation", "latency"]), *((key, ["evaluation", "latencies", key]) for key in further)]


def readable_record(stored: Any) -> TrialRecord | None:
    """The record that plain data is; None where there is none.

    Raises:
        ValueError: it is none, or its architecture is none; the place and the reason, in one line.
    """
    if stored is None:
        return None
    try:
        record = TrialRecord.model_validate(stored)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))) from None
    try:
        one = pa.array([record.architecture], TYPE)
    except pa.ArrowException as error:
        raise ValueError(f"architecture: {str(error).splitlines()[0]}") from None
    if not Architectures(one).readable[0]:
        raise ValueError("architecture: has no stem, no stages, or a stage without width, depth or mixer")
    return record


def from_plain(records: Sequence[dict[str, Any] | None]) -> pa.StructArray:
    """Records as pydantic dumps them, as Arrow."""
    evaluations = [record["evaluation"] for record in records if record is not None and record["evaluation"]]
    latencies = [latency for one in evaluations for latency in (one["latency"], *one["latencies"].values()) if latency]
    keys = dict.fromkeys(key for one in evaluations for key in one["latencies"])
    libraries = dict.fromkeys(name for one in latencies for name in one["conditions"]["libraries"])
    return pa.array(records, pa.struct(list(_schema(keys, libraries))))


def _schema(keys: Iterable[str], libraries: Iterable[str]) -> pa.Schema:
    """What of a record is read; other fields are skipped while parsing."""
    conditions = pa.struct(CONDITIONS | {"libraries": pa.struct(dict.fromkeys(libraries, pa.string()))})
    latency = pa.struct(
        {
            "median_ms": pa.float64(),
            "ci95_ms": pa.list_(pa.float64()),
            "verdict": pa.string(),
            "conditions": conditions,
        }
    )
    evaluation = {
        "macs": pa.int64(),
        "params": pa.int64(),
        "activations": pa.int64(),
        "params_folded": pa.int64(),
        "latency": latency,
        "latencies": pa.struct(dict.fromkeys(keys, latency)),
        "peak_memory_mb": pa.float64(),
        "accuracy": pa.float64(),
        "infeasible": pa.string(),
        "seconds": pa.struct({"train": pa.float64()}),
    }
    return pa.schema(
        {
            "format": pa.string(),
            "id": pa.string(),
            "architecture": TYPE,
            "status": pa.string(),
            "evaluation": pa.struct(evaluation),
            "seconds": pa.float64(),
            "error": pa.string(),
            "preset": pa.string(),
            "duplicate_of": pa.int64(),
            "retry_of": pa.int64(),
            "stopped_after": pa.int64(),
        }
    )


def _medians(table: pa.Table) -> int:
    evaluation = table.schema.field("evaluation").type
    places = [["latency"], *(["latencies", field.name] for field in evaluation.field("latencies").type)]
    return sum(len(table) - pc.struct_field(table["evaluation"], [*p, "median_ms"]).null_count for p in places)


def _latency_keys(blob: bytes) -> list[str]:
    """Keys of the further latencies, in the order in which they first come."""
    found: dict[bytes, None] = {}
    for place in _places(blob, b'": {"median_ms"'):
        found[blob[blob.rfind(b'"', 0, place) + 1 : place]] = None
    found.pop(b"latency", None)
    return [_loads(b'"' + key + b'"') for key in found]


def _libraries(blob: bytes) -> list[bytes]:
    """The different texts of the libraries in conditions."""
    starts = (place + len(LIBRARIES) for place in _places(blob, LIBRARIES))
    return list(dict.fromkeys(blob[start : blob.find(b"}", start) + 1] for start in starts))


def _loads(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise pa.ArrowInvalid(str(error)) from None


def _places(blob: bytes, pattern: bytes) -> Iterator[int]:
    place = blob.find(pattern)
    while place >= 0:
        yield place
        place = blob.find(pattern, place + len(pattern))
