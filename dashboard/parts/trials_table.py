"""Returns trials found, sorted and written as tables with headings that have units; pure functions on a frame."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dashboard.canvas import called
from dashboard.figures.devices import short
from explorer import results, structure
from explorer.analysis.distribution import COMPLEXITY
from explorer.metrics import METRICS

SEARCHED = ("what", "error", "infeasible", "preset", "id")  # columns that a text is looked for in
PLAIN = {  # columns that are no metric: heading
    "number": "Trial",
    "status": "Status",
    "what": "Architecture",
    "preset": "Published model",
    "infeasible": "Limit exceeded",
    "error": "Error",
    "seconds": "Duration, s",
    "train_seconds": "Training, s",
    "started": "Started, UTC",
    "finished": "Finished, UTC",
    "duplicate_of": "Repeats trial",
    "retry_of": "Retry of trial",
    "id": "Architecture id",
}
FOLDED = replace(METRICS["params"], name="params_folded", column="params_folded", label="Parameters folded")


def scales(frame: pd.DataFrame, data: str = "") -> dict[str, tuple[str, float]]:
    """Heading with unit, and what stored numbers are multiplied by, of every column of the frame that can be shown."""
    found: dict[str, tuple[str, float]] = {name: (PLAIN[name], 1.0) for name in ("number", "status", "what")}
    for row in (*METRICS.values(), COMPLEXITY["activations"], FOLDED):
        if row.name != "latency":
            found[row.column] = (called(row, data).quantity, row.scale)
    for name in results.latencies(frame):
        (metric,) = results.metrics_of(frame, [name])
        label, ends = short(frame, name), results.interval_columns(metric)
        found[metric.column] = (f"Latency {label}, ms" if label != "latency" else metric.quantity, 1.0)
        if ends is not None:
            found[ends[0]], found[ends[1]] = (f"{label}, 95 % from, ms", 1.0), (f"{label}, 95 % to, ms", 1.0)
        found[results.verdict_column(metric)] = (f"Verdict on {label}", 1.0)
    found |= {name: (heading, 1.0) for name, heading in PLAIN.items() if name not in found}
    found |= {name: (structure.label(name), 1.0) for name in map(str, frame.columns) if structure.is_structure(name)}
    return {name: found[name] for name in found if name in frame.columns}


def usual(frame: pd.DataFrame, objectives: Sequence[str]) -> list[str]:
    """The columns shown where none are chosen: what a trial is, its objectives, and what went wrong if anything did."""
    metrics = [row.column for row in results.metrics_of(frame, objectives)]
    wrong = [name for name in ("infeasible", "error") if frame[name].notna().any()]
    wanted = ["number", "status", "what", *metrics, "macs", "params", "seconds", *wrong]
    return list(dict.fromkeys(name for name in wanted if name in frame.columns))


def found(frame: pd.DataFrame, statuses: Sequence[str] = (), text: str = "") -> NDArray[np.bool_]:
    """Which rows have one of the statuses (none given: any) and all words of the text, in whatever case.

    A word is looked for in the architecture, its id and preset, the error and the limit; a number is a trial's too.
    """
    rows = np.ones(len(frame), dtype=bool)
    if statuses:
        rows &= frame["status"].isin(list(statuses)).to_numpy(dtype=bool)
    for word in text.split():
        numbers = frame["number"].to_numpy()
        has = numbers == int(word) if _is_number(word) else np.zeros(len(frame), dtype=bool)
        for column in SEARCHED:
            has |= _contains(frame[column], word)
        rows &= has
    return rows


def ordered(frame: pd.DataFrame, rows: NDArray[np.bool_], by: str, falling: bool) -> NDArray[np.int64]:
    """Positions of the rows that are True, sorted by a column, missing values last and equals by number."""
    places = np.flatnonzero(rows)
    values = frame[by].iloc[places]
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype("string")
    keys = pd.DataFrame({"by": values.array, "number": frame["number"].to_numpy()[places]}, index=places)
    by_key = keys.sort_values(["by", "number"], ascending=[not falling, True], na_position="last", kind="stable")
    return by_key.index.to_numpy(dtype=np.int64)


def shown(frame: pd.DataFrame, places: NDArray[np.int64], columns: Sequence[str], data: str = "") -> pd.DataFrame:
    """The rows at these positions with the columns' headings, numbers as displayed."""
    named = scales(frame, data)
    rows = frame.iloc[places]
    table = {}
    for column in columns:
        heading, scale = named[column]
        table[heading] = rows[column] if scale == 1 else rows[column].astype("Float64") * scale
    return pd.DataFrame(table).reset_index(drop=True)


def as_csv(table: pd.DataFrame) -> bytes:
    """A table as CSV, UTF-8."""
    return table.to_csv(index=False).encode()


def as_parquet(table: pd.DataFrame) -> bytes:
    """A table as Parquet."""
    file = io.BytesIO()
    bare = table.copy(deep=False)
    bare.attrs = {}  # pandas would write them into the file, and not everything in them can be
    bare.to_parquet(file, index=False)
    return file.getvalue()


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdecimal() and len(word) < 10


def _contains(values: pd.Series[Any], word: str) -> NDArray[np.bool_]:
    if isinstance(values.dtype, pd.CategoricalDtype):  # one look a category
        kinds = values.cat.categories.astype("string").str.contains(word, case=False, regex=False)
        hits = np.append(np.asarray(kinds, dtype=bool), False)  # the last for code -1, which is missing
        chosen: NDArray[np.bool_] = hits[values.cat.codes.to_numpy()]
        return chosen
    has = values.astype("string").str.contains(word, case=False, regex=False)
    return has.fillna(False).to_numpy(dtype=bool)
