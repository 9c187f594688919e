"""Returns the figure of how a metric goes with complexity in each level of a choice."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from PIL import Image

from dashboard.canvas import CLASSES, HEIGHT, THEMES, Axis, ThemeName, called, faint, framed, x_axis, y_axis
from dashboard.figures.density import EXACT, density_image, plot_places
from dashboard.figures.edf import BAND, entry, legend, nothing, some_marks
from explorer import structure
from explorer.analysis.distribution import FEWEST
from explorer.metrics import Metric


def complexity_trend(
    rows: pd.DataFrame,
    trend: pd.DataFrame,
    x: Metric,
    y: Metric,
    split: str | None = None,
    *,
    data: str = "",
    conditions: str = "",
    theme: ThemeName = "light",
    width: int | None = None,
    height: int = HEIGHT,
) -> go.Figure:
    """The trials (analysis.distribution.trend_rows) with a running median and the middle half of each level (trend).

    Above 2,000 trials they are a picture of how dense they lie, in their level's colour.
    """
    look, y = THEMES[theme], called(y, data)
    if rows.empty:
        message = (
            f"No complete trial has both {x.label} and {y.label} here. Let the search run on, or widen the condition."
        )
        return nothing(message, look, width, height)
    name = structure.label(split) if split else "all trials"
    facts = [
        f"{len(rows):,} trials",
        conditions,
        "lines: running median of neighbouring trials, bands: their middle half",
    ]
    figure = framed(f"{y.label} against {x.label} by {name}", " · ".join(filter(None, facts)), look, width, height)
    across = x_axis(figure, x, rows[x.column].to_numpy(dtype=float) * x.scale)
    up = y_axis(figure, y, rows[y.column].to_numpy(dtype=float) * y.scale, look)
    levels = [str(level) for level in rows["level"].cat.categories if (rows["level"] == level).any()]
    names: list[str] = []
    pictures: list[tuple[int, dict[str, Any]]] = []
    for (color, symbol), level in zip(CLASSES, levels, strict=False):
        mine, line = rows[rows["level"] == level], trend[trend["level"] == level]
        names.append(f"{level} · {len(mine):,}")
        group: dict[str, Any] = {"legendgroup": level, "name": escape(names[-1])}
        if len(rows) > EXACT:
            pictures.append((len(mine), _picture(mine, across, up, color)))
        else:
            figure.add_trace(_points(mine, across, up, color, symbol, group))
        _line(figure, line, x, y, color, symbol, group)
        entry(figure, color, symbol, group)
    if pictures:  # the rarer above
        figure.add_layout_image(_overlaid([picture for _, picture in sorted(pictures, key=lambda one: -one[0])]))
    legend(figure, names, look)
    figure.layout.meta = {"alt": _alt(trend, x, y, name, len(rows))}
    return figure


def _points(rows: pd.DataFrame, x: Axis, y: Axis, color: str, symbol: str, group: dict[str, Any]) -> go.Scatter:
    return go.Scatter(
        x=x.numbers(rows),
        y=y.numbers(rows),
        mode="markers",
        marker={"color": color, "symbol": symbol, "size": 6},
        opacity=0.55,
        showlegend=False,
        customdata=rows["number"],
        hovertemplate=f"trial %{{customdata}}<br>{escape(x.metric.label)} %{{x:.4~g}} {escape(x.metric.unit)}"
        f"<br>{escape(y.metric.label)} %{{y:.4~g}} {escape(y.metric.unit)}<extra>%{{fullData.name}}</extra>",
        **group,
    )


def _picture(rows: pd.DataFrame, x: Axis, y: Axis, color: str) -> dict[str, Any]:
    return density_image(
        plot_places(x.numbers(rows), x),
        plot_places(y.numbers(rows), y),
        (x.low, x.high),
        (y.low, y.high),
        color,
        pixels=(x.pixels, y.pixels),
    )


def _overlaid(pictures: list[dict[str, Any]]) -> dict[str, Any]:
    """Pictures of one place as one: of several behind the same axes plotly draws the first alone."""
    layers = [Image.open(io.BytesIO(base64.b64decode(one["source"].partition(",")[2]))) for one in pictures]
    whole = layers[0].convert("RGBA")
    for layer in layers[1:]:
        whole.alpha_composite(layer.convert("RGBA"))
    file = io.BytesIO()
    whole.save(file, format="PNG", compress_level=1)
    return pictures[0] | {"source": "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")}


def _line(
    figure: go.Figure, line: pd.DataFrame, x: Metric, y: Metric, color: str, symbol: str, group: dict[str, Any]
) -> None:
    """The running median over the middle half."""
    if line.empty:
        return
    at = line["x"] * x.scale
    quiet = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False, **group}
    figure.add_trace(go.Scatter(x=at, y=line["lo"] * y.scale, **quiet))
    figure.add_trace(go.Scatter(x=at, y=line["hi"] * y.scale, fill="tonexty", fillcolor=faint(color, BAND), **quiet))
    hover = f"median %{{y:.4~g}} {escape(y.unit)} at %{{x:.4~g}} {escape(x.unit)}<extra>%{{fullData.name}}</extra>"
    figure.add_trace(
        go.Scatter(
            x=at,
            y=line["median"] * y.scale,
            mode="lines+markers",
            line={"color": color, "width": 2.5},
            marker=some_marks(len(line), color, symbol, every=6),
            hovertemplate=hover,
            showlegend=False,
            **group,
        )
    )


def _alt(trend: pd.DataFrame, x: Metric, y: Metric, name: str, trials: int) -> str:
    """The ends of each level's line in words."""
    ends = [
        f"{level} from {y.text(line['median'].iloc[0])} at {x.text(line['x'].iloc[0])}"
        f" to {y.text(line['median'].iloc[-1])} at {x.text(line['x'].iloc[-1])}"
        for level, line in trend.groupby("level", sort=False)
    ]
    said = f"Running medians: {'; '.join(ends)}." if ends else f"No level has {FEWEST} trials for a running median."
    return f"{y.label} against {x.label} of {trials:,} trials by {name}. {said}"
