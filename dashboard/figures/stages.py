"""Returns figures of what the parts of architectures cost: bars by stage or block, and shares side by side."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import pandas as pd
import plotly.graph_objects as go

from dashboard.canvas import CLASSES, HEIGHT, THEMES, WIDTH, Theme, ThemeName, empty, framed
from dashboard.figures.hover import share_text
from explorer.analysis.distribution import COMPLEXITY
from explorer.metrics import Metric

NARROW = 560  # pixels, below which labels are short
BAR, AROUND = 34, 150  # pixels: of a row with its gap, and of what is around the rows
PARTS = {  # part: what it is called, the same written in its bar, colour
    "stem": ("stem", "stem", CLASSES[1][0]),
    "downsample": ("downsampling", "down", CLASSES[6][0]),
    "local": ("local convolution", "local", CLASSES[3][0]),
    "mixer": ("token mixer", "mixer", CLASSES[0][0]),
    "ffn": ("FFN", "FFN", CLASSES[2][0]),
    "head": ("head", "head", CLASSES[5][0]),
}
SHADES = ("#08306B", "#2171B5", "#6BAED6", "#BDD7E7", "#FDD49E", "#FDBB84", "#E34A33", "#7F0000")  # of stages in order
GLYPH = 7.5  # pixels, a character in a bar
LEGEND_LINE = 20  # pixels


def stage_costs(
    table: pd.DataFrame,
    name: str = "macs",
    *,
    by_block: bool = False,
    before: pd.DataFrame | None = None,
    theme: ThemeName = "light",
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """MACs, parameters or activations of each stage, by part; by block, those of one block of each stage.

    `table` and `before` are analysis.whatif.cost_by_part of an architecture and of the one that it is compared with,
    whose stages are marked by diamonds.
    """
    look, metric = THEMES[theme], COMPLEXITY[name]
    rows = _rows(table, name, by_block)
    total = float((table[name] * table["blocks"]).sum()) * metric.scale
    if not total:
        return empty(f"No {metric.label} to show.", look, width, height or HEIGHT)
    order = list(dict.fromkeys(rows["row"]))
    title = f"{metric.label} by {'block' if by_block else 'stage'}: {short_number(total)} {metric.unit} in all"
    tall = height or AROUND + 60 + BAR * len(order)
    figure = framed(title, "closed form, one image · lower is better", look, width, tall)
    sums = rows.groupby("row", sort=False)["value"].sum().reindex(order) * metric.scale
    earlier = pd.Series(dtype="float64")
    if before is not None:
        earlier = (_rows(before, name, by_block).groupby("row", sort=False)["value"].sum() * metric.scale).reindex(
            order
        )
    reach = max(float(sums.max()), float(earlier.max()) if len(earlier) else 0.0)
    narrow = (width or WIDTH) < NARROW
    full, pixels = reach * (1.45 if narrow else 1.16), (width or WIDTH) - (120 if narrow else 160)
    for part, (called, word, color) in PARTS.items():
        some = rows[rows["part"] == part]
        if some.empty:
            continue
        shown = some["value"] * metric.scale
        figure.add_trace(
            go.Bar(
                x=shown,
                y=some["row"],
                orientation="h",
                name=called,
                marker={"color": color, "line": {"color": look.paper, "width": 1}},
                text=[word if value / full * pixels > GLYPH * len(word) + 8 else "" for value in shown],
                textposition="inside",
                insidetextanchor="middle",
                textfont={"color": _on(color), "size": 12},
                textangle=0,
                constraintext="none",
                hovertext=[
                    _said(row, called, value, total, metric) for row, value in zip(some["row"], shown, strict=True)
                ],
                hovertemplate="%{hovertext}<extra></extra>",
            )
        )
    if len(earlier := earlier.dropna()):
        diamond = {"symbol": "diamond-open", "size": 11, "color": look.ink, "line": {"width": 2}}
        figure.add_trace(
            go.Scatter(
                x=earlier,
                y=earlier.index,
                mode="markers",
                name="original",
                marker=diamond,
                hovertext=[f"original: {short_number(value)} {metric.unit}" for value in earlier],
                hovertemplate="%{y}<br>%{hovertext}<extra></extra>",
            )
        )
    for row, value in sums.items():
        share = f" · {share_text(value / total)}" if not by_block else ""
        text = f"{short_number(value)}{share}"
        at = max(value, float(earlier.get(row, 0.0)))
        font = {"color": look.muted, "size": 12}
        figure.add_annotation(
            x=at, y=row, text=text, xanchor="left", xshift=9, showarrow=False, font=font, yanchor="middle"
        )
    _rows_down(figure, order, look)
    figure.update_xaxes(range=[0, full])
    figure.update_xaxes(title={"text": f"{metric.quantity} · lower is better", "standoff": 8}, nticks=6)
    figure.update_layout(barmode="stack", bargap=0.35)
    most = str(sums.idxmax())
    said = "; ".join(f"{row} {short_number(value)}" for row, value in sums.items())
    parts = f"{short_number(total)} in all; most in {most}. {said}."
    figure.layout.meta = {"alt": f"Bars of {metric.quantity} by {'block' if by_block else 'stage'}, {parts}"}
    return figure


def stage_shares(
    tables: Mapping[str, pd.DataFrame],
    name: str = "macs",
    *,
    theme: ThemeName = "light",
    width: int | None = None,
    height: int | None = None,
) -> go.Figure:
    """The share of the MACs, parameters or activations that each stage of several architectures has, side by side.

    `tables` are explorer.analysis.whatif.cost_by_part by the architecture's label.
    """
    look, metric = THEMES[theme], COMPLEXITY[name]
    if not tables:
        return empty("No architectures to compare: choose some above.", look, width, height or HEIGHT)
    sums = {
        label: (table[name] * table["blocks"]).groupby(table["stage"], sort=False).sum()
        for label, table in tables.items()
    }
    stages = sorted({stage for one in sums.values() for stage in one.index}, key=_place)
    tall = height or AROUND + 60 + (BAR + 10) * len(tables)
    title = f"Where the {metric.label} are"
    figure = framed(title, "share of each stage, its downsampling included · closed form, one image", look, width, tall)
    labels = [escape(label) for label in tables]
    least = 100 * 40 / ((width or WIDTH) - 130)  # %, of a segment with room for its name
    for stage in stages:
        shares = [100 * float(one.get(stage, 0)) / float(one.sum()) for one in sums.values()]
        counts = [float(one.get(stage, 0)) * metric.scale for one in sums.values()]
        color, short = _shade(stage, look)
        figure.add_trace(
            go.Bar(
                x=shares,
                y=labels,
                orientation="h",
                name=stage,
                marker={"color": color, "line": {"color": look.paper, "width": 1}},
                text=[f"{short}<br>{share_text(share / 100)}" if share >= least else "" for share in shares],
                textposition="inside",
                insidetextanchor="middle",
                textfont={"color": _on(color), "size": 11},
                textangle=0,
                hovertext=[
                    f"<b>{label}</b><br>{stage}: {_exact(share)}, {short_number(count)} {metric.unit}"
                    for label, share, count in zip(labels, shares, counts, strict=True)
                ],
                hovertemplate="%{hovertext}<extra></extra>",
            )
        )
    _rows_down(figure, labels, look)
    figure.update_xaxes(range=[0, 100], title={"text": f"Share of the {metric.label}, %", "standoff": 8})
    figure.update_layout(barmode="stack", bargap=0.3)
    most = ", ".join(f"{label}: {one.idxmax()} with {share_text(one.max() / one.sum())}" for label, one in sums.items())
    figure.layout.meta = {"alt": f"Stacked bars of the share of {metric.label} by stage. Most: {most}."}
    return figure


def shares_table(tables: Mapping[str, pd.DataFrame], name: str = "macs") -> pd.DataFrame:
    """The numbers of stage_shares: one row an architecture and stage, the count and its share in %."""
    rows = []
    for label, table in tables.items():
        one = (table[name] * table["blocks"]).groupby(table["stage"], sort=False).sum()
        rows += [(label, stage, int(value), 100 * value / one.sum()) for stage, value in one.items()]
    return pd.DataFrame(rows, columns=["architecture", "stage", COMPLEXITY[name].column, "share_%"])


def short_number(value: float) -> str:
    """Three digits of a number, all of a whole one: "0.771", "28.3", "4,363"."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def contrast(one: str, other: str) -> float:
    """The contrast of two colours "#rrggbb", 1 to 21 (WCAG 2.1)."""
    dark, light = sorted(_luminance(color) for color in (one, other))
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _exact(percent: float) -> str:
    """A share to a tenth of a percent."""
    return "<0.1 %" if 0 < percent < 0.05 else f"{percent:.1f} %"


def _rows(table: pd.DataFrame, name: str, by_block: bool) -> pd.DataFrame:
    """row (its label), part and value: of a stage as a whole, or of one block of it and of its downsampling."""
    found = table[["stage", "part"]].copy()
    if not by_block:
        return found.assign(row=table["stage"], value=table[name] * table["blocks"])
    inside = table["part"].isin(["local", "mixer", "ffn"])
    block = table["stage"] + " block ×" + table["blocks"].astype(str)
    down = "↓ " + table["stage"]
    row = table["stage"].where(~table["stage"].str.startswith("stage "), down).where(~inside, block)
    return found.assign(row=row, value=table[name])


def _said(row: str, part: str, value: float, total: float, metric: Metric) -> str:
    return f"<b>{row}</b><br>{part}: {short_number(value)} {metric.unit}, {_exact(100 * value / total)} of all"


def _rows_down(figure: go.Figure, labels: list[str], look: Theme) -> None:
    """The rows in the order of the forward pass from the top, and the legend below."""
    figure.update_yaxes(
        categoryorder="array",
        categoryarray=labels,
        autorange="reversed",
        automargin=True,
        showgrid=False,
        tickfont_size=12,
    )
    figure.update_xaxes(showgrid=True, ticks="")
    legend = {"orientation": "h", "x": 0, "xref": "container", "y": 0, "yref": "container", "yanchor": "bottom"}
    figure.update_layout(showlegend=True, legend={**legend, "font": {"color": look.muted, "size": 12}})
    figure.update_layout(legend_itemclick=False, legend_itemdoubleclick=False, legend_traceorder="normal")
    names = {trace.name for trace in figure.data}
    across = ((figure.layout.width or WIDTH) - 32) // max(7 * len(name) + 55 for name in names)
    more = LEGEND_LINE * (-(-len(names) // max(int(across), 1)) - 1)
    figure.update_layout(margin={"b": 90 + more, "l": 70}, height=figure.layout.height + more)


def _place(stage: str) -> tuple[int, int]:
    number = stage.removeprefix("stage ")
    return (1, int(number)) if number.isdecimal() else (0 if stage == "stem" else 2, 0)


def _shade(stage: str, look: Theme) -> tuple[str, str]:
    """Colour of a stage, from dark blue to dark red in their order, and its name in a bar; stem and head are grey."""
    kind, number = _place(stage)
    return (SHADES[(number - 1) % len(SHADES)], f"S{number}") if kind == 1 else (look.cloud, stage)


def _on(color: str) -> str:
    """White or black, whichever contrasts more with a colour: by 4.5 or more, as WCAG 2.1 asks."""
    return "#000000" if contrast(color, "#000000") >= contrast(color, "#ffffff") else "#ffffff"
