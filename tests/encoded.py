"""Small sets of encoded images of every usual kind, in the layouts of the sources, and how Pillow decodes them."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageOps

from explorer.proxy.data import DataError, load_data

CLASSES = ("ant", "bee", "cat")
KINDS = (("RGB", "jpg"), ("RGB", "png"), ("L", "png"), ("P", "png"), ("RGBA", "png"), ("L", "jpg"))


class Item(NamedTuple):
    """An image file and its label."""

    content: bytes
    suffix: str
    label: int | None


def items(count: int, first: int = 0) -> list[Item]:
    """`count` images of each class, class by class; no two are alike."""
    return [item(label, first + index) for label in range(len(CLASSES)) for index in range(count)]


def item(label: int, index: int) -> Item:
    mode, suffix = KINDS[index % len(KINDS)]
    pixels = np.random.default_rng([label, index]).integers(0, 256, (14, 20, 4), np.uint8)
    image = Image.fromarray(pixels, "RGBA")
    return Item(saved(image if mode == "RGBA" else image.convert("RGB").convert(mode), suffix), suffix, label)


def saved(image: Image.Image, suffix: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG" if suffix == "jpg" else "PNG")
    return stream.getvalue()


def reference(content: bytes, size: int) -> np.ndarray[Any, Any]:
    """(3, S, S) as Pillow alone has it: transparency over white, fitted to a square."""
    image: Image.Image = Image.open(io.BytesIO(content))
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(ImageOps.fit(image.convert("RGB"), (size, size))).transpose(2, 0, 1)


# --- layouts ---


def write_folder(root: Path, parts: dict[str, Sequence[Item]]) -> Path:
    """root/train/ant/0003.png."""
    for part, content in parts.items():
        for index, each in enumerate(content):
            assert each.label is not None
            file = root / part / CLASSES[each.label] / f"{index:04d}.{each.suffix}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(each.content)
    return root


def metadata(label: str = "label", names: Sequence[str] = CLASSES) -> dict[str, str]:
    """What Hugging Face writes into a schema."""
    features = {"image": {"_type": "Image"}, label: {"_type": "ClassLabel", "names": list(names)}}
    return {"huggingface": json.dumps({"info": {"features": features}})}


def table(content: Iterable[Item], *, named: bool = True, **columns: Any) -> pa.Table:
    """Columns image {bytes, path} and label; `columns` are added, or put in their place (None: left out)."""
    content = list(content)
    own: dict[str, Any] = {
        "image": [{"bytes": each.content, "path": None} for each in content],
        "label": [each.label for each in content],
    }
    own = {name: column for name, column in {**own, **columns}.items() if column is not None}
    kinds = {"image": pa.struct({"bytes": pa.binary(), "path": pa.string()})}
    arrays = {
        name: column
        if isinstance(column, pa.Array)
        else pa.array(column, kinds.get(name) if name not in columns else None)
        for name, column in own.items()
    }
    return pa.table(arrays, metadata=metadata() if named else None)


def write_parquet(file: Path, content: pa.Table, rows: int = 5) -> Path:
    """A file whose row groups have so many rows."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(content, file, row_group_size=rows)
    return file


def write_shard(file: Path, members: Iterable[tuple[str, bytes]], **options: Any) -> Path:
    """A tar file as webdataset's own writer makes it, whose times are fractions: a pax header before each member."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w", **options) as opened:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), time.time()
            opened.addfile(info, io.BytesIO(content))
    return file


def members(content: Sequence[Item], first: int = 0) -> Iterable[tuple[str, bytes]]:
    """0000.jpg, 0000.cls, 0001.png, ..."""
    for index, each in enumerate(content, first):
        yield f"{index:04d}.{each.suffix}", each.content
        if each.label is not None:
            yield f"{index:04d}.cls", str(each.label).encode()


def refused(source: str) -> str:
    """The one line with which a source is refused."""
    with pytest.raises(DataError) as raised:
        load_data(source, 8)
    told = str(raised.value)
    assert told.startswith(f"data={source.partition(':')[0]}:")
    assert "\n" not in told
    return told
