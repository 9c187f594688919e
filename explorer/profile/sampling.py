"""Timing networks in turns, block by block, with the sentinel between every two blocks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

import torch

from explorer.profile.runtimes import Forward
from explorer.profile.statistics import correction, repeat_interval, smoothed
from explorer.profile.time_block import TIME_BLOCK
from explorer.profile.watch import Watch

FEWEST_BLOCKS = 6  # with five even (fastest, slowest) holds the median with 93.75 % only
FEWEST_PASSES = 30  # before a measurement may end
SHORTEST_S = {"cpu": 1.5, "cuda": 1.5, "mps": 1.5}  # an interval from one moment says nothing of the next
BLOCK_MS = 20.0
SENTINEL_MS = 6.0
SETTLE_MS = 6.0  # untimed passes before a block: it takes so long until the caches are a network's own again
LONGEST_BLOCK = 100  # passes
STEADY_BLOCKS = 3  # warm when the medians of that many successive blocks agree
STEADY_WITHIN = 0.03  # of their median
WARM_UP_SHARE = 0.3  # of the time limit at most
WARM_UP_AT_LEAST_S = {"cpu": 0.05, "cuda": 0.3, "mps": 0.3}  # a GPU's clock takes that long to rise


@dataclass(frozen=True)
class Block:
    """Successive passes of one network."""

    times_ms: list[float]  # of each pass
    at: int  # it ran between the sentinel's block of this number and the next
    disturbed: str | None  # by what, in a word

    @property
    def median_ms(self) -> float:
        return median(self.times_ms)


@dataclass
class Series:
    """The blocks of one network, as they come."""

    forward: Forward
    passes: int = 1  # of a block
    settling: int = 0  # passes before it
    blocks: list[Block] = field(default_factory=list)
    spent_s: float = 0.0
    converged: bool = False

    def kept(self) -> list[Block]:
        """The undisturbed blocks; all of them, where these are too few to tell anything."""
        calm = [block for block in self.blocks if block.disturbed is None]
        return calm if len(calm) >= FEWEST_BLOCKS else self.blocks


class Speed:
    """How fast the device was meanwhile: the sentinel's blocks beside its time at rest, `rest(now) -> ms`."""

    def __init__(self, sentinel: Series, rest: Callable[[float], float]) -> None:
        calm = {block.at for block in sentinel.kept()}
        self.now_ms = median(block.median_ms for block in sentinel.kept())
        times = smoothed([block.median_ms if block.at in calm else None for block in sentinel.blocks])
        at_rest = rest(self.now_ms)
        self.drifts = [(self.now_ms if time is None else time) / at_rest - 1 for time in times]

    def drift(self, block: Block) -> float:
        """How much longer than at rest the sentinel took around a block, relative."""
        return (self.drifts[block.at] + self.drifts[block.at + 1]) / 2


@dataclass(frozen=True)
class Estimate:
    """A network's time per pass, corrected for the device's drift, ms."""

    median_ms: float
    low_ms: float  # of the interval that holds the median of a repeat
    high_ms: float
    enough: bool  # whether there were blocks enough for a 95 % interval; else it goes from the fastest to the slowest
    drift: float  # of the sentinel, relative, in the median of the blocks
    correction: float  # what the times were divided by for it, in the median

    @property
    def width(self) -> float:
        """Half-width of the interval as a share of the median."""
        return (self.high_ms - self.low_ms) / 2 / self.median_ms


def estimate(series: Series, speed: Speed, corrected: bool = True) -> Estimate:
    """What the blocks of a network say; as they are, unless `corrected`.

    Each block is corrected for the drift around it, or all of them for its median: whichever makes them agree better,
    since the sentinel's own noise is not the network's.
    """
    kept = series.kept()
    drifts = [speed.drift(block) for block in kept]
    drift = median(drifts)
    found = []
    for each in (drifts, [drift] * len(drifts)) if corrected else ([0.0] * len(drifts),):
        values = [block.median_ms / correction(around) for block, around in zip(kept, each, strict=True)]
        interval = repeat_interval(values)
        ends = interval or (median(values), min(values), max(values))
        found.append(Estimate(*ends, interval is not None, drift, median(map(correction, each))))
    return min(found, key=lambda one: one.high_ms - one.low_ms)


def sample(
    forwards: Sequence[Forward],
    sentinel: Forward,
    rest: Callable[[float], float],
    device: torch.device,
    watch: Watch,
    *,
    target: float,
    time_limit_s: float,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Series], Speed]:
    """Blocks of every network, in turns, until each has converged or had its time; and the device's speed meanwhile.

    A network has converged when the half-width of its interval is at most `target` times its median.
    """
    all_series, yardstick = [Series(forward) for forward in forwards], Series(sentinel)
    for series in (*all_series, yardstick):
        started = time.perf_counter()
        _warm_up(series, device, WARM_UP_AT_LEAST_S[device.type], WARM_UP_SHARE * time_limit_s)
        series.spent_s = time.perf_counter() - started
        series.settling = math.ceil(series.passes * SETTLE_MS / BLOCK_MS) if series.passes > 1 else 0
    yardstick.passes = max(3, round(yardstick.passes * SENTINEL_MS / BLOCK_MS))
    _time_block(yardstick, device, watch, 0)
    began, active = time.perf_counter(), all_series
    while active:
        for series in active:
            started = time.perf_counter()
            _time_block(series, device, watch, len(yardstick.blocks) - 1)
            _time_block(yardstick, device, watch, len(yardstick.blocks))
            series.spent_s += time.perf_counter() - started
        if time.perf_counter() - began >= min(SHORTEST_S[device.type], time_limit_s):
            speed = Speed(yardstick, rest)
            for series in active:
                series.converged = _narrow(series, speed, target)
        active = [s for s in active if not s.converged and not _over(s, time_limit_s)]
        if on_progress is not None:
            on_progress(len(all_series) - len(active), len(all_series))
    return all_series, Speed(yardstick, rest)


def _time_block(series: Series, device: torch.device, watch: Watch, at: int) -> None:
    for _ in range(series.settling):
        series.forward()
    watch.begin_block()
    times = TIME_BLOCK[device.type](series.forward, series.passes)
    series.blocks.append(Block(times, at, watch.end_block()))


def _narrow(series: Series, speed: Speed, target: float) -> bool:
    kept = series.kept()
    if sum(len(block.times_ms) for block in kept) < FEWEST_PASSES and len(kept) < 2 * FEWEST_BLOCKS:
        return False
    found = estimate(series, speed)
    return found.enough and found.width <= target


def _over(series: Series, time_limit_s: float) -> bool:
    return series.spent_s >= time_limit_s and len(series.blocks) >= FEWEST_BLOCKS


def _warm_up(series: Series, device: torch.device, at_least_s: float, at_most_s: float) -> None:
    """Run until the medians of successive blocks agree, and set the passes of a block that lasts about BLOCK_MS."""
    start = time.perf_counter()
    medians: list[float] = []
    while True:
        medians.append(median(TIME_BLOCK[device.type](series.forward, series.passes)))
        series.passes = min(LONGEST_BLOCK, max(1, round(BLOCK_MS / max(medians[-1], 1e-3))))
        last = medians[-STEADY_BLOCKS:]
        steady = len(last) == STEADY_BLOCKS and max(last) - min(last) <= STEADY_WITHIN * median(last)
        elapsed = time.perf_counter() - start
        if (steady and elapsed >= at_least_s) or elapsed >= at_most_s:
            return
