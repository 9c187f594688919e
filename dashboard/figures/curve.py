"""Returns the figure of one trial's training: its accuracy after each epoch."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from dashboard.canvas import THEMES, ThemeName, called, empty, framed, y_title
from explorer.metrics import METRICS

SMALL = 260  # pixels


def learning_curve(
    curve: pd.DataFrame,
    data: str = "",
    *,
    epochs: int | None = None,
    theme: ThemeName = "light",
    width: int | None = None,
    height: int = SMALL,
) -> go.Figure:
    """Top-1 (%) on the proxy's validation images after each epoch.

    `data` says what the accuracy stands for; `epochs` is the length of the whole schedule.
    """
    look = THEMES[theme]
    if curve.empty:
        return empty("No learning curve: this trial was not trained.", look, width, height)
    last, label = curve.iloc[-1], called(METRICS["accuracy"], data).quantity
    figure = framed("Learning curve", f"{last['accuracy']:.1f} % after epoch {int(last['epoch'])}", look, width, height)
    figure.add_trace(
        go.Scatter(
            x=curve["epoch"],
            y=curve["accuracy"],
            mode="lines+markers",
            line={"color": look.front, "width": 2},
            marker={"size": 8, "color": look.front},
            hovertemplate="epoch %{x}: %{y:.1f} %<extra></extra>",
        )
    )
    end = max(int(curve["epoch"].max()), epochs or 0)
    figure.update_xaxes(title={"text": "Epoch of the schedule"}, range=[0.5, end + 0.5], dtick=max(1, round(end / 8)))
    figure.update_yaxes(nticks=5)
    y_title(figure, look, f"{label} · higher is better")
    said = ", ".join(f"{row.accuracy:.1f}" for row in curve.itertuples())
    figure.layout.meta = {"alt": f"{label}, after each epoch: {said}."}
    return figure
