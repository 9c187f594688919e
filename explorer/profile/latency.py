"""Latency of one forward pass: the measuring protocol.

Warm up until steady; sample in short blocks, between blocks of a fixed reference network, the sentinel; leave out the
blocks that were disturbed; stop when the interval of the median is narrower than a target, or at a time limit, and say
which. The sentinel's drift from its time at rest corrects the times, or condemns them. The device's lease is held
meanwhile: nothing else of ours is timed or trained there.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor, nn

from explorer.profile.cores import require_cores
from explorer.profile.device import device_name, resolve_device
from explorer.profile.lease import OnWait, device_lease, lease_key
from explorer.profile.quiet import undisturbed
from explorer.profile.runtimes import Forward, example_images, on_unsupported_precision, require_runtime
from explorer.profile.sampling import Block, Estimate, Series, estimate, sample
from explorer.profile.sentinel import Yardstick, build_sentinel
from explorer.profile.statistics import median_ci
from explorer.profile.verdict import judge
from explorer.profile.watch import POWER_CAP, WATCHES, nvidia_driver
from explorer.record import Conditions, DeviceState, Latency, Occasion, Precision
from search_spaces.errors import InputError

__all__ = [
    "PROTOCOL",
    "Contender",
    "Subject",
    "Timed",
    "device_name",
    "measure",
    "measure_in_turns",
    "measure_together",
    "median_ci",
    "resolve_device",
]

PROTOCOL = 2  # latencies of different protocols are not put into one column


@dataclass(frozen=True)
class Subject:
    """A network to be timed, folded by the caller; it is copied, and left as it was."""

    model: nn.Module
    image_size: int  # pixels, square
    in_channels: int = 3


@dataclass(frozen=True)
class Contender:
    """What is timed in turns with others, each executed in a way of its own."""

    prepare: Callable[[Tensor], Forward]  # of an example (B, C, H, W), float32, on the device
    image_size: int  # pixels, square
    in_channels: int
    runtime: str  # as in the conditions, like the two below
    precision: Precision
    libraries: dict[str, str]

    def conditions(self, device: torch.device, batch_size: int, threads: int) -> Conditions:
        """Under what it is timed; threads count on a CPU only."""
        return Conditions(
            device=device.type,
            device_name=device_name(device),
            driver=nvidia_driver() if device.type == "cuda" else None,
            runtime=self.runtime,
            precision=self.precision,
            batch_size=batch_size,
            image_size=self.image_size,
            threads=threads if device.type == "cpu" else None,
            torch=torch.__version__,
            libraries=self.libraries,
        )


@dataclass(frozen=True)
class Timed:
    """A contender's latency, and its blocks, of which the n-th was timed beside the n-th of the others."""

    latency: Latency
    blocks: tuple[Block, ...]


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
    the measurement, as a share of the median; six blocks are timed whatever `time_limit_s`. `threads` counts on a CPU
    only, where the process is bound to as many of the least busy cores. Takes the device's lease, whose wait is not
    part of the time limit.
    """
    (latency,) = measure_together(
        [Subject(model, image_size, in_channels)],
        device=device,
        precision=precision,
        batch_size=batch_size,
        runtime=runtime,
        threads=threads,
        target=target,
        time_limit_s=time_limit_s,
        on_wait=on_wait,
    )
    return latency


def measure_together(
    subjects: Sequence[Subject],
    *,
    device: str | torch.device = "cpu",
    precision: Precision = "fp32",
    batch_size: int = 1,
    runtime: str = "eager",
    threads: int = 1,
    target: float = 0.02,
    time_limit_s: float = 10.0,
    on_wait: OnWait | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Latency]:
    """Latencies of several networks, their blocks in turns, so that whatever the device does befalls all alike.

    As `measure`; `time_limit_s` is for each. `on_progress(done, of)` tells after each round how many have converged.
    """
    where = resolve_device(str(device))
    _require(precision in get_args(Precision), "precision", precision, f"choose {', '.join(get_args(Precision))}")
    chosen = require_runtime(runtime, where)
    libraries = chosen.libraries(where)

    def contender(subject: Subject) -> Contender:
        def prepare(example: Tensor) -> Forward:
            return chosen.prepare(subject.model, example, precision)

        return Contender(prepare, subject.image_size, subject.in_channels, runtime, precision, libraries)

    timed = measure_in_turns(
        [contender(subject) for subject in subjects],
        device=where,
        batch_size=batch_size,
        threads=threads,
        target=target,
        time_limit_s=time_limit_s,
        on_wait=on_wait,
        on_progress=on_progress,
    )
    return [one.latency for one in timed if one is not None]  # all of them: a failure would have been raised


def measure_in_turns(
    contenders: Sequence[Contender],
    *,
    device: str | torch.device = "cpu",
    batch_size: int = 1,
    threads: int = 1,
    target: float = 0.02,
    time_limit_s: float = 10.0,
    on_wait: OnWait | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    on_failure: Callable[[int, Exception], None] | None = None,
) -> list[Timed | None]:
    """What was measured of each contender, their blocks in turns, whatever executes each of them.

    As `measure_together`. `on_failure(index, error)` is told of a contender that could not be prepared, or whose first
    pass failed: it has None, and the others go on. Without it the error is raised.
    """
    where = resolve_device(str(device))
    for one in contenders:
        for name, value in (("image_size", one.image_size), ("in_channels", one.in_channels)):
            _require(value >= 1, name, value, "give a whole number of at least 1")
    _require(batch_size >= 1, "batch_size", batch_size, "give a whole number of at least 1")
    _require(0 < target < 1, "target", target, "give a share of the median between 0 and 1, such as 0.02")
    _require(0 < time_limit_s < math.inf, "time_limit_s", time_limit_s, "give seconds above 0")
    on_cpu = where.type == "cpu"
    if on_cpu:
        require_cores(threads)
    place, name = f"{platform.node()}/{lease_key(where)}", device_name(where)
    with device_lease(where, on_wait), undisturbed(where, threads) as bound:
        began = time.time()
        forwards: dict[int, Forward] = {}
        for index, one in enumerate(contenders):
            try:
                forwards[index] = _prepared(one, batch_size, where)
            except Exception as error:  # a network, a file above all, may fail in any way: the others go on
                if on_failure is None:
                    raise
                on_failure(index, error)
        if not forwards:
            return [None] * len(contenders)
        yardstick = Yardstick(name, lease_key(where), threads if on_cpu else None)
        sentinel, watch = build_sentinel(where), WATCHES[where.type](where, bound)
        try:
            all_series, speed = sample(
                list(forwards.values()),
                sentinel,
                yardstick.at_rest,
                where,
                watch,
                target=target,
                time_limit_s=time_limit_s,
                on_progress=on_progress,
            )
            state = watch.state()
        finally:
            watch.close()
        # A card at its power cap is slowed down by what is measured, not by others: so it is where it is deployed, too
        found = [estimate(series, speed, corrected=POWER_CAP not in state.throttled_by) for series in all_series]
        apart = [yardstick.apart(one.drift) for one in found]
        yardstick.keep(speed.now_ms)
        occasion = Occasion(place=place, began=began, ended=time.time())
    timed: list[Timed | None] = [None] * len(contenders)
    for index, series, estimated, far in zip(forwards, all_series, found, apart, strict=True):
        conditions = contenders[index].conditions(where, batch_size, threads)
        latency = _result(series, estimated, far, state, target, conditions, bound or None, occasion)
        timed[index] = Timed(latency, tuple(series.blocks))
    return timed


def _prepared(contender: Contender, batch_size: int, device: torch.device) -> Forward:
    """The contender's forward pass, which has run once."""
    with on_unsupported_precision(contender.precision, device):
        forward = contender.prepare(example_images(batch_size, contender.in_channels, contender.image_size, device))
        forward()
    return forward


def _result(
    series: Series,
    found: Estimate,
    apart: float,
    state: DeviceState,
    target: float,
    conditions: Conditions,
    cores: tuple[int, ...] | None,
    occasion: Occasion,
) -> Latency:
    """The measurement; `apart` is what a repeat may differ by for the device's sake, relative."""
    middle = found.median_ms
    if not (math.isfinite(middle) and middle > 0):
        raise RuntimeError(f"a median of {middle} ms is no latency; the clock is too coarse")
    low = middle - math.hypot(middle - found.low_ms, apart * middle)
    high = middle + math.hypot(found.high_ms - middle, apart * middle)
    verdict, reason = judge(
        width=(high - low) / 2 / middle,
        target=target,
        drift=found.drift,
        blocks=len(series.blocks),
        disturbed=[block.disturbed for block in series.blocks if block.disturbed is not None],
        state=state,
    )
    kept = series.kept()
    return Latency(
        median_ms=middle,
        ci95_ms=(max(low, 0.0), high),
        samples=sum(len(block.times_ms) for block in kept),
        stop="converged" if series.converged else "time_limit",
        conditions=conditions,
        verdict=verdict,
        reason=reason,
        drift=found.drift,
        correction=found.correction,
        dropped=len(series.blocks) - len(kept),
        cores=cores,
        state=state,
        occasion=occasion,
    )


def _require(holds: bool, name: str, value: object, way_out: str) -> None:
    if not holds:
        raise InputError(f"{name}={value!r}: {way_out}")
