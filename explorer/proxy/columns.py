"""Columns of a table of images, as Hugging Face data sets have them: which hold the image and the label."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from explorer.proxy.catalogue import Ints, Part, Read
from explorer.proxy.dataset import DataError, split_options

if TYPE_CHECKING:
    import pyarrow as pa

IMAGES = ("image", "img")
LABELS = ("label", "labels", "fine_label")


class Columns(NamedTuple):
    """Names of the columns of images and of labels."""

    image: str
    label: str
    classes: tuple[str, ...] | None  # names of the labels 0, 1, ..., where the schema has them


def without_columns(path: str, source: str) -> tuple[str, dict[str, str]]:
    """("/data/set", {"label": "fine_label"}) of the path "/data/set,label=fine_label"."""
    plain, words = split_options(path, ("image", "label"))
    asked: dict[str, str] = {}
    for role, name in words:
        if role in asked:
            raise DataError(f"data={source}: {role} is there twice; give it once")
        asked[role] = name
    return plain, asked


def columns_of(schema: pa.Schema, asked: Mapping[str, str], source: str) -> Columns:
    """The columns of a schema: those asked for, else by their types and usual names.

    Raises:
        DataError: there is none, or there are several that could be meant.
    """
    features = _features(schema)
    kinds = {name: str(feature.get("_type")) for name, feature in features.items() if isinstance(feature, dict)}
    images = [field.name for field in schema if _holds_images(field.type)]
    labels = [field.name for field in schema if is_text(field.type) or _is_integer(field.type)]
    image = _one(
        "image",
        images,
        [[name for name in images if name in IMAGES], [name for name in images if kinds.get(name) == "Image"], images],
        asked,
        schema,
        source,
    )
    numbers = [name for name in labels if not (is_text(schema.field(name).type) or name.startswith("__"))]
    named = [name for name in labels if kinds.get(name) == "ClassLabel"]
    usual = [name for name in labels if name in LABELS]
    label = _one("label", labels, [usual, named, numbers], asked, schema, source)
    names = features[label].get("names") if label in named and not is_text(schema.field(label).type) else None
    sound = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return Columns(image, label, tuple(map(str, names or ())) if sound else None)


def numbered(
    train: pa.ChunkedArray, held_out: Sequence[pa.ChunkedArray], classes: Sequence[str] | None, source: str
) -> tuple[Sequence[str], Ints, tuple[int, Ints] | None]:
    """Names of the classes, the labels for training, and those of the first part held out that has any, with its place.

    Labels are numbers from 0, or texts, which are sorted. -1 is no label.

    Raises:
        DataError: they are no classes.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if any(part.type != train.type for part in held_out):
        raise DataError(f"data={source}: labels are texts in one part and numbers in another; give one kind of them")
    if is_text(train.type):
        classes = sorted(pc.unique(train).drop_null().to_pylist())
        known = pa.array(classes, train.type)
        labels, *held = (pc.index_in(part, known).fill_null(-1).to_numpy() for part in (train, *held_out))
        has_any = [part.null_count < len(part) for part in held_out]
    else:
        labels, *held = (part.fill_null(-1).to_numpy() for part in (train, *held_out))
        if classes is None:
            classes = numbers_of(labels, source)
        has_any = [bool((part >= 0).any()) for part in held]
    at_least_two(classes, source)
    place = next((place for place, any_ in enumerate(has_any) if any_), None)
    if place is None:
        return classes, labels.astype(np.int64), None
    values = held[place]
    if is_text(train.type):
        strangers = sorted(set(pc.unique(held_out[place]).drop_null().to_pylist()) - set(classes))
    else:
        strangers = [str(value) for value in np.unique(values[values >= len(classes)])]
    if strangers:
        raise DataError(
            f"data={source}: validation has classes that training lacks: {', '.join(strangers[:5])}; leave them out"
        )
    return classes, labels.astype(np.int64), (place, values.astype(np.int64))


def numbers_of(labels: Ints, source: str) -> list[str]:
    """Names "0", "1", ... of the classes that labels number; negative ones are none.

    Raises:
        DataError: they do not count from 0 without a gap.
    """
    used = np.unique(labels[labels >= 0])
    if not len(used):
        raise DataError(f"data={source}: no labelled image for training; give data that has labels")
    if used[-1] != len(used) - 1:
        gap = int(np.flatnonzero(used != np.arange(len(used)))[0])
        raise DataError(
            f"data={source}: labels go up to {used[-1]}, but no image has label {gap};"
            " number the classes from 0 without gaps"
        )
    return [str(label) for label in range(len(used))]


def at_least_two(classes: Sequence[str], source: str) -> None:
    """Raise a DataError for data of one class, or of none."""
    if len(classes) < 2:
        told = f"a single class, {classes[0]}" if classes else "no labelled image"
        raise DataError(f"data={source}: holds {told}; give at least two classes")


def labelled(labels: Ints, classes: int, names: Callable[[int], str], read: Read) -> tuple[Part, tuple[str, ...]]:
    """The part of the images that have a label, and the others as "name (no label)"."""
    usable = (labels >= 0) & (labels < classes)
    why = {
        int(place): "no label" if labels[place] < 0 else f"label {labels[place]} of {classes} classes"
        for place in np.flatnonzero(~usable)
    }
    part = Part(labels, names, read, np.flatnonzero(usable) if why else None)
    return part, tuple(f"{names(place)} ({told})" for place, told in why.items())


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds texts."""
    import pyarrow.types as types

    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_string_view(kind)
        or (types.is_dictionary(kind) and is_text(kind.value_type))
    )


def as_labels(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Labels as texts, or as 64-bit integers."""
    import pyarrow as pa

    return column.cast(pa.string() if is_text(column.type) else pa.int64())


def _is_integer(kind: pa.DataType) -> bool:
    import pyarrow.types as types

    return bool(types.is_integer(kind))


def _holds_images(kind: pa.DataType) -> bool:
    import pyarrow.types as types

    if types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and not types.is_struct(kind.field(place).type) and _holds_images(kind.field(place).type)
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))


def _features(schema: pa.Schema) -> dict[str, Any]:
    """What the schema says of its columns; nothing where it says nothing that can be understood."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def _one(
    role: str,
    fitting: Sequence[str],
    ranked: Sequence[Sequence[str]],
    asked: Mapping[str, str],
    schema: pa.Schema,
    source: str,
) -> str:
    """The column that is asked for, else the only one of the first rank that has any."""
    if role in asked:
        if fitting.count(asked[role]) != 1:
            able = f"those that can be are {', '.join(fitting)}" if fitting else f"it has {', '.join(schema.names)}"
            raise DataError(f"data={source}: {role}={asked[role]}: no such column of {role}s; {able}")
        return asked[role]
    names = next((names for names in ranked if names), ())
    if len(names) == 1:
        return names[0]
    wanted = "bytes" if role == "image" else "integers or texts"
    told = f"columns {', '.join(names)} could be the {role}" if names else f"no column of {role}s ({wanted}) is known"
    given = names or fitting
    hint = f"write ,{role}={given[0]} after the path" if given else f"it has {', '.join(schema.names)}"
    raise DataError(f"data={source}: {told}; {hint}")
