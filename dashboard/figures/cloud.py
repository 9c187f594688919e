"""Returns figures of where in its space a search has looked: sampled architectures beside the study's trials."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboard.canvas import HEIGHT, THEMES, Axis, Numbers, Theme, ThemeName, faint, framed, x_axis, y_axis, y_title
from dashboard.figures.density import NEAREST, density_image, plot_places
from dashboard.figures.edf import legend, nothing
from explorer import structure
from explorer.metrics import Metric

REJECTED = "over a limit, not trained"
BINS = 60  # of a histogram
NOTHING = "No trial has closed-form costs yet: let the search run on."


def cloud_density(
    cloud: pd.DataFrame,
    trials: pd.DataFrame,
    best: pd.DataFrame,
    x: Metric,
    y: Metric,
    *,
    limits: dict[str, float] | None = None,
    theme: ThemeName = "light",
    width: int | None = None,
    height: int = HEIGHT,
) -> go.Figure:
    """How dense a space's architectures lie over two closed-form costs, and the trials among them.

    `trials` are each architecture once, with its status; `best` those on the front. Above 600 trials as many are drawn,
    the front and every so-manieth of the others. `limits` are the study's own, by name and in stored units.
    """
    look = THEMES[theme]
    both = [(cloud, row) for row in (x, y)] + [(trials, row) for row in (x, y)]
    xs, ys = (np.concatenate([_shown(rows, row) for rows, row in both if row is axis]) for axis in (x, y))
    drawn = _drawn(trials, best)
    some = f"{len(drawn):,} of {len(trials):,} trials drawn" if len(drawn) < len(trials) else f"{len(trials):,} trials"
    facts = f"{stated(cloud)} · {some}"
    figure = framed(f"The space and the trials: {y.label} against {x.label}", facts, look, width, height)
    across, up = x_axis(figure, x, xs), y_axis(figure, y, ys, look)
    places = (plot_places(across.numbers(cloud), across), plot_places(up.numbers(cloud), up))
    ranges = ((across.low, across.high), (up.low, up.high))
    figure.add_layout_image(density_image(*places, *ranges, look.cloud, pixels=(across.pixels, up.pixels)))
    names = [f"the space: {len(cloud):,} sampled"]
    square = {"symbol": "square", "color": look.cloud, "size": 10}
    figure.add_trace(go.Scatter(x=[None], y=[None], mode="markers", marker=square, name=names[0]))
    front = drawn["number"].isin(best["number"])
    refused = (drawn["status"] == "infeasible") & ~front
    line = {"width": 1, "color": look.paper}
    for name, rows, marker in (
        (REJECTED, drawn[refused], {"symbol": "x-thin", "size": 6, "line": {"width": 1.2, "color": look.muted}}),
        ("trials", drawn[~refused & ~front], {"symbol": "circle", "size": 6, "color": look.knee, "line": line}),
        ("Pareto front", drawn[front], {"symbol": "diamond", "size": 10, "color": look.front, "line": line}),
    ):
        if len(rows):
            names.append(name)
            figure.add_trace(_points(rows, across, up, name, marker))
    _limits(figure, limits or {}, across, up, look)
    legend(figure, names, look)
    figure.layout.meta = {"alt": f"{y.label} against {x.label}. {facts}. {_medians(cloud, trials, x)}"}
    return figure


def cloud_histogram(
    cloud: pd.DataFrame,
    trials: pd.DataFrame,
    x: Metric,
    *,
    limits: dict[str, float] | None = None,
    theme: ThemeName = "light",
    width: int | None = None,
    height: int = HEIGHT,
) -> go.Figure:
    """The share of the space, and of the trials, that lies at each closed-form cost."""
    look = THEMES[theme]
    of_space, of_trials = _shown(cloud, x), _shown(trials, x)
    if not len(of_trials):
        return nothing(NOTHING, look, width, height)
    facts = f"{stated(cloud)} · {len(of_trials):,} trials"
    figure = framed(f"The space and the trials by {x.label}", facts, look, width, height)
    across = x_axis(figure, x, np.concatenate([of_space, of_trials]))
    table = histogram(cloud, trials, x)
    names = ["the space", "trials"]
    for column, color, dash in ((names[0], look.cloud, "solid"), (names[1], look.knee, "dash")):
        figure.add_trace(
            go.Scatter(
                x=np.append(table["from"], table["to"].iloc[-1]),
                y=np.append(table[column], 0) * 100,
                mode="lines",
                line={"shape": "hv", "color": color, "width": 2, "dash": dash},
                fill="tozeroy",
                fillcolor=faint(color, 0.15),
                name=column,
                hovertemplate=f"%{{y:.2f}} % at %{{x:.4~g}} {escape(x.unit)}<extra>{column}</extra>",
            )
        )
    y_title(figure, look, "Share of its architectures in each bin, %")
    figure.update_yaxes(rangemode="tozero")
    _limits(figure, limits or {}, across, None, look)
    legend(figure, names, look)
    figure.layout.meta = {"alt": f"Histograms of {x.label}. {facts}. {_medians(cloud, trials, x)}"}
    return figure


def choice_shares(
    table: pd.DataFrame,
    column: str,
    *,
    theme: ThemeName = "light",
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """How often each level of a choice is in the space, among the trials and on the front (analysis.cloud.shares)."""
    look = THEMES[theme]
    trials, front = int(table["trials_count"].sum()), int(table["front_count"].sum())
    facts = f"{trials:,} trials, {front:,} on the front · bars: 95 % interval of the trials' share, were they random"
    height = height or 190 + 40 * len(table)
    figure = framed(f"What the search took: {structure.label(column)}", facts, look, width, height)
    levels = [escape(str(level)) for level in table["level"]]
    names = ["the space", "trials", "Pareto front"]
    reach = {"array": (table["hi"] - table["trials"]) * 100, "arrayminus": (table["trials"] - table["lo"]) * 100}
    for name, share, color, symbol, size in (
        (names[0], "space", look.cloud, "line-ns", 18),
        (names[1], "trials", look.knee, "circle", 10),
        (names[2], "front", look.front, "diamond", 10),
    ):
        bars = (
            {"error_x": {"type": "data", "symmetric": False, "width": 3, "thickness": 1.4, **reach}}
            if name == "trials"
            else {}
        )
        marker = {
            "symbol": symbol,
            "size": size,
            "color": color,
            "line": {"color": color, "width": 3 if share == "space" else 0},
        }
        hover = f"%{{y}}: %{{x:.1f}} %<extra>{name}</extra>"
        points = go.Scatter(
            x=table[share] * 100, y=levels, mode="markers", name=name, marker=marker, hovertemplate=hover
        )
        figure.add_trace(points.update(bars))
    figure.update_xaxes(title={"text": "Share of architectures, %", "standoff": 10}, rangemode="tozero", showgrid=True)
    figure.update_yaxes(type="category", autorange="reversed", automargin=True)
    figure.update_xaxes(gridcolor=look.grid)
    legend(figure, names, look)
    percents = zip(table["level"], *(table[side] * 100 for side in ("space", "trials", "front")), strict=True)
    told = "; ".join(
        f"{level}: {space:.0f} % of the space, {taken:.0f} % of the trials, {best:.0f} % of the front"
        for level, space, taken, best in percents
    )
    figure.layout.meta = {"alt": f"{structure.label(column)}. {told}."}
    return figure


def histogram(cloud: pd.DataFrame, trials: pd.DataFrame, x: Metric) -> pd.DataFrame:
    """Columns from, to (displayed), the space, trials: the share in each bin, 0 to 1; bins of equal ratio."""
    of_space, of_trials = _shown(cloud, x), _shown(trials, x)
    both = np.concatenate([of_space, of_trials])
    edges = np.geomspace(both.min(), both.max() * (1 + 1e-9), BINS + 1)
    counted = [
        np.histogram(np.clip(side, edges[0], edges[-1]), edges)[0] / max(len(side), 1) for side in (of_space, of_trials)
    ]
    return pd.DataFrame({"from": edges[:-1], "to": edges[1:], "the space": counted[0], "trials": counted[1]})


def stated(cloud: pd.DataFrame) -> str:
    """What the numbers of a cloud are."""
    distinct = cloud["key"].nunique()
    return f"closed form, batch 1, {len(cloud):,} samples uniform over the space's choices, {distinct:,} distinct"


def _shown(rows: pd.DataFrame, metric: Metric) -> Numbers:
    numbers: Numbers = rows[metric.column].dropna().to_numpy(dtype=float) * metric.scale
    return numbers


def _drawn(trials: pd.DataFrame, best: pd.DataFrame) -> pd.DataFrame:
    """The front, and as many of the others as fit beside it."""
    if len(trials) <= NEAREST:
        return trials
    front = trials["number"].isin(best["number"]).to_numpy()
    kept, others = np.flatnonzero(front)[:NEAREST], np.flatnonzero(~front)
    some = others[np.linspace(0, len(others) - 1, max(NEAREST - len(kept), 0)).astype(int)] if len(others) else others
    return trials.iloc[np.sort(np.concatenate([kept, some]))]


def _points(rows: pd.DataFrame, x: Axis, y: Axis, name: str, marker: dict[str, Any]) -> go.Scatter:
    hover = "<br>".join(
        f"{escape(row.label)} %{{{at}:.4~g}} {escape(row.unit)}" for row, at in ((x.metric, "x"), (y.metric, "y"))
    )
    return go.Scatter(
        x=x.numbers(rows),
        y=y.numbers(rows),
        mode="markers",
        name=name,
        marker=marker,
        customdata=rows["number"],
        hovertemplate=f"trial %{{customdata}}<br>{hover}<extra>{name}</extra>",
    )


def _limits(figure: go.Figure, limits: dict[str, float], x: Axis, y: Axis | None, look: Theme) -> None:
    """The study's limits as lines."""
    for axis, draw in ((x, figure.add_vline), (y, figure.add_hline)):
        if axis is None or axis.metric.name not in limits:
            continue
        shown = limits[axis.metric.name] * axis.metric.scale
        if axis.low < axis.coordinate(shown) < axis.high:
            # plotly takes the place of a line in the axis' numbers, and that of its words as log10
            draw(shown, line={"color": look.reference, "width": 1.5, "dash": "dash"})
            text = {"text": f"limit: {axis.metric.text(limits[axis.metric.name])}", "showarrow": False}
            font = {"font": {"color": look.reference, "size": 12}}
            at = axis.coordinate(shown)
            if axis is x:
                figure.add_annotation(x=at, y=1, yref="paper", xanchor="left", yanchor="top", xshift=4, **text, **font)
            else:
                figure.add_annotation(y=at, x=1, xref="paper", xanchor="right", yanchor="bottom", **text, **font)


def _medians(cloud: pd.DataFrame, trials: pd.DataFrame, x: Metric) -> str:
    if trials[x.column].dropna().empty:
        return "No trials yet."
    space, own = (float(rows[x.column].median()) for rows in (cloud, trials))
    name = x.label if x.label == "MACs" else x.label.lower()
    return f"Half of the space has less than {x.text(space)} {name}, half of the trials less than {x.text(own)}."
