"""Draws what has a cost and no place on the other axis: in lanes of their own below the chart, over the same cost axis.

Infeasible trials were not trained, and a published accuracy is of another recipe: neither has a height in the chart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import pandas as pd
import plotly.graph_objects as go

from dashboard.canvas import Axis, Theme
from dashboard.figures.labels import GLYPH
from dashboard.figures.landscape import Landscape

ROW = 17  # pixels of height for one row of marks
GAP = 8  # pixels between the chart and its lanes
TITLE = 15  # pixels for what a lane is
MOST_ROWS = 5


@dataclass(frozen=True)
class Lane:
    """Marks in rows, each with its displayed cost, name, hover text and trial number, if any."""

    title: str
    symbol: str
    costs: list[float]
    names: list[str]
    row: list[int]  # 0 is the upper one
    sides: list[str]  # of its mark a name stands on: right, left, "" for none
    hover: list[str]
    numbers: list[int]

    @property
    def pixels(self) -> int:
        return TITLE + ROW * (max(self.row) + 1)


def rows(scene: Landscape, references: pd.DataFrame | None, x: Axis) -> list[Lane]:
    """The lanes that are needed: of trials without y, and of published models."""
    found = []
    lost = scene.beside[scene.beside[scene.y.column].isna()]
    if len(lost):
        words = " and ".join(sorted(map(str, lost["status"].unique())))
        more = f" of {scene.beside_count:,}" if scene.beside_count > len(scene.beside) else ""
        title = f"{words}, {scene.y.label} not measured: {len(lost):,}{more}"
        costs, none = [float(cost) for cost in x.numbers(lost)], [""] * len(lost)
        numbers = [int(one) for one in lost["number"]]
        texts = [scene.texts[number] for number in numbers]
        found.append(Lane(title, "x-thin", costs, none, [0] * len(lost), none, texts, numbers))
    if references is not None and len(references):
        near = references.sort_values("value", kind="stable")
        costs = [float(cost) * scene.x.scale for cost in near["value"]]
        names = [str(name) for name in near["name"]]
        title = "published models, by their cost alone"
        found.append(Lane(title, "diamond", costs, names, *_stacked(costs, names, x), list(near["text"]), []))
    return found


def height(lanes: Sequence[Lane]) -> int:
    """Pixels that the lanes take of the chart."""
    return sum(lane.pixels for lane in lanes) + GAP * bool(lanes)


def draw(figure: go.Figure, lanes: Sequence[Lane], x: Axis, look: Theme) -> None:
    """Divides the chart between its y axis and the lanes below, which have an axis without numbers."""
    if not lanes:
        return
    margin = figure.layout.margin
    taken = height(lanes)
    whole = figure.layout.height - margin.t - margin.b
    room = taken - GAP
    axis = {"domain": [0, room / whole], "range": [room, 0], "visible": False, "fixedrange": True, "anchor": "x"}
    figure.update_layout(yaxis={"domain": [taken / whole, 1]}, yaxis2=axis, xaxis={"anchor": "y2"})
    top = 0
    for lane in lanes:
        cross = lane.symbol == "x-thin"
        color = look.muted if cross else look.reference
        marker = {"symbol": lane.symbol, "size": 7 if cross else 9, "color": color}
        heights = [top + TITLE + ROW * (row + 0.5) for row in lane.row]
        figure.add_trace(
            go.Scatter(
                x=lane.costs,
                y=heights,
                yaxis="y2",
                mode="markers+text",
                name=lane.title,
                marker=marker | {"line": {"width": 1.6 if cross else 0, "color": color}},
                text=[escape(name) if side else "" for name, side in zip(lane.names, lane.sides, strict=True)],
                textposition=[f"middle {side or 'right'}" for side in lane.sides],
                textfont={"color": color, "size": 11},
                customdata=lane.numbers or None,
                hovertext=lane.hover,
                hovertemplate="%{hovertext}<extra></extra>",
                cliponaxis=False,
            )
        )
        note = {"text": escape(lane.title), "font": {"color": look.muted, "size": 11}, "showarrow": False}
        place = {"x": 0, "xref": "paper", "xanchor": "left", "y": top, "yref": "y2", "yanchor": "top"}
        figure.add_annotation(**note, **place)
        if not cross:
            line = {"color": look.reference, "width": 1, "dash": "dot"}
            for cost in lane.costs:
                figure.add_shape(
                    type="line", x0=cost, x1=cost, y0=0, y1=1, yref="y domain", line=line, opacity=0.3, layer="below"
                )
        top += lane.pixels


def _stacked(costs: Sequence[float], names: Sequence[str], x: Axis) -> tuple[list[int], list[str]]:
    """The row of each mark, and on which side of it its name stands ("" where there is no room), so that none meet."""
    ends: list[float] = []  # of each row, the last pixel taken
    row, sides = [], []
    for cost, name in zip(costs, names, strict=True):
        start, width = x.place(cost), GLYPH * len(name) + 14
        side = "right" if start + width < x.pixels + 20 else "left"
        begin, end = (start - 6, start + width) if side == "right" else (start - width, start + 6)
        free = next((i for i, taken in enumerate(ends) if taken < begin), None)
        if free is None and len(ends) < MOST_ROWS:
            ends.append(-1e9)
            free = len(ends) - 1
        if free is None:  # the mark alone, on the row that ends first; the name is in its hover text
            free, side, end = ends.index(min(ends)), "", start + 6
        row.append(free)
        sides.append(side)
        ends[free] = max(ends[free], end)
    return row, sides
