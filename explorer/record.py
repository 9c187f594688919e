"""What is kept of a measurement and of a trial: frozen data, checked once when it is read."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Precision = Literal["fp32", "fp16", "bf16"]
Status = Literal["complete", "infeasible", "failed", "interrupted", "duplicate"]


class Record(BaseModel):
    """Base of everything stored: immutable, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Conditions(Record):
    """Under what a latency was measured. Two latencies compare only where these are equal."""

    device: str  # torch device without index: "cpu", "cuda"
    device_name: str  # "AMD EPYC", "NVIDIA H200"
    runtime: str  # "eager"
    precision: Precision
    batch_size: int
    image_size: int  # pixels, square
    threads: int | None  # intra-op threads on a CPU; None on a GPU
    torch: str  # version


class Latency(Record):
    """Time of one forward pass of a whole batch, in milliseconds, and how sure it is."""

    median_ms: float
    ci95_ms: tuple[float, float]  # distribution-free 95 % confidence interval of the median
    samples: int
    stop: Literal["converged", "time_limit"]
    conditions: Conditions


class Evaluation(Record):
    """All that is known of one architecture; None where a step was not run."""

    macs: int  # multiply-adds, batch 1
    params: int
    activations: int  # elements, batch 1, as fvcore's ActivationCountAnalysis
    params_folded: int  # after Conv-BN folding
    latency: Latency | None = None
    peak_memory_mb: float | None = None  # MiB, one forward pass under the latency's conditions
    accuracy: float | None = None  # top-1 on the proxy's validation images, %
    accuracy_by_epoch: tuple[float, ...] = ()  # %
    infeasible: str | None = None  # the first limit exceeded, in words
    seconds: dict[str, float] = {}  # wall time by step: profile, train


class TrialRecord(Record):
    """The whole record of a trial, one user attribute (`vitscape`) of the Optuna trial."""

    format: Literal["vitscape/trial@1"] = "vitscape/trial@1"
    id: str  # the architecture's id
    architecture: dict[str, Any]  # canonical form
    status: Status
    evaluation: Evaluation | None = None
    seconds: float = 0.0  # wall time of the whole trial
    error: str | None = None  # one line: type and message
    traceback: str | None = None
    preset: str | None = None  # the published model that this is
    duplicate_of: int | None = None  # number of the trial whose values were replayed
    retry_of: int | None = None  # number of the interrupted trial that this repeats
    retries: int = 0
