"""Where batches come from. A new kind is one function that answers as `resident` does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from explorer.proxy.dataset import Dataset

Read = Callable[[int, int, slice], tuple[Tensor, Tensor]]
"""(epoch, step, part of the global batch) -> images (B, 3, H, W), bytes in channels-last memory, and labels (B,)."""


@dataclass(frozen=True)
class Batches:
    """An epoch's global batches: how many there are, and any part of one."""

    steps: int
    read: Read


def resident(data: Dataset, batch_size: int, repeats: int, seed: int) -> Batches:
    """Batches of a dataset that is on the device as a whole.

    Every process draws the same order. With repeats, a batch holds its images that many times, and an epoch sees
    a part of the images only, as with DeiT's sampler. What does not fill a batch waits for the next epoch.
    """
    count, device = len(data.train_labels), data.train_labels.device
    images = data.train_images.permute(0, 2, 3, 1).contiguous()  # (N, H, W, 3): no copy, where it lies so already
    order: dict[int, Tensor] = {}  # of the epoch under way

    def read(epoch: int, step: int, part: slice) -> tuple[Tensor, Tensor]:
        if epoch not in order:
            order.clear()
            order[epoch] = torch.randperm(count, generator=generator(seed, epoch)).to(device)
        distinct = -(-batch_size // repeats)
        chosen = order[epoch][step * distinct : (step + 1) * distinct].repeat(repeats)[:batch_size][part]
        return images[chosen].permute(0, 3, 1, 2), data.train_labels[chosen]

    return Batches(count // batch_size, read)


def generator(*numbers: int) -> torch.Generator:
    """A generator on the CPU that follows from the numbers: the same in every process and after a resume."""
    return torch.Generator().manual_seed(seed_of(*numbers))


def seed_of(*numbers: int) -> int:
    """A seed that follows from all the numbers, of which no two sequences are likely to share one."""
    mixed = 0
    for number in numbers:  # the finaliser of splitmix64, one number after the other
        mixed = (mixed + number + 0x9E3779B97F4A7C15) % 2**64
        mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB % 2**64
        mixed ^= mixed >> 31
    return mixed >> 1
