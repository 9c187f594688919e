"""What `bench` times: architectures with each runtime and exported files with their own, opened and checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from explorer.bench_rows import BenchRow
from explorer.measure import buildable
from explorer.record import Precision
from explorer.setup import Setup
from search_spaces.architecture import Architecture
from search_spaces.cost import cost
from search_spaces.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from explorer.profile.latency import Contender
    from explorer.profile.runtimes import Forward, Prepare

FILES = (".onnx", ".pt2", ".py")  # of exported networks
ARCHITECTURES = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class Entry:
    """A network with the runtime that executes it, at any batch size."""

    name: str
    runtime: str
    precision: Precision
    image_size: int
    in_channels: int
    params: int
    macs: int | None
    file_bytes: int | None
    libraries: dict[str, str]
    prepare: Callable[[Tensor], Forward]

    def row(self, batch_size: int, device: torch.device, threads: int) -> BenchRow:
        """Its row, before anything is timed."""
        conditions = self.contender.conditions(device, batch_size, threads)
        return BenchRow(
            name=self.name, conditions=conditions, params=self.params, macs=self.macs, file_bytes=self.file_bytes
        )

    @property
    def contender(self) -> Contender:
        from explorer.profile.latency import Contender

        return Contender(self.prepare, self.image_size, self.in_channels, self.runtime, self.precision, self.libraries)


def open_entries(what: Sequence[str | Path], setup: Setup, device: torch.device) -> list[Entry]:
    """What is to be timed, in the order given, each file opened and each architecture checked."""
    names = [str(name) for name in what]
    if not names:
        raise InputError("bench: nothing given; name presets, architecture files or exported files")
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{name}: given twice; leave one of them out")
    return [entry for name in names for entry in _opened(name, setup, device)]


def _opened(name: str, setup: Setup, device: torch.device) -> list[Entry]:
    from explorer.profile.artefacts import open_artefact
    from explorer.profile.runtimes import require_runtime

    if not name.endswith(FILES):
        architecture = _architecture(name)
        counts, found = cost(architecture), []
        for runtime in setup.runtimes:
            chosen = require_runtime(runtime, device)
            found.append(
                Entry(
                    name=name,
                    runtime=runtime,
                    precision=setup.precision,
                    image_size=architecture.image_size,
                    in_channels=architecture.in_channels,
                    params=counts.params_folded,
                    macs=counts.macs,
                    file_bytes=None,
                    libraries=chosen.libraries(device),
                    prepare=partial(_built, architecture, chosen.prepare, setup.precision),
                )
            )
        return found
    artefact = open_artefact(name)
    artefact.check(device)
    precision = artefact.precision or setup.precision
    entry = Entry(
        name=name,
        runtime=artefact.runtime,
        precision=precision,
        image_size=artefact.image_size,
        in_channels=artefact.in_channels,
        params=artefact.params,
        macs=None,
        file_bytes=artefact.file_bytes,
        libraries=artefact.libraries(device),
        prepare=lambda example: artefact.prepare(example, precision),
    )
    return [entry]


def _architecture(name: str) -> Architecture:
    """The architecture of that name or in that file, which can be built."""
    if Path(name).suffix not in ("", *ARCHITECTURES):
        known = ", ".join((*ARCHITECTURES, *FILES))
        raise InputError(f"{name}: no network; name a preset, or a file whose name ends in {known}")
    return buildable(name)


def _built(architecture: Architecture, prepare: Prepare, precision: Precision, example: Tensor) -> Forward:
    """A forward pass of the folded network with random weights, which no other keeps in memory."""
    from search_spaces.blocks.network import build

    return prepare(build(architecture).eval().fuse(), example, precision)


def reference_among(entries: Sequence[Entry], against: str | None) -> int:
    """The index of the entry that the others are compared with."""
    names = [(entry.name, f"{entry.name}@{entry.runtime}") for entry in entries]
    for index, name in enumerate(names):
        if against is None or against in name:
            return index
    known = ", ".join(dict.fromkeys(full for _, full in names))
    raise InputError(f"against={against}: not among what is timed; use one of {known}")
