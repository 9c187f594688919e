"""Presets, architectures and exported files side by side: latency and throughput under the same conditions."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.cells import cell_len
from rich.text import Text

from explorer.options import (
    BatchSizes,
    Device,
    Json,
    Precision,
    PrecisionName,
    Runtimes,
    Threads,
    TimeLimit,
    listed,
    sizes,
)
from explorer.show import console, print_json, print_rows

if TYPE_CHECKING:
    from explorer.bench_rows import BenchRow

WIDEST = 40  # columns of the terminal that a name or a reason is given before it wraps


def bench(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="ARCHITECTURE|FILE...",
            help="Presets, architecture files, and exported files: .onnx, .pt2, .py. The last two can execute code:"
            " only those that you trust.",
        ),
    ],
    device: Device = "auto",
    precision: Precision = PrecisionName.fp32,
    batch_sizes: BatchSizes = "1",
    runtimes: Runtimes = "eager",
    threads: Threads = 1,
    time_limit: TimeLimit = 10.0,
    against: Annotated[
        str | None,
        typer.Option(help="What the ratios are to: NAME, or NAME@RUNTIME.", metavar="NAME", show_default="the first"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="CSV file of the rows.", show_default="none")] = None,
    json: Json = False,
) -> None:
    """Time architectures and exported files in turns on this machine: latency, images a second, ratios."""
    from explorer.bench import bench as run

    try:
        rows = run(
            what,
            runtimes=listed(runtimes),
            batch_sizes=sizes(batch_sizes),
            device=device,
            precision=precision.value,
            threads=threads,
            time_limit_s=time_limit,
            against=against,
            out=out,
        )
    except KeyboardInterrupt:
        if out is not None:
            print(f"interrupted: the batch sizes that are finished are in {out}", file=sys.stderr)
        raise typer.Exit(130) from None
    if json:
        print_json([row.cells() for row in rows])
    else:
        _print(rows, out)
    if not any(row.latency for row in rows):
        raise typer.Exit(1)


def _print(rows: list[BenchRow], out: Path | None) -> None:
    """The table. What all rows agree in is in the footer; sizes are left out where a terminal is too narrow."""
    from explorer.bench_rows import four

    columns: dict[str, list[str | Text]] = {
        "Network": [row.name for row in rows],
        "Runtime": [row.conditions.runtime for row in rows],
        ">Precision": [row.conditions.precision for row in rows],
        ">Image\n(px)": [str(row.conditions.image_size) for row in rows],
        ">Batch": [str(row.conditions.batch_size) for row in rows],
        ">Latency\n(ms)": [_latency(row) for row in rows],
        ">Images/s": ["" if row.images_per_s is None else four(row.images_per_s) for row in rows],
        ">Time\nratio": [_ratio(row) for row in rows],
        ">Parameters\n(M)": [four(row.params / 1e6) for row in rows],
        ">MACs\n(M)": ["" if row.macs is None else four(row.macs / 1e6) for row in rows],
        ">File\n(MB)": ["" if row.file_bytes is None else four(row.file_bytes / 1e6) for row in rows],
        "Verdict": [_verdict(row) for row in rows],
    }
    for heading in (">Precision", ">Image\n(px)"):
        if len(set(map(str, columns[heading]))) == 1:
            del columns[heading]
    for heading in (">MACs\n(M)", ">File\n(MB)"):
        if not any(map(str, columns[heading])):
            del columns[heading]
    if len(rows) == 1 or not any(row.ratio_to for row in rows):
        del columns[">Time\nratio"]
    footer = _footer(rows, compared=">Time\nratio" in columns)
    for heading in (">File\n(MB)", ">MACs\n(M)", ">Parameters\n(M)", ">Image\n(px)"):
        if sum(_width(*column) for column in columns.items()) > console().width:
            columns.pop(heading, None)
    print_rows("", list(columns), zip(*columns.values(), strict=True), [*footer, *([f"kept in {out}"] if out else [])])


def _footer(rows: list[BenchRow], compared: bool) -> list[str]:
    """What the columns mean, why a verdict is not ok, and under what all was measured."""
    first, lines = rows[0].conditions, []
    if compared:
        reference = next(row.ratio_to for row in rows if row.ratio_to)
        lines += [f"Time ratio: latency over that of {reference} at the same batch size"]
        apart = any(row.ratio is not None and row.ratio_ci95 is None for row in rows)
        lines += ["A ratio without ±: one of the two was timed by itself, since all at once did not do"] * apart
    lines += ["±: half of the interval that holds a repeat in 95 % of cases"]
    precisions, image_sizes = (
        list(dict.fromkeys(getattr(row.conditions, name) for row in rows)) for name in ("precision", "image_size")
    )
    lines += ["Images differ in size: each network has its own"] * (len(image_sizes) > 1)
    doubts = (f"{row.latency.verdict}: {row.latency.reason}" for row in rows if row.latency and row.latency.reason)
    lines += dict.fromkeys(doubts)
    libraries = dict(sorted({part for row in rows for part in row.conditions.libraries.items()}))
    words = [first.device_name, *([f"driver {first.driver}"] if first.driver else [])]
    words += [] if first.threads is None else [f"{first.threads} thread{'s' * (first.threads > 1)}"]
    words += [precisions[0]] * (len(precisions) == 1)
    words += [f"{image_sizes[0]} px"] * (len(image_sizes) == 1)
    words += [f"torch {first.torch}", *(f"{name} {version}" for name, version in libraries.items())]
    return [*lines, " · ".join(words)]


def _width(heading: str, cells: Sequence[str | Text]) -> int:
    """Columns of the terminal that a column of the table takes, with the one after it; a long reason may wrap."""
    texts = [*heading.removeprefix(">").split("\n"), *(str(cell) for cell in cells)]
    return 1 + max(min(cell_len(text), WIDEST) for text in texts)


def _latency(row: BenchRow) -> str:
    if row.latency is None:
        return ""
    low, high = row.latency.ci95_ms
    return f"{row.latency.median_ms:.4g} ± {(high - low) / 2:.2g}"


def _ratio(row: BenchRow) -> str:
    if row.ratio is None or row.ratio_to == row.full_name:
        return "" if row.ratio is None else "1"
    ends = row.ratio_ci95
    return f"{row.ratio:.3g}" + ("" if ends is None else f" ± {(ends[1] - ends[0]) / 2:.2g}")


def _verdict(row: BenchRow) -> str | Text:
    if row.latency is None:
        return Text(row.error or "", style="red")
    verdict = row.latency.verdict or ""
    return verdict if verdict == "ok" else Text(verdict, style="yellow")
