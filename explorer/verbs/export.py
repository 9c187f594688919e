"""Taking architectures away as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from explorer.limits import parse_budget
from explorer.options import Json, Storage, Study, listed, whole_option
from explorer.show import console, print_json
from explorer.verbs.of_study import load


def export(
    study: Study = None,
    storage: Storage = None,
    out: Annotated[Path, typer.Option(help="Folder to write into.")] = Path("pareto"),
    trial: Annotated[int | None, whole_option("One trial, by number.")] = None,
    knee: Annotated[bool, typer.Option("--knee", help="The knee of the front.")] = False,
    best_under: Annotated[
        str | None, typer.Option(help="The best within budgets, such as latency=2ms,macs=1G.")
    ] = None,
    whole_front: Annotated[bool, typer.Option("--front", help="The whole front.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Every complete trial, each architecture once.")] = False,
    objectives: Annotated[
        str | None,
        typer.Option(help="Of the front or its knee: accuracy,latency@...", metavar="LIST", show_default="the study's"),
    ] = None,
    to: Annotated[str, typer.Option(help="Of yaml, json.")] = "yaml",
    json: Json = False,
) -> None:
    """Write architectures of a study as files that rebuild their networks."""
    from explorer.export import export as write

    budgets = None if best_under is None else parse_budget(best_under)
    loaded = load(study, storage)
    targets = [part.strip() for part in to.split(",")]
    paths = write(
        loaded,
        out,
        trial=trial,
        knee=knee,
        best_under=budgets,
        whole_front=whole_front,
        every=every,
        objectives=None if objectives is None else listed(objectives),
        to=targets,
    )
    if json:
        print_json([str(path) for path in paths])
    else:
        for path in paths:
            console().print(str(path), markup=False, soft_wrap=True)
