"""What a page of a design space can be asked: the metric, the choice whose levels are compared, and of which trials."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import pandas as pd
import streamlit as st

from dashboard import state
from dashboard.canvas import called
from dashboard.data import View
from dashboard.figures import parallel
from dashboard.figures.devices import short
from dashboard.parts import panel
from explorer import results, structure
from explorer.analysis.distribution import FEWEST, levels
from explorer.metrics import METRICS, Metric

Among = tuple[tuple[str, float], ...]  # budgets in stored units, by name of the metric


def measured(view: View) -> list[str]:
    """The metrics that complete trials have, the study's objectives first."""
    names = dict.fromkeys([*view.objectives, *METRICS, *results.latencies(view.frame)])
    complete = view.frame["status"] == "complete"
    return [name for name in names if (view.frame[_metric(view, name).column].notna() & complete).any()]


def _metric(view: View, name: str) -> Metric:
    (metric,) = results.metrics_of(view.frame, [name])
    return metric


def choose_metric(view: View, label: str, names: Sequence[str], key: str) -> str:
    """The metric chosen of these."""
    chosen = st.selectbox(label, names, key=key, bind="query-params", format_func=lambda name: label_of(view, name))
    return str(chosen or names[0])


def label_of(view: View, name: str) -> str:
    """A metric as its option is called."""
    if name.startswith("latency"):
        return f"Latency {short(view.frame, name)}"
    return called(METRICS[name], view.data).label


def choose_split(view: View) -> str | None:
    """The choice whose levels are compared; None where no choice varies."""
    splits, _ = lively(view.key, view.frame)
    first = splits.index(_tellable(view.key, tuple(splits), view.frame)) if splits else None
    return st.selectbox("By", splits, index=first, key="split", bind="query-params", format_func=structure.label)


@st.cache_resource(max_entries=4, show_spinner=False)
def _tellable(key: Hashable, splits: tuple[str, ...], _frame: pd.DataFrame) -> str:
    """The choice to begin with: the last mixer, or the first of which two levels have trials enough."""
    complete = _frame.loc[(_frame["status"] == "complete") & ~_frame["duplicate"], list(splits)]
    mixers = [name for name in splits if name.startswith("mixer@")]
    order = [*reversed(mixers), *splits]
    seconds = {name: levels(complete[name]).value_counts().iloc[1:2].sum() for name in dict.fromkeys(order)}
    return next((name for name in order if seconds[name] >= FEWEST), max(seconds, key=lambda name: seconds[name]))


def choose_among(view: View, goal: str) -> Among:
    """Which trials alone: as good as ... where a cost is compared, within a cost where accuracy is."""
    cost = next(name for name in [*view.objectives, "macs"] if not _metric(view, name).maximize)
    other = cost if goal == "accuracy" else "accuracy"
    if other == goal or view.frame[_metric(view, other).column].isna().all():
        return ()
    row = called(_metric(view, other), view.data)
    middle = float(view.frame.loc[view.frame["status"] == "complete", row.column].median()) * row.scale
    most = st.number_input(
        f"Only trials with {label_of(view, other)} at {'least' if row.maximize else 'most'}, {row.unit}",
        value=round(middle, 1) if row.maximize else None,
        min_value=0.0,
        format="%.6g",
        key="least" if row.maximize else "most",
        bind="query-params",
        placeholder="all trials",
    )
    return () if most is None else ((other, float(most) / row.scale),)


def stated(view: View, goal: str, among: Among) -> str:
    """What holds of the trials of a chart: of latencies under what they were measured, and the condition."""
    names = [name for name in (goal, *(name for name, _ in among)) if name.startswith("latency")]
    parts = [results.conditions(view.frame, name) for name in names]
    for name, value in among:
        row = called(_metric(view, name), view.data)
        parts.append(f"{row.label} at {'least' if row.maximize else 'most'} {row.text(value)}")
    return " · ".join(filter(None, parts))


@st.cache_resource(max_entries=4, show_spinner=False)
def lively(key: Hashable, _frame: pd.DataFrame) -> tuple[list[str], list[str]]:
    """(the choices that vary among complete trials, in the order of a network; the same, the liveliest first)."""
    choices = [name for name in map(str, _frame.columns) if structure.is_structure(name)]
    rows = _frame.loc[(_frame["status"] == "complete") & ~_frame["duplicate"], choices]
    return structure.splits(rows), parallel.liveliest(rows, len(choices))


def offer(found: pd.DataFrame, shown: pd.DataFrame, picked: Sequence[int]) -> None:
    """What can be done with the trials of a table."""
    numbers = [int(found["number"].iloc[row]) for row in picked if row < len(found)]
    if numbers:
        state.choose(numbers[0])
    first = numbers or [int(number) for number in found["number"].head(state.MOST_COMPARED)]
    words = "the chosen" if numbers else f"the first {len(first)}"
    left, right = st.columns(2)
    if left.button(f"Compare {words}", icon=":material/compare_arrows:", key="compare_found", disabled=len(first) < 2):
        state.set_chosen(first)
        panel.go("compare")
    file = f"vitscape_{len(found)}_trials.csv"
    right.download_button(
        "CSV of all",
        lambda: shown.to_csv(index=False),
        file_name=file,
        mime="text/csv",
        icon=":material/download:",
        key="matching_csv",
        on_click="ignore",
    )
