"""Design space: how good each choice is on the whole, what complexity buys, and where in its space a search looked."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import pandas as pd
import streamlit as st

from dashboard import chart, data, state, tables
from dashboard.canvas import called
from dashboard.figures import cloud as cloud_figures
from dashboard.figures import parallel
from dashboard.figures.edf import edf_curves
from dashboard.figures.trends import complexity_trend
from dashboard.parts import clouds, space_tables
from dashboard.parts.space_controls import (
    Among,
    choose_among,
    choose_metric,
    choose_split,
    label_of,
    lively,
    measured,
    offer,
    stated,
)
from dashboard.text import plain
from explorer import results, structure
from explorer.analysis import cloud
from explorer.analysis.distribution import COMPLEXITY, FEWEST, Distributions, edf, in_words, trend, trend_rows
from explorer.metrics import METRICS
from search_spaces.errors import InputError
from search_spaces.space import SearchSpace

WIDE, SLIM = 8, 4  # dimensions of parallel coordinates, on a screen and on a phone
SIX = 6  # dimensions to begin with
ROWS = 1000  # of a table of trials that are shown
HISTOGRAM = "Share of architectures"


def main() -> None:
    view = data.current()
    st.header("Design space")
    parts: dict[str, Callable[[data.View], None]] = {
        "Distributions": _distributions,
        "Trends": _trends,
        "Cloud": _cloud,
        "Parallel": _parallel,
    }
    part = st.segmented_control(
        "Part",
        list(parts),
        default="Distributions",
        required=True,
        key="part",
        bind="query-params",
        label_visibility="collapsed",
    )
    if part != "Cloud" and not measured(view):
        finished = int((view.frame["status"] == "complete").sum())
        st.text(f"{finished:,} complete trials of {len(view.frame):,}: nothing to compare yet.")
        st.markdown("Let the search run on, or look at the space itself under *Cloud*; *Overview* says what failed.")
        return
    parts[part or "Distributions"](view)
    number = state.trial()
    if number is not None and (view.frame["number"] == number).any():
        st.page_link("screens/architecture.py", label=f"Architecture of trial {number}", icon=":material/account_tree:")


def _distributions(view: data.View) -> None:
    left, middle, right = st.columns(3)
    with left:
        goal = choose_metric(view, "Distribution of", measured(view), "metric")
    with middle:
        split = choose_split(view)
    with right:
        alike = st.selectbox(
            "At similar",
            ["any complexity", *(row.label for row in COMPLEXITY.values())],
            key="alike",
            bind="query-params",
            help="Weighs the trials so that each range of the cost counts the same in every level: a level of larger"
            " networks is not better for that alone (Radosavovic et al. 2019).",
        )
    among = choose_among(view, goal)
    name = next((key for key, row in COMPLEXITY.items() if row.label == alike), None)
    found = _edf(view.key, goal, split, among, name, view.frame)
    st.markdown(plain(in_words(found, called(found.metric, view.data).label)))
    facts = " · ".join(
        filter(None, [stated(view, goal, among), f"at similar {COMPLEXITY[name].label}" if name else ""])
    )
    figure = edf_curves(found, data=view.data, conditions=facts, theme=state.theme(), width=state.width("edf"))
    curves = space_tables.curves_table(found, view.data)
    chart.show(figure, key="edf", table=curves, revision=f"{goal} {split} {among} {alike}")
    tables.show(space_tables.levels_table(found, view.data), key="edf_levels")
    with st.expander("Every pair of levels", icon=":material/compare_arrows:"):
        tables.show(space_tables.pairs_table(found, view.data), key="edf_pairs")
    st.caption(
        "RegNet and pycls compare samples drawn at random from a space. The trials of a search are none: its sampler"
        " follows the front, tries more often what did well, and in better company. The study's record does not say"
        " which trials were drawn at random, so these are all trials that are complete, each architecture once: read"
        " the curves as what this search found of a choice, not as what the choice causes. Bands and intervals are of"
        " 200 bootstrap resamples and count neither another seed's training nor the latencies' own intervals."
    )


def _trends(view: data.View) -> None:
    left, middle, right = st.columns(3)
    with left:
        names = [name for name in measured(view) if name not in COMPLEXITY]
        goal = choose_metric(view, "Trend of", names or measured(view), "trend")
    with middle:
        labels = [row.label for row in COMPLEXITY.values()]
        label = st.selectbox("Against", labels, key="complexity", bind="query-params")
        x = next((row for row in COMPLEXITY.values() if row.label == label), COMPLEXITY["macs"])
    with right:
        split = choose_split(view)
    among = choose_among(view, goal)
    rows, lines = _trend(view.key, x.name, goal, split, among, view.frame)
    (y,) = results.metrics_of(view.frame, [goal])
    figure = complexity_trend(
        rows,
        lines,
        x,
        y,
        split,
        data=view.data,
        conditions=stated(view, goal, among),
        theme=state.theme(),
        width=state.width("trend"),
    )
    table = space_tables.trend_table(lines, x, y, split, view.data)
    chart.show(figure, key="trend", table=table, revision=f"{goal} {x.name} {split} {among}")
    st.caption(
        f"{x.label} in closed form, batch 1. A line is the median of neighbours in cost, an eighth of its level's"
        f" trials and {FEWEST} at least; its band holds the middle half of them: how they spread, not how sure the"
        " median is. These are the trials of a search, not a sample drawn at random."
    )


def _cloud(view: data.View) -> None:
    try:
        space = _space(view.key, view)
    except InputError as error:
        st.text("This study's record has no search space that can be sampled.")
        st.text(f"{error}")
        st.text("Open it with the version of Vitscape that made it, or make a new study with vitscape search.")
        return
    left, middle, right = st.columns(3)
    labels = {row.label: row for row in COMPLEXITY.values()}
    with left:
        x = labels[st.selectbox("Across", list(labels), key="space_x", bind="query-params")]
    with middle:
        others = [*(label for label in labels if label != x.label), HISTOGRAM]
        y = labels.get(st.selectbox("Up", others, key="space_y", bind="query-params"))
    with right:
        whole = clouds.choose_samples()
    found = clouds.samples(space, whole)
    trials, best = _searched(view.key, view.objectives, view.frame)
    limits = {name: value for name, value in (view.record.get("limits") or {}).items() if value is not None}
    theme, width = state.theme(), state.width("cloud")
    if y is None:
        figure = cloud_figures.cloud_histogram(found, trials, x, limits=limits, theme=theme, width=width)
        table = space_tables.histogram_table(found, trials, x)
    else:
        figure = cloud_figures.cloud_density(found, trials, best, x, y, limits=limits, theme=theme, width=width)
        table = space_tables.coverage_table(found, trials, (x, y))
    chart.show(figure, key="cloud", revision=f"{x.name} {y.name if y else HISTOGRAM}", table=table)
    for name, row in COMPLEXITY.items():
        if name in limits:
            share = float((found[row.column] <= limits[name]).mean())
            limit = f"{row.label} at most {row.text(limits[name])}"
            st.text(f"{100 * share:.1f} % of the samples are within the study's limit, {limit}.")
    choices = [name for name in structure.splits(found) if name in trials.columns]
    choice = st.selectbox(
        "What the search took, by", choices, key="choice", bind="query-params", format_func=structure.label
    )
    if choice is not None and len(trials):
        shares = cloud.shares(found, trials, best, choice)
        figure = cloud_figures.choice_shares(shares, choice, theme=theme, width=state.width("shares"))
        chart.show(figure, key="shares", revision=choice, table=space_tables.shares_table(shares, choice))
    st.caption(
        f"MACs, parameters and activations in closed form, batch 1. Every choice is drawn uniformly among what is"
        f" possible; the space has {space.size:,} different networks. The trials are every architecture the search"
        " proposed, once, also those that it did not train."
    )


def _parallel(view: data.View) -> None:
    width = state.width("parallel")
    most = SLIM if width is not None and width < parallel.NARROW else WIDE
    splits, liveliest = lively(view.key, view.frame)
    options = [*measured(view), *splits]
    aims = tuple(name for name in view.objectives if name in options)
    left, right = st.columns([3, 1])
    with right:
        shade = choose_metric(view, "Colour", measured(view), "shade")
    with left:
        axes = st.multiselect(
            "Axes",
            options,
            default=[*aims, *liveliest][:SIX],
            key="axes",
            bind="query-params",
            max_selections=WIDE,
            format_func=lambda name: structure.label(name) if structure.is_structure(name) else label_of(view, name),
        )
    if len(axes) < 2:
        st.text("Choose two axes or more.")
        return
    if len(axes) > most:
        st.caption(f"The first {most} of {len(axes)} axes: there is no room for more.")
    metrics = tuple(dict.fromkeys([*aims, shade, *(n for n in axes if not structure.is_structure(n))]))
    rows, drawn = _lines(view.key, aims or (shade,), metrics, tuple(splits), view.frame)
    if rows.empty:
        st.text("No complete trial has all of these numbers: take away an axis.")
        return
    narrow = most == SLIM
    dimensions = parallel.dimensions(rows, axes[:most], "" if narrow else view.data)
    (color,) = results.metrics_of(view.frame, [shade])
    figure = parallel.parallel_coordinates(
        drawn,
        dimensions,
        color,
        trials=len(rows),
        data=view.data,
        conditions=stated(view, shade, ()),
        theme=state.theme(),
        width=width,
    )
    event = chart.show(figure, key="parallel", revision=" ".join(axes[:most]))
    brush = parallel.brushed(event.brush, dimensions)
    found = rows[parallel.matching(rows, dimensions, brush)]
    goal = color if color.column in found else METRICS["accuracy"]
    found = found.sort_values(goal.column, ascending=not goal.maximize, kind="stable")
    said = f" with {parallel.in_words(dimensions, brush)}" if brush else ""
    st.text(f"{len(found):,} of {len(rows):,} trials{said}, the best by {called(goal, view.data).label} first:")
    shown = space_tables.trials_table(found, dimensions)
    picked = tables.show(shown.head(ROWS), key="matching", on_select="rerun", selection_mode="multi-row")
    offer(found, shown, picked["selection"]["rows"])
    st.caption(
        f"At most {parallel.MOST} lines are drawn: the front, as many of the trials nearest to it, and a sample of the"
        " others, equally many of each tenth of the first objective. A range along an axis counts all trials."
    )


@st.cache_resource(max_entries=32, show_spinner=False)
def _edf(
    key: Hashable, goal: str, split: str | None, among: Among, alike: str | None, _frame: pd.DataFrame
) -> Distributions:
    return edf(_frame, goal, split, among=dict(among), alike=alike)


@st.cache_resource(max_entries=16, show_spinner=False)
def _trend(
    key: Hashable, x: str, goal: str, split: str | None, among: Among, _frame: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    given = (_frame, COMPLEXITY[x], goal, split, dict(among))
    return trend_rows(*given), trend(*given)


@st.cache_resource(max_entries=8, show_spinner=False)
def _space(key: Hashable, _view: data.View) -> SearchSpace:
    return cloud.space_of(_view.record)


@st.cache_resource(max_entries=4, show_spinner=False)
def _searched(key: Hashable, objectives: tuple[str, ...], _frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(every architecture that was proposed, once; the front): their costs and choices."""
    metrics = [row.column for row in results.metrics_of(_frame, objectives)]
    choices = [name for name in map(str, _frame.columns) if structure.is_structure(name)]
    columns = ["number", "id", "status", "duplicate", *COMPLEXITY, *metrics, *choices]
    rows = _frame[list(dict.fromkeys(columns))]
    proposed = rows[rows["macs"].notna() & ~rows["duplicate"]].drop_duplicates("id")
    return proposed, results.front(rows, objectives)


@st.cache_resource(max_entries=4, show_spinner=False)
def _lines(
    key: Hashable, objectives: tuple[str, ...], metrics: tuple[str, ...], splits: tuple[str, ...], _frame: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(the complete trials with these metrics, those that are drawn)."""
    columns = [row.column for row in results.metrics_of(_frame, metrics)]
    rows = results.candidates(_frame[["number", "status", "duplicate", "what", *columns, *splits]], metrics)
    return rows, parallel.lines(rows, objectives)


main()
