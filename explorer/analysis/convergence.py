"""How a search's hypervolume grew: over its trials, over time, over the device's hours. Pure functions of frames."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from explorer import results
from explorer.analysis.pace import clock

OVER = {"trials": "Trial", "time": "Hours since the first trial began", "device-hours": "Hours of the trials, added up"}
MOST_STEPS = 2000


def growth(
    frame: pd.DataFrame, objectives: Sequence[str], reference: Mapping[str, float] | None = None, over: str = "trials"
) -> pd.DataFrame:
    """The steps of the hypervolume, in the product of the stored units: number (of the trial), x, hypervolume.

    The first and the last ended trial, and those in between that made it grow; at most 2,000 of these, evenly chosen.
    `over` is one of explorer.analysis.pace.clock's. `.attrs["reference"]` states the reference point.
    """
    order = clock(frame, over)
    columns = dict.fromkeys(["status", "duplicate", *(row.column for row in results.metrics_of(frame, objectives))])
    slim = frame.loc[order.index, list(columns)]
    slim.insert(0, "number", np.arange(len(slim)))  # as they ended, which several workers do in another order
    series = results.hypervolume(slim, objectives, reference)
    volumes = series.to_numpy(dtype=float)
    kept = np.flatnonzero(np.diff(volumes, prepend=-1.0) > 0)
    if len(volumes):
        kept = np.union1d(kept, [0, len(volumes) - 1])
    if len(kept) > MOST_STEPS:
        kept = kept[np.unique(np.linspace(0, len(kept) - 1, MOST_STEPS).round().astype(int))]
    steps = order.iloc[kept].assign(hypervolume=volumes[kept]).reset_index(drop=True)
    steps.attrs["reference"] = series.attrs["reference"]
    return steps


def at(steps: pd.DataFrame, x: float) -> float:
    """The hypervolume that a search had reached at a place on its axis; 0 before its first trial ended."""
    reached = steps.loc[steps["x"] <= x, "hypervolume"]
    return float(reached.iloc[-1]) if len(reached) else 0.0


def common_reference(frames: Iterable[pd.DataFrame], objectives: Sequence[str]) -> dict[str, float]:
    """One reference point for several studies: 0 for accuracy, 1.1 times the worst trial of all of them for costs.

    Rounded up to two digits, so that what is printed is what is used and that a slightly worse trial does not move it.
    NaN where no study has a complete trial.
    """
    points = [results.reference_point(frame, objectives) for frame in frames]
    found = {}
    for name in objectives:
        known = [point[name] for point in points if math.isfinite(point[name])]
        found[name] = _up(max(known)) if known else math.nan
    return found


def _up(value: float) -> float:
    """Rounded up to two significant digits.

    >>> _up(1.312), _up(0.0), _up(25_000_001.0)
    (1.4, 0.0, 26000000.0)
    """
    if value <= 0:
        return value
    digits = math.floor(math.log10(value)) - 1
    return float(f"{math.ceil(round(value / 10.0**digits, 6))}e{digits}")
