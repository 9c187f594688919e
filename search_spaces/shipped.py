"""The presets and spaces that come with the package, by name."""

from __future__ import annotations

import difflib
import os.path
from functools import lru_cache
from pathlib import Path

from search_spaces.architecture import Architecture
from search_spaces.document import SpecError, short

HERE = Path(__file__).parent


def names(folder: str) -> tuple[str, ...]:
    """Names of the files in `presets` or `spaces`, sorted."""
    return tuple(sorted(path.stem for path in (HERE / folder).glob("*.yaml")))


def find(name: str | Path, *folders: str) -> Path:
    """The path of a shipped file by its name, or of a file by its path.

    Raises:
        SpecError: neither exists; one line with the nearest names.
    """
    if isinstance(name, Path) or "/" in name or name.endswith((".yaml", ".yml", ".json")):
        return Path(name)
    for folder in (*folders, "presets"):
        if name in names(folder):
            return HERE / folder / f"{name}.yaml"
    if os.path.isfile(name):  # false, where Path would raise, for a name no file can have
        return Path(name)
    known = sorted({n for folder in folders for n in names(folder)})
    close = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]}?" if close else f"use one of {', '.join(known)}, or the path of a file"
    raise SpecError(f"{folders[0].removesuffix('s')} {short(name)} is not known; {hint}")


@lru_cache
def preset(name: str) -> Architecture:
    """A published model as an architecture: swin_t, swin_s, swin_b, shvit_s1 .. shvit_s4, deit_ti, deit_s."""
    if name not in names("presets"):
        raise SpecError(f"preset {short(name)} is not known; use one of {', '.join(names('presets'))}")
    return Architecture.load(HERE / "presets" / f"{name}.yaml")
