"""Times of several forward passes in a row, by the clock of the device that runs them."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch

from explorer.profile.runtimes import Forward

TimeBlock = Callable[[Forward, int], list[float]]  # (forward, passes) -> ms of each pass


def _time_block_cpu(forward: Forward, passes: int) -> list[float]:
    times = []
    for _ in range(passes):
        start = time.perf_counter_ns()
        forward()
        times.append((time.perf_counter_ns() - start) / 1e6)
    return times


def _time_block_cuda(forward: Forward, passes: int) -> list[float]:
    # Passes follow one another as in a server's loop: weights and input may still lie in L2, as they would there. We do
    # not flush it: most networks' activations sweep it anyway, and the flush itself would heat and slow the device.
    events: list[Any] = [torch.cuda.Event(enable_timing=True) for _ in range(passes + 1)]
    forward()  # untimed, so that the first timed pass does not find the device waiting for the host
    events[0].record()
    for event in events[1:]:
        forward()
        event.record()
    events[-1].synchronize()  # the one synchronisation of the block
    return [start.elapsed_time(end) for start, end in pairwise(events)]


def _time_block_mps(forward: Forward, passes: int) -> list[float]:
    def finished() -> None:
        forward()
        torch.mps.synchronize()

    torch.mps.synchronize()
    return _time_block_cpu(finished, passes)


TIME_BLOCK: dict[str, TimeBlock] = {"cpu": _time_block_cpu, "cuda": _time_block_cuda, "mps": _time_block_mps}
