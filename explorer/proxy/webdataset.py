"""Shards of a WebDataset: tar files in which the members of one sample share a key, as 0007.jpg and 0007.cls."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from tarfile import BLOCKSIZE, TarError
from typing import NamedTuple

import numpy as np

from explorer.proxy.catalogue import Catalogue, Files, Part, decoded
from explorer.proxy.columns import at_least_two, numbers_of
from explorer.proxy.dataset import DataError, Split, Wanted
from explorer.proxy.folder import SUFFIXES
from explorer.proxy.shards import Shards, chosen, shards
from explorer.proxy.tar import Member, members, name_at
from search_spaces.document import short

LARGEST_LABEL = 2**20  # bytes of a .json; a label has less
IMAGES = {suffix[1:] for suffix in SUFFIXES}


class Index(NamedTuple):
    """Where the images of a part lie, and their labels; a few bytes for each."""

    files: Sequence[Path]
    shards: array[int]  # places in files
    offsets: array[int]
    sizes: array[int]
    labels: array[int]

    def name(self, place: int) -> str:
        """ "train-000001.tar: 0007.jpg"."""
        file = self.files[self.shards[place]]
        return f"{file.name}: {_shown(name_at(file, self.offsets[place]))}"

    def read(self, place: int) -> bytes:
        """The encoded image."""
        file = os.open(self.files[self.shards[place]], os.O_RDONLY)
        try:
            content = os.pread(file, self.sizes[place], self.offsets[place])
        finally:
            os.close(file)
        if len(content) < self.sizes[place]:
            raise ValueError("the shard is torn")
        return content


def load(wanted: Wanted) -> Split:
    """The shards' images."""
    source = f"webdataset:{wanted.path}"
    _require_plain(wanted.path, source)
    found = shards(source, wanted.path, ".tar")
    return decoded(Files(source, found.stamps(), found.root), lambda: catalogue(source, found), wanted)


def catalogue(source: str, found: Shards) -> Catalogue:
    """The images of the shards; samples without an image or a label are left out.

    Raises:
        DataError: there are no classes in them; one line.
    """
    files, held_out = chosen(found.parts, source)
    train, left_out = _index(files, source)
    if not train.labels:
        told = f" ({left_out[0]})" if left_out else ""
        raise DataError(f"data={source}: no sample has an image and a label{told}; give shards of .jpg and .cls")
    labels = np.frombuffer(train.labels, np.int64)
    classes = numbers_of(labels, source)
    at_least_two(classes, source)
    val: Part | None = None
    for its in held_out:
        index, more = _index(its, source)
        if not index.labels:
            continue
        values = np.frombuffer(index.labels, np.int64)
        if values.max() >= len(classes):
            raise DataError(f"data={source}: validation has classes that training lacks: {values.max()}; leave it out")
        val = Part(values, index.name, index.read)
        left_out += more
        break
    return Catalogue(classes, Part(labels, train.name, train.read), val, tuple(left_out))


def _index(files: Sequence[Path], source: str) -> tuple[Index, list[str]]:
    """One pass over the headers of the shards."""
    index, left_out = Index(files, array("i"), array("q"), array("q"), array("q")), list[str]()
    for place, file in enumerate(files):
        try:
            for key, sample in _samples(file, left_out):
                image, label = _image(sample), _label(file, sample)
                if image is None or not isinstance(label, int):
                    left_out.append(f"{file.name}: {_shown(key)} ({'no image' if image is None else label})")
                    continue
                index.shards.append(place)
                index.offsets.append(image.offset)
                index.sizes.append(image.size)
                index.labels.append(label)
        except OSError as error:
            raise DataError(f"data={source}: {file} is not readable ({error.strerror}); mend it") from None
    return index, left_out


def _samples(file: Path, left_out: list[str]) -> Iterator[tuple[str, dict[str, Member]]]:
    """Each sample's key and members by extension; a shard that is torn is named after its whole members."""
    key, sample = "", dict[str, Member]()
    try:
        for name, member in members(file):
            folder, slash, base = name.rpartition("/")
            stem, _, extension = base.partition(".")
            if not stem:  # a hidden file
                continue
            if folder + slash + stem != key and sample:
                yield key, sample
                sample = {}
            key = folder + slash + stem
            sample.setdefault(extension.lower(), member)
    except TarError as error:
        left_out.append(f"{file.name} ({error})")
    if sample:
        yield key, sample


def _image(sample: dict[str, Member]) -> Member | None:
    return next((member for extension, member in sample.items() if extension in IMAGES), None)


def _label(file: Path, sample: dict[str, Member]) -> int | str:
    """The label of a sample, or why it has none."""
    if "cls" in sample:
        text = sample["cls"].head.strip()
        if sample["cls"].size <= BLOCKSIZE and text.isdigit() and len(text) < 10:
            return int(text)
        return f"label {short(text.decode('ascii', 'backslashreplace'))}"
    member = sample.get("json")
    if member is None or member.size > LARGEST_LABEL:
        return "no label"
    try:
        with file.open("rb") as stream:
            stream.seek(member.offset)
            about = json.loads(stream.read(member.size))
    except (ValueError, RecursionError):
        return "no label: its .json is damaged"
    value = about.get("label", about.get("cls")) if isinstance(about, dict) else None
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9:
        return value
    return "no label" if value is None else f"label {short(value)}"


def _shown(name: str) -> str:
    return name if name.isprintable() else short(name)


def _require_plain(path: str, source: str) -> None:
    given = Path(path).expanduser()
    try:
        names = [file.name for file in given.iterdir()] if given.is_dir() else [given.name]
    except OSError:
        return  # told where the shards are looked for
    packed = [name for name in names if name.endswith((".tar.gz", ".tgz", ".tar.xz", ".tar.zst"))]
    if packed and not any(name.endswith(".tar") for name in names):
        raise DataError(f"data={source}: {packed[0]} is compressed, and cannot be read in parts; unpack it to .tar")
