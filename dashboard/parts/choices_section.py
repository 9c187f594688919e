"""The Search page's sections on what choices of an architecture do to an objective: importance, and slices."""

from __future__ import annotations

from collections.abc import Hashable

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from dashboard import chart, data, state
from dashboard.canvas import ThemeName, called
from dashboard.figures.importance import importance_dots
from dashboard.figures.slices import slice_strips
from dashboard.text import plain
from explorer import results, structure
from explorer.analysis import slices
from explorer.analysis.importance import MOST, PERMUTATIONS, REFITS, Importance, ImportanceError, importance


def _objective(view: data.View) -> str:
    chosen = st.segmented_control(
        "Objective",
        list(view.objectives),
        default=view.objectives[0],
        required=True,
        key="objective",
        bind="query-params",
    )
    return str(chosen or view.objectives[0])


def show_importance(view: data.View) -> None:
    objective = _objective(view)
    try:
        found = _importance(view.key, objective, view.frame)
    except ImportanceError as error:
        st.text(str(error))
        return
    (metric,) = results.metrics_of(view.frame, [objective])
    metric = called(metric, view.data)
    figure = importance_dots(found, metric, theme=state.theme(), width=state.width("importance"))
    chart.show(figure, key="importance", table=lambda: _importance_table(found), revision=objective)
    low, mean, high = found.r2
    sample = "" if found.trials == found.of else f" (a sample of at most {MOST:,})"
    st.caption(
        f"A forest of extremely randomized trees learns {plain(metric.label)}"
        f"{'' if metric.maximize else ' (its logarithm)'} from the architecture of {found.trials:,} trials{sample};"
        f" on a quarter that it has not seen its R² is {mean:.2f} ({low:.2f} to {high:.2f} over {REFITS} refits). Each"
        f" choice is then permuted there, {PERMUTATIONS} times, among the trials that have it: a choice of a mixer"
        " within its kind, a kind of mixer with all it brings. What R² loses is the choice's importance; choices that"
        " act together share it, so they do not add up. The trials are those that the sampler proposed, no fair"
        " sample of the space."
    )


def _importance_table(found: Importance) -> pd.DataFrame:
    names = {"choice": "Choice", "importance": "Loss of R²", "low": "Least of refits", "high": "Most of refits"}
    shown = found.table.drop(columns="column")
    return shown.rename(columns=names | {"values": "Values", "trials": "Trials that have it"})


def show_slices(view: data.View) -> None:
    objective = _objective(view)
    columns = structure.splits(view.frame)
    if not columns or results.candidates(view.frame, [objective]).empty:
        st.text("Nothing to slice yet: it takes complete trials of more than one structure. Let the search run on.")
        return
    first = columns.index("mixer@1") if "mixer@1" in columns else 0
    column = st.selectbox(
        "Choice", columns, index=first, format_func=structure.label, key="slice", bind="query-params", width=360
    )
    column = column or columns[first]
    theme, width = state.theme(), state.width("slices")
    figure = _slices_figure(view.key, column, objective, view.data, theme, width, view.frame)
    revision = f"{column} {objective}"
    chart.show(figure, key="slices", table=lambda: _slices_table(view, column, objective), revision=revision)
    st.caption(
        "One choice at a time: the others differ from value to value as the sampler left them, so a difference here is"
        " no effect of the choice alone. Whiskers reach the least and the most."
    )


def _slices_table(view: data.View, column: str, objective: str) -> pd.DataFrame:
    (metric,) = results.metrics_of(view.frame, [objective])
    table = slices.by_level(view.frame, column, objective)
    numbers = ["least", "q1", "median", "q3", "most"]
    table[numbers] = table[numbers] * metric.scale
    words = {"q1": "lower quartile", "q3": "upper quartile"}
    shown = {name: f"{words.get(name, name).capitalize()}, {metric.unit}" for name in numbers}
    return table.rename(columns=shown | {"level": structure.label(column), "trials": "Trials"})


@st.cache_resource(max_entries=16, show_spinner="Fitting forests: some seconds, once")
def _importance(key: Hashable, objective: str, _frame: pd.DataFrame) -> Importance:
    return importance(_frame, objective)


@st.cache_resource(max_entries=32, show_spinner=False)
def _slices_figure(
    key: Hashable, column: str, objective: str, words: str, theme: ThemeName, width: int | None, _frame: pd.DataFrame
) -> go.Figure:
    return slice_strips(_frame, column, objective, data=words, theme=theme, width=width)
