"""Random crops and mirror images of a whole batch as one gather, on the device where the data lives."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Draws:
    """One epoch's random choices, drawn at once so that no step waits for the device."""

    order: Tensor  # (N,) int64, the images in the order of training
    dy: Tensor  # (N,) int64, pixels the crop is moved down
    dx: Tensor  # (N,) int64, to the right
    flip: Tensor  # (N,) bool


def draw(count: int, *, padding: int, mirror: bool, generator: torch.Generator, device: torch.device) -> Draws:
    """An epoch's choices for `count` images; drawn on the CPU, so that every device trains on the same images."""
    order = torch.randperm(count, generator=generator)
    shifts = torch.randint(-padding, padding + 1, (2, count), generator=generator)
    flip = torch.rand(count, generator=generator) < (0.5 if mirror else 0.0)
    return Draws(order.to(device), shifts[0].to(device), shifts[1].to(device), flip.to(device))


def crop(images: Tensor, draws: Draws, first: int, count: int) -> Tensor:
    """(count, 3, H, W) in channels-last memory: the epoch's images from `first` on, moved and mirrored as drawn.

    `images` is (N, H, W, 3). What moves in from outside repeats the border.
    """
    height, width = images.shape[1:3]
    part = slice(first, first + count)
    rows = torch.arange(height, device=images.device) + draws.dy[part, None]  # (B, H)
    columns = torch.arange(width, device=images.device) + draws.dx[part, None]  # (B, W)
    columns = torch.where(draws.flip[part, None], columns.flip(1), columns)
    rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    batch = images[draws.order[part, None, None], rows[:, :, None], columns[:, None, :]]  # (B, H, W, 3)
    return batch.permute(0, 3, 1, 2)
