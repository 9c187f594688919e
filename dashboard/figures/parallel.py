"""Returns parallel coordinates of trials, the sample that is drawn in them, and all trials that a brush means."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape, unescape
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from dashboard.canvas import HEIGHT, THEMES, WIDTH, Numbers, ThemeName, called, framed, log_ticks
from dashboard.figures.edf import nothing
from explorer import structure
from explorer.metrics import Metric
from explorer.results import candidates, front, metrics_of

MOST = 300  # lines
NARROW = 600  # pixels of a figure, below which it has room for few dimensions
SHADES = {"light": (0.0, 0.88), "dark": (0.3, 1.0)}  # of cividis: what can be seen on the paper
SIDE, BAR = 56, 110  # pixels left of the axes, and right of them for the colour bar
GLYPH = 7  # pixels, a character of a label
FINE = 81  # places along a logarithmic axis that a range can end at
ASIDE = 0.12  # of the gap between two values, how far from its own a trial is drawn
NO_WIDTH = "\u200b"
SLACK = 1e-9  # of a range's ends, which come as they were computed
GOLDEN = 0.6180339887498949  # of consecutive trials each lies far from the last
MOST_TICKS = 12  # of a number with few values that are all named


@dataclass(frozen=True)
class Dimension:
    """One of the parallel axes: a metric, or a choice of the architecture; its ends as they are drawn."""

    column: str
    label: str  # as the chart tells a brush by
    log: bool  # drawn as log10 of what is shown
    names: tuple[str, ...] | None  # of a choice, drawn as 0, 1, ...
    scale: float = 1.0  # shown number = stored number * scale
    low: float = 0.0
    high: float = 1.0
    beneath: float | None = None  # where trials lie whose networks have not that choice, if there are any

    def places(self, rows: pd.DataFrame) -> Numbers:
        """Where the rows lie on the axis."""
        values = rows[self.column]
        places: Numbers
        if self.names is None:
            places = values.to_numpy(dtype=float, na_value=np.nan) * np.float64(self.scale)
        else:
            category = values.astype("category")
            codes = {name: float(code) for code, name in enumerate(self.names)}
            places_of = [codes.get(_name(name), np.nan) for name in category.cat.categories]
            places = np.array([*places_of, np.nan])[category.cat.codes.to_numpy()]  # the code of none is -1
        if self.log:
            np.log10(places, out=places)
        if self.beneath is not None:
            places = np.where(np.isfinite(places), places, self.beneath)
        return places


def dimensions(rows: pd.DataFrame, columns: Sequence[str], data: str = "") -> list[Dimension]:
    """The axes of these metrics (by name) and structure columns, wide enough for all of the rows."""
    found = []
    for name in columns:
        if structure.is_structure(name):
            values, names = rows[name], None
            if not pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_bool_dtype(values.dtype):
                present = values.astype("category").cat.remove_unused_categories()
                names = tuple(sorted(_name(name) for name in present.cat.categories))
            axis = Dimension(name, structure.label(name), False, names)
        else:
            (metric,) = metrics_of(rows, [name])
            stored = rows[metric.column].dropna().to_numpy(dtype=float)
            log = (
                len(stored) > 0 and not metric.maximize and bool(stored.min() > 0 and stored.max() / stored.min() >= 3)
            )
            axis = Dimension(metric.column, called(metric, data).quantity, log, None, metric.scale)
        found.append(_with_ends(axis, rows))
    return found


def _with_ends(axis: Dimension, rows: pd.DataFrame) -> Dimension:
    places = axis.places(rows)
    known = places[np.isfinite(places)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    if axis.names is not None:
        low, high = 0.0, max(len(axis.names) - 1.0, 1.0)
    beneath = low - 0.12 * ((high - low) or 1.0) if len(known) < len(places) else None
    return replace(axis, low=low, high=high, beneath=beneath)


def liveliest(rows: pd.DataFrame, most: int) -> list[str]:
    """The structure columns that vary the most: by the entropy of their values among all trials, in bits."""
    entropies = {}
    for name in structure.splits(rows):
        shares = rows[name].value_counts(normalize=True).to_numpy(dtype=float)
        shares = shares[shares > 0]
        entropies[name] = float(-(shares * np.log2(shares)).sum()) * float(rows[name].notna().mean())
    return sorted(entropies, key=lambda name: -entropies[name])[:most]


def lines(frame: pd.DataFrame, objectives: Sequence[str], most: int = MOST, seed: int = 0) -> pd.DataFrame:
    """The trials to draw: all of them up to `most`; else the front, as many nearest to it, and a sample of the others.

    The sample has equally many of each tenth of the first objective. Near is by how much of the objectives' range a
    trial would have to improve in each to be on the front, costs by their logarithm.
    """
    rows = candidates(frame, objectives)
    if len(rows) <= most:
        return rows
    member = rows["number"].isin(front(frame, objectives)["number"]).to_numpy()
    kept = _spread(np.flatnonzero(member), most // 2)
    points = _losses(rows, metrics_of(rows, objectives))
    gap = np.full(len(rows), np.inf)
    for best in points[kept]:
        np.minimum(gap, (points - best).max(axis=1), out=gap)
    gap[member] = np.inf
    near = np.argsort(gap, kind="stable")[: (most - len(kept)) // 2]
    left = np.setdiff1d(np.flatnonzero(~member), near)
    generator = np.random.default_rng(seed)
    ordered = left[np.argsort(points[left, 0], kind="stable")]
    room = most - len(kept) - len(near)
    tenths = [generator.permutation(part) for part in np.array_split(ordered, 10)]
    sample = np.concatenate([part[: room // 10 + (i < room % 10)] for i, part in enumerate(tenths)])
    return rows.iloc[np.sort(np.concatenate([kept, near, sample]))]


def matching(
    frame: pd.DataFrame, axes: Sequence[Dimension], brush: Mapping[str, tuple[float, float]]
) -> pd.Series[bool]:
    """Which rows of a frame lie within every brushed range (by label, as drawn); all where nothing is brushed."""
    inside = np.ones(len(frame), dtype=bool)
    for axis in axes:
        if axis.label in brush:
            low, high = brush[axis.label]
            places = axis.places(frame)
            inside &= (places >= low - SLACK) & (places <= high + SLACK)
    return pd.Series(inside, index=frame.index, dtype=bool)


def in_words(axes: Sequence[Dimension], brush: Mapping[str, tuple[float, float]]) -> str:
    """The brushed ranges: "Latency, ms 1.2 to 3.4; mixer in stage 2: conv, global"."""
    said = []
    for axis in axes:
        if axis.label not in brush:
            continue
        low, high = (end + sign * SLACK for end, sign in zip(brush[axis.label], (-1, 1), strict=True))
        if axis.names is not None:
            inside = [name for code, name in enumerate(axis.names) if low <= code <= high]
            inside += ["none here"] if axis.beneath is not None and low <= axis.beneath <= high else []
            said.append(f"{axis.label}: {', '.join(inside) or 'none'}")
        else:
            ends = [10**end if axis.log else end for end in (low, high)]
            said.append(f"{axis.label} {ends[0]:.4g} to {ends[1]:.4g}")
    return "; ".join(said)


def parallel_coordinates(
    rows: pd.DataFrame,
    axes: Sequence[Dimension],
    color: Metric,
    *,
    trials: int | None = None,
    data: str = "",
    conditions: str = "",
    theme: ThemeName = "light",
    width: int | None = None,
    height: int = HEIGHT,
) -> go.Figure:
    """A line a trial over these axes, coloured by a metric; a range drawn along an axis picks its lines.

    A trial that has not some choice has no place on its axis; it is drawn below the axis' values.
    """
    look, color = THEMES[theme], called(color, data)
    if rows.empty:
        return nothing("No complete trial to draw yet: let the search run on.", look, width, height)
    several = (
        f"{len(rows)} of {trials:,} trials" if trials is not None and trials > len(rows) else f"{len(rows)} trials"
    )
    facts = " · ".join(filter(None, [several, conditions, "draw along an axis to pick a range"]))
    figure = framed(f"Trials by their choices, coloured by {color.label}", facts, look, width, height)
    shades = sample_colorscale("Cividis", np.linspace(*SHADES[theme], 9).tolist())
    shown = rows[color.column].to_numpy(dtype=float) * color.scale
    better = "higher" if color.maximize else "lower"
    narrow = width is not None and width < NARROW
    title = f"{color.unit}, {better}<br>is better" if narrow else f"{escape(color.quantity)}<br>{better} is better"
    bar = {"title": {"text": title, "font": {"size": 11}}, "thickness": 10, "len": 0.9, "outlinewidth": 0}
    room = ((width or WIDTH) - SIDE - BAR) / max(len(axes) - 1, 1) - 8
    labels = [wrapped(axis.label, room if place else min(room, 2 * SIDE)) for place, axis in enumerate(axes)]
    figure.add_trace(
        go.Parcoords(
            dimensions=[_drawn(axis, rows, height, label) for axis, label in zip(axes, labels, strict=True)],
            line={"color": shown, "colorscale": shades, "showscale": True, "colorbar": bar},
            unselected={"line": {"color": look.muted, "opacity": 0.06}},
            labelfont={"color": look.ink, "size": 10 if narrow else 12},
            tickfont={"color": look.ink, "size": 11},
            rangefont={"color": "rgba(0,0,0,0)", "size": 1},
            customdata=rows["number"],
        )
    )
    tallest = max(label.count("<br>") for label in labels)
    figure.update_layout(margin={"l": SIDE, "r": 20, "t": figure.layout.margin.t + 16 * tallest + 8, "b": 24})
    low, high = color.text(float(rows[color.column].min())), color.text(float(rows[color.column].max()))
    listed = ", ".join(axis.label for axis in axes)
    figure.layout.meta = {
        "alt": f"Parallel coordinates of {several} over {listed}; {color.label} from {low} to {high}."
    }
    return figure


def wrapped(label: str, room: float) -> str:
    """A label in lines that have room, in pixels, above its axis."""
    return "<br>".join(textwrap.wrap(escape(label), max(8, int(room / GLYPH)), break_long_words=False))


def brushed(
    told: Mapping[str, tuple[float, float]] | None, axes: Sequence[Dimension]
) -> dict[str, tuple[float, float]]:
    """The brushed ranges by the axes' labels, as the chart tells them by its wrapped labels."""
    found = {" ".join(unescape(label).split("<br>")): ends for label, ends in (told or {}).items()}
    return {axis.label: found[axis.label] for axis in axes if axis.label in found}


def _drawn(axis: Dimension, rows: pd.DataFrame, height: int, label: str) -> dict[str, Any]:
    """An axis as plotly takes it.

    Trials of one value are drawn side by side, so that they can be seen: within an eighth of the gap to the next, where
    a brush snaps to at a quarter of it, and so takes all of them.
    """
    places = axis.places(rows)
    values = np.unique(places[np.isfinite(places)])
    known = np.unique(values[values >= axis.low])
    ticks: list[float] = []
    texts: list[str] = []
    if axis.names is not None:
        ticks, texts = [float(code) for code in range(len(axis.names))], [escape(name) for name in axis.names]
    elif axis.log:
        shown = log_ticks(10**axis.low, 10**axis.high, max(3, height // 60))
        ticks, texts = [math.log10(tick) for tick in shown], [f"{tick:,g}" for tick in shown]
        # where an axis has ticks of its own a brush snaps to them: these are as good as everywhere
        fine = [tick for tick in np.linspace(axis.low, axis.high, FINE) if np.abs(np.subtract(ticks, tick)).min() > 0]
        named = dict(zip(ticks, texts, strict=True)) | dict.fromkeys(fine, "")
        ticks = sorted(named)  # plotly counts on it
        texts = [named[tick] for tick in ticks]
    elif len(known) <= MOST_TICKS or axis.beneath is not None:
        ticks = known.tolist() if len(known) <= MOST_TICKS else np.linspace(axis.low, axis.high, 5).tolist()
        texts = [f"{round(tick, 3):g}" for tick in ticks]
    low = axis.low
    if axis.beneath is not None:
        low, ticks, texts = axis.beneath, [axis.beneath, *ticks], ["none here", *texts]
    gap = 0.0
    if ticks and not axis.log and len(known) <= MOST_TICKS:
        gap = float(np.diff(sorted(ticks)).min()) if len(ticks) > 1 else 1.0
        places = places + 2 * ASIDE * gap * (rows["number"].to_numpy() * GOLDEN % 1 - 0.5)
        # for the brush there is something beyond the ends, or it would snap to the middle of the outermost
        ticks, texts = [low - 0.5 * gap, *ticks, axis.high + 0.5 * gap], ["", *texts, ""]
    margin = max(0.02 * (axis.high - low), 0.25 * gap) or 0.5
    found: dict[str, Any] = {"label": label, "multiselect": False, "values": places}
    found["range"] = [low - margin, axis.high + margin]
    return found | ({"tickvals": ticks, "ticktext": _distinct(texts)} if texts else {})


def _distinct(texts: Sequence[str]) -> list[str]:
    """The texts, those that were there before longer by what has no width: plotly draws equal ones at one place."""
    seen: Counter[str] = Counter()
    found = []
    for text in texts:
        found.append(text + NO_WIDTH * seen[text])
        seen[text] += 1
    return found


def _losses(rows: pd.DataFrame, metrics: Sequence[Metric]) -> Numbers:
    """(rows, metrics), less is better, each over its range."""
    columns = []
    for metric in metrics:
        values = rows[metric.column].to_numpy(dtype=float)
        loss = -values if metric.maximize else (np.log(values) if values.min() > 0 else values)
        columns.append((loss - loss.min()) / (np.ptp(loss) or 1.0))
    return np.column_stack(columns)


def _spread(indices: np.ndarray[Any, np.dtype[np.int64]], most: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """At most so many of them, evenly."""
    if len(indices) <= most:
        return indices
    return indices[np.linspace(0, len(indices) - 1, most).astype(int)]


def _name(value: object) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return str(value)
