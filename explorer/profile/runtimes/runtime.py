"""What a runtime is, and what all of them begin with: a copy of the network beside an example, on the device."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from explorer.record import Precision
from search_spaces.errors import InputError

Forward = Callable[[], Any]  # one forward pass; its logits (B, classes), on a GPU perhaps before they are computed
Prepare = Callable[[nn.Module, Tensor, Precision], Forward]  # (folded model, example (B, C, H, W), precision)
Libraries = Callable[[torch.device], dict[str, str]]  # versions of what executes the network, beside torch's own

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class NetworkRefused(RuntimeError):
    """A runtime cannot run this one network, though perhaps others; one line."""


def always_ready(device: torch.device) -> None:
    """The check of a runtime that needs nothing but its packages."""


@dataclass(frozen=True)
class Runtime:
    """One way to execute a network.

    `prepare(model, example, precision)` leaves the model as it was and returns a callable without arguments: one
    forward pass of the example, which stays on its device. Who drops the callable frees all that it held. What a
    runtime builds from the network (a graph, code, an engine) is built before `prepare` returns. It raises
    NetworkRefused of a network that the runtime cannot run.
    """

    prepare: Prepare
    libraries: Libraries
    devices: dict[str, dict[str, str]]  # kind of torch device it runs on -> {package it imports there: what to install}
    check: Callable[[torch.device], None] = always_ready  # raises InputError where something else is missing


def place(model: nn.Module, example: Tensor, precision: Precision) -> tuple[nn.Module, Tensor]:
    """A copy of `model` in eval mode on the example's device, and the example, both channels-last in `precision`.

    The weights themselves are converted, as in deployment: autocast would time its casts on every pass.
    """
    dtype = DTYPES[precision]
    # Module.to takes a memory format since torch 1.5; it applies it to 4-D weights alone
    placed = copy.deepcopy(model).eval().to(example.device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return placed, example.to(dtype, memory_format=torch.channels_last)


def example_images(batch_size: int, in_channels: int, image_size: int, device: torch.device) -> Tensor:
    """Images (batch_size, in_channels, image_size, image_size), of noise: on zeros a GPU is faster than it is."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch_size, in_channels, image_size, image_size, generator=generator).to(device)


@contextmanager
def on_unsupported_precision(precision: Precision, device: torch.device) -> Iterator[None]:
    """Turns torch's "not implemented for 'Half'" into a ValueError of one line."""
    try:
        yield
    except RuntimeError as error:
        if "not implemented for" not in str(error):
            raise
        reason = str(error).splitlines()[0]
        raise InputError(f"precision={precision!r} does not run on {device}: {reason}; use fp32") from error
