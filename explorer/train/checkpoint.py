"""A training's state in a file, so that the same command goes on exactly where it was, whatever ended the process."""

from __future__ import annotations

import os
import warnings
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from explorer.checkpoint import BROKEN
from search_spaces.document import short
from search_spaces.errors import InputError

FORMAT = "vitscape/training@1"
NAME, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"
FREE = ("processes", "accumulate", "torch", "device")  # what may differ when a training goes on, with a warning


class TrainingStopped(RuntimeError):
    """The training cannot go on; what was saved is kept. One line."""


def save(folder: Path, state: Mapping[str, Any]) -> None:
    """Write the checkpoint, whole or not at all; the one before it is kept beside it.

    Raises:
        TrainingStopped: no room, or no permission; the earlier checkpoint is intact.
    """
    path, part = folder / NAME, folder / f"{NAME}.part"
    try:
        with part.open("wb") as file:
            torch.save({"format": FORMAT, **state, "checksum": _checksum(state)}, file)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            os.replace(path, folder / PREVIOUS)
        os.replace(part, path)
        _sync(folder)
    except OSError as error:
        part.unlink(missing_ok=True)
        kept = "the one before it is intact: make room and give the same command" if _there(folder) else "none is kept"
        raise TrainingStopped(f"{path}: the checkpoint cannot be written ({error.strerror}); {kept}") from None


def load(folder: Path) -> tuple[dict[str, Any] | None, str | None]:
    """(the state last saved, what is wrong with the file that should have held it); (None, None) where there is none.

    Nothing in the file is executed: torch reads tensors and plain data alone.

    Raises:
        InputError: files are there, and none of them can be read.
    """
    faults: list[str] = []
    for name in (NAME, PREVIOUS):
        if (folder / name).exists():
            try:
                return _read(folder / name), faults[0] if faults else None
            except ValueError as fault:
                faults.append(str(fault))
    if not faults:
        return None, None
    raise InputError(f"{faults[0]}; there is no other to go on from: give --fresh to begin anew, or another --out")


def remove(folder: Path) -> None:
    """Remove the checkpoints, so that the training begins anew."""
    for name in (NAME, PREVIOUS):
        (folder / name).unlink(missing_ok=True)


def differences(here: Mapping[str, Any], saved: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """(what forbids to go on from `saved`, what does not), each as "lr=0.1, not 0.2": asked for now, then saved."""
    grave: list[str] = []
    light: list[str] = []
    flat, old = dict(_flat(here)), dict(_flat(saved))
    for name in sorted(flat.keys() | old.keys()):
        if flat.get(name) != old.get(name):
            said = f"{name}={_said(flat.get(name))}, not {_said(old.get(name))}"
            (light if name in FREE else grave).append(said)
    return grave, light


def _said(value: object) -> str:
    return value if isinstance(value, str) else short(value)


def _flat(data: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in data.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        else:
            yield name, tuple(value) if isinstance(value, list) else value


def _read(path: Path) -> dict[str, Any]:
    """A checkpoint's content; ValueError, one line, where it is none or damaged."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch thinks of a pickle of another origin; it is refused anyway
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    except BROKEN:
        raise ValueError(f"{path}: damaged, or no checkpoint of a training") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path}: no checkpoint of a training")
    state = {name: value for name, value in content.items() if name not in ("format", "checksum")}
    if content.get("checksum") != _checksum(state):
        raise ValueError(f"{path}: damaged: its content does not fit its checksum")
    return state


def _checksum(state: Any, so_far: int = 0) -> int:
    """CRC-32 of all that a state holds."""
    if isinstance(state, Mapping):
        for key, value in state.items():
            so_far = _checksum(value, zlib.crc32(repr(key).encode(), so_far))
    elif isinstance(state, list | tuple):
        for value in state:
            so_far = _checksum(value, so_far)
    elif isinstance(state, Tensor):
        content = state.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        so_far = zlib.crc32(content.numpy().data, so_far)
    else:
        so_far = zlib.crc32(repr(state).encode(), so_far)
    return so_far


def _there(folder: Path) -> bool:
    return (folder / NAME).exists() or (folder / PREVIOUS).exists()


def _sync(folder: Path) -> None:
    """Have the folder's names on the disk, too, where the system can."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
