"""What follows of a study's frame: front, hypervolume, knee, best under budgets. Pure functions.

`frame(study)` makes the frame. Objectives are named as in explorer/metrics.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import moocore
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explorer.frame import (
    COLUMNS,
    conditions,
    coverage,
    frame,
    interval_columns,
    latencies,
    metrics_of,
    verdict_column,
    what,
)
from explorer.metrics import Metric, MetricError

__all__ = [
    "COLUMNS",
    "OBJECTIVES",
    "best_under",
    "candidate_points",
    "candidates",
    "conditions",
    "coverage",
    "find_trial",
    "frame",
    "front",
    "gains",
    "hypervolume",
    "interval_columns",
    "knee",
    "latencies",
    "metrics_of",
    "points",
    "reference_point",
    "verdict_column",
    "volume",
    "what",
]

OBJECTIVES = ("accuracy", "latency")
Points: TypeAlias = NDArray[np.float64]
FIRST_BLOCK = 32  # points that are compared with an archive at once; twice as many each time
REFERENCE_MARGIN = 1.1  # default reference point: this times the worst cost seen


def front(frame: pd.DataFrame, objectives: Sequence[str] = OBJECTIVES) -> pd.DataFrame:
    """The rows that no other dominates, by rising cost (the first objective to minimize); same columns as the frame.

    Complete trials alone count, each architecture once, and only with all objectives measured. Of several architectures
    with the very same objectives the earliest trial stays.
    """
    rows, points = candidate_points(frame, objectives)
    best = frame.iloc[rows[moocore.is_nondominated(points)] if len(rows) else rows]
    among = metrics_of(frame, objectives)
    cost = next((row for row in among if not row.maximize), among[0])
    return best.sort_values(cost.column, kind="stable", ascending=not cost.maximize).reset_index(drop=True)


def knee(frame: pd.DataFrame, objectives: Sequence[str] = OBJECTIVES) -> pd.Series[Any] | None:
    """The front's row farthest from the line between its ends: where giving up either objective starts to cost more.

    Each objective is scaled to 0 (worst on the front) .. 1 (best), costs by their logarithm, since twice the time
    weighs the same from 1 to 2 ms as from 10 to 20. The knee has the largest sum: for two objectives that is the
    distance from the straight line between the ends, for more from the plane through the best of each (Das 1999). A row
    that is the worst in some objective, as both ends are, is no compromise and is taken only where there is no other.
    Ties, and so the two points of a front of two, go to the cheaper. None where the front is empty.
    """
    best = front(frame, objectives)
    if best.empty:
        return None
    gained = gains(best, objectives)
    total = np.round(gained.sum(axis=1), 9)  # rounded: the two ends are equals
    inner = (gained > 0).all(axis=1)
    return best.iloc[int(np.argmax(np.where(inner | ~inner.any(), total, -np.inf)))]


def gains(rows: pd.DataFrame, objectives: Sequence[str] = OBJECTIVES) -> Points:
    """(rows, objectives that differ): 0 for the worst in an objective to 1 for the best, costs by their logarithm."""
    scaled = []
    for row in metrics_of(rows, objectives):
        values = rows[row.column].to_numpy(dtype=float)
        gain = values if row.maximize else -np.log(values)
        if np.ptp(gain) > 0:
            scaled.append((gain - gain.min()) / np.ptp(gain))
    return np.array(scaled).reshape(len(scaled), len(rows)).T


def best_under(frame: pd.DataFrame, objective: str = "accuracy", **budgets: float) -> pd.Series[Any] | None:
    """The row with the best objective within all budgets, None where there is none.

    Budgets are in stored units and inclusive: a most for costs (latency=2.0 ms, macs=1e9, memory=64 MiB), a least for
    accuracy (%). Of equals the first in the budgets' own cost, then the earliest trial.

    >>> best_under(frame(study), "accuracy", latency=2.0, macs=1e9)
    """
    (goal,) = metrics_of(frame, [objective])
    limits = metrics_of(frame, budgets) if budgets else ()
    rows, _ = candidate_points(frame, [objective])
    for row in limits:
        values = _values(frame, row)[rows]
        rows = rows[values >= budgets[row.name] if row.maximize else values <= budgets[row.name]]
    for row in (goal, *limits):  # of those that are left the best in each
        values = _values(frame, row)[rows]
        rows = rows[values == (values.max() if row.maximize else values.min())] if len(rows) else rows
    return frame.iloc[rows[0]] if len(rows) else None


def find_trial(frame: pd.DataFrame, number: int) -> pd.Series[Any] | None:
    """The row of a trial by its number; None where there is none, or none with an architecture."""
    known = "architecture" if "architecture" in frame.columns else "id"  # both or none
    rows = np.flatnonzero((frame["number"] == number) & frame[known].notna())
    return frame.iloc[rows[0]] if len(rows) else None


def reference_point(frame: pd.DataFrame, objectives: Sequence[str] = OBJECTIVES) -> dict[str, float]:
    """The hypervolume's default reference by objective: 0 for accuracy, 1.1 times the worst complete trial for costs.

    It moves when a worse trial arrives. To compare studies, or one study at two times, state one reference for both.
    """
    _, points = candidate_points(frame, objectives)
    worst = points.max(axis=0) * REFERENCE_MARGIN if len(points) else np.full(points.shape[1], np.nan)
    among = zip(metrics_of(frame, objectives), worst, strict=True)
    return {row.name: 0.0 if row.maximize else float(cost) for row, cost in among}


def hypervolume(
    frame: pd.DataFrame, objectives: Sequence[str] = OBJECTIVES, reference: Mapping[str, float] | None = None
) -> pd.Series[Any]:
    """Hypervolume of the front after each trial, indexed by trial number, in the product of the units (%·ms).

    One reference holds for the whole series (reference_point where None is given), so it never falls; it is stated in
    `.attrs["reference"]`. Trials outside the reference add nothing.
    """
    rows = metrics_of(frame, objectives)
    stated = dict(reference) if reference is not None else reference_point(frame, objectives)
    if set(stated) != {row.name for row in rows}:
        raise MetricError(f"the reference point needs a value for each of {', '.join(row.name for row in rows)}")
    corner = np.array([-stated[row.name] if row.maximize else stated[row.name] for row in rows])
    found, points = candidate_points(frame, objectives)
    inside = (points < corner).all(axis=1)
    numbers = np.sort(frame["number"].to_numpy())
    volumes = np.zeros(len(numbers))
    at = np.searchsorted(numbers, frame["number"].to_numpy()[found[inside]])
    for place, volume in _improvements(points[inside], corner):
        volumes[at[place]] = volume
    volumes = np.maximum.accumulate(volumes) if len(volumes) else volumes  # not even rounding may make it fall
    series = pd.Series(volumes, index=pd.Index(numbers, name="number"), name="hypervolume", dtype="float64")
    series.attrs["reference"] = stated
    return series


def _improvements(points: Points, corner: Points) -> Iterator[tuple[int, float]]:
    """The place of each point that no earlier one is at least as good as, and the hypervolume with it.

    Most points never come that far: ever larger blocks of them are compared with what is there before them at once.
    """
    archive = np.empty((0, points.shape[1]))
    start, size = 0, FIRST_BLOCK
    while start < len(points):
        block = points[start : start + size]
        open_ones = np.ones(len(block), dtype=bool)
        for member in archive:
            open_ones[open_ones] = ~(member <= block[open_ones]).all(axis=1)
        for place in np.flatnonzero(open_ones):
            point = block[place]
            if not (archive <= point).all(axis=1).any():
                archive = np.vstack([archive[~(point <= archive).all(axis=1)], point])
                yield start + int(place), volume(archive, corner)
        start, size = start + size, 2 * size


def volume(points: Points, corner: Points) -> float:
    """Hypervolume of points to be minimised, of one objective or more, against a corner."""
    if points.shape[1] == 1:  # moocore starts at two objectives
        return float((corner - points).max())
    return float(moocore.hypervolume(points, ref=corner))


def candidates(frame: pd.DataFrame, objectives: Sequence[str]) -> pd.DataFrame:
    """Complete rows, no duplicates, all objectives finite, by number."""
    return frame.iloc[candidate_points(frame, objectives)[0]].reset_index(drop=True)


def candidate_points(frame: pd.DataFrame, objectives: Sequence[str]) -> tuple[NDArray[np.intp], Points]:
    """Places of the candidates' rows in the frame, by number, and their points, to minimize."""
    complete = (frame["status"] == "complete").to_numpy(dtype=bool) & ~frame["duplicate"].to_numpy(dtype=bool)
    every = points(frame, objectives)
    rows = np.flatnonzero(complete & np.isfinite(every).all(axis=1))
    numbers = frame["number"].to_numpy()[rows]
    if (numbers[1:] < numbers[:-1]).any():
        rows = rows[np.argsort(numbers, kind="stable")]
    return rows, every[rows]


def points(rows: pd.DataFrame, objectives: Sequence[str]) -> Points:
    """(rows, objectives), all to be minimized; NaN where missing."""
    columns = [(_values(rows, row), row.maximize) for row in metrics_of(rows, objectives)]
    return np.column_stack([-values if maximize else values for values, maximize in columns])


def _values(rows: pd.DataFrame, metric: Metric) -> NDArray[np.float64]:
    """(rows,) stored numbers, NaN where missing."""
    found: NDArray[np.float64] = rows[metric.column].to_numpy(dtype=np.float64, na_value=np.nan)
    return found
