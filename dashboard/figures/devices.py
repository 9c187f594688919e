"""Returns the figure of how far latencies agree on what is faster: a heat map of rank agreement, and their names."""

from __future__ import annotations

import math
from collections.abc import Hashable
from html import escape
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from dashboard.canvas import HEIGHT, THEMES, WIDTH, Theme, ThemeName, empty, framed
from explorer import results
from explorer.analysis.agreement import PROXIES, quantity
from explorer.metrics import LATENCY

NARROW = 560  # pixels, below which labels are numbers
NEGATIVE = "#D55E00"  # of a rank agreement; 0 is the paper, 1 the front's colour


def short(frame: pd.DataFrame, name: str) -> str:
    """A latency or count in a few words: "eager/b1", "nvidia_h200/eager/fp16/b1", "MACs"."""
    if name == "latency":
        return str(frame.attrs.get("latency") or "latency")
    return name.removeprefix(LATENCY) if name.startswith(LATENCY) else quantity(frame, name).label


def rank_agreement(
    table: pd.DataFrame,
    frame: pd.DataFrame,
    *,
    theme: ThemeName = "light",
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """Kendall's tau of every two latencies, and of MACs, parameters and activations with each, as a heat map.

    `table` is explorer.analysis.agreement.agreement of the frame.
    """
    look = THEMES[theme]
    timed = [name for name in results.latencies(frame) if name in {*table["first"], *table["second"]}]
    if not timed:
        return empty("No two latencies of the same architectures to compare.", look, width, HEIGHT)
    down = [*timed, *(name for name in PROXIES if name in set(table["second"]))]
    at = {(a, b): row for row in table.to_dict("records") for a, b in _both_ways(row["first"], row["second"])}
    narrow = (width or WIDTH) < NARROW
    numbered = {name: f"{i + 1} {short(frame, name)}" for i, name in enumerate(down)}
    low, high = int(table["n"].min()), int(table["n"].max())
    compared = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    subtitle = f"{compared} architectures · intervals that overlap count as ties · 1: the same order, 0: no relation"
    tall = height or 190 + 58 * len(down)
    figure = framed("Rank agreement (Kendall's tau-b)", subtitle, look, width, tall)
    tau = [[float(at[a, b]["tau"]) if (a, b) in at else math.nan for b in timed] for a in down]
    hover = [[_pair_text(at.get((a, b)), numbered[a], numbered[b]) for b in timed] for a in down]
    scale = [[0, NEGATIVE], [0.5, look.paper], [1, look.front]]
    figure.add_trace(
        go.Heatmap(
            z=tau,
            x=list(range(len(timed))),
            y=list(range(len(down))),
            zmin=-1,
            zmax=1,
            xgap=3,
            ygap=3,
            colorscale=scale,
            showscale=False,
            hovertext=hover,
            hovertemplate="%{hovertext}<extra></extra>",
        )
    )
    for i, a in enumerate(down):
        for j, b in enumerate(timed):
            text, ink = ("same", look.muted) if a == b else ("–", look.muted)
            if (a, b) in at:
                ink = _ink(tau[i][j], look)
                text = f"<b>{_decimals(tau[i][j])}</b>"
                if not narrow:
                    ends = f"{_decimals(at[a, b]['tau_lo'])} to {_decimals(at[a, b]['tau_hi'])}"
                    text += f"<br><span style='font-size:11px'>{ends}</span>"
            figure.add_annotation(x=j, y=i, text=text, showarrow=False, font={"color": ink, "size": 14})
    across = [str(i + 1) if narrow else _wrapped(numbered[name]) for i, name in enumerate(timed)]
    figure.update_xaxes(
        tickvals=list(range(len(timed))), ticktext=across, side="top", showline=False, ticks="", tickangle=0
    )
    figure.update_yaxes(
        tickvals=list(range(len(down))),
        ticktext=[_wrapped(numbered[name]) for name in down],
        autorange="reversed",
        showgrid=False,
        showline=False,
        automargin=True,
    )
    figure.update_layout(margin={"t": figure.layout.margin.t - 20 + (20 if narrow else 40), "b": 16})
    figure.layout.meta = {"alt": _agreement_alt(table, frame)}
    return figure


def _both_ways(first: str, second: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return (first, second), (second, first)


def _decimals(value: float) -> str:
    return "?" if math.isnan(value) else f"{value:.2f}".replace("-", "−")


def _wrapped(label: str) -> str:
    """A label whose long key is broken after its slashes."""
    if len(label) <= 18:
        return escape(label)
    lines = [""]
    for part in label.replace("/", "/\n").split("\n"):
        if lines[-1] and len(lines[-1]) + len(part) > 18:
            lines.append("")
        lines[-1] += part
    return "<br>".join(escape(line) for line in lines)


def _pair_text(row: dict[Hashable, Any] | None, a: str, b: str) -> str:
    if row is None:
        return f"{escape(a)} · {escape(b)}: not compared"
    return (
        f"<b>{escape(a)}</b> and <b>{escape(b)}</b><br>tau {row['tau']:.3f} [{row['tau_lo']:.3f}, {row['tau_hi']:.3f}]"
        f"<br>Spearman's rho {row['rho']:.3f} [{row['rho_lo']:.3f}, {row['rho_hi']:.3f}]<br>{row['n']:,} architectures,"
        f" {row['told']:.0%} of the pairs told apart by both,<br>{row['same']:.0%} of those in the same order"
    )


def _ink(tau: float, look: Theme) -> str:
    """Black or white, whichever reads better on the colour of a cell."""
    if math.isnan(tau):
        return look.muted
    full = look.front if tau >= 0 else NEGATIVE
    mixed = [abs(tau) * a + (1 - abs(tau)) * b for a, b in zip(_rgb(full), _rgb(look.paper), strict=True)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in mixed]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "#ffffff"


def _rgb(color: str) -> list[float]:
    return [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def _agreement_alt(table: pd.DataFrame, frame: pd.DataFrame) -> str:
    pairs = table[~table["second"].isin(PROXIES)]
    said = [f"Kendall's tau of {len(table)} pairs of latencies and counts."]
    for rows, order in ((pairs, True), (table[table["second"].isin(PROXIES)], False)):
        if len(rows):
            row = rows.sort_values("tau", ascending=order).iloc[0]
            which = "The least agreement of two latencies" if order else "The best count"
            names = f"{short(frame, row['first'])} and {short(frame, row['second'])}"
            said.append(f"{which}: {names}, {row['tau']:.2f} on {row['n']:,} architectures.")
    return " ".join(said)
