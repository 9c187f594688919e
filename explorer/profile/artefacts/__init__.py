"""Exported networks as files that can be run and timed. A new kind is a function in a file of its own and a line here.

A .onnx file is data. A .pt2 file is unpickled by torch.export.load, which has no safe mode, and a .py file is executed:
open only those that are trusted.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from explorer.profile.artefacts.artefact import Artefact
from explorer.profile.artefacts.onnx_file import open_onnx
from explorer.profile.artefacts.program_file import open_program
from explorer.profile.artefacts.source_file import open_source
from search_spaces.errors import InputError

__all__ = ["OPENERS", "Artefact", "open_artefact"]

OPENERS: dict[str, Callable[[Path], Artefact]] = {".onnx": open_onnx, ".pt2": open_program, ".py": open_source}


def open_artefact(path: str | Path) -> Artefact:
    """The exported network in a file, by the ending of its name; a .pt2 file is unpickled, a .py file executed.

    Raises:
        InputError: no such file, unreadable, or no classifier of square images; one line.
    """
    path = Path(path)
    if path.suffix not in OPENERS:
        raise InputError(f"{path}: no exported network; its name must end in {', '.join(OPENERS)}")
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; give the path of an exported network")
    return OPENERS[path.suffix](path)
