"""Files of measured latencies, that travel from one machine to another: one row a latency, CSV, JSON lines or Parquet.

The columns are to be read by any tool; `latency` holds the whole record as JSON, and is what counts. Files are
untrusted: each row is checked, and what is wrong is one line that names file, row and column.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from explorer.metrics import LATENCY, metric
from explorer.record import Conditions, Latency, Record
from explorer.whole import replacing
from search_spaces.architecture import Architecture
from search_spaces.document import short
from search_spaces.errors import InputError

FORMAT = "vitscape/measured@1"
MOST = 65536  # images in a batch, threads: as a search's setup allows
CONDITIONS = ("device", "device_name", "driver", "runtime", "precision", "batch_size", "image_size", "threads", "torch")
MEASURED: dict[str, str] = {"median_ms": "float64", "lo_ms": "float64", "hi_ms": "float64"}
COLUMNS: dict[str, str] = {  # column -> Arrow type
    "format": "string",
    "id": "string",
    "name": "string",
    "source": "string",
    "key": "string",
    **MEASURED,
    "verdict": "string",
    "reason": "string",
    "error": "string",
    **{name: "int64" if name in ("batch_size", "image_size", "threads") else "string" for name in CONDITIONS},
    "libraries": "string",
    "architecture": "string",
    "latency": "string",  # JSON
}
Cells = Mapping[str, Any]  # column -> value; "" and None are no value


class Measurement(Record):
    """One architecture under one set of conditions: its latency, or why there is none."""

    id: str  # of the architecture
    name: str | None
    source: str  # the file, or the name of the preset
    architecture: dict[str, Any]  # canonical form
    conditions: Conditions
    latency: Latency | None
    error: str | None = None  # one line

    @property
    def key(self) -> tuple[str, ...]:
        """What no two rows of a file share."""
        return self.id, *self.conditions.comparable

    def cells(self) -> dict[str, str | int | float | None]:
        """The row as a file holds it, all of COLUMNS."""
        found: dict[str, Any] = dict.fromkeys(COLUMNS)
        found |= {"format": FORMAT, "id": self.id, "name": self.name, "source": self.source, "error": self.error}
        found |= self.conditions.model_dump(include=set(CONDITIONS)) | {"key": self.conditions.full_key}
        found["libraries"] = _json(self.conditions.libraries)
        found["architecture"] = _json(self.architecture)
        if self.latency is not None:
            low, high = self.latency.ci95_ms
            found |= {"median_ms": self.latency.median_ms, "lo_ms": low, "hi_ms": high}
            found |= {"verdict": self.latency.verdict, "reason": self.latency.reason}
            found["latency"] = _json(self.latency.model_dump(mode="json"))
        return found


def read_measurements(path: str | Path) -> list[Measurement]:
    """The rows of a file, in their order; of rows under the very same conditions the last.

    Raises:
        InputError: not a file of measurements; one line that names file, row and column.
    """
    path = Path(path)
    read, _ = _format(path)
    try:
        rows = read(path)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file; vitscape measure --out {path} makes it") from None
    except (OSError, ValueError, csv.Error) as error:  # Unicode's errors are ValueErrors
        raise InputError(f"{path}: cannot be read as {path.suffix}: {_first_line(error)}") from None
    found: dict[tuple[str, ...], Measurement] = {}
    for number, cells in enumerate(rows, 1):
        row = _row(cells, f"{path}, row {number}")
        found.pop(row.key, None)
        found[row.key] = row
    return list(found.values())


def write_measurements(path: str | Path, rows: list[Measurement]) -> None:
    """Put a file in the place of the one that is there, at once: whoever ends the process, one of the two is whole."""
    path = Path(path).absolute()
    _, write = _format(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path.resolve()) as part:
            write(part, [row.cells() for row in rows])
    except OSError as error:
        raise InputError(f"out={path}: cannot be written ({error.strerror or error}); choose another file") from None


def _row(cells: Cells, place: str) -> Measurement:
    """A row of untrusted cells, checked against itself: the id is the architecture's, the columns are the record's."""
    known = {name: value for name, value in cells.items() if value not in (None, "") and value == value}  # no NaN
    if known.get("format") != FORMAT:
        found = f"{short(known['format'])} is not" if "format" in known else "is missing; it must be"
        raise InputError(f"{place}, column format: {found} {FORMAT}: this is no file of vitscape measure")
    if not isinstance(known.get("id"), str):
        raise InputError(f"{place}, column id: {short(known.get('id'))} is no architecture's id; 16 digits are")
    architecture = _architecture(known.get("architecture"), known["id"], place)
    latency = _latency(known["latency"], place) if "latency" in known else None
    conditions = _conditions(known, place) if latency is None else latency.conditions
    try:
        metric(LATENCY + conditions.full_key)
    except InputError:
        raise InputError(f"{place}, column key: {short(conditions.full_key)} names no device and runtime") from None
    for name, number in (("batch_size", conditions.batch_size), ("threads", conditions.threads)):
        if number is not None and not 1 <= number <= MOST:
            raise InputError(f"{place}, column {name}: {short(number)} is no number from 1 to {MOST}")
    if conditions.image_size != architecture.image_size:
        raise InputError(
            f"{place}, column image_size: {short(conditions.image_size)} is not the architecture's,"
            f" {architecture.image_size}"
        )
    row = Measurement(
        id=known["id"],
        name=_text(known.get("name")),
        source=_text(known.get("source")) or "",
        architecture=architecture.canonical.to_dict(),
        conditions=conditions,
        latency=latency,
        error=None if latency is not None else _text(known.get("error")),
    )
    for name, value in row.cells().items():
        if name in known and name in (*MEASURED, *CONDITIONS, "key", "verdict") and not _same(known[name], value):
            raise InputError(
                f"{place}, column {name}: {short(known[name])} is not what the record says, {short(value)}"
            )
    return row


def _same(cell: Any, value: Any) -> bool:
    """Whether a cell says a value, having passed through a spreadsheet perhaps."""
    if isinstance(value, int | float):
        try:
            return math.isclose(float(cell), value, rel_tol=1e-9)
        except (TypeError, ValueError, OverflowError):
            return False
    return value is not None and str(cell) == str(value)


def _architecture(text: Any, architecture_id: str, place: str) -> Architecture:
    if text is None:
        raise InputError(f"{place}, column architecture: is empty")
    try:
        data = from_json(str(text), allow_inf_nan=False)
    except ValueError as error:
        raise InputError(f"{place}, column architecture: is no JSON: {_first_line(error)}") from None
    found = Architecture.from_dict(data, f"{place}, column architecture")
    if found.id != architecture_id:
        raise InputError(f"{place}, column id: {short(architecture_id)} is not that of its architecture, {found.id}")
    return found


def _latency(text: Any, place: str) -> Latency:
    try:
        found = Latency.model_validate_json(str(text))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{place}, column latency: {field + ': ' if field else ''}{_first_line(first['msg'])}"
        ) from None
    low, high = found.ci95_ms
    if not (0 < found.median_ms < math.inf and 0 <= low <= found.median_ms <= high < math.inf):
        raise InputError(f"{place}, column latency: {found.median_ms} ms in {low} to {high} ms is no latency")
    return found


def _conditions(known: Cells, place: str) -> Conditions:
    """The conditions of a row that has no latency."""
    if "error" not in known:
        raise InputError(f"{place}, column latency: is empty, and so is column error")
    values = {name: known.get(name) for name in ("driver", "threads")}
    try:
        values["libraries"] = from_json(str(known.get("libraries", "{}")))
    except ValueError as error:
        raise InputError(f"{place}, column libraries: is no JSON: {_first_line(error)}") from None
    try:
        return Conditions.model_validate({name: known[name] for name in CONDITIONS if name in known} | values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(f"{place}, column {first['loc'][0]}: {_first_line(first['msg'])}") from None


def _text(cell: Any) -> str | None:
    return None if cell is None else str(cell)


def _json(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _first_line(error: object) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


# --- formats ---------------------------------------------------------------------------------------------------------

Rows = list[dict[str, Any]]


def _read_csv(path: Path) -> Rows:
    text = path.read_bytes().decode("utf-8-sig")  # a spreadsheet may have put a mark before it
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    reader = csv.DictReader(StringIO(text, newline=""), strict=True)
    _require_format(reader.fieldnames or ["format"])
    return list(reader)


def _write_csv(path: Path, rows: Rows) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def _read_jsonl(path: Path) -> Rows:
    rows = [from_json(line) for line in path.read_bytes().splitlines() if line.strip()]
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise ValueError(f"row {number} is no object")
    return rows


def _write_jsonl(path: Path, rows: Rows) -> None:
    path.write_text("".join(f"{_json(row)}\n" for row in rows), encoding="utf-8")


def _read_parquet(path: Path) -> Rows:
    from pyarrow import ArrowException, parquet

    try:
        table = parquet.read_table(path)
        rows: Rows = table.to_pylist()
    except ArrowException as error:  # some of them are neither ValueErrors nor OSErrors
        raise ValueError(str(error)) from None
    _require_format(table.column_names)
    return rows


def _write_parquet(path: Path, rows: Rows) -> None:
    import pyarrow
    from pyarrow import parquet

    schema = pyarrow.schema([(name, pyarrow.type_for_alias(kind)) for name, kind in COLUMNS.items()])
    parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), path)


def _require_format(columns: Sequence[str]) -> None:
    """A file without rows is ours only if its columns are."""
    if "format" not in columns:
        raise ValueError("there is no column format: this is no file of vitscape measure")


FORMATS: dict[str, tuple[Callable[[Path], Rows], Callable[[Path, Rows], None]]] = {
    ".csv": (_read_csv, _write_csv),
    ".jsonl": (_read_jsonl, _write_jsonl),
    ".parquet": (_read_parquet, _write_parquet),
}


def _format(path: Path) -> tuple[Callable[[Path], Rows], Callable[[Path, Rows], None]]:
    if path.suffix not in FORMATS:
        raise InputError(f"{path}: not a file of measurements; its name must end in {', '.join(FORMATS)}")
    if path.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise InputError(f"{path}: .parquet needs pyarrow (pip install pyarrow); or take a name that ends in .csv")
    return FORMATS[path.suffix]
