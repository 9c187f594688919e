"""Compare: up to six architectures side by side, only what differs; where their time and their MACs go."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from dashboard import chart, data, state, tables
from dashboard.canvas import THEMES
from dashboard.drawing import drawing_alt, drawing_svg
from dashboard.figures.compare import latency_dumbbells, latency_table
from dashboard.figures.stages import shares_table, stage_shares
from dashboard.parts import panel
from dashboard.parts.comparison import BEST, TIES, Candidate, differences, numbers
from dashboard.parts.files import archive
from dashboard.parts.members import front_members
from dashboard.text import plain
from explorer import results
from explorer.analysis.distribution import COMPLEXITY
from explorer.analysis.whatif import cost_by_part
from explorer.frame import what
from search_spaces import Architecture, preset
from search_spaces.errors import InputError
from search_spaces.shipped import names as shipped_names

TRIALS, PRESETS, SHARE = "_compared", "models", "share"  # keys of the choosers; two of them are words of the link
DRAWING, ACROSS = 400, 2  # pixels of a drawing, drawings in a row


def main() -> None:
    view = data.current()
    st.header("Compare")
    candidates = _choose(view)
    if not candidates:
        st.text("Nothing to compare yet: choose up to six trials above, members of the front or any others.")
        return
    if len(candidates) == 1:
        st.text("One architecture only: choose another to see what differs.")
    _take_away(view, candidates)
    _tables(view, candidates)
    _latencies(view, candidates)
    _shares(candidates)
    _drawings(candidates)


def _choose(view: data.View) -> list[Candidate]:
    """The chosen trials and published models, after drawing the choosers."""
    front = front_members(view)
    left, right = st.columns([3, 2])
    with right:
        st.multiselect(
            "Published models",
            shipped_names("presets"),
            key=PRESETS,
            bind="query-params",
            max_selections=state.MOST_COMPARED,
            placeholder="none",
            help="Their costs only: they were not measured in this study",
        )
    presets = [str(name) for name in st.session_state[PRESETS]][: state.MOST_COMPARED]
    with left:
        known = list(dict.fromkeys([*state.chosen(), *sorted(front)]))
        st.session_state[TRIALS] = [str(number) for number in state.chosen()]
        st.multiselect(
            "Trials",
            [str(number) for number in known],
            key=TRIALS,
            accept_new_options=True,
            max_selections=state.MOST_COMPARED,
            format_func=lambda number: f"{number} (front)" if str(number) in map(str, front) else str(number),
            placeholder="members of the front, or type a number",
            on_change=_choose_trials,
        )
        if front and st.button("The front's members", key="take_front", icon=":material/show_chart:"):
            state.set_chosen(_spread(front, state.MOST_COMPARED))
            st.rerun()
    numbers_ = state.chosen()[: state.MOST_COMPARED - len(presets)] if presets else state.chosen()
    if len(numbers_) < len(state.chosen()):
        st.caption(f"The first {len(numbers_)} trials: no more than {state.MOST_COMPARED} architectures fit.")
    return [*_trials(view, numbers_), *(_published(view, name) for name in presets)]


def _choose_trials() -> None:
    """Takes the trials of the chooser; what is no number is left out."""
    words = [str(word).strip() for word in st.session_state[TRIALS]]
    good = [int(word) for word in words if word.isascii() and word.isdecimal() and len(word) <= 9]
    for word in set(words) - {str(number) for number in good}:
        st.toast(f"{plain(word[:40])} is no trial's number")
    state.set_chosen(good)


def _spread(front: Sequence[int], most: int) -> list[int]:
    """Members evenly along the front, its ends included."""
    if len(front) <= most:
        return list(front)
    return [front[round(i * (len(front) - 1) / (most - 1))] for i in range(most)]


def _trials(view: data.View, chosen: Sequence[int]) -> list[Candidate]:
    found = []
    for number in chosen:
        try:
            architecture = view.architecture(number)
            Architecture.from_dict(architecture, f"trial {number}")
        except InputError as error:
            st.warning(f"Trial {number} is left out: {plain(error)}", icon=":material/link_off:")
            continue
        found.append(Candidate(f"trial {number}", architecture, panel.rows_of(view.frame, [number])))
    return found


def _published(view: data.View, name: str) -> Candidate:
    return Candidate(name, preset(name).canonical.to_dict(), view.frame.head(0))


def _take_away(view: data.View, candidates: Sequence[Candidate]) -> None:
    """All files in one archive, made in memory."""
    try:
        content = archive(view, candidates)
    except InputError as error:
        st.error(f"These architectures cannot be exported: {plain(error)}")
        return
    st.download_button(
        "All as YAML (zip)",
        content,
        file_name="vitscape_compare.zip",
        mime="application/zip",
        icon=":material/download:",
        key="take_all",
        on_click="ignore",
        help="One file an architecture; each rebuilds its network",
    )


def _tables(view: data.View, candidates: Sequence[Candidate]) -> None:
    """The numbers with the best of each row marked, and the choices that differ, with one file of both."""
    measured, choices = numbers(candidates, view.frame, view.data), differences(candidates)
    st.subheader("Numbers")
    tables.show(measured.style.map(_marked, subset=list(measured.columns[1:])), key="numbers")
    st.caption(
        "↑ higher is better, ↓ lower is better. 95 % intervals of the latency in brackets; those that overlap the"
        " best one's tie with it. Accuracies count as"
        " exact, although another seed would train to another."
    )
    st.subheader("What differs")
    if choices.empty:
        st.text(
            "These architectures do not differ in any choice." if len(candidates) > 1 else "Nothing to differ from."
        )
    else:
        tables.show(choices, key="choices", height="content")
    both = pd.concat([measured.rename(columns={"metric": "row"}), choices.rename(columns={"choice": "row"})])
    st.download_button(
        "CSV of both tables",
        both.to_csv(index=False),
        file_name="vitscape_compare.csv",
        mime="text/csv",
        icon=":material/download:",
        key="take_csv",
        on_click="ignore",
    )


def _marked(cell: object) -> str:
    """The style of a cell: what is best is bold and coloured besides its mark."""
    color = THEMES[state.theme()].front
    return f"font-weight: bold; color: {color}" if str(cell).endswith((BEST, TIES)) else ""


def _latencies(view: data.View, candidates: Sequence[Candidate]) -> None:
    """The dumbbells over all latencies that any of the trials has."""
    st.subheader("Latencies")
    chosen = [int(one.row["number"].iloc[0]) for one in candidates if len(one.row)]
    rows = panel.rows_of(view.frame, chosen)
    if not results.latencies(rows):
        st.text(
            "No latency of these architectures: run vitscape measure, and attach what comes out with vitscape attach."
        )
        return
    figure = latency_dumbbells(rows, theme=state.theme(), width=state.width("latencies"))
    chart.show(figure, key="latencies", table=lambda: latency_table(rows))
    without = [one.label for one in candidates if not results.latencies(one.row)]
    if without:
        st.caption(plain(f"Without any latency in this study, so not drawn: {', '.join(without)}."))
    if state.trial() in chosen:
        st.page_link(panel.PAGES / "architecture.py", label=f"Architecture of trial {state.trial()}")


def _shares(candidates: Sequence[Candidate]) -> None:
    """Where MACs, parameters or activations are, stage by stage."""
    st.subheader("Stages")
    labels = {metric.label: name for name, metric in COMPLEXITY.items()}
    words = list(labels)
    chosen = st.segmented_control("Share of", words, default=words[0], required=True, key=SHARE, bind="query-params")
    name = labels[str(chosen or words[0])]
    tables = {one.label: cost_by_part(Architecture.from_dict(one.architecture)) for one in candidates}
    figure = stage_shares(tables, name, theme=state.theme(), width=state.width("stages"))
    chart.show(figure, key="stages", table=lambda: shares_table(tables, name), revision=name)


def _drawings(candidates: Sequence[Candidate]) -> None:
    """All drawings, in the style of the narrow one, so that stages lie beside each other."""
    st.subheader("Drawings")
    for start in range(0, len(candidates), ACROSS):
        for one, column in zip(candidates[start : start + ACROSS], st.columns(ACROSS), strict=False):
            with column:
                st.text(f"{one.label} · {what(one.architecture)}")
                drawing = drawing_svg(one.architecture, theme=state.theme(), width=DRAWING)
                st.image(drawing, width="stretch", alt=drawing_alt(one.architecture))


main()
