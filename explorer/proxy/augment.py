"""How training images are varied: a crop and a mirror image of each, or a named policy of explorer/augment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from explorer.augment.policy import Augmentation
from search_spaces.errors import InputError

LIGHT = Augmentation(shift=1 / 16, randaugment_ops=1, randaugment_magnitude=5, erase=0.25)
MIX = Augmentation(shift=1 / 16, mixup=0.2, cutmix=1.0, mix_probability=0.5)
POLICIES: dict[str, Augmentation | None] = {"none": None, "light": LIGHT, "mix": MIX}


def augmentation_named(name: str) -> Augmentation | None:
    """A policy by its name; None, which stands for a crop and a mirror image alone, by the name "none".

    Raises:
        InputError: there is none of this name; one line.
    """
    if name not in POLICIES:
        raise InputError(f"augment={name}: not known; give one of {', '.join(POLICIES)}")
    return POLICIES[name]


@dataclass(frozen=True)
class Draws:
    """Random choices for images in the order of training, drawn for an epoch at once."""

    dy: Tensor  # (N,) int64, pixels the crop is moved down
    dx: Tensor  # (N,) int64, to the right
    flip: Tensor  # (N,) bool

    def part(self, which: slice) -> Draws:
        """The choices of some of the images."""
        return self._each(lambda values: values[which])

    def to(self, device: torch.device) -> Draws:
        """The same choices on a device."""
        return self._each(lambda values: values.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Draws:
        return Draws(change(self.dy), change(self.dx), change(self.flip))


def draw(count: int, *, padding: int, mirror: bool, generator: torch.Generator) -> Draws:
    """Choices for `count` images; drawn on the CPU, so that every device trains on the same images."""
    shifts = torch.randint(-padding, padding + 1, (2, count), generator=generator)
    flip = torch.rand(count, generator=generator) < (0.5 if mirror else 0.0)
    return Draws(shifts[0], shifts[1], flip)


def crop(images: Tensor, places: Tensor, draws: Draws) -> Tensor:
    """(B, 3, H, W) in channels-last memory: the images at `places` (B,), moved and mirrored as drawn, as one gather.

    `images` is (N, H, W, 3), one pixel after the other in memory, on the device of `places` and `draws`. What moves in
    from outside repeats the border.
    """
    height, width, channels = images.shape[1:]
    rows = torch.arange(height, device=images.device) + draws.dy[:, None]  # (B, H)
    columns = torch.arange(width, device=images.device) + draws.dx[:, None]  # (B, W)
    columns = torch.where(draws.flip[:, None], columns.flip(1), columns)
    rows, columns = rows.clamp_(0, height - 1), columns.clamp_(0, width - 1)
    # on a CPU whole pixels of one long list are gathered in a third of the time that three indices take
    pixels = (places[:, None] * height + rows)[:, :, None] * width + columns[:, None, :]  # (B, H, W)
    batch = images.view(-1, channels).index_select(0, pixels.view(-1))
    return batch.view(*pixels.shape, channels).permute(0, 3, 1, 2)
