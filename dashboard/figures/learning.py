"""Returns the figure of learning curves: the front's over the others', and where the middle half of those lies."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboard.canvas import HEIGHT, THEMES, Theme, ThemeName, called, empty, framed, y_axis
from explorer.analysis.learning import by_epoch, stopped
from explorer.metrics import METRICS, Metric

RIBBON_FROM = 30  # other curves from which their middle half is drawn


def learning_curves(
    curves: pd.DataFrame,
    front: Collection[int],
    *,
    epochs: int,
    trained: int,
    data: str = "",
    theme: ThemeName = "light",
    width: int | None = None,
    height: int = HEIGHT,
) -> go.Figure:
    """Accuracy after each epoch: of the front's members in its colour, of the others faint.

    `curves` has number, epoch and accuracy (%); `front` the members' numbers; `epochs` is how many each was to train;
    `trained` how many trials the curves are taken from. A curve that ends early ends in a cross.
    """
    look = THEMES[theme]
    if curves.empty:
        return empty("No learning curves yet: no trial has trained an epoch.", look, width, height)
    metric = called(METRICS["accuracy"], data)
    curves = curves.sort_values(["number", "epoch"], kind="stable")
    own = curves["number"].isin(front)
    count, members = curves["number"].nunique(), curves.loc[own, "number"].nunique()
    of = "" if count - members >= trained - members else f" of {trained - members:,}, evenly chosen"
    subtitle = f"{members} on the front, in colour · {count - members:,}{of} others, faint"
    figure = framed("Accuracy while training", f"{subtitle} · {data}" if data else subtitle, look, width, height)
    y_axis(figure, metric, curves["accuracy"].to_numpy(dtype=float), look)
    others = curves[~own]
    figure.add_trace(_lines(others, "others", look.cloud, 0.22, 1.0))
    middle = by_epoch(others) if others["number"].nunique() >= RIBBON_FROM else None
    if middle is not None:
        for trace in _ribbon(middle, look):
            figure.add_trace(trace)
    figure.add_trace(_lines(curves[own], "front", look.front, 0.75, 1.6))
    last = curves[own].groupby("number").tail(1)
    figure.add_trace(_dots(last, "front, last epoch", look.front, "circle", 6))
    early = stopped(curves, epochs)
    if len(early):
        figure.add_trace(_dots(early, "stopped early", look.knee, "x", 8))
        figure.add_annotation(**_note(early.iloc[-1], f"✕ stopped early: {len(early)}", look.knee))
    longest = int(max(curves["epoch"].max(), epochs))
    figure.update_xaxes(title={"text": "Epoch of the proxy's training"}, range=[0.7, longest + 0.3])
    figure.update_xaxes(tickmode="linear", dtick=max(1, round(longest / 12)), tick0=1)
    figure.layout.meta = {"alt": _alt(curves, own, middle, metric, len(early))}
    return figure


def _lines(curves: pd.DataFrame, name: str, color: str, opacity: float, width: float) -> go.Scatter:
    """All curves as one trace, with a gap after each."""
    ends = curves["number"].ne(curves["number"].shift(-1)).to_numpy()
    gaps = np.flatnonzero(ends) + 1
    x = np.insert(curves["epoch"].to_numpy(dtype=float), gaps, np.nan)
    y = np.insert(curves["accuracy"].to_numpy(dtype=float), gaps, np.nan)
    numbers = np.insert(curves["number"].to_numpy(), gaps, -1)
    return go.Scatter(
        x=x,
        y=y,
        customdata=numbers,
        mode="lines",
        name=name,
        line={"color": color, "width": width},
        opacity=opacity,
        connectgaps=False,
        hovertemplate="<b>trial %{customdata}</b><br>epoch %{x}: %{y:.1f} %<extra></extra>",
    )


def _dots(rows: pd.DataFrame, name: str, color: str, symbol: str, size: int) -> go.Scatter:
    return go.Scatter(
        x=rows["epoch"],
        y=rows["accuracy"],
        customdata=rows["number"],
        mode="markers",
        name=name,
        marker={"color": color, "symbol": symbol, "size": size},
        cliponaxis=False,
        hovertemplate="<b>trial %{customdata}</b><br>epoch %{x}: %{y:.1f} %<extra></extra>",
    )


def _ribbon(middle: pd.DataFrame, look: Theme) -> list[go.Scatter]:
    """The others' middle half as a band, and their median."""
    edge = {"x": middle["epoch"], "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    low = go.Scatter(y=middle["q1"], **edge)
    high = go.Scatter(y=middle["q3"], fill="tonexty", fillcolor="rgba(122,139,158,0.28)", **edge)
    median = go.Scatter(
        x=middle["epoch"],
        y=middle["median"],
        mode="lines",
        name="median of the others",
        line={"color": look.ink, "width": 2, "dash": "dash"},
        text=[f"{low:.1f} to {high:.1f} %" for low, high in zip(middle["q1"], middle["q3"], strict=True)],
        hovertemplate="median of the others, epoch %{x}: %{y:.1f} %<br>middle half: %{text}<extra></extra>",
    )
    return [low, high, median]


def _note(row: pd.Series[Any], text: str, color: str) -> dict[str, Any]:
    place = {"x": row["epoch"], "y": row["accuracy"], "showarrow": False, "xanchor": "left", "xshift": 9}
    return {**place, "text": text, "font": {"color": color, "size": 12}}


def _alt(curves: pd.DataFrame, own: pd.Series[bool], middle: pd.DataFrame | None, metric: Metric, early: int) -> str:
    last = curves.groupby("number").tail(1)
    said = f"{metric.label} after each epoch of {curves['number'].nunique()} trials."
    if own.any():
        best = last[last["number"].isin(curves.loc[own, "number"])]["accuracy"]
        said += f" The front's end between {best.min():.1f} and {best.max():.1f} %."
    if middle is not None:
        said += f" Half of the others end between {middle['q1'].iloc[-1]:.1f} and {middle['q3'].iloc[-1]:.1f} %."
    return said + (f" {early} stopped early." if early else "")
