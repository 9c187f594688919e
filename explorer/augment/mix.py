"""Mixup, cutmix and random erasing, and the labels that go with them."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from explorer.augment.draws import Mix


def partners(values: Tensor) -> Tensor:
    """Each image's neighbour: 1, 0, 3, 2, ... along the first axis, which is even.

    A batch is in random order, so a neighbour is as random as any other image, and any even slice of it is complete.
    """
    return values.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)


def mixed(images: Tensor, mix: Mix | None) -> Tensor:
    """(B, 3, H, W): each image mixed with its neighbour; as they are where `mix` is None."""
    if mix is None:
        return images
    others = partners(images)
    if mix.box is None:
        return images * mix.share + others * (1 - mix.share)
    top, bottom, left, right = mix.box
    cut = images.clone()
    cut[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
    return cut


def soft_labels(labels: Tensor, classes: int, smoothing: float, mix: Mix | None) -> Tensor:
    """(B, classes) float32, each row of sum 1: the labels smoothed, and mixed as the images are."""
    targets = torch.full((len(labels), classes), smoothing / classes, device=labels.device)
    targets.scatter_(1, labels[:, None], 1 - smoothing + smoothing / classes)
    return targets if mix is None else targets * mix.share + partners(targets) * (1 - mix.share)


def erased(images: Tensor, boxes: Tensor, offsets: Tensor) -> Tensor:
    """The normalised images with each one's rectangle (top, left, height, width) filled with normal noise.

    `boxes` (B, 4) and `offsets` (B, 2) are on the CPU. The noise is one fixed field of normal values, in which every
    rectangle begins elsewhere: the same on every device and in every process.
    """
    which = (boxes[:, 2] > 0).nonzero()[:, 0]
    if not len(which):
        return images
    device, side = images.device, images.shape[-1]
    top, left, height, width = boxes[which].to(device, non_blocking=True)[:, :, None].unbind(1)  # (K, 1)
    down, right = offsets[which].to(device, non_blocking=True)[:, :, None].unbind(1)
    pixels = torch.arange(side, device=device)
    rows, columns = (pixels >= top) & (pixels < top + height), (pixels >= left) & (pixels < left + width)  # (K, side)
    inside = (rows[:, :, None] & columns[:, None, :])[:, None]  # (K, 1, side, side)
    noise = _noise(images.shape[1], side).to(device, images.dtype)
    shifted = noise[:, ((pixels + down) % side)[:, :, None], ((pixels + right) % side)[:, None, :]]
    which = which.to(device, non_blocking=True)
    result = images.clone()
    result[which] = torch.where(inside, shifted.transpose(0, 1), images[which])
    return result


@lru_cache(maxsize=4)
def _noise(channels: int, side: int) -> Tensor:
    return torch.randn(channels, side, side, generator=torch.Generator().manual_seed(0))
