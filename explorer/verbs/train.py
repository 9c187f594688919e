"""Training: the chosen architecture in earnest, with its weights."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from explorer.options import Data, Device, PrecisionName, Seed, Strict, Subset, number, whole_option
from search_spaces.errors import InputError


def train(
    architecture: Annotated[
        str, typer.Argument(metavar="ARCHITECTURE", help="A preset by name, or an architecture file.")
    ],
    data: Data = "cues",
    subset: Subset = None,
    strict: Strict = False,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="small, swin, shvit, deit, or a recipe file.", show_default="small for small images, else swin"
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of weights and checkpoints.", show_default="runs/train/NAME-DATA")
    ] = None,
    epochs: Annotated[int | None, whole_option("Length of the schedule.", "the recipe's")] = None,
    batch_size: Annotated[int | None, whole_option("Images a step, of all processes.", "the recipe's")] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            help="Peak learning rate, for the recipe's lr_batch_size.",
            parser=number,
            metavar="NUMBER",
            show_default="the recipe's",
        ),
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option(help="Of AdamW.", parser=number, metavar="NUMBER", show_default="the recipe's")
    ] = None,
    ema: Annotated[
        float | None,
        typer.Option(
            help="Decay of the weights' moving average; 0: none.",
            parser=number,
            metavar="NUMBER",
            show_default="the recipe's",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Any field of the recipe, such as mixup=0.2; may be repeated.", metavar="NAME=VALUE"
        ),
    ] = None,
    device: Device = "auto",
    precision: Annotated[
        PrecisionName | None, typer.Option(help="Of the training.", show_default="fp32 on a CPU, else bf16 or fp16")
    ] = None,
    seed: Seed = 0,
    classes: Annotated[
        int | None, whole_option("Classes, in place of the architecture's.", "the architecture's")
    ] = None,
    init: Annotated[Path | None, typer.Option(help="File of weights to start from.", show_default="none")] = None,
    distill: Annotated[
        str | None, typer.Option(help="From a teacher: soft (its logits) or hard (its class).", show_default="none")
    ] = None,
    teacher: Annotated[Path | None, typer.Option(help="The teacher's file of weights.", show_default="none")] = None,
    teacher_arch: Annotated[
        str | None, typer.Option(help="The teacher's architecture.", show_default="what its file tells")
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(help="Of soft distillation.", parser=number, metavar="NUMBER", show_default="the recipe's"),
    ] = None,
    accumulate: Annotated[int, whole_option("Parts of a batch, one after the other, where memory is short.")] = 1,
    compiled: Annotated[bool, typer.Option("--compile", help="torch.compile the network.")] = False,
    sync_bn: Annotated[bool, typer.Option(help="BatchNorm over all GPUs, rather than each its own.")] = True,
    save_minutes: Annotated[
        float, typer.Option(help="Minutes between checkpoints within an epoch.", parser=number, metavar="NUMBER")
    ] = 10.0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin anew, whatever the folder holds.")] = False,
) -> None:
    """Train the chosen architecture in earnest; the same command goes on where an earlier one ended."""
    from explorer.proxy.data import with_options
    from explorer.proxy.train import TrainingDiverged
    from explorer.train import train as run
    from explorer.train.checkpoint import TrainingStopped
    from explorer.train.recipe import parse_changes

    main = os.environ.get("RANK", "0") == "0"  # of torchrun's processes one speaks
    given: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "weight_decay": weight_decay,
        "ema_decay": ema,
        "distill": distill,
        "temperature": temperature,
    }
    changes = {**parse_changes(settings or []), **{name: value for name, value in given.items() if value is not None}}
    try:
        found = run(
            architecture,
            data=with_options(data, subset, None),
            strict=strict,
            recipe=recipe,
            changes=changes,
            out=out,
            device=device,
            precision=None if precision is None else precision.value,
            seed=seed,
            classes=classes,
            init=init,
            teacher=teacher,
            teacher_architecture=teacher_arch,
            accumulate=accumulate,
            compiled=compiled,
            sync_bn=sync_bn,
            save_minutes=save_minutes,
            fresh=fresh,
        )
    except KeyboardInterrupt:
        _tell(main, "interrupted: the same command goes on from the last checkpoint, where there is one")
        raise typer.Exit(130) from None
    except (TrainingDiverged, TrainingStopped) as error:
        _tell(main, f"error: {error}")
        raise typer.Exit(1) from None
    except InputError:
        if main:
            raise
        raise typer.Exit(2) from None
    if main:
        print(found.out)


def _tell(main: bool, message: str) -> None:
    if main:
        print(message, file=sys.stderr)
