"""How a metric is distributed over the trials that share a choice: Radosavovic et al. 2020, section 3.1, with bands.

A design space is judged there by all of the models drawn from it, not by the best one found: by the share of them that
reach an error (its empirical distribution function). Pure functions of a study's frame.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explorer import structure
from explorer.metrics import METRICS, Metric
from explorer.results import candidates, metrics_of

MOST_LEVELS = 5  # of a number, by its quantiles
MOST_NAMES = 7  # of a choice between names: as many as there are shapes to draw them
FEWEST = 8  # trials of a level that say anything of their distribution
FEWEST_ALIKE = 3  # of a level's trials in a range of complexity, where levels are compared at like complexity
RANGES = 4  # of complexity, with equally many trials of the study in each
CURVE_POINTS = 151  # odd: the one in the middle is the median itself
WINDOWS = 24  # along a trend
ALL = "all trials"

COMPLEXITY: dict[str, Metric] = {  # what an architecture costs in closed form
    "macs": METRICS["macs"],
    "params": METRICS["params"],
    "activations": Metric(
        "activations", "activations", "Activations", "M", "minimize", 1e-6, 3, lambda found: found.activations
    ),
}
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Distributions:
    """A metric's distribution in each level of a choice. Values are in the metric's stored unit, shares 0 to 1."""

    metric: Metric
    split: str | None  # structure column
    alike: str | None  # compared at like complexity
    trials: int  # compared in all
    without: int  # further trials whose networks have no such choice
    curves: pd.DataFrame  # level, value, share that is at least as good, lo, hi: the band holds 95 % at each value
    levels: pd.DataFrame  # level, trials, median, lo, hi, best, drawn; the median is the value that half of them reach
    differences: pd.DataFrame  # better, other, difference of their medians, lo, hi, clear: 0 is not in the interval


def edf(
    frame: pd.DataFrame,
    metric: str = "accuracy",
    split: str | None = None,
    *,
    among: Mapping[str, float] | None = None,
    alike: str | None = None,
    draws: int = 200,
    seed: int = 0,
) -> Distributions:
    """The share of a level's trials that are at least so good, over the values of a metric, with 95 % bootstrap bands.

    Complete trials count, each architecture once. `among` takes only trials within budgets, in stored units and
    inclusive: a least for accuracy, a most for costs. `alike` compares levels at like complexity (macs, params,
    activations): each level's trials are weighted so that every range of it counts the same, over the ranges in which
    each level has three or more, as in Radosavovic et al. 2019. Levels of fewer than 8 trials have no curve.

    >>> edf(frame, "latency", "mixer@3", among={"accuracy": 75.0}).levels
    """
    (goal,) = metrics_of(frame, [metric])
    rows = _compared(frame, [metric], among, split)
    level = levels(rows[split]) if split else _one_level(len(rows))
    known = level.notna().to_numpy()
    costs = rows[goal.column].to_numpy(dtype=float) * (-1 if goal.maximize else 1)
    codes, names = level.cat.codes.to_numpy(), [str(name) for name in level.cat.categories]
    counts = np.bincount(codes[known], minlength=len(names))
    drawn = [code for code in range(len(names)) if counts[code] >= FEWEST][:MOST_NAMES]
    strata = np.zeros(len(rows), dtype=int)
    if alike:
        strata = _ranges(rows, COMPLEXITY[alike], codes, drawn)
        while len(drawn) > 2 and (strata < 0).all():  # the rarest level leaves nothing to compare the others by
            drawn.remove(min(drawn, key=counts.__getitem__))
            strata = _ranges(rows, COMPLEXITY[alike], codes, drawn)
    inside = known & (strata >= 0)
    generator = np.random.default_rng(seed)
    curves, medians = [], {}
    table: list[dict[str, Any]] = []
    sign = -1.0 if goal.maximize else 1.0
    for code, name in enumerate(names):
        mine = inside & (codes == code)
        row: dict[str, Any] = {"level": name, "trials": int(mine.sum()), "drawn": False}
        if mine.any():
            row["best"] = sign * costs[mine].min()
        if code in drawn and mine.any():
            grid, shares = _resampled(costs[mine], strata[mine], draws, generator)
            lo, hi = np.quantile(shares[1:], (0.025, 0.975), axis=0)
            curve = {"level": name, "value": sign * grid, "share": shares[0], "lo": lo, "hi": hi}
            curves.append(pd.DataFrame(curve).iloc[:: int(sign)])
            medians[name] = sign * grid[(shares >= 0.5 - 1e-9).argmax(axis=1)]
            ends = np.quantile(medians[name][1:], (0.025, 0.975))
            row |= {"median": medians[name][0], "lo": ends[0], "hi": ends[1], "drawn": True}
        table.append(row)
    return Distributions(
        metric=goal,
        split=split,
        alike=alike,
        trials=int(inside.sum()),
        without=int((~known).sum()),
        curves=_table(pd.concat(curves) if curves else [], ["level", "value", "share", "lo", "hi"]),
        levels=_table(table, ["level", "trials", "median", "lo", "hi", "best", "drawn"]),
        differences=_differences(medians, goal),
    )


def levels(values: pd.Series[Any]) -> pd.Series[Any]:
    """The level of each value of a structure column, an ordered category; missing where the value is.

    Names are levels themselves, the commonest first where there are more than can be drawn. A number that takes more
    than five values has five levels at most, with about equally many trials in each: "96–128".
    """
    if isinstance(values.dtype, pd.BooleanDtype) or values.dtype == bool:
        words = values.map({True: "yes", False: "no"}).astype("object")
        return words.astype(pd.CategoricalDtype(["no", "yes"], ordered=True)).cat.remove_unused_categories()
    if not pd.api.types.is_numeric_dtype(values.dtype):
        names = values.astype("category").cat.remove_unused_categories()
        counts = names.value_counts()
        order = counts.index if len(counts) > MOST_NAMES else names.cat.categories.sort_values()
        return names.cat.reorder_categories(order, ordered=True)
    numbers = pd.Series(values.to_numpy(dtype=float, na_value=np.nan), index=values.index)
    distinct = np.unique(numbers.dropna())
    if len(distinct) <= MOST_LEVELS:
        bins = pd.cut(numbers, [-math.inf, *distinct], right=True, labels=False)
    else:
        inner = np.unique(np.quantile(numbers.dropna(), np.arange(1, MOST_LEVELS) / MOST_LEVELS, method="lower"))
        bins = pd.cut(numbers, [-math.inf, *inner[inner < distinct[-1]], math.inf], right=True, labels=False)
    spans = numbers.groupby(bins).agg(["min", "max"])
    texts = dict(zip(spans.index, _words_of(spans["min"].tolist(), spans["max"].tolist()), strict=True))
    return bins.map(texts).astype(pd.CategoricalDtype(list(texts.values()), ordered=True))


def _words_of(lows: Sequence[float], highs: Sequence[float]) -> list[str]:
    """Rising spans in words, with three decimals, or with as many as it takes for no end to read as the next start.

    >>> _words_of([0.21354, 0.21429], [0.21354, 0.25])
    ['0.2135', '0.2143–0.25']
    """
    for decimals in range(3, 18):
        first, last = ([f"{round(end, decimals):.{decimals + 3}g}" for end in ends] for ends in (lows, highs))
        if all(end != start for end, start in zip(last, first[1:], strict=False)):
            break
    return [low if low == high else f"{low}–{high}" for low, high in zip(first, last, strict=True)]


def trend(
    frame: pd.DataFrame, x: Metric, y: str, split: str | None = None, among: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """How y goes with x in each level: level, x, median, lo, hi (the middle half), trials; in stored units.

    Of trials side by side in x, an eighth of the level's and 8 at least, x is the median and y the median with its
    quartiles. Levels of fewer than 8 trials have no row.
    """
    rows = trend_rows(frame, x, y, split, among)
    (goal,) = metrics_of(frame, [y])
    found = []
    for name, mine in rows.groupby("level", observed=True, sort=True):
        count = len(mine)
        size = max(FEWEST, count // 8)
        if count < size:
            continue
        ordered = mine.sort_values(x.column, kind="stable")
        starts = np.unique(np.linspace(0, count - size, WINDOWS).round().astype(int))
        window = {
            column: np.lib.stride_tricks.sliding_window_view(ordered[column].to_numpy(dtype=float), size)[starts]
            for column in (x.column, goal.column)
        }
        lo, median, hi = np.quantile(window[goal.column], (0.25, 0.5, 0.75), axis=1)
        middle = np.median(window[x.column], axis=1)
        points = {"level": str(name), "x": middle, "median": median, "lo": lo, "hi": hi, "trials": size}
        found.append(pd.DataFrame(points))
    return _table(pd.concat(found) if found else [], ["level", "x", "median", "lo", "hi", "trials"])


def trend_rows(
    frame: pd.DataFrame, x: Metric, y: str, split: str | None = None, among: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """The trials of a trend: number, x and y by their columns, level."""
    (goal,) = metrics_of(frame, [y])
    rows = _compared(frame, [y], among, split)
    rows = rows[rows[x.column].notna()]
    level = levels(rows[split]) if split else _one_level(len(rows), rows.index)
    return rows[["number", x.column, goal.column]].assign(level=level)[level.notna()]


def _compared(
    frame: pd.DataFrame, names: Sequence[str], among: Mapping[str, float] | None, split: str | None
) -> pd.DataFrame:
    """The candidates within the budgets, with the columns that are asked about: a copy of all would take longer."""
    limits = among or {}
    among_rows = metrics_of(frame, limits) if limits else ()
    asked = [row.column for row in (*metrics_of(frame, names), *among_rows, *COMPLEXITY.values())]
    columns = dict.fromkeys(["number", "status", "duplicate", *asked, *([split] if split else [])])
    rows = candidates(frame[list(columns)], [*dict.fromkeys([*names, *limits])])
    for row in among_rows:
        values = rows[row.column].to_numpy(dtype=float)
        rows = rows[values >= limits[row.name] if row.maximize else values <= limits[row.name]]
    return rows


def _one_level(count: int, index: pd.Index[Any] | None = None) -> pd.Series[Any]:
    return pd.Series(pd.Categorical([ALL] * count, [ALL], ordered=True), index=index)


def _ranges(rows: pd.DataFrame, row: Metric, codes: NDArray[Any], drawn: Sequence[int]) -> NDArray[np.int64]:
    """The range of complexity that each trial lies in; -1 where a level has too few trials in it to be compared."""
    values = rows[row.column].to_numpy(dtype=float, na_value=np.nan)
    shown = np.isfinite(values) & np.isin(codes, list(drawn))
    if not shown.any():
        return np.full(len(rows), -1)
    edges = np.unique(np.quantile(values[shown], np.arange(1, RANGES) / RANGES))
    strata = np.where(shown, np.searchsorted(edges, values, side="left"), -1)
    for stratum in range(len(edges) + 1):
        inside = strata == stratum
        if any((inside & (codes == code)).sum() < FEWEST_ALIKE for code in drawn):
            strata[inside] = -1
    return strata


def _resampled(
    costs: Numbers, strata: NDArray[np.int64], draws: int, generator: np.random.Generator
) -> tuple[Numbers, Numbers]:
    """(grid of costs, shares at most so costly): first the trials' own shares, then those of `draws` resamples.

    Resampling trials and counting them at the grid is drawing the counts between its values from a multinomial, which
    takes no longer for 100,000 trials than for 100. Every stratum is resampled by itself and weighs the same.
    """
    grid = np.unique(costs)
    if len(grid) > CURVE_POINTS:
        grid = np.unique(np.quantile(costs, np.linspace(0, 1, CURVE_POINTS), method="inverted_cdf"))
    cells = np.searchsorted(grid, costs, side="left")
    total = np.zeros((1 + draws, len(grid)))
    present = np.unique(strata)
    for stratum in present:
        counts = np.bincount(cells[strata == stratum], minlength=len(grid))
        size = counts.sum()
        drawn = generator.multinomial(size, counts / size, size=draws)
        total += np.vstack([counts, drawn]).cumsum(axis=1) / size
    return grid, total / len(present)


def _differences(medians: Mapping[str, Numbers], goal: Metric) -> pd.DataFrame:
    """Of each pair of levels the better one's median minus the other's, the best level's pairs first."""
    order = sorted(medians, key=lambda name: medians[name][0], reverse=goal.maximize)
    found = []
    for i, better in enumerate(order):
        for other in order[i + 1 :]:
            difference = medians[better] - medians[other]
            lo, hi = np.quantile(difference[1:], (0.025, 0.975))
            clear = bool(lo > 0 or hi < 0)
            found.append((better, other, float(difference[0]), float(lo), float(hi), clear))
    return _table(found, ["better", "other", "difference", "lo", "hi", "clear"])


def in_words(found: Distributions, label: str | None = None) -> str:
    """What the distributions say: the level with the best median, and how far it is from the others.

    >>> in_words(edf(frame, "accuracy", "mixer@2"), "Top-1 (proxy, 8 epochs)")
    'mixer in stage 2: window has the best median Top-1 (proxy, 8 epochs), 84.1 %: 2.3 points above conv (0.8 to 4)...'
    """
    goal, drawn = found.metric, found.levels[found.levels["drawn"]]
    called = label or goal.label
    if drawn.empty:
        return f"No level has {FEWEST} trials to compare" + (
            f" at like {COMPLEXITY[found.alike].label}." if found.alike else "."
        )
    unit = "points" if goal.unit == "%" else goal.unit
    name = structure.label(found.split) if found.split else "the study"
    if found.differences.empty:
        row = drawn.iloc[0]
        said = f"the median {called} of {row['trials']:,} trials is {goal.text(row['median'])}"
        return f"{name}, {row['level']}: {said} (95 % interval {goal.number(row['lo'])} to {goal.number(row['hi'])})."
    pairs = found.differences[found.differences["better"] == found.differences["better"].iloc[0]]
    best = str(pairs["better"].iloc[0])
    median = float(drawn.loc[drawn["level"] == best, "median"].iloc[0])
    sign, side = (1, "above") if goal.maximize else (-1, "below")
    parts = []
    for row in pairs.itertuples():
        gap, *ends = (f"{sign * value * goal.scale:.3g}" for value in (row.difference, row.lo, row.hi))
        low, high = ends[::sign]
        parts.append(f"{gap} {unit} {side} {row.other} ({low} to {high}{'' if row.clear else ', not told apart'})")
    listed = "; ".join(parts)
    best_said = f"{name}: {best} has the best median {called}, {goal.text(median)}"
    return f"{best_said}: {listed}. In brackets 95 % bootstrap intervals, each pair by itself."


def _table(rows: Any, columns: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(columns)).reset_index(drop=True)
