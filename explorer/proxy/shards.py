"""Files of a source that keeps many images in each: which there are, and which part of the data each one holds."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import NamedTuple, TypeVar

from explorer.proxy.catalogue import stamp
from explorer.proxy.dataset import DataError

T = TypeVar("T")
WORDS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
HELD_OUT = ("validation", "test")  # the first one that has labels is used


class Shards(NamedTuple):
    """Files in the order of their names, by what their names say: "train", "validation", "test", or "" for nothing."""

    root: Path
    parts: Mapping[str, Sequence[Path]]

    def stamps(self) -> list[tuple[str, int, int]]:
        """What tells when one of them changes."""
        return [stamp(file, self.root) for files in self.parts.values() for file in files]


def shards(source: str, path: str, suffix: str) -> Shards:
    """The files of a path: a folder, one file, a pattern with `*`, or one with `{000..146}`.

    Raises:
        DataError: there are none.
    """
    root, parts = Path(path).expanduser(), dict[str, list[Path]]()
    try:
        if root.is_dir():
            files = sorted(file for file in root.rglob(f"*{suffix}") if not _hidden(file.relative_to(root)))
        elif root.exists():
            files = [root]
        elif "{" in path and not has_magic(path):
            files = list(_counted(str(root), source))
        else:
            files = [Path(name) for name in sorted(glob(str(root), recursive=True))] if has_magic(path) else []
        files = [file for file in files if file.is_file()]
    except OSError as error:
        raise DataError(f"data={source}: not readable ({error.strerror}); give it read permission") from None
    if not files:
        found = root.is_dir() or has_magic(path)
        told = f"no file *{suffix} there" if found else "no such file or folder"
        raise DataError(
            f"data={source}: {told}; give a folder of {suffix} files, one file, or a pattern such as *{suffix}"
        )
    closed = next((file for file in files if not os.access(file, os.R_OK)), None)
    if closed is not None:
        raise DataError(f"data={source}: {closed} is not readable by this user; give it read permission")
    if not root.is_dir():
        root = Path(os.path.commonpath([file.parent for file in files]))
    for file in files:
        parts.setdefault(_part(file.relative_to(root)), []).append(file)
    return Shards(root, parts)


def part_named(name: str) -> str:
    """The part that a name tells of: "train" of "train-00000-of-00002", "validation" of "val", else ""."""
    words = re.findall("[a-z]+", name.lower())
    return next((WORDS[word] for word in words if word in WORDS), "")


def chosen(parts: Mapping[str, T], source: str) -> tuple[T, list[T]]:
    """What is trained on, and what may be held out, validation before test. A single part is trained on."""
    if "train" not in parts and len(parts) > 1:
        names = ", ".join(sorted(name or "others" for name in parts))
        raise DataError(f"data={source}: no part named train among {names}; give the files of one part by themselves")
    train = parts["train"] if "train" in parts else next(iter(parts.values()))
    return train, [parts[name] for name in HELD_OUT if name in parts and "train" in parts]


def _part(file: Path) -> str:
    """By the file's name, else by its nearest folder that tells: as in train/0000.parquet."""
    return next((part for part in map(part_named, (file.stem, *reversed(file.parts[:-1]))) if part), "")


def _hidden(file: Path) -> bool:
    return any(part.startswith(".") for part in file.parts)


def _counted(pattern: str, source: str) -> Iterator[Path]:
    """Each file of a pattern "train-{000..146}.tar", each of which has to be there."""
    match = re.search(r"\{(\d+)\.\.(\d+)\}", pattern)
    if match is None:
        if not Path(pattern).is_file():
            raise DataError(f"data={source}: no such file: {pattern}; write a range that is there, as {{000..146}}")
        yield Path(pattern)
        return
    first, last = int(match[1]), int(match[2])
    if first > last:
        raise DataError(f"data={source}: {match[0]} counts down; write {{{match[2]}..{match[1]}}}")
    for number in range(first, last + 1):
        yield from _counted(f"{pattern[: match.start()]}{number:0{len(match[1])}}{pattern[match.end() :]}", source)
