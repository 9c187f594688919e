"""What `vitscape bench` finds, one row a network, runtime and batch size, and the CSV file of it."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from explorer.record import Conditions, Latency, Record
from explorer.whole import replacing
from search_spaces.errors import InputError

CONDITIONS = ("device", "device_name", "driver", "runtime", "precision", "batch_size", "image_size", "threads", "torch")
COLUMNS = (
    *("name", *CONDITIONS, "libraries", "median_ms", "lo_ms", "hi_ms", "images_per_s"),
    *("ratio", "ratio_lo", "ratio_hi", "ratio_to", "verdict", "reason", "params", "macs", "file_bytes", "error"),
)


class BenchRow(Record):
    """One network with one runtime and batch size: its latency, or why there is none."""

    name: str  # of the preset, or the path, as given
    conditions: Conditions
    params: int  # of the network as it is executed, BatchNorm folded; of a file the elements of its weights
    macs: int | None  # multiply-adds of one image; None of a file
    file_bytes: int | None  # with the weights beside it; None of an architecture
    latency: Latency | None = None
    images_per_s: float | None = None
    ratio: float | None = None  # latency over the reference's
    ratio_ci95: tuple[float, float] | None = None  # of rounds in which both were timed; None where they were not
    ratio_to: str | None = None  # the reference: "swin_t@eager"
    error: str | None = None  # one line

    @property
    def full_name(self) -> str:
        """With the runtime, as a reference is named: "swin_t@eager"."""
        return f"{self.name}@{self.conditions.runtime}"

    def cells(self) -> dict[str, Any]:
        """The row as a file and JSON hold it, all of COLUMNS; times in milliseconds."""
        found: dict[str, Any] = dict.fromkeys(COLUMNS)
        found |= self.model_dump(exclude={"conditions", "latency", "ratio_ci95"})
        found |= self.conditions.model_dump(include={*CONDITIONS, "libraries"})
        if self.latency is not None:
            low, high = self.latency.ci95_ms
            found |= {"median_ms": self.latency.median_ms, "lo_ms": low, "hi_ms": high}
            found |= {"verdict": self.latency.verdict, "reason": self.latency.reason}
        if self.ratio_ci95 is not None:
            found |= {"ratio_lo": self.ratio_ci95[0], "ratio_hi": self.ratio_ci95[1]}
        return found


def told(row: BenchRow) -> str:
    """What became of a row, for a person: "2.31 ± 0.04 ms, 433 images/s", the doubt, or the error."""
    if row.latency is None or row.images_per_s is None:
        return f"error: {row.error}"
    low, high = row.latency.ci95_ms
    doubt = "" if row.latency.verdict in ("ok", None) else f", {row.latency.verdict}: {row.latency.reason}"
    return f"{row.latency.median_ms:.4g} ± {(high - low) / 2:.2g} ms, {four(row.images_per_s)} images/s{doubt}"


def four(number: float) -> str:
    """Four significant digits, and all that are whole: 28.65, 14,484."""
    return f"{number:,.0f}" if number >= 1000 else f"{number:.4g}"


def writable(path: Path) -> Path:
    """The path of a CSV file that can be written, where none is that holds something else."""
    if path.suffix != ".csv":
        raise InputError(f"out={path}: not a table; its name must end in .csv")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size and not path.read_bytes().startswith(",".join(COLUMNS).encode()):
            raise InputError(f"out={path}: holds something else than vitscape bench writes; choose another file")
    except OSError as error:
        raise InputError(f"out={path}: cannot be written ({error.strerror or error}); choose another file") from None
    return path


def write_bench(path: Path, rows: Sequence[BenchRow]) -> None:
    """Put a CSV file of the rows in the place of the one that is there, at once."""
    try:
        with replacing(path.resolve()) as part, part.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(row.cells() | {"libraries": json.dumps(row.conditions.libraries)} for row in rows)
    except OSError as error:
        raise InputError(f"out={path}: cannot be written ({error.strerror or error}); choose another file") from None
