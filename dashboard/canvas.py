"""Returns the empty figure that every chart is drawn on: theme, title block, quiet axes with units and direction."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass, replace
from html import escape
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from explorer.metrics import Metric

ThemeName: TypeAlias = Literal["light", "dark"]
Numbers: TypeAlias = NDArray[np.float64]
FONT = "Inter, 'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif"
WIDTH, HEIGHT = 960, 540  # pixels; the width is a guess where the page decides it
LEFT, RIGHT, BOTTOM = 52, 28, 54  # margins, pixels
CLASSES = (  # colour and shape of a category: Okabe and Ito's, without what the front, the knee and references have
    ("#E69F00", "square"),
    ("#56B4E9", "circle"),
    ("#009E73", "triangle-up"),
    ("#CC79A7", "cross"),
    ("#A08600", "triangle-down"),
    ("#7F4FC9", "pentagon"),
    ("#7A8B9E", "hourglass"),
)


@dataclass(frozen=True)
class Theme:
    paper: str
    ink: str
    muted: str  # axes, subtitle
    grid: str
    reference: str  # published models
    front: str
    knee: str = "#D55E00"
    cloud: str = "#7A8B9E"


THEMES: dict[ThemeName, Theme] = {
    "light": Theme(
        paper="#ffffff",
        ink="#1b1f24",
        muted="#5b6570",
        grid="#eceff2",
        reference="#4D4D4D",
        front="#0072B2",
    ),
    "dark": Theme(
        paper="#0d1117",
        ink="#e6edf3",
        muted="#9aa5b1",
        grid="#1f252d",
        reference="#BBBBBB",
        front="#3B9BDC",
    ),
}


class Axis(NamedTuple):
    """A metric along one side of a chart; the range as plotly takes it, log10 of the numbers where logarithmic."""

    metric: Metric
    low: float
    high: float
    log: bool
    pixels: float

    def numbers(self, rows: pd.DataFrame) -> Numbers:
        """The metric of each row, as displayed."""
        stored: Numbers = rows[self.metric.column].to_numpy(dtype=float)
        return stored * self.metric.scale

    def coordinate(self, shown: float) -> float:
        """Where plotly puts an annotation at a displayed number."""
        return math.log10(shown) if self.log else shown

    def place(self, shown: float) -> float:
        """Pixels from the start of the axis to a displayed number."""
        return (self.coordinate(shown) - self.low) / (self.high - self.low) * self.pixels


def framed(title: str, subtitle: str, look: Theme, width: int | None, height: int) -> go.Figure:
    """A figure with title and subtitle, wrapped to its width in pixels (None fills the page), and no data."""
    pixels = (width or WIDTH) - LEFT - RIGHT
    lines = [f"<b>{escape(line)}</b>" for line in textwrap.wrap(title, pixels // 9)]
    small = f"<span style='font-size:13px;color:{look.muted}'>{{}}</span>"
    lines += [small.format(escape(line)) for line in textwrap.wrap(subtitle, int(pixels / 6.4))]
    axis = {"gridcolor": look.grid, "zeroline": False, "linecolor": look.muted, "tickcolor": look.muted}
    axis |= {"tickfont": {"color": look.muted, "size": 12}, "title": {"font": {"color": look.muted, "size": 13}}}
    return go.Figure(
        layout={
            "width": width,
            "height": height,
            "font": {"family": FONT, "size": 13, "color": look.ink},
            "paper_bgcolor": look.paper,
            "plot_bgcolor": look.paper,
            "margin": {"l": LEFT, "r": RIGHT, "t": 50 + 22 * len(lines), "b": BOTTOM},
            "title": {
                "text": "<br>".join(lines),
                "font": {"size": 17},
                "x": 0,
                "xref": "container",
                "xanchor": "left",
                "y": 1,
                "yref": "container",
                "yanchor": "top",
                "pad": {"t": 20, "l": 16},
            },
            "showlegend": False,
            "hovermode": "closest",
            "hoverlabel": {"bgcolor": look.paper, "bordercolor": look.muted, "font": {"color": look.ink}},
            "xaxis": {**axis, "showline": True, "showgrid": False, "ticks": "outside", "ticklen": 4},
            "yaxis": axis,
        }
    )


def empty(message: str, look: Theme, width: int | None, height: int) -> go.Figure:
    """A figure that says why there is nothing to see."""
    figure = framed("", "", look, width, height)
    text = "<br>".join(escape(line) for line in textwrap.wrap(message, (width or WIDTH) // 10))
    figure.add_annotation(text=text, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font={"size": 15})
    return figure.update_xaxes(visible=False).update_yaxes(visible=False)


def faint(color: str, opacity: float) -> str:
    """A colour "#rrggbb" with an opacity, as plotly takes it."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def x_axis(figure: go.Figure, metric: Metric, shown: Numbers) -> Axis:
    """Sets the range and title of x for these displayed numbers."""
    axis = _axis(metric, shown, (0.04, 0.04), (figure.layout.width or WIDTH) - LEFT - RIGHT)
    figure.update_xaxes(title={"text": _axis_title(axis), "standoff": 10}, **_scale(axis, most=int(axis.pixels // 45)))
    return axis


def y_axis(figure: go.Figure, metric: Metric, shown: Numbers, look: Theme, below: float = 0) -> Axis:
    """Sets the range and title of y, with room for labels on the better side; `below` pixels under it are left free."""
    margin = figure.layout.margin
    pads = (0.06, 0.16) if metric.maximize else (0.16, 0.06)
    axis = _axis(metric, shown, pads, figure.layout.height - margin.t - margin.b - below)
    figure.update_yaxes(**_scale(axis, most=int(axis.pixels // 30)))
    y_title(figure, look, _axis_title(axis))
    return axis


def called(metric: Metric, data: str) -> Metric:
    """The metric as it is to be called beside its study's data: accuracy names the epochs of the proxy's training.

    >>> called(METRICS["accuracy"], "cues, 8 of 12 epochs").label
    'Top-1 (proxy, 8 of 12 epochs)'
    """
    epochs = data.rpartition(", ")[2]
    if metric.name != "accuracy" or not epochs.endswith("epochs"):
        return metric
    return replace(metric, label=f"Top-1 (proxy, {epochs})")


def _axis(metric: Metric, shown: Numbers, pads: tuple[float, float], pixels: float) -> Axis:
    """The range with its pads; logarithmic for a cost that spans a factor of three."""
    low, high = float(shown.min()), float(shown.max())
    log = not metric.maximize and low > 0 and high / low >= 3
    if log:
        low, high = math.log10(low), math.log10(high)
    span = (high - low) or 0.1 * abs(high) or 1.0
    return Axis(metric, low - pads[0] * span, high + pads[1] * span, log, pixels)


def _scale(axis: Axis, most: int) -> dict[str, Any]:
    """Range and ticks as plotly takes them."""
    if not axis.log:
        return {"type": "linear", "range": [axis.low, axis.high]}
    ticks = log_ticks(10**axis.low, 10**axis.high, most)
    ticktext = [f"{tick:,g}" for tick in ticks]
    return {"type": "log", "range": [axis.low, axis.high], "tickvals": ticks, "ticktext": ticktext}


def _axis_title(axis: Axis) -> str:
    better = "higher" if axis.metric.maximize else "lower"
    return f"{axis.metric.quantity}{' (log scale)' if axis.log else ''} · {better} is better"


def y_title(figure: go.Figure, look: Theme, text: str) -> None:
    """Writes the title of y above the axis, level: no turned head, no lost width."""
    font = {"color": look.muted, "size": 13}
    place = {"x": 0, "xref": "paper", "xanchor": "left", "xshift": 16 - LEFT, "y": 1, "yref": "paper"}
    figure.add_annotation(text=text, font=font, showarrow=False, yanchor="bottom", yshift=8, **place)


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """The 1-2-5 numbers from low to high; 1-3, then the powers of ten alone, where those are more than `most`."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in ((1, 2, 5), (1, 3), (1,)):
        every = [float(f"{step}e{decade}") for decade in decades for step in steps]
        ticks = [tick for tick in every if low <= tick <= high]
        if len(ticks) <= most:
            break
    return ticks
