"""What an architecture costs: counted, and measured on a device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from explorer.profile.breakdown import Breakdown, Level, PartTime, break_down, require_level
from explorer.record import Latency, Precision, Record
from search_spaces.architecture import Architecture
from search_spaces.cost import Layer, cost
from search_spaces.shipped import find

if TYPE_CHECKING:
    from explorer.profile.lease import OnWait
    from search_spaces.blocks.network import Network


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
            measured, memory = measure_folded(
                network,
                device=where,
                precision=precision,
                batch_size=batch_size,
                runtime=runtime,
                threads=threads,
                on_wait=on_wait,
            )
        if latency and by is not None:
            breakdown = break_down(
                network.fuse(),
                by=by,
                device=where,
                precision=precision,
                batch_size=batch_size,
                threads=threads,
                on_wait=on_wait,
            )
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


def measure_folded(
    network: Network,
    *,
    device: str,
    precision: Precision,
    batch_size: int,
    runtime: str,
    threads: int,
    timed: bool = True,
    on_wait: OnWait | None = None,
) -> tuple[Latency | None, float]:
    """(latency, peak memory in MiB) of a network as it is deployed, folded; latency is None unless `timed`."""
    from explorer.profile.latency import measure
    from explorer.profile.memory import peak_memory_mb

    folded, latency = network.fuse(), None
    image_size, in_channels = network.architecture.image_size, network.architecture.in_channels
    if timed:
        latency = measure(
            folded,
            image_size=image_size,
            in_channels=in_channels,
            device=device,
            precision=precision,
            batch_size=batch_size,
            runtime=runtime,
            threads=threads,
            on_wait=on_wait,
        )
    memory = peak_memory_mb(
        folded,
        image_size=image_size,
        in_channels=in_channels,
        device=device,
        precision=precision,
        batch_size=batch_size,
    )
    return latency, memory
