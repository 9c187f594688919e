"""`--data SOURCE[:PATH][,subset=0.1][,classes=10]` -> Dataset. A new source is one small file and a line in SOURCES."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from explorer.profile.lease import OnWait
from explorer.proxy import cifar, cues, digits, folder, hub, parquet, webdataset
from explorer.proxy.dataset import DataError, Dataset, Progress, Split, Wanted, as_dataset, split_options
from search_spaces.document import short
from search_spaces.errors import one_line

__all__ = ["SOURCES", "DataError", "Dataset", "Source", "load_data", "parse_source", "with_options"]


@dataclass(frozen=True)
class Source:
    """How a source is loaded, what its path is, and whether its images may be mirrored."""

    load: Callable[[Wanted], Split]
    path: str | None  # as shown: "/path/to/images"; None: it takes none
    mirror: bool
    chooses: bool  # whether it leaves out classes and images by itself, before they are decoded

    @property
    def needs_path(self) -> bool:
        """Whether the source is the user's own."""
        return self.path is not None


SOURCES: dict[str, Source] = {
    "cues": Source(cues.load, None, mirror=False, chooses=False),
    "digits": Source(digits.load, None, mirror=False, chooses=False),
    "folder": Source(folder.load, "/path/to/images", mirror=True, chooses=True),
    "cifar10": Source(cifar.load10, "/path/to/cifar", mirror=True, chooses=True),
    "cifar100": Source(cifar.load100, "/path/to/cifar", mirror=True, chooses=True),
    "parquet": Source(parquet.load, "/path/to/files", mirror=True, chooses=True),
    "hf": Source(hub.load, "OWNER/NAME", mirror=True, chooses=True),
    "webdataset": Source(webdataset.load, "/path/to/shards", mirror=True, chooses=True),
}


class Parsed(NamedTuple):
    """What `--data` says."""

    kind: str
    path: str  # empty where the source takes none
    subset: float = 1.0
    classes: int | None = None


def load_data(
    source: str,
    image_size: int = 32,
    *,
    seed: int = 0,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    on_wait: OnWait | None = None,
    strict: bool = False,
) -> Dataset:
    """Dataset of a source with square images of `image_size` pixels, from the cache where it is kept.

    `load_data("cues")`, `load_data("digits", 16)`, `load_data("folder:/data/birds,subset=0.1,classes=10", 64)`: a tenth
    of the images of each of the first ten classes. The seed draws the images of cues, that tenth, and the split where
    a source has none. `progress(done, total)` is called as images are decoded, `on_wait` with the process that decodes
    the same ones already. Images that cannot be read are left out with a warning that names them; `strict` makes that
    an error.

    Raises:
        DataError: there is no such data, or it cannot be read or kept; one line.
    """
    asked = parse_source(source)
    if image_size < 8:
        raise DataError(f"image_size={image_size}: too small to show anything; give at least 8 pixels")
    if seed < 0:
        raise DataError(f"seed={seed}: give a number of at least 0")
    wanted = Wanted(asked.path, image_size, seed, asked.subset, asked.classes, cache_dir, progress, on_wait)
    entry = SOURCES[asked.kind]
    try:
        split = entry.load(wanted)
    except (OSError, RuntimeError) as error:  # of a path that is too long, or in the home of nobody
        raise DataError(f"data={source[:200]}: cannot be read ({one_line(error, 200)}); make it readable") from None
    if not entry.chooses:
        split = _chosen(split, wanted, source)
    if split.unreadable:
        shown = ", ".join(split.unreadable[:5]) + (", ..." if len(split.unreadable) > 5 else "")
        told = f"data={source}: {len(split.unreadable)} unreadable images"
        if strict:
            raise DataError(f"{told}: {shown}; mend or remove them, or leave out --strict")
        warnings.warn(f"{told} left out: {shown}", stacklevel=2)
    return as_dataset(split, name=asked.kind, mirror=entry.mirror)


def parse_source(source: str) -> Parsed:
    """Parsed("folder", "/data/birds", 0.1, None) of "folder:/data/birds,subset=0.1"."""
    rest, words = split_options(source, ("subset", "classes", "image", "label"))
    columns = "".join(f",{name}={value}" for name, value in words if name in ("image", "label"))
    options: dict[str, str] = {}
    for name, value in words:
        if name in options:
            raise DataError(f"data={source}: {name} is there twice; give it once")
        if name not in ("image", "label"):  # columns of a table, which are told with its path
            options[name] = value
    kind, _, path = f"{rest}{columns}".partition(":")
    if kind not in SOURCES:
        known = ", ".join(f"{name}:PATH" if entry.needs_path else name for name, entry in SOURCES.items())
        raise DataError(f"data={source}: no such source; choose one of {known}")
    shown = SOURCES[kind].path
    if shown is not None and not path:
        raise DataError(f"data={source}: no path; write {kind}:{shown}")
    if path and shown is None:
        raise DataError(f"data={source}: {kind} takes no path; write {kind}")
    return Parsed(kind, path, _subset(options.get("subset"), source), _classes(options.get("classes"), source))


def with_options(source: str, subset: float | None, classes: int | None) -> str:
    """The source with `--subset` and `--classes`, in the one spelling that studies keep."""
    asked = parse_source(source)
    for name, had, given in (("subset", asked.subset, subset), ("classes", asked.classes, classes)):
        if given is not None and had not in (1.0, None, given):
            raise DataError(f"{name}={given}: the data {source} says {name}={had} already; give one of them")
    subset, classes = asked.subset if subset is None else subset, asked.classes if classes is None else classes
    plain = f"{asked.kind}:{asked.path}" if asked.path else asked.kind
    spelt = plain + f",subset={subset:g}" * (subset != 1) + (f",classes={classes}" if classes is not None else "")
    parse_source(spelt)
    return spelt


def _subset(text: str | None, source: str) -> float:
    try:
        share = 1.0 if text is None else float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise DataError(f"data={source}: subset={short(text)}: give a share above 0, and at most 1, such as 0.1")
    return share


def _classes(text: str | None, source: str) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 6 and int(text) >= 2):
        raise DataError(f"data={source}: classes={short(text)}: give a whole number of at least 2")
    return int(text)


def _chosen(split: Split, wanted: Wanted, source: str) -> Split:
    """A split that is in memory as a whole, with only the images that are asked for."""
    classes = wanted.classes_of(split.classes, source)
    if wanted.subset == 1 and classes == split.classes:
        return split
    train, val = wanted.chosen(split.train_labels), wanted.chosen(split.val_labels)
    return Split(
        split.train_images[train], split.train_labels[train], split.val_images[val], split.val_labels[val], classes
    )
