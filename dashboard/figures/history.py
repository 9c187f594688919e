"""Returns figures of how a search went on: its hypervolume over trials, over time, over the device's hours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboard.canvas import CLASSES, HEIGHT, THEMES, WIDTH, Theme, ThemeName, empty, framed, y_title
from explorer import results
from explorer.analysis.convergence import MOST_STEPS, OVER, growth
from explorer.metrics import Metric

NO_VOLUME = "No hypervolume yet: no complete trial inside the reference point."
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
NAME_SHOWN = 40  # characters of a study's name
LEGEND_LINE = 22  # pixels


def hypervolume_history(
    frame: pd.DataFrame,
    objectives: Sequence[str] = results.OBJECTIVES,
    *,
    reference: Mapping[str, float] | None = None,
    over: str = "trials",
    title: str | None = None,
    theme: ThemeName = "light",
    width: int | None = None,
    height: int = HEIGHT,
) -> go.Figure:
    """Hypervolume after each trial, in the product of the displayed units; the subtitle states the reference point.

    `over` is what x is: "trials", "time" or "device-hours" (explorer.analysis.pace.clock).
    """
    look = THEMES[theme]
    rows = results.metrics_of(frame, objectives)
    steps = growth(frame, objectives, reference, over)
    if not (steps["hypervolume"] > 0).any():
        return empty(NO_VOLUME, look, width, height)
    at = reference_text(rows, steps.attrs["reference"])
    figure = framed(title or "Hypervolume of the Pareto front", at, look, width, height)
    shown = steps["hypervolume"].to_numpy(dtype=float) * _scale(rows)
    line = {"shape": "hv", "width": 2.5, "color": look.front}
    hover = "trial %{customdata}: %{y:,.4~r}<extra></extra>"
    dots = {"x": steps["x"], "y": shown, "customdata": steps["number"], "hovertemplate": hover}
    figure.add_trace(go.Scatter(**dots, mode="lines", line=line))
    end = {"x": [steps["x"].iloc[-1]], "y": [shown[-1]], "hoverinfo": "skip"}
    figure.add_trace(go.Scatter(**end, mode="markers", marker={"size": 9, "color": look.front}, cliponaxis=False))
    label = {"text": f"<b>{volume_text(shown[-1])}</b>", "font": {"color": look.front, "size": 14}}
    figure.add_annotation(**label, x=steps["x"].iloc[-1], y=shown[-1], showarrow=False, xanchor="right", yshift=16)
    _axes(figure, rows, float(shown.max()), over, look)
    half = steps["x"][shown >= shown[-1] / 2].iloc[0]
    figure.layout.meta = {
        "alt": f"Hypervolume of the Pareto front, a line that only rises: {volume_text(shown[-1])} {_unit(rows)} at"
        f" the end, half of it at {OVER[over].lower()} {half:,.4g}; {at}."
    }
    return figure


def hypervolume_compared(
    series: Mapping[str, pd.Series[Any]],
    metrics: Sequence[Metric],
    reference: Mapping[str, float],
    *,
    over: str = "trials",
    theme: ThemeName = "light",
    width: int | None = None,
    height: int = HEIGHT,
) -> go.Figure:
    """The hypervolumes of several studies on one chart, against one reference point, which the subtitle states.

    Each series is indexed by its place on x and has the hypervolume in stored units, as
    explorer.analysis.convergence.growth gives them. The first study has the front's colour; every other
    a colour, a dash and a shape of its own.
    """
    look = THEMES[theme]
    known = {name: volumes for name, volumes in series.items() if (volumes > 0).any()}
    if not known:
        return empty(NO_VOLUME, look, width, height)
    at = reference_text(metrics, reference)
    figure = framed("Hypervolume of the Pareto fronts", f"common {at}", look, width, height)
    marks = [(look.front, "circle"), *((color, shape) for color, shape in CLASSES if shape != "circle")]
    ends = []
    for i, (name, volumes) in enumerate(known.items()):
        color, shape = marks[i % len(marks)]
        steps = _thinned(volumes)
        shown = steps.to_numpy(dtype=float) * _scale(metrics)
        short = escape(name if len(name) <= NAME_SHOWN else name[: NAME_SHOWN - 1] + "…")
        line = {"shape": "hv", "width": 2.5 if i == 0 else 2, "color": color, "dash": DASHES[i % len(DASHES)]}
        hover = f"{short}<br>%{{x:,.4~r}}: %{{y:,.4~r}}<extra></extra>"
        figure.add_trace(
            go.Scatter(x=steps.index, y=shown, mode="lines", line=line, name=short, hovertemplate=hover, legendgroup=i)
        )
        figure.data[-1].update(showlegend=True)
        dot = {"size": 9, "color": color, "symbol": shape}
        last = {"x": [steps.index[-1]], "y": [shown[-1]], "hoverinfo": "skip", "legendgroup": i, "cliponaxis": False}
        figure.add_trace(go.Scatter(**last, mode="markers", marker=dot, showlegend=False))
        ends.append((name, float(shown[-1])))
    _axes(figure, metrics, max(end for _, end in ends), over, look)
    _legend_below(figure, [name for name, _ in ends])
    said = "; ".join(f"{name} {volume_text(end)}" for name, end in sorted(ends, key=lambda one: -one[1])[:4])
    figure.layout.meta = {"alt": f"Hypervolume of {len(ends)} studies in {_unit(metrics)}, at the end: {said}; {at}."}
    return figure


def hypervolume_table(steps: pd.DataFrame, metrics: Sequence[Metric], over: str = "trials") -> pd.DataFrame:
    """The steps of explorer.analysis.convergence.growth under headings, in the product of the displayed units."""
    shown = pd.DataFrame({"Trial": steps["number"].to_numpy()})
    if over != "trials":
        shown[OVER[over]] = steps["x"].to_numpy()
    shown[f"Hypervolume, {_unit(metrics)}"] = steps["hypervolume"].to_numpy(dtype=float) * _scale(metrics)
    return shown


def reference_text(rows: Sequence[Metric], reference: Mapping[str, float]) -> str:
    """The reference point in words: "reference point: accuracy 0 %, latency 10.0 ms"."""
    return f"reference point: {', '.join(f'{row.name} {row.text(reference[row.name])}' for row in rows)}"


def volume_text(shown: float) -> str:
    """A hypervolume as displayed: whole from 100 on, else three decimals."""
    return f"{shown:,.{0 if shown >= 100 else 3}f}"


def _scale(rows: Sequence[Metric]) -> float:
    return math.prod(row.scale for row in rows)


def _unit(rows: Sequence[Metric]) -> str:
    return " · ".join(row.unit for row in rows)


def _thinned(volumes: pd.Series[Any]) -> pd.Series[Any]:
    """The first and last values and those in between that rise, at most 2,000."""
    values = volumes.to_numpy(dtype=float)
    kept = np.union1d(np.flatnonzero(np.diff(values, prepend=-1.0) > 0), [0, len(values) - 1])
    if len(kept) > MOST_STEPS:
        kept = kept[np.unique(np.linspace(0, len(kept) - 1, MOST_STEPS).round().astype(int))]
    return volumes.iloc[kept]


def _axes(figure: go.Figure, rows: Sequence[Metric], most: float, over: str, look: Theme) -> None:
    figure.update_xaxes(title={"text": OVER[over]}, tickformat=",~f" if over == "trials" else None)
    figure.update_yaxes(range=[0, most * 1.12], tickformat=",~f", automargin=True)
    y_title(figure, look, f"Hypervolume ({_unit(rows)}), higher is better")


def _legend_below(figure: go.Figure, names: Sequence[str]) -> None:
    """A legend under the x axis, with room for its lines."""
    pixels = (figure.layout.width or WIDTH) - 80
    lines = 1 + int(sum(7 * min(len(name), NAME_SHOWN) + 60 for name in names) // pixels)
    room = 16 + LEGEND_LINE * lines
    figure.update_layout(showlegend=True, height=figure.layout.height + room)
    figure.update_layout(margin={"b": figure.layout.margin.b + room})
    figure.update_layout(
        legend={"orientation": "h", "x": 0, "xref": "paper", "y": 0, "yref": "container", "yanchor": "bottom"}
    )
