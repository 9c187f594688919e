"""The options of the command line: the same words, with the same meaning, in every verb."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any

import typer


def whole(text: str) -> int:
    """A whole number, or an error that shows what was given."""
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a whole number") from None


def number(text: str) -> float:
    """A number, or an error that shows what was given."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a number") from None


def whole_option(help: str, default: str | None = None) -> Any:
    """An option that takes a whole number; `default` is what the help says of it."""
    shown: dict[str, Any] = {} if default is None else {"show_default": default}
    return typer.Option(help=help, parser=whole, metavar="INTEGER", **shown)


class PrecisionName(str, Enum):
    fp32 = "fp32"
    fp16 = "fp16"
    bf16 = "bf16"


class By(str, Enum):
    stage = "stage"
    layer = "layer"


Study = Annotated[
    str | None, typer.Option(help="Name of the study.", show_default="the space's; else the last used here")
]
Storage = Annotated[
    str | None,
    typer.Option(
        help="Path of a SQLite file, or the URL of a database; also $VITSCAPE_STORAGE.",
        show_default="runs/vitscape.db; else the last used here",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Precision = Annotated[PrecisionName, typer.Option(help="Of the timed network.")]
BatchSize = Annotated[int, whole_option("Images in a timed batch.")]
Runtime = Annotated[str, typer.Option(help="What executes the timed network: eager.")]
Threads = Annotated[int, whole_option("Threads while timing on a CPU.")]

Trials = Annotated[int | None, whole_option("Evaluations in the study, earlier ones counted.", "100")]
Hours = Annotated[
    float | None, typer.Option(help="Hours of this run.", parser=number, metavar="NUMBER", show_default="no limit")
]
Data = Annotated[str, typer.Option(help="SOURCE[:PATH]: cues, digits, folder:/path.")]
Objectives = Annotated[str, typer.Option(help="Of accuracy, latency, macs, params, memory; separated by commas.")]
MaxLatency = Annotated[str | None, typer.Option(help="Such as 2ms.", show_default="none")]
MaxMacs = Annotated[str | None, typer.Option(help="Such as 1G.", show_default="none")]
MaxParams = Annotated[str | None, typer.Option(help="Such as 5M.", show_default="none")]
MaxMemory = Annotated[str | None, typer.Option(help="Such as 64MiB.", show_default="none")]
Sampler = Annotated[str, typer.Option(help="tpe, nsga2, nsga3, gp or random.")]
Seed = Annotated[int, whole_option("Of everything random.")]
WithPresets = Annotated[bool, typer.Option("--with-presets", help="Evaluate the published models in the space first.")]
Epochs = Annotated[int, whole_option("Length of the proxy training's schedule.")]
StopEpoch = Annotated[int | None, whole_option("Epochs of the schedule really run.", "all")]
