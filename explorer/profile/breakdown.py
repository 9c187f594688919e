"""Where the time goes: each part of a network timed in place, by the clock of the device that runs it.

Parts are timed inside the whole network, since sums of blocks timed in isolation fall 10 to 26 % short. Passes with
stamps at the parts' ends alternate with untouched ones, so that what the stamps cost, and what is left over, shows.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from explorer.profile.roofline import Peaks, elements_moved, measure_peaks
from explorer.record import Precision, Record
from search_spaces.cost import cost
from search_spaces.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from explorer.profile.lease import OnWait
    from search_spaces.blocks.network import Network

Level = Literal["stage", "block", "layer"]
Bound = Literal["compute", "memory"]

FEWEST_ROUNDS = 6  # that an interval of the median needs
MOST_ROUNDS = 300
LEAST_RUNNING = 0.97  # of its wall time that the one thread of a CPU must have run, or others took the core meanwhile


class PartTime(Record):
    """Time of one part in one pass of the whole batch, and the least that the roofline allows."""

    name: str  # "stages.1.blocks.0"
    mixer: str | None  # kind of the token mixer in it: "single_head"
    median_ms: float
    ci95_ms: tuple[float, float]  # interval of the median
    macs: int  # multiply-adds, whole batch
    moved_bytes: int  # lower bound: `roofline.elements_moved` of the whole batch, and the weights once
    floor_ms: float  # sum over its layers of the longer of MACs at the peak rate and bytes at the peak bandwidth
    bound: Bound  # by which of them more of the floor is set

    @property
    def gmacs_per_s(self) -> float:
        """Achieved 10^9 multiply-adds a second."""
        return self.macs / self.median_ms / 1e6

    @property
    def roofline(self) -> float:
        """Floor over time; above 1 where a peak was underestimated, or what is moved stayed in a cache."""
        return self.floor_ms / self.median_ms


class Breakdown(Record):
    """The time of eager passes by part, in the order of the pass."""

    by: Level
    parts: tuple[PartTime, ...]
    whole_ms: float  # median of the untouched network, in turn with the stamped passes
    stamped_ms: float  # median of the stamped passes, all of them
    rounds: int  # passes of each kind
    interrupted: float  # share of the untouched passes in which others took the core; not counted where possible
    peaks: Peaks

    @property
    def parts_ms(self) -> float:
        """Sum of the parts' medians."""
        return sum(part.median_ms for part in self.parts)


def part_of(layer: str, by: Level) -> str:
    """The part that a layer belongs to: by block, "stages.1.blocks.0.mixer" is in "stages.1.blocks.0"."""
    return layer if by == "layer" else ".".join(layer.split(".")[: 2 if by == "stage" else 4])


def require_level(by: str) -> None:
    """InputError, one line, unless parts can be told apart by `by`."""
    if by not in get_args(Level):
        raise InputError(f"by={by!r}: choose {', '.join(get_args(Level))}")


def break_down(
    network: Network,
    *,
    by: Level = "stage",
    device: str = "cpu",
    precision: Precision = "fp32",
    batch_size: int = 1,
    threads: int = 1,
    time_limit_s: float = 3.0,
    on_wait: OnWait | None = None,
) -> Breakdown:
    """Median ms of each stage, block or layer of a network in eager passes, with its floor by the roofline.

    The caller folds the network; it is copied, and left as it was. The six rounds that an interval needs are made
    whatever `time_limit_s`. Takes the device's lease.
    """
    from explorer.profile.device import resolve_device
    from explorer.profile.lease import device_lease
    from explorer.profile.quiet import undisturbed
    from explorer.profile.runtimes import example_images, on_unsupported_precision, place

    require_level(by)
    where, architecture = resolve_device(device), network.architecture
    names = list(dict.fromkeys(part_of(layer.name, by) for layer in cost(architecture).layers))
    with device_lease(where, on_wait), undisturbed(where, threads), on_unsupported_precision(precision, where):
        images = example_images(batch_size, architecture.in_channels, architecture.image_size, where)
        times = _times(*place(network, images, precision), names, _clock(where, threads), time_limit_s)
        peaks = measure_peaks(where, precision)
    whole = [ms for ms, ran in times.whole if ran >= LEAST_RUNNING]
    return Breakdown(
        by=by,
        parts=_parts(network, by, times, peaks, precision, batch_size),
        whole_ms=median(_counted(times.whole)),
        stamped_ms=median(_counted(times.stamped)),
        rounds=len(times.whole),
        interrupted=1 - len(whole) / len(times.whole),
        peaks=peaks,
    )


class Span(NamedTuple):
    ms: float
    ran: float  # share of it in which the thread that did the work was running; 1 where that is not known


@dataclass(frozen=True)
class _Clock:
    stamp: Callable[[], Any]
    span: Callable[[Any, Any], Span]  # from one stamp to a later one, when both are past
    finish: Callable[[], None]  # wait until they are
    rounds: int  # queued between two such waits


def _clock(device: torch.device, threads: int) -> _Clock:
    import torch

    def span(start: tuple[int, int], end: tuple[int, int]) -> Span:
        wall, cpu = end[0] - start[0], end[1] - start[1]
        # Several threads: this one waits for others, or spins meanwhile, and its CPU time tells nothing
        return Span(wall / 1e6, min(1.0, cpu / max(1, wall)) if device.type == "cpu" and threads == 1 else 1.0)

    def stamp() -> tuple[int, int]:
        return time.perf_counter_ns(), time.thread_time_ns()

    def stamp_mps() -> tuple[int, int]:
        torch.mps.synchronize()
        return stamp()

    def stamp_cuda() -> Any:
        event: Any = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    if device.type == "cuda":
        return _Clock(stamp_cuda, lambda start, end: Span(start.elapsed_time(end), 1.0), torch.cuda.synchronize, 10)
    return _Clock(stamp_mps if device.type == "mps" else stamp, span, lambda: None, 1)


@dataclass(frozen=True)
class _Times:
    """By round; those of parts in the order of their names."""

    whole: list[Span]
    stamped: list[Span]
    parts: list[list[Span]]


def _times(model: nn.Module, images: Tensor, names: Sequence[str], clock: _Clock, limit_s: float) -> _Times:
    """Rounds of an untouched and a stamped pass of `model`, until the time limit."""
    import torch

    device = images.device
    stamps: list[Any] = []
    # Copied without its weights: two sets of them would push each other out of the caches
    stamped = copy.deepcopy(model, {id(tensor): tensor for tensor in [*model.parameters(), *model.buffers()]})
    for name in names:
        part = stamped.get_submodule(name)
        part.register_forward_pre_hook(lambda *_: stamps.append(clock.stamp()))
        part.register_forward_hook(lambda *_: stamps.append(clock.stamp()))
    found = _Times([], [], [[] for _ in names])

    def rounds(count: int) -> list[list[Any]]:
        """Stamps around the untouched pass, then around and within the stamped one, of each round."""
        made = []
        if device.type == "cuda":
            model(images)  # or the first stamp would find the device waiting for the host
        for _ in range(count):
            stamps.clear()
            for network in (model, stamped):
                stamps.append(clock.stamp())
                network(images)
                stamps.append(clock.stamp())
            made.append(list(stamps))
        clock.finish()
        return made

    with torch.inference_mode():
        rounds(2)  # the latency's measurement, or whatever was before, has warmed the device
        start = time.perf_counter()
        while (done := len(found.whole)) < FEWEST_ROUNDS or (
            done < MOST_ROUNDS and time.perf_counter() - start < limit_s
        ):
            for first, second, begin, *within, end in rounds(clock.rounds):
                found.whole.append(clock.span(first, second))
                found.stamped.append(clock.span(begin, end))
                for spans, enter, leave in zip(found.parts, within[::2], within[1::2], strict=True):
                    spans.append(clock.span(enter, leave))
    return found


def _parts(
    network: Network,
    by: Level,
    times: _Times,
    peaks: Peaks,
    precision: Precision,
    batch_size: int,
) -> tuple[PartTime, ...]:
    from explorer.profile.latency import median_ci
    from explorer.profile.runtimes import DTYPES

    architecture, size = network.architecture, DTYPES[precision].itemsize
    moved = elements_moved(architecture)
    sums: dict[str, list[float]] = {}  # by part: MACs, bytes, ms at least for layers bound by compute, by memory
    for layer in cost(architecture).layers:
        macs, data = layer.macs * batch_size, (moved[layer.name] * batch_size + layer.params_folded) * size
        compute_ms, memory_ms = macs / peaks.gmacs_per_s / 1e6, data / peaks.gb_per_s / 1e6
        floors = (compute_ms, 0.0) if compute_ms >= memory_ms else (0.0, memory_ms)
        before = sums.get(part_of(layer.name, by), [0, 0, 0, 0])
        sums[part_of(layer.name, by)] = [a + b for a, b in zip(before, (macs, data, *floors), strict=True)]
    parts = []
    for (name, (all_macs, all_data, compute, memory)), spans in zip(sums.items(), times.parts, strict=True):
        middle, low, high = median_ci(_counted(spans))
        parts.append(
            PartTime(
                name=name,
                mixer=_mixer(network, name),
                median_ms=middle,
                ci95_ms=(low, high),
                macs=int(all_macs),
                moved_bytes=int(all_data),
                floor_ms=compute + memory,
                bound="compute" if compute >= memory else "memory",
            )
        )
    return tuple(parts)


def _counted(spans: Sequence[Span]) -> list[float]:
    """ms of the spans in which nobody else took the core; of all where these are too few."""
    kept = [span.ms for span in spans if span.ran >= LEAST_RUNNING]
    return kept if len(kept) >= FEWEST_ROUNDS else [span.ms for span in spans]


def _mixer(network: Network, part: str) -> str | None:
    match part.split("."):
        case ["stages", i] | ["stages", i, "blocks", _] | ["stages", i, "blocks", _, "mixer"]:
            return network.architecture.stages[int(i)].mixer.kind
    return None
