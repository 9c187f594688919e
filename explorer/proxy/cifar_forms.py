"""The published forms of CIFAR-10 and CIFAR-100: which files they are made of, and what is in one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from explorer.proxy.plain_pickle import byte_array, read_plain, text
from search_spaces.document import short

PIXELS = 3 * 32 * 32  # bytes of an image: its red plane, its green one, its blue one

Batch = tuple[NDArray[np.uint8], NDArray[np.int64]]  # pixels (N, 3072), labels (N,)


@dataclass(frozen=True)
class Form:
    """One published form of a set."""

    archive: str
    folder: str  # that the archive holds
    train: tuple[str, ...]
    val: str
    meta: str
    batch: Callable[[bytes], Batch]
    names: Callable[[bytes], list[str]]

    @property
    def files(self) -> tuple[str, ...]:
        """The files with images."""
        return (*self.train, self.val)


def _records(content: bytes, label: int, labels: int) -> Batch:
    """Of a binary file: records of so many label bytes, the one at `label` being the class, and the pixels."""
    size = labels + PIXELS
    if not content or len(content) % size:
        raise ValueError(f"{len(content):,} bytes, which is no multiple of the {size:,} of an image")
    records = np.frombuffer(content, np.uint8).reshape(-1, size)
    return records[:, labels:], records[:, label].astype(np.int64)


def _pickled(content: bytes, key: str) -> Batch:
    table = _table(content)
    pixels, labels = byte_array(table.get("data")), table.get(key)
    if pixels.ndim != 2 or pixels.shape[1] != PIXELS:
        raise ValueError(f"data of shape {pixels.shape}, and not (N, {PIXELS})")
    if not isinstance(labels, list) or len(labels) != len(pixels):
        raise ValueError(f"no list {key} as long as its {len(pixels):,} images")
    for label in labels:
        if type(label) is not int or not 0 <= label < 1000:  # before NumPy sees them: they may be anything
            raise ValueError(f"label {short(label) if type(label) is int else f'of type {type(label).__name__}'}")
    return pixels, np.array(labels, np.int64)


def _pickled_names(content: bytes, key: str) -> list[str]:
    names = _table(content).get(key)
    if not isinstance(names, list):
        raise ValueError(f"no list {key}")
    return [text(name) for name in names]


def _table(content: bytes) -> dict[str, object]:
    table = read_plain(content)
    if not isinstance(table, dict):
        raise ValueError("no dict of a batch")
    return table


def _lines(content: bytes) -> list[str]:
    return [line.strip() for line in content.decode("utf-8").splitlines() if line.strip()]


FIVE = tuple(f"data_batch_{number}" for number in range(1, 6))
FORMS = {
    "cifar10": (
        Form(
            archive="cifar-10-binary.tar.gz",
            folder="cifar-10-batches-bin",
            train=tuple(f"{name}.bin" for name in FIVE),
            val="test_batch.bin",
            meta="batches.meta.txt",
            batch=partial(_records, label=0, labels=1),
            names=_lines,
        ),
        Form(
            archive="cifar-10-python.tar.gz",
            folder="cifar-10-batches-py",
            train=FIVE,
            val="test_batch",
            meta="batches.meta",
            batch=partial(_pickled, key="labels"),
            names=partial(_pickled_names, key="label_names"),
        ),
    ),
    "cifar100": (
        Form(
            archive="cifar-100-binary.tar.gz",
            folder="cifar-100-binary",
            train=("train.bin",),
            val="test.bin",
            meta="fine_label_names.txt",
            batch=partial(_records, label=1, labels=2),
            names=_lines,
        ),
        Form(
            archive="cifar-100-python.tar.gz",
            folder="cifar-100-python",
            train=("train",),
            val="test",
            meta="meta",
            batch=partial(_pickled, key="fine_labels"),
            names=partial(_pickled_names, key="fine_label_names"),
        ),
    ),
}
CLASSES = {"cifar10": 10, "cifar100": 100}
KNOWN = {name for forms in FORMS.values() for form in forms for name in (*form.files, form.meta)}
