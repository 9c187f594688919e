"""The training loop: steps, evaluation after each epoch, and checkpoints between two steps."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from explorer.augment.apply import augment
from explorer.augment.draws import Draws, draw
from explorer.augment.mix import soft_labels
from explorer.proxy.dataset import Dataset
from explorer.proxy.step import autocast
from explorer.proxy.train import TrainingDiverged, evaluate_accuracy, parameter_groups
from explorer.record import Precision
from explorer.train import checkpoint
from explorer.train.batches import Batches, generator, seed_of
from explorer.train.clip import clip
from explorer.train.ema import Average
from explorer.train.logs import Events, Row, reached, write_metrics
from explorer.train.loss import loss
from explorer.train.processes import Processes, bare, without_sync
from explorer.train.progress import TrainProgress
from explorer.train.recipe import Recipe
from explorer.train.schedule import learning_rate
from explorer.train.stop import Stop
from explorer.weights import save_weights
from search_spaces.architecture import Architecture
from search_spaces.blocks.network import Network

AGREE_EVERY = 8  # steps after which several processes ask each other whether to end: all of them at the same step
BEST, LAST, METRICS, EVENTS = "best.safetensors", "last.safetensors", "metrics.csv", "tensorboard"


@dataclass(frozen=True)
class Job:
    """What is trained, on what, and how; none of it changes on the way."""

    architecture: Architecture  # as it is written, with its name
    recipe: Recipe
    data: Dataset  # on the device, but for images that it has no room for
    batches: Batches
    processes: Processes
    precision: Precision
    seed: int
    accumulate: int  # parts of a process's batch, one after the other
    teacher: nn.Module | None
    out: Path
    save_minutes: float
    plan: dict[str, Any]  # what a checkpoint must have in common with this training


class Training:
    """A network under training, from its first step or from a checkpoint."""

    def __init__(self, job: Job, network: Network, *, sync_bn: bool, compiled: bool) -> None:
        self.job, self.epoch, self.step = job, 0, 0
        device = job.processes.device
        network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model = job.processes.joined(network, sync_bn)
        self.network = bare(self.model)
        self.average = Average(self.network) if job.recipe.ema_decay else None
        groups = parameter_groups(self.network, job.recipe.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, lr=job.recipe.lr, fused=True)
        self.scaler = torch.amp.GradScaler(device.type, enabled=job.precision == "fp16")
        self.total = torch.zeros((), dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)
        self.rows: list[Row] = []
        self.best = -1.0
        self.seconds = 0.0  # of earlier runs
        self.began = self.epoch_began = self.saved = time.monotonic()
        self.epoch_from = 0  # step of the epoch at which this run began it
        if compiled:
            self.network.compile()

    # --- what a checkpoint holds ---

    def state(self) -> dict[str, Any]:
        """All that is needed to go on exactly from here."""
        return {
            "plan": self.job.plan,
            "epoch": self.epoch,
            "step": self.step,
            "network": self.network.state_dict(),
            "average": None if self.average is None else self.average.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "total": self.total,
            "rows": self.rows,
            "best": self.best,
            "seconds": self._elapsed(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint's content."""
        self.network.load_state_dict(state["network"])
        if self.average is not None:
            self.average.network.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.total.copy_(state["total"])
        self.epoch, self.step, self.epoch_from = state["epoch"], state["step"], state["step"]
        self.rows, self.best, self.seconds = state["rows"], state["best"], state["seconds"]

    # --- the loop ---

    def run(self, progress: TrainProgress, stop: Stop, give_way: Callable[[], bool]) -> None:
        """Train until the last epoch is done; every process returns from it at the same step.

        Raises:
            TrainingDiverged: the loss, or a weight, became NaN or infinite; the checkpoint before it is kept.
            TrainingStopped: a checkpoint cannot be written.
            KeyboardInterrupt: asked to end; a checkpoint was written.
        """
        job, steps = self.job, self.job.batches.steps
        events = Events(job.out / EVENTS, self.rows) if job.processes.main else None
        self.began = self.epoch_began = self.saved = time.monotonic()
        progress.begins(self.epoch * steps + self.step)
        stop.free = False
        try:
            while self.epoch < job.recipe.epochs:
                self.model.train()
                while self.step < steps:
                    value = self._train_step()
                    self.step += 1
                    progress.step(self.epoch, self.step, value)
                    self._between(stop, give_way)
                row = self._finish_epoch(stop, give_way)
                if job.processes.main:
                    self._keep(row, stop, progress)
                    if events is not None:
                        events.add(row)
        finally:
            if events is not None:
                events.close()

    def _train_step(self) -> Tensor:
        """The loss of this process's part of one step, on the device."""
        job, recipe = self.job, self.job.recipe
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(recipe, self.epoch + self.step / job.batches.steps)
        choices = draw(
            recipe,
            recipe.batch_size,
            job.data.image_size,
            mirror=job.data.mirror,
            generator=generator(job.seed, self.epoch, self.step, 1),
        )
        self.optimizer.zero_grad(set_to_none=True)
        value = torch.zeros((), device=job.processes.device)
        for index in range(job.accumulate):
            value += self._part(choices, index)
        self.scaler.unscale_(self.optimizer)
        clip(self.network.parameters(), recipe)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update(recipe, self.epoch * job.batches.steps + self.step)
        self.total += value
        return value

    def _part(self, choices: Draws, index: int) -> Tensor:
        """The loss of one part of this process's batch, after its gradients were added to those of the parts before."""
        job, recipe = self.job, self.job.recipe
        where = slice_of(recipe.batch_size, index, job.processes.rank, job.accumulate, job.processes.count)
        images, labels = job.batches.read(self.epoch, self.step, where)
        images = augment(images, choices.part(where), job.data.mean, job.data.std)
        targets = soft_labels(labels, job.data.classes, recipe.label_smoothing, choices.mix)
        drop_by(job.processes.device, seed_of(job.seed, self.epoch, self.step, 2, where.start))
        with without_sync(self.model, index == job.accumulate - 1):
            with autocast(job.processes.device, job.precision):
                logits = self.model(images)  # (B, classes)
                with torch.no_grad():
                    taught = None if job.teacher is None else job.teacher(images)
            value = loss(logits, targets, taught, recipe) / job.accumulate
            self.scaler.scale(value).backward()
        return value.detach()

    def _between(self, stop: Stop, give_way: Callable[[], bool]) -> None:
        """What happens between two steps: giving way to a timing, ending if asked to, a checkpoint when it is time."""
        job = self.job
        stop.free = True
        try:
            give_way()
        except KeyboardInterrupt:  # in the midst of waiting
            stop.asked = True
        finally:
            stop.free = False
        ends = stop.asked
        if job.processes.count > 1:
            agree = (self.epoch * job.batches.steps + self.step) % AGREE_EVERY == 0
            ends = agree and job.processes.total(stop.asked) > 0
        if ends:
            self._save(stop)
            raise KeyboardInterrupt
        if job.processes.main and time.monotonic() - self.saved > job.save_minutes * 60:
            self._save(stop)

    def _between_evaluated(self, stop: Stop, give_way: Callable[[], bool]) -> None:
        """Between two batches of the evaluation, which a single process leaves when asked to; it is done again then."""
        if self.job.processes.count == 1:
            self._between(stop, give_way)
        else:
            give_way()

    def _finish_epoch(self, stop: Stop, give_way: Callable[[], bool]) -> Row:
        """The epoch's row, after evaluating; the state is then that before the next epoch."""
        job, steps = self.job, self.job.batches.steps
        self._require_finite()
        mean = job.processes.total(float(self.total)) / job.processes.count / steps
        images = (steps - self.epoch_from) * job.recipe.batch_size
        speed = round(images / max(time.monotonic() - self.epoch_began, 1e-9), 1) if images else None
        between = partial(self._between_evaluated, stop, give_way)
        job.processes.agree_on_statistics(self.network)
        accuracies = [
            None if network is None else top1(network, job.data, job.processes, job.precision, between)
            for network in (self.network, None if self.average is None else self.average.network)
        ]
        lr = learning_rate(job.recipe, self.epoch + (steps - 1) / steps)
        self.epoch, self.step, self.epoch_from = self.epoch + 1, 0, 0
        self.total.zero_()
        row: Row = {
            "epoch": self.epoch,
            "step": self.epoch * steps,
            "loss": mean,
            "lr": lr,
            "top1": accuracies[0],
            "ema_top1": accuracies[1],
            "images_per_s": speed,  # None where this run made no step of the epoch
            "seconds": round(self._elapsed(), 2),
        }
        self.rows.append(row)
        self.epoch_began = time.monotonic()
        return row

    def _keep(self, row: Row, stop: Stop, progress: TrainProgress) -> None:
        """Write what an epoch has brought, the checkpoint last: what it does not know of is done again."""
        accuracy, _ = reached(row)
        better = accuracy > self.best
        stop.held = True
        try:
            if better:
                self.best = accuracy
                self.save_network(BEST, row)
            write_metrics(self.job.out / METRICS, self.rows)
        except OSError as error:
            raise checkpoint.TrainingStopped(
                f"{self.job.out}: cannot be written to ({error.strerror}); the last checkpoint is intact: make room and"
                " give the same command"
            ) from None
        finally:
            stop.held = False
        progress.epoch(row, better)
        self._save(stop)

    def chosen(self, row: Row) -> Network:
        """The network with its weights, or with their moving average, whichever did better in an epoch."""
        _, averaged = reached(row)
        if not averaged:
            return self.network
        assert self.average is not None
        return self.average.network  # type: ignore[return-value]

    def save_network(self, name: str, row: Row) -> None:
        """Write the weights after an epoch, or their moving average, whichever did better."""
        data, (accuracy, averaged) = self.job.data, reached(row)
        about = {"epoch": str(row["epoch"]), "top1": f"{accuracy:.4f}", "moving_average": json.dumps(averaged)}
        about |= {"data": data.fingerprint}
        about |= {"mean": json.dumps(data.mean.tolist()), "std": json.dumps(data.std.tolist())}
        weights = self.chosen(row).state_dict()
        save_weights(self.job.out / name, weights, architecture=self.job.architecture, about=about)

    def _save(self, stop: Stop) -> None:
        self._require_finite()
        if self.job.processes.main:
            stop.held = True
            try:
                checkpoint.save(self.job.out, self.state())
            finally:
                stop.held = False
        self.saved = time.monotonic()

    def _require_finite(self) -> None:
        """Raise TrainingDiverged where the losses of this epoch or the weights are not numbers any more."""
        weights = torch.stack(torch._foreach_norm(list(self.network.parameters()))).sum()
        value = float(self.total)
        if not (math.isfinite(value) and math.isfinite(weights.item())):
            what = f"the loss is {value}" if not math.isfinite(value) else "the weights are no numbers"
            raise TrainingDiverged(
                f"epoch {self.epoch + 1}, step {self.step}: {what}; lower lr={self.job.recipe.lr:g}, or clip gradients"
                " (--set clip_norm=1). The last checkpoint is from before"
            )

    def _elapsed(self) -> float:
        return self.seconds + time.monotonic() - self.began


def slice_of(batch_size: int, part: int, rank: int, parts: int, processes: int) -> slice:
    """Which images of the global batch a process takes as its `part`-th part."""
    size = batch_size // (parts * processes)
    first = (part * processes + rank) * size
    return slice(first, first + size)


def drop_by(device: torch.device, seed: int) -> None:
    """Seed what drop path draws from on a device; `torch.manual_seed` would note the stack of every call."""
    if device.type == "cuda":
        torch.cuda.default_generators[device.index].manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


def top1(
    network: nn.Module, data: Dataset, group: Processes, precision: Precision, between: Callable[[], object]
) -> float:
    """Top-1 on the validation images in %, each process counting its share of them."""
    images, labels = data.val_images[group.rank :: group.count], data.val_labels[group.rank :: group.count]
    part = replace(data, val_images=images, val_labels=labels)
    right = 0
    if len(labels):
        right = round(evaluate_accuracy(network, part, precision=precision, between_steps=between) * len(labels) / 100)
    return 100 * group.total(right) / len(data.val_labels)
