"""Decoded images kept in files that are mapped into memory: decoded once, shared by all trials of a node.

A set is a folder: train.images and val.images, bytes (N, H, W, 3); train.labels and val.labels, int64; about.json,
written last. It is made aside and then renamed: a process that is killed leaves nothing that is taken for whole, and
what it left is cleared by the next one. Of two that want the same set the second waits for the first.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from explorer.folders import cache_folder
from explorer.profile.lease import OnWait, exclusive
from explorer.proxy.dataset import DataError, Split, fingerprint, statistics_of_levels

FORMAT = "vitscape/images@1"
CHECKED = 256 * 2**20  # bytes of images up to which every byte is checked on reading, a tenth of a second or two
ROOM = 2**20  # bytes beside the images: labels, and what is said of them
PARTS = ("train", "val")


class CacheError(DataError):
    """A set cannot be kept where it was to be; the message is one line with the way out."""


class Made(NamedTuple):
    """What there is to say of a set beside its images and labels."""

    classes: int
    unreadable: tuple[str, ...] = ()  # images left out, as "path (reason)"


class Writer:
    """Takes a set's images one after the other, and holds none of them."""

    def __init__(self, folder: Path, image_size: int) -> None:
        self.folder, self.shape = folder, (image_size, image_size, 3)
        self.labels: dict[str, list[int]] = {part: [] for part in PARTS}
        self.levels = np.zeros((3, 256), np.int64)  # of the training images
        self.files: dict[str, IO[bytes]] = {part: (folder / f"{part}.images").open("wb") for part in PARTS}

    def add(self, part: str, image: NDArray[np.uint8], label: int) -> None:
        """An image (S, S, 3) of `part`, "train" or "val"."""
        if image.shape != self.shape:
            raise ValueError(f"an image of shape {image.shape} among those of {self.shape}")
        image = np.ascontiguousarray(image)
        self.files[part].write(image.data)
        self.labels[part].append(label)
        if part == "train":
            self.levels += np.array(Image.fromarray(image).histogram(), np.int64).reshape(3, 256)

    def add_all(self, split: Split) -> Made:
        """The images of a split that is in memory."""
        for part, images, labels in zip(
            PARTS,
            (split.train_images, split.val_images),
            (split.train_labels, split.val_labels),
            strict=True,
        ):
            for image, label in zip(images, labels, strict=True):
                self.add(part, image.transpose(1, 2, 0), int(label))
        return Made(split.classes, split.unreadable)

    def finish(self, made: Made) -> None:
        """Write down what the set is."""
        for part in PARTS:
            with self.files[part] as images, (self.folder / f"{part}.labels").open("wb") as labels:
                labels.write(np.array(self.labels[part], np.int64).data)
                for file in (images, labels):  # on the disk before about.json says so
                    file.flush()
                    os.fsync(file.fileno())
        mean, std = statistics_of_levels(self.levels)
        about: dict[str, Any] = {
            "format": FORMAT,
            "image_size": self.shape[0],
            "train": len(self.labels["train"]),
            "val": len(self.labels["val"]),
            "classes": made.classes,
            "unreadable": list(made.unreadable),
            "mean": mean.tolist(),
            "std": std.tolist(),
        }
        about["fingerprint"] = fingerprint(_mapped(self.folder, about))
        with (self.folder / "about.json").open("w", encoding="utf-8") as stream:
            json.dump(about, stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())

    def close(self) -> None:
        """Let the files go, whatever is in them."""
        for file in self.files.values():
            with contextlib.suppress(OSError):  # of what could not be written before, either
                file.close()


def cached(
    folder: Path,
    image_size: int,
    make: Callable[[Writer], Made],
    *,
    images: int = 0,
    on_wait: OnWait | None = None,
) -> Split:
    """The set kept in `folder`; made and kept there where it is absent or damaged.

    `make(writer)` gives the writer the images, `images` of them at most, for which there must be room on the disk.
    `on_wait` is told of the process that makes the set already.

    Raises:
        CacheError: there is no room, or no permission to write.
    """
    if (split := kept(folder)) is not None:
        return split
    needed = images * 3 * image_size**2
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(f"data-{folder.name}", on_wait):
            if (split := kept(folder)) is not None:  # made while this process waited
                return split
            _require_room(folder.parent, needed)
            _make(folder, image_size, make)
    except OSError as error:
        raise CacheError(
            f"cache {folder}: not written ({error.strerror or error}){_room_told(folder.parent, needed, error)};"
            " set VITSCAPE_CACHE to a folder that has room and can be written to"
        ) from None
    split = kept(folder)
    if split is None:
        raise CacheError(f"cache {folder}: was written and cannot be read; set VITSCAPE_CACHE to another disk")
    return split


def kept(folder: Path) -> Split | None:
    """The set that is kept in a folder; None where it is absent, torn or of another format, and is to be made again."""
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        if about["format"] != FORMAT:
            return None
        split = _mapped(folder, about)
        small = split.train_images.nbytes + split.val_images.nbytes <= CHECKED
        sound = not small or fingerprint(split) == split.fingerprint
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return split if sound else None


def places(beside: Path | None, cache_dir: Path | None) -> Iterator[tuple[Path, bool]]:
    """Folders in which a set may be, and whether each lies beside the data; in the last one it can be made."""
    if beside is not None and cache_dir is None and not os.environ.get("VITSCAPE_CACHE"):
        folder = beside / ".vitscape"
        yield folder, True
        if os.access(folder if folder.exists() else beside, os.W_OK | os.X_OK):
            return
    yield cache_dir or cache_folder(), False


def _make(folder: Path, image_size: int, make: Callable[[Writer], Made]) -> None:
    user = f"u{os.getuid()}-" if hasattr(os, "getuid") else ""  # locks are each user's own
    mine = f".{folder.name}-{socket.gethostname()}-{user}"
    for left in folder.parent.glob(f"{mine}*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    aside = folder.parent / f"{mine}{os.getpid()}"
    aside.mkdir()
    try:
        writer = Writer(aside, image_size)
        try:
            made = make(writer)
            writer.finish(made)
        finally:
            writer.close()
        if folder.exists() and kept(folder) is None:  # damaged
            old = folder.parent / f"{mine}{os.getpid()}-old"
            folder.rename(old)
            shutil.rmtree(old, ignore_errors=True)
        try:
            aside.rename(folder)
        except OSError:
            if kept(folder) is None:  # else another host has just made the same set, and may use it
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _mapped(folder: Path, about: dict[str, Any]) -> Split:
    size, images, labels = about["image_size"], {}, {}
    for part in PARTS:
        count = about[part]
        file, shape = folder / f"{part}.images", (count, size, size, 3)
        if file.stat().st_size != count * size * size * 3:
            raise ValueError(f"{file} is torn")
        # read-only: what could be written to counts as memory, which a large set is more than there is
        mapped = np.memmap(file, np.uint8, "r", shape=shape) if count else np.empty(shape, np.uint8)
        images[part] = mapped.transpose(0, 3, 1, 2)
        labels[part] = np.fromfile(folder / f"{part}.labels", np.int64)
        if len(labels[part]) != count:
            raise ValueError(f"the labels of {file} are torn")
    return Split(
        images["train"],
        labels["train"],
        images["val"],
        labels["val"],
        classes=int(about["classes"]),
        unreadable=tuple(map(str, about["unreadable"])),
        mean=np.array(about["mean"], np.float32),
        std=np.array(about["std"], np.float32),
        fingerprint=str(about.get("fingerprint", "")),
    )


def _require_room(folder: Path, needed: int) -> None:
    if needed and shutil.disk_usage(folder).free < needed + ROOM:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _room_told(folder: Path, needed: int, error: OSError) -> str:
    if not needed or error.errno not in (errno.ENOSPC, errno.EDQUOT) or not folder.exists():
        return ""
    free = shutil.disk_usage(folder).free
    return f"; the images need {_bytes(needed + ROOM)}, and {_bytes(free)} are free"


def _bytes(many: int) -> str:
    return f"{many / 1e9:.3g} GB" if many >= 1e9 else f"{many / 1e6:.3g} MB"
