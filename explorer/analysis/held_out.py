"""Latencies predicted of architectures that the predictor had not seen, beside what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from explorer.analysis.agreement import Values, measured, values
from explorer.profile.predict import LEAST, LatencyPredictor, PredictorError, relative_noise
from explorer.results import interval_columns, metrics_of, verdict_column
from search_spaces.architecture import Architecture

MOST = 400  # architectures: a few seconds
FOLDS = 5


def learnable(frame: pd.DataFrame, name: str = "latency", seed: int = 0) -> pd.DataFrame:
    """The rows whose latency can be learnt from: no verdict against it; of more than 400 a random 400, by number."""
    (metric,) = metrics_of(frame, [name])
    rows = measured(frame)
    rows = rows[np.isfinite(values(rows, name).middle)]
    verdicts = rows[verdict_column(metric)]
    rows = rows[verdicts.isna() | (verdicts == "ok")]
    if len(rows) > MOST:
        kept = np.random.default_rng(seed).choice(len(rows), MOST, replace=False)
        rows = rows.iloc[np.sort(kept)]
    return rows


def held_out(
    rows: pd.DataFrame, architectures: Mapping[int, Mapping[str, Any]], name: str = "latency", seed: int = 0
) -> pd.DataFrame:
    """Each row's latency, predicted by a predictor that learnt from four fifths of the others, never from itself.

    `number`, `what`, `measured`, `lo`, `hi` (ms, 95 % interval), `predicted`, `predicted_lo`, `predicted_hi` (ms, 95 %
    interval for a measurement), `error` (% of the measured), `inside` (whether the measured lies in the predicted
    interval), `in_domain` and `why` not. Architectures are canonical forms by trial number; rows without one are left
    out.

    Raises:
        PredictorError: too few to learn from.
    """
    rows = rows[rows["number"].isin(list(architectures))]
    if len(rows) < LEAST:
        raise PredictorError(f"{name}: {len(rows)} architectures measured, a predictor needs {LEAST} or more")
    networks = [Architecture.from_dict(dict(architectures[number]), f"trial {number}") for number in rows["number"]]
    found: Values = values(rows, name)
    (metric,) = metrics_of(rows, [name])
    low, high = (rows[end].to_numpy(dtype=float) for end in interval_columns(metric) or ())
    noise = relative_noise(low, found.middle, high)
    parts = np.random.default_rng(seed).permutation(len(rows)) % FOLDS
    table = rows[["number", "what"]].assign(measured=found.middle, lo=found.low, hi=found.high).reset_index(drop=True)
    pieces = []
    for part in range(FOLDS):
        out, rest = np.flatnonzero(parts == part), np.flatnonzero(parts != part)
        if len(rest) < LEAST:
            raise PredictorError(f"{name}: {len(rows)} architectures measured; {LEAST * 5 // 4} are needed to check it")
        predictor = LatencyPredictor.fit(
            [networks[i] for i in rest], found.middle[rest], noise=noise[rest], folds=FOLDS, seed=seed
        )
        told = predictor.predict([networks[i] for i in out])
        columns = {"predicted": told.median_ms, "predicted_lo": told.lo_ms, "predicted_hi": told.hi_ms}
        pieces.append(pd.DataFrame({**columns, "in_domain": told.in_domain, "why": told.why}, index=out))
    table = table.join(pd.concat(pieces).sort_index())
    table["error"] = 100 * (table["predicted"] / table["measured"] - 1)
    table["inside"] = table["measured"].between(table["predicted_lo"], table["predicted_hi"])
    return table


def summary(table: pd.DataFrame) -> str:
    """How well that went, in one line: "45 architectures, each predicted ...: mean error 4.2 %, ..."."""
    error = table["error"].abs()
    return (
        f"{len(table)} architectures, each predicted without having been seen: mean error {error.mean():.1f} %,"
        f" {100 * (error <= 10).mean():.0f} % within ±10 %,"
        f" {100 * table['inside'].mean():.0f} % inside the predicted 95 % interval"
    )
