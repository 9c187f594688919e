"""The arrays that trials are kept in: named columns of numpy and pandas, whose dtypes follow from their names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import Any, TypeAlias, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from explorer.record import TRUST, Status
from explorer.structure import GENERAL, STAGE

Columns: TypeAlias = dict[str, Any]  # name -> array of numpy or pandas, all of one length

OWN: dict[str, str] = {  # column -> dtype, of what a trial says by itself
    "trial_id": "int64",  # in the storage
    "number": "int64",
    "state": "category",  # Optuna's word
    "key": "uint64",  # hash of the architecture's id
    "evaluated": "bool",
    "status": "category",
    "id": "string",
    "preset": "category",
    "what": "string",
    "accuracy": "float64",
    "macs": "Int64",
    "params": "Int64",
    "params_folded": "Int64",
    "activations": "Int64",
    "memory_mb": "float64",
    "seconds": "float64",
    "train_seconds": "float64",
    "stopped_after": "Int64",
    "infeasible": "string",
    "error": "string",
    "duplicate_of": "Int64",
    "retry_of": "Int64",
    "device": "category",
    "device_name": "category",
    "runtime": "category",
    "precision": "category",
    "batch_size": "Int64",
    "threads": "Int64",
    "started": "datetime64[us, UTC]",
    "finished": "datetime64[us, UTC]",
}
LATENCY: dict[str, str] = {  # of each latency, its key behind an "@"
    "latency_ms": "float64",
    "latency_lo_ms": "float64",
    "latency_hi_ms": "float64",
    "verdict": "category",
    "comparable": "category",  # what it compares with, joined by SEPARATOR; missing where it was not measured
}
SEPARATOR = "\x1f"
ORDERS = {"verdict": TRUST, "status": (*get_args(Status), "running", "waiting")}  # of categories; else by name
ARROW = {"Int32": pa.int32(), "Int64": pa.int64(), "Float32": pa.float32(), "boolean": pa.bool_()}


def concatenated(parts: Sequence[Columns]) -> Columns:
    """The columns of all parts in their order; missing where a part has not that column.

    The parts are taken to pieces on the way, so that never more than one column is there twice.
    """
    if len(parts) == 1:
        return parts[0]
    lengths = [len(part["number"]) for part in parts]
    found: Columns = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        sized = zip(parts, lengths, strict=True)
        arrays = [part.pop(name) if name in part else _missing(name, length) for part, length in sized]
        found[name] = _joined(arrays, name)
    return found


def latency_column(name: str, key: str) -> str:
    """The column of a latency by its key: latency_ms of the first, whose key is "", latency_ms@eager/b32 of another."""
    return f"{name}@{key}" if key else name


def latency_keys(columns: Columns) -> list[str]:
    """Keys of the latencies that trials measured themselves."""
    return [name.partition("@")[2] for name in columns if name.partition("@")[0] == "comparable"]


def dtype_of(name: str) -> str:
    """The dtype of a column by its name."""
    base, at, key = name.partition("@")
    if base in LATENCY and not (at and key.isdecimal()):
        return LATENCY[base]
    return STAGE[base] if at else {**OWN, **GENERAL}[base]


def categorical(name: str, codes: Any, categories: Iterable[Any]) -> pd.Categorical:
    """A column of few different strings, -1 where missing; its categories are those that are there, in their order."""
    given = list(categories)
    there = np.bincount(codes[codes >= 0], minlength=len(given)) > 0
    used = [one for one, is_there in zip(given, there, strict=True) if is_there]
    order = ORDERS.get(name.partition("@")[0], ())
    known = [*(one for one in order if one in used), *sorted(set(used) - set(order))]
    if known != given:
        places = np.array([known.index(one) if one in used else -1 for one in given] + [-1], dtype=np.int64)
        codes = places[codes]  # -1 is the last
    return pd.Categorical.from_codes(codes, categories=pd.Index(known, dtype="str"), validate=False)


def utc(local: Sequence[Any]) -> Any:
    """Times in UTC of datetimes without a zone, read as this machine's local time: what Optuna stores; NaT of None."""
    naive = np.asarray(pa.array(local, pa.timestamp("us"))).astype("datetime64[us]")
    known = ~np.isnat(naive)
    # the offset is asked for once in each quarter of an hour: no zone changes it within one
    quarters, place = np.unique(naive[known].astype("datetime64[m]").astype(np.int64) // 15, return_inverse=True)
    starts = (quarters * 15).astype("datetime64[m]").astype(datetime)
    offsets = [start - start.astimezone(timezone.utc).replace(tzinfo=None) for start in starts]
    naive[known] -= np.array(offsets, dtype="timedelta64[us]")[place]
    return pd.DatetimeIndex(naive, tz="UTC").array


def from_arrow(column: pa.Array, name: str) -> Any:
    """The array of numpy or pandas with the dtype that a column of this name has."""
    dtype = dtype_of(name)
    if dtype == "float64":
        return np.array(pc.fill_null(column, np.nan) if len(column) else column, dtype=np.float64)
    if dtype == "category":
        coded = column.dictionary_encode()
        return categorical(name, np.asarray(pc.fill_null(coded.indices, -1)), coded.dictionary.to_pylist())
    if dtype == "string":
        column = column.cast(pa.string())
        target: Any = pd.StringDtype("pyarrow")
    else:
        column = column.cast(ARROW[dtype], safe=False)
        target = pd.api.types.pandas_dtype(dtype)
    return target.__from_arrow__(column)


def _missing(name: str, rows: int) -> Any:
    kind = {"float64": pa.float64(), "category": pa.string(), "string": pa.string(), "boolean": pa.bool_()}
    return from_arrow(pa.nulls(rows, kind.get(dtype_of(name), pa.int64())), name)


def _joined(arrays: Sequence[Any], name: str) -> Any:
    if isinstance(arrays[0], np.ndarray):
        return np.concatenate(arrays)
    if isinstance(arrays[0], pd.Categorical):
        return _joined_categories(arrays, name)
    return type(arrays[0])._concat_same_type(arrays)


def _joined_categories(arrays: Sequence[pd.Categorical], name: str) -> pd.Categorical:
    known = list(dict.fromkeys(one for array in arrays for one in array.categories))
    codes = []
    for array in arrays:
        if array.categories.to_list() == known[: len(array.categories)]:
            codes.append(array.codes)
        else:
            places = np.array([known.index(one) for one in array.categories] + [-1], dtype=np.int32)
            codes.append(places[array.codes])
    return categorical(name, np.concatenate(codes), known)
