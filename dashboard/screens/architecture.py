"""Architecture: one network as a drawing, what its parts cost, what it would be with other choices, whence it comes."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from dashboard import chart, data, state, tables
from dashboard.drawing import drawing_alt, drawing_svg
from dashboard.figures.curve import learning_curve
from dashboard.figures.stages import stage_costs
from dashboard.parts import panel, whatif
from dashboard.parts.effects import neighbours, say_costs, say_edits, say_latency
from dashboard.parts.files import yaml_file
from dashboard.parts.members import first_choice, front_members
from dashboard.parts.provenance import provenance
from dashboard.text import plain
from explorer.analysis.distribution import COMPLEXITY
from explorer.analysis.whatif import change, cost_by_part
from explorer.frame import what
from search_spaces import Architecture, preset
from search_spaces.errors import InputError
from search_spaces.shipped import names as shipped_names

PRESET, TRIAL, SECTION = "preset", "_of_trial", "about"
WIDE, BESIDE, NARROW = 960, 540, 340  # pixels of a drawing: alone, beside controls, on a phone


@dataclass(frozen=True)
class Shown:
    """The architecture of the page."""

    label: str  # "trial 12", "swin_t"
    architecture: Architecture  # canonical
    number: int | None  # of the trial; None of a published model


def main() -> None:
    view = data.current()
    st.header("Architecture")
    shown = _choose(view)
    st.text(f"{shown.label} · {what(shown.architecture.to_dict())}")
    _draw(shown.architecture)
    _take_away(view, shown)
    sections = {"Costs": _costs, "What if": _what_if, "Provenance": _provenance}
    section = st.segmented_control(
        "Section", list(sections), default="Costs", required=True, key=SECTION, bind="query-params"
    )
    sections[section or "Costs"](view, shown)


def _choose(view: data.View) -> Shown:
    """The chosen trial or published model, after drawing the choosers."""
    members = front_members(view)
    if state.trial() is None:
        state.choose(first_choice(view))
    numbers = list(dict.fromkeys([*([state.trial()] if state.trial() is not None else []), *sorted(members)]))
    left, right = st.columns(2)
    with right:
        name = st.selectbox(
            "Or a published model",
            shipped_names("presets"),
            index=None,
            placeholder="none",
            key=PRESET,
            bind="query-params",
        )
    with left:
        st.session_state[TRIAL] = None if state.trial() is None else str(state.trial())
        st.selectbox(
            "Trial",
            [str(number) for number in numbers],
            key=TRIAL,
            accept_new_options=True,
            placeholder="a number",
            format_func=lambda number: f"{number} (front)" if number in map(str, members) else str(number),
            help="Members of the front; type any other trial's number",
            on_change=_choose_trial,
        )
    if name is not None:
        return Shown(str(name), preset(str(name)).canonical, None)
    number = state.trial()
    if number is None:
        data.stop(
            "No trial with an architecture yet.",
            "Choose a published model above, or let the search run on: `vitscape search` fills this study.",
        )
    try:
        return Shown(f"trial {number}", Architecture.from_dict(view.architecture(number), f"trial {number}"), number)
    except InputError as error:
        data.stop(
            "This trial has no architecture to show.", f"{plain(error)}. Choose another trial or a published model."
        )


def _choose_trial() -> None:
    """Takes the trial of the chooser, and the published model away."""
    text = str(st.session_state[TRIAL] or "").strip()
    if text.isascii() and text.isdecimal() and len(text) <= 9:
        state.choose(int(text))
        st.session_state[PRESET] = None
    elif text:
        st.toast(f"{plain(text[:40])} is no trial's number")


def _draw(architecture: Architecture, most: int = WIDE) -> None:
    """The drawing, as wide as there is room, `most` pixels at most."""
    narrow = state.width() is not None
    width = NARROW if narrow else min(most, 240 + 180 * len(architecture.stages))
    canonical = architecture.to_dict()
    drawing = drawing_svg(canonical, theme=state.theme(), width=width)
    st.image(drawing, width="stretch" if narrow else width, alt=drawing_alt(canonical))


def _take_away(view: data.View, shown: Shown) -> None:
    """The file that rebuilds the network, and the command that times it."""
    name, content = yaml_file(view, shown.label, shown.number)
    with st.container(horizontal=True):
        _yaml_button("YAML", name, content, "take")
        if shown.number is not None and st.button("Compare", icon=":material/compare_arrows:", key="to_compare"):
            state.set_chosen([*(one for one in state.chosen() if one != shown.number), shown.number][-6:])
            panel.go("compare")


def _yaml_button(words: str, name: str, content: bytes, key: str) -> None:
    st.download_button(
        words,
        content,
        file_name=name,
        mime="application/yaml",
        icon=":material/download:",
        key=key,
        on_click="ignore",
        help="The file rebuilds the network",
    )


def _costs(view: data.View, shown: Shown) -> None:
    """Bars of what the parts cost, and how to measure their time."""
    name, by_block = _cost_controls()
    table = cost_by_part(shown.architecture)
    figure = stage_costs(table, name, by_block=by_block, theme=state.theme(), width=state.width("costs"))
    chart.show(figure, key="costs", table=table, revision=f"{shown.label} {name} {by_block}")
    st.text("Measured time by block is not kept in a study. To measure it on this machine:")
    if shown.number is None:
        st.code(f"vitscape profile {shown.label} --by block", language="bash")
    else:
        lines = panel.commands(view, shown.number, yaml_file(view, shown.label, shown.number)[0])
        st.code("\n".join(lines), language="bash", wrap_lines=True)


def _cost_controls() -> tuple[str, bool]:
    left, right = st.columns(2)
    with left:
        labels = {metric.label: name for name, metric in COMPLEXITY.items()}
        words = list(labels)
        chosen = st.segmented_control(
            "Cost", words, default=words[0], required=True, key="part_cost", bind="query-params"
        )
    with right:
        by = st.segmented_control(
            "By", ["stage", "block"], default="stage", required=True, key="rows", bind="query-params"
        )
    return labels[str(chosen or words[0])], by == "block"


def _what_if(view: data.View, shown: Shown) -> None:
    """What the edits make of it, above the controls, which a phone would else push out of sight."""
    original, base = shown.architecture, shown.label
    edits = whatif.restored(base, original)
    told, predicted = st.container(), st.container()
    left, right = st.columns(2, gap="large")
    with left:
        edits = whatif.controls(original, edits)
        st.button("Reset", icon=":material/undo:", key="reset", on_click=whatif.reset, disabled=not edits)
    whatif.keep(base, edits)
    try:
        edited = change(original, edits)
    except InputError as error:
        told.error(f"No such network: {plain(error)}", icon=":material/block:")
        return
    with told:
        say_costs(original, edited)
    with right:
        say_edits(original, edits)
        if edits:
            _draw(edited, BESIDE)
            text = edited.model_copy(update={"name": f"{base.replace(' ', '_')}_edited"}).to_yaml()
            _yaml_button("YAML of the edited", f"{base.replace(' ', '_')}_edited.yaml", text.encode(), "take_edited")
    name, by_block = _cost_controls()
    table, before = cost_by_part(edited), cost_by_part(original) if edits else None
    theme, width = state.theme(), state.width("edited")
    figure = stage_costs(table, name, by_block=by_block, before=before, theme=theme, width=width)
    chart.show(figure, key="edited", table=table, revision=f"{base} {name} {by_block}")
    neighbours(view, edited)
    with predicted:  # last: to learn from a large study takes seconds, once
        say_latency(view, original, edited)


def _provenance(view: data.View, shown: Shown) -> None:
    """Where it comes from, and how it learnt."""
    if shown.number is None:
        published = preset(shown.label).published
        st.text(f"Published model {shown.label}, {shown.architecture.image_size} pixels.")
        if published is not None:
            st.text(f"Top-1 {published.top1} %, published, ImageNet-1k, other recipe: {published.source}.")
        return
    tables.show(provenance(view, shown.number), key="provenance", height="content")
    curve = view.curves([shown.number])
    if curve.empty:
        st.text("No learning curve: this trial was not trained.")
        return
    epochs = (view.record.get("proxy") or {}).get("epochs")
    figure = learning_curve(curve, view.data, epochs=epochs, theme=state.theme(), width=state.width("curve"))
    chart.show(figure, key="curve", table=curve)


main()
