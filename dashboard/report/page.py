"""Returns one HTML page of charts, tables and text that needs nothing but itself: light, dark, narrow, on paper.

Each chart is there once as plotly's JSON; what differs of it in the dark, on a narrow screen, and in both, is kept as a
list of edits, which a few lines of script apply. Everything that is written on the page is escaped here.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from dashboard.canvas import HEIGHT, THEMES, ThemeName

NARROW = 358  # pixels of a chart where the page has 390
ROWS = 200  # of a table that are written
Draw: TypeAlias = Callable[[ThemeName, "int | None"], go.Figure]
VARIANTS: dict[str, tuple[ThemeName, int | None]] = {
    "dark": ("dark", None),
    "narrow": ("light", NARROW),
    "narrow dark": ("dark", NARROW),
}

STYLE = """
:root { color-scheme: light dark; --paper: PAPER; --ink: INK; --muted: MUTED; --grid: GRID; --front: FRONT }
@media (prefers-color-scheme: dark) {
  :root { --paper: DARK_PAPER; --ink: DARK_INK; --muted: DARK_MUTED; --grid: DARK_GRID; --front: DARK_FRONT }
}
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 1040px; padding: 16px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, 'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif; overflow-wrap: anywhere }
h1 { font-size: 26px; line-height: 1.2; margin: 8px 0 } h2 { font-size: 20px; margin: 40px 0 8px }
h3 { font-size: 16px; margin: 20px 0 4px }
p { margin: 8px 0; max-width: 78ch } .muted, figcaption, dt, summary { color: var(--muted) }
a { color: var(--front) } nav a { margin-right: 14px; white-space: nowrap }
figure { margin: 12px 0 } figcaption { font-size: 13px }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: 12px 0 } dd { margin: 0 }
.wide { overflow-x: auto } details { margin: 6px 0 } summary { cursor: pointer }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; overflow-wrap: normal }
th, td { padding: 3px 10px 3px 0; border-bottom: 1px solid var(--grid); text-align: left; vertical-align: top }
th { color: var(--muted); font-weight: 600 } td.number { text-align: right }
pre { background: var(--grid); padding: 10px; overflow-x: auto; white-space: pre-wrap; font-size: 13px }
img { max-width: 100%; height: auto }
@media (max-width: 600px) { body { padding: 16px } dl { grid-template-columns: 1fr } dt { margin-top: 6px } }
@media print { nav, summary { display: none } figure, table { break-inside: avoid } h2 { break-after: avoid } }
"""

SCRIPT = """
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)"), narrow = matchMedia("(max-width: 600px)");
  const charts = [...document.querySelectorAll("script[data-chart]")].map(
    (one) => [document.getElementById(one.dataset.chart), JSON.parse(one.textContent)]);
  const edited = (figure, edits) => {
    const copy = structuredClone(figure);
    for (const [path, ...value] of edits) {
      const last = path[path.length - 1];
      const inside = path.slice(0, -1).reduce((at, key) => at[key], copy);
      if (value.length) inside[last] = value[0]; else delete inside[last];
    }
    return copy;
  };
  const draw = (onPaper) => {
    const words = [narrow.matches && "narrow", dark.matches && !onPaper && "dark"].filter(Boolean);
    for (const [place, chart] of charts) {
      const figure = edited(chart.figure, words.length ? chart.edits[words.join(" ")] : []);
      const tools = ["select2d", "lasso2d", "autoScale2d"];
      const config = {responsive: true, displaylogo: false, modeBarButtonsToRemove: tools};
      place.style.height = figure.layout.height + "px";
      Plotly.react(place, figure.data, figure.layout, config);
    }
  };
  draw(false);
  dark.addEventListener("change", () => draw(false));
  narrow.addEventListener("change", () => draw(false));
  addEventListener("beforeprint", () => draw(true));
  addEventListener("afterprint", () => draw(false));
})();
"""


@dataclass(frozen=True)
class Section:
    """A part of the page under a heading; the parts are HTML as the functions below return it."""

    title: str
    parts: Sequence[str]


class Charts:
    """The charts of one page, numbered as they come."""

    def __init__(self) -> None:
        self.count = 0

    def chart(self, draw: Draw, table: pd.DataFrame | None = None) -> str:
        """A chart with its alternative text, and its numbers folded away below it."""
        self.count += 1
        name = f"chart{self.count}"
        figure = _figure(draw, "light", None)
        variants = {words: _edits(figure, _figure(draw, *variant)) for words, variant in VARIANTS.items()}
        alt = str((figure["layout"].get("meta") or {}).get("alt", ""))
        data = json.dumps({"figure": figure, "edits": variants}, separators=(",", ":"), ensure_ascii=False)
        data = data.replace("<", "\\u003c")  # nothing in it may end the script
        style = f"height:{figure['layout'].get('height', HEIGHT)}px"
        return (
            f"<figure><div id='{name}' role='img' aria-label='{escape(alt, quote=True)}' style='{style}'></div>"
            f"<script type='application/json' data-chart='{name}'>{data}</script>"
            f"{folded('Table', rows(table)) if table is not None else ''}</figure>"
        )


def text(words: str, *, muted: bool = False) -> str:
    """A paragraph."""
    return f"<p{' class=muted' * muted}>{escape(words)}</p>"


def heading(words: str) -> str:
    """A heading within a section."""
    return f"<h3>{escape(words)}</h3>"


def code(words: str) -> str:
    """Lines to copy."""
    return f"<pre>{escape(words)}</pre>"


def folded(summary: str, part: str) -> str:
    """A part that opens on a click."""
    return f"<details><summary>{escape(summary)}</summary>{part}</details>"


def facts(values: dict[str, str]) -> str:
    """Names and what they are."""
    return "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in values.items()) + "</dl>"


def rows(table: pd.DataFrame) -> str:
    """A table of at most 200 rows; numbers with four significant digits, times in UTC."""
    head = "".join(f"<th scope=col>{escape(str(name))}</th>" for name in table.columns)
    numeric = [pd.api.types.is_any_real_numeric_dtype(kind) for kind in table.dtypes]
    body = []
    for row in table.head(ROWS).itertuples(index=False):
        cells = zip(row, numeric, strict=True)
        body.append("".join(f"<td{' class=number' * right}>{_cell(value)}</td>" for value, right in cells))
    lines = "".join(f"<tr>{cells}</tr>" for cells in body)
    more = f"The first {ROWS} of {len(table):,} rows." if len(table) > ROWS else ""
    return f"<div class=wide><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>" + (
        text(more, muted=True) if more else ""
    )


def picture(draw: Callable[[ThemeName, int], str], alt: str, wide: int = 640) -> str:
    """An SVG (as `draw` returns it for a theme and a width in pixels) in four variants: a browser shows one."""

    def source(theme: ThemeName, width: int) -> str:
        return "data:image/svg+xml;base64," + base64.b64encode(draw(theme, width).encode()).decode()

    dark, small = "(prefers-color-scheme: dark)", "(max-width: 600px)"
    others = [(f"{dark} and {small}", source("dark", NARROW)), (small, source("light", NARROW))]
    others.append((dark, source("dark", wide)))
    sources = "".join(f"<source media='{media}' srcset='{data}'>" for media, data in others)
    shown = f"<img src='{source('light', wide)}' alt='{escape(alt, quote=True)}'>"
    return f"<picture>{sources}{shown}</picture>"


def page(title: str, lead: Sequence[str], sections: Sequence[Section]) -> str:
    """The whole page: a heading, what leads, the sections with links to them; plotly.js is in it once."""
    scripts = [get_plotlyjs(), SCRIPT]
    hashes = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts)
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; form-action 'none'"
    )
    links = "".join(f"<a href='#part{i}'>{escape(part.title)}</a>" for i, part in enumerate(sections))
    body = "".join(
        f"<section id='part{i}'><h2>{escape(part.title)}</h2>{''.join(part.parts)}</section>"
        for i, part in enumerate(sections)
    )
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        f"<meta http-equiv=Content-Security-Policy content=\"{policy}; base-uri 'none'\">"
        "<meta name=viewport content='width=device-width, initial-scale=1'><meta name=referrer content=no-referrer>"
        f"<title>{escape(title)}</title><style>{_style()}</style></head><body><h1>{escape(title)}</h1>{''.join(lead)}"
        f"<nav>{links}</nav><noscript><p>The charts need JavaScript; their numbers are in the tables.</p></noscript>"
        f"<main>{body}</main>{''.join(f'<script>{script}</script>' for script in scripts)}</body></html>\n"
    )


def _figure(draw: Draw, theme: ThemeName, width: int | None) -> dict[str, Any]:
    """A figure as plain JSON; the page decides the width."""
    figure: dict[str, Any] = json.loads(draw(theme, width).to_json())
    figure["layout"].pop("width", None)
    return figure


def _edits(before: Any, after: Any, path: tuple[str | int, ...] = ()) -> list[list[Any]]:
    """What has to be set ([path, value]) or deleted ([path]) to make one JSON value another."""
    if before == after and type(before) is type(after):
        return []
    if isinstance(before, dict) and isinstance(after, dict):
        gone = [[[*path, key]] for key in before if key not in after]
        new = [[[*path, key], after[key]] for key in after if key not in before]
        return gone + new + [e for key in before if key in after for e in _edits(before[key], after[key], (*path, key))]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [e for i, pair in enumerate(zip(before, after, strict=True)) for e in _edits(*pair, (*path, i))]
    return [[list(path), after]]


def _cell(value: Any) -> str:
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (float, np.floating)):
        return f"{float(value):,.4g}" if abs(float(value)) < 1e4 else f"{float(value):,.0f}"
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return escape(str(value))


def _style() -> str:
    """The style sheet with the colours of both themes; the dark ones first, whose names end in the others."""
    found = STYLE
    for prefix, theme in (("DARK_", THEMES["dark"]), ("", THEMES["light"])):
        for name in ("paper", "ink", "muted", "grid", "front"):
            found = found.replace(prefix + name.upper(), getattr(theme, name))
    return found


def _sha256(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
