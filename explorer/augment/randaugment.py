"""RandAugment (Cubuk et al. 2020) with the operations of timm's `rand-m9-mstd0.5-inc1`, which Swin and DeiT train by.

A magnitude of 0 to 10 makes an operation stronger as it rises; its sign is drawn, and only those that have two
directions look at it. As there, posterize keeps 4 bits at magnitude 0, and three operations have no magnitude.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from explorer.augment import colour
from explorer.augment.geometry import affine

Operation = Callable[[Tensor, Tensor, Tensor], Tensor]  # images (K, 3, H, W) in 0..255, magnitudes (K,), fill (3,)

TURN, SHEAR, MOVE, FACTOR = 30.0, 0.3, 0.45, 0.9  # at magnitude 10: degrees; tangent; share of the side; around 1
ADD = 110  # at magnitude 10


def randaugment(images: Tensor, operation: Tensor, magnitude: Tensor, fill: Tensor) -> Tensor:
    """The images after their operations, one after the other; (B, 3, H, W) float32 in 0..255.

    `operation` (B, n), on the CPU, numbers OPERATIONS, -1 being none; `magnitude` is (B, n); `fill` (3,) is the colour
    of what comes in from outside. Which images an operation is for is known without asking the device.
    """
    names = list(OPERATIONS)
    for layer in range(operation.shape[1]):
        result = images.clone()
        for number in operation[:, layer].unique().tolist():
            if number >= 0:
                which = (operation[:, layer] == number).nonzero()[:, 0]
                strengths = magnitude[which, layer].to(images.device, non_blocking=True)
                which = which.to(images.device, non_blocking=True)
                result[which] = OPERATIONS[names[number]](images[which], strengths, fill)
        images = result
    return images


def _matrix(magnitude: Tensor, entries: dict[tuple[int, int], Tensor]) -> Tensor:
    matrix = torch.eye(2, 3, device=magnitude.device).repeat(len(magnitude), 1, 1)
    for (row, column), values in entries.items():
        matrix[:, row, column] = values
    return matrix


def _rotate(images: Tensor, magnitude: Tensor, fill: Tensor) -> Tensor:
    angle = magnitude / 10 * math.radians(TURN)
    cosine, sine = angle.cos(), angle.sin()
    return affine(images, _matrix(magnitude, {(0, 0): cosine, (0, 1): -sine, (1, 0): sine, (1, 1): cosine}), fill)


def _affine(row: int, column: int, reach: float) -> Operation:
    """A map that differs from the identity in one entry: a shear, or a move by a share of the side."""

    def apply(images: Tensor, magnitude: Tensor, fill: Tensor) -> Tensor:
        unit = images.shape[3 - row] if column == 2 else 1
        return affine(images, _matrix(magnitude, {(row, column): magnitude / 10 * reach * unit}), fill)

    return apply


def _enhance(change: Callable[[Tensor, Tensor], Tensor]) -> Operation:
    def apply(images: Tensor, magnitude: Tensor, fill: Tensor) -> Tensor:
        return change(images, (1 + magnitude / 10 * FACTOR).clamp(min=0.1))

    return apply


def _level(change: Callable[[Tensor, Tensor], Tensor], level: Callable[[Tensor], Tensor]) -> Operation:
    def apply(images: Tensor, magnitude: Tensor, fill: Tensor) -> Tensor:
        return change(images, level(magnitude.abs() / 10))

    return apply


OPERATIONS: dict[str, Operation] = {
    "autocontrast": lambda images, magnitude, fill: colour.autocontrast(images),
    "equalize": lambda images, magnitude, fill: colour.equalize(images),
    "invert": lambda images, magnitude, fill: colour.invert(images),
    "rotate": _rotate,
    "posterize": _level(colour.posterize, lambda share: 4 - (share * 4).floor()),
    "solarize": _level(colour.solarize, lambda share: 256 - (share * 256).floor()),
    "solarize_add": _level(colour.solarize_add, lambda share: (share * ADD).floor()),
    "saturation": _enhance(colour.saturation),
    "contrast": _enhance(colour.contrast),
    "brightness": _enhance(colour.brightness),
    "sharpness": _enhance(colour.sharpness),
    "shear_x": _affine(0, 1, SHEAR),
    "shear_y": _affine(1, 0, SHEAR),
    "translate_x": _affine(0, 2, MOVE),
    "translate_y": _affine(1, 2, MOVE),
}
