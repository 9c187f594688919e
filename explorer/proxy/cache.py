"""A split kept as one .npz file, so that a source is generated or decoded once."""

from __future__ import annotations

import os
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from explorer.proxy.dataset import Split, fingerprint


def cached(file: Path, make: Callable[[], Split]) -> Split:
    """The split kept in `file`; made and kept there when the file is absent or damaged."""
    if (split := _read(file)) is not None:
        return split
    split = make()
    try:
        _write(file, split)
    except OSError as error:
        warnings.warn(f"cache {file} not written ({error}); set VITSCAPE_CACHE to a writable folder", stacklevel=3)
    return split


def _read(file: Path) -> Split | None:
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as kept:
            split = Split(
                train_images=kept["train_images"],
                train_labels=kept["train_labels"],
                val_images=kept["val_images"],
                val_labels=kept["val_labels"],
                classes=int(kept["classes"]),
                unreadable=tuple(str(name) for name in kept["unreadable"]),
            )
            sound = str(kept["fingerprint"]) == fingerprint(split)
    except (OSError, EOFError, ValueError, TypeError, KeyError, NotImplementedError, zipfile.BadZipFile):
        return None  # absent, torn or of another format: made again
    return split if sound else None


def _write(file: Path, split: Split) -> None:
    # a file of one's own and a rename: two processes never see each other's half-written bytes, the last one wins
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.stem}-", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as stream:
            np.savez(
                stream,
                train_images=split.train_images,
                train_labels=split.train_labels,
                val_images=split.val_images,
                val_labels=split.val_labels,
                classes=np.int64(split.classes),
                unreadable=np.array(split.unreadable, dtype=np.str_),
                fingerprint=np.str_(fingerprint(split)),
            )
        os.chmod(name, 0o644)  # a cache may be shared; mkstemp's own mode shuts everyone else out
        os.replace(name, file)
    finally:
        Path(name).unlink(missing_ok=True)
