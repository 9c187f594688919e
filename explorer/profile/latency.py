"""Latency of one forward pass: the measuring protocol.

Warm up until steady; sample in short blocks; stop when the 95 % confidence interval of the median is narrower than a
target, or at a time limit, and say which. The device's lease is held meanwhile: nothing else of ours is timed there.
"""

from __future__ import annotations

import gc
import math
import os
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median
from typing import get_args

import torch
from torch import nn

from explorer.profile.lease import OnWait, device_lease
from explorer.profile.runtimes import RUNTIMES, Forward, example_images, on_unsupported_precision
from explorer.profile.time_block import TIME_BLOCK, TimeBlock
from explorer.record import Conditions, Latency, Precision
from search_spaces.errors import InputError

FEWEST_FOR_INTERVAL = 6  # with five samples even (smallest, largest) holds the median with 93.75 % only
FEWEST_TO_CONVERGE = 30
FEWEST_BLOCKS = 5  # an interval from one moment says nothing of the next
BLOCK_MS = 20.0
LONGEST_BLOCK = 100  # passes
STEADY_BLOCKS = 3  # warm when the medians of that many successive blocks agree
STEADY_WITHIN = 0.03  # of their median
WARM_UP_SHARE = 0.3  # of the time limit at most
WARM_UP_AT_LEAST_S = {"cpu": 0.05, "cuda": 0.3, "mps": 0.3}  # a GPU's clock takes that long to rise


def measure(
    model: nn.Module,
    *,
    image_size: int,
    in_channels: int = 3,
    device: str | torch.device = "cpu",
    precision: Precision = "fp32",
    batch_size: int = 1,
    runtime: str = "eager",
    threads: int = 1,
    target: float = 0.02,
    time_limit_s: float = 10.0,
    on_wait: OnWait | None = None,
) -> Latency:
    """Latency in ms of one forward pass of a (batch_size, in_channels, image_size, image_size) batch.

    The caller folds the model; it is copied, and left as it was. `target` is the half-width of the interval that ends
    the measurement, as a share of the median; the six passes that an interval needs are made whatever `time_limit_s`.
    `threads` counts on a CPU only. Takes the device's lease, whose wait is not part of the time limit.
    """
    where = resolve_device(str(device))
    for name, value in (("image_size", image_size), ("in_channels", in_channels), ("batch_size", batch_size)):
        _require(value >= 1, name, value, "give a whole number of at least 1")
    _require(precision in get_args(Precision), "precision", precision, f"choose {', '.join(get_args(Precision))}")
    _require(runtime in RUNTIMES, "runtime", runtime, f"choose {', '.join(RUNTIMES)}")
    _require(0 < target < 1, "target", target, "give a share of the median between 0 and 1, such as 0.02")
    _require(0 < time_limit_s < math.inf, "time_limit_s", time_limit_s, "give seconds above 0")
    if where.type == "cpu":
        cores = _cores()
        _require(1 <= threads <= cores, "threads", threads, f"this process may use 1 to {cores} cores")
    with device_lease(where, on_wait), _threads(threads if where.type == "cpu" else None):
        example = example_images(batch_size, in_channels, image_size, where)
        with on_unsupported_precision(precision, where):
            forward = RUNTIMES[runtime](model, example, precision)
            forward()
        samples, converged = _sample(forward, where, target, time_limit_s)
    middle, low, high = median_ci(samples)
    if not (math.isfinite(middle) and middle > 0):
        raise RuntimeError(
            f"a median of {middle} ms from {len(samples)} samples is no latency; the clock is too coarse"
        )
    return Latency(
        median_ms=middle,
        ci95_ms=(low, high),
        samples=len(samples),
        stop="converged" if converged else "time_limit",
        conditions=Conditions(
            device=where.type,
            device_name=device_name(where),
            runtime=runtime,
            precision=precision,
            batch_size=batch_size,
            image_size=image_size,
            threads=threads if where.type == "cpu" else None,
            torch=torch.__version__,
        ),
    )


def median_ci(samples: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Median, and the lower and upper end of its distribution-free confidence interval, in the samples' unit.

    The ends are order statistics. Of n independent samples, the number below the true median is binomial (n, 1/2): the
    k-th smallest and k-th largest hold it with probability 1 - 2 P(binomial < k), for whatever distribution.

    >>> median_ci([5.0, 1.0, 2.0, 4.0, 3.0, 6.0])
    (3.5, 1.0, 6.0)
    """
    _require(0 < confidence < 1, "confidence", confidence, "give a probability between 0 and 1, such as 0.95")
    ordered = sorted(samples)
    rank = _rank(len(ordered), (1 - confidence) / 2)
    if rank == 0:
        raise InputError(
            f"{len(ordered)} samples are too few for a {confidence:.0%} interval of their median; take more"
        )
    return median(ordered), ordered[rank - 1], ordered[-rank]


def _rank(n: int, tail: float) -> int:
    """The largest k with P(binomial(n, 1/2) < k) <= tail."""
    # Ten standard deviations below the mean nothing is left to sum, and beyond n = 1074 2**-n is no float any more
    k = max(0, int(n / 2 - 5 * math.sqrt(n)))
    term = math.exp(math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2))  # P(= k)
    below = term
    while below <= tail:
        term *= (n - k) / (k + 1)
        k += 1
        below += term
    return k


def resolve_device(text: str) -> torch.device:
    """The torch device that `text` names: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1", "mps".

    A CUDA device comes with its index. ValueError, one line, where it is not here.
    """
    here = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        here.append("mps")
    current = f"cuda:{torch.cuda.current_device()}" if "cuda:0" in here else "cuda"
    named = {"auto": current if "cuda:0" in here else "cpu", "cuda": current}.get(text, text)
    if named not in here:
        raise InputError(f"device={text!r} is not here; available: {', '.join(here)}")
    return torch.device(named)


def _sample(forward: Forward, device: torch.device, target: float, time_limit_s: float) -> tuple[list[float], bool]:
    """Times in ms, and whether their interval became as narrow as `target`."""
    start = time.perf_counter()
    on_device = torch.cuda.device(device) if device.type == "cuda" else nullcontext()
    with on_device, _without_garbage_collection():
        time_block = TIME_BLOCK[device.type]
        passes = _warm_up(time_block, forward, WARM_UP_AT_LEAST_S[device.type], WARM_UP_SHARE * time_limit_s)
        samples: list[float] = []
        blocks = 0
        while True:
            samples += time_block(forward, passes)
            blocks += 1
            if len(samples) >= FEWEST_TO_CONVERGE and blocks >= FEWEST_BLOCKS:
                middle, low, high = median_ci(samples)
                if (high - low) / 2 <= target * middle:
                    return samples, True
            if len(samples) >= FEWEST_FOR_INTERVAL and time.perf_counter() - start >= time_limit_s:
                return samples, False


def _warm_up(time_block: TimeBlock, forward: Forward, at_least_s: float, at_most_s: float) -> int:
    """Run until the medians of successive blocks agree; returns the passes of a block that lasts about BLOCK_MS."""
    start = time.perf_counter()
    passes = 1
    medians: list[float] = []
    while True:
        medians.append(median(time_block(forward, passes)))
        passes = min(LONGEST_BLOCK, max(1, round(BLOCK_MS / max(medians[-1], 1e-3))))
        last = medians[-STEADY_BLOCKS:]
        steady = len(last) == STEADY_BLOCKS and max(last) - min(last) <= STEADY_WITHIN * median(last)
        elapsed = time.perf_counter() - start
        if (steady and elapsed >= at_least_s) or elapsed >= at_most_s:
            return passes


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def device_name(device: torch.device) -> str:
    """ "NVIDIA H200", "AMD EPYC": the device's own name for itself."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(filter(None, [*names, platform.processor(), platform.machine()]), "unknown")


def _cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _require(holds: bool, name: str, value: object, way_out: str) -> None:
    if not holds:
        raise InputError(f"{name}={value!r}: {way_out}")
