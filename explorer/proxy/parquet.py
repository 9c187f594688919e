"""Parquet files of encoded images and labels, as Hugging Face data sets have them: train-00000-of-00002.parquet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from explorer.proxy.catalogue import Catalogue, Files, Part, decoded
from explorer.proxy.columns import Columns, as_labels, columns_of, labelled, numbered, without_columns
from explorer.proxy.dataset import DataError, Split, Wanted
from explorer.proxy.shards import Shards, chosen, shards

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

BATCH = 128  # images read at a time: bounds the memory, however large the row groups
BUFFER = 2**20  # bytes read at a time, for the same reason


def load(wanted: Wanted) -> Split:
    """The files' images."""
    source = f"parquet:{wanted.path}"
    path, asked = without_columns(wanted.path, source)
    found = shards(source, path, ".parquet")
    stamps = [*found.stamps(), (f"columns {sorted(asked.items())}", 0, 0)]
    return decoded(Files(source, stamps, found.root), lambda: catalogue(source, found, asked), wanted)


def catalogue(source: str, found: Shards, asked: dict[str, str]) -> Catalogue:
    """The images of the files; those without a label are left out.

    Raises:
        DataError: there are no such columns in them; one line.
    """
    train_files, held_out = chosen(found.parts, source)
    train, columns = _rows(train_files, asked, source)
    others = []
    for files in held_out:
        rows, its = _rows(files, asked, source)
        _require_alike(columns, its, files[0], source)
        others.append(rows)
    classes, labels, held = numbered(train.labels, [rows.labels for rows in others], columns.classes, source)
    part, left_out = labelled(labels, len(classes), train.name, train.read)
    val: Part | None = None
    if held is not None:
        place, values = held
        val, more = labelled(values, len(classes), others[place].name, others[place].read)
        left_out += more
    return Catalogue(classes, part, val, left_out)


class Rows:
    """Rows of several files, one after the other. `read` keeps the last two batches alone."""

    def __init__(self, files: Sequence[Path], columns: Columns, counts: Sequence[Sequence[int]]) -> None:
        self.files, self.columns = files, columns
        self.groups = [(file, group) for file, groups in enumerate(counts) for group in range(len(groups))]
        self.starts = np.cumsum([0, *(rows for groups in counts for rows in groups)])  # of the groups
        self.file_starts = np.cumsum([0, *(sum(groups) for groups in counts)])
        self.labels: pa.ChunkedArray = None
        self.lock = Lock()
        self.opened: tuple[int, pq.ParquetFile] | None = None
        self.batches: Iterator[pa.RecordBatch] = iter(())
        self.group, self.next = -1, 0  # of the row that `batches` gives next
        self.recent: list[tuple[int, pa.Array]] = []  # first row and images
        self.torn: dict[int, tuple[int, str]] = {}  # group: the first row that cannot be read, and why

    def name(self, place: int) -> str:
        """ "train-00000-of-00002.parquet row 7"."""
        file = int(np.searchsorted(self.file_starts, place, "right")) - 1
        return f"{self.files[file].name} row {place - self.file_starts[file]}"

    def read(self, place: int) -> bytes:
        """The encoded image of a row; quick where rows are asked for in about their order."""
        with self.lock:
            first, images = self._batch(place)
        found = images[place - first].as_py()
        content = found["bytes"] if isinstance(found, dict) else found
        if not content:
            raise ValueError("no image")
        return bytes(content)

    def _batch(self, place: int) -> tuple[int, pa.Array]:
        """The batch that holds a row, as its first row and its images."""
        import pyarrow as pa

        for first, images in self.recent:
            if first <= place < first + len(images):
                return first, images
        group = int(np.searchsorted(self.starts, place, "right")) - 1
        if group in self.torn and place >= self.torn[group][0]:
            raise ValueError(self.torn[group][1])
        try:
            if group != self.group or place < self.next:
                self._go_to(group)
            while True:
                batch = next(self.batches)
                first, self.next = self.next, self.next + len(batch)
                self.recent = [*self.recent[-1:], (first, batch.column(0))]
                if place < self.next:
                    return self.recent[-1]
        except (pa.ArrowException, OSError, ValueError, MemoryError, StopIteration) as error:
            told = " ".join(str(error).split()) or "the file is torn"
            self.group, self.torn[group] = -1, (max(self.next, int(self.starts[group])), told)
            raise ValueError(told) from None

    def _go_to(self, group: int) -> None:
        import pyarrow.parquet as pq

        file, within = self.groups[group]
        self.group, self.next = -1, int(self.starts[group])
        if self.opened is None or self.opened[0] != file:
            self.opened = file, pq.ParquetFile(self.files[file], buffer_size=BUFFER, pre_buffer=False)
        self.batches = self.opened[1].iter_batches(BATCH, [within], [self.columns.image], use_threads=False)
        self.group = group


def _rows(files: Sequence[Path], asked: dict[str, str], source: str) -> tuple[Rows, Columns]:
    """Rows of the files of one part, with all their labels, and their columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folders = sorted({str(file.parent) for file in files})
    if len(folders) > 1:  # of two configurations
        raise DataError(f"data={source}: files of one part lie in {folders[0]} and {folders[1]}; give one folder")
    columns, counts, labels = None, [], []
    for file in files:
        try:
            opened = pq.ParquetFile(file)
            its = columns_of(opened.schema_arrow, asked, source)
            columns = columns or its
            _require_alike(columns, its, file, source)
            meta = opened.metadata
            counts.append([meta.row_group(group).num_rows for group in range(meta.num_row_groups)])
            labels.append(as_labels(opened.read([its.label], use_threads=False).column(0)))
            opened.close()
        except (pa.ArrowException, OSError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            told = " ".join(str(error).split()).partition(". ")[0]
            raise DataError(f"data={source}: {file.name} is not readable ({told}); mend it, or leave it out") from None
    assert columns is not None
    if len({labels_.type for labels_ in labels}) > 1:
        raise DataError(f"data={source}: labels are texts in some files and numbers in others; give one kind of them")
    rows = Rows(files, columns, counts)
    rows.labels = pa.chunked_array([chunk for labels_ in labels for chunk in labels_.chunks], labels[0].type)
    return rows, columns


def _require_alike(columns: Columns, its: Columns, file: Path, source: str) -> None:
    """Raise a DataError where a file's columns or classes are not those of the others."""
    if its[:2] != columns[:2]:
        raise DataError(
            f"data={source}: {file.name} has the columns {its.image} and {its.label}, others {columns.image} and"
            f" {columns.label}; give files of one set"
        )
    if its.classes != columns.classes:
        raise DataError(f"data={source}: {file.name} names other classes than the files before; give files of one set")
