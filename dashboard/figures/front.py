"""Returns the figure of a Pareto front.

The colours hold on white, on black and for colour-blind readers, and every class has a shape of its own: the front a
stepped line with full circles, the knee a ring, published models diamonds, dominated trials small pale circles.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboard.canvas import HEIGHT, THEMES, Axis, Numbers, Theme, ThemeName, empty, framed, x_axis, y_axis
from dashboard.labels import label_cloud, label_front, label_published, mark_knee
from explorer import results
from explorer.metrics import METRICS, Metric, MetricError

NARROW = 600  # pixels of axis, below which markers shrink


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
    y, x = _axes(frame, objectives)
    look = THEMES[theme]
    best = results.front(frame, objectives).sort_values(x.column, kind="stable")
    if best.empty:
        return empty(f"No complete trial with {y.name} and {x.name} yet: let the search run on.", look, width, height)
    measured = frame[[x.column, y.column]].notna().all(axis=1)
    shown = frame[(frame["status"] == "complete") & ~frame["duplicate"] & measured]
    timed = [row.name for row in (y, x) if results.interval_columns(row)]
    conditions = " against ".join(dict.fromkeys(results.conditions(shown, name) for name in timed))
    heading = (
        title or f"{len(best)} of {len(shown)} architectures {'is' if len(best) == 1 else 'are'} on the Pareto front"
    )
    figure = framed(heading, " · ".join(part for part in (data, conditions) if part), look, width, height)
    across = x_axis(figure, x, _extent(shown, best, x))
    up = y_axis(figure, y, _extent(shown, best, y), look)

    cloud = shown[~shown["number"].isin(best["number"]) & shown["preset"].isna()]
    figure.add_trace(_markers(cloud, across, up, "dominated", size=6, color=look.cloud, opacity=0.5))
    figure.add_trace(_step(best, across, up, look))
    dots = _markers(
        best,
        across,
        up,
        "Pareto front",
        size=9 if across.pixels > NARROW else 7,
        color=look.front,
        line={"width": 1.2, "color": look.paper},
    )
    figure.add_trace(dots.update(error_x=_interval(best, x, look), error_y=_interval(best, y, look)))
    published = shown[shown["preset"].notna()]
    figure.add_trace(_markers(published, across, up, "published", size=10, color=look.reference, symbol="diamond"))
    taken = label_published(figure, published, across, up, look)
    label_cloud(figure, cloud, across, up, look, taken)
    label_front(figure, best, across, up, look)
    knee = results.knee(frame, objectives)
    if knee is not None and len(best) > 2:  # of two points neither is a knee
        mark_knee(figure, knee, best, across, up, look)
    return figure


def _axes(frame: pd.DataFrame, objectives: Sequence[str]) -> tuple[Metric, Metric]:
    """(y, x): a cost is on x."""
    rows = results.metrics_of(frame, objectives)
    if len(rows) != 2:
        raise MetricError(f"a front is drawn of two objectives, not of {', '.join(objectives)}")
    first, second = rows
    return (second, first) if second.maximize else (first, second)


def _extent(shown: pd.DataFrame, best: pd.DataFrame, metric: Metric) -> Numbers:
    """All displayed numbers that the axis has to hold: the points, and the ends of the front's intervals."""
    stored = [shown[metric.column].to_numpy(dtype=float)]
    for end in results.interval_columns(metric) or ():
        stored.append(best[end].dropna().to_numpy(dtype=float))
    return np.concatenate(stored) * metric.scale


def _markers(rows: pd.DataFrame, x: Axis, y: Axis, name: str, opacity: float = 1, **marker: Any) -> go.Scatter:
    shown = results.metrics_of(rows, dict.fromkeys([*METRICS, *results.latencies(rows)]))
    return go.Scatter(
        x=x.numbers(rows),
        y=y.numbers(rows),
        mode="markers",
        name=name,
        marker=marker,
        opacity=opacity,
        cliponaxis=False,
        customdata=rows["number"],
        hovertext=[_hover(row, shown) for row in rows.to_dict("records")],
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _hover(row: dict[Hashable, Any], shown: Sequence[Metric]) -> str:
    """What a point is, in lines."""
    preset = "" if pd.isna(row["preset"]) else f" · {escape(row['preset'])}"
    lines = [f"<b>trial {row['number']}</b>{preset}", escape(row["what"])]
    for metric in shown:
        if not pd.isna(row[metric.column]):
            ends = [f"{row[end]:.3g}" for end in results.interval_columns(metric) or ()]
            interval = f" [{', '.join(ends)}]" * bool(ends)
            lines.append(f"{escape(metric.label)}: {metric.text(row[metric.column])}{interval}")
    return "<br>".join(lines)


def _step(best: pd.DataFrame, x: Axis, y: Axis, look: Theme) -> go.Scatter:
    """The best to be had at each cost: level from a point of the front to the next, and on to the edge."""
    edge = 10**x.high if x.log else x.high
    xs, ys = [*x.numbers(best), edge], [*y.numbers(best), y.numbers(best)[-1]]
    line = {"shape": "hv", "width": 1.8, "color": look.front}
    return go.Scatter(x=xs, y=ys, mode="lines", line=line, opacity=0.6, hoverinfo="skip")


def _interval(rows: pd.DataFrame, metric: Metric, look: Theme) -> dict[str, Any]:
    """Error bars, where the metric has an interval."""
    ends = results.interval_columns(metric)
    if ends is None:
        return {"visible": False}
    middle, low, high = rows[metric.column], rows[ends[0]], rows[ends[1]]
    style = {"color": look.front, "thickness": 1.4, "width": 4}
    return {"type": "data", "symmetric": False, "array": high - middle, "arrayminus": middle - low, **style}
