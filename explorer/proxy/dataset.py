"""What a data source gives and what training takes: uint8 images, their labels, and what identifies them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from search_spaces.errors import InputError

Progress = Callable[[int, int], None]  # (images done, images in all)


class DataError(InputError):
    """Data that cannot be had as asked; the message is one line with the value and the way out."""


@dataclass(frozen=True)
class Split:
    """What a source returns: numpy arrays, images (N, 3, H, W) uint8 and labels (N,) int64."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    val_images: NDArray[np.uint8]
    val_labels: NDArray[np.int64]
    classes: int
    unreadable: tuple[str, ...] = ()  # images left out, as "path (reason)"


@dataclass(frozen=True)
class Dataset:
    """Images and labels of one source as tensors on one device, ready for `train`."""

    name: str  # "cues", "digits", "folder"
    train_images: Tensor  # (N, 3, H, W) uint8
    train_labels: Tensor  # (N,) int64
    val_images: Tensor  # (M, 3, H, W) uint8
    val_labels: Tensor  # (M,) int64
    classes: int
    mean: Tensor  # (3,) float32, of the training images scaled to 0..1
    std: Tensor  # (3,) float32
    fingerprint: str  # hash of the content: results of different fingerprints do not compare
    mirror: bool  # a mirrored image keeps its class
    share: float = 1.0  # of the source's training images that are here; all else is of the whole source

    @property
    def image_size(self) -> int:
        """Height and width in pixels."""
        return int(self.train_images.shape[-1])

    def at_share(self, share: float, seed: int) -> Dataset:
        """The same data with a share (above 0, to 1) of each class's training images, at least one; itself at its own.

        One seed's smaller shares are parts of its larger ones. Mean and deviation stay those of all images.

        Raises:
            DataError: it is a part already, and another one is asked for.
        """
        if share == self.share:
            return self
        if self.share != 1:
            raise DataError(
                f"data_share={share:g}: the data given is a share of {self.share:g} already; give all of it"
            )
        labels = self.train_labels.cpu().numpy()
        rng, kept = np.random.default_rng(seed), []
        for label in np.unique(labels):
            members = rng.permutation(np.flatnonzero(labels == label))
            kept.append(members[: max(1, round(share * len(members)))])
        chosen = torch.from_numpy(np.sort(np.concatenate(kept))).to(self.train_labels.device)
        images, few = self.train_images[chosen], self.train_labels[chosen]
        return replace(self, train_images=images, train_labels=few, share=share)

    def to(self, device: torch.device | str) -> Dataset:
        """The same data resident on `device`; itself where it is there already."""
        return replace(
            self,
            train_images=self.train_images.to(device),
            train_labels=self.train_labels.to(device),
            val_images=self.val_images.to(device),
            val_labels=self.val_labels.to(device),
            mean=self.mean.to(device),
            std=self.std.to(device),
        )


def fingerprint(split: Split) -> str:
    """16 hex digits that change with any pixel, label, shape or number of classes."""
    digest = hashlib.blake2b(str(split.classes).encode(), digest_size=8)
    for array in (split.train_images, split.train_labels, split.val_images, split.val_labels):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def as_dataset(split: Split, *, name: str, mirror: bool) -> Dataset:
    """The split as tensors, with the mean and the deviation of each channel of its training images."""
    mean, std = channel_statistics(split.train_images)
    return Dataset(
        name=name,
        train_images=torch.from_numpy(split.train_images),
        train_labels=torch.from_numpy(split.train_labels),
        val_images=torch.from_numpy(split.val_images),
        val_labels=torch.from_numpy(split.val_labels),
        classes=split.classes,
        mean=torch.from_numpy(mean),
        std=torch.from_numpy(std),
        fingerprint=fingerprint(split),
        mirror=mirror,
    )


def channel_statistics(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and deviation (3,) of each channel of (N, 3, H, W) bytes scaled to 0..1."""
    levels = np.arange(256) / 255  # from histograms: exact, and no float copy of the images
    counts = np.stack([np.bincount(images[:, channel].ravel(), minlength=256) for channel in range(3)])  # (3, 256)
    mean = counts @ levels / counts.sum(axis=1)
    variance = (counts * (levels - mean[:, None]) ** 2).sum(axis=1) / counts.sum(axis=1)
    # a constant channel (a blank folder) must not divide by zero; half a grey level is below anything visible
    return mean.astype(np.float32), np.maximum(np.sqrt(variance), 0.5 / 255).astype(np.float32)
