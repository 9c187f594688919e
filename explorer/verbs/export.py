"""Taking architectures away as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from explorer.limits import parse_budget
from explorer.options import BatchSizes, Device, Json, Storage, Study, Threads, TimeLimit, listed, sizes, whole_option
from explorer.show import console, print_json
from search_spaces.errors import InputError

if TYPE_CHECKING:
    from search_spaces.architecture import Architecture

KINDS = "yaml, json, python, onnx, torch_export, timm, huggingface"


def export(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[STUDY|ARCHITECTURE]",
            help="A study's name; or a preset, an architecture file, or a file of weights that tells its architecture.",
            show_default="the last study used here",
        ),
    ] = None,
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
    to: Annotated[str, typer.Option(help=f"Of {KINDS}; or all.", metavar="LIST")] = "yaml",
    weights: Annotated[
        Path | None, typer.Option(help="Trained weights, of one architecture.", show_default="random ones")
    ] = None,
    timing: Annotated[bool, typer.Option("--timing/--no-timing", help="Time the files that run here.")] = True,
    device: Device = "auto",
    batch_sizes: BatchSizes = "1",
    threads: Threads = 1,
    time_limit: TimeLimit = 10.0,
    json: Json = False,
) -> None:
    """Write architectures as files that work elsewhere, each one verified in a fresh process."""
    from explorer.export import TARGETS, export_architecture
    from explorer.export import export as write
    from explorer.setup import Setup
    from explorer.verbs.of_study import load

    budgets = None if best_under is None else parse_budget(best_under)
    names, targets = _meant(words or [], listed(to), list(TARGETS))
    timed = Setup(device, "fp32", sizes(batch_sizes), threads=threads, time_limit_s=time_limit) if timing else None
    asked = {"--trial": trial is not None, "--knee": knee, "--best-under": budgets is not None}
    asked |= {"--front": whole_front, "--all": every, "--objectives": objectives is not None}
    found = _architecture(names[0]) if names and not study else None
    if found is not None:
        if chosen := [option for option, given in asked.items() if given]:
            raise InputError(f"{chosen[0]}: chooses from a study, and {names[0]} is an architecture; leave it out")
        name = Path(names[0]).stem if names[0].endswith((".yaml", ".yml", ".json")) else None
        file = Path(names[0]) if names[0].endswith(WEIGHTS) and weights is None else weights
        paths = export_architecture(found, out, name=name, to=targets, weights=file, timed=timed)
    else:
        if names and study:
            raise InputError(f"{names[0]}: the study is named twice; leave out --study {study}")
        paths = write(
            load(names[0] if names else study, storage),
            out,
            trial=trial,
            knee=knee,
            best_under=budgets,
            whole_front=whole_front,
            every=every,
            objectives=None if objectives is None else listed(objectives),
            to=targets,
            weights=weights,
            timed=timed,
        )
    if json:
        print_json([str(path) for path in paths])
    else:
        for path in paths:
            console().print(str(path), markup=False, soft_wrap=True)


WEIGHTS = (".safetensors", ".pt", ".pth")


def _meant(words: list[str], to: tuple[str, ...], known: list[str]) -> tuple[list[str], list[str]]:
    """(the study or architecture, targets): words that follow `--to` with spaces between them are targets, too.

    >>> _meant(["demo", "onnx"], ("yaml",), ["yaml", "onnx"])
    (['demo'], ['yaml', 'onnx'])
    """
    known = [*known, "all"]
    names = [word for word in words if word not in known]
    targets = [*to, *(word for word in words if word in known)]
    if len(names) > 1:
        raise InputError(f"{names[1]}: one study or architecture at a time, and no such target; targets: {KINDS}")
    return names, targets


def _architecture(name: str) -> Architecture | None:
    """The architecture of that name or in that file; None where it can only be a study."""
    from search_spaces.architecture import Architecture
    from search_spaces.shipped import find, names

    if name.endswith(WEIGHTS):
        from explorer.weights import read_architecture

        if (told := read_architecture(name)) is None:
            raise InputError(f"{name}: does not tell its architecture; vitscape export ARCHITECTURE --weights {name}")
        return told
    if name in names("presets") or name.endswith((".yaml", ".yml", ".json")) or "/" in name:
        return Architecture.load(find(name, "presets"))
    return None
