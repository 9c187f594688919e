"""Search: how the front grew, what training was saved, what curves, choices and clocks say of the search."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from dashboard import chart, data, state, tables
from dashboard.canvas import ThemeName
from dashboard.figures.learning import learning_curves
from dashboard.figures.timeline import MOST_BARS, timeline
from dashboard.parts import choices_section, growth_section
from explorer.analysis import learning, pace, saved

UNTRAINED = (
    "This study trains nothing: accuracy is none of its objectives."
    " `vitscape search --objectives accuracy,latency` trains."
)


def main() -> None:
    st.header("Search")
    view = data.current()
    if view.frame.empty:
        data.stop(
            "No trials yet: the search has not finished one.",
            "This page shows the first as it comes. Where no search runs, the same `vitscape search` starts it.",
        )
    sections: dict[str, Callable[[data.View], None]] = {
        "Hypervolume": growth_section.show,
        "Saved": _saved_section,
        "Learning": _learning_section,
        "Importance": choices_section.show_importance,
        "Slices": choices_section.show_slices,
        "Timeline": _timeline_section,
    }
    section = st.segmented_control(
        "Section", list(sections), default="Hypervolume", required=True, key="section", bind="query-params"
    )
    sections[section or "Hypervolume"](view)
    number = state.trial()
    if number is not None and (view.frame["number"] == number).any():
        st.page_link("screens/architecture.py", label=f"Architecture of trial {number}", icon=":material/account_tree:")


# --- training saved --------------------------------------------------------------------------------------------------


def _saved_section(view: data.View) -> None:
    if "accuracy" not in view.objectives:
        st.markdown(UNTRAINED)
        return
    table = saved.saved(view.frame, view.record)
    spent = saved.spent_seconds(view.frame)
    trained = len(saved.trained(view.frame))
    if not trained:
        st.text("Nothing has been trained to its end yet, so what was saved cannot be reckoned: let the search run on.")
        return
    sums = table.groupby("basis")["seconds"].sum()
    with st.container(horizontal=True):
        st.metric("Training done", _duration(spent), width="content", help=f"{trained:,} trials, measured.")
        st.metric("Saved, measured", _duration(float(sums.get("measured", 0))), width="content")
        st.metric("Saved, estimated", _duration(float(sums.get("estimated", 0))), width="content")
    names = {"rule": "Rule", "trials": "Trials", "seconds": "Seconds saved", "basis": "Basis"}
    shown = table.drop(columns="how").round({"seconds": 0}).rename(columns=names)
    tables.show(shown, key="saved")
    st.text("\n".join(f"{row['rule'].capitalize()}: {row['how']}." for row in table.to_dict("records")))
    st.download_button(
        "CSV", table.to_csv(index=False), file_name="vitscape_saved.csv", mime="text/csv", on_click="ignore"
    )
    st.caption(
        "Measured: times that this search itself took for the same architecture. Estimated: a mean time, or a time in"
        " proportion to epochs, of trainings that never ran. Wall time of training on the study's own device,"
        " without timing and loading."
    )


def _duration(seconds: float) -> str:
    if not seconds < float("inf"):
        return "unknown"
    return f"{seconds:,.0f} s" if seconds < 600 else f"{seconds / 60:,.0f} min" if seconds < 7200 else _hours(seconds)


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} h"


# --- learning curves -------------------------------------------------------------------------------------------------


def _learning_section(view: data.View) -> None:
    if "accuracy" not in view.objectives:
        st.markdown(UNTRAINED)
        return
    members, others = learning.sample(view.frame, view.objectives)
    if not members and not others:
        st.text("No learning curves yet: no trial has been trained to its end. Failed ones keep no curve.")
        return
    curves = _curves(view.key, members + others, view)
    proxy = view.record.get("proxy") or {}
    epochs = int(proxy.get("stop_epoch") or proxy.get("epochs") or curves["epoch"].max())
    trained = len(saved.trained(view.frame))
    figure = _learning_figure(
        view.key, epochs, trained, view.data, state.theme(), state.width("learning"), members, curves
    )
    chart.show(figure, key="learning", table=lambda: _by_epoch(curves))
    st.caption(
        f"At most {learning.MOST_CURVES} curves: the front's members, and others evenly spaced by their number. Rank"
        " agreement in the table is Spearman's correlation of the accuracy at an epoch with that at the last: how far a"
        " training stopped there would have told the same order."
    )
    early = learning.stopped(curves, epochs)
    whole = "" if len(members) + len(others) >= trained else f" among the {len(members) + len(others)} curves read"
    if early.empty:
        st.text(f"No stopped trials{whole}: every training ran its {epochs} epochs.")
        return
    st.text(f"Stopped before epoch {epochs}{whole}: {len(early)} trial{'s' * (len(early) > 1)}.")
    names = {"number": "Trial", "epoch": "Last epoch", "accuracy": "Top-1 (proxy) there, %"}
    tables.show(early.rename(columns=names), key="stopped")


def _by_epoch(curves: pd.DataFrame) -> pd.DataFrame:
    names = {"epoch": "Epoch", "curves": "Curves", "q1": "Lower quartile, %", "median": "Median, %"}
    return learning.by_epoch(curves).rename(
        columns=names | {"q3": "Upper quartile, %", "rank_agreement": "Rank agreement with the last epoch"}
    )


# --- timeline --------------------------------------------------------------------------------------------------------


def _timeline_section(view: data.View) -> None:
    figure = _timeline_figure(view.key, state.theme(), state.width("timeline"), view.frame)
    chart.show(figure, key="timeline", table=lambda: _timeline_table(view))
    st.caption(
        f"Up to {MOST_BARS} trials each is a bar from start to end; of more, how many ended in each stretch of time."
        " Repeats and networks rejected by their closed-form cost take no time to speak of."
    )


def _timeline_table(view: data.View) -> pd.DataFrame:
    if int(view.frame["started"].notna().sum()) > MOST_BARS:
        return pace.throughput(view.frame)
    return view.frame[["number", "status", "started", "finished", "seconds"]].rename(columns={"number": "trial"})


# --- what is kept between runs ---------------------------------------------------------------------------------------


@st.cache_resource(max_entries=8, show_spinner="Reading learning curves")
def _curves(key: Hashable, numbers: tuple[int, ...], _view: data.View) -> pd.DataFrame:
    return _view.curves(numbers)


@st.cache_resource(max_entries=8, show_spinner=False)
def _learning_figure(
    key: Hashable,
    epochs: int,
    trained: int,
    data_words: str,
    theme: ThemeName,
    width: int | None,
    front: tuple[int, ...],
    _curves: pd.DataFrame,
) -> go.Figure:
    return learning_curves(_curves, front, epochs=epochs, trained=trained, data=data_words, theme=theme, width=width)


@st.cache_resource(max_entries=8, show_spinner=False)
def _timeline_figure(key: Hashable, theme: ThemeName, width: int | None, _frame: pd.DataFrame) -> go.Figure:
    return timeline(_frame, theme=theme, width=width)


main()
