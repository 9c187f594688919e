"""The metrics an architecture is judged by, one row each: column, label, unit, direction, display scale.

Everything that names a metric (objectives of a study, columns of a results frame, axes, budgets, table headings) reads
this table, so that a number has one name and one unit everywhere.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from explorer.record import Evaluation, Latency
from search_spaces.errors import InputError


class MetricError(InputError):
    """Objectives or budgets that are none; one line."""


@dataclass(frozen=True)
class Metric:
    name: str  # as an objective or a budget: "latency"
    column: str  # in a results frame: "latency_ms", in the base unit
    label: str  # "Latency"
    unit: str  # of the displayed number: "ms"
    direction: Literal["maximize", "minimize"]
    scale: float  # displayed number = stored number * scale
    digits: int  # significant digits displayed; whole numbers keep all of theirs
    read: Callable[[Evaluation], float | None]  # the stored number of an evaluation; None where it was not measured

    @property
    def maximize(self) -> bool:
        return self.direction == "maximize"

    @property
    def quantity(self) -> str:
        """Label with its unit, for an axis or a heading: "Latency, ms"."""
        return f"{self.label}, {self.unit}"

    def number(self, value: float) -> str:
        """A stored number as displayed, without unit: 4490566656 MACs -> "4491"."""
        shown = value * self.scale
        if shown == 0 or not math.isfinite(shown):
            return f"{shown:g}"
        return f"{shown:.{max(self.digits - 1 - math.floor(math.log10(abs(shown))), 0)}f}"

    def text(self, value: float) -> str:
        """A stored number with its unit: "2.31 ms"."""
        return f"{self.number(value)} {self.unit}"


def _median(latency: Latency | None) -> float | None:
    return None if latency is None else latency.median_ms


LATENCY = "latency@"  # begins the name of a latency with a runtime and batch size of its own: "latency@cuda_graph/b1"

METRICS: dict[str, Metric] = {
    row.name: row
    for row in (
        Metric("accuracy", "accuracy", "Top-1 (proxy)", "%", "maximize", 1, 3, lambda e: e.accuracy),
        Metric("latency", "latency_ms", "Latency", "ms", "minimize", 1, 3, lambda e: _median(e.latency)),
        Metric("macs", "macs", "MACs", "M", "minimize", 1e-6, 3, lambda e: e.macs),
        Metric("params", "params", "Parameters", "M", "minimize", 1e-6, 3, lambda e: e.params),
        Metric("memory", "memory_mb", "Peak memory", "MiB", "minimize", 1, 3, lambda e: e.peak_memory_mb),
    )
}


# known of the finalists of a search alone, and no objective of one
FINAL = replace(
    METRICS["accuracy"], name="final_accuracy", column="final_accuracy", label="Top-1 (final)", read=lambda e: None
)


def metric(name: str) -> Metric:
    """The row of this name; MetricError where there is none.

    Beside the rows of METRICS there are FINAL and latencies by key: of a runtime and batch size of the search itself
    ("latency@cuda_graph/b1"), and of other devices, where attached ("latency@nvidia_h200/eager/fp16/b1").

    >>> metric("latency@cuda_graph/b1").column
    'latency_ms@cuda_graph/b1'
    """
    if name in METRICS:
        return METRICS[name]
    if name == FINAL.name:
        return FINAL
    key = name.removeprefix(LATENCY)
    if not name.startswith(LATENCY) or not re.fullmatch(r"[\w.-]+(/[\w.-]+)*/b[1-9]\d*(/t[1-9]\d*)?", key):
        raise MetricError(
            f"unknown metric {name!r}; the metrics are: {', '.join(METRICS)},"
            f" and {LATENCY}RUNTIME/bBATCH, such as {LATENCY}cuda_graph/b1"
        )
    return replace(
        METRICS["latency"],
        name=name,
        column=f"latency_ms@{key}",
        label=f"Latency {key}",
        read=lambda evaluation: _median(evaluation.latencies.get(key)),
    )


def metrics(names: Iterable[str]) -> tuple[Metric, ...]:
    """The rows of these names, in their order; MetricError for an unknown, a repeated or no name.

    >>> [row.column for row in metrics(("accuracy", "latency"))]
    ['accuracy', 'latency_ms']
    """
    wanted = tuple(names)
    rows = tuple(metric(name) for name in wanted)
    if len(set(wanted)) < len(wanted) or not wanted:
        raise MetricError(f"objectives must be one or more different metrics, not {', '.join(wanted) or 'none'}")
    return rows


def minimised(rows: Iterable[Metric], evaluation: Evaluation) -> tuple[float, ...] | None:
    """The stored numbers of an evaluation, those to maximise with their sign turned; None where one is missing."""
    values = [(row.read(evaluation), row.maximize) for row in rows]
    known = tuple(-value if maximize else value for value, maximize in values if value is not None)
    return known if len(known) == len(values) else None
