"""Where batches come from. A new kind is one function that answers as `resident` does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor

from explorer.proxy.batches import pixels
from explorer.proxy.dataset import Dataset
from explorer.proxy.stream import Stream, is_on

Read = Callable[[int, int, slice], tuple[Tensor, Tensor]]
"""(epoch, step, part of the global batch) -> images (B, 3, H, W), bytes in channels-last memory, and labels (B,)."""


@dataclass(frozen=True)
class Batches:
    """An epoch's global batches: how many there are, and any part of one."""

    steps: int
    read: Read
    close: Callable[[], None] = lambda: None  # call it in the end


def batches_of(data: Dataset, batch_size: int, repeats: int, seed: int, parts: Sequence[slice]) -> Batches:
    """Batches of a dataset wherever its images are; `parts` of a batch are read by this process, one after the other.

    Every process draws the same order. With repeats, a batch holds its images that many times, and an epoch sees
    a part of the images only, as with DeiT's sampler. What does not fill a batch waits for the next epoch.
    """
    if is_on(data.train_images, data.train_labels.device):
        return resident(data, batch_size, repeats, seed)
    return streamed(data, batch_size, repeats, seed, parts)


def resident(data: Dataset, batch_size: int, repeats: int, seed: int) -> Batches:
    """Batches of a dataset that is on the device as a whole; see `batches_of`."""
    count, device = len(data.train_labels), data.train_labels.device
    images = pixels(data.train_images, device)  # (N, H, W, 3)
    order: dict[int, Tensor] = {}  # of the epoch under way

    def read(epoch: int, step: int, part: slice) -> tuple[Tensor, Tensor]:
        if epoch not in order:
            order.clear()
            order[epoch] = torch.randperm(count, generator=generator(seed, epoch)).to(device)
        chosen = _places(order[epoch], batch_size, repeats, step)[part]
        return images[chosen].permute(0, 3, 1, 2), data.train_labels[chosen]

    return Batches(count // batch_size, read)


def streamed(data: Dataset, batch_size: int, repeats: int, seed: int, parts: Sequence[slice]) -> Batches:
    """Batches of a dataset whose images stay on the host; see `batches_of`.

    What is read next is brought to the device ahead, which goes on at any other place, too.
    """
    count, device = len(data.train_labels), data.train_labels.device
    images, steps, stack = pixels(data.train_images, device), count // batch_size, ExitStack()
    ahead: Iterator[tuple[tuple[int, int, slice], Tensor, Tensor]] = iter(())

    def begun(epoch: int, step: int, part: slice) -> Iterator[tuple[tuple[int, int, slice], Tensor, Tensor]]:
        """What is read from there on, to the end of the epoch: where, images, labels."""
        stack.close()
        order = torch.randperm(count, generator=generator(seed, epoch))
        where = [(epoch, later, one) for later in range(step, steps) for one in parts][parts.index(part) :]
        chosen = [_places(order, batch_size, repeats, later)[one] for _, later, one in where]
        labels = data.train_labels[torch.cat(chosen).to(device)].split([len(one) for one in chosen])
        return zip(where, stack.enter_context(Stream(images, chosen, device)), labels, strict=True)

    def read(epoch: int, step: int, part: slice) -> tuple[Tensor, Tensor]:
        nonlocal ahead
        found = next(ahead, None)
        if found is None or found[0] != (epoch, step, part):
            ahead = begun(epoch, step, part)
            found = next(ahead)
        return found[1].permute(0, 3, 1, 2), found[2]

    return Batches(steps, read, stack.close)


def _places(order: Tensor, batch_size: int, repeats: int, step: int) -> Tensor:
    """Of the images of one global batch, (batch_size,)."""
    distinct = -(-batch_size // repeats)
    return order[step * distinct : (step + 1) * distinct].repeat(repeats)[:batch_size]


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
