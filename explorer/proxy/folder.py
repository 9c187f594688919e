"""Images of one's own, a folder a class: root/train/CLASS/* and root/val/CLASS/*, or root/CLASS/* split 80 / 20."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from explorer.proxy.cache import cached
from explorer.proxy.dataset import DataError, Progress, Split
from explorer.proxy.digits import stratified_split

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
VALIDATION = 0.2  # share of each class where the folder has no val/ of its own
VERSION = 2  # raise it when decoding changes, so that older caches are made again

Listing = list[tuple[Path, int]]  # (file, label)


def load(path: str, image_size: int, seed: int, cache_dir: Path, progress: Progress | None) -> Split:
    """The folder's images as RGB, short side resized to `image_size` and cropped at the centre."""
    root = Path(path).expanduser()
    if not root.is_dir():
        raise DataError(f"data=folder:{path}: {'not a folder' if root.exists() else 'no such folder'}; give a folder")
    if not os.access(root, os.R_OK | os.X_OK):
        raise DataError(f"data=folder:{path}: not readable by this user; give it read permission")
    own_split = (root / "train").is_dir()
    if own_split and not (root / "val").is_dir():
        raise DataError(f"data=folder:{path}: has train/ but no val/; add val/, or give {root / 'train'} to split it")
    classes = _classes(root / "train" if own_split else root, path)
    train = _listing(root / "train" if own_split else root, classes)
    val = _listing(root / "val", _known(root / "val", classes, path)) if own_split else []
    key = _key(root, train + val, f"{image_size} {seed} {VERSION}")

    def decode() -> Split:
        return _decode(path, classes, train, val if own_split else None, image_size, seed, progress)

    return cached(cache_dir / f"folder-{image_size}-{key}.npz", decode)


def _classes(root: Path, path: str) -> list[str]:
    names = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise DataError(f"data=folder:{path}: {root} holds no class folders; lay images out as {root}/CLASS/*.png")
    if len(names) == 1:
        raise DataError(f"data=folder:{path}: {root} holds a single class, {names[0]}; give at least two")
    return names


def _known(root: Path, classes: list[str], path: str) -> list[str]:
    strangers = sorted(set(_classes(root, path)) - set(classes))
    if strangers:
        raise DataError(f"data=folder:{path}: val/ has classes that train/ lacks: {', '.join(strangers[:5])}")
    return classes


def _listing(root: Path, classes: list[str]) -> Listing:
    return [(file, label) for label, name in enumerate(classes) for file in _images(root / name)]


def _images(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file():
            yield file


def _key(root: Path, listing: Listing, options: str) -> str:
    # names, sizes and times, not bytes: a change is noticed without reading every image again
    digest = hashlib.blake2b(f"{root.resolve()} {options}".encode(), digest_size=8)
    for file, label in listing:
        stat = file.stat()
        digest.update(f"\n{file.relative_to(root)} {label} {stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()


def _decode(
    path: str,
    classes: list[str],
    train: Listing,
    val: Listing | None,
    image_size: int,
    seed: int,
    progress: Progress | None,
) -> Split:
    listing = train + (val or [])
    images = np.empty((len(listing), 3, image_size, image_size), np.uint8)
    labels = np.array([label for _, label in listing], np.int64)
    read = np.zeros(len(listing), bool)
    unreadable: list[str] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes outside the interpreter's lock
        decoded = pool.map(partial(_read_image, image_size=image_size), [file for file, _ in listing])
        for index, ((file, _), image) in enumerate(zip(listing, decoded, strict=True)):
            if isinstance(image, str):
                unreadable.append(f"{file} ({image})")
            else:
                images[index], read[index] = image, True
            if progress is not None:
                progress(index + 1, len(listing))
    for label, name in enumerate(classes):
        if not read[: len(train)][labels[: len(train)] == label].any():
            raise DataError(f"data=folder:{path}: class {name} has no readable image; remove its folder or fill it")
    if val is None:
        kept = np.flatnonzero(read)
        chosen, held = (kept[part] for part in stratified_split(labels[kept], VALIDATION, seed))
    else:
        chosen, held = np.flatnonzero(read[: len(train)]), len(train) + np.flatnonzero(read[len(train) :])
    if not len(held):
        raise DataError(f"data=folder:{path}: no readable image for validation; add images")
    return Split(images[chosen], labels[chosen], images[held], labels[held], len(classes), tuple(unreadable))


def _read_image(file: Path, image_size: int) -> NDArray[np.uint8] | str:
    """(3, S, S) of one file, or why it cannot be read."""
    try:
        with Image.open(file) as image:
            image.draft("RGB", (image_size, image_size))  # a JPEG is decoded at the nearest larger eighth: much faster
            fitted = ImageOps.fit(rgb(ImageOps.exif_transpose(image)), (image_size, image_size))
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        return str(error).replace(str(file), "").replace("\n", " ") or type(error).__name__
    return np.asarray(fitted).transpose(2, 0, 1)


def rgb(image: Image.Image) -> Image.Image:
    """Any mode as 8-bit RGB: 16-bit grey scaled, float grey stretched, transparency over white."""
    if image.mode.startswith("I"):  # a plain conversion would clip instead of scaling
        return Image.fromarray((np.asarray(image).clip(0, 65535) // 256).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        grey = np.nan_to_num(np.asarray(image, np.float64), posinf=0, neginf=0)
        stretched = (grey - grey.min()) / max(float(np.ptp(grey)), 1e-12) * 255
        return Image.fromarray(stretched.astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:  # the colour stored under transparent pixels is arbitrary
        opaque = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), opaque).convert("RGB")
    return image.convert("RGB")
