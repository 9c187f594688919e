"""From a dataset to the batches that the network takes: gathered, varied, normalised, on the device."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from explorer.augment.apply import augment
from explorer.augment.draws import draw as draw_policy
from explorer.augment.mix import soft_labels
from explorer.proxy.augment import crop, draw
from explorer.proxy.dataset import Dataset
from explorer.proxy.stream import Stream, is_on

if TYPE_CHECKING:
    from explorer.proxy.train import TrainSettings


def pixels(images: Tensor, device: torch.device) -> Tensor:
    """(N, H, W, 3) of images (N, 3, H, W): a pixel is three bytes in a row.

    No copy where they lie so already, as in a set mapped into memory, nor of images that are to be streamed.
    """
    images = images.permute(0, 2, 3, 1)
    return images.contiguous() if is_on(images, device) else images


def epoch_batches(
    images: Tensor, data: Dataset, settings: TrainSettings, chance: torch.Generator
) -> Generator[tuple[Tensor, Tensor], None, None]:
    """An epoch's batches, drawn by `chance`; `images` are the `pixels` of all training images.

    Each is (B, 3, H, W) float32 in channels-last memory, and labels: (B,), or (B, classes) with an augmentation.
    Nothing is read from the device. Close it: images that are streamed are gathered by a thread.
    """
    count, size, device, policy = len(images), settings.batch_size, data.train_labels.device, settings.augmentation
    order = torch.randperm(count, generator=chance)
    moves = None
    if policy is None:
        padding = data.image_size // 16 if settings.crop_padding is None else settings.crop_padding
        mirror = data.mirror if settings.flip is None else settings.flip
        moves = draw(count, padding=padding, mirror=mirror, generator=chance).to(device)
    order = order[: count // size * size]
    labels = data.train_labels[order.to(device)]
    with _gathered(images, order, size, device) as gathered:
        for step, (source, places) in enumerate(gathered):
            part = slice(step * size, (step + 1) * size)
            if policy is None:
                assert moves is not None
                yield normalised(crop(source, places, moves.part(part)), data), labels[part]
            else:
                choices = draw_policy(policy, size, data.image_size, mirror=data.mirror, generator=chance)
                batch = augment(source[places].permute(0, 3, 1, 2), choices, data.mean, data.std)
                yield batch, soft_labels(labels[part], data.classes, settings.label_smoothing, choices.mix)


@contextlib.contextmanager
def _gathered(
    images: Tensor, order: Tensor, size: int, device: torch.device
) -> Iterator[Iterator[tuple[Tensor, Tensor]]]:
    """For each `size` places of `order`, images on the device and where among them those places are."""
    if is_on(images, device):
        yield ((images, places) for places in order.to(device).split(size))
    else:
        every = torch.arange(size, device=device)
        with Stream(images, order.split(size), device) as stream:
            yield ((batch, every) for batch in stream)


@contextlib.contextmanager
def in_order(images: Tensor, size: int, device: torch.device) -> Iterator[Iterable[Tensor]]:
    """All images (N, 3, H, W), as they come, in batches on the device, in channels-last memory."""
    rows = images.permute(0, 2, 3, 1)
    if is_on(images, device):
        yield (part.contiguous().permute(0, 3, 1, 2) for part in rows.split(size))
    else:
        with Stream(rows, torch.arange(len(rows)).split(size), device) as stream:
            yield (part.permute(0, 3, 1, 2) for part in stream)


def normalised(images: Tensor, data: Dataset) -> Tensor:
    """(B, 3, H, W) float32 with mean 0 and deviation 1 over the training images, from bytes."""
    scale, shift = 1 / (255 * data.std), data.mean / data.std
    return images.to(torch.float32, copy=True).mul_(scale[:, None, None]).sub_(shift[:, None, None])
