"""Returns the figure that compares a few architectures over all the latencies that they have: one row a latency."""

from __future__ import annotations

from html import escape
from textwrap import wrap

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboard.canvas import BOTTOM, CLASSES, HEIGHT, LEFT, RIGHT, THEMES, WIDTH, ThemeName, empty, framed, x_axis
from explorer import results
from explorer.metrics import METRICS

LINE, GLYPH = 16, 7.2  # pixels: of a line of a row's name, and of a character of it
MARK = 10  # pixels that a mark needs above and below its middle
DODGE = 6  # pixels between the marks of two architectures, so that equal ones show
ENTRY, LEGEND = 88, 20  # pixels of an entry of the legend: its width, and the height of a line of them


def latency_dumbbells(
    rows: pd.DataFrame,
    *,
    theme: ThemeName = "light",
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """The latencies of some trials: a row a device, runtime, precision and batch size, a mark an architecture.

    Bars are 95 % intervals; the line of a row reaches from the fastest to the slowest.
    """
    look, metric = THEMES[theme], METRICS["latency"]
    table = latency_table(rows)
    if table.empty:
        message = "No latency of these architectures: measure them with vitscape measure, and attach what comes out."
        return empty(message, look, width, height or HEIGHT // 2)
    names = list(dict.fromkeys(table["latency"]))
    title = "Latency under each set of conditions"
    figure = framed(title, "median of one forward pass of a batch, 95 % interval", look, width, HEIGHT)
    room, count = (width or WIDTH) - LEFT - RIGHT, table["number"].nunique()
    words = {name: wrap(str(some["conditions"].iloc[0]), max(20, int(room / GLYPH))) for name, some in _by_name(table)}
    half = DODGE * (count - 1) / 2 + MARK  # pixels, of the marks of a row
    named = LINE * max(map(len, words.values()))
    row = 2 * half + named + 6  # pixels
    below = BOTTOM + LEGEND * -(-count // max(1, room // ENTRY)) + 14
    figure.update_layout(margin={"b": below, "l": 20})
    figure.layout.height = height or int(figure.layout.margin.t + row * len(names) + below)
    places = {name: len(names) - i for i, name in enumerate(names)}
    x_axis(figure, metric, table[["lo_ms", "median_ms", "hi_ms"]].to_numpy(dtype=float).ravel())
    for name, some in _by_name(table):
        ends = [float(some["median_ms"].min()), float(some["median_ms"].max())]
        line = {"color": look.cloud, "width": 5}
        at = [places[str(name)]] * 2
        figure.add_trace(
            go.Scatter(x=ends, y=at, mode="lines", line=line, opacity=0.35, hoverinfo="skip", showlegend=False)
        )
        figure.add_annotation(
            text="<br>".join(escape(line) for line in words[name]),
            x=0,
            xref="paper",
            xanchor="left",
            align="left",
            y=at[0],
            yanchor="bottom",
            yshift=half,
            showarrow=False,
            font={"color": look.muted, "size": 12},
        )
    for i, (number, some) in enumerate(table.groupby("number", sort=False)):
        color, symbol = CLASSES[i % len(CLASSES)]
        middle = some["median_ms"].to_numpy(dtype=float)
        known = np.isfinite(some[["lo_ms", "hi_ms"]].to_numpy(dtype=float)).all(axis=1)
        error = {
            "type": "data",
            "symmetric": False,
            "array": np.where(known, some["hi_ms"] - middle, 0),
            "arrayminus": np.where(known, middle - some["lo_ms"], 0),
            "color": color,
            "thickness": 1.6,
            "width": 5,
        }
        marker = {"color": color, "symbol": symbol, "size": 11, "line": {"color": look.ink, "width": 1}}
        figure.add_trace(
            go.Scatter(
                x=middle,
                y=[places[name] - DODGE / row * (i - (count - 1) / 2) for name in some["latency"]],
                mode="markers",
                name=f"trial {number}",
                marker=marker,
                error_x=error,
                customdata=some["number"],
                hovertext=[_said(row) for row in some.itertuples()],
                hovertemplate="%{hovertext}<extra></extra>",
                cliponaxis=False,
            )
        )
    figure.update_yaxes(range=[1 - half / row, 1 - half / row + len(names)], visible=False)
    figure.update_xaxes(showgrid=True)
    legend = {"orientation": "h", "x": 0, "xref": "container", "y": 0, "yref": "container", "yanchor": "bottom"}
    figure.update_layout(showlegend=True, legend={**legend, "font": {"color": look.muted, "size": 12}})
    figure.layout.meta = {"alt": _alt(table, len(names))}
    return figure


def _by_name(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The rows of each latency, by its name."""
    return [(str(name), some) for name, some in table.groupby("latency", sort=False)]


def latency_table(rows: pd.DataFrame) -> pd.DataFrame:
    """number, latency (its name), conditions, median_ms, lo_ms, hi_ms, verdict: one row a trial and latency."""
    found = []
    for name in results.latencies(rows):
        (metric,) = results.metrics_of(rows, [name])
        low, high = results.interval_columns(metric) or (metric.column, metric.column)
        timed = rows[rows[metric.column].notna()]
        columns = ["number", metric.column, low, high, results.verdict_column(metric)]
        part = timed[columns].set_axis(["number", "median_ms", "lo_ms", "hi_ms", "verdict"], axis=1)
        found.append(part.astype({"verdict": "object"}).assign(latency=name, conditions=results.conditions(rows, name)))
    columns = ["number", "latency", "conditions", "median_ms", "lo_ms", "hi_ms", "verdict"]
    return pd.concat(found, ignore_index=True)[columns] if found else pd.DataFrame(columns=columns)


def _said(row: object) -> str:
    """A mark in words."""
    values = {name: getattr(row, name) for name in ("number", "conditions", "median_ms", "lo_ms", "hi_ms", "verdict")}
    verdict = "" if pd.isna(values["verdict"]) else f"<br>verdict: {escape(str(values['verdict']))}"
    known = not (pd.isna(values["lo_ms"]) or pd.isna(values["hi_ms"]))
    interval = f" [{values['lo_ms']:.3g}, {values['hi_ms']:.3g}]" if known else ""
    return (
        f"<b>trial {values['number']}</b><br>{values['median_ms']:.3g} ms{interval}"
        f"<br>{escape(str(values['conditions']))}{verdict}"
    )


def _alt(table: pd.DataFrame, count: int) -> str:
    fastest = table.loc[table.groupby("latency", sort=False)["median_ms"].idxmin()]
    said = "; ".join(
        f"{conditions}: trial {number} is fastest with {ms:.3g} ms"
        for conditions, number, ms in zip(fastest["conditions"], fastest["number"], fastest["median_ms"], strict=True)
    )
    return f"Marks of {table['number'].nunique()} architectures under {count} sets of conditions. {said}."
