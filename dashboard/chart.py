"""A plotly figure on a page: its zoom outlives reruns, its points can be clicked, its numbers are in a table below.

`st.plotly_chart` builds the chart anew whenever the figure changes, which loses zoom and selection; this component
calls Plotly.react. plotly.js comes from the installed package, over the dashboard's own server.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from dashboard import state, tables
from dashboard.canvas import HEIGHT, WIDTH

HTML = "<div class='vitscape-chart' role='figure' tabindex='0'></div>"
CSS = ".vitscape-chart {width: 100%; overflow: hidden}"
TABLE_ROWS = 1000  # of a chart's table that are shown; the file has all
Range = tuple[float, float]


@dataclass(frozen=True)
class Event:
    """What was drawn in a chart."""

    box: dict[str, Range] | None = None  # "x" and "y" of the box drawn, as displayed
    brush: dict[str, Range] | None = None  # of parallel coordinates, by label


def show(
    figure: go.Figure,
    *,
    key: str,
    table: pd.DataFrame | Callable[[], pd.DataFrame] | None = None,
    columns: dict[str, Any] | None = None,
    revision: str = "",
    select: bool = False,
) -> Event:
    """Draws a figure with its alternative text (layout.meta["alt"]) and its table, and returns what was drawn in it.

    A click on the point of a trial, whose number is the first of its customdata, chooses that trial for all pages.
    Zoom is kept while `revision` stays: name what the axes show in it. `select` offers box and lasso. A table given as
    a function is made only when it is opened; `columns` says how columns of it are drawn that are no plain numbers.
    """
    height = int(figure.layout.height or HEIGHT)
    meta = figure.layout.meta if isinstance(figure.layout.meta, dict) else {}
    result = _component()(
        key=f"chart_{key}",
        data={
            "figure": figure.to_json(),
            "alt": str(meta.get("alt", "")),
            "height": height,
            "name": f"vitscape_{key}",
            "revision": f"{key} {revision}",
            "select": select,
            "plotly": version("plotly"),
            "width": int(figure.layout.width or WIDTH),
        },
        default={"box": None, "brush": None, "width": None},
        height="content",
        on_clicked_change=partial(_choose_clicked, key),
        on_box_change=_nothing,
        on_brush_change=_nothing,
        on_width_change=_nothing,
    )
    pixels = result.get("width")
    if pixels and state.width(key) != int(pixels):
        state.set_width(key, int(pixels))
        st.rerun()
    if table is not None:
        _table(table, key, columns)
    return Event(box=_ranges(result.get("box")), brush=_ranges(result.get("brush")) or None)


def _choose_clicked(key: str) -> None:
    """Chooses the trial of the point that was clicked; before the page runs, so that it is drawn with it at once."""
    number = st.session_state[f"chart_{key}"].get("clicked")
    if number is not None and number >= 0:  # some points are of no one trial
        state.choose(number)


def _table(table: pd.DataFrame | Callable[[], pd.DataFrame], key: str, columns: dict[str, Any] | None = None) -> None:
    """The numbers of a chart and a file of them, made when they are opened."""
    expander = st.expander("Table", icon=":material/table_rows:", key=f"{key}_table", on_change="rerun")
    if not expander.open:
        return
    with expander:
        rows = table() if callable(table) else table
        tables.show(rows.head(TABLE_ROWS), key=f"{key}_rows", config=columns)
        if len(rows) > TABLE_ROWS:
            st.caption(f"The first {TABLE_ROWS:,} of {len(rows):,} rows; the file has all.")
        st.download_button(
            "CSV",
            rows.to_csv(index=False),
            file_name=f"vitscape_{key}.csv",
            mime="text/csv",
            icon=":material/download:",
            key=f"{key}_csv",
            on_click="ignore",
        )


def _ranges(stored: Any) -> dict[str, Range] | None:
    """Ranges as a browser tells them: two numbers each."""
    if not isinstance(stored, dict):
        return None
    return {str(name): (float(low), float(high)) for name, (low, high) in stored.items()}


@cache
def _component() -> Any:
    script = (Path(__file__).parent / "chart.js").read_text(encoding="utf-8")
    return st.components.v2.component("vitscape_chart", html=HTML, css=CSS, js=script, isolate_styles=False)


def _nothing() -> None:
    """A change of the chart reruns the page; there is no more to do."""
