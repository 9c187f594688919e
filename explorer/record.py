"""What is kept of a measurement and of a trial: frozen data, checked once when it is read."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Precision = Literal["fp32", "fp16", "bf16"]
Verdict = Literal["ok", "noisy", "throttled", "shared"]
Status = Literal["complete", "infeasible", "stopped", "failed", "interrupted", "duplicate"]
TRUST = ("ok", "noisy", "shared", "throttled")  # verdicts, best first: noise widens the interval, the others shift it


class Record(BaseModel):
    """Base of everything stored: immutable, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Conditions(Record):
    """Under what a latency was measured. Two latencies compare only where these are equal."""

    device: str  # torch device without index: "cpu", "cuda"
    device_name: str  # "AMD EPYC", "NVIDIA H200"
    driver: str | None = None  # the GPU's; None on a CPU
    runtime: str  # "eager"
    precision: Precision
    batch_size: int
    image_size: int  # pixels, square
    threads: int | None  # intra-op threads on a CPU; None on a GPU
    torch: str  # version
    libraries: dict[str, str] = {}  # versions of what else executes the network: {"onnxruntime": "1.31.1"}

    @property
    def key(self) -> str:
        """What tells apart the latencies that one search measures: "cuda_graph/b1"."""
        return f"{self.runtime}/b{self.batch_size}"

    @property
    def full_key(self) -> str:
        """What tells apart latencies of any origin: "nvidia_h200/cuda_graph/fp16/b1", "amd_epyc/eager/fp32/b1/t1"."""
        name = re.sub("[^a-z0-9]+", "_", self.device_name.lower()).strip("_") or "device"
        threads = "" if self.threads is None else f"/t{self.threads}"
        return f"{name}/{self.runtime}/{self.precision}/b{self.batch_size}{threads}"

    @property
    def comparable(self) -> tuple[str, ...]:
        """What two latencies must have in common, besides the protocol, to stand in one column: one search keeps these.

        Device, runtime, precision, batch size and threads (full_key), and the versions of what executes the network.
        """
        return self.full_key, self.torch, *(f"{name} {version}" for name, version in sorted(self.libraries.items()))


class DeviceState(Record):
    """What a device says of itself around a measurement; None where it does not say."""

    clock_mhz: tuple[int, int] | None = None  # of the multiprocessors, lowest and highest seen
    clock_max_mhz: int | None = None  # the highest that the device has
    temperature_c: int | None = None  # highest seen
    throttled_by: tuple[str, ...] = ()  # "thermal", "power", ...: reasons seen in blocks that were dropped
    processes: int | None = None  # others that computed on the device meanwhile
    load: float | None = None  # share of the bound cores' time that others took, 0 to 1
    load_elsewhere: float | None = None  # share of the time that the machine's other cores were busy, 0 to 1


class Occasion(Record):
    """Where and when a device was held alone for a measurement, in seconds since 1970 by that machine's clock."""

    place: str  # machine and device: "node-3/cpu", "node-3/cuda-GPU-4a1c..."
    began: float
    ended: float


class Latency(Record):
    """Time of one forward pass of a whole batch, in milliseconds, how sure it is, and whether to trust it."""

    median_ms: float
    ci95_ms: tuple[float, float]  # interval that holds the median of a repeat
    samples: int
    stop: Literal["converged", "time_limit"]
    conditions: Conditions
    verdict: Verdict | None = None  # None: measured before there were verdicts
    reason: str = ""  # why it is not ok, in words
    drift: float | None = None  # of the sentinel: its time meanwhile over its time at rest, minus 1
    correction: float | None = None  # what the times were divided by for it
    dropped: int = 0  # blocks not counted, being disturbed or throttled
    cores: tuple[int, ...] | None = None  # that the process was bound to; None on a GPU
    state: DeviceState | None = None
    occasion: Occasion | None = None

    @property
    def comparable(self) -> tuple[str, ...]:
        """What two latencies must have in common to stand in one column; the first protocol gave no verdict."""
        return *self.conditions.comparable, *(["protocol 1"] if self.verdict is None else [])

    @property
    def doubt(self) -> tuple[int, float]:
        """How far it is to be trusted: of two measurements the one with less is kept."""
        low, high = self.ci95_ms
        return TRUST.index(self.verdict or "ok"), (high - low) / self.median_ms


class Evaluation(Record):
    """All that is known of one architecture; None where a step was not run."""

    macs: int  # multiply-adds, batch 1
    params: int
    activations: int  # elements, batch 1, as fvcore's ActivationCountAnalysis
    params_folded: int  # after Conv-BN folding
    latency: Latency | None = None  # with the first runtime and batch size of the search
    latencies: dict[str, Latency] = {}  # with its others, by their key: "cuda_graph/b1"
    peak_memory_mb: float | None = None  # MiB, one forward pass under the latency's conditions
    accuracy: float | None = None  # top-1 on the proxy's validation images, %
    accuracy_by_epoch: tuple[float, ...] = ()  # %
    scores: dict[str, float] = {}  # zero-cost, of the untrained network; those that could be told
    infeasible: str | None = None  # the first limit exceeded, in words
    trained: str | None = None  # how, where that was not eagerly and a batch at a time
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
    stopped_after: int | None = None  # epochs after which its training was ended early; 0: it was not begun
    expected_accuracy: float | None = None  # that the rule which did so expected of the whole training, %
    reason: str | None = None  # why it did, in words
