"""Architectures side by side as tables of words: the choices that differ, and their numbers, the best marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from dashboard.canvas import called
from dashboard.figures.devices import short
from explorer import results, structure
from explorer.analysis.agreement import DOUBTFUL
from explorer.analysis.distribution import COMPLEXITY
from explorer.metrics import METRICS, Metric
from search_spaces.architecture import Architecture
from search_spaces.cost import cost

BEST, TIES = "✓ best", "✓ ties for best"
MISSING = "—"
OTHERS = {  # choices that are no structure columns: place in the canonical form, what it is called
    ("classes",): "classes",
    ("stem", "norm"): "norm of the stem",
    ("stem", "position"): "position embedding",
    ("head", "norm"): "norm of the head",
}


@dataclass(frozen=True)
class Candidate:
    """One of the architectures that are compared: a trial, or a published model."""

    label: str  # "trial 12", "swin_t"
    architecture: dict[str, Any] = field(repr=False)  # canonical form
    row: pd.DataFrame = field(repr=False)  # the trial's row of the frame; no row for a published model

    @property
    def costs(self) -> dict[str, int]:
        """MACs, parameters and activations in closed form."""
        counted = cost(Architecture.from_dict(self.architecture))
        return {name: int(getattr(counted, name)) for name in COMPLEXITY}


def differences(candidates: Sequence[Candidate]) -> pd.DataFrame:
    """One row a choice in which the architectures differ: `choice`, and what each has, by its label."""
    columns = {one.label: structure.columns_of(one.architecture) for one in candidates}
    names = dict.fromkeys(name for found in columns.values() for name in found if name != "stem")
    rows = {structure.label(name): [_word(found.get(name)) for found in columns.values()] for name in _by_stage(names)}
    for place, words in OTHERS.items():
        rows[words] = [_word(_at(one.architecture, place)) for one in candidates]
    kept = [[choice, *words] for choice, words in rows.items() if len(set(words)) > 1]
    return pd.DataFrame(kept, columns=["choice", *columns], dtype="object")


def numbers(candidates: Sequence[Candidate], frame: pd.DataFrame, data: str) -> pd.DataFrame:
    """One row a metric that any has: `metric` with its unit, what each has by its label, the best of a row marked.

    Where several are compared, those count as ties for the best whose intervals overlap the best one's. A latency whose
    verdict is not ok says it, and one that its verdict shifts (shared, throttled) is not compared. `data` says what the
    accuracy stands for.
    """
    measured = [name for name in METRICS if name not in COMPLEXITY]
    wanted = [*measured[:1], *results.latencies(frame), *[name for name in measured[1:] if name != "latency"]]
    shown = [called(metric, data) for metric in results.metrics_of(frame, dict.fromkeys(wanted))]
    rows = []
    for metric in [*shown, *COMPLEXITY.values()]:
        low, middle, high = _values(candidates, metric)
        if np.isfinite(middle).any():
            verdicts = [_verdict(one.row, metric) for one in candidates]
            words = [_text(metric, *values) for values in zip(low, middle, high, strict=True)]
            trusted = np.where(np.isin(verdicts, DOUBTFUL), np.nan, middle).tolist()
            marks = best(low, trusted, high, metric.maximize) if np.isfinite(trusted).sum() > 1 else [""] * len(words)
            cells = zip(words, verdicts, marks, strict=True)
            rows.append([_heading(metric, frame), *(" ".join(filter(None, cell)) for cell in cells)])
    return pd.DataFrame(rows, columns=["metric", *(one.label for one in candidates)], dtype="object")


def best(low: Sequence[float], middle: Sequence[float], high: Sequence[float], maximize: bool) -> list[str]:
    """Which of some numbers with intervals is the best, "" for the others; nothing where all are equal.

    >>> best([0.9, 1.05, 3.0], [1.0, 1.15, 3.1], [1.1, 1.25, 3.2], maximize=False)
    ['✓ ties for best', '✓ ties for best', '']
    """
    sign = -1.0 if maximize else 1.0
    costs = sign * np.asarray(middle, dtype=float)
    ends = np.sort(np.column_stack([sign * np.asarray(low, dtype=float), sign * np.asarray(high, dtype=float)]), axis=1)
    first = int(np.nanargmin(costs))
    among = (ends[:, 0] <= ends[first, 1]) & np.isfinite(costs)
    if among.sum() == np.isfinite(costs).sum() > 1 and np.nanmin(costs) == np.nanmax(costs):
        return [""] * len(costs)
    word = TIES if among.sum() > 1 else BEST
    return [word if here else "" for here in among]


def _values(candidates: Sequence[Candidate], metric: Metric) -> tuple[list[float], list[float], list[float]]:
    """Lower end, middle and upper end of a metric for each, equal where it has no interval; NaN where not measured."""
    if metric.name in COMPLEXITY:
        counts = [float(one.costs[metric.name]) for one in candidates]
        return counts, counts, counts
    ends = results.interval_columns(metric) or (metric.column, metric.column)
    columns = [[_cell(one.row, column) for one in candidates] for column in (ends[0], metric.column, ends[1])]
    low, middle, high = (np.array(values, dtype=float) for values in columns)
    low, high = np.where(np.isfinite(low), low, middle), np.where(np.isfinite(high), high, middle)
    return low.tolist(), middle.tolist(), high.tolist()


def _verdict(row: pd.DataFrame, metric: Metric) -> str:
    """The verdict on a latency where it is not ok; "" for all else."""
    column = results.verdict_column(metric)
    if results.interval_columns(metric) is None or row.empty or column not in row.columns:
        return ""
    verdict = row[column].iloc[0]
    return "" if pd.isna(verdict) or verdict == "ok" else str(verdict)


def _cell(row: pd.DataFrame, column: str) -> float:
    if row.empty or column not in row.columns or pd.isna(row[column].iloc[0]):
        return float("nan")
    return float(row[column].iloc[0])


def _text(metric: Metric, low: float, middle: float, high: float) -> str:
    if not np.isfinite(middle):
        return MISSING
    between = f" [{metric.number(low)}, {metric.number(high)}]" if low < high else ""
    return f"{metric.number(middle)}{between}"


def _heading(metric: Metric, frame: pd.DataFrame) -> str:
    """What a row is of, and which way is better: "Latency, ms ↓ · eager/b1"."""
    better = "↑" if metric.maximize else "↓"
    if metric.column.startswith("latency_ms"):
        return f"Latency, ms {better} · {short(frame, metric.name)}"
    return f"{metric.quantity} {better}"


def _by_stage(names: Mapping[str, None]) -> list[str]:
    """The general columns, then those of each stage in turn."""
    return sorted(names, key=lambda name: int(name.partition("@")[2] or 0))


def _at(data: Mapping[str, Any], place: tuple[str, ...]) -> Any:
    found: Any = data
    for name in place:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _word(value: Any) -> str:
    """A choice in a word."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
