"""Returns what of a study is seen against two objectives, in numbers: made once, drawn with any budget and choice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dashboard.canvas import Numbers, called
from dashboard.figures.density import EXACT, NEAREST, depth_below_front
from dashboard.figures.hover import texts
from explorer import results, ties
from explorer.metrics import METRICS, Metric, MetricError

CHART = (880.0, 400.0)  # pixels, about: in what nearness to the front is judged
BESIDE = 600  # infeasible and other trials that are drawn
NO_CHANCE = pd.Series(dtype="float64", name="probability")
Rows: TypeAlias = NDArray[np.intp]  # positions
ALWAYS = ("number", "status", "duplicate", "preset", "what", "device_name", "threads", "runtime", "precision")


@dataclass(frozen=True)
class Landscape:
    """The trials to draw against a cost (x) and another objective (y), and what is known of the front among them."""

    x: Metric
    y: Metric
    best: pd.DataFrame  # the front, by rising x
    dominated: pd.DataFrame  # drawn point by point: all, or of many what ties with the front and the nearest to it
    cloud: Numbers  # (points, 2) displayed x and y of the other dominated ones, drawn as a picture
    published: pd.DataFrame  # trials that are published models
    beside: pd.DataFrame  # infeasible, failed or interrupted trials of which x is known
    knee: pd.Series[Any] | None  # None of a front of two or less, where neither is a compromise
    probability: pd.Series[Any]  # of being on the front, by trial number; empty where it was not asked for
    ties: Mapping[int, tuple[int, ...]]  # members of the front that a trial cannot be told from
    conditions: str  # of the latencies among x and y
    texts: Mapping[int, str]  # what each trial that is drawn is, by its number
    count: int  # architectures, complete and with both measured
    beside_count: int  # of `beside` and those like them that are not drawn

    @property
    def tied(self) -> pd.DataFrame:
        """Dominated trials that cannot be told from the front, published models included: a chance worth telling of."""
        likely = self.probability.index[self.probability >= ties.WORTH_TELLING]
        return self.dominated[self.dominated["number"].isin(likely)]


def axes(frame: pd.DataFrame, objectives: Sequence[str]) -> tuple[Metric, Metric]:
    """(y, x) of two objectives: a cost is on x."""
    rows = results.metrics_of(frame, objectives)
    if len(rows) != 2:
        raise MetricError(f"a front is drawn of two objectives, not of {', '.join(objectives)}")
    first, second = rows
    return (second, first) if second.maximize else (first, second)


def landscape(
    frame: pd.DataFrame,
    objectives: Sequence[str] = results.OBJECTIVES,
    *,
    data: str = "",
    sure: bool = False,
    also: Iterable[str] = (),
    among: NDArray[np.bool_] | None = None,
) -> Landscape:
    """What is drawn of a frame against two objectives; with `sure`, also how sure the front is (explorer.ties).

    `data` says what the accuracies stand for ("cues, 8 epochs"), by which they are called here.
    `also` names the statuses that are shown beside the complete trials: infeasible, failed, interrupted. `among` is
    True for the rows to take, where not all are meant. The frame is left as it is; 100,000 rows take some 0.1 s.
    """
    y, x = (called(metric, data) for metric in axes(frame, objectives))
    slim = _columns(frame, (x, y))
    if among is not None:
        slim = slim[among]
    best_rows = results.front(slim, objectives).sort_values(x.column, kind="stable")
    status = slim["status"].to_numpy(dtype=object)
    values = np.column_stack([slim[m.column].to_numpy(dtype=float, na_value=np.nan) * m.scale for m in (x, y)])
    complete = (status == "complete") & ~slim["duplicate"].to_numpy(dtype=bool) & np.isfinite(values).all(axis=1)
    numbers = slim["number"].to_numpy()
    dominated = complete & ~np.isin(numbers, best_rows["number"].to_numpy())
    preset = dominated & slim["preset"].notna().to_numpy()
    timed = [row.name for row in (y, x) if results.interval_columns(row)]
    sure = sure and bool(timed) and not best_rows.empty  # without a latency nothing is uncertain
    probability = ties.front_probability(slim, objectives) if sure else NO_CHANCE
    probability = probability[probability > 0]
    likely = dominated & np.isin(numbers, probability.index[probability >= ties.WORTH_TELLING].to_numpy())
    rest = dominated & ~preset & ~likely
    near, far = _nearest(values, np.flatnonzero(rest), np.flatnonzero(complete & ~dominated), x, y)
    near = np.union1d(near, np.flatnonzero(likely))  # whose number is not bounded
    other = np.flatnonzero(np.isin(status, list(also)) & np.isfinite(values[:, 0]))
    shown_others = other[np.linspace(0, len(other) - 1, min(BESIDE, len(other))).astype(int)]
    place = np.arange(len(frame)) if among is None else np.flatnonzero(among)  # in the whole frame
    best = frame.iloc[place[pd.Index(numbers).get_indexer(best_rows["number"])]].reset_index(drop=True)
    drawn = [frame.iloc[place[rows]] for rows in (near, np.flatnonzero(complete & ~slim["preset"].isna().to_numpy()))]
    others = frame.iloc[place[shown_others]]
    measured = slim[complete]
    return Landscape(
        x=x,
        y=y,
        best=best,
        dominated=drawn[0],
        cloud=values[far],
        published=drawn[1],
        beside=others,
        knee=results.knee(best, objectives) if len(best) > 2 else None,
        probability=probability,
        ties=ties.ties(slim, objectives) if sure else {},
        conditions=" against ".join(dict.fromkeys(results.conditions(measured, name) for name in timed)),
        texts=texts([best, *drawn, others], (x, y), probability),
        count=int(complete.sum()),
        beside_count=len(other),
    )


def extent(scene: Landscape, metric: Metric, column: int) -> Numbers:
    """All displayed numbers that an axis has to hold: the points, and the ends of the front's intervals."""
    rows = [scene.best, scene.dominated, scene.published]
    shown = [part[metric.column].to_numpy(dtype=float, na_value=np.nan) * metric.scale for part in rows]
    for end in results.interval_columns(metric) or ():
        shown.append(scene.best[end].to_numpy(dtype=float, na_value=np.nan) * metric.scale)
    every = np.concatenate([*shown, scene.cloud[:, column]])
    return every[np.isfinite(every)]


def _columns(frame: pd.DataFrame, metrics: Sequence[Metric]) -> pd.DataFrame:
    """The frame with the columns alone that a front needs: slicing 60 of 100,000 rows takes its time."""
    wanted = [*ALWAYS, "batch_size"]
    for metric in (*METRICS.values(), *metrics):
        wanted += [metric.column, *(results.interval_columns(metric) or ())]
    return frame[[name for name in dict.fromkeys(wanted) if name in frame.columns]]


def _nearest(values: Numbers, dominated: Rows, best: Rows, x: Metric, y: Metric) -> tuple[Rows, Rows]:
    """Positions of the dominated rows that are drawn one by one, and of those that are not."""
    if len(dominated) <= EXACT:
        return dominated, dominated[:0]
    complete = np.concatenate([dominated, best])
    places = np.empty((len(values), 2))
    for column, (metric, pixels) in enumerate(zip((x, y), CHART, strict=True)):
        shown = values[:, column]
        if not metric.maximize and (shown[complete] > 0).all():
            shown = np.log(shown, where=shown > 0, out=np.full(len(shown), np.nan))
        span = np.ptp(shown[complete]) or 1.0
        places[:, column] = (-shown if metric.maximize else shown) / span * pixels
    depth = depth_below_front(places[dominated], places[best])
    order = np.argsort(depth, kind="stable")
    return np.sort(dominated[order[:NEAREST]]), np.sort(dominated[order[NEAREST:]])
