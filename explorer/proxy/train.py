"""The short training that stands for a long one: AdamW under a cosine schedule that may be cut short.

A long schedule cut short ranks networks far better than a short one run to its end (docs/cues.md): `epochs` is the
length of the schedule and `stop_epoch` where the search leaves it. Smaller images and a part of them are cheaper, too;
all of these together are the fidelity of the training (docs/fidelity.md).
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator
from torch import nn

from explorer.augment.policy import Augmentation
from explorer.profile.device import device_name
from explorer.proxy.batches import epoch_batches, in_order, normalised, pixels
from explorer.proxy.dataset import DataError, Dataset
from explorer.proxy.experience import Experience
from explorer.proxy.faster import Faster, Pace
from explorer.proxy.heap import kept_heap
from explorer.proxy.step import Step, logits_of
from explorer.record import Precision, Record
from search_spaces.errors import InputError

OnEpoch = Callable[[int, float], bool]  # (epochs done, top-1 %) -> whether to go on

EVALUATION_BATCH = 512


class TrainSettings(Record):
    """How a candidate is trained; part of the conditions under which accuracies compare."""

    epochs: Annotated[int, Field(ge=1)] = 12  # length of the schedule
    stop_epoch: Annotated[int, Field(ge=1)] | None = None  # epochs really run; None: all
    batch_size: Annotated[int, Field(ge=1)] = 64
    lr: Annotated[float, Field(gt=0)] = 3e-3  # peak
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    warmup_epochs: Annotated[float, Field(ge=0)] = 1.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    crop_padding: Annotated[int, Field(ge=0)] | None = None  # pixels; None: a sixteenth of the image
    flip: bool | None = None  # None: where a mirrored image keeps its class
    data_share: Annotated[float, Field(gt=0, le=1)] = 1.0  # of the training images, of each class alike
    image_size: Annotated[int, Field(ge=8)] | None = None  # pixels trained and validated at; None: the architecture's
    augmentation: Augmentation | None = None  # None: a crop and a mirror image, as crop_padding and flip say

    @model_serializer(mode="wrap")
    def _dumped(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Fields as plain data; without the augmentation where there is none, as in studies before there was one."""
        fields: dict[str, Any] = dump(self)
        if "augmentation" in fields:
            del fields["augmentation"]
            if self.augmentation is not None:  # its tuples as lists, as a study's record gives them back
                fields["augmentation"] = self.augmentation.model_dump(mode="json")
        return fields

    @model_validator(mode="after")
    def _augmented_once(self) -> TrainSettings:
        policy = self.augmentation
        if policy is None:
            return self
        for name, others in (("crop_padding", "shift"), ("flip", "flip")):
            if getattr(self, name) is not None:
                raise ValueError(f"{name}={getattr(self, name)} beside an augmentation; set its {others} instead")
        if policy.label_smoothing:
            raise ValueError(
                f"augmentation: label_smoothing={policy.label_smoothing} is the training's own; set it there"
            )
        if policy.mixes and self.batch_size % 2:
            raise ValueError(f"batch_size={self.batch_size}: mixup and cutmix pair the images of a batch; make it even")
        return self

    @model_validator(mode="after")
    def _within_schedule(self) -> TrainSettings:
        if self.stop_epoch is not None and self.stop_epoch > self.epochs:
            raise ValueError(f"stop_epoch={self.stop_epoch} lies beyond epochs={self.epochs}; raise epochs")
        if self.warmup_epochs > self.epochs:
            raise ValueError(f"warmup_epochs={self.warmup_epochs} is longer than epochs={self.epochs}; lower it")
        return self

    @property
    def epochs_run(self) -> int:
        """How many epochs of the schedule are run."""
        return self.stop_epoch or self.epochs

    @property
    def in_full(self) -> TrainSettings:
        """The same training with nothing left out: the whole schedule, all images, at their own size."""
        return self.model_copy(update={"stop_epoch": None, "data_share": 1.0, "image_size": None})

    @property
    def is_full(self) -> bool:
        """Whether nothing is left out."""
        return self.epochs_run == self.epochs and self.data_share == 1 and self.image_size is None


@dataclass(frozen=True)
class TrainResult:
    """What a training found."""

    accuracy: float  # top-1 on the validation images after the last epoch run, %
    accuracy_by_epoch: tuple[float, ...]  # %
    seconds: float  # wall time, evaluation and waiting for others included
    images: int  # training images seen
    batch_size: int
    micro_batch: int  # images that went through the network at a time in the end: fewer than a batch for want of memory
    ran: str  # how steps were run: "eager", "compiled: 1.9 ms a step instead of 4.1"

    @property
    def told(self) -> str | None:
        """How it was trained, where that was not eagerly and a batch at a time."""
        parts = f"{self.micro_batch} of a batch of {self.batch_size} at a time, for want of memory"
        said = [self.ran] * (self.ran != "eager") + [parts] * (self.micro_batch < self.batch_size)
        return "; ".join(said) or None


class TrainingDiverged(ArithmeticError):
    """The loss became NaN or infinite."""


def train_seed(study_seed: int, architecture_id: str) -> int:
    """Seed of one architecture's training in a study: the same in every process, another for every architecture."""
    digest = hashlib.blake2b(f"{study_seed} {architecture_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def train(
    model: nn.Module,
    data: Dataset,
    settings: TrainSettings,
    *,
    device: torch.device | str,
    precision: Precision = "fp32",
    seed: int,
    on_epoch: OnEpoch | None = None,
    between_steps: Callable[[], object] | None = None,
    faster: Faster = "auto",
) -> TrainResult:
    """Top-1 of `model` on `data` after each epoch, in %; the model is trained in place and left in eval mode.

    `on_epoch(epoch, accuracy)` returning False ends the training there. `between_steps()` is called after each step
    and each batch of the evaluation, and is part of `seconds`. On a CPU the same initial weights, seed and number of
    threads give the same accuracies, digit for digit. The caller sets the threads, initialises the model, and gives the
    data of the settings' share and image size (explorer.evaluate does).

    Where a GPU's memory does not hold a batch it is trained in parts (explorer/proxy/step.py). `faster` says how steps
    are run: "auto" is eager on a CPU, and on a GPU whatever is expected to pay (explorer/proxy/faster.py).
    """
    device = torch.device(device)
    if data.share != settings.data_share:
        raise DataError(
            f"data_share={settings.data_share:g}: the data given is a share of {data.share:g}; use at_share"
        )
    if settings.image_size not in (None, data.image_size):
        raise DataError(
            f"image_size={settings.image_size}: the images given have {data.image_size} pixels; load others"
        )
    count = len(data.train_images)
    if settings.batch_size > count:
        raise DataError(f"batch_size={settings.batch_size}: more than the {count} training images; lower it")
    if device.type == "cpu" and precision == "fp16":
        raise InputError("precision=fp16: a CPU trains in fp32 or bf16; choose one of these")
    started = time.perf_counter()
    data = data.to(device)
    model = model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    steps = count // settings.batch_size  # the remainder waits for the next epoch's order: all steps weigh the same
    images = pixels(data.train_images, data.train_labels.device)
    optimizer = torch.optim.AdamW(parameter_groups(model, settings.weight_decay), lr=settings.lr, fused=True)
    run = Step(model, optimizer, precision, 0.0 if settings.augmentation else settings.label_smoothing)
    machine = device_name(device) if device.type == "cuda" else device.type
    pace = Pace(run, settings.epochs_run * steps, faster, Experience(machine))
    accuracies: list[float] = []

    with _seeded(seed, device), kept_heap(device):
        chance = torch.Generator().manual_seed(seed)
        for epoch in range(settings.epochs_run):
            total = torch.zeros((), device=device)
            model.train()
            with contextlib.closing(epoch_batches(images, data, settings, chance)) as batches:
                for step, (batch, targets) in enumerate(batches):
                    run.rate(learning_rate(settings, epoch + step / steps))
                    total += pace(batch, targets)
                    if between_steps is not None:
                        between_steps()
            loss = total.item()  # once an epoch: reading a loss waits for the device
            if not math.isfinite(loss):
                raise TrainingDiverged(f"epoch {epoch + 1}: loss is {loss}; lower lr={settings.lr}")
            accuracies.append(evaluate_accuracy(model, data, precision=precision, between_steps=between_steps))
            if on_epoch is not None and not on_epoch(epoch + 1, accuracies[-1]):
                break
    return TrainResult(
        accuracy=accuracies[-1],
        accuracy_by_epoch=tuple(accuracies),
        seconds=time.perf_counter() - started,
        images=len(accuracies) * steps * settings.batch_size,
        batch_size=settings.batch_size,
        micro_batch=run.micro_batch(settings.batch_size),
        ran=pace.ran,
    )


@torch.no_grad()
def evaluate_accuracy(
    model: nn.Module,
    data: Dataset,
    *,
    precision: Precision = "fp32",
    between_steps: Callable[[], object] | None = None,
) -> float:
    """Top-1 on the validation images in %; the model, on the device of the labels, is left in eval mode."""
    model.eval()
    device = data.val_labels.device
    right = torch.zeros((), dtype=torch.int64, device=device)
    with in_order(data.val_images, EVALUATION_BATCH, device) as parts:
        for images, labels in zip(parts, data.val_labels.split(EVALUATION_BATCH), strict=True):
            logits = logits_of(model, normalised(images, data), precision)
            right += (logits.argmax(dim=1) == labels).sum()
            if between_steps is not None:
                between_steps()
    return 100 * right.item() / len(data.val_labels)


def learning_rate(settings: TrainSettings, epoch: float) -> float:
    """Linear from 0 to `lr` over the warm-up, then half a cosine to 0 at `epochs`; `epoch` counts in fractions."""
    if epoch < settings.warmup_epochs:
        # from a hundredth: the first step of a warm-up from nothing is wasted
        return settings.lr * max(0.01, epoch / settings.warmup_epochs)
    progress = (epoch - settings.warmup_epochs) / max(settings.epochs - settings.warmup_epochs, 1e-9)
    return settings.lr * 0.5 * (1 + math.cos(math.pi * progress))


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Weights of two and more axes decay; norms, biases, and tables of positions and biases do not."""
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        table = name.endswith(("bias", "table")) or any(part.startswith("pos") for part in name.split("."))
        if parameter.requires_grad:
            (free if parameter.ndim < 2 or table else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]


@contextlib.contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Dropout and drop path follow the seed, cuDNN picks no algorithm by the clock, the caller's state comes back."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.backends.cudnn.flags(benchmark=False, deterministic=True):
        torch.manual_seed(seed)
        yield
