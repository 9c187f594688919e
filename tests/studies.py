"""Made-up studies and frames for tests: real Optuna storages, trials recorded as a search records them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.trial import TrialState

from explorer.metrics import metrics
from explorer.record import Conditions, Evaluation, Latency, TrialRecord
from explorer.results import COLUMNS
from explorer.storage import open_storage

optuna.logging.set_verbosity(optuna.logging.WARNING)

PLAIN = {"local": False, "norm": "layer"}
ARCHITECTURE = {
    "image_size": 32,
    "stem": {"kind": "conv", "stride": 4},
    "stages": [
        {"width": 32, "depth": 2, "mixer": {"kind": "window", "size": 4, "heads": 2}} | PLAIN,
        {"width": 64, "depth": 2, "mixer": {"kind": "single_head"}} | {"local": True, "norm": "batch"},
        {"width": 96, "depth": 1, "mixer": {"kind": "conv", "kernel": 5}} | PLAIN,
    ],
}
CONDITIONS = Conditions(
    device="cpu",
    device_name="AMD EPYC",
    runtime="eager",
    precision="fp32",
    batch_size=1,
    image_size=32,
    threads=1,
    torch="2.13.0",
)


def new_study(path: Path, name: str = "tiny", objectives: Sequence[str] = ("accuracy", "latency")) -> optuna.Study:
    """An empty Vitscape study in a SQLite file."""
    study = optuna.create_study(
        study_name=name,
        storage=open_storage(str(path), must_exist=False),
        directions=[row.direction for row in metrics(objectives)],
    )
    study.set_user_attr(
        "vitscape",
        {
            "format": "vitscape/study@1",
            "space": {},
            "space_name": "tiny_32",
            "objectives": list(objectives),
            "data": {"source": "cues", "fingerprint": "0"},
            "proxy": {"epochs": 12, "stop_epoch": 8},
        },
    )
    return study


def evaluation(accuracy: float | None, latency_ms: float | None, **changes: Any) -> Evaluation:
    """An evaluation with these measured values."""
    latency = None
    if latency_ms is not None:
        interval = (latency_ms * 0.98, latency_ms * 1.03)
        latency = Latency(median_ms=latency_ms, ci95_ms=interval, samples=30, stop="converged", conditions=CONDITIONS)
    values: dict[str, Any] = {"macs": 10_000_000, "params": 1_000_000, "activations": 5000, "params_folded": 990_000}
    values |= {"accuracy": accuracy, "latency": latency, "seconds": {"profile": 1.0, "train": 7.5}} | changes
    return Evaluation(**values)


def add(study: optuna.Study, status: str, measured: Evaluation | None = None, **changes: Any) -> int:
    """Records one more trial as the search does; its number."""
    trial = study.ask()
    values: dict[str, Any] = {"id": f"a{trial.number}", "architecture": ARCHITECTURE, "seconds": 9.0} | changes
    record = TrialRecord(status=status, evaluation=measured, **values)
    trial.set_user_attr("vitscape", record.model_dump(mode="json"))
    if status in ("complete", "duplicate"):
        assert measured is not None
        rows = metrics(study.user_attrs["vitscape"]["objectives"])
        study.tell(trial, [row.read(measured) for row in rows])
    else:
        study.tell(trial, state=TrialState.PRUNED if status == "infeasible" else TrialState.FAIL)
    return trial.number


def table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """A results frame of complete trials with these values, without a study."""
    usual = {"status": "complete", "duplicate": False, "architecture": None, "what": "conv/4 · 32×2 window4"}
    numbered = [usual | {"number": i, "id": str(i)} | row for i, row in enumerate(rows)]
    return pd.DataFrame(numbered, columns=list(COLUMNS)).astype(COLUMNS)
