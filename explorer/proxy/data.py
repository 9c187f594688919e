"""`--data SOURCE[:PATH]` -> Dataset. A new source is one small file and one line in SOURCES."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from explorer.folders import cache_folder
from explorer.proxy import cues, digits, folder
from explorer.proxy.dataset import DataError, Dataset, Progress, Split, as_dataset

__all__ = ["SOURCES", "DataError", "Dataset", "Source", "load_data"]


@dataclass(frozen=True)
class Source:
    """How a source is loaded, whether it needs a path, and whether its images may be mirrored."""

    load: Callable[[str, int, int, Path, Progress | None], Split]  # (path, image size, seed, cache folder, progress)
    needs_path: bool
    mirror: bool


SOURCES: dict[str, Source] = {
    "cues": Source(cues.load, needs_path=False, mirror=False),
    "digits": Source(digits.load, needs_path=False, mirror=False),
    "folder": Source(folder.load, needs_path=True, mirror=True),
}


def load_data(
    source: str,
    image_size: int = 32,
    *,
    seed: int = 0,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Dataset of SOURCE[:PATH] with square images of `image_size` pixels, from the cache where it is kept.

    `load_data("cues")`, `load_data("digits", 16)`, `load_data("folder:/data/birds", 64)`. The seed draws the images of
    cues, and the split of digits and of a folder without one. `progress(done, total)` is called as images are decoded.
    """
    kind, path = parse_source(source)
    if image_size < 8:
        raise DataError(f"image_size={image_size}: too small to show anything; give at least 8 pixels")
    if seed < 0:
        raise DataError(f"seed={seed}: give a number of at least 0")
    split = SOURCES[kind].load(path, image_size, seed, cache_dir or cache_folder(), progress)
    if split.unreadable:
        shown = ", ".join(split.unreadable[:5]) + (", ..." if len(split.unreadable) > 5 else "")
        warnings.warn(f"data={source}: {len(split.unreadable)} unreadable images left out: {shown}", stacklevel=2)
    return as_dataset(split, name=kind, mirror=SOURCES[kind].mirror)


def parse_source(source: str) -> tuple[str, str]:
    """("folder", "/data/birds") of "folder:/data/birds"; the path is empty where the source takes none."""
    kind, _, path = source.partition(":")
    if kind not in SOURCES:
        known = ", ".join(f"{name}:PATH" if entry.needs_path else name for name, entry in SOURCES.items())
        raise DataError(f"data={source}: no such source; choose one of {known}")
    if SOURCES[kind].needs_path and not path:
        raise DataError(f"data={source}: no path; write {kind}:/path/to/images")
    if path and not SOURCES[kind].needs_path:
        raise DataError(f"data={source}: {kind} takes no path; write {kind}")
    return kind, path
