"""Names on a Pareto front, written beside what they name: no legend to look up.

All is placed on the better side of the front, where by its definition no trial can be: above it where y is maximized.
"""

from __future__ import annotations

from html import escape
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboard.canvas import Axis, Theme

GLYPH = 6.8  # pixels, a character of a label
FRONT_LABEL = 100  # pixels kept free at the right end of the front for its name
CANDIDATES = 200  # dominated trials beside which their name is tried
WHAT_FROM = 640  # pixels of axis from which the knee says what it is


class Box(NamedTuple):
    """A rectangle of the chart in pixels; `worse` grows away from the front."""

    left: float
    right: float
    better: float
    worse: float

    def meets(self, other: Box) -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.better < other.worse and other.better < self.worse


def label_published(figure: go.Figure, published: pd.DataFrame, x: Axis, y: Axis, look: Theme) -> list[Box]:
    """Writes the names of published models beside their diamonds and returns the room they take.

    A name that would lie on another, or on a diamond, is moved away from the front.
    """
    halo = ", ".join([f"0 0 3px {look.paper}"] * 3)
    label = {"font": {"color": look.reference, "size": 12, "shadow": halo}, "showarrow": False}
    spots = [(x.place(a), _depth(y, b)) for a, b in zip(x.numbers(published), y.numbers(published), strict=True)]
    taken = [Box(right - 6, right + 6, depth - 6, depth + 6) for right, depth in spots]
    named = zip(spots, published["preset"], _points(published, x, y), strict=True)
    for (right, depth), name, place in sorted(named, key=lambda one: one[0][1]):  # the best first: it stays where it is
        width = GLYPH * len(name)
        left = right + 9 if right + 9 + width < x.pixels else right - 9 - width
        box = Box(left, left + width, depth - 7, depth + 7)
        while any(box.meets(other) for other in taken):
            box = box._replace(better=box.better + 2, worse=box.worse + 2)
        taken.append(box)
        shift = {"xshift": left - right, "yshift": -_side(y) * (box.better + 7 - depth)}
        figure.add_annotation(x=place[0], y=place[1], text=escape(name), xanchor="left", **shift, **label)
    return taken


def label_cloud(figure: go.Figure, cloud: pd.DataFrame, x: Axis, y: Axis, look: Theme, taken: list[Box]) -> None:
    """Names the dominated trials beside the one farthest from the front that has room for it."""
    right = np.array([x.place(a) for a in x.numbers(cloud)])
    depth = np.array([_depth(y, b) for b in y.numbers(cloud)])
    points = _points(cloud, x, y)
    for i in np.argsort(-(right + depth), kind="stable")[:CANDIDATES]:
        box = Box(right[i] + 4, right[i] + 80, depth[i] + 3, depth[i] + 19)
        inside = (box.left - 3 < right) & (right < box.right + 3) & (box.better - 3 < depth) & (depth < box.worse + 3)
        inside[i] = False
        if box.right < x.pixels and box.worse < y.pixels and not inside.any() and not any(map(box.meets, taken)):
            label = {"text": "dominated", "font": {"color": look.cloud}, "showarrow": False, "xanchor": "left"}
            figure.add_annotation(x=points[i][0], y=points[i][1], xshift=4, yshift=-11 * _side(y), **label)
            return


def label_front(figure: go.Figure, best: pd.DataFrame, x: Axis, y: Axis, look: Theme) -> None:
    """Names the front at its right end."""
    last = float(y.numbers(best)[-1])
    label = {"text": "<b>Pareto front</b>", "font": {"color": look.front}, "showarrow": False}
    figure.add_annotation(**label, x=x.high, y=y.coordinate(last), yshift=14 * _side(y), xanchor="right")


def mark_knee(figure: go.Figure, knee: pd.Series[Any], best: pd.DataFrame, x: Axis, y: Axis, look: Theme) -> None:
    """Rings the knee and says its numbers, and what it is where there is room."""
    a, b = (float(knee[axis.metric.column]) * axis.metric.scale for axis in (x, y))
    ring = {"size": 18, "color": look.knee, "symbol": "circle-open", "line": {"width": 2.5}}
    figure.add_trace(go.Scatter(x=[a], y=[b], mode="markers", marker=ring, name="knee", hoverinfo="skip"))
    numbers = " at ".join(axis.metric.text(float(knee[axis.metric.column])) for axis in (y, x))
    lines = [f"knee: {numbers}", *([escape(knee["what"])] if x.pixels >= WHAT_FROM else [])]
    # The text ends left of the knee, unless it would leave the chart there; then it is lifted above the front.
    end = max(min(x.place(a) - 18, x.pixels - FRONT_LABEL), GLYPH * max(map(len, lines)))
    reached = [height for cost, height in zip(x.numbers(best), y.numbers(best), strict=True) if x.place(cost) <= end]
    lift = max(24.0, _side(y) * (y.place(reached[-1]) - y.place(b)) + 14) if reached else 24.0
    lines[0] = f"<b>{lines[0]}</b>"
    figure.add_annotation(
        x=x.coordinate(a),
        y=y.coordinate(b),
        ax=end - x.place(a),
        ay=-_side(y) * lift,
        text="<br>".join(lines),
        xanchor="right",
        yanchor="bottom" if _side(y) > 0 else "top",
        align="right",
        arrowhead=0,
        arrowwidth=1.2,
        arrowcolor=look.knee,
        standoff=10,
        font={"color": look.knee},
    )


def _points(rows: pd.DataFrame, x: Axis, y: Axis) -> list[tuple[float, float]]:
    """Where annotations at the rows are put."""
    return [(x.coordinate(a), y.coordinate(b)) for a, b in zip(x.numbers(rows), y.numbers(rows), strict=True)]


def _depth(y: Axis, shown: float) -> float:
    """Pixels from the better end of y."""
    return y.pixels - y.place(shown) if y.metric.maximize else y.place(shown)


def _side(y: Axis) -> int:
    """1 where better is up, -1 where it is down."""
    return 1 if y.metric.maximize else -1
