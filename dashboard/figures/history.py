"""Returns figures of how a search went on: hypervolume after each trial."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go

from dashboard.canvas import HEIGHT, THEMES, ThemeName, empty, framed, y_title
from explorer import results


def hypervolume_history(
    frame: pd.DataFrame,
    objectives: Sequence[str] = results.OBJECTIVES,
    *,
    reference: Mapping[str, float] | None = None,
    title: str | None = None,
    theme: ThemeName = "light",
    width: int | None = None,
    height: int = HEIGHT,
) -> go.Figure:
    """Hypervolume after each trial, in the product of the displayed units; the subtitle states the reference point."""
    look = THEMES[theme]
    rows = results.metrics_of(frame, objectives)
    series = results.hypervolume(frame, objectives, reference)
    if not (series > 0).any():
        return empty("No hypervolume yet: no complete trial inside the reference point.", look, width, height)
    stated = ", ".join(f"{row.name} {row.text(series.attrs['reference'][row.name])}" for row in rows)
    figure = framed(title or "Hypervolume of the Pareto front", f"reference point: {stated}", look, width, height)
    shown = series.to_numpy(dtype=float) * math.prod(row.scale for row in rows)
    line = {"shape": "hv", "width": 2.5, "color": look.front}
    hover = "after trial %{x}: %{y:,.4~r}<extra></extra>"
    figure.add_trace(go.Scatter(x=series.index, y=shown, mode="lines", line=line, hovertemplate=hover))
    end = {"x": [series.index[-1]], "y": [shown[-1]], "hoverinfo": "skip"}
    figure.add_trace(go.Scatter(**end, mode="markers", marker={"size": 9, "color": look.front}))
    label = {"text": f"<b>{shown[-1]:,.{0 if shown[-1] >= 100 else 3}f}</b>", "font": {"color": look.front, "size": 14}}
    figure.add_annotation(**label, x=series.index[-1], y=shown[-1], showarrow=False, xanchor="right", yshift=16)
    figure.update_xaxes(title={"text": "Trial"})
    figure.update_yaxes(range=[0, float(shown.max()) * 1.12], tickformat=",~f", automargin=True)
    y_title(figure, look, f"Hypervolume ({' · '.join(row.unit for row in rows)}), higher is better")
    return figure
