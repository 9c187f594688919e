"""What one architecture costs."""

from __future__ import annotations

from typing import Annotated

import typer

from explorer.options import (
    BatchSize,
    By,
    Device,
    Json,
    Precision,
    PrecisionName,
    Runtime,
    Storage,
    Study,
    Threads,
    TimeLimit,
)
from explorer.show import print_json
from explorer.show_profile import print_profile, profile_json
from explorer.verbs.of_study import architecture_of


def profile(
    what: Annotated[
        str, typer.Argument(metavar="ARCHITECTURE", help="A preset by name, an architecture file, or a trial's number.")
    ],
    study: Study = None,
    storage: Storage = None,
    latency: Annotated[bool, typer.Option(help="Build and time the network.")] = True,
    device: Device = "auto",
    precision: Precision = PrecisionName.fp32,
    batch_size: BatchSize = 1,
    runtime: Runtime = "eager",
    threads: Threads = 1,
    time_limit: TimeLimit = 10.0,
    by: Annotated[By, typer.Option(help="Rows of the table, and the parts that are timed.")] = By.stage,
    verify: Annotated[bool, typer.Option("--verify", help="Count again on the built network, with fvcore.")] = False,
    json: Json = False,
) -> None:
    """What one architecture costs: latency, peak memory, parameters, MACs; and which parts take the time."""
    from explorer.profile import profile as measure

    found = measure(
        architecture_of(what, study, storage),
        latency=latency,
        device=device,
        precision=precision.value,
        batch_size=batch_size,
        runtime=runtime,
        threads=threads,
        time_limit_s=time_limit,
        verify=verify,
        by=by.value,
    )
    if json:
        print_json(profile_json(found, by.value))
    else:
        print_profile(found, by.value)
