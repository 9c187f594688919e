"""A training put together from what was asked for: checked, begun or taken up again, and summed up."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from explorer.evaluate import build_seeded, training_precision
from explorer.profile.device import device_name
from explorer.profile.lease import training_lease, waits_for
from explorer.proxy.dataset import Dataset
from explorer.proxy.heap import kept_heap
from explorer.record import Precision
from explorer.train import checkpoint
from explorer.train.asked import (
    check_fit,
    check_numbers,
    chosen_recipe,
    digest,
    initialised,
    loaded,
    named,
    teacher_of,
)
from explorer.train.batches import batches_of
from explorer.train.logs import Row, reached, write_metrics, write_summary, write_text
from explorer.train.loop import BEST, EVENTS, LAST, METRICS, Job, Training, slice_of
from explorer.train.processes import Processes, processes
from explorer.train.progress import TrainProgress
from explorer.train.recipe import Recipe
from explorer.train.stop import stopping
from search_spaces.architecture import Architecture
from search_spaces.blocks.network import Network
from search_spaces.errors import InputError

ARCHITECTURE, RECIPE, SUMMARY = "architecture.yaml", "recipe.yaml", "train.json"
PROTOCOL = 1  # raise it when the same recipe and seed train differently


@dataclass(frozen=True)
class Trained:
    """What a training found."""

    network: Network  # with the last weights, or their average where there is one; in eval mode
    accuracy: float  # top-1 on the validation images after the last epoch, %; the moving average's where that is higher
    best: float  # the highest top-1 of any epoch, %: of best.safetensors
    rows: tuple[Row, ...]  # one an epoch, as in metrics.csv
    seconds: float  # wall time of all runs, evaluation included
    out: Path


def start(
    architecture: Architecture | str | Path,
    *,
    data: str | Dataset,
    strict: bool,
    recipe: str | Path | Recipe | None,
    changes: Mapping[str, Any],
    out: str | Path | None,
    device: str,
    precision: Precision | None,
    seed: int,
    classes: int | None,
    init: str | Path | None,
    teacher: str | Path | None,
    teacher_architecture: Architecture | str | Path | None,
    accumulate: int,
    compiled: bool,
    sync_bn: bool,
    save_minutes: float,
    fresh: bool,
    console: Console | None,
) -> Trained:
    """See `explorer.train.train`."""
    check_numbers(seed=seed, accumulate=accumulate, save_minutes=save_minutes)
    spec, name = named(architecture)
    if classes is not None:
        spec = Architecture.from_dict({**spec.to_dict(), "classes": classes}, f"classes={classes}")
    chosen = chosen_recipe(recipe, changes, data, spec.image_size)
    with processes(device) as group, stopping() as stop, torch.random.fork_rng(_cuda(group.device)):
        shown = console or Console(stderr=True)
        dataset = loaded(data, spec.image_size, group, shown, strict)
        check_fit(spec, dataset, chosen, group.count, accumulate)
        chosen_precision = precision or training_precision(str(group.device))
        folder = Path(out) if out is not None else Path("runs") / "train" / f"{name}-{dataset.name}"
        plan: dict[str, Any] = {
            "architecture": spec.id,
            "data": dataset.fingerprint,
            "seed": seed,
            "precision": chosen_precision,
            "protocol": PROTOCOL,
            "init": digest(init),
            "teacher": digest(teacher),
            **chosen.model_dump(mode="json", exclude={"format", "name"}),
            "processes": group.count,
            "accumulate": accumulate,
            "device": group.device.type,
            "torch": str(torch.__version__),  # of a type of its own, which a checkpoint cannot hold
        }
        if chosen.distill == "none" and teacher is not None:
            raise InputError("distill=none: a teacher is given and not asked; give --distill soft or hard with it")
        dense = dataset.train_images.contiguous(memory_format=torch.channels_last)  # a pixel is three bytes in a row
        here = replace(dataset, train_images=dense).to(group.device)
        mine = [slice_of(chosen.batch_size, i, group.rank, accumulate, group.count) for i in range(accumulate)]
        job = Job(
            architecture=spec,
            recipe=chosen,
            data=here,
            batches=batches_of(here, chosen.batch_size, chosen.repeats, seed, mine),
            processes=group,
            precision=chosen_precision,
            seed=seed,
            accumulate=accumulate,
            teacher=teacher_of(teacher, teacher_architecture, spec, chosen, group.device),
            out=folder,
            save_minutes=save_minutes,
            plan=plan,
        )
        steps, epochs = job.batches.steps, chosen.epochs
        with TrainProgress(shown, name, steps, epochs, shown=group.main) as progress:
            state = _taken_up(job, fresh, progress)
            network = build_seeded(spec, seed)
            if init is not None and state is None:
                network = initialised(network, init, progress)
            training = Training(job, network, sync_bn=sync_bn, compiled=compiled)
            if state is not None:
                training.restore(state)
            if group.main:
                _begin(job, spec, training.rows, progress, state is not None)
            with closing(job.batches), _cudnn(), kept_heap(group.device), _leased(group, progress) as give_way:
                training.run(progress, stop, give_way)
            if group.main:
                _finish(training, spec, progress)
    last = training.rows[-1]
    return Trained(
        network=training.chosen(last).eval(),
        accuracy=reached(last)[0],
        best=training.best,
        rows=tuple(training.rows),
        seconds=float(last["seconds"] or 0.0),
        out=folder,
    )


# --- beginning and going on ---


def _taken_up(job: Job, fresh: bool, progress: TrainProgress) -> dict[str, Any] | None:
    """The state to go on from, in every process; None for a beginning. The main process alone looks at the folder."""
    state = None
    if job.processes.main:
        if fresh and job.out.is_dir():
            checkpoint.remove(job.out)
            (job.out / SUMMARY).unlink(missing_ok=True)
            (job.out / BEST).unlink(missing_ok=True)
        state, fault = checkpoint.load(job.out)
        if fault is not None:
            progress.warn(f"{fault}: going on from the one before it")
        if state is not None:
            grave, light = checkpoint.differences(job.plan, state["plan"])
            if grave:
                more = f" (and {len(grave) - 3} more)" if len(grave) > 3 else ""
                raise InputError(
                    f"out={job.out} holds a training that differs: {', '.join(grave[:3])}{more}; give another --out,"
                    " or --fresh to begin anew"
                )
            if light:
                progress.warn(f"going on with {', '.join(light)}: not exactly as it would have been")
    found: dict[str, Any] | None = job.processes.told(state)
    return found


def _begin(job: Job, spec: Architecture, rows: list[Row], progress: TrainProgress, again: bool) -> None:
    """Say what is trained, and write what is known before the first step."""
    try:
        job.out.mkdir(parents=True, exist_ok=True)
        write_text(job.out / ARCHITECTURE, spec.to_yaml())
        write_text(job.out / RECIPE, job.recipe.to_yaml())
        write_metrics(job.out / METRICS, rows)
    except OSError as error:
        raise InputError(f"out={job.out}: cannot be written to ({error.strerror}); give another folder") from None
    recipe, count = job.recipe, job.processes.count
    progress.tell(
        f"{job.out}: recipe {recipe.name}, {recipe.epochs} epochs of {job.batches.steps} steps of {recipe.batch_size}"
        f" images of {job.data.name}, {job.data.classes} classes" + (", continued" if again else ""),
    )
    progress.tell(
        f"{device_name(job.processes.device)}, {job.precision}"
        + (f", {count} processes" if count > 1 else "")
        + f", peak rate {recipe.peak_lr():.2g}, drop path {spec.drop_path:g}"
    )


def _finish(training: Training, spec: Architecture, progress: TrainProgress) -> None:
    """Write the last weights and the summary, and tell what to do with them."""
    job = training.job
    try:
        training.save_network(LAST, training.rows[-1])
        write_summary(job.out / SUMMARY, _summary(training, spec))
    except OSError as error:
        raise checkpoint.TrainingStopped(
            f"{job.out}: cannot be written to ({error.strerror}); the checkpoint is intact: make room and give the same"
            " command"
        ) from None
    last = training.rows[-1]
    progress.tell(
        f"top-1 {reached(last)[0]:.2f} % after {last['epoch']} epochs, at best {training.best:.2f} %", style="bold"
    )
    folder = job.out
    progress.tell(f"vitscape export {folder / ARCHITECTURE} --weights {folder / BEST} --to onnx", style="none")


def _summary(training: Training, spec: Architecture) -> dict[str, Any]:
    job, last = training.job, training.rows[-1]
    best = max(training.rows, key=lambda row: reached(row)[0])
    return {
        "format": "vitscape/trained@1",
        "architecture": {"id": spec.id, "name": spec.name},
        "accuracy": {
            "last": last["top1"],
            "last_ema": last["ema_top1"],
            "best": training.best,
            "best_epoch": best["epoch"],
        },
        "data": {"name": job.data.name, "fingerprint": job.data.fingerprint, "classes": job.data.classes},
        "recipe": job.recipe.model_dump(mode="json"),
        "conditions": {
            "device": job.processes.device.type,
            "device_name": device_name(job.processes.device),
            "processes": job.processes.count,
            "accumulate": job.accumulate,
            "precision": job.precision,
            "threads": torch.get_num_threads() if job.processes.device.type == "cpu" else None,
            "seed": job.seed,
            "torch": str(torch.__version__),
            "vitscape": version("vitscape"),
            "python": platform.python_version(),
        },
        "seconds": last["seconds"],
        "files": {"best": BEST, "last": LAST, "metrics": METRICS, "tensorboard": EVENTS},
    }


# --- surroundings ---


@contextmanager
def _leased(group: Processes, progress: TrainProgress) -> Iterator[Callable[[], bool]]:
    """The device shared with other trainings, giving way to timings. Of processes on one CPU the first does it for all.

    Those that wait for it in the averaging of gradients could not give way themselves.
    """
    if group.device.type != "cuda" and group.local_rank > 0:
        yield lambda: False
        return
    with training_lease(group.device, lambda pid: progress.says(waits_for(pid, group.device))) as give_way:
        yield give_way


@contextmanager
def _cudnn() -> Iterator[None]:
    """cuDNN chooses no algorithm by the clock, which would be another after a resume."""
    with torch.backends.cudnn.flags(benchmark=False, deterministic=True):
        yield


def _cuda(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []
