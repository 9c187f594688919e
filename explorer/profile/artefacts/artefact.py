"""What an exported network is, whatever kind of file it lies in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from explorer.profile.runtimes import Forward, NetworkRefused
from explorer.profile.runtimes.runtime import Libraries
from explorer.record import Precision
from search_spaces.errors import InputError, one_line


@dataclass(frozen=True)
class Artefact:
    """An exported classifier, images (B, in_channels, image_size, image_size) -> logits (B, classes)."""

    path: Path
    image_size: int  # pixels, square
    in_channels: int
    classes: int
    precision: Precision | None  # of weights and images; None: whichever is asked for
    batch_size: int | None  # the only one that it takes; None: any
    params: int  # elements of its weights
    file_bytes: int
    runtime: str  # that executes it, as in a latency's conditions
    libraries: Libraries
    check: Callable[[torch.device], None]  # raises InputError where the runtime is not to be had on a device
    run: Callable[[Tensor, Precision], Forward]

    def prepare(self, example: Tensor, precision: Precision) -> Forward:
        """A forward pass of the example (B, C, H, W), which is converted to `precision`, on the example's device.

        Raises:
            NetworkRefused: the file is of another precision or batch size, or cannot run there; one line.
        """
        if self.precision not in (None, precision):
            raise NetworkRefused(f"precision={precision}: {self.path} is of {self.precision}; export another")
        if self.batch_size not in (None, len(example)):
            raise NetworkRefused(
                f"batch-size={len(example)}: {self.path} takes batches of {self.batch_size} alone; "
                "export it with a dynamic batch"
            )
        return self.run(example, precision)


def sizes(path: Path, images: list[int | None], logits: list[int | None]) -> tuple[int | None, int, int, int]:
    """(batch size or None for any, channels, image size, classes) of shapes in which None is an axis of any length."""
    if len(images) != 4 or len(logits) != 2:
        raise InputError(f"{path}: {_shape(images)} -> {_shape(logits)} is not (B, C, H, W) -> (B, classes)")
    batch_size, channels, height, width = images
    classes = logits[1]
    if channels is None or height is None or width is None or classes is None or height != width:
        raise InputError(
            f"{path}: {_shape(images)} -> {_shape(logits)} is not of square images of one size; "
            "export it with its batch alone dynamic"
        )
    return batch_size, channels, height, classes


def _shape(axes: list[int | None]) -> str:
    return f"({', '.join('any' if axis is None else str(axis) for axis in axes)})"


def not_one(path: Path, inputs: Sequence[object], outputs: Sequence[object]) -> InputError:
    takes, gives = (", ".join(map(str, names)) or "nothing" for names in (inputs, outputs))
    return InputError(f"{path}: it takes {takes} and gives {gives}; a classifier takes images and gives logits")


def line(error: BaseException) -> str:
    return one_line(error, 200)


def told(error: BaseException) -> str:
    return f"{type(error).__name__}: {line(error)}"
