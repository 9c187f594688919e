"""What a source on disk holds, before anything of it is decoded; and decoding it, once, into the cache.

A source tells its files, and lists the images in them: their labels, a name for each, and how one is read. All the rest
is the same for all: the choice of classes and of a part, the split where there is none, decoding, and what is done with
a bad image. Where the set is in the cache already nothing is listed.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from explorer.profile.cores import allowed_cores
from explorer.proxy.cache import Made, Writer, cached, kept, places
from explorer.proxy.dataset import DataError, Split, Wanted, stratified_split
from explorer.proxy.image import Unreadable, as_square, decode
from search_spaces.errors import one_line

VALIDATION = 0.2  # share of each class where the source has no validation images of its own
VERSION = 3  # raise it when decoding changes, so that older caches are made again
CHUNK = 1024  # images decoded at a time: bounds the memory, whatever the source's size

Ints = NDArray[np.int64]
Read = Callable[[int], "bytes | NDArray[np.uint8]"]
"""One image by its place in the part: an encoded file, or its pixels (H, W, 3). It is called by several threads, in
ascending order within a chunk. Raises OSError or ValueError where this one cannot be read."""


@dataclass(frozen=True)
class Part:
    """Images for training, or for validation."""

    labels: Ints  # (N,)
    names: Callable[[int], str]  # of one image, as in "train/ant/7.png"
    read: Read
    chosen: Ints | None = None  # places of those that are used, ascending; None: all

    def of(self, chosen: Ints) -> Part:
        """The part with only so many of the images that it has now."""
        return replace(self, chosen=chosen if self.chosen is None else self.chosen[chosen])

    @property
    def places(self) -> Ints:
        """Places of the images that are used."""
        return np.arange(len(self.labels)) if self.chosen is None else self.chosen

    @property
    def used_labels(self) -> Ints:
        """Labels of these."""
        return self.labels[self.places]


@dataclass(frozen=True)
class Files:
    """Where a source's images are."""

    source: str  # as it was asked for: "folder:/data/birds"
    stamps: Sequence[tuple[str, int, int]]  # name, bytes and time of change (ns) of every file: tell when one changes
    beside: Path | None  # folder of the data; None: it has none


@dataclass(frozen=True)
class Catalogue:
    """A source's images."""

    classes: Sequence[str]
    train: Part
    val: Part | None  # None: part of the training images are held out
    left_out: tuple[str, ...] = ()  # images that neither part has, as "path (reason)"


def decoded(files: Files, listed: Callable[[], Catalogue], wanted: Wanted) -> Split:
    """The listed images as RGB, short side resized to the image size and cropped at the centre, from the cache.

    `listed` is called where they are not in it.

    Raises:
        DataError: a class or the validation has no readable image, or the cache cannot be written; one line.
    """
    for where, beside in places(files.beside, wanted.cache_dir):
        folder = where / f"{files.source.partition(':')[0]}-{wanted.image_size}-{_key(files, wanted, beside)}"
        if (split := kept(folder)) is not None:
            return split
    chosen = _chosen(files.source, listed(), wanted)
    images = len(chosen.train.places) + len(chosen.val.places)
    return cached(
        folder, wanted.image_size, partial(_decode, chosen, wanted, images), images=images, on_wait=wanted.on_wait
    )


class _Chosen(NamedTuple):
    """The images of a catalogue that are asked for."""

    source: str
    classes: Sequence[str]
    train: Part
    val: Part
    left_out: tuple[str, ...]


def _chosen(source: str, catalogue: Catalogue, wanted: Wanted) -> _Chosen:
    classes = catalogue.classes[: wanted.classes_of(len(catalogue.classes), source)]
    train = catalogue.train.of(wanted.chosen(catalogue.train.used_labels))
    if catalogue.val is not None:
        val = catalogue.val.of(wanted.chosen(catalogue.val.used_labels))
        return _Chosen(source, classes, train, val, catalogue.left_out)
    kept, held = stratified_split(train.used_labels, VALIDATION, wanted.seed)
    return _Chosen(source, classes, train.of(kept), train.of(held), catalogue.left_out)


def _decode(chosen: _Chosen, wanted: Wanted, total: int, writer: Writer) -> Made:
    """Give the writer all the images that can be read."""
    unreadable = list(chosen.left_out)
    done = 0
    # Pillow decodes outside the interpreter's lock; it warns of odd metadata, in any of the threads
    with warnings.catch_warnings(), _threads() as pool:
        warnings.simplefilter("ignore")
        for name, part in (("train", chosen.train), ("val", chosen.val)):
            for place_, image in _images(part, wanted.image_size, pool):
                if isinstance(image, str):
                    unreadable.append(f"{part.names(place_)} ({image})")
                else:
                    writer.add(name, image, int(part.labels[place_]))
                done += 1
                if wanted.progress is not None:
                    wanted.progress(done, total)
    empty = set(range(len(chosen.classes))) - set(writer.labels["train"])
    if empty:
        raise DataError(
            f"data={chosen.source}: class {chosen.classes[min(empty)]} has no readable image; leave it out, or fill it"
        )
    if not writer.labels["val"]:
        hint = "add images" if wanted.subset == 1 else "add images, or take a larger subset"
        raise DataError(f"data={chosen.source}: no readable image for validation; {hint}")
    return Made(len(chosen.classes), tuple(unreadable))


@contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    """As many as cores; what is queued when one gives up is not begun any more."""
    pool = ThreadPoolExecutor(len(allowed_cores()))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _images(part: Part, size: int, pool: ThreadPoolExecutor) -> Iterator[tuple[int, NDArray[np.uint8] | str]]:
    """Each used image (S, S, 3) with its place, or why it cannot be read."""

    def one(place_: int) -> NDArray[np.uint8] | str:
        try:
            found = part.read(place_)
            return decode(found, size) if isinstance(found, bytes) else as_square(found, size)
        except (Unreadable, OSError, ValueError, MemoryError) as error:
            return one_line(error)

    places = part.places
    for first in range(0, len(places), CHUNK):
        chunk = [int(place_) for place_ in places[first : first + CHUNK]]
        yield from zip(chunk, pool.map(one, chunk), strict=True)


def _key(files: Files, wanted: Wanted, beside: bool) -> str:
    """Of what the set follows from; names, sizes and times, not bytes: so that no image is read to find its set.

    Of where the files are, too, where sets of several folders lie together: data beside which it lies may be moved.
    """
    options = f"{wanted.image_size} {wanted.seed} {wanted.subset!r} {wanted.classes} {VERSION}"
    if not beside and files.beside is not None:
        options += f" {files.beside.resolve()}"
    digest = hashlib.blake2b(options.encode("utf-8", "surrogateescape"), digest_size=8)
    for name, size, changed in files.stamps:
        digest.update(f"\n{name} {size} {changed}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def stamp(file: Path, root: Path) -> tuple[str, int, int]:
    """What tells when a file changes."""
    stat = file.stat()
    return str(file.relative_to(root)), stat.st_size, stat.st_mtime_ns
