"""Returns figures of one latency against another, and of the predicted against the measured, log against log."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboard.canvas import HEIGHT, THEMES, WIDTH, Axis, Theme, ThemeName, empty, faint, framed, x_axis, y_axis
from dashboard.figures.density import EXACT, density_image, plot_places
from dashboard.figures.devices import NARROW, short
from dashboard.figures.labels import GLYPH, Box
from explorer import results
from explorer.analysis import held_out
from explorer.analysis.agreement import PROXIES, measured, movers, quantity, values
from explorer.analysis.transfer import front_numbers
from explorer.metrics import METRICS, Metric

POINTS = 600  # drawn where there are too many to draw all; beneath them a picture of how dense all lie
NAMED = 5  # movers that are named in the chart
BAND = 0.10  # relative error that the band of predictions marks
OFF = "on neither front"


def latency_scatter(
    frame: pd.DataFrame,
    first: str,
    second: str,
    *,
    goal: str = "accuracy",
    theme: ThemeName = "light",
    width: int | None = None,
    height: int = HEIGHT,
) -> go.Figure:
    """Every architecture's latency under two conditions (or a count on x), log against log where they span much.

    The line is the usual ratio: what lies above it is slow on y for what it takes on x. The members of either front
    (with the best `goal`) are marked, and those that change rank most, beyond their intervals, are numbered.
    """
    look = THEMES[theme]
    names = short(frame, first), short(frame, second)
    narrow = (width or WIDTH) < NARROW
    x, y = (_labelled(frame, name, narrow) for name in (first, second))
    points = _points(frame, first, second, goal, names)
    if len(points) < 2:
        message = f"No two architectures with both {names[0]} and {names[1]}: measure and attach the same ones."
        return empty(message, look, width, height)
    moved = movers(frame, first, second)
    named = moved.head(NAMED)
    kept = points["kind"].ne(OFF) | points["number"].isin(named["number"])
    drawn = points if len(points) <= EXACT else points[kept | _sampled(kept.to_numpy())]
    against = "closed form, batch 1" if first in PROXIES else results.conditions(frame, first)
    some = f" · {len(drawn):,} of {len(points):,} architectures drawn" if len(drawn) < len(points) else ""
    subtitle = f"{results.conditions(frame, second)} against {against}{some}"
    figure = framed(f"{names[1]} against {names[0]}", subtitle, look, width, height)
    _legend(figure, look)
    across = x_axis(figure, x, points["x"].to_numpy() * x.scale)
    up = y_axis(figure, y, points["y"].to_numpy() * y.scale, look)
    if len(drawn) < len(points):
        _cloud(figure, across, up, points, look)
    if first not in PROXIES:  # a time is not proportional to a count, not even usually
        _usual_ratio(figure, across, up, float((points["y"] / points["x"]).median()), look)
    styles: dict[str, dict[str, Any]] = {
        OFF: {"size": 6, "color": look.cloud, "opacity": 0.6},
        f"front of {names[0]} alone": {"size": 9, "color": look.knee, "symbol": "diamond"},
        f"front of {names[1]} alone": {"size": 9, "color": look.reference, "symbol": "square"},
        "both fronts": {"size": 10, "color": look.front},
    }
    for kind, style in styles.items():
        some_points = drawn[drawn["kind"] == kind]
        hover = [
            f"<b>trial {row.number}</b><br>{escape(str(row.what))}<br>{escape(x.label)}: {x.text(row.x)}"
            f"<br>{escape(y.label)}: {y.text(row.y)}"
            for row in _rows(some_points)
        ]
        figure.add_trace(_dots(some_points, x.scale, y.scale, hover, kind, style))
    taken: list[Box] = []
    for row in _rows(points.set_index("number", drop=False).loc[named["number"]]):
        _name(figure, across, up, (row.x * x.scale, row.y * y.scale), f"trial {row.number}", look, taken)
    both = int((points["kind"] == "both fronts").sum())
    one = both + int((points["kind"] == f"front of {names[0]} alone").sum())
    figure.layout.meta = {
        "alt": f"Scatter of {len(points):,} architectures: {y.quantity} against {x.quantity}. Of {one} on the front of"
        f" {names[0]}, {both} are on the front of {names[1]} too; {len(moved):,} change rank beyond their intervals."
    }
    return figure


def predicted_measured(
    table: pd.DataFrame,
    *,
    conditions: str = "",
    theme: ThemeName = "light",
    width: int | None = None,
    height: int = HEIGHT,
) -> go.Figure:
    """Each architecture's predicted latency against the measured one, with the band of ±10 %.

    `table` is explorer.analysis.held_out.held_out: nothing is predicted by a predictor that has seen it.
    """
    look = THEMES[theme]
    if table.empty:
        return empty("No latency to predict: measure 25 architectures or more.", look, width, height)
    said = held_out.summary(table)
    figure = framed("Predicted against measured", " · ".join(filter(None, [conditions, said])), look, width, height)
    spread = np.concatenate([table["measured"], table["predicted"]]).astype(float)
    _legend(figure, look)
    across = x_axis(figure, replace(METRICS["latency"], label="Measured latency"), spread)
    ends_of = table[["predicted_lo", "predicted_hi"]].to_numpy(dtype=float).ravel()
    reached = np.concatenate([spread, ends_of[np.isfinite(ends_of) & (ends_of > 0)]])
    up = y_axis(figure, replace(METRICS["latency"], label="Predicted latency"), reached, look)
    for text in (figure.layout.xaxis.title, figure.layout.annotations[0]):  # neither a long nor a short one is better
        text.text = text.text.replace("lower is better", "line: exact")
    ends = np.array([spread.min() * (1 - BAND), spread.max() * (1 + BAND)])
    line = {"x": ends, "mode": "lines", "hoverinfo": "skip"}
    edge = {"width": 1, "color": look.front, "dash": "dot"}
    figure.add_trace(go.Scatter(**line, y=ends * (1 - BAND), line=edge, showlegend=False))
    tint = faint(look.front, 0.12)
    band = go.Scatter(**line, y=ends * (1 + BAND), line=edge, fill="tonexty", fillcolor=tint, name="±10 %")
    figure.add_trace(band)
    exact = go.Scatter(**line, y=ends, line={"width": 1.4, "color": look.muted}, showlegend=False)
    figure.add_trace(exact)
    points = table.assign(x=table["measured"], y=table["predicted"])
    styles: tuple[tuple[str, pd.Series[bool], dict[str, Any]], ...] = (
        ("in the domain", points["in_domain"], {"size": 8, "color": look.front}),
        ("outside of the domain", ~points["in_domain"], {"size": 9, "color": look.knee, "symbol": "diamond-open"}),
    )
    for name, inside, style in styles:
        some = points[inside]
        if len(some):
            hover = [_prediction(row) for row in _rows(some)]
            error: dict[str, Any] = {"array": some["predicted_hi"] - some["y"]}
            error |= {"arrayminus": some["y"] - some["predicted_lo"]}
            error |= {"type": "data", "symmetric": False, "thickness": 0.8, "width": 0, "color": style["color"]}
            figure.add_trace(_dots(some, 1, 1, hover, name, style).update(error_y=error))
    (worst,) = _rows(table[table["error"].abs() == table["error"].abs().max()].head(1))
    at = float(worst.measured), float(worst.predicted)
    _name(figure, across, up, at, f"trial {worst.number}: {worst.error:+.0f} %", look, [], look.paper)
    figure.layout.meta = {"alt": f"Predicted against measured latency. {said}."}
    return figure


def _points(frame: pd.DataFrame, first: str, second: str, goal: str, names: tuple[str, str]) -> pd.DataFrame:
    """number, what, x, y (base units) and kind of every architecture that has both."""
    rows = measured(frame)
    one, other = values(rows, first).middle, values(rows, second).middle
    both = np.isfinite(one) & np.isfinite(other)
    rows = rows[both]
    points = pd.DataFrame({"number": rows["number"], "what": rows["what"], "x": one[both], "y": other[both]})
    on_first, on_second = (points["number"].isin(front_numbers(rows, name, goal)) for name in (first, second))
    kinds = ["both fronts", f"front of {names[0]} alone", f"front of {names[1]} alone"]
    kind = np.select([on_first & on_second, on_first, on_second], kinds, default=OFF)
    return points.assign(kind=kind).reset_index(drop=True)


def _sampled(kept: np.ndarray[Any, np.dtype[np.bool_]]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which of the others are drawn, so that there are no more than POINTS in all; always the same."""
    others = np.flatnonzero(~kept)
    chosen = np.zeros(len(kept), dtype=bool)
    room = max(POINTS - int(kept.sum()), 0)
    chosen[others if len(others) <= room else np.random.default_rng(0).choice(others, room, replace=False)] = True
    return chosen


def _labelled(frame: pd.DataFrame, name: str, narrow: bool) -> Metric:
    """The metric, its label saying which latency it is where there is room; the title says it as well."""
    found = quantity(frame, name)
    if name in PROXIES:
        return found
    return replace(found, label="Latency" if narrow else f"Latency {short(frame, name)}")


def _cloud(figure: go.Figure, x: Axis, y: Axis, points: pd.DataFrame, look: Theme) -> None:
    """All points as a picture of how dense they lie."""
    places = [plot_places(points[name].to_numpy() * axis.metric.scale, axis) for name, axis in (("x", x), ("y", y))]
    room = x.pixels, y.pixels
    image = density_image(places[0], places[1], (x.low, x.high), (y.low, y.high), look.cloud, pixels=room)
    figure.add_layout_image(image)


def _usual_ratio(figure: go.Figure, x: Axis, y: Axis, ratio: float, look: Theme) -> None:
    """The line on which y is x times the median ratio."""
    start, end = (10**x.low, 10**x.high) if x.log else (max(x.low, 0.0), x.high)
    at = np.geomspace(start, end, 50) if x.log else np.linspace(start, end, 50)  # a curve where one axis alone is log
    inside = (ratio * at > (10**y.low if y.log else y.low)) & (ratio * at < (10**y.high if y.log else y.high))
    trace = {"x": at[inside], "y": ratio * at[inside], "mode": "lines", "hoverinfo": "skip"}
    line = {"width": 1.4, "color": look.muted, "dash": "dash"}
    figure.add_trace(go.Scatter(**trace, line=line, name=f"usual ratio ×{ratio:.3g}"))


def _rows(table: pd.DataFrame) -> list[Any]:
    """The rows as tuples with names."""
    return list(table.itertuples())


def _dots(
    rows: pd.DataFrame, x_scale: float, y_scale: float, hover: list[str], name: str, style: dict[str, Any]
) -> go.Scatter:
    return go.Scatter(
        x=rows["x"] * x_scale,
        y=rows["y"] * y_scale,
        mode="markers",
        name=escape(name),
        marker=style,
        customdata=rows["number"],
        hovertext=hover,
        hovertemplate="%{hovertext}<extra></extra>",
        cliponaxis=False,
    )


def _name(
    figure: go.Figure,
    x: Axis,
    y: Axis,
    at: tuple[float, float],
    text: str,
    look: Theme,
    taken: list[Box],
    background: str | None = None,
) -> None:
    """Writes beside a point what it is, towards the middle of the chart; not over a name that is there already."""
    right, down = x.place(at[0]), y.pixels - y.place(at[1])
    left = right > x.pixels / 2
    start = right - 9 - GLYPH * len(text) if left else right + 9
    box = Box(start, start + GLYPH * len(text), down - 8, down + 8)
    if any(box.meets(other) for other in taken):
        return
    taken.append(box)
    figure.add_annotation(
        x=x.coordinate(at[0]),
        y=y.coordinate(at[1]),
        text=text,
        showarrow=False,
        xanchor="right" if left else "left",
        xshift=-9 if left else 9,
        bgcolor=background,
        font={"color": look.ink, "size": 12, "shadow": ", ".join([f"0 0 3px {look.paper}"] * 3)},
    )


def _legend(figure: go.Figure, look: Theme) -> None:
    """The marks' names below the axis, on a narrow chart one below the other."""
    legend = {"orientation": "h", "x": 0, "y": 0, "yref": "container", "yanchor": "bottom"}
    figure.update_layout(showlegend=True, legend={**legend, "font": {"color": look.muted, "size": 12}})
    figure.update_layout(margin={"b": 164 if (figure.layout.width or WIDTH) < NARROW else 96})


def _prediction(row: Any) -> str:
    inside = "" if row.in_domain else f"<br>outside of the domain: {escape(row.why)}"
    return (
        f"<b>trial {row.number}</b><br>{escape(str(row.what))}<br>measured {row.measured:.3g} ms"
        f"<br>predicted {row.predicted:.3g} ms [{row.predicted_lo:.3g}, {row.predicted_hi:.3g}],"
        f" {row.error:+.1f} %{inside}"
    )
