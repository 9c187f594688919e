"""Images of one's own, a folder a class: root/train/CLASS/* and root/val/CLASS/*, or root/CLASS/* split 80 / 20."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from explorer.proxy.catalogue import Catalogue, Files, Part, decoded
from explorer.proxy.dataset import DataError, Split, Wanted

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}


def load(wanted: Wanted) -> Split:
    """The folder's images."""
    root, path = Path(wanted.path).expanduser(), wanted.path
    if not root.is_dir():
        raise DataError(f"data=folder:{path}: {'not a folder' if root.exists() else 'no such folder'}; give a folder")
    own_split = (root / "train").is_dir()
    if own_split and not (root / "val").is_dir():
        raise DataError(f"data=folder:{path}: has train/ but no val/; add val/, or give {root / 'train'} to split it")
    # a folder beside classes would be one to other tools: sets of such images lie beside the folder itself
    top = root if own_split else root.parent
    try:
        classes = _classes(root / "train" if own_split else root, path)
        listings = [_listing(root / "train" if own_split else root, classes)]
        if own_split:
            strangers = sorted(set(_classes(root / "val", path)) - set(classes))
            if strangers:
                raise DataError(f"data=folder:{path}: val/ has classes that train/ lacks: {', '.join(strangers[:5])}")
            listings.append(_listing(root / "val", classes))
    except PermissionError as error:
        raise DataError(
            f"data=folder:{path}: {error.filename} is not readable by this user; give it read permission"
        ) from None
    stamps = [(f"class {name}", 0, 0) for name in classes]
    for found in listings:
        stamps += [(os.path.relpath(one.file, top), one.size, one.changed) for one in found]
    return decoded(Files(f"folder:{path}", stamps, top), lambda: _catalogue(classes, listings), wanted)


class Listed(NamedTuple):
    """An image's file."""

    file: str
    label: int
    size: int
    changed: int  # ns


def _catalogue(classes: Sequence[str], listings: Sequence[Sequence[Listed]]) -> Catalogue:
    parts = [_part([one.file for one in found], [one.label for one in found]) for found in listings]
    return Catalogue(classes, parts[0], parts[1] if len(parts) > 1 else None)


def _part(files: Sequence[str], labels: Sequence[int]) -> Part:
    return Part(np.array(labels, np.int64), lambda place: files[place], lambda place: Path(files[place]).read_bytes())


def _classes(root: Path, path: str) -> list[str]:
    names = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise DataError(f"data=folder:{path}: {root} holds no class folders; lay images out as {root}/CLASS/*.png")
    if len(names) == 1:
        raise DataError(f"data=folder:{path}: {root} holds a single class, {names[0]}; give at least two")
    return names


def _listing(root: Path, classes: Sequence[str]) -> list[Listed]:
    """Class by class, each in the order of names."""
    found = []
    for label, name in enumerate(classes):
        for entry in sorted(_images(root / name), key=lambda entry: entry.path.split(os.sep)):
            about = entry.stat()
            found.append(Listed(entry.path, label, about.st_size, about.st_mtime_ns))
    return found


def _images(folder: Path | str) -> Iterator[os.DirEntry[str]]:
    """Images at any depth; what begins with a dot is passed over."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _images(entry.path)
            elif os.path.splitext(entry.name)[1].lower() in SUFFIXES and entry.is_file():
                yield entry
