"""Any device: timing a list of architectures where the device is, and joining the times to a study elsewhere."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from explorer.options import (
    BatchSizes,
    Device,
    Json,
    Precision,
    PrecisionName,
    Runtimes,
    Storage,
    Study,
    Threads,
    TimeLimit,
    listed,
    sizes,
)
from explorer.show import console, print_json, print_rows
from explorer.verbs.of_study import load

if TYPE_CHECKING:
    from explorer.measurements import Measurement


def measure(
    architectures: Annotated[
        list[str], typer.Argument(metavar="ARCHITECTURE...", help="Presets by name, and architecture files.")
    ],
    out: Annotated[Path, typer.Option(help="File of the results: .csv, .jsonl or .parquet.")],
    device: Device = "auto",
    precision: Precision = PrecisionName.fp32,
    batch_sizes: BatchSizes = "1",
    runtimes: Runtimes = "eager",
    threads: Threads = 1,
    time_limit: TimeLimit = 10.0,
    json: Json = False,
) -> None:
    """Time architectures on this machine into a file, to be attached to a study; the same command continues."""
    from explorer.measure import measure as run
    from explorer.setup import Setup

    setup = Setup(device, precision.value, sizes(batch_sizes), listed(runtimes), threads, time_limit)
    try:
        rows = run(architectures, out, setup=setup)
    except KeyboardInterrupt:
        print(f"interrupted: what is finished is in {out}, the same command continues", file=sys.stderr)
        raise typer.Exit(130) from None
    if json:
        print_json([row.model_dump(mode="json") for row in rows])
    else:
        _print_measured(rows, out)
    if not any(row.latency for row in rows):
        raise typer.Exit(1)


def attach(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files that vitscape measure wrote.")],
    study: Study = None,
    storage: Storage = None,
    json: Json = False,
) -> None:
    """Join measurements of other devices to a study, by architecture; they are objectives of `front` then."""
    from explorer.attach import attach as join
    from explorer.measurements import read_measurements
    from explorer.results import coverage, frame

    rows = [row for path in files for row in read_measurements(path)]  # all of them read before one is written
    loaded = load(study, storage, writable=True)
    found = join(loaded, rows)
    if json:
        print_json(asdict(found))
        return
    lines = [
        f"{loaded.study_name}: {found.latencies} latencies of {found.architectures} architectures attached,"
        f" {found.replaced} of them in the place of older ones"
    ]
    lines += [f"{found.doubtful} are doubtful, and shown only where there is no better one"] * bool(found.doubtful)
    lines += [f"{found.strangers} rows are of architectures that no trial has"] * bool(found.strangers)
    lines += [f"{found.failed} rows have an error and no latency"] * bool(found.failed)
    table = frame(loaded)
    for name in found.names:
        lines += [f"{name}: {coverage(table, name)}; see vitscape front --objectives accuracy,{name}"]
    for line in lines:
        console().print(line, markup=False, soft_wrap=True)


def _print_measured(rows: list[Measurement], out: Path) -> None:
    from explorer.measure import told

    cells = [[row.source, row.id, row.conditions.key, told(row)] for row in rows]
    first = rows[0].conditions
    threads = "" if first.threads is None else f" · threads {first.threads}"
    footer = [f"{first.device_name}{threads} · {first.precision} · torch {first.torch}", f"kept in {out}"]
    print_rows(
        "", ["Architecture", "id", "Runtime, batch", "Latency, median ± half of its 95 % interval"], cells, footer
    )
