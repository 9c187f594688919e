"""Returns the figure of a Pareto front.

The colours hold on white, on black and for colour-blind readers, and every class has a shape of its own: the front a
stepped line with full circles, the knee a ring, the best under a budget a square ring, published models diamonds,
dominated trials small pale circles, those that tie with the front open ones, the chosen trial a star.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboard.canvas import BOTTOM, HEIGHT, THEMES, Axis, Theme, ThemeName, empty, framed, x_axis, y_axis
from dashboard.figures import lanes
from dashboard.figures.density import density_image, plot_places
from dashboard.figures.labels import label_front, label_published, label_rows, mark_budget, mark_knee
from dashboard.figures.landscape import Landscape, extent, landscape
from dashboard.figures.marks import Classes, classes, interval, markers
from explorer import results

NARROW = 600  # pixels of axis, below which markers shrink
CROWDED = 60  # members of a front, from which they do


def pareto_front(
    frame: pd.DataFrame,
    objectives: Sequence[str] = results.OBJECTIVES,
    *,
    data: str = "",
    title: str | None = None,
    theme: ThemeName = "light",
    width: int | None = None,
    height: int = HEIGHT,
) -> go.Figure:
    """The front of two objectives over the dominated trials: knee marked, latencies with their 95 % interval.

    A cost is on x; the line at a cost is the best that this cost buys. `data` says what the accuracy stands for
    ("cues, 8 epochs"); the conditions of the latencies are added to it. `width` in pixels for a picture, None to fill a
    page.
    """
    return front_of(
        landscape(frame, objectives, data=data), data=data, title=title, theme=theme, width=width, height=height
    )


def front_of(
    scene: Landscape,
    *,
    data: str = "",
    title: str | None = None,
    whole: bool = True,
    color: str | None = None,
    color_label: str = "",
    intervals: bool = True,
    budget: float | None = None,
    under: pd.Series[Any] | None = None,
    chosen: pd.Series[Any] | None = None,
    references: pd.DataFrame | None = None,
    theme: ThemeName = "light",
    width: int | None = None,
    height: int = HEIGHT,
) -> go.Figure:
    """The figure of a landscape, coloured by a column of its frame.

    `budget` is in the stored unit of x and `under` the best trial within it; `chosen` is a trial to mark wherever it
    lies; `whole` is whether the two axes are all of the study's objectives, so that the front drawn is the study's own;
    `references` are published models by name, cost on x (`value`, stored unit) and `text`, which stand on the
    cost axis alone, since their accuracy is on no scale of the study's.
    """
    x, y, best = scene.x, scene.y, scene.best
    look = THEMES[theme]
    if best.empty:
        return empty(f"No complete trial with {y.name} and {x.name} yet: let the search run on.", look, width, height)
    heading = _heading(scene, whole)
    subtitle = " · ".join(part for part in (data, scene.conditions) if part)
    figure = framed(title or heading, subtitle, look, width, height)
    across = x_axis(figure, x, _across(scene, references))
    kinds = None if color is None else classes(_coloured(scene), color, color_label or color, look, theme)
    if kinds is not None:
        _make_legend(figure, kinds, look, across.pixels)
    below = lanes.rows(scene, references, across)
    figure.update_layout(height=figure.layout.height + lanes.height(below))
    up = y_axis(figure, y, extent(scene, y, 1), look, below=lanes.height(below))

    if len(scene.cloud):
        _add_cloud(figure, scene, across, up, look)
    tied = scene.tied
    plain = scene.dominated[~scene.dominated["number"].isin(tied["number"])]
    plain = plain[plain["preset"].isna()]
    small: dict[str, Any] = {"size": 6, "color": look.cloud}
    if kinds is not None:
        small = {"size": 7, **_marks(kinds, plain, look.muted, 0.5)}
    opacity = 0.5 if kinds is None else 0.75
    figure.add_trace(markers(plain, across, up, "dominated", scene.texts, opacity, **small))
    if len(tied):
        ring: dict[str, Any] = {"size": 9, "symbol": "circle-open", "color": look.front, "line": {"width": 1.6}}
        if kinds is not None:
            ring = {"size": 8, **_marks(kinds, tied, look.front, 1)}
        figure.add_trace(markers(tied, across, up, "ties with the front", scene.texts, **ring))
    figure.add_trace(_step(best, across, up, look))
    size = 9 if across.pixels > NARROW and len(best) < CROWDED else 7
    dot: dict[str, Any] = {"size": size, "color": look.front, "line": {"width": 1.2, "color": look.paper}}
    if kinds is not None:
        dot = {"size": size + 2, **_marks(kinds, best, look.front, 2)}
    dots = markers(best, across, up, "Pareto front", scene.texts, **dot)
    if intervals:
        dots.update(error_x=interval(best, x, look), error_y=interval(best, y, look))
    figure.add_trace(dots)
    published = scene.published
    diamond: dict[str, Any] = {"size": 10, "color": look.reference, "symbol": "diamond"}
    figure.add_trace(markers(published, across, up, "published", scene.texts, **diamond))
    _add_misfits(figure, scene, across, up, look)
    lanes.draw(figure, below, across, look)
    taken = label_published(figure, published, across, up, look)
    if budget is not None:
        taken += mark_budget(figure, budget * x.scale, across, up, look)
    others = pd.concat([scene.dominated, best]) if len(tied) else scene.dominated
    taken += label_rows(figure, tied, others, across, up, "ties with the front", look.front, look, taken)
    label_rows(figure, plain, scene.dominated, across, up, "dominated", look.cloud, look, taken)
    label_front(figure, best, across, up, look, "Pareto front" if whole else "front of these two")
    if scene.knee is not None:
        mark_knee(figure, scene.knee, best, across, up, look)
    if under is not None:
        _ring(figure, under, across, up, "best under the budget", size=21, color=look.knee, symbol="square-open")
    if chosen is not None and not pd.isna(chosen.get(x.column)) and not pd.isna(chosen.get(y.column)):
        star = {"size": 15, "color": look.ink, "symbol": "star", "line": {"width": 1, "color": look.paper}}
        _ring(figure, chosen, across, up, "chosen", **star)
        if budget is not None and chosen[x.column] > budget and not x.maximize:  # there a veil lies over the traces
            place = {"x": across.coordinate(chosen[x.column] * x.scale), "y": up.coordinate(chosen[y.column] * y.scale)}
            figure.add_annotation(text="★", font={"size": 19, "color": look.ink}, showarrow=False, **place)
    for trace in figure.data:
        trace.showlegend = bool(trace.showlegend)  # the others are named where they are
    return figure.update_layout(meta={"alt": _alt(scene, across, up, whole, budget, under)})


def _heading(scene: Landscape, whole: bool) -> str:
    """How many are on which front."""
    kind = "Pareto front" if whole else f"front of {scene.y.label} and {scene.x.label}"
    plural = "s" * (scene.count != 1)
    return f"{len(scene.best):,} of {scene.count:,} architecture{plural} {_be(len(scene.best))} on the {kind}"


def _be(count: int) -> str:
    return "is" if count == 1 else "are"


def _across(scene: Landscape, references: pd.DataFrame | None) -> Any:
    """Displayed numbers that x has to hold."""
    shown = [extent(scene, scene.x, 0)]
    if references is not None:
        shown.append(references["value"].to_numpy(dtype=float) * scene.x.scale)
    shown.append(scene.beside[scene.x.column].to_numpy(dtype=float, na_value=np.nan) * scene.x.scale)
    return np.concatenate(shown)


def _coloured(scene: Landscape) -> pd.DataFrame:
    return pd.concat([scene.best, scene.dominated])


def _marks(kinds: Classes, rows: pd.DataFrame, outline: str, width: float) -> dict[str, Any]:
    colors, shapes = kinds.of(rows)
    return {"color": colors, "symbol": shapes, "line": {"color": outline, "width": width}}


def _make_legend(figure: go.Figure, kinds: Classes, look: Theme, pixels: float) -> None:
    """Puts what the colours mean below the chart, in room of its own."""
    layout = figure.layout
    room = kinds.height(pixels)
    figure.update_layout(margin={"b": layout.margin.b + room}, height=layout.height + room)
    for trace in kinds.legend:
        figure.add_trace(trace)
    title = {"text": escape(kinds.label), "font": {"color": look.muted, "size": 12}}
    if kinds.bar:
        place = {"x": 0, "xref": "paper", "xanchor": "left", "y": 0, "yref": "paper", "yanchor": "top"}
        figure.add_annotation(**title, **place, showarrow=False, yshift=-BOTTOM)
        figure.update_layout(coloraxis=dict(kinds.bar))
        return
    place = {"orientation": "h", "x": 0, "xanchor": "left", "yref": "container", "y": 0, "yanchor": "bottom"}
    fixed = {"itemclick": False, "itemdoubleclick": False, "font": {"size": 12}, "bgcolor": "rgba(0,0,0,0)"}
    figure.update_layout(showlegend=True, legend={**place, **fixed, "title": title | {"side": "top"}})


def _add_cloud(figure: go.Figure, scene: Landscape, x: Axis, y: Axis, look: Theme) -> None:
    """Draws the dominated trials far from the front as a picture of how dense they lie."""
    places = (plot_places(scene.cloud[:, 0], x), plot_places(scene.cloud[:, 1], y))
    room = (x.low, x.high), (y.low, y.high)
    figure.add_layout_image(density_image(*places, *room, look.cloud, pixels=(x.pixels, y.pixels)))


def _add_misfits(figure: go.Figure, scene: Landscape, x: Axis, y: Axis, look: Theme) -> None:
    """Draws infeasible and failed trials of which y is known, too, at their place."""
    known = scene.beside[scene.beside[y.metric.column].notna()]
    if len(known):
        cross: dict[str, Any] = {"size": 7, "symbol": "x-thin", "line": {"width": 1.6, "color": look.muted}}
        figure.add_trace(markers(known, x, y, "infeasible or failed", scene.texts, 0.8, **cross))


def _ring(figure: go.Figure, row: pd.Series[Any], x: Axis, y: Axis, name: str, **marker: Any) -> None:
    """Marks one trial with a shape around or over its point."""
    marker.setdefault("line", {"width": 2.2})
    place = [[float(row[axis.metric.column]) * axis.metric.scale] for axis in (x, y)]
    figure.add_trace(
        go.Scatter(x=place[0], y=place[1], mode="markers", name=name, marker=marker, hoverinfo="skip", cliponaxis=False)
    )


def _step(best: pd.DataFrame, x: Axis, y: Axis, look: Theme) -> go.Scatter:
    """The best to be had at each cost: level from a point of the front to the next, and on to the edge."""
    edge = 10**x.high if x.log else x.high
    xs, ys = [*x.numbers(best), edge], [*y.numbers(best), y.numbers(best)[-1]]
    line = {"shape": "hv", "width": 1.8, "color": look.front}
    return go.Scatter(x=xs, y=ys, mode="lines", line=line, opacity=0.6, hoverinfo="skip")


def _alt(scene: Landscape, x: Axis, y: Axis, whole: bool, budget: float | None, under: pd.Series[Any] | None) -> str:
    """The main numbers in words."""
    across, up = x.metric, y.metric

    def said(row: pd.Series[Any]) -> str:
        return f"{up.text(float(row[up.column]))} at {across.text(float(row[across.column]))}"

    first, last = scene.best.iloc[0], scene.best.iloc[-1]
    text = f"{up.label} against {across.label} of {scene.count:,} architecture{'s' * (scene.count != 1)}."
    text += f" The {'Pareto front' if whole else 'front of these two'} has {len(scene.best):,}"
    text += f", from {said(first)} to {said(last)}." if len(scene.best) > 1 else f": {said(first)}."
    if scene.knee is not None:
        text += f" Its knee is trial {scene.knee['number']}: {said(scene.knee)}."
    if budget is not None:
        found = "none" if under is None else f"trial {under['number']}, {said(under)}"
        text += f" Best under {across.text(budget)}: {found}."
    return text
