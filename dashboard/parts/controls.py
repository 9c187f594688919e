"""What of a study stands on the axes of a front, what colours it, and what is drawn beside it: chosen in the URL.

A choice is in the URL by its label; the labels of a list are shown as they are, never as markdown.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from dashboard.canvas import called
from dashboard.data import View
from dashboard.parts import decide, filters
from explorer import results, structure
from explorer.metrics import Metric

COSTS = {"latency": "Latency", "macs": "MACs", "params": "Parameters", "memory": "Peak memory"}
BESIDE = ("infeasible", "stopped", "failed", "interrupted")
PUBLISHED = {"none": "none", "size": "same image size", "all": "all image sizes"}
NO_COLOR = "none"


@dataclass(frozen=True)
class Layers:
    """What is drawn beside the front and the dominated trials."""

    intervals: bool
    ties: bool
    beside: tuple[str, ...]
    published: str  # a key of PUBLISHED


def choose_cost(view: View) -> Metric:
    """The cost on x: its kind, and which latency where there are several."""
    known = decide.costs(view.frame)
    first = known.index(decide.default_cost(view.frame, view.objectives))
    kind = st.selectbox(
        "Cost",
        known,
        index=first,
        format_func=COSTS.__getitem__,
        key="cost",
        bind="query-params",
        on_change=_forget_budget,
        width=130,
    )
    name = kind or known[0]
    if name == "latency":
        timed = decide.timed(view.frame)
        if len(timed) > 1:
            aim = [one for one in timed if one in view.objectives]
            chosen = st.selectbox(
                "Measured on",
                timed,
                index=timed.index((aim or timed)[0]),
                format_func=lambda one: _conditions(view.key, one, view.frame),
                key="on",
                bind="query-params",
                on_change=_forget_budget,
                width=220,
            )
            name = chosen or timed[0]
        else:
            name = timed[0]
    return results.metrics_of(view.frame, [name])[0]


def _forget_budget() -> None:
    """A budget in milliseconds is none in MACs."""
    st.session_state["budget"] = None


def choose_budget(view: View, x: Metric) -> float | None:
    """The budget in the stored unit of x; None without one."""
    middle = float(view.frame[x.column].median()) * x.scale
    step = 10.0 ** (math.floor(math.log10(middle)) - 1) if middle > 0 else 0.1
    shown = st.number_input(
        f"Budget, {x.unit}",
        min_value=0.0,
        value=None,
        step=step,
        format="%.6g",
        placeholder="no limit",
        key="budget",
        bind="query-params",
        width=140,
    )
    return None if shown is None else float(shown) / x.scale


def choose_view(view: View, x: Metric) -> tuple[Metric, Layers]:
    """What is on y, and what is drawn."""
    others = decide.heights(view.frame, x.name)
    aims = [name for name in view.objectives if name in others]
    first = others.index("accuracy" if "accuracy" in others else (aims or others)[0])
    name = st.selectbox(
        "Against",
        others,
        index=first,
        format_func=lambda one: _label(view, one),
        key="y",
        bind="query-params",
    )
    intervals = st.toggle("95 % intervals of latencies", True, key="intervals", bind="query-params")
    ties = st.toggle(
        "Ties",
        True,
        key="ties",
        bind="query-params",
        help="Latencies are intervals: how likely each trial is on the front, and which cannot be told from it.",
    )
    beside = st.pills("Also show trials that are", BESIDE, selection_mode="multi", key="also", bind="query-params")
    models = st.segmented_control(
        "Published models",
        list(PUBLISHED),
        default="size",
        required=True,
        format_func=PUBLISHED.__getitem__,
        key="published",
        bind="query-params",
        help="Marked on the cost axis alone: their published accuracy is of ImageNet-1k and of another recipe.",
    )
    layers = Layers(intervals, ties, tuple(beside or ()), models or "size")
    return results.metrics_of(view.frame, [name or others[0]])[0], layers


def choose_color(view: View) -> str:
    """What colours the trials: the name of a metric or of a structure column, or NO_COLOR."""
    chosen = st.selectbox(
        "Colour",
        [NO_COLOR, *_metric_names(view.frame), *filters.levels_of(view.key, view.frame)],
        format_func=lambda name: color_label(view, name),
        key="color",
        bind="query-params",
        width=170,
    )
    return chosen or NO_COLOR


def _metric_names(frame: pd.DataFrame) -> list[str]:
    """What was measured, as a colour."""
    return ["accuracy", *decide.timed(frame), "macs", "params", "memory"]


def _label(view: View, name: str) -> str:
    """A metric as a choice, latencies by their conditions."""
    (metric,) = results.metrics_of(view.frame, [name])
    if results.interval_columns(metric) is None:
        return called(metric, view.data).label
    return f"Latency: {_conditions(view.key, name, view.frame)}"


def color_label(view: View, name: str) -> str:
    """What the colours mean: a column of the structure, or a metric with its unit."""
    if name == NO_COLOR or structure.is_structure(name):
        return name if name == NO_COLOR else structure.label(name)
    return called(results.metrics_of(view.frame, [name])[0], view.data).quantity


def color_column(frame: pd.DataFrame, name: str) -> str | None:
    """The frame's column that colours, None for none."""
    if name == NO_COLOR:
        return None
    return name if structure.is_structure(name) else results.metrics_of(frame, [name])[0].column


def verdicts(frame: pd.DataFrame, metrics: tuple[Metric, ...]) -> list[str]:
    """Columns with verdicts on the latencies that are drawn."""
    timed = [results.verdict_column(one) for one in metrics if results.interval_columns(one) is not None]
    return [column for column in timed if frame[column].notna().any()]


@st.cache_resource(max_entries=64, show_spinner=False)
def _conditions(key: Hashable, latency: str, _frame: pd.DataFrame) -> str:
    return results.conditions(_frame, latency) or "conditions unknown"
