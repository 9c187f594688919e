"""Overview: the storage's studies; of the chosen one how far it is, what it has found, and what is wrong."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from dashboard import chart, data, state, tables
from dashboard.canvas import ThemeName, called
from dashboard.figures.history import hypervolume_history, hypervolume_table
from dashboard.figures.timeline import STATUS
from dashboard.parts import panel, wrong_section
from dashboard.text import plain
from explorer import results
from explorer.analysis import budgets, convergence, pace
from explorer.metrics import Metric

SHARE = {0.25: "¼", 0.5: "½", 0.75: "¾"}
HISTORY_HEIGHT = 320  # pixels


def main() -> None:
    st.header("Overview")
    _studies()
    view = data.current()
    st.subheader(plain(view.name))
    st.text(_conditions(view))
    if view.frame.empty:
        st.info(
            "No trials yet: the search has not finished one. This page shows the first as it comes. Where no search"
            " runs, `vitscape search` with the same options and study starts it.",
            icon=":material/hourglass_empty:",
        )
        return
    _counts(view.frame)
    _pace(view)
    left, right = st.columns([3, 2], gap="large")
    with left:
        _history(view)
    with right:
        _best(view)
    wrong_section.show(view)


def _studies() -> None:
    """The table of studies; choosing one shows it."""
    table = data.studies()
    if table.empty:
        return
    shown = table.rename(columns=str.capitalize).drop(columns="Reason").astype({"Readable": "object"})
    shown["Readable"] = table["readable"].map({True: "yes", False: "no"})
    form = "YYYY-MM-DD HH:mm"
    columns: dict[str, Any] = {}
    for name in ("First", "Last"):
        columns[name] = st.column_config.DatetimeColumn(f"{name} (UTC)", format=form, timezone="UTC")
    columns["Name"] = st.column_config.TextColumn(width="medium", pinned=True)
    tables.show(shown, key="studies", config=columns, on_select=_open, selection_mode="single-row")
    for row in table[~table["readable"]].to_dict("records"):
        st.text(f"{row['name']} cannot be read: {row['reason']}")
    if len(table) > 1:
        st.caption("Choose a row to see that study below and on every page.")


def _open() -> None:
    """Makes the study of the chosen row the session's."""
    rows = st.session_state["studies"]["selection"]["rows"]
    table = data.studies()
    if rows and rows[0] < len(table) and table["readable"].iloc[rows[0]]:
        state.forget()
        st.session_state[state.STUDY] = str(table["name"].iloc[rows[0]])


def _conditions(view: data.View) -> str:
    """Space, objectives, data; device and conditions."""
    record, frame = view.record, view.frame
    where = record.get("conditions", {})
    planned = [str(where[name]) for name in ("device_name", "precision") if where.get(name)]
    timed = results.latencies(frame)
    measured = results.conditions(frame) if "latency" in timed else " · ".join(planned) or "unknown"
    limits = [
        f"{row.name} at most {row.text(limit)}"
        for name, limit in (record.get("limits") or {}).items()
        if limit is not None
        for row in results.metrics_of(frame, [name])
    ]
    lines = [
        f"Space {record.get('space_name') or 'unknown'} · {' against '.join(view.objectives)}",
        f"Accuracy: top-1 of the proxy, {view.data}" if view.data else "Nothing is trained in this study",
        f"Device and conditions: {measured}" + (f" · further latencies: {len(timed) - 1}" if len(timed) > 1 else ""),
    ]
    return "\n".join([*lines, *([f"Limits: {', '.join(limits)}"] if limits else [])])


def _counts(frame: pd.DataFrame) -> None:
    """Trials by state, each with its sign and word."""
    counts = frame["status"].astype("object").value_counts()
    with st.container(horizontal=True):
        for status, look in STATUS.items():
            if counts.get(status, 0) or status == "complete":
                st.metric(look.word.capitalize(), f"{counts.get(status, 0):,}", icon=look.icon, width="content")


def _pace(view: data.View) -> None:
    """How fast it goes, and how long it will take."""
    frame, found = view.frame, _found_pace(view.key, view.frame)
    running = int((frame["status"] == "running").sum())
    tiles = st.container(horizontal=True)
    asked = st.number_input(
        "Trials asked for (`--trials`)",
        min_value=0,
        value=0,
        step=100,
        key="asked",
        bind="query-params",
        width=220,
        help="A study does not keep how many trials it was asked for: say it here to see the time left.",
    )
    no_pauses = "Pauses of over ten minutes left out."
    recently = f"Of the last {pace.RECENT} evaluated trials."
    with tiles:
        rate = "–" if found.recent_per_hour is None else f"{found.recent_per_hour:,.3g}"
        overall = "–" if found.per_hour is None else f"{found.per_hour:,.3g}"
        st.metric("Trials an hour, recently", rate, width="content", help=recently)
        st.metric("Trials an hour, overall", overall, width="content", help=no_pauses)
        st.metric("Hours searched", f"{found.hours:,.3g}", width="content", help=no_pauses)
        st.metric(
            "Hours of trials", f"{found.device_hours:,.3g}", width="content", help="Wall time of trials, added up."
        )
        st.metric("Time left", _time_left(found, int(asked or 0), running), width="content")
    lines = [f"{found.evaluated:,} evaluated: complete, failed, or measured and over a limit; repeats and networks"]
    lines.append("rejected by their closed-form cost take no time and are not counted, as in --trials.")
    if not asked:
        lines.append("Time left is unknown, for a study does not keep how many trials it was asked for.")
    if not running:
        last = pace.ends(frame).max()
        when = "" if pd.isna(last) else f" since {last:%Y-%m-%d %H:%M} UTC"
        lines.append(f"No trial is running{when}; the same vitscape search continues.")
    st.text(" ".join(lines))


def _time_left(found: pace.Pace, asked: int, running: int) -> str:
    if not asked:
        return "unknown"
    hours = pace.hours_left(found, asked)
    if asked <= found.evaluated:
        return "done"
    if hours is None or not running:
        return "not running" if not running else "no rate yet"
    return f"{hours * 60:.0f} min" if hours < 1.5 else f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"


def _history(view: data.View) -> None:
    if results.candidates(view.frame, view.objectives).empty:
        st.text("No hypervolume yet: no complete trial. What is told below says why, or the search has just begun.")
        return
    figure = _history_figure(view.key, view.objectives, state.theme(), state.width("history"), view.frame)
    chart.show(figure, key="history", table=lambda: _history_table(view))
    st.page_link("screens/search.py", label="More on the search", icon=":material/trending_up:")


def _history_table(view: data.View) -> pd.DataFrame:
    reference = convergence.common_reference([view.frame], view.objectives)
    steps = convergence.growth(view.frame, view.objectives, reference)
    return hypervolume_table(steps, results.metrics_of(view.frame, view.objectives))


def _best(view: data.View) -> None:
    """The best under three budgets, each chosen by a button."""
    frame = view.frame
    goal, cost = (called(row, view.data) for row in budgets.goal_and_cost(frame, view.objectives))
    found = _three_budgets(view.key, view.objectives, frame)
    st.markdown(f"**Best {plain(goal.label)} under three budgets**")
    if not found:
        st.text("No complete trial yet: nothing is best.")
        return
    for best in found:
        row = best.row
        with st.container(border=True):
            st.markdown(
                f"{plain(cost.label)} ≤ **{plain(cost.text(best.budget))}**: **{plain(goal.text(row[goal.column]))}**"
            )
            st.text(f"trial {row['number']} · {_spread(row, cost)}{row['what']}")
            if st.button("Show", key=f"show_{best.share:g}", icon=":material/scatter_plot:"):
                state.choose(int(row["number"]))
                panel.go("explore")
    shares = ", ".join(SHARE.get(best.share, "all") for best in found)
    st.caption(
        f"Budgets are costs of members of the front of {plain(goal.label)} and {plain(cost.label)}: {shares} of them"
        " cost no more."
    )


def _spread(row: pd.Series[Any], cost: Metric) -> str:
    """What it costs itself, with the 95 % interval of a latency."""
    ends = results.interval_columns(cost)
    if ends is None or row[list(ends)].isna().any():
        return f"{cost.text(row[cost.column])} · "
    return f"{cost.text(row[cost.column])} [{cost.number(row[ends[0]])}, {cost.number(row[ends[1]])}] · "


@st.cache_resource(max_entries=8, show_spinner=False)
def _found_pace(key: Hashable, _frame: pd.DataFrame) -> pace.Pace:
    return pace.pace(_frame)


@st.cache_resource(max_entries=8, show_spinner=False)
def _three_budgets(key: Hashable, objectives: tuple[str, ...], _frame: pd.DataFrame) -> list[budgets.Best]:
    return budgets.three_budgets(_frame, objectives)


@st.cache_resource(max_entries=8, show_spinner=False)
def _history_figure(
    key: Hashable, objectives: tuple[str, ...], theme: ThemeName, width: int | None, _frame: pd.DataFrame
) -> go.Figure:
    reference = convergence.common_reference([_frame], objectives)
    return hypervolume_history(_frame, objectives, reference=reference, theme=theme, width=width, height=HISTORY_HEIGHT)


main()
