"""Latency from an architecture alone, learnt from a study's own measurements, with an interval and a domain.

Time is taken as a sum over kinds of operators: a price a call, a multiply-add and an element moved
(explorer/profile/features.py). The prices are never negative, fitted for relative errors, and outliers weigh less. How
far it errs is measured on architectures left out of the fit, and widens with the distance from what was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from explorer.profile.features import columns, features, kinds, sizes
from search_spaces.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from search_spaces.architecture import Architecture

Floats = NDArray[np.float64]

LEAST = 20  # measurements; with fewer the error is above 15 % (docs/predictor.md)
POOR = 15.0  # mean error in %, above which a predictor is said to be of no use for ranking
ROUGH = 0.05  # relative error above which a measurement weighs less (Huber)
RIDGE = 0.03  # pull of the prices to zero, in measurements
MARGIN = 1.1  # a size may lie so far outside the measured range
FAR = 2.0  # so much farther than 95 % of the measurements from the others, errors are twice the usual


class PredictorError(InputError):
    """Measurements from which nothing can be learnt; one line."""


@dataclass(frozen=True)
class Validation:
    """How well latencies were predicted of architectures left out of the fit."""

    measurements: int
    mape: float  # mean absolute error, % of the measured latency
    within_10: float  # % of the architectures whose error is at most 10 %
    coverage: float  # % of the measurements inside the 95 % interval
    in_domain: float  # % of the architectures said to be inside the domain
    tau: float  # Kendall's, of predicted and measured order

    @property
    def poor(self) -> bool:
        """Whether the predictions should not be used."""
        return not self.mape <= POOR

    def text(self) -> str:
        """The report in one line."""
        line = (
            f"{self.measurements} measurements, each predicted from the others: mean error {self.mape:.1f} %,"
            f" {self.within_10:.0f} % within ±10 %, {self.coverage:.0f} % inside the 95 % interval,"
            f" Kendall tau {self.tau:.2f}"
        )
        return line + f"; POOR: above {POOR:.0f} %, measure more before relying on it" * self.poor


@dataclass(frozen=True)
class Prediction:
    """Predicted medians with the interval that holds 95 % of measurements, one entry an architecture."""

    median_ms: Floats
    lo_ms: Floats
    hi_ms: Floats
    in_domain: NDArray[np.bool_]
    why: tuple[str, ...]  # why an architecture is not in the domain; "" where it is


class LatencyPredictor:
    """Predicts the latency under the one set of conditions of its measurements.

    >>> predictor = LatencyPredictor.fit(architectures, milliseconds)
    >>> predictor.validation.mape, predictor.predict([preset("swin_t")]).median_ms
    """

    def __init__(self, names: tuple[str, ...], measured: Sequence[Architecture], fitted: _Prices, spread: float):
        self.names = names
        self.spread = spread  # relative half width of the 95 % interval where there is no distance
        self.validation: Validation
        self._prices = fitted
        self._kinds = frozenset[str]().union(*map(kinds, measured))
        seen = [sizes(architecture) for architecture in measured]
        self._ranges = {name: (min(s[name] for s in seen), max(s[name] for s in seen)) for name in seen[0]}

    @classmethod
    def fit(
        cls,
        architectures: Sequence[Architecture],
        ms: Sequence[float] | Floats,
        *,
        noise: Sequence[float] | Floats | None = None,
        folds: int = 10,
        seed: int = 0,
    ) -> LatencyPredictor:
        """The predictor of these measured medians; `noise` is the relative standard deviation of each.

        Raises:
            PredictorError: fewer than 20 measurements, or one that is no positive number.
        """
        measured = np.asarray(ms, dtype=float)
        _check(architectures, measured, folds)
        weights = np.ones(len(measured)) if noise is None else 1 / (1 + (np.asarray(noise, dtype=float) / ROUGH) ** 2)
        names = columns(architectures)
        table = features(architectures, names)
        parts = np.random.default_rng(seed).permutation(len(measured)) % folds
        predicted, distance, inside = np.empty(len(measured)), np.empty(len(measured)), np.empty(len(measured), bool)
        for part in range(folds):
            out, rest = parts == part, parts != part
            left = _fit_prices(table[rest], measured[rest], weights[rest])
            predicted[out], distance[out] = left.predict(table[out])
            without = cls(names, [a for a, keep in zip(architectures, rest, strict=True) if keep], left, 0.0)
            inside[out] = without.predict([a for a, keep in zip(architectures, out, strict=True) if keep]).in_domain
        score = np.abs(np.log(measured / predicted)) / np.sqrt(1 + distance)
        covered = np.concatenate([score[parts == p] <= _quantile95(score[parts != p]) for p in range(folds)])
        found = cls(names, architectures, _fit_prices(table, measured, weights), _quantile95(score))
        found.validation = _validation(measured, predicted, float(covered.mean()), float(inside.mean()))
        return found

    def predict(self, architectures: Sequence[Architecture]) -> Prediction:
        """Median latency in ms of each architecture, its 95 % interval, and whether and why not it may be relied on."""
        table = features(architectures, self.names)
        median, distance = self._prices.predict(table)
        half = self.spread * np.sqrt(1 + distance)
        why = tuple(
            self._strange(architecture, row, far)
            for architecture, row, far in zip(architectures, table, distance, strict=True)
        )
        inside = np.array([not text for text in why], dtype=bool)
        return Prediction(median, median * np.exp(-half), median * np.exp(half), inside, why)

    def _strange(self, architecture: Architecture, row: Floats, distance: float) -> str:
        """Why an architecture is outside what was measured, in words; "" where it is inside."""
        unseen = sorted(kinds(architecture) - self._kinds)
        if unseen:
            return f"no measured network has: {', '.join(unseen)}"
        for name, value in sizes(architecture).items():
            low, high = self._ranges[name]
            if not low / MARGIN <= value <= high * MARGIN:
                return f"{name} {value:g}: measured were {low:g} to {high:g}"
        if distance > self._prices.farthest:
            kind = self.names[self._prices.strangest(row)].split(":")[0]
            return f"more of its time in one kind of operator than in any measured network: {kind}"
        return ""


def cross_validate(
    architectures: Sequence[Architecture], ms: Sequence[float] | Floats, *, folds: int = 10, seed: int = 0
) -> Validation:
    """How well each latency is predicted from the other folds' measurements."""
    return LatencyPredictor.fit(architectures, ms, folds=folds, seed=seed).validation


def from_frame(frame: pd.DataFrame, metric_name: str = "latency") -> LatencyPredictor:
    """The predictor of a study's latencies, each architecture's earliest that no verdict speaks against.

    `frame` is that of explorer.results; `metric_name` one of its latencies, such as "latency@cuda_graph/b1". A median
    whose interval is none (relative_noise) is taken without it.

    Raises:
        PredictorError: the metric is no latency, or the study has fewer than 20 to learn from.
        MetricError: the study has no such latency.
    """
    from explorer.results import interval_columns, metrics_of, verdict_column
    from search_spaces.architecture import Architecture

    (metric,) = metrics_of(frame, [metric_name])
    ends = interval_columns(metric)
    if ends is None:
        raise PredictorError(f"latency={metric_name}: is no latency; give latency, or latency@RUNTIME/bBATCH")
    rows = frame[frame[metric.column].notna() & frame["status"].isin(["complete", "infeasible", "stopped"])]
    trusted = rows[rows[verdict_column(metric)].isna() | (rows[verdict_column(metric)] == "ok")].drop_duplicates("id")
    if len(trusted) < LEAST:
        doubtful = len(rows) - len(rows[rows["id"].isin(trusted["id"])])
        apart = f" ({doubtful} more have a verdict against them)" if doubtful else ""
        raise PredictorError(
            f"{metric_name}: {len(trusted)} architectures measured{apart}, a predictor needs {LEAST} or more;"
            " search on, or attach measurements"
        )
    low, middle, high = (trusted[name].to_numpy(dtype=float) for name in (ends[0], metric.column, ends[1]))
    return LatencyPredictor.fit(
        [Architecture.from_dict(data, "trial") for data in trusted["architecture"]],
        middle,
        noise=relative_noise(low, middle, high),
    )


def relative_noise(low: Floats, middle: Floats, high: Floats) -> Floats:
    """The relative standard deviation of medians with 95 % intervals, the interval taken as normal in the logarithm.

    Where an interval is not finite and above 0 with the median inside, the median is taken without it: as noisy as the
    median of the others, or as exact where no other has one.

    >>> relative_noise(np.array([0.98, 0.0]), np.array([1.0, 1.0]), np.array([1.02, 1.1])).round(4)
    array([0.0102, 0.0102])
    """
    known = (low > 0) & (low <= middle) & (middle <= high) & np.isfinite(high)
    noise = np.log(np.where(known, high, 1.0) / np.where(known, low, 1.0)) / (2 * 1.96)
    found: Floats = np.where(known, noise, np.median(noise[known]) if known.any() else 0.0)
    return found


@dataclass(frozen=True)
class _Prices:
    """What a unit of each column costs, and where the measurements lie in the space of the columns."""

    ms: Floats  # (columns,) a unit
    usual: Floats  # (columns,) mean work a millisecond
    inverse: Floats  # (columns, columns) of the measurements' covariance about zero, ridge included
    most: Floats  # (columns,) highest share of the time seen
    farthest: float  # distance beyond which an architecture is unlike the measured ones

    def predict(self, table: Floats) -> tuple[Floats, Floats]:
        """(ms, distance) of each row; the distance is its leverage, about columns / measurements on average."""
        ms = np.maximum(table @ self.ms, np.finfo(float).tiny)
        relative = table / ms[:, None] / self.usual
        return ms, np.einsum("ij,jk,ik->i", relative, self.inverse, relative)

    def strangest(self, row: Floats) -> int:
        """The column of which a network has most beyond what was seen."""
        return int(np.argmax(row / max(float(row @ self.ms), np.finfo(float).tiny) / self.most))


def _fit_prices(table: Floats, ms: Floats, weights: Floats) -> _Prices:
    """Non-negative prices that minimise the squared relative error, by iterated reweighting of the outliers."""
    from scipy.optimize import nnls

    relative = table / ms[:, None]
    usual = relative.mean(0)
    usual[usual == 0] = 1.0  # a column that these measurements lack
    relative = relative / usual
    pull = np.sqrt(RIDGE) * np.eye(len(usual))
    root = np.sqrt(weights)
    for _ in range(4):
        prices, _ = nnls(np.vstack([relative * root[:, None], pull]), np.concatenate([root, np.zeros(len(usual))]))
        error = np.abs(relative @ prices - 1)
        root = np.sqrt(weights * np.minimum(1, ROUGH / np.maximum(error, 1e-9)))
    inverse = np.linalg.inv(relative.T @ relative + pull**2)
    own = np.einsum("ij,jk,ik->i", relative, inverse, relative)
    most = np.maximum((relative * usual).max(0), 1e-200)  # above 0, for a column that these measurements lack
    return _Prices(prices / usual, usual, inverse, most, farthest=FAR * float(np.quantile(own / (1 - own), 0.95)))


def _quantile95(score: Floats) -> float:
    """The value that a further score stays below with 95 % probability (split conformal: n + 1)."""
    return float(np.sort(score)[min(len(score), int(np.ceil(0.95 * (len(score) + 1)))) - 1])


def _validation(ms: Floats, predicted: Floats, covered: float, inside: float) -> Validation:
    from scipy.stats import kendalltau

    error = np.abs(predicted / ms - 1)
    tau = float(kendalltau(ms, predicted).statistic)
    return Validation(
        measurements=len(ms),
        mape=100 * float(error.mean()),
        within_10=100 * float((error <= 0.1).mean()),
        coverage=100 * covered,
        in_domain=100 * inside,
        tau=tau,
    )


def _check(architectures: Sequence[Architecture], ms: Floats, folds: int) -> None:
    if len(architectures) != len(ms):
        raise PredictorError(f"ms: {len(ms)} latencies of {len(architectures)} architectures; give one of each")
    if len(ms) < LEAST:
        raise PredictorError(f"measurements={len(ms)}: a predictor needs {LEAST} or more; measure more architectures")
    if not (np.isfinite(ms) & (ms > 0)).all():
        wrong = ms[~(np.isfinite(ms) & (ms > 0))][0]
        raise PredictorError(f"ms={wrong:g}: a latency is a positive number of milliseconds")
    if not 2 <= folds <= len(ms):
        raise PredictorError(f"folds={folds}: give 2 to {len(ms)}, the number of measurements")
