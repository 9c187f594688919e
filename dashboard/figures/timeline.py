"""Returns figures of when trials ran: each as a bar from its start to its end, or how many ended in each stretch."""

from __future__ import annotations

from html import escape
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboard.canvas import HEIGHT, THEMES, WIDTH, Theme, ThemeName, empty, framed, y_title
from explorer.analysis.pace import ends, throughput

MOST_BARS = 600  # trials up to which each is a bar
LEGEND_LINE = 22  # pixels
NARROWEST = 0.005  # of the whole time, below which a bar is drawn as a line


class Look(NamedTuple):
    """How a status is drawn and told; icons are Streamlit's."""

    color: str
    pattern: str
    shape: str
    icon: str
    word: str


STATUS: dict[str, Look] = {
    "complete": Look("#0072B2", "", "circle", ":material/check_circle:", "complete"),
    "duplicate": Look("#7A8B9E", "/", "hourglass", ":material/content_copy:", "repeats"),
    "infeasible": Look("#E69F00", ".", "square", ":material/block:", "over a limit"),
    "stopped": Look("#56B4E9", "\\", "cross", ":material/stop_circle:", "stopped early"),
    "failed": Look("#D55E00", "x", "x", ":material/error:", "failed"),
    "interrupted": Look("#CC79A7", "-", "triangle-down", ":material/pause_circle:", "interrupted"),
    "running": Look("#009E73", "|", "triangle-right", ":material/play_circle:", "running"),
    "waiting": Look("#7F4FC9", "+", "pentagon", ":material/hourglass_empty:", "waiting"),
}


def timeline(
    frame: pd.DataFrame,
    *,
    theme: ThemeName = "light",
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """When each trial ran, a row a status; of more than 600 trials how many ended in each stretch of time.

    Times are UTC. A trial that still runs is drawn to the last time that the study knows, and one that was interrupted
    for the seconds that it ran, not to the resume that closed it.
    """
    look = THEMES[theme]
    begun = frame["started"].notna()
    if not begun.any():
        return empty("No trial has begun yet.", look, width, height or HEIGHT)
    if int(begun.sum()) > MOST_BARS:
        return _binned(frame, look, width, height or HEIGHT)
    return _bars(frame[begun], look, width, height)


def _bars(rows: pd.DataFrame, look: Theme, width: int | None, height: int | None) -> go.Figure:
    rows = rows[["number", "status", "started"]].assign(finished=ends(rows))
    last = max(time for time in (rows["started"].max(), rows["finished"].max()) if pd.notna(time))
    there = [status for status in STATUS if (rows["status"] == status).any()][::-1]
    first = rows["started"].min()
    whole = (last - first).total_seconds() or 1.0
    span = f"{_time(first)} to {_time(last)} UTC"
    figure = framed("When trials ran", f"{len(rows):,} trials · {span}", look, width, height or 150 + 46 * len(there))
    for place, status in enumerate(there):
        style, part = STATUS[status], rows[rows["status"] == status]
        end = part["finished"].fillna(last)
        lasted = (end - part["started"]).dt.total_seconds()
        wide = lasted > NARROWEST * whole  # an edge parts neighbours, and makes what is too short to be seen a line
        edges = np.where(wide, look.paper, style.color)
        marker: dict[str, Any] = {"color": style.color, "line": {"color": edges, "width": np.where(wide, 0.8, 1.5)}}
        figure.add_trace(
            go.Bar(
                base=part["started"],
                x=lasted * 1000,  # a time axis takes the length of a bar in milliseconds
                y=[place] * len(part),
                orientation="h",
                width=0.55,
                name=style.word,
                opacity=0.75,
                marker=marker,
                customdata=part["number"],
                hovertext=[
                    f"<b>trial {number}</b>, {escape(style.word)}<br>{_time(start)} UTC, {_span(seconds)}"
                    for number, start, seconds in zip(part["number"], part["started"], lasted, strict=True)
                ],
                hovertemplate="%{hovertext}<extra></extra>",
            )
        )
    counts = rows["status"].astype("object").value_counts()
    words = [f"{STATUS[status].word} ({counts[status]:,})" for status in there]
    figure.update_xaxes(type="date", title={"text": "Time, UTC"})
    figure.update_yaxes(
        tickvals=list(range(len(there))), ticktext=words, automargin=True, range=[-0.6, len(there) - 0.4]
    )
    figure.update_layout(barmode="overlay")
    said = ", ".join(f"{counts[status]:,} {STATUS[status].word}" for status in reversed(there))
    figure.layout.meta = {"alt": f"When {len(rows):,} trials ran, from {span}: {said}."}
    return figure


def _binned(frame: pd.DataFrame, look: Theme, width: int | None, height: int) -> go.Figure:
    pixels = width or WIDTH
    table = throughput(frame, bins=60 if pixels > 560 else 30)
    if table.empty:
        return empty("No trial has ended yet.", look, width, height)
    step = table["end"].iloc[0] - table["start"].iloc[0]
    there = [status for status in STATUS if (table["status"] == status).any()]
    total = int(table["trials"].sum())
    span = f"{_time(table['start'].min())} to {_time(table['end'].max())} UTC"
    subtitle = f"{total:,} ended trials · {span} · a bar: {_span(step.total_seconds())}"
    figure = framed("Trials that ended, by status", subtitle, look, width, height)
    for status in there:
        style, part = STATUS[status], table[table["status"] == status]
        figure.add_trace(
            go.Bar(
                x=part["start"] + step / 2,
                y=part["trials"],
                width=step.total_seconds() * 920,
                name=style.word,
                marker={
                    "color": style.color,
                    "pattern": {"shape": style.pattern, "fillmode": "overlay", "fgcolor": look.paper, "size": 5},
                },
                hovertemplate=f"%{{y:,}} {style.word}<br>around %{{x}} UTC<extra></extra>",
            )
        )
    room = 16 + LEGEND_LINE * (1 + int(sum(7 * len(STATUS[s].word) + 60 for s in there) // (pixels - 80)))
    figure.update_layout(barmode="stack", showlegend=True, height=height + room)
    figure.update_layout(margin={"b": figure.layout.margin.b + room})
    figure.update_layout(
        legend={"orientation": "h", "x": 0, "xref": "paper", "y": 0, "yref": "container", "yanchor": "bottom"}
    )
    figure.update_xaxes(type="date", title={"text": "Time, UTC"})
    figure.update_yaxes(automargin=True, tickformat=",~f")
    y_title(figure, look, f"Trials in {_span(step.total_seconds())}")
    by_status = table.groupby("status")["trials"].sum()
    said = ", ".join(f"{by_status[status]:,} {STATUS[status].word}" for status in there)
    figure.layout.meta = {"alt": f"How many of {total:,} trials ended in each {_span(step.total_seconds())}: {said}."}
    return figure


def _time(moment: pd.Timestamp) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _span(seconds: float) -> str:
    """A duration in the unit that suits it.

    >>> _span(90), _span(3600), _span(0.4)
    ('1.5 min', '1 h', '0.4 s')
    """
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
