"""What one architecture costs."""

from __future__ import annotations

from typing import Annotated

import typer

from explorer.options import BatchSize, By, Device, Json, Precision, PrecisionName, Runtime, Storage, Study, Threads
from explorer.show import grouped, print_json, print_profile
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
    by: Annotated[By, typer.Option(help="Rows of the table.")] = By.stage,
    verify: Annotated[bool, typer.Option("--verify", help="Count again on the built network, with fvcore.")] = False,
    json: Json = False,
) -> None:
    """What one architecture costs: MACs by stage or layer, parameters, latency, peak memory."""
    from explorer.profile import profile as measure

    found = measure(
        architecture_of(what, study, storage),
        latency=latency,
        device=device,
        precision=precision.value,
        batch_size=batch_size,
        runtime=runtime,
        threads=threads,
        verify=verify,
    )
    if json:
        data = found.model_dump(mode="json", exclude={"layers"})
        rows = grouped(found, by.value)
        data[f"by_{by.value}"] = [{"name": n, "macs": m, "params": p, "activations": a} for n, m, p, a in rows]
        print_json(data)
    else:
        print_profile(found, by.value)
