"""Training the chosen architecture in earnest: `train(architecture, data=..., recipe=...)`.

start (putting it together), asked (what was asked for), recipe (what it is; recipes/ are shipped), schedule, batches
(where images come from), loss (and distillation), clip, ema, loop (steps, evaluation), processes (torchrun's), stop
(Ctrl-C), checkpoint, logs, progress.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from explorer.proxy.dataset import Dataset
    from explorer.record import Precision
    from explorer.train.recipe import Recipe
    from explorer.train.start import Trained
    from search_spaces.architecture import Architecture


def train(
    architecture: Architecture | str | Path,
    *,
    data: str | Dataset = "cues",
    strict: bool = False,
    recipe: str | Path | Recipe | None = None,
    changes: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    precision: Precision | None = None,
    seed: int = 0,
    classes: int | None = None,
    init: str | Path | None = None,
    teacher: str | Path | None = None,
    teacher_architecture: Architecture | str | Path | None = None,
    accumulate: int = 1,
    compiled: bool = False,
    sync_bn: bool = True,
    save_minutes: float = 10.0,
    fresh: bool = False,
    console: Console | None = None,
) -> Trained:
    """A network trained by a recipe, and its accuracy; weights, curves and checkpoints are in the folder `out`.

    The same call goes on where an earlier one ended, however it ended; on a CPU, with the same number of threads, to
    the same weights. `changes` are fields of the recipe: {"epochs": 30, "mixup": 0.2}. `classes` replaces the
    architecture's, `init` is a file of weights to start from, `teacher` one to distil from. `strict` refuses images
    that cannot be read, which are otherwise left out with a warning. Under torchrun every process calls it, and the
    images of a step are the same for any number of processes. The drop path rate is the architecture's.

    >>> train("pareto/tiny_32_0007.yaml", data="cues", changes={"epochs": 30}).accuracy

    Raises:
        InputError: of an option, the recipe, the data, a file, or a folder that holds another training; one line.
        TrainingDiverged: the loss became NaN or infinite.
        TrainingStopped: a checkpoint cannot be written.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after a checkpoint was written.
    """
    from explorer.train.start import start

    return start(
        architecture,
        data=data,
        strict=strict,
        recipe=recipe,
        changes=changes or {},
        out=out,
        device=device,
        precision=precision,
        seed=seed,
        classes=classes,
        init=init,
        teacher=teacher,
        teacher_architecture=teacher_architecture,
        accumulate=accumulate,
        compiled=compiled,
        sync_bn=sync_bn,
        save_minutes=save_minutes,
        fresh=fresh,
        console=console,
    )


__all__ = ["train"]
