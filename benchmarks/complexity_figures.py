"""The figures of docs/complexity.md: multiply-adds and time of attention blocks by map size."""

from __future__ import annotations

from math import log10
from pathlib import Path

import plotly.graph_objects as go

from benchmarks.complexity import KINDS, Found
from dashboard.canvas import CLASSES, HEIGHT, THEMES, WIDTH, ThemeName, faint, framed, log_ticks
from dashboard.picture import write_picture

SUFFIXES: dict[ThemeName, str] = {"light": "", "dark": "_dark"}


def write_figures(found: Found, out: Path) -> None:
    """MACs and times by map size, each for light and dark pages, beside the page."""
    conditions = found.by_side[0][0].latency.conditions
    about = f"{conditions.device_name}, {conditions.runtime}, {conditions.precision}, batch 1"
    about += f", {conditions.threads} thread" + ("s" if conditions.threads != 1 else "") if conditions.threads else ""
    case = found.by_side[0][0].case
    what = f"{case.width} channels, windows of {case.window}"
    for theme, suffix in SUFFIXES.items():
        macs = figure_of(found, theme, "Multiply-adds of attention blocks", f"{what}; linear maps included", False)
        time = figure_of(found, theme, "Time of attention blocks", f"{what}; {about}", True)
        write_picture(macs, out.with_name(f"{out.stem}_macs{suffix}.svg"))
        write_picture(time, out.with_name(f"{out.stem}_time{suffix}.svg"))


def figure_of(found: Found, theme: ThemeName, title: str, subtitle: str, timed: bool) -> go.Figure:
    """One line a mixer over tokens a side, both axes logarithmic, named at its right end."""
    look = THEMES[theme]
    figure = framed(title, subtitle, look, WIDTH, HEIGHT)
    sides = [group[0].case.side for group in found.by_side]
    lines: list[tuple[str, list[float], list[float], list[float]]] = []
    for place, kind in enumerate(KINDS):
        rows = [group[place] for group in found.by_side]
        if timed:
            values = [row.latency.median_ms for row in rows]
            lows, highs = ([row.latency.ci95_ms[end] for row in rows] for end in (0, 1))
        else:
            values = lows = highs = [row.counted / 1e6 for row in rows]
        if not timed and kind == "shifted window":
            continue  # the same as without shift
        lines.append(("window, shifted or not" if not timed and kind == "window" else kind, values, lows, highs))
    every = [value for _, values, _, _ in lines for value in values]
    names = _apart([(values[-1], name) for name, values, _, _ in lines], max(every) / min(every))
    for name, values, lows, highs in lines:
        colour, symbol = CLASSES[KINDS.index(name) if name in KINDS else KINDS.index("window")]
        figure.add_scatter(
            x=sides,
            y=values,
            mode="lines+markers",
            line={"color": colour, "width": 2.5},
            marker={"color": colour, "symbol": symbol, "size": 10, "line": {"color": look.paper, "width": 1}},
            error_y={
                "type": "data",
                "array": [high - value for high, value in zip(highs, values, strict=True)],
                "arrayminus": [value - low for low, value in zip(lows, values, strict=True)],
                "color": faint(colour, 0.6),
                "visible": timed,
            },
        )
        figure.add_annotation(
            x=log10(sides[-1]),
            y=names[name],
            text=name,
            showarrow=False,
            xanchor="left",
            xshift=12,
            font={"color": look.ink, "size": 13},
        )
    figure.update_xaxes(
        type="log",
        tickvals=sides,
        ticktext=[f"{side} x {side}" for side in sides],
        range=[log10(sides[0] * 0.9), log10(sides[-1] * 1.06)],
        title={"text": "tokens", "standoff": 10},
    )
    low, high = min(every) / 1.6, max(every) * 1.6
    ticks = log_ticks(low, high, 9)
    figure.update_yaxes(
        type="log", tickvals=ticks, ticktext=[f"{tick:,g}" for tick in ticks], range=[log10(low), log10(high)]
    )
    unit = "milliseconds of one forward pass" if timed else "million multiply-adds"
    figure.add_annotation(
        x=0,
        xref="paper",
        xanchor="left",
        y=1,
        yref="paper",
        yanchor="bottom",
        yshift=8,
        showarrow=False,
        text=f"{unit} (log scale) · lower is better",
        font={"color": look.muted, "size": 13},
    )
    figure.update_layout(margin={"r": 170})
    return figure


def _apart(ends: list[tuple[float, str]], span: float) -> dict[str, float]:
    """log10 heights of names at the lines' ends, in their order, so far apart that none covers another."""
    least = log10(span * 2.6) * 20 / (HEIGHT - 180)
    heights: dict[str, float] = {}
    below = -1e9
    for value, name in sorted(ends):
        below = max(log10(value), below + least)
        heights[name] = below
    return heights
