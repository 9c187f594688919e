"""Explore: the front of accuracy against a cost, the best under a budget, and the chosen network with its files."""

from __future__ import annotations

from collections.abc import Hashable

import pandas as pd
import streamlit as st

from dashboard import chart, data, state, tables
from dashboard.canvas import called
from dashboard.data import View
from dashboard.figures.front import front_of
from dashboard.figures.landscape import Landscape, landscape
from dashboard.parts import controls, decide, filters, panel
from dashboard.parts.controls import Layers
from dashboard.parts.filters import Filters
from dashboard.parts.members import own_front
from dashboard.text import plain
from explorer import results

KNEE = (
    "The knee is the point of the front farthest from the line between its ends, costs on a logarithmic scale:"
    " where giving up either objective starts to cost more."
)
SHOWN_IN_BOX = 1000  # rows
PHONE = 440  # pixels of the chart, below which a drag scrolls the page


def main() -> None:
    view = data.current()
    empty = decide.why_empty(view.frame)
    if empty is not None:
        data.stop(*map(plain, empty))
    if not decide.costs(view.frame):
        data.stop("No cost is known of any complete trial.", "Page Trials shows what was recorded of each.")
    _explore(view)


@st.fragment
def _explore(view: View) -> None:
    """All of the page: what is changed here redraws this alone."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        x = controls.choose_cost(view)
        budget = controls.choose_budget(view, x)
        color = controls.choose_color(view)
        with st.popover("View", icon=":material/tune:"):
            y, layers = controls.choose_view(view, x)
        with st.popover("Filters", icon=":material/filter_alt:"):
            wanted = filters.choose(view, controls.verdicts(view.frame, (x, y)))
    scene = _scene(view.key, (y.name, x.name), wanted, layers.ties, layers.beside, view.data, view.frame)
    if scene.best.empty:
        _say_nothing_left(view, scene, wanted)
        return
    with st.container():  # its own place: what comes and goes in it would else move the chart, which begins anew then
        _decide(view, scene, budget)
    left, right = st.columns([0.66, 0.34], gap="medium")
    with right:  # first, so that the numbers of a trial are there before the chart has its star
        _choose_trial(view, scene, budget)
    with left:
        _draw(view, scene, budget, color, layers, wanted)


def _decide(view: View, scene: Landscape, budget: float | None) -> None:
    """The best under the budget in words, and the members of the front to look at first."""
    if not _whole(view, scene):
        st.caption(plain(_own_front_text(view, scene)))
    if budget is not None:
        st.markdown(f"**{plain(decide.headline(scene, budget))}**")
    with st.container(horizontal=True, gap="small", key="landmarks"):
        found = decide.under(scene, budget) if budget is not None else None
        rows = {**({"Best under the budget": found} if found is not None else {}), **decide.landmarks(scene)}
        for name, row in rows.items():
            numbers = " · ".join(metric.text(float(row[metric.column])) for metric in (scene.y, scene.x))
            label = name if state.width() is not None else f"{name}: {numbers}"
            if st.button(plain(label), key=f"go_{name}", help=KNEE if name == "Knee" else None):
                state.choose(int(row["number"]))


def _whole(view: View, scene: Landscape) -> bool:
    """Whether the two axes are the study's objectives, all of them, so that the front drawn is its own."""
    aims = {metric.column for metric in results.metrics_of(view.frame, view.objectives)}
    return aims == {scene.x.column, scene.y.column}


def _own_front_text(view: View, scene: Landscape) -> str:
    """How large the study's own front is, which is another than the one drawn."""
    if len(view.objectives) == 1:
        return f"This study has one objective, {view.objectives[0]}; the front here is with {scene.x.label}."
    if len(view.objectives) > 2:
        aims = f"all {len(view.objectives)} objectives"
    else:
        aims = " and ".join(called(one, view.data).label for one in results.metrics_of(view.frame, view.objectives))
    count = len(own_front(view))
    return f"The study's own front, of {aims}, has {count:,} member{'s' * (count != 1)}."


def _draw(view: View, scene: Landscape, budget: float | None, color: str, layers: Layers, wanted: Filters) -> None:
    """The chart, what it leaves out, and what lies in a box drawn on it."""
    sizes = _image_sizes(view.frame)
    models = None
    if layers.published != "none":
        models = decide.references(scene, view.frame, sizes if layers.published == "size" else None)
    chosen = state.trial()
    mark = panel.rows_of(view.frame, [] if chosen is None else [chosen])
    name = f"{scene.x.name} {scene.y.name} {layers.published} {wanted}"
    column = controls.color_column(view.frame, color)
    figure = front_of(
        scene,
        data=view.data,
        whole=_whole(view, scene),
        color=column,
        color_label=controls.color_label(view, color),
        intervals=layers.intervals,
        budget=budget,
        under=None if budget is None else decide.under(scene, budget),
        chosen=None if mark.empty else mark.iloc[0],
        references=models,
        theme=state.theme(),
        width=state.width("front"),
    )
    narrow = (state.width("front") or 960) < PHONE
    figure.update_layout(dragmode=False if narrow else "zoom")
    event = chart.show(
        figure,
        key="front",
        table=lambda: decide.table(scene, budget),
        columns={"Of note": st.column_config.TextColumn(width=260)},  # "best accuracy, best under the budget"
        revision=name,
        select=not narrow,
    )
    for line in _notes(view, scene, layers, wanted, models):
        st.caption(plain(line))
    box = _box(event.box, f"{scene.x.name} {scene.y.name}")
    if box is not None:
        _show_box(view, scene, box, wanted)


def _notes(view: View, scene: Landscape, layers: Layers, wanted: Filters, models: pd.DataFrame | None) -> list[str]:
    """What a reader of the chart has to know, in lines."""
    lines = [decide.likely(scene)] if layers.ties else []
    if wanted:
        lines.append(f"{len(wanted)} filter{'s are' if len(wanted) > 1 else ' is'} on: the front is of what they keep.")
    if len(scene.cloud):
        lines.append(
            f"The {len(scene.dominated):,} dominated trials nearest to the front are points; the other"
            f" {len(scene.cloud):,} are a picture of how dense they lie. Box select, in the chart's toolbar, finds all."
        )
    cost = decide.NOUNS.get(scene.x.name, "latency")
    absent = [
        f"{missing:,} {status} trial{'s have' if missing > 1 else ' has'} no {cost}"
        for status in layers.beside
        if (missing := int(((view.frame["status"] == status) & view.frame[scene.x.column].isna()).sum()))
    ]
    if absent:
        counted = scene.x.name in ("macs", "params")  # known before anything is measured
        step = "" if counted else ": choose MACs as the cost to see what was rejected before it was measured"
        lines.append(f"{', '.join(absent)}{step}.")
    if layers.published == "size" and models is not None and models.empty and scene.x.name in ("macs", "params"):
        sizes = " and ".join(f"{size} px" for size in _image_sizes(view.frame))
        lines.append(f"No published model takes images of {sizes}: View has those of all sizes.")
    unmeasured = scene.published.empty and (models is None or models.empty)
    if layers.published == "all" and scene.x.name not in ("macs", "params") and unmeasured:
        lines.append("No published model was measured in this study: vitscape search --with-presets does that.")
    return [line for line in lines if line]


def _choose_trial(view: View, scene: Landscape, budget: float | None) -> None:
    """The chooser of the front's members, and the panel of the chosen trial, else of the one to look at first."""
    members = [int(number) for number in scene.best["number"]]
    chosen = state.trial()
    st.session_state["member"] = chosen if chosen in members else None
    rows = {int(row["number"]): row for _, row in scene.best.iterrows()}

    def name(number: int) -> str:
        texts = [metric.text(float(rows[number][metric.column])) for metric in (scene.y, scene.x)]
        return f"trial {number} · {' · '.join(texts)}"

    st.selectbox(
        "Member of the front",
        members,
        index=None,
        format_func=name,
        key="member",
        placeholder="choose a trial",
        on_change=_take_member,
    )
    if chosen is None:
        first = decide.under(scene, budget) if budget is not None else None
        row, shown = scene.best.iloc[-1], "the best"
        if first is not None:
            row, shown = first, "the best under the budget"
        elif scene.knee is not None:
            row, shown = scene.knee, "the knee"
        chosen = int(row["number"])
        st.caption(f"Click a point to see it here. Until then: {shown}.")
    ties = scene.ties.get(chosen, ())
    own = None if _whole(view, scene) else chosen in own_front(view)
    chance = scene.probability.get(chosen, 0.0) if len(scene.probability) else None
    panel.show(view, chosen, panel.Sureness(chosen in members, chance, ties, own))


def _take_member() -> None:
    if st.session_state["member"] is not None:
        state.choose(st.session_state["member"])


def _show_box(view: View, scene: Landscape, box: dict[str, chart.Range], wanted: Filters) -> None:
    """What lies in a box: a table of the best, to choose from and to compare."""
    count, shown = decide.in_box(scene, view.frame, box, filters.kept(view.frame, wanted), SHOWN_IN_BOX)
    st.markdown(f"**{count:,} trial{'s' * (count != 1)} in the box**")
    if not count:
        return
    table = pd.DataFrame({"Trial": shown["number"].to_numpy()})
    for metric in (scene.y, scene.x):
        table[metric.quantity] = shown[metric.column].to_numpy(dtype=float) * metric.scale
    table["Architecture"] = shown["what"].astype("object").to_numpy()
    picked = tables.show(table, key="box_rows", on_select="rerun", selection_mode="multi-row", height=260)
    if count > SHOWN_IN_BOX:
        st.caption(f"The best {SHOWN_IN_BOX:,} of {count:,}.")
    numbers = [int(table["Trial"].iloc[row]) for row in picked.selection.rows] or [int(n) for n in table["Trial"]]
    several = numbers[: state.MOST_COMPARED]
    with st.container(horizontal=True, gap="small"):
        if len(several) > 1 and st.button(
            f"Compare these {len(several)}", key="box_compare", icon=":material/compare_arrows:"
        ):
            state.set_chosen(several)
            panel.go("compare")
        if st.button(f"Show trial {several[0]}", key="box_show"):
            state.choose(several[0])
            st.rerun(scope="fragment")


def _box(drawn: dict[str, chart.Range] | None, axes: str) -> dict[str, chart.Range] | None:
    """The box drawn in the chart, unless it was drawn on other axes than these."""
    kept = st.session_state.get("_box")
    if drawn is not None and (kept is None or kept[0] != drawn):
        st.session_state["_box"] = kept = (drawn, axes)
    return drawn if drawn is not None and kept is not None and kept[1] == axes else None


def _say_nothing_left(view: View, scene: Landscape, wanted: Filters) -> None:
    """Why there is no front of these axes and filters, and the way out."""
    if wanted:
        st.warning(f"The filters leave no complete trial with {scene.y.label} and {scene.x.label}.")
        st.button("Clear the filters", on_click=filters.clear, key="clear")
        return
    st.warning(f"No complete trial has both {scene.y.label} and {scene.x.label}: choose another cost, or another y.")


def _image_sizes(frame: pd.DataFrame) -> list[int]:
    """The image sizes of the study's architectures, pixels."""
    return sorted(int(size) for size in frame["image_size"].dropna().unique())


@st.cache_resource(max_entries=12, show_spinner="Finding the front ...")
def _scene(
    key: Hashable,
    objectives: tuple[str, str],
    wanted: Filters,
    sure: bool,
    beside: tuple[str, ...],
    data: str,
    _frame: pd.DataFrame,
) -> Landscape:
    """Of all that is drawn the part that no budget and no choice of a trial changes."""
    return landscape(_frame, objectives, data=data, sure=sure, also=beside, among=filters.kept(_frame, wanted))


main()
