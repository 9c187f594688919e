"""Which trials a page takes: chosen by their structure and by whether their latency is to be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from dashboard.data import View
from dashboard.figures.marks import word
from dashboard.text import plain
from explorer import structure

MOST_LEVELS = 16  # distinct values up to which they are chosen one by one, and not by a range
KEY = "filter"  # in the URL


@dataclass(frozen=True)
class Filters:
    """What is kept, hashable: any of the levels of a column, a range of numbers, latencies whose verdict is ok."""

    levels: tuple[tuple[str, tuple[str, ...]], ...] = ()
    ranges: tuple[tuple[str, float, float], ...] = ()
    verdicts: tuple[str, ...] = ()  # columns with a verdict that has to be ok, where there is one

    def __len__(self) -> int:
        return len(self.levels) + len(self.ranges) + bool(self.verdicts)


def kept(frame: pd.DataFrame, filters: Filters) -> NDArray[np.bool_] | None:
    """True for the rows that pass all filters; None where there are none. A missing value passes no filter."""
    if not filters:
        return None
    mask = np.ones(len(frame), dtype=bool)
    for column, words in filters.levels:
        values = frame[column]
        wanted = [value for value in values.dropna().unique() if word(value) in words]
        mask &= values.isin(wanted).to_numpy(dtype=bool, na_value=False)
    for column, low, high in filters.ranges:
        numbers = frame[column].to_numpy(dtype=float, na_value=np.nan)
        mask &= (numbers >= low) & (numbers <= high)
    for column in filters.verdicts:  # none: measured before there were verdicts, or not at all
        known = frame[column]
        mask &= known.isna().to_numpy(dtype=bool) | (known == "ok").to_numpy(dtype=bool, na_value=False)
    return mask


def choose(view: View, verdicts: Sequence[str]) -> Filters:
    """Draws the choosers of filters and returns what they say; each is in the URL by the name of its column."""
    levels: list[tuple[str, tuple[str, ...]]] = []
    ranges: list[tuple[str, float, float]] = []
    known = levels_of(view.key, view.frame)
    columns = st.multiselect(
        "Keep only trials by their",
        list(known),
        format_func=structure.label,
        key=KEY,
        bind="query-params",
        placeholder="stem, mixer, width, ...",
    )
    for column in columns:
        words, low, high = known[column]
        label = plain(structure.label(column))
        if words:
            chosen = st.multiselect(label, list(words), key=column, bind="query-params")
            if chosen:
                levels.append((column, tuple(chosen)))
        else:
            least, most = st.slider(label, low, high, (low, high), key=column, bind="query-params")
            if (least, most) != (low, high):
                ranges.append((column, least, most))
    trusted = bool(verdicts) and st.toggle(
        "Only latencies with the verdict ok",
        key="ok",
        bind="query-params",
        help="Leaves out what was measured beside other work, throttled or with much noise.",
    )
    return Filters(tuple(levels), tuple(ranges), tuple(verdicts) if trusted else ())


def clear() -> None:
    """Takes all filters away, from the next run on."""
    st.session_state[KEY] = []
    st.session_state["ok"] = False


@st.cache_resource(max_entries=8, show_spinner=False)
def levels_of(key: Any, _frame: pd.DataFrame) -> dict[str, tuple[tuple[str, ...], float, float]]:
    """The structure columns that vary: their levels as words where they are few, else none and their range."""
    found: dict[str, tuple[tuple[str, ...], float, float]] = {}
    for column in structure.splits(_frame):
        values = _frame[column].dropna().unique()
        if len(values) <= MOST_LEVELS or isinstance(_frame[column].dtype, pd.CategoricalDtype):
            found[column] = (tuple(word(value) for value in sorted(values)), 0.0, 0.0)
        else:
            found[column] = ((), float(min(values)), float(max(values)))
    return found
