"""The trials of a study nearest to an architecture, by how many choices they differ in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explorer import structure
from explorer.analysis.whatif import MIXER_FIELDS

SAME = 0.015  # difference of shares and ratios that comes of rounding to whole channels
CHOICES = ("width", "depth", "mixer", "ffn_ratio", "norm", "activation", "local", "downsample")  # of every stage
STEM = ("stem_kind", "stem_stride", "image_size")


def neighbours_measured(frame: pd.DataFrame, architecture: Mapping[str, Any], most: int = 10) -> pd.DataFrame:
    """The trials nearest to a canonical architecture, with two columns more; those with the fewest differences first.

    `differs` counts the choices that differ and `difference` names them: "mixer in stage 2: conv instead of window".
    If any trials differ in no more than one choice, it is these alone. Trials count that have an accuracy or a latency,
    each architecture once. Another mixer is one choice, whatever comes with it, and so is a stage more or less.
    Norms of stem and head, position embeddings and biases are not compared.
    """
    wanted = structure.columns_of(architecture)
    measured = frame["accuracy"].notna() | frame["latency_ms"].notna()
    rows = frame[(measured & ~frame["duplicate"]).to_numpy(dtype=bool)]
    if rows.empty:
        return rows.assign(differs=pd.Series(dtype="int64"), difference=pd.Series(dtype="str"))
    differs = _distance(rows, wanted)
    order = np.argsort(differs, kind="stable")[:most]
    if (differs[order] <= 1).any():
        order = order[differs[order] <= 1]
    found = rows.iloc[order]
    words = [_words(found.iloc[[i]], wanted) for i in range(len(found))]
    return found.assign(differs=differs[order], difference=words)


def _distance(rows: pd.DataFrame, wanted: Mapping[str, Any]) -> NDArray[np.int64]:
    """How many choices of each row differ."""
    total = np.zeros(len(rows), dtype=np.int64)
    for column in STEM:
        total += _unequal(rows, column, wanted)
    stages = max(wanted["stage_count"], int(rows["stage_count"].max()))
    for k in range(1, stages + 1):
        here = _present(rows, f"width@{k}")
        there = k <= wanted["stage_count"]
        total += here != there  # a stage more or less is one choice
        if not there:
            continue
        inside = np.zeros(len(rows), dtype=np.int64)
        for name in CHOICES:
            inside += _unequal(rows, f"{name}@{k}", wanted)
        same_mixer = ~_unequal(rows, f"mixer@{k}", wanted)
        for name in MIXER_FIELDS[wanted[f"mixer@{k}"]]:
            unequal = _unequal(rows, f"{name}@{k}", wanted)
            if name == "shift":
                unequal &= _shift_chosen(rows, k, wanted)
            inside += same_mixer & unequal
        total += np.where(here, inside, 0)
    return total


def _shift_chosen(rows: pd.DataFrame, k: int, wanted: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Where another shift is a choice, and does not follow from another window or from a single block."""
    follows = _unequal(rows, f"window@{k}", wanted)
    if wanted[f"depth@{k}"] == 1 or f"depth@{k}" not in rows.columns:
        return np.zeros(len(rows), dtype=bool)
    return ~follows & (rows[f"depth@{k}"] > 1).to_numpy(dtype=bool, na_value=False)


def _present(rows: pd.DataFrame, column: str) -> NDArray[np.bool_]:
    if column not in rows.columns:
        return np.zeros(len(rows), dtype=bool)
    return rows[column].notna().to_numpy(dtype=bool)


def _unequal(rows: pd.DataFrame, column: str, wanted: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Whether each row has another value in a column than the architecture; missing equals missing."""
    known, value = _present(rows, column), wanted.get(column)
    if value is None or column not in rows.columns:
        return known != (value is not None)
    values = rows[column]
    if isinstance(values.dtype, pd.CategoricalDtype):
        code = values.cat.categories.get_indexer(pd.Index([value]))[0]
        equal = (values.cat.codes == code).to_numpy() & (code >= 0)
    elif isinstance(value, float):
        equal = np.abs(values.to_numpy(dtype=float, na_value=np.nan) - value) < SAME
    else:
        equal = (values == value).to_numpy(dtype=bool, na_value=False)
    return ~(known & equal)


def _words(row: pd.DataFrame, wanted: Mapping[str, Any]) -> str:
    """What of a trial, a frame of one row, differs, in words."""

    def said(column: str) -> list[str]:
        return [_said(column, row, wanted)] if _unequal(row, column, wanted)[0] else []

    found = [text for column in STEM for text in said(column)]
    stages = int(row["stage_count"].iloc[0])
    for k in range(1, max(wanted["stage_count"], stages) + 1):
        if k > stages or k > wanted["stage_count"]:
            found.append(f"{'no' if k > stages else 'a'} stage {k}")
            continue
        names = [*CHOICES]
        if not _unequal(row, f"mixer@{k}", wanted)[0]:
            names += MIXER_FIELDS[wanted[f"mixer@{k}"]]
        for name in names:
            if name != "shift" or _shift_chosen(row, k, wanted)[0]:
                found += said(f"{name}@{k}")
    return "; ".join(found)


def _said(column: str, row: pd.DataFrame, wanted: Mapping[str, Any]) -> str:
    """A choice of a trial beside the one wanted: "mixer in stage 2: conv instead of window"."""

    def text(value: Any) -> str:
        if value is None or pd.isna(value):
            return "none"
        return f"{value:.3g}" if isinstance(value, float | np.floating) else str(value)

    has = row[column].iloc[0] if column in row.columns else None
    return f"{structure.label(column)}: {text(has)} instead of {text(wanted.get(column))}"
