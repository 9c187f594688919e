"""Devices: what was measured where, how far it agrees on what is faster, and what choosing by another device costs."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Hashable

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from dashboard import chart, data, state, tables
from dashboard.canvas import ThemeName, called
from dashboard.figures.devices import rank_agreement, short
from dashboard.figures.latencies import latency_scatter, predicted_measured
from dashboard.parts.latency_tables import (
    agreement_table,
    difference,
    measured_table,
    movers_table,
    predicted_table,
    transfer_table,
    transfers_table,
)
from dashboard.text import plain
from explorer import results
from explorer.analysis import agreement, held_out, transfer
from explorer.analysis.agreement import PROXIES, quantity
from explorer.profile.predict import LEAST, PredictorError

ENOUGH = LEAST * 5 // 4  # measurements from which a predictor can be checked on a fifth of them


def main() -> None:
    view = data.current()
    timed = results.latencies(view.frame)
    st.header("Devices")
    if not timed:
        st.text("No latency in this study.")
        _how_to_measure(view, "Measure its architectures, on this machine or on another, and attach what comes out:")
        return
    tables.show(measured_table(view.frame), key="devices_measured")
    if len(timed) == 1:
        _how_to_measure(view, "One latency only. To see what another device, runtime or batch size makes of it:")
    sections: dict[str, Callable[[data.View, list[str]], None]] = {
        "Agreement": _agreement_section,
        "Fronts": _fronts_section,
        "Against": _scatter_section,
        "Prediction": _prediction_section,
    }
    section = st.segmented_control(
        "Show", list(sections), default="Agreement", required=True, key="show", bind="query-params"
    )
    sections[section or "Agreement"](view, timed)
    _chosen(view)


def _agreement_section(view: data.View, timed: list[str]) -> None:
    table = _agreement(view.key, view.frame)
    if table.empty:
        st.text(f"Fewer than {agreement.LEAST} architectures have two of these numbers: let the search run on.")
        return
    proxies = table[table["second"].isin(PROXIES)]
    for name in timed:
        rows = proxies[proxies["first"] == name].sort_values("tau", ascending=False)
        if len(rows):
            st.text(_ranked_by(view.frame, name, rows))
    figure = rank_agreement(table, view.frame, theme=state.theme(), width=state.width("agreement"))
    chart.show(figure, key="agreement", table=lambda: agreement_table(view.frame, table))
    st.caption(
        "Kendall's tau-b over all pairs of architectures that both have measured, with the 95 % bootstrap interval over"
        " architectures. Two whose latencies' intervals overlap are a tie, which lowers tau also where nothing"
        " disagrees: the table says how many pairs both tell apart, and how many of those are in the same order."
        f" At most {agreement.MOST:,} architectures, chosen at random, are compared."
    )


def _ranked_by(frame: pd.DataFrame, name: str, rows: pd.DataFrame) -> str:
    """How good each count is at ranking a latency, in one line."""
    each = [
        f"{short(frame, row['second'])} with tau {row['tau']:.2f} [{row['tau_lo']:.2f}, {row['tau_hi']:.2f}]"
        for row in rows.to_dict("records")
    ]
    return f"{short(frame, name)} is ranked by {', by '.join(each)} ({rows['n'].iloc[0]:,} architectures)."


def _fronts_section(view: data.View, timed: list[str]) -> None:
    frame = view.frame
    goal = _goal(view)
    if goal is None:
        st.text("A front needs a second quantity beside the latency: search with --objectives accuracy,latency.")
        return
    left, right = st.columns(2)
    with right:
        on = _choose("Used on", timed, "used_on", frame)
    by_names = [name for name in [*timed, *PROXIES] if name not in (on, goal)]
    with left:
        by = _choose("Chosen by", by_names, "chosen_by", frame)
    label = called(quantity(frame, goal), view.data)
    table = _transfer(view.key, by, on, goal, frame)
    compared = table.attrs["n"]
    if len(table) == 0:
        st.text(f"No complete architecture has both {short(frame, by)} and {short(frame, on)}: measure and attach.")
        return
    counts = table["stays"].value_counts()
    lost = f"{table['lost'].mean() * label.scale:.2f} {difference(label)} of {plain(label.label)}"
    st.markdown(
        f"Of **{len(table)}** on the front of {plain(short(frame, by))},"
        f" **{counts.get(transfer.STAYS, 0)}** stay on the front of {plain(short(frame, on))},"
        f" **{counts.get(transfer.OPEN, 0)}** cannot be told, **{counts.get(transfer.LEAVES, 0)}** leave it."
        f" On average they lose {lost} to the best of the same time, or take"
        f" {table['time_lost'].mean():.0f} % longer than the quickest as good. {compared:,} architectures have both."
    )
    shown = transfer_table(frame, table, by, on, label)
    _table(shown, table["number"], "fronts")
    with st.expander("Every way to choose", icon=":material/compare:", key="ways", on_change="rerun") as ways:
        if ways.open:
            every = transfers_table(frame, _transfers(view.key, goal, frame), label)
            tables.show(every, key="ways_rows")
    st.caption(
        "The front by the one, looked at under the other. Lost is how much more the best architecture has that takes no"
        " longer there: what choosing by the wrong device costs. Intervals decide what can be told;"
        " accuracies count as exact, although another seed would train to another."
    )


def _scatter_section(view: data.View, timed: list[str]) -> None:
    frame = view.frame
    left, right = st.columns(2)
    with right:
        second = _choose("Up", timed, "up", frame)
    with left:
        first = _choose("Across", [name for name in [*timed, *PROXIES] if name != second], "across", frame)
    goal = _goal(view) or "accuracy"
    theme, width = state.theme(), state.width("against")
    figure = _scatter(view.key, first, second, goal, theme, width, frame)
    moved = _movers(view.key, first, second, frame)
    chart.show(figure, key="against", table=lambda: movers_table(frame, moved, first, second))
    st.caption(
        f"{len(moved):,} of {moved.attrs['n']:,} architectures change rank beyond their intervals: the table names"
        " them, the farthest first. 95 % intervals; ranks begin at 1, the fastest."
    )


def _prediction_section(view: data.View, timed: list[str]) -> None:
    frame = view.frame
    name = _choose("Latency", timed, "latency", frame)
    rows = held_out.learnable(frame, name)
    if len(rows) < ENOUGH:
        st.text(
            f"Refused: {len(rows)} trusted measurements of {short(frame, name)}; a predictor needs {LEAST}, and"
            f" {ENOUGH} to be checked on architectures that it has not seen. Search on, or attach measurements."
        )
        _how_to_measure(view, "To measure more:")
        return
    try:
        table = _held_out(view.key, name, view)
    except PredictorError as error:
        st.text(str(error))
        return
    except ModuleNotFoundError as error:
        st.text(f"The predictor needs {error.name}: pip install 'vitscape[search]'")
        return
    figure = predicted_measured(
        table, conditions=results.conditions(frame, name), theme=state.theme(), width=state.width("predicted")
    )
    chart.show(figure, key="predicted", table=lambda: predicted_table(table))
    st.caption(
        f"Each architecture is predicted by a predictor that learnt from four fifths of the others. At most"
        f" {held_out.MOST} architectures, chosen at random; bars are the predicted 95 % intervals for a measurement."
    )


def _choose(label: str, names: list[str], key: str, frame: pd.DataFrame) -> str:
    """A latency or count, in the URL by its short name."""
    return str(
        st.selectbox(label, names, key=key, bind="query-params", format_func=lambda name: short(frame, str(name)))
    )


def _goal(view: data.View) -> str | None:
    """What a front is of beside the latency: accuracy, else another objective of the study."""
    if view.frame["accuracy"].notna().any():
        return "accuracy"
    return next((name for name in view.objectives if not name.startswith("latency")), None)


def _table(shown: pd.DataFrame, numbers: pd.Series[int], key: str) -> None:
    """A table of trials in which a row can be chosen."""
    picked = tables.show(shown, key=f"{key}_rows", on_select="rerun", selection_mode="single-row")
    rows = picked["selection"]["rows"]
    if rows and rows[0] < len(numbers):
        state.choose(int(numbers.iloc[rows[0]]))


def _chosen(view: data.View) -> None:
    """The chosen trial, with a way to its page."""
    number = state.trial()
    if number is not None and (view.frame["number"] == number).any():
        st.page_link("screens/architecture.py", label=f"Architecture of trial {number}", icon=":material/account_tree:")


def _how_to_measure(view: data.View, why: str) -> None:
    """The commands by which a study gets another latency."""
    storage = "" if "***" in view.storage else f" --storage {shlex.quote(view.storage)}"
    study = f" --study {shlex.quote(view.name)}{storage}"
    st.text(why)
    st.code(
        f"vitscape export --all{study} --out archs\n"
        "vitscape measure archs/*.yaml --device cuda --precision fp16 --runtime eager,cuda_graph --batch-sizes 1,32"
        " --out gpu.parquet\n"
        f"vitscape attach gpu.parquet{study}",
        language="bash",
        wrap_lines=True,
    )
    st.text("Run the second where the device is. A new search measures several from its start:")
    space = shlex.quote(str(view.record.get("space_name") or "tiny_32"))
    st.code(f"vitscape search {space} --runtime eager,onnxruntime --batch-sizes 1,32", language="bash", wrap_lines=True)


@st.cache_resource(max_entries=8, show_spinner="Comparing ranks")
def _agreement(key: Hashable, _frame: pd.DataFrame) -> pd.DataFrame:
    return agreement.agreement(_frame)


@st.cache_resource(max_entries=32, show_spinner=False)
def _transfer(key: Hashable, by: str, on: str, goal: str, _frame: pd.DataFrame) -> pd.DataFrame:
    return transfer.transfer(_frame, by, on, goal)


@st.cache_resource(max_entries=8, show_spinner="Comparing fronts")
def _transfers(key: Hashable, goal: str, _frame: pd.DataFrame) -> pd.DataFrame:
    return transfer.transfers(_frame, goal)


@st.cache_resource(max_entries=32, show_spinner=False)
def _movers(key: Hashable, first: str, second: str, _frame: pd.DataFrame) -> pd.DataFrame:
    return agreement.movers(_frame, first, second)


@st.cache_resource(max_entries=8, show_spinner=False)
def _scatter(
    key: Hashable, first: str, second: str, goal: str, theme: ThemeName, width: int | None, _frame: pd.DataFrame
) -> go.Figure:
    return latency_scatter(_frame, first, second, goal=goal, theme=theme, width=width)


@st.cache_resource(max_entries=8, show_spinner="Predicting each from the others")
def _held_out(key: Hashable, name: str, _view: data.View) -> pd.DataFrame:
    rows = held_out.learnable(_view.frame, name)
    return held_out.held_out(rows, _view.architectures(rows["number"]), name)


main()
