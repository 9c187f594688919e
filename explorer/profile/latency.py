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
from torch import nn

from explorer.profile.cores import require_cores
from explorer.profile.device import device_name, resolve_device
from explorer.profile.lease import OnWait, device_lease, lease_key
from explorer.profile.quiet import undisturbed
from explorer.profile.runtimes import example_images, on_unsupported_precision, require_runtime
from explorer.profile.sampling import Estimate, Series, estimate, sample
from explorer.profile.sentinel import Yardstick, build_sentinel
from explorer.profile.statistics import median_ci
from explorer.profile.verdict import judge
from explorer.profile.watch import POWER_CAP, WATCHES, nvidia_driver
from explorer.record import Conditions, DeviceState, Latency, Occasion, Precision
from search_spaces.errors import InputError

__all__ = ["PROTOCOL", "Subject", "device_name", "measure", "measure_together", "median_ci", "resolve_device"]

PROTOCOL = 2  # latencies of different protocols are not put into one column


@dataclass(frozen=True)
class Subject:
    """A network to be timed, folded by the caller; it is copied, and left as it was."""

    model: nn.Module
    image_size: int  # pixels, square
    in_channels: int = 3


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
    for subject in subjects:
        for name, value in (("image_size", subject.image_size), ("in_channels", subject.in_channels)):
            _require(value >= 1, name, value, "give a whole number of at least 1")
    _require(batch_size >= 1, "batch_size", batch_size, "give a whole number of at least 1")
    _require(precision in get_args(Precision), "precision", precision, f"choose {', '.join(get_args(Precision))}")
    _require(0 < target < 1, "target", target, "give a share of the median between 0 and 1, such as 0.02")
    _require(0 < time_limit_s < math.inf, "time_limit_s", time_limit_s, "give seconds above 0")
    chosen, on_cpu = require_runtime(runtime, where), where.type == "cpu"
    if on_cpu:
        require_cores(threads)
    conditions = Conditions(
        device=where.type,
        device_name=device_name(where),
        driver=nvidia_driver() if where.type == "cuda" else None,
        runtime=runtime,
        precision=precision,
        batch_size=batch_size,
        image_size=1,  # set for each
        threads=threads if on_cpu else None,
        torch=torch.__version__,
        libraries=chosen.libraries(where),
    )
    place = f"{platform.node()}/{lease_key(where)}"
    with device_lease(where, on_wait), undisturbed(where, threads) as bound:
        began = time.time()
        forwards = []
        with on_unsupported_precision(precision, where):
            for subject in subjects:
                example = example_images(batch_size, subject.in_channels, subject.image_size, where)
                forwards.append(chosen.prepare(subject.model, example, precision))
                forwards[-1]()
        yardstick = Yardstick(conditions.device_name, lease_key(where), conditions.threads)
        sentinel, watch = build_sentinel(where), WATCHES[where.type](where, bound)
        try:
            all_series, speed = sample(
                forwards,
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
    return [
        _result(
            series,
            one,
            far,
            state,
            target,
            conditions.model_copy(update={"image_size": subject.image_size}),
            bound or None,
            occasion,
        )
        for subject, series, one, far in zip(subjects, all_series, found, apart, strict=True)
    ]


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
