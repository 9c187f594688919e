"""The options of the command line: the same words, with the same meaning, in every verb."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from search_spaces.errors import InputError


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


def listed(text: str) -> tuple[str, ...]:
    """The words of a list with commas."""
    return tuple(part.strip() for part in text.split(","))


def sizes(text: str) -> tuple[int, ...]:
    """The whole numbers of a list with commas.

    >>> sizes("1,32")
    (1, 32)
    """
    try:
        return tuple(int(part) for part in listed(text))
    except ValueError:
        raise InputError(f"batch-sizes={text}: give whole numbers separated by commas, such as 1,32") from None


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
    block = "block"
    layer = "layer"


class EngineName(str, Enum):
    local = "local"
    ray = "ray"


RUNTIMES = "eager, compile, cuda_graph, onnxruntime, tensorrt"

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
BatchSizes = Annotated[
    str,
    typer.Option(
        "--batch-sizes", "--batch-size", help="Images in a timed batch, or several sizes: 1,32.", metavar="LIST"
    ),
]
Runtime = Annotated[str, typer.Option(help=f"What executes the timed network: {RUNTIMES}.")]
Runtimes = Annotated[
    str, typer.Option("--runtime", help=f"What executes the timed network, or several: {RUNTIMES}.", metavar="LIST")
]
Threads = Annotated[int, whole_option("Threads while timing on a CPU.")]
TimeLimit = Annotated[float, typer.Option(help="Seconds for each latency.", parser=number, metavar="SECONDS")]

Trials = Annotated[int | None, whole_option("Evaluations in the study, earlier ones counted.", "100")]
Hours = Annotated[
    float | None, typer.Option(help="Hours of this run.", parser=number, metavar="NUMBER", show_default="no limit")
]
TrainSeconds = Annotated[
    float | None,
    typer.Option(
        help="Seconds of training in the study, earlier ones counted.",
        parser=number,
        metavar="SECONDS",
        show_default="no limit",
    ),
]
Patience = Annotated[
    int | None,
    whole_option("Evaluations over which the hypervolume has to grow by 0.1 %, else the search ends.", "no limit"),
]
Data = Annotated[
    str,
    typer.Option(help="SOURCE[:PATH]: cues, digits, folder:/path and others (docs/data.md).", metavar="SOURCE[:PATH]"),
]
Subset = Annotated[
    float | None,
    typer.Option(
        help="Share of each class's images, such as 0.1.", parser=number, metavar="NUMBER", show_default="all"
    ),
]
Classes = Annotated[int | None, whole_option("Of the data, the first so many.", "all")]
Strict = Annotated[bool, typer.Option("--strict", help="An image that cannot be read is an error, not left out.")]
Objectives = Annotated[
    str,
    typer.Option(
        help="Of accuracy, latency, macs, params, memory, latency@RUNTIME/bBATCH; separated by commas.", metavar="LIST"
    ),
]
MaxLatency = Annotated[
    str | None, typer.Option(help="Such as 2ms, for the first runtime and batch size.", show_default="none")
]
MaxMacs = Annotated[str | None, typer.Option(help="Such as 1G.", show_default="none")]
MaxParams = Annotated[str | None, typer.Option(help="Such as 5M.", show_default="none")]
MaxMemory = Annotated[str | None, typer.Option(help="Such as 64MiB.", show_default="none")]
Sampler = Annotated[str, typer.Option(help="pareto, tpe, nsga2, nsga3, gp or random.")]
Seed = Annotated[int, whole_option("Of everything random.")]
WithPresets = Annotated[bool, typer.Option("--with-presets", help="Evaluate the published models in the space first.")]
StoppingRule = Annotated[
    str | None,
    typer.Option(
        "--stopping",
        help="Trainings that are ended early: front (what cannot reach it) or none.",
        show_default="front, where accuracy is one of several objectives",
    ),
]
Gating = Annotated[
    bool | None,
    typer.Option(
        "--gating/--no-gating",
        help="Do not train at all what is not expected to reach the front.",
        show_default="as --stopping",
    ),
]
Screen = Annotated[
    str | None,
    typer.Option(
        help="Zero-cost score whose lowest 30 % are not trained: synflow, naswot, dss or zico.", show_default="none"
    ),
]
Epochs = Annotated[int, whole_option("Length of the proxy training's schedule.")]
StopEpoch = Annotated[int | None, whole_option("Epochs of the schedule really run.", "all")]
Finalists = Annotated[int | None, whole_option("How many of the front are trained in full after the search.", "none")]
Fidelity = Annotated[
    str | None,
    typer.Option(
        help="What of a training in full the search does: epochs=5,image_size=24,data=0.5.",
        metavar="LIST",
        show_default="all of it",
    ),
]
Augment = Annotated[
    str, typer.Option(help="How training images are varied beyond a crop and a mirror image: none, light or mix.")
]

Engine = Annotated[EngineName, typer.Option(help="local: this process; ray: the workers of a Ray cluster.")]
Address = Annotated[
    str | None,
    typer.Option(
        help="Of the Ray cluster: auto or HOST:PORT.",
        show_default="$RAY_ADDRESS; else a Ray of its own, on this machine",
    ),
]
Workers = Annotated[int | None, whole_option("Trials at a time.", "as many as the cluster has room for")]
GpusPerTrial = Annotated[
    float | None,
    typer.Option(
        help="GPUs of a trial; 0.5: two trials share one.",
        parser=number,
        metavar="NUMBER",
        show_default="1 where the cluster has any",
    ),
]
CpusPerTrial = Annotated[float, typer.Option(help="CPU cores of a trial.", parser=number, metavar="NUMBER")]
LatencyResource = Annotated[
    str | None,
    typer.Option(
        help="Ray resource of the nodes that time, the target devices.", show_default="a trial times where it trains"
    ),
]
AcceleratorType = Annotated[
    str | None,
    typer.Option(help="Ray's word for the kind of GPU of trials: H200.", show_default="the only one there is"),
]
MaxRetries = Annotated[int, whole_option("Of a trial whose worker died.")]
LogDir = Annotated[
    Path | None, typer.Option(help="Folder of a log for each trial.", show_default="logs/STUDY beside the storage")
]
