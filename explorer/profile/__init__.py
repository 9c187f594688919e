"""What an architecture costs: counted, and measured on a device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from explorer.profile.breakdown import Breakdown, Level, PartTime, break_down, require_level
from explorer.record import Latency, Precision, Record
from search_spaces.architecture import Architecture
from search_spaces.cost import Layer, cost
from search_spaces.shipped import find

if TYPE_CHECKING:
    from explorer.profile.lease import OnWait


class Profile(Record):
    """What one architecture costs; latency and memory are None where they were not measured."""

    id: str
    name: str | None
    image_size: int  # pixels, square
    params: int
    params_folded: int  # after Conv-BN folding, as deployed
    macs: int  # multiply-adds, one image
    activations: int  # elements, one image
    latency: Latency | None
    peak_memory_mb: float | None  # MiB
    layers: tuple[Layer, ...]
    breakdown: Breakdown | None = None  # where the time goes, if it was asked for

    @property
    def parts(self) -> tuple[PartTime, ...]:
        """The time of each part, in the order of the pass; empty where parts were not timed."""
        return () if self.breakdown is None else self.breakdown.parts


def profile(
    architecture: Architecture | str | Path,
    *,
    latency: bool = True,
    device: str = "auto",
    precision: Precision = "fp32",
    batch_size: int = 1,
    runtime: str = "eager",
    threads: int = 1,
    time_limit_s: float = 10.0,
    verify: bool = False,
    by: Level | None = None,
    on_wait: OnWait | None = None,
) -> Profile:
    """What an architecture, a preset by name, or an architecture file costs.

    Counts are closed-form; `verify` counts once more on the built network with fvcore, and raises where they differ.
    Latency is that of the folded network with random weights; `by` times its stages, blocks or layers too, in eager
    passes whatever the runtime.

    >>> profile("swin_t", device="cuda", precision="fp16").latency.median_ms
    >>> [(part.name, part.median_ms) for part in profile("shvit_s1", by="stage").parts]
    """
    if by is not None:
        require_level(by)
    if not isinstance(architecture, Architecture):
        architecture = Architecture.load(find(architecture, "presets"))
    counts = cost(architecture)
    measured, memory, breakdown = None, None, None
    if latency or verify:
        from explorer.profile.device import resolve_device
        from search_spaces.blocks.network import build

        where = str(resolve_device(device))
        network = build(architecture)
        if verify:
            from explorer.profile.flops import count

            counted = count(network, architecture.image_size, architecture.in_channels)
            if (counted.macs, counted.activations) != (counts.macs, counts.activations):
                raise AssertionError(f"closed form {counts} is not what fvcore counts: {counted.macs} MACs")
        if latency:
            from explorer.profile.latency import measure
            from explorer.profile.memory import peak_memory_mb

            folded = network.fuse()
            how: dict[str, Any] = {"device": where, "precision": precision, "batch_size": batch_size}
            shape: dict[str, Any] = {"image_size": architecture.image_size, "in_channels": architecture.in_channels}
            measured = measure(
                folded, **shape, **how, runtime=runtime, threads=threads, time_limit_s=time_limit_s, on_wait=on_wait
            )
            memory = peak_memory_mb(folded, **shape, **how)
            if by is not None:
                breakdown = break_down(folded, by=by, **how, threads=threads, on_wait=on_wait)
    return Profile(
        id=architecture.id,
        name=architecture.name,
        image_size=architecture.image_size,
        params=counts.params,
        params_folded=counts.params_folded,
        macs=counts.macs,
        activations=counts.activations,
        latency=measured,
        peak_memory_mb=memory,
        layers=counts.layers,
        breakdown=breakdown,
    )
