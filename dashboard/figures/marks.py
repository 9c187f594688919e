"""Returns the marks that stand for trials: coloured by a column, found by their numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from dashboard.canvas import CLASSES, Axis, Numbers, Theme, ThemeName, log_ticks
from explorer import results
from explorer.metrics import METRICS, Metric

MISSING = "circle-open"  # the shape of a trial that has not the value
RAMP = {"light": (0.0, 0.9), "dark": (0.25, 1.0)}  # of cividis, what stands out from the paper
LEGEND_LINE = 24  # pixels


@dataclass(frozen=True)
class Classes:
    """How trials are coloured by one column: a colour and a shape for each value, or a scale of colours."""

    label: str
    of: Callable[[pd.DataFrame], tuple[list[str], list[str]]]  # colours and shapes of rows
    legend: tuple[go.Scatter, ...]
    names: tuple[str, ...] = ()
    bar: Mapping[str, Any] = field(default_factory=dict)  # layout.coloraxis, of a scale

    def height(self, pixels: float) -> int:
        """Pixels that the legend takes below a chart of this width."""
        if self.bar:
            return 62
        widest = max(7 * len(name) + 55 for name in self.names)
        across = max(int(pixels // widest), 1)
        return LEGEND_LINE * (1 + -(-len(self.names) // across)) + 8


def classes(rows: pd.DataFrame, column: str, label: str, look: Theme, theme: ThemeName) -> Classes | None:
    """The classes of a frame's column among these rows; None where no row has a value."""
    known = rows[column].dropna()
    if known.empty:
        return None
    if isinstance(known.dtype, pd.CategoricalDtype | pd.StringDtype | pd.BooleanDtype | np.dtypes.BoolDType):
        return _kinds(known, column, label, look)
    return _scale(known.to_numpy(dtype=float), column, label, look, theme)


def _kinds(known: pd.Series[Any], column: str, label: str, look: Theme) -> Classes:
    """The most frequent values each with a colour and shape, the rest as one."""
    counts = known.astype("object").map(word).value_counts()
    kept = sorted(counts.index[: len(CLASSES) - (len(counts) > len(CLASSES))])
    marks = dict(zip(kept, CLASSES, strict=False))
    names = [*kept, "others"] if len(counts) > len(kept) else kept

    def of(rows: pd.DataFrame) -> tuple[list[str], list[str]]:
        levels = [None if pd.isna(value) else word(value) for value in rows[column]]
        found = [(look.muted, MISSING) if level is None else marks.get(level, CLASSES[-1]) for level in levels]
        return [color for color, _ in found], [shape for _, shape in found]

    legend = tuple(
        go.Scatter(
            x=[None],
            y=[None],
            mode="markers",
            name=escape(name),
            marker={"size": 9, "color": color, "symbol": shape},
            showlegend=True,
        )
        for name in names
        for color, shape in [marks.get(name, CLASSES[-1])]
    )
    return Classes(label, of, legend, tuple(names))


def word(value: object) -> str:
    """A level of a column as it is called: True is yes, 4.0 is 4."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value)


def _scale(known: Numbers, column: str, label: str, look: Theme, theme: ThemeName) -> Classes:
    """A scale of cividis from the least value to the greatest, logarithmic where they span a factor of ten."""
    metric = next((row for row in METRICS.values() if column.partition("@")[0] == row.column), None)
    factor = 1.0 if metric is None else metric.scale
    shown = known * factor
    low, high = float(shown.min()), float(shown.max())
    log = low > 0 and high / low >= 10
    start, end = RAMP[theme]

    def share(values: Numbers) -> Numbers:
        lowest, highest = (np.log10(low), np.log10(high)) if log else (low, high)
        placed: Numbers = ((np.log10(values) if log else values) - lowest) / ((highest - lowest) or 1.0)
        return placed

    def of(rows: pd.DataFrame) -> tuple[list[str], list[str]]:
        values = rows[column].to_numpy(dtype=float, na_value=np.nan) * factor
        missing = ~np.isfinite(values)
        placed = start + (end - start) * np.clip(share(np.where(missing, low, values)), 0, 1)
        colors = sample_colorscale("Cividis", placed.tolist())
        return (
            [look.muted if gone else color for gone, color in zip(missing, colors, strict=True)],
            [MISSING if gone else "circle" for gone in missing],
        )

    ticks = log_ticks(low, high, 5) if log else [float(tick) for tick in np.unique(np.linspace(low, high, 3))]
    if not log and (known % 1 == 0).all() and factor == 1:
        few = np.unique(shown)
        ticks = [float(tick) for tick in (few if len(few) <= 6 else few[np.linspace(0, len(few) - 1, 4).astype(int)])]
    scale = sample_colorscale("Cividis", np.linspace(start, end, 12).tolist())
    axis = {
        "cmin": 0,
        "cmax": 1,
        "colorscale": scale,
        "colorbar": {
            "orientation": "h",
            "thickness": 10,
            "len": 0.6,
            "x": 0,
            "xanchor": "left",
            "xpad": 0,
            "yref": "container",
            "y": 0,
            "yanchor": "bottom",
            "tickvals": [float(share(np.array([tick]))[0]) for tick in ticks],
            "ticktext": [f"{tick:,.3g}" if tick < 1000 else f"{tick:,.0f}" for tick in ticks],
            "tickfont": {"size": 11, "color": look.muted},
            "outlinewidth": 0,
        },
    }
    dot = go.Scatter(x=[None], y=[None], mode="markers", marker={"color": [0.0], "coloraxis": "coloraxis"})
    return Classes(label, of, (dot.update(showlegend=False, hoverinfo="skip"),), bar=axis)


def markers(
    rows: pd.DataFrame,
    x: Axis,
    y: Axis,
    name: str,
    texts: Mapping[int, str],
    opacity: float = 1,
    **marker: Any,
) -> go.Scatter:
    """A trace of trials whose points are found by their number and say what they are (`texts`, by number)."""
    numbers = rows["number"].to_numpy()
    return go.Scatter(
        x=x.numbers(rows),
        y=y.numbers(rows),
        mode="markers",
        name=name,
        marker=marker,
        opacity=opacity,
        cliponaxis=False,
        customdata=numbers,
        hovertext=[texts[int(number)] for number in numbers],
        hovertemplate="%{hovertext}<extra></extra>",
    )


def interval(rows: pd.DataFrame, metric: Metric, look: Theme) -> dict[str, Any]:
    """Error bars, where the metric has an interval."""
    ends = results.interval_columns(metric)
    if ends is None:
        return {"visible": False}
    middle, low, high = (rows[column].to_numpy(dtype=float, na_value=np.nan) for column in (metric.column, *ends))
    style = {"color": look.front, "thickness": 1.4, "width": 4}
    return {"type": "data", "symmetric": False, "array": high - middle, "arrayminus": middle - low, **style}
