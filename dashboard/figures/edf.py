"""Returns the figure of how a metric is distributed in each level of a choice: the share of trials at least so good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard.canvas import (
    BOTTOM,
    CLASSES,
    HEIGHT,
    LEFT,
    RIGHT,
    THEMES,
    WIDTH,
    Theme,
    ThemeName,
    called,
    empty,
    faint,
    framed,
    x_axis,
    y_title,
)
from explorer import structure
from explorer.analysis.distribution import FEWEST, Distributions, in_words

GLYPH = 6.6  # pixels, a character of a legend
SYMBOL = 54  # pixels that an entry of a legend needs besides its name
LINE = 20  # pixels, a line of a legend
MARKS = 7  # shapes along a curve
BAND = 0.14  # opacity


def edf_curves(
    found: Distributions,
    *,
    data: str = "",
    conditions: str = "",
    theme: ThemeName = "light",
    width: int | None = None,
    height: int = HEIGHT,
) -> go.Figure:
    """The share of each level's trials that is at least so good, with its 95 % bootstrap band; the higher the better.

    `data` says what accuracies stand for ("cues, 8 epochs"), `conditions` what else holds of the trials.
    """
    look = THEMES[theme]
    metric = called(found.metric, data)
    records = found.levels.to_dict("records")
    small = [f"{row['level']} ({row['trials']})" for row in records if not row["drawn"] and row["trials"]]
    if found.curves.empty:
        few = f"{metric.label}: no level has the {FEWEST} trials that a distribution needs"
        next_step = "let the search run on, or take another split or a wider condition"
        return nothing(f"{few}{': ' * bool(small)}{', '.join(small)}. Now {next_step}.", look, width, height)
    name = structure.label(found.split) if found.split else "all trials"
    facts = [f"{found.trials:,} trials", conditions, "bands: 95 % bootstrap, at each value"]
    facts += [f"{found.without:,} further trials have no {name}"] if found.without else []
    facts += [f"fewer than {FEWEST} trials, not drawn: {', '.join(small)}"] if small else []
    figure = framed(f"{metric.label} by {name}", " · ".join(filter(None, facts)), look, width, height)
    x_axis(figure, metric, found.curves["value"].to_numpy(dtype=float) * metric.scale)
    names = []
    drawn = found.levels[found.levels["drawn"]]
    for (color, symbol), level in zip(CLASSES, drawn.itertuples(), strict=False):
        curve = found.curves[found.curves["level"] == level.level]
        names.append(f"{level.level} · {level.trials:,}")
        _draw(figure, curve.to_numpy()[:, 1:].astype(float) * (metric.scale, 100, 100, 100), names[-1], color, symbol)
    step = "vh" if metric.maximize else "hv"
    figure.update_traces(line_shape=step)
    side = "at least" if metric.maximize else "at most"
    figure.update_yaxes(range=[0, 103], tickvals=[0, 25, 50, 75, 100])
    y_title(figure, look, f"Share of trials with {side} this, % · higher is better")
    figure.update_traces(
        hovertemplate=f"%{{y:.0f}} % have {side} %{{x:.4~g}} {escape(metric.unit)}<extra>%{{fullData.name}}</extra>"
    )
    legend(figure, names, look)
    figure.layout.meta = {
        "alt": f"Curves of the share of trials with {side} a {metric.label}. {in_words(found, metric.label)}"
    }
    return figure


def _draw(
    figure: go.Figure, curve: np.ndarray[tuple[int, int], np.dtype[np.float64]], name: str, color: str, symbol: str
) -> None:
    """A level's curve with some of its shape's marks, over its band; columns x, share, low, high."""
    x, share, low, high = curve.T
    group = {"legendgroup": name, "name": escape(name)}
    band = {"line": {"width": 0}, "mode": "lines", "hoverinfo": "skip", "showlegend": False, **group}
    figure.add_trace(go.Scatter(x=x, y=low, **band))
    figure.add_trace(go.Scatter(x=x, y=high, fill="tonexty", fillcolor=faint(color, BAND), **band))
    figure.add_trace(
        go.Scatter(
            x=x,
            y=share,
            mode="lines+markers",
            line={"color": color, "width": 2},
            marker=some_marks(len(x), color, symbol, every=max(1, len(x) // MARKS)),
            showlegend=False,
            **group,
        )
    )
    entry(figure, color, symbol, group)


def some_marks(count: int, color: str, symbol: str, *, every: int) -> dict[str, Any]:
    """Markers of so many points that are seen at some of them alone."""
    sizes = [9 if i % every == every // 2 else 0 for i in range(count)]
    return {"symbol": symbol, "color": color, "size": sizes, "opacity": 1, "line": {"width": 0}}


def entry(figure: go.Figure, color: str, symbol: str, group: Mapping[str, Any]) -> None:
    """The legend's entry of a line with shapes along it."""
    marker = {"symbol": symbol, "color": color, "size": 9}
    line = {"color": color, "width": 2}
    figure.add_trace(go.Scatter(x=[None], y=[None], mode="lines+markers", line=line, marker=marker, **group))


def legend(figure: go.Figure, names: Sequence[str], look: Theme) -> None:
    """Names the traces under the chart, which grows by as many lines as they take at its width."""
    room = (figure.layout.width or WIDTH) - LEFT - RIGHT
    text = max(map(len, names)) * GLYPH
    lines = -(-len(names) // max(1, int(room // (text + SYMBOL))))
    figure.layout.margin.b = BOTTOM + LINE * lines + 12
    figure.layout.height = (figure.layout.height or HEIGHT) + LINE * (lines - 1)
    plot = (figure.layout.height or HEIGHT) - figure.layout.margin.t - figure.layout.margin.b
    style = {"font": {"color": look.ink, "size": 12}, "bgcolor": "rgba(0,0,0,0)", "entrywidth": text}
    place = {"orientation": "h", "x": 0, "xanchor": "left", "y": -(BOTTOM + 4) / plot, "yanchor": "top"}
    figure.update_layout(showlegend=True, legend={**style, **place, "itemsizing": "trace"})


def nothing(message: str, look: Theme, width: int | None, height: int) -> go.Figure:
    """A figure that says why there is nothing to see, as its alternative text does."""
    return empty(message, look, width, height).update_layout(meta={"alt": message})
