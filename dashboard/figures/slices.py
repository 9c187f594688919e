"""Returns the figure of an objective at each value of one choice of the architecture: a strip with its quartiles."""

from __future__ import annotations

from html import escape

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from dashboard.canvas import HEIGHT, THEMES, WIDTH, Numbers, ThemeName, called, empty, framed, y_axis
from explorer import results, structure
from explorer.analysis.slices import by_level, levels

MOST_POINTS = 600
JITTER = 0.24  # of the distance between two values, to either side


def slice_strips(
    frame: pd.DataFrame,
    column: str,
    objective: str,
    *,
    data: str = "",
    theme: ThemeName = "light",
    width: int | None = None,
    height: int = HEIGHT,
) -> go.Figure:
    """Complete trials by the value of a structure column: box of the quartiles and median of all, at most 600 points.

    The points shown are evenly spread over each value's order, so that its best and worst are among them.
    """
    look = THEMES[theme]
    (found,) = results.metrics_of(frame, [objective])
    metric = called(found, data)
    rows = results.candidates(frame, [objective])
    name = structure.label(column)
    if rows.empty or column not in rows or rows[column].notna().sum() == 0:
        return empty(f"No complete trial with {metric.label} and {name} yet.", look, width, height)
    table = by_level(frame, column, objective)
    level = levels(rows, column)
    values = rows[metric.column].to_numpy(dtype=float) * metric.scale
    at = {word: place for place, word in enumerate(table["level"])}
    place = np.array([at[word] for word in level])
    shown = _spread(place, values)
    subtitle = f"{len(rows):,} complete trials · boxes: quartiles and median of all"
    subtitle += f" · {len(shown):,} of them as points" if len(shown) < len(rows) else ""
    conditions = results.conditions(rows, objective) if results.interval_columns(found) else data
    heading = f"{metric.label} by {name}"
    figure = framed(heading, " · ".join(filter(None, (subtitle, conditions))), look, width, height)
    axis = y_axis(figure, metric, values, look)
    rng = np.random.default_rng(0)
    figure.add_trace(
        go.Scatter(
            x=place[shown] + rng.uniform(-JITTER, JITTER, len(shown)),
            y=values[shown],
            mode="markers",
            name="trials",
            marker={"size": 5, "color": look.cloud},
            opacity=0.5,
            customdata=rows["number"].to_numpy()[shown],
            hovertext=[
                f"<b>trial {rows['number'].iat[i]}</b><br>{escape(name)}: {escape(str(level.iat[i]))}"
                f"<br>{escape(metric.label)}: {metric.text(values[i] / metric.scale)}"
                for i in shown
            ],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    )
    spread = table[["least", "q1", "median", "q3", "most"]].to_numpy(dtype=float) * metric.scale
    figure.add_trace(
        go.Box(
            x=list(at.values()),
            lowerfence=spread[:, 0],
            q1=spread[:, 1],
            median=spread[:, 2],
            q3=spread[:, 3],
            upperfence=spread[:, 4],
            name="quartiles",
            width=2.4 * JITTER,
            line={"color": look.front, "width": 1.8},
            fillcolor="rgba(0,0,0,0)",
            hoverinfo="y",
        )
    )
    pixels = (figure.layout.width or WIDTH) / max(len(table), 1)
    widest = max(62, 7 * max(map(len, table["level"])))
    ticks = [f"{escape(word)}<br>n={n:,}" for word, n in zip(table["level"], table["trials"], strict=True)]
    figure.update_xaxes(
        tickvals=list(at.values()),
        ticktext=ticks,
        tickangle=0 if pixels > widest else 90,
        range=[-0.6, len(table) - 0.4],
    )
    figure.update_xaxes(title={"text": name}, automargin=True)
    best = table.sort_values("median", ascending=not metric.maximize, kind="stable").iloc[0]
    figure.layout.meta = {
        "alt": f"{metric.label} by {name}, {len(table)} values{' on a log scale' if axis.log else ''}. The best median,"
        f" {metric.text(best['median'])}, is at {best['level']} ({best['trials']:,} trials)."
    }
    return figure


def _spread(place: NDArray[np.int64], values: Numbers) -> NDArray[np.int64]:
    """Which points are drawn: of each value the same share, evenly along its order."""
    if len(values) <= MOST_POINTS:
        return np.arange(len(values))
    order = np.lexsort((values, place))
    kept = []
    for members in np.split(order, np.flatnonzero(np.diff(place[order])) + 1):
        n = min(len(members), max(2, round(MOST_POINTS * 0.95 * len(members) / len(values))))
        kept.append(members[np.unique(np.linspace(0, len(members) - 1, n).round().astype(int))])
    return np.concatenate(kept)[:MOST_POINTS]
