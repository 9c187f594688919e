"""What a data source gives and what training takes: uint8 images, their labels, and what identifies them."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from explorer.profile.lease import OnWait
from explorer.proxy.stream import has_room
from search_spaces.errors import InputError

Progress = Callable[[int, int], None]  # (images done, images in all)
CHUNK = 1024  # images that are looked at at a time, where all are


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
    mean: NDArray[np.float32] | None = None  # (3,) of the training images in 0..1, where it is known already
    std: NDArray[np.float32] | None = None  # (3,)
    fingerprint: str = ""  # where it is known already


@dataclass(frozen=True)
class Wanted:
    """What of a source is asked for."""

    path: str  # empty where the source takes none
    image_size: int
    seed: int = 0
    subset: float = 1.0  # share of each class's images, above 0, to 1
    classes: int | None = None  # the first so many; None: all
    cache_dir: Path | None = None  # None: where the source's images are kept by themselves
    progress: Progress | None = None  # called as images are decoded
    on_wait: OnWait | None = None  # called with the process that decodes them already

    def classes_of(self, there: int, source: str) -> int:
        """How many of the classes that there are.

        Raises:
            DataError: there are not so many.
        """
        if self.classes is None:
            return there
        if not 2 <= self.classes <= there:
            raise DataError(f"data={source}: classes={self.classes}, it has {there}; give 2 to {there}")
        return self.classes

    def chosen(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Places, ascending, of the images of these labels that are asked for."""
        places = np.arange(len(labels)) if self.classes is None else np.flatnonzero(labels < self.classes)
        return places if self.subset == 1 else places[at_share(labels[places], self.subset, self.seed)]


@dataclass(frozen=True)
class Dataset:
    """Images and labels of one source as tensors, ready for `train`; the images may be a file mapped into memory."""

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
        require_memory(share, self.train_images.nbytes)
        chosen = torch.from_numpy(at_share(labels, share, seed)).to(self.train_images.device)
        images, few = self.train_images[chosen], self.train_labels[chosen]
        return replace(self, train_images=images, train_labels=few, share=share)

    def to(self, device: torch.device | str) -> Dataset:
        """The same data for training on `device`; nothing is copied that is there already.

        Images that would take more than a quarter of a GPU's free memory stay on the host, from where `train` streams
        them (explorer/proxy/stream.py); all else goes to the device.
        """
        device = torch.device(device)
        elsewhere = [one for one in (self.train_images, self.val_images) if one.device.type != device.type]
        room = has_room(device, sum(one.nbytes for one in elsewhere))
        return replace(
            self,
            train_images=self.train_images.to(device) if room else self.train_images,
            train_labels=self.train_labels.to(device),
            val_images=self.val_images.to(device) if room else self.val_images,
            val_labels=self.val_labels.to(device),
            mean=self.mean.to(device),
            std=self.std.to(device),
        )


def split_options(text: str, names: Collection[str]) -> tuple[str, list[tuple[str, str]]]:
    """("cues", [("subset", "0.1")]) of "cues,subset=0.1": what comes before options of these names, and those."""
    found: list[tuple[str, str]] = []
    while True:
        head, comma, word = text.rpartition(",")
        name, equals, value = word.partition("=")
        if not (comma and equals and name in names):
            return text, found[::-1]
        text = head
        found.append((name, value))


def require_memory(share: float, size: int) -> None:
    """Raise DataError where a share of `size` bytes of images, which is copied, takes more than half of the memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else size
    if share < 1 and share * size > memory / 2:
        raise DataError(
            f"data_share={share:g}: {share * size / 1e9:.3g} GB of images are copied, more than half of the memory;"
            f" take --subset {share:g}, which keeps a set of its own"
        )


def at_share(labels: NDArray[np.int64], share: float, seed: int) -> NDArray[np.int64]:
    """Places, ascending, of a share (above 0, to 1) of each class, at least one; smaller shares are parts of larger."""
    rng, kept = np.random.default_rng(seed), [np.empty(0, np.int64)]
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        kept.append(members[: max(1, round(share * len(members)))])
    return np.sort(np.concatenate(kept))


def stratified_split(labels: NDArray[np.int64], share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices (train, validation), both ascending, with `share` of each class (at least one of two) in the second."""
    rng = np.random.default_rng(seed)
    val = [np.empty(0, np.int64)]
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        count = max(1, round(share * len(members))) if len(members) > 1 else 0
        val.append(members[:count])
    chosen = np.sort(np.concatenate(val))
    return np.setdiff1d(np.arange(len(labels)), chosen), chosen


def fingerprint(split: Split) -> str:
    """16 hex digits that change with any pixel, label, shape or number of classes."""
    digest = hashlib.blake2b(str(split.classes).encode(), digest_size=8)
    for array in (split.train_images, split.train_labels, split.val_images, split.val_labels):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        for first in range(0, len(array), CHUNK):
            digest.update(np.ascontiguousarray(array[first : first + CHUNK]).data)
    return digest.hexdigest()


def as_dataset(split: Split, *, name: str, mirror: bool) -> Dataset:
    """The split as tensors, with the mean and the deviation of each channel of its training images."""
    mean, std = split.mean, split.std
    if mean is None or std is None:
        mean, std = channel_statistics(split.train_images)
    return Dataset(
        name=name,
        train_images=tensor_of(split.train_images),
        train_labels=tensor_of(split.train_labels),
        val_images=tensor_of(split.val_images),
        val_labels=tensor_of(split.val_labels),
        classes=split.classes,
        mean=torch.from_numpy(mean),
        std=torch.from_numpy(std),
        fingerprint=split.fingerprint or fingerprint(split),
        mirror=mirror,
    )


def tensor_of(array: NDArray[Any]) -> Tensor:
    """A tensor in the memory of an array, which nobody writes to where it is read-only."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(array)


def channel_statistics(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and deviation (3,) of each channel of (N, 3, H, W) bytes scaled to 0..1."""
    return statistics_of_levels(
        np.stack([np.bincount(images[:, channel].ravel(), minlength=256) for channel in range(3)])
    )


def statistics_of_levels(counts: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and deviation (3,) of each channel, in 0..1, from how often it has each of the 256 levels, (3, 256)."""
    levels = np.arange(256) / 255  # from histograms: exact, and no float copy of the images
    mean = counts @ levels / counts.sum(axis=1)
    variance = (counts * (levels - mean[:, None]) ** 2).sum(axis=1) / counts.sum(axis=1)
    # a constant channel (a blank folder) must not divide by zero; half a grey level is below anything visible
    return mean.astype(np.float32), np.maximum(np.sqrt(variance), 0.5 / 255).astype(np.float32)
