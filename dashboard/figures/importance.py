"""Returns the figure of what an objective depends on: choices of the architecture by what each is worth."""

from __future__ import annotations

import textwrap
from html import escape

import plotly.graph_objects as go

from dashboard.canvas import HEIGHT, THEMES, WIDTH, ThemeName, framed, y_title
from explorer.analysis.importance import REFITS, Importance
from explorer.metrics import Metric

SHOWN = 15  # choices
ROW = 26  # pixels
WEAK = 0.2  # held-out R² below which the forest explains little
NARROW = 560  # pixels
SURE = 2.0  # standard deviations over the refits that an importance lies above 0


def importance_dots(
    found: Importance,
    metric: Metric,
    *,
    shown: int = SHOWN,
    theme: ThemeName = "light",
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """The most important choices as dots from 0, with the least and most of the refits as whiskers.

    A full dot has all refits above 0, and their mean above two of their standard deviations; others are open and grey.
    """
    look = THEMES[theme]
    rows = found.table.head(shown).iloc[::-1]
    low, mean, high = found.r2
    sample = f"{found.trials:,} trials" if found.trials == found.of else f"{found.trials:,} of {found.of:,} trials"
    subtitle = (
        f"loss of held-out R² when a choice is permuted · the forest's R²: {mean:.2f} ({low:.2f} to {high:.2f})"
        f" · {sample} · whiskers: least and most of {REFITS} refits"
        f" · full dots: all refits above 0, their mean above {SURE:g} of their standard deviations"
    )
    pixels = width or WIDTH
    narrow = pixels < NARROW
    figure = framed(f"What {metric.label} depends on", subtitle, look, width, height or HEIGHT)
    if height is None:
        around = figure.layout.margin.t + figure.layout.margin.b
        figure.update_layout(height=around + (ROW + 14 * narrow) * max(len(rows), 3))
    deviation = found.deviation.reindex(rows["column"]).to_numpy(dtype=float)
    told = ((rows["low"] > 0) & (rows["importance"] > SURE * deviation)).to_numpy(dtype=bool)
    names = ["<br>".join(map(escape, textwrap.wrap(name, 17 if narrow else 40)[:3])) for name in rows["choice"]]
    for name, mask, color, symbol in (
        ("all refits above 0", told, look.front, "circle"),
        ("at or near 0", ~told, look.cloud, "circle-open"),
    ):
        part = rows[mask]
        if part.empty:
            continue
        error = {"type": "data", "symmetric": False, "color": color, "thickness": 1.6, "width": 5}
        error |= {"array": part["high"] - part["importance"], "arrayminus": part["importance"] - part["low"]}
        places = [i for i, kept in enumerate(mask) if kept]
        hover = [
            f"<b>{escape(str(row['choice']))}</b><br>{row['importance']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
            f" of R²<br>{row['values']} values, {row['trials']:,} trials"
            for row in part.to_dict("records")
        ]
        figure.add_trace(
            go.Scatter(
                x=part["importance"],
                y=places,
                mode="markers",
                name=name,
                marker={"size": 10, "color": color, "symbol": symbol, "line": {"width": 2, "color": color}},
                error_x=error,
                hovertext=hover,
                hovertemplate="%{hovertext}<extra></extra>",
                cliponaxis=False,
            )
        )
    figure.add_vline(x=0, line={"color": look.muted, "width": 1})
    most, least = float(rows["high"].max()), min(float(rows["low"].min()), 0.0)
    pad = 0.03 * (most - least or 1.0)
    figure.update_xaxes(title={"text": "Loss of R² · more: more important"}, range=[least - pad, most + pad])
    figure.update_yaxes(tickvals=list(range(len(rows))), ticktext=names, automargin=True, range=[-0.6, len(rows) - 0.4])
    if mean < WEAK:
        y_title(figure, look, "The forest explains little: read no order into this yet.")
    first = "; ".join(f"{row['choice']} {row['importance']:.2f}" for row in found.table.head(3).to_dict("records"))
    figure.layout.meta = {
        "alt": f"What {metric.label} depends on, by loss of held-out R²: {first}. The forest's R² is {mean:.2f}"
        f" on {found.trials:,} trials."
    }
    return figure
