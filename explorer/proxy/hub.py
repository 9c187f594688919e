"""Hugging Face data sets, by the `datasets` library: from the hub, or from a folder that `save_to_disk` wrote."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explorer.proxy.catalogue import Catalogue, Files, Part, decoded
from explorer.proxy.columns import Columns, as_labels, columns_of, labelled, numbered, without_columns
from explorer.proxy.dataset import DataError, Split, Wanted
from explorer.proxy.shards import chosen, part_named
from search_spaces.errors import one_line

if TYPE_CHECKING:
    import datasets

OLDEST = 4  # major version of the library
SAVED = ("dataset_dict.json", "state.json")  # written by save_to_disk
NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def load(wanted: Wanted) -> Split:
    """The data set's images."""
    source = f"hf:{wanted.path}"
    path, asked = without_columns(wanted.path, source)
    folder = Path(path).expanduser()
    on_disk = path[:1] in "/.~" or any((folder / name).is_file() for name in SAVED)
    splits = _from_disk(folder, source) if on_disk else _from_hub(path, source)
    stamps = [(f"{name} {split._fingerprint}", len(split), 0) for name, split in splits.items()]
    stamps.append((f"columns {sorted(asked.items())}", 0, 0))
    files = Files(source, stamps, folder if on_disk else None)
    return decoded(files, lambda: catalogue(source, splits, asked), wanted)


def catalogue(source: str, splits: Mapping[str, datasets.Dataset], asked: dict[str, str]) -> Catalogue:
    """The images of a data set; those without a label are left out.

    Raises:
        DataError: it has no such columns; one line.
    """
    parts: dict[str, tuple[str, datasets.Dataset]] = {}
    for name, split in splits.items():
        parts.setdefault(part_named(name), (name, split))
    (name, train), held_out = chosen(parts, source)
    columns = columns_of(train.features.arrow_schema, asked, source)
    for other, split in held_out:
        if columns_of(split.features.arrow_schema, asked, source) != columns:
            raise DataError(
                f"data={source}: {other} has other columns or classes than {name}; mend it, or leave it out"
            )
    others = [_labels(split, columns, source) for _, split in held_out]
    classes, labels, held = numbered(_labels(train, columns, source), others, columns.classes, source)
    part, left_out = _part(name, train, labels, columns, len(classes))
    val: Part | None = None
    if held is not None:
        place, values = held
        val, more = _part(*held_out[place], values, columns, len(classes))
        left_out += more
    return Catalogue(classes, part, val, left_out)


def _from_disk(folder: Path, source: str) -> Mapping[str, datasets.Dataset]:
    library = _library(source)
    if not folder.is_dir():
        raise DataError(f"data={source}: no such folder; give one that save_to_disk wrote")
    if not any((folder / name).is_file() for name in SAVED):
        hint = f"; give parquet:{folder}" if any(folder.rglob("*.parquet")) else ""
        raise DataError(f"data={source}: save_to_disk did not write this folder{hint or '; give one that it wrote'}")
    try:
        found = library.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"data={source}: damaged ({one_line(error, 200)}); save it again") from None
    return found if isinstance(found, library.DatasetDict) else {"": found}


def _from_hub(name: str, source: str) -> Mapping[str, datasets.Dataset]:
    """A data set of the hub, or of the library's cache; it runs no code of it."""
    name, _, config = name.partition("@")
    if not NAME.fullmatch(name):
        raise DataError(f"data={source}: no name of a data set; write hf:OWNER/NAME, hf:OWNER/NAME@CONFIG or hf:/path")
    library = _library(source)
    try:
        found = library.load_dataset(name, config or None)
    except FileNotFoundError as error:
        raise DataError(f"data={source}: no such data set ({one_line(error, 200)}); write hf:OWNER/NAME") from None
    except ConnectionError as error:
        raise DataError(
            f"data={source}: the hub is not reached for {name} ({one_line(error, 200)}); where it is, save it by"
            f' load_dataset("{name}").save_to_disk("/path"), and give hf:/path'
        ) from None
    except (library.exceptions.DatasetsError, OSError, ValueError, RuntimeError) as error:
        raise DataError(
            f"data={source}: not loaded ({one_line(error, 200)}); give a configuration as hf:{name}@CONFIG"
        ) from None
    return found if isinstance(found, library.DatasetDict) else {"": found}


def _library(source: str) -> Any:
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise DataError(
            f"data={source}: needs {error.name}, which is not installed; pip install 'vitscape[data]'"
        ) from None
    version = str(getattr(datasets, "__version__", "0"))
    if int(version.split(".")[0]) < OLDEST:  # earlier ones run code that comes with a data set
        raise DataError(
            f"data={source}: needs datasets {OLDEST} or later, there is {version}; pip install 'vitscape[data]'"
        )
    return datasets


def _labels(split: datasets.Dataset, columns: Columns, source: str) -> Any:
    """All labels of a split, as an arrow column."""
    try:
        return as_labels(split.select_columns([columns.label]).with_format("arrow")[:].column(0))
    except (OSError, ValueError) as error:
        raise DataError(
            f"data={source}: {columns.label} is not readable ({one_line(error, 200)}); save it again"
        ) from None


def _part(
    name: str, split: datasets.Dataset, labels: Any, columns: Columns, classes: int
) -> tuple[Part, tuple[str, ...]]:
    images = split.select_columns([columns.image]).with_format("arrow")  # as stored: nothing is decoded

    def read(place: int) -> bytes:
        found = images[place].column(0)[0].as_py()
        content, path = (found["bytes"], found.get("path")) if isinstance(found, dict) else (found, None)
        if not content and path and Path(path).is_file():  # a folder of images that the library lists
            content = Path(path).read_bytes()
        if not content:
            raise ValueError("no image")
        return bytes(content)

    return labelled(labels, classes, lambda place: f"{name} row {place}".strip(), read)
