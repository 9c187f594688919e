"""Trials: every trial, found by words and status, sorted, taken away as a file; a failed one with its traceback."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from dashboard import data, state, tables
from dashboard.parts import panel
from dashboard.parts.trials_table import as_csv, as_parquet, found, ordered, scales, shown, usual
from search_spaces.errors import InputError

ROWS = 1000  # a page of the table: more cost the browser seconds, and lazy tables cannot be selected in
PARQUET = "application/vnd.apache.parquet"
STATUSES = ("complete", "infeasible", "stopped", "failed", "interrupted", "duplicate", "running", "waiting")


def main() -> None:
    view = data.current()
    st.header("Trials")
    if view.frame.empty:
        data.stop("No trials yet.", "The search has not begun one: this page offers them as they come.")
    named = scales(view.frame, view.data)
    places, columns = _controls(view, named)
    if not len(places):
        many = f"{len(view.frame):,} trial{'s' * (len(view.frame) != 1)}"
        st.text(f"None of {many} has this status and these words: clear Find or Status.")
        return
    page = _page_number(len(places))
    table = shown(view.frame, places[page * ROWS : (page + 1) * ROWS], columns, view.data)
    picked = _table(view, table, places, page)
    _compare(picked)
    _downloads(view, places, columns)
    if len(picked) == 1:
        state.choose(picked[0])
    _details(view)


def _controls(view: data.View, named: dict[str, tuple[str, float]]) -> tuple[NDArray[np.int64], list[str]]:
    """What is shown: positions in the frame in their order, and columns."""
    headings = {heading: column for column, (heading, _) in named.items()}
    there = [status for status in STATUSES if (view.frame["status"] == status).any()]
    left, middle, right = st.columns([2, 2, 2])
    with left:
        text = st.text_input(
            "Find", key="find", bind="query-params", placeholder="window4, a number, an error", icon=":material/search:"
        )
    with middle:
        statuses = st.multiselect("Status", there, key="status", bind="query-params", placeholder="all")
    with right:
        sort = st.selectbox("Sort by", list(headings), key="sort", bind="query-params")
        falling = st.toggle("Largest first", key="falling", bind="query-params")
    standard = [named[column][0] for column in usual(view.frame, view.objectives) if column in named]
    chosen = st.multiselect("Columns", list(headings), default=standard, key="columns", bind="query-params")
    places = _places(view.key, tuple(statuses), text or "", headings[str(sort)], falling, view.frame)
    of_all = f" of {len(view.frame):,}" if len(places) < len(view.frame) else ""
    st.caption(f"{len(places):,}{of_all} trial{'s' * (len(view.frame) != 1)}")
    wanted = [headings[heading] for heading in chosen] or ["number"]
    return places, wanted if "number" in wanted else ["number", *wanted]


def _page_number(rows: int) -> int:
    """Which page of the table is shown, from 0."""
    pages = -(-rows // ROWS)
    if pages == 1:
        return 0
    page = st.number_input(
        f"Page, of {pages:,} of {ROWS:,} rows", 1, pages, 1, key="page", bind="query-params", width=220
    )
    return int(page) - 1


def _table(view: data.View, table: pd.DataFrame, places: NDArray[np.int64], page: int) -> list[int]:
    """Draws one page of the table; the numbers of the trials selected in it."""
    first = int(places[page * ROWS])
    picked = tables.show(
        table,
        key=f"trials_{len(places)}_{first}_{page}",  # another table's selection means other trials
        on_select="rerun",
        selection_mode="multi-row",
        placeholder="",
        height=min(36 * (len(table) + 1) + 2, 560),
        alt=f"{len(table):,} trial{'s' * (len(table) != 1)}, {', '.join(table.columns)}",
    )
    rows = [row for row in picked["selection"]["rows"] if row < len(table)]
    return [int(number) for number in view.frame["number"].to_numpy()[places[page * ROWS :][rows]]]


def _compare(picked: list[int]) -> None:
    """Offers to compare what is selected."""
    if len(picked) < 2:
        st.caption("Select a row to see the trial, several to compare them.")
        return
    taken = picked[: state.MOST_COMPARED]
    more = f" (the first {len(taken)} of {len(picked)})" if len(picked) > len(taken) else ""
    if st.button(f"Compare {', '.join(map(str, taken))}{more}", icon=":material/compare_arrows:", type="primary"):
        state.set_chosen(taken)
        panel.go("compare")


def _downloads(view: data.View, places: NDArray[np.int64], columns: list[str]) -> None:
    """Files of what is shown (as it is shown, all pages) and of all (as it is stored), made when they are asked for."""
    frame, said = view.frame, view.data
    files: dict[str, tuple[str, str, Callable[[], bytes]]] = {
        "CSV, shown": ("trials_shown.csv", "text/csv", lambda: as_csv(shown(frame, places, columns, said))),
        "Parquet, shown": ("trials_shown.parquet", PARQUET, lambda: as_parquet(shown(frame, places, columns, said))),
        "CSV, all": ("trials.csv", "text/csv", partial(as_csv, frame)),
        "Parquet, all": ("trials.parquet", PARQUET, partial(as_parquet, frame)),
    }
    for column, (label, (name, mime, make)) in zip(st.columns(4), files.items(), strict=True):
        with column:
            st.download_button(
                label,
                make,
                file_name=name,
                mime=mime,
                icon=":material/download:",
                key=f"get_{name}",
                on_click="ignore",
                width="stretch",
            )
    st.caption(
        "Shown: these rows and columns, all pages, in the units displayed, full precision. All: every trial and column,"
        " base units."
    )


def _details(view: data.View) -> None:
    """The chosen trial: why it failed, or where to see it."""
    number = state.trial()
    if number is None:
        return
    try:
        record = view.trial_record(number)
    except InputError as error:
        st.text(str(error))
        return
    st.subheader(f"Trial {number}", anchor=False)
    rows = view.frame[view.frame["number"] == number]
    if rows.empty:
        st.text(f"This study has no trial {number}: choose one in the table.")
        return
    if record is None:
        status = rows["status"].iloc[0]
        died = ": its process ended before it wrote anything; the same search command repeats it"
        st.text(f"{status}, nothing is recorded{died if status == 'interrupted' else ' yet'}")
        return
    st.text(f"{record.status} · {rows['what'].iloc[0]} · {record.seconds:,.1f} s")
    reason = record.evaluation.infeasible if record.evaluation is not None else None
    for line in filter(None, (reason and f"not trained: {reason}", record.reason, record.error)):
        st.text(line)
    if record.traceback:
        st.code(record.traceback, language=None, wrap_lines=True)
    elif record.error:
        st.text("No traceback was kept.")
    st.page_link("screens/architecture.py", label="Open its architecture", icon=":material/account_tree:")


@st.cache_resource(max_entries=16, show_spinner=False)
def _places(
    key: Hashable, statuses: tuple[str, ...], text: str, by: str, falling: bool, _frame: pd.DataFrame
) -> NDArray[np.int64]:
    return ordered(_frame, found(_frame, statuses, text), by, falling)


main()
