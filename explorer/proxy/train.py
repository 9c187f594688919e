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
from typing import Annotated

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from explorer.proxy.augment import crop, draw
from explorer.proxy.dataset import DataError, Dataset
from explorer.record import Precision, Record
from search_spaces.errors import InputError

OnEpoch = Callable[[int, float], bool]  # (epochs done, top-1 %) -> whether to go on

HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}
GRADIENT_NORM = 1.0
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
) -> TrainResult:
    """Top-1 of `model` on `data` after each epoch, in %; the model is trained in place and left in eval mode.

    `on_epoch(epoch, accuracy)` returning False ends the training there. `between_steps()` is called after each step
    and each batch of the evaluation, and is part of `seconds`. On a CPU the same initial weights, seed and number of
    threads give the same accuracies, digit for digit. The caller sets the threads, initialises the model, and gives the
    data of the settings' share and image size (explorer.evaluate does).
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
    images = data.train_images.permute(0, 2, 3, 1).contiguous()  # (N, H, W, 3): a pixel is three bytes in a row
    padding = data.image_size // 16 if settings.crop_padding is None else settings.crop_padding
    mirror = data.mirror if settings.flip is None else settings.flip
    steps = count // settings.batch_size  # the remainder waits for the next epoch's order: all steps weigh the same
    optimizer = torch.optim.AdamW(parameter_groups(model, settings.weight_decay), lr=settings.lr, fused=True)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
    accuracies: list[float] = []

    with _seeded(seed, device):
        order = torch.Generator().manual_seed(seed)
        for epoch in range(settings.epochs_run):
            draws = draw(count, padding=padding, mirror=mirror, generator=order, device=device)
            total = torch.zeros((), device=device)
            model.train()
            for step in range(steps):
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(settings, epoch + step / steps)
                first = step * settings.batch_size
                labels = data.train_labels[draws.order[first : first + settings.batch_size]]
                with _autocast(device, precision):
                    logits = model(normalised(crop(images, draws, first, settings.batch_size), data))  # (B, classes)
                    loss = F.cross_entropy(logits, labels, label_smoothing=settings.label_smoothing)
                optimizer.zero_grad(set_to_none=True)
                scaler.scale(loss).backward()
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM)
                scaler.step(optimizer)
                scaler.update()
                total += loss.detach()
                if between_steps is not None:
                    between_steps()
            if not math.isfinite(total.item()):  # once an epoch: reading a loss waits for the device
                raise TrainingDiverged(f"epoch {epoch + 1}: loss is {total.item()}; lower lr={settings.lr}")
            accuracies.append(evaluate_accuracy(model, data, precision=precision, between_steps=between_steps))
            if on_epoch is not None and not on_epoch(epoch + 1, accuracies[-1]):
                break
    seconds = time.perf_counter() - started
    return TrainResult(accuracies[-1], tuple(accuracies), seconds, len(accuracies) * steps * settings.batch_size)


@torch.no_grad()
def evaluate_accuracy(
    model: nn.Module,
    data: Dataset,
    *,
    precision: Precision = "fp32",
    between_steps: Callable[[], object] | None = None,
) -> float:
    """Top-1 on the validation images in %; `model` and `data` are on one device, the model is left in eval mode."""
    model.eval()
    right = torch.zeros((), dtype=torch.int64, device=data.val_labels.device)
    for images, labels in zip(
        torch.split(data.val_images, EVALUATION_BATCH), torch.split(data.val_labels, EVALUATION_BATCH), strict=True
    ):
        with _autocast(images.device, precision):
            logits = model(normalised(images.contiguous(memory_format=torch.channels_last), data))
        right += (logits.argmax(dim=1) == labels).sum()
        if between_steps is not None:
            between_steps()
    return 100 * right.item() / len(data.val_labels)


def normalised(images: Tensor, data: Dataset) -> Tensor:
    """(B, 3, H, W) float32 with mean 0 and deviation 1 over the training images, from bytes."""
    scale, shift = 1 / (255 * data.std), data.mean / data.std
    return images.float() * scale[:, None, None] - shift[:, None, None]


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


def _autocast(device: torch.device, precision: Precision) -> torch.autocast:
    return torch.autocast(device.type, HALF.get(precision, torch.bfloat16), enabled=precision != "fp32")


@contextlib.contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Dropout and drop path follow the seed, cuDNN picks no algorithm by the clock, the caller's state comes back."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.backends.cudnn.flags(benchmark=False, deterministic=True):
        torch.manual_seed(seed)
        yield
