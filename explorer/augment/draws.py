"""The random choices of one global batch, drawn at once on the CPU; each process takes its slice of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from explorer.augment.policy import Augmentation
from explorer.augment.randaugment import OPERATIONS

TRIES = 10  # for a crop or an erased rectangle that fits; else the whole image, or none
CROP_RATIO = (3 / 4, 4 / 3)  # width over height
ERASE_AREA, ERASE_RATIO = (0.02, 1 / 3), (0.3, 1 / 0.3)


@dataclass(frozen=True)
class Mix:
    """How neighbours in a batch are mixed, the same for all of it."""

    share: float  # of the image's own pixels and label; the rest is its neighbour's
    box: tuple[int, int, int, int] | None  # cutmix: top, bottom, left, right in pixels; None: mixup


@dataclass(frozen=True)
class Draws:
    """One value an image along the first axis, on the CPU; what is not done to any image is None."""

    crop: Tensor | None  # (N, 4) float32: top, left, height, width as shares of the side
    shift: Tensor | None  # (N, 2) int64: pixels down, right
    flip: Tensor | None  # (N,) bool
    jitter: Tensor | None  # (N, 3) float32: factors of brightness, contrast, saturation
    operation: Tensor | None  # (N, operations an image) int64 into OPERATIONS, -1: none
    magnitude: Tensor | None  # (N, operations an image) float32, -10 to 10
    erased: Tensor | None  # (N, 4) int64: top, left, height, width in pixels, 0 where nothing is
    noise: Tensor | None  # (N, 2) int64: where in the noise the rectangle begins
    mix: Mix | None

    def part(self, which: slice) -> Draws:
        """The choices of some of the images."""
        parts = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "mix"}
        return replace(self, **{name: None if value is None else value[which] for name, value in parts.items()})


def draw(policy: Augmentation, count: int, side: int, *, mirror: bool, generator: torch.Generator) -> Draws:
    """The choices for `count` images of `side` pixels; `mirror`: whether a mirrored image keeps its class."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    crop = shift = jitter = operation = magnitude = erased = noise = None
    if policy.resized_crop is not None:
        boxes, fits = _rectangles(count, side, policy.resized_crop, CROP_RATIO, generator)
        whole = torch.tensor([0, 0, side, side])
        crop = torch.where(fits[:, None], boxes, whole).float() / side
    pixels = round(policy.shift * side)
    if pixels:
        shift = torch.randint(-pixels, pixels + 1, (count, 2), generator=generator)
    flips = mirror if policy.flip is None else policy.flip
    flip = uniform(count) < 0.5 if flips else None
    if policy.color_jitter:
        jitter = 1 + policy.color_jitter * (2 * uniform(count, 3) - 1)
    if policy.randaugment_ops:
        each = (count, policy.randaugment_ops)
        operation = torch.randint(len(OPERATIONS), each, generator=generator)
        operation = operation.where(uniform(*each) < policy.randaugment_probability, -1)
        spread = policy.randaugment_noise * torch.randn(each, generator=generator)
        magnitude = (policy.randaugment_magnitude + spread).clamp(0, 10)
        magnitude = magnitude.where(uniform(*each) < 0.5, -magnitude)
    if policy.erase:
        boxes, fits = _rectangles(count, side, ERASE_AREA, ERASE_RATIO, generator)
        erased = boxes * (fits & (uniform(count) < policy.erase))[:, None]
        noise = torch.randint(side, (count, 2), generator=generator)
    mix = _mix(policy, side, generator) if policy.mixes else None
    return Draws(crop, shift, flip, jitter, operation, magnitude, erased, noise, mix)


def _rectangles(
    count: int, side: int, area: tuple[float, float], ratio: tuple[float, float], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """(N, 4) int64 top, left, height, width, and (N,) whether it is inside; the first of TRIES that is."""
    shares = area[0] + (area[1] - area[0]) * torch.rand(count, TRIES, generator=generator)
    low, high = math.log(ratio[0]), math.log(ratio[1])
    shapes = torch.exp(low + (high - low) * torch.rand(count, TRIES, generator=generator))
    height = (side * (shares / shapes).sqrt()).round().long()
    width = (side * (shares * shapes).sqrt()).round().long()
    fits = (height >= 1) & (width >= 1) & (height <= side) & (width <= side)
    first = fits.int().argmax(1, keepdim=True)
    height, width = height.gather(1, first)[:, 0].clamp(1, side), width.gather(1, first)[:, 0].clamp(1, side)
    place = torch.rand(count, 2, dtype=torch.float64, generator=generator)  # float32 may round up to 1
    top, left = (place[:, 0] * (side - height + 1)).long(), (place[:, 1] * (side - width + 1)).long()
    return torch.stack([top, left, height, width], 1), fits.any(1)


def _mix(policy: Augmentation, side: int, generator: torch.Generator) -> Mix | None:
    happens, which = torch.rand(2, generator=generator).tolist()
    cut = policy.cutmix > 0 and (policy.mixup == 0 or which < policy.cutmix_probability)
    share = _beta(policy.cutmix if cut else policy.mixup, generator)
    down, right = torch.randint(side, (2,), generator=generator).tolist()
    if happens >= policy.mix_probability:
        return None
    if not cut:
        return Mix(share, None)
    half = int(side * math.sqrt(1 - share)) // 2
    top, bottom, left, right = (
        max(down - half, 0),
        min(down + half, side),
        max(right - half, 0),
        min(right + half, side),
    )
    return Mix(1 - (bottom - top) * (right - left) / side**2, (top, bottom, left, right))


def _beta(alpha: float, generator: torch.Generator) -> float:
    """A draw of Beta(alpha, alpha)."""
    first, second = torch._standard_gamma(torch.full((2,), alpha, dtype=torch.float64), generator=generator).tolist()
    return 0.5 if first + second == 0 else first / (first + second)  # both underflow for a tiny alpha
