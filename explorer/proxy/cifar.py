"""CIFAR-10 and CIFAR-100 as published: the binary or the Python archive, as a .tar.gz or extracted.

Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009. The Python archives hold pickles; they are read
by `plain_pickle`, which executes nothing. An archive is read in memory, and nothing of it is written anywhere.
"""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from explorer.proxy.catalogue import Catalogue, Files, Part, decoded, stamp
from explorer.proxy.cifar_forms import CLASSES, FORMS, KNOWN, Batch, Form
from explorer.proxy.dataset import DataError, Split, Wanted

MOST = 512 * 2**20  # bytes of an archive that is unpacked, or of a file; the published ones are 186 MB
MOST_MEMBERS = 1000


class Found(NamedTuple):
    """A form of a set as it lies on the disk."""

    form: Form
    where: str  # as an error names it
    read: Callable[[str], bytes]
    present: set[str]  # of the form's files


class Place(NamedTuple):
    """Where a set lies, before it is read."""

    stamps: list[tuple[str, int, int]]
    beside: Path
    open: Callable[[], Found]


def load10(wanted: Wanted) -> Split:
    """The images of CIFAR-10."""
    return _load("cifar10", wanted)


def load100(wanted: Wanted) -> Split:
    """The images of CIFAR-100, with its 100 fine classes."""
    return _load("cifar100", wanted)


def _load(kind: str, wanted: Wanted) -> Split:
    """The images of "cifar10" or "cifar100" at a path: an archive, or a folder that holds one or is one's content."""
    source, root = f"{kind}:{wanted.path}", Path(os.path.expanduser(wanted.path))
    with _readable(root, source):
        if not root.exists():
            raise DataError(f"data={source}: no such file or folder; give {_choice(kind)}, or its folder")
        if not (root.is_dir() or root.is_file()):
            raise DataError(f"data={source}: neither a file nor a folder; give {_choice(kind)}, or its folder")
        place = _in_folder(kind, root, source) if root.is_dir() else _archive(kind, root, source)
    files = Files(source, place.stamps, place.beside)
    return decoded(files, lambda: _catalogue(kind, place, root, source), wanted)


def _catalogue(kind: str, place: Place, root: Path, source: str) -> Catalogue:
    with _readable(root, source):
        found = place.open()
        missing = [name for name in found.form.files if name not in found.present]
        if missing:
            raise DataError(f"data={source}: {found.where} lacks {', '.join(missing)}; get {_choice(kind)} anew")
        train = [_batch(name, found, kind, source) for name in found.form.train]
        val = _batch(found.form.val, found, kind, source)
        classes = _classes(found, kind, source)
    whole = np.concatenate([pixels for pixels, _ in train]), np.concatenate([labels for _, labels in train])
    return Catalogue(classes, _part("train", *whole), _part("val", *val))


@contextmanager
def _readable(root: Path, source: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        named = error.filename or root
        raise DataError(
            f"data={source}: {named} cannot be read ({error.strerror or error}); make it readable, or get it anew"
        ) from None


def _in_folder(kind: str, root: Path, source: str) -> Place:
    """The first form that a folder holds, extracted ones first."""
    for form in FORMS[kind]:
        for folder in (root, root / form.folder):
            present = {name for name in (*form.files, form.meta) if (folder / name).is_file()}
            if present.intersection(form.files):
                stamps = [stamp(folder / name, root) for name in sorted(present)]
                return Place(
                    stamps, root, partial(Found, form, str(folder), partial(_content, folder, source), present)
                )
    for form in FORMS[kind]:
        for archive in (root / form.archive, root / form.archive.removesuffix(".gz")):
            if archive.is_file():
                return _archive(kind, archive, source)
    for other in FORMS.keys() - {kind}:
        for form in FORMS[other]:
            held = (form.archive, form.train[0], f"{form.folder}/{form.train[0]}")
            if any((root / name).is_file() for name in held):
                raise DataError(f"data={source}: {root} holds {_title(other)}; write {other}:{root}")
    raise DataError(f"data={source}: the folder holds no {_title(kind)}; give the folder of {_choice(kind)}")


def _archive(kind: str, archive: Path, source: str) -> Place:
    return Place([stamp(archive, archive.parent)], archive.parent, partial(_in_archive, kind, archive, source))


def _in_archive(kind: str, archive: Path, source: str) -> Found:
    contents = _members(archive, source)
    for form in FORMS[kind]:
        if contents.keys() & set(form.files):
            return Found(form, archive.name, contents.__getitem__, set(contents))
    for other in FORMS.keys() - {kind}:
        if any(contents.keys() & set(form.files) for form in FORMS[other]):
            raise DataError(f"data={source}: {archive.name} is {_title(other)}; write {other}:{archive}")
    raise DataError(f"data={source}: {archive.name} holds no {_title(kind)}; give {_choice(kind)}")


def _members(archive: Path, source: str) -> dict[str, bytes]:
    """Content of each member of a name that is known, by its base name."""
    told = f"data={source}: {archive.name}"
    packed = _content(archive.parent, source, archive.name)
    contents: dict[str, bytes] = {}
    try:
        if packed.startswith(b"\x1f\x8b"):
            with gzip.open(io.BytesIO(packed)) as stream:
                packed = stream.read(MOST + 1)
            _require_size(len(packed), told)
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as tar:
            for count, member in enumerate(tar):
                if count == MOST_MEMBERS:
                    raise DataError(f"{told} has more than {MOST_MEMBERS:,} members; give a published archive")
                name = member.name.rpartition("/")[2]
                if name not in KNOWN or not member.isreg() or member.issparse():
                    continue
                _require_size(member.size, f"{told}: {name}")
                if name in contents:
                    raise DataError(f"{told} has {name} twice; give a published archive")
                content = tar.extractfile(member)
                contents[name] = content.read() if content is not None else b""
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, OverflowError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{told} is torn, or no archive ({_line(error)}); get {_choice(source)} anew") from None
    return contents


def _content(folder: Path, source: str, name: str) -> bytes:
    file = folder / name
    _require_size(file.stat().st_size, f"data={source}: {name}")
    return file.read_bytes()


def _require_size(size: int, told: str) -> None:
    if size > MOST:
        raise DataError(f"{told} has more than {MOST:,} bytes; give a published archive, or its folder")


def _batch(name: str, found: Found, kind: str, source: str) -> Batch:
    try:
        pixels, labels = found.form.batch(found.read(name))
        wrong = np.flatnonzero(labels >= CLASSES[kind])
        if wrong.size:
            raise ValueError(f"label {labels[wrong[0]]} of image {wrong[0]}, not in 0 to {CLASSES[kind] - 1}")
    except ValueError as error:
        raise _refused(name, error, found, kind, source) from None
    return pixels, labels


def _classes(found: Found, kind: str, source: str) -> list[str]:
    meta, count = found.form.meta, CLASSES[kind]
    if meta not in found.present:
        return [str(label) for label in range(count)]
    try:
        names = found.form.names(found.read(meta))
        if len(names) != count:
            raise ValueError(f"{len(names)} names of classes, not {count}")
    except ValueError as error:
        raise _refused(meta, error, found, kind, source) from None
    return names


def _refused(name: str, error: ValueError, found: Found, kind: str, source: str) -> DataError:
    if isinstance(error, DataError):
        return error
    return DataError(
        f"data={source}: {name} in {found.where}: {_line(error)}; nothing of it was used, get {_choice(kind)} anew"
    )


def _part(name: str, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> Part:
    images = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Part(labels, lambda place: f"{name} image {place}", lambda place: images[place])


def _choice(source: str) -> str:
    return " or ".join(form.archive for form in FORMS[source.partition(":")[0]])


def _title(kind: str) -> str:
    return f"CIFAR-{CLASSES[kind]}"


def _line(error: Exception) -> str:
    told = " ".join(str(error).split())
    return told if len(told) <= 200 else told[:197] + "..."
