"""Calibrating: how far the proxy training can be trusted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from explorer.limits import Limits
from explorer.options import (
    Augment,
    Classes,
    Data,
    Device,
    Epochs,
    Fidelity,
    Json,
    MaxMacs,
    Seed,
    StopEpoch,
    Strict,
    Subset,
    whole_option,
)
from explorer.show import print_json
from search_spaces.errors import InputError


def calibrate(
    space: Annotated[str, typer.Argument(help="A shipped space by name, or a YAML or JSON file.")],
    networks: Annotated[int, whole_option("Of the space, spread evenly over its MACs.")] = 24,
    seeds: Annotated[int, whole_option("Trainings of each network by the proxy, and as many long ones.")] = 2,
    data: Data = "cues",
    subset: Subset = None,
    classes: Classes = None,
    strict: Strict = False,
    device: Device = "auto",
    max_macs: MaxMacs = None,
    seed: Seed = 0,
    epochs: Epochs = 12,
    stop_epoch: StopEpoch = None,
    fidelity: Fidelity = None,
    augment: Augment = "none",
    long_epochs: Annotated[int, whole_option("Of the trainings that the proxy is judged by.")] = 36,
    jobs: Annotated[int, whole_option("Trainings at a time, each in a process; one thread each on a CPU.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="File that the report is written to, as Markdown.", show_default="none")
    ] = None,
    json: Json = False,
) -> None:
    """How well the proxy training ranks networks of a space as a long one does, beside counting parameters."""
    from explorer.calibrate import calibrate as run
    from explorer.calibrate.show import markdown, plain, print_report
    from explorer.fidelity import train_settings
    from explorer.proxy.data import with_options
    from explorer.whole import replacing

    if out is not None and not out.resolve().parent.is_dir():  # before hours of training
        raise InputError(f"out={out}: no folder {out.parent}; make it, or name another")
    try:
        report = run(
            space,
            networks=networks,
            seeds=seeds,
            data=with_options(data, subset, classes),
            strict=strict,
            device=device,
            settings=train_settings(epochs, stop_epoch, fidelity, augment),
            long_epochs=long_epochs,
            limits=Limits.parse(macs=max_macs),
            seed=seed,
            jobs=jobs,
        )
    except KeyboardInterrupt:
        print("interrupted: what is finished is kept, the same command continues", file=sys.stderr)
        raise typer.Exit(130) from None
    if json:
        print_json(plain(report))
    else:
        print_report(report)
    if out is not None:
        try:
            with replacing(out) as part:
                part.write_text(markdown(report), encoding="utf-8")
        except OSError as error:
            raise InputError(f"out={out}: {error.strerror or error}; name another file") from None
