"""Names on a Pareto front, written beside what they name: no legend to look up.

All is placed on the better side of the front, where by its definition no trial can be: above it where y is maximized.
"""

from __future__ import annotations

from html import escape
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboard.canvas import Axis, Numbers, Theme, faint

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
    label: dict[str, Any] = {"font": {"color": look.reference, "size": 12, "shadow": _halo(look)}, "showarrow": False}
    label |= {"bgcolor": faint(look.paper, 0.7), "borderpad": 0}  # they lie among the dominated trials
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


def label_rows(
    figure: go.Figure,
    rows: pd.DataFrame,
    others: pd.DataFrame,
    x: Axis,
    y: Axis,
    text: str,
    color: str,
    look: Theme,
    taken: list[Box],
) -> list[Box]:
    """Names some rows beside the one farthest from the front where the name lies on none of the others.

    Returns the room that it takes, none where there is no room.
    """
    right, depth = _spots(rows, x, y)
    other_right, other_depth = _spots(others, x, y)
    points = _points(rows, x, y)
    width = GLYPH * len(text) + 15
    for i in np.argsort(-(right + depth), kind="stable")[:CANDIDATES]:
        box = Box(right[i] + 4, right[i] + 4 + width, depth[i] + 3, depth[i] + 19)
        if box.right >= x.pixels or box.worse >= y.pixels or any(map(box.meets, taken)):
            continue
        inside = (box.left - 3 < other_right) & (other_right < box.right + 3)
        inside &= (box.better - 3 < other_depth) & (other_depth < box.worse + 3)
        if not (inside & ((other_right != right[i]) | (other_depth != depth[i]))).any():
            font = {"color": color, "shadow": _halo(look)}
            label = {"text": text, "font": font, "showarrow": False, "xanchor": "left"}
            figure.add_annotation(x=points[i][0], y=points[i][1], xshift=4, yshift=-11 * _side(y), **label)
            return [box]
    return []


def mark_budget(figure: go.Figure, budget: float, x: Axis, y: Axis, look: Theme) -> list[Box]:
    """Draws a line at a displayed cost, names it, veils what costs more, and returns the room of the name."""
    if budget <= 0 and x.log:
        return []
    place = min(max(x.place(budget), 0.0), x.pixels)
    ends = [10**end if x.log else end for end in (x.low, x.high)]
    at = min(max(budget, ends[0]), ends[1])
    line = {"color": look.knee, "width": 1.8, "dash": "dash"}
    veil = {"fillcolor": look.paper, "opacity": 0.55, "line": {"width": 0}, "layer": "above"}
    figure.add_shape(type="rect", x0=at, x1=ends[1], y0=0, y1=1, yref="y domain", **veil)
    if at == budget:
        figure.add_shape(type="line", x0=at, x1=at, y0=0, y1=1, yref="y domain", line=line)
    left = place > x.pixels / 2
    text = f"budget {budget:,.6g} {x.metric.unit}"
    figure.add_annotation(
        text=f"<b>{text}</b>",
        font={"color": look.knee, "size": 12, "shadow": _halo(look)},
        showarrow=False,
        x=x.coordinate(at),
        xanchor="right" if left else "left",
        xshift=-5 if left else 5,
        y=0 if _side(y) > 0 else 1,  # the worse side: the better one has the names of the front
        yref="y domain",
        yanchor="bottom" if _side(y) > 0 else "top",
    )
    width = GLYPH * len(text) + 5
    start = place - width if left else place
    return [Box(start, start + width, y.pixels - 18, y.pixels)]


def label_front(
    figure: go.Figure, best: pd.DataFrame, x: Axis, y: Axis, look: Theme, text: str = "Pareto front"
) -> None:
    """Names the front at its right end."""
    last = float(y.numbers(best)[-1])
    label = {"text": f"<b>{text}</b>", "font": {"color": look.front}, "showarrow": False}
    figure.add_annotation(**label, x=x.high, y=y.coordinate(last), yshift=14 * _side(y), xanchor="right")


def mark_knee(figure: go.Figure, knee: pd.Series[Any], best: pd.DataFrame, x: Axis, y: Axis, look: Theme) -> None:
    """Rings the knee and says its numbers, and what it is where there is room."""
    a, b = (float(knee[axis.metric.column]) * axis.metric.scale for axis in (x, y))
    ring = {"size": 18, "color": look.knee, "symbol": "circle-open", "line": {"width": 2.5}}
    figure.add_trace(go.Scatter(x=[a], y=[b], mode="markers", marker=ring, name="knee", hoverinfo="skip"))
    numbers = " at ".join(axis.metric.text(float(knee[axis.metric.column])) for axis in (y, x))
    lines = [f"knee: {numbers}", *([escape(knee["what"])] if x.pixels >= WHAT_FROM else [])]
    # The text ends left of the knee, lifted above the front where it would leave the chart there.
    width = GLYPH * max(map(len, lines))
    left = x.place(a) - 18 - width
    anchor = "right" if left >= 0 else "left"
    if anchor == "left":  # no room: it begins above the knee
        left = max(min(x.place(a) - 18, x.pixels - FRONT_LABEL - width), 0.0)
    end = min(left + width, x.pixels - FRONT_LABEL) if anchor == "right" else left + width
    reached = [height for cost, height in zip(x.numbers(best), y.numbers(best), strict=True) if x.place(cost) <= end]
    lift = max(24.0, _side(y) * (y.place(reached[-1]) - y.place(b)) + 18) if reached else 24.0
    room = _depth(y, b)
    if lift + 18 * len(lines) > room:
        lines = lines[:1]
    lines[0] = f"<b>{lines[0]}</b>"
    figure.add_annotation(
        x=x.coordinate(a),
        y=y.coordinate(b),
        ax=(end if anchor == "right" else left) - x.place(a),
        ay=-_side(y) * max(min(lift, room - 18), 12.0),
        text="<br>".join(lines),
        xanchor=anchor,
        yanchor="bottom" if _side(y) > 0 else "top",
        align=anchor,
        arrowhead=0,
        arrowwidth=1.2,
        arrowcolor=look.knee,
        standoff=10,
        font={"color": look.knee, "shadow": _halo(look)},
    )


def _halo(look: Theme) -> str:
    """What keeps text readable on points and lines."""
    return ", ".join([f"0 0 3px {look.paper}"] * 3)


def _points(rows: pd.DataFrame, x: Axis, y: Axis) -> list[tuple[float, float]]:
    """Where annotations at the rows are put."""
    return [(x.coordinate(a), y.coordinate(b)) for a, b in zip(x.numbers(rows), y.numbers(rows), strict=True)]


def _spots(rows: pd.DataFrame, x: Axis, y: Axis) -> tuple[Numbers, Numbers]:
    """Pixels from the start of x, and from the better end of y, to each row."""
    return (
        np.array([x.place(a) for a in x.numbers(rows)]),
        np.array([_depth(y, b) for b in y.numbers(rows)]),
    )


def _depth(y: Axis, shown: float) -> float:
    """Pixels from the better end of y."""
    return y.pixels - y.place(shown) if y.metric.maximize else y.place(shown)


def _side(y: Axis) -> int:
    """1 where better is up, -1 where it is down."""
    return 1 if y.metric.maximize else -1
