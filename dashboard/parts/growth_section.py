"""The Search page's first section: hypervolume over trials, time and device-hours, of one study or of several."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from dashboard import chart, data, state
from dashboard.canvas import ThemeName
from dashboard.figures.history import hypervolume_compared, hypervolume_history, hypervolume_table
from explorer import results
from explorer.analysis import convergence
from explorer.limits import parse_budget
from explorer.metrics import MetricError
from search_spaces.errors import InputError

OVER = {"Trials": "trials", "Time": "time", "Device-hours": "device-hours"}
MOST_OTHERS = 5
REFERENCE = "reference"  # the URL's word
Point = tuple[tuple[str, float], ...]  # objective, value in stored units


def show(view: data.View) -> None:
    """Draws the section for a study."""
    left, middle, right = st.columns([5, 6, 6])
    with left:
        label = st.segmented_control(
            "Over", list(OVER), default="Trials", required=True, key="over", bind="query-params"
        )
    over = OVER[label or "Trials"]
    with right:
        others = _others(view)
    views = [view, *others]
    automatic = convergence.common_reference([one.frame for one in views], view.objectives)
    if any(math.isnan(value) for value in automatic.values()):
        st.text("No hypervolume yet: no complete trial. Overview says why, or the search has just begun.")
        return
    with middle:
        reference = _reference(view, automatic)
    point = tuple(reference.items())
    steps = {one.name: _steps(one.key, one.objectives, point, over, one.frame) for one in views}
    theme, width = state.theme(), state.width("hypervolume")
    if others:
        figure = _compared_figure(tuple(one.key for one in views), point, over, theme, width, views, steps)
    else:
        figure = _history_figure(view.key, view.objectives, point, over, theme, width, view.frame)
    chart.show(figure, key="hypervolume", table=lambda: _table(view, steps, over), revision=over)
    _say(view, steps, over, views)


def _others(view: data.View) -> list[data.View]:
    """The studies to compare with that have the same objectives; says of the chosen ones that have not."""
    table = data.studies()
    names = [str(name) for name in table.loc[table["readable"], "name"] if name != view.name]
    if not names:
        return []
    chosen = st.multiselect(
        "Compare with",
        names,
        key="with",
        bind="query-params",
        max_selections=MOST_OTHERS,
        placeholder="other studies of this storage",
    )
    found = []
    for name in chosen:
        try:
            other = data.view(name)
        except InputError as error:
            st.text(f"{name} cannot be read: {error}")
            continue
        if other.objectives != view.objectives:
            st.text(f"{name} is left out: its objectives are {', '.join(other.objectives)}.")
            continue
        found.append(other)
    return found


def _reference(view: data.View, automatic: Mapping[str, float]) -> dict[str, float]:
    """The reference point: as the link or the field says, else the automatic one, in stored units."""
    rows = results.metrics_of(view.frame, view.objectives)
    words = ",".join(f"{row.name}={row.scale * automatic[row.name]:.6g}{row.unit}" for row in rows)
    text = st.text_input(
        "Reference point",
        key=REFERENCE,
        bind="query-params",
        placeholder=words,
        help="Empty: accuracy 0, and 1.1 times the worst trial of the studies shown, rounded up. It moves when a worse"
        " trial comes; one that is written here stays, and is in the link.",
    )
    st.button(
        "Keep this point", key="keep", icon=":material/push_pin:", on_click=_keep, args=(words,), disabled=bool(text)
    )
    if not text:
        return dict(automatic)
    try:
        given = parse_budget(text)
        if set(given) != set(view.objectives):
            raise MetricError(f"it needs a value for each of {', '.join(view.objectives)}, such as {words}")
    except InputError as error:
        st.text(f"This is no reference point: {error}. The automatic one is used.")
        return dict(automatic)
    return {name: given[name] for name in view.objectives}


def _keep(words: str) -> None:
    st.session_state[REFERENCE] = words


def _say(view: data.View, steps: Mapping[str, pd.DataFrame], over: str, views: list[data.View]) -> None:
    """The reference, and of several studies who leads at the same expense, in words."""
    st.caption(
        "The hypervolume is what the front dominates, up to the reference point: more is better, and it compares only"
        " against the same reference. Device-hours add up the wall time of trials; time includes pauses."
    )
    if len(steps) < 2:
        return
    common = min(float(one["x"].iloc[-1]) for one in steps.values() if len(one))
    reached = {name: convergence.at(one, common) for name, one in steps.items()}
    best = max(reached, key=lambda name: reached[name])
    unit = {"trials": "trial {:,.0f}", "time": "{:,.3g} hours", "device-hours": "{:,.3g} device-hours"}[over]
    order = sorted(reached.items(), key=lambda one: -one[1])
    shares = ", ".join(f"{name} {value / reached[best]:.1%}" for name, value in order if reached[best] > 0)
    st.text(f"At {unit.format(common)}, the farthest that all have come, of the largest hypervolume: {shares}.")
    conditions = {one.name: f"{_conditions(one)} · {one.data}" for one in views}
    if len(set(conditions.values())) > 1:
        lines = "\n".join(f"{name}: {words}" for name, words in conditions.items())
        st.text(f"Take care: measured or trained under other conditions, whose numbers may not compare.\n{lines}")


def _conditions(view: data.View) -> str:
    timed = [name for name in view.objectives if name.startswith("latency")]
    return " against ".join(dict.fromkeys(results.conditions(view.frame, name) for name in timed)) or "no latency"


def _table(view: data.View, steps: Mapping[str, pd.DataFrame], over: str) -> pd.DataFrame:
    """All steps of all studies, in displayed units."""
    rows = results.metrics_of(view.frame, view.objectives)
    parts = []
    for name, one in steps.items():
        shown = hypervolume_table(one, rows, over)
        shown.insert(0, "Study", name)
        parts.append(shown)
    return pd.concat(parts, ignore_index=True)


@st.cache_resource(max_entries=24, show_spinner=False)
def _steps(
    key: Hashable, objectives: tuple[str, ...], reference: Point, over: str, _frame: pd.DataFrame
) -> pd.DataFrame:
    return convergence.growth(_frame, objectives, dict(reference), over)


@st.cache_resource(max_entries=12, show_spinner=False)
def _history_figure(
    key: Hashable,
    objectives: tuple[str, ...],
    reference: Point,
    over: str,
    theme: ThemeName,
    width: int | None,
    _frame: pd.DataFrame,
) -> go.Figure:
    return hypervolume_history(_frame, objectives, reference=dict(reference), over=over, theme=theme, width=width)


@st.cache_resource(max_entries=12, show_spinner=False)
def _compared_figure(
    keys: tuple[Hashable, ...],
    reference: Point,
    over: str,
    theme: ThemeName,
    width: int | None,
    _views: list[data.View],
    _steps: dict[str, pd.DataFrame],
) -> go.Figure:
    rows = results.metrics_of(_views[0].frame, _views[0].objectives)
    series = {name: steps.set_index("x")["hypervolume"] for name, steps in _steps.items()}
    return hypervolume_compared(series, rows, dict(reference), over=over, theme=theme, width=width)
