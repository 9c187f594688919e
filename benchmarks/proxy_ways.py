"""The ways of training that `benchmarks/proxy_speed.py` compares; each returns the speed of a run's timed steps."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from explorer.proxy.batches import normalised
from explorer.proxy.dataset import Dataset
from explorer.proxy.faster import Faster
from explorer.proxy.heap import kept_heap
from explorer.proxy.step import GRADIENT_NORM, autocast
from explorer.proxy.train import TrainSettings, parameter_groups, train
from explorer.record import Precision
from search_spaces.architecture import Architecture
from search_spaces.blocks.network import build


class Speed(NamedTuple):
    """Of one run."""

    images: float  # a second of wall time
    cpu_ms: float  # of CPU time, an image


@dataclass(frozen=True)
class Case:
    """A network and how it is trained."""

    architecture: Architecture
    data: Dataset  # on the host
    batch: int
    steps: int  # that are timed
    warm: int  # before them
    device: torch.device
    precision: Precision
    faster: Faster  # of `train`

    def network(self) -> nn.Module:
        """The network with fresh weights on the device."""
        torch.manual_seed(0)
        network = build(self.architecture).to(self.device)
        return network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]


class Clock:
    """Wall and CPU time between the last of the warm steps and the last step."""

    def __init__(self, case: Case) -> None:
        self.case, self.done = case, 0
        self.pids: Sequence[int] = ()  # of workers
        self.began = self.ended = (0.0, 0.0)

    def step(self) -> None:
        """Note that a step was begun; call it after each."""
        self.done += 1
        if self.done == self.case.warm:
            self.began = self._now()
        elif self.done == self.case.warm + self.case.steps:
            self.ended = self._now()

    def _now(self) -> tuple[float, float]:
        if self.case.device.type == "cuda":
            torch.cuda.synchronize(self.case.device)
        return time.perf_counter(), time.process_time() + sum(map(cpu_seconds, self.pids))

    @property
    def speed(self) -> Speed:
        """Of the steps timed."""
        images = self.case.steps * self.case.batch
        wall, cpu = (after - before for before, after in zip(self.began, self.ended, strict=True))
        return Speed(images / wall, 1e3 * cpu / images)


def cpu_seconds(pid: int) -> float:
    """CPU time of another process; 0 where /proc does not tell."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime


def ours(case: Case) -> Speed:
    """The training of a search."""
    clock, settings = Clock(case), TrainSettings(epochs=1, warmup_epochs=0, batch_size=case.batch)
    train(
        case.network(),
        case.data,
        settings,
        device=case.device,
        precision=case.precision,
        seed=0,
        between_steps=clock.step,
        faster=case.faster,
    )
    return clock.speed


def limit(case: Case) -> Speed:
    """The same batch over and over."""
    data = case.data.to(case.device)
    batch = normalised(data.train_images[: case.batch].to(case.device), data)
    labels = data.train_labels[: case.batch]
    return plain(case, Clock(case), ((batch, labels) for _ in range(case.warm + case.steps)))


def loader(case: Case, workers: int) -> Speed:
    """torch's DataLoader over single images, with its default collation."""
    clock, data = Clock(case), case.data
    batches = torch.utils.data.DataLoader(
        Images(data),
        batch_size=case.batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        pin_memory=case.device.type == "cuda",
    )
    found = iter(batches)
    clock.pids = [worker.pid for worker in getattr(found, "_workers", [])]
    there = data.to(case.device)

    def sent() -> Iterable[tuple[Tensor, Tensor]]:
        for images, labels in found:
            images = images.to(case.device, non_blocking=True).contiguous(memory_format=torch.channels_last)
            yield normalised(images, there), labels.to(case.device, non_blocking=True)

    return plain(case, clock, sent())


def timm_loader(case: Case) -> Speed:
    """timm's loader with two workers: random crops, mirror images, and its prefetcher."""
    held = torch.library.Library("torchvision", "FRAGMENT")  # a CPU build lacks what its import asks for
    for name in ("nms", "qnms"):
        held.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from timm.data.loader import create_loader

    clock, size = Clock(case), case.data.image_size
    batches = create_loader(
        cast(Any, Images(case.data, pillow=True)),
        (3, size, size),
        case.batch,
        is_training=True,
        scale=(0.9, 1.0),
        ratio=(1.0, 1.0),
        color_jitter=0.0,
        num_workers=2,
        persistent_workers=False,
        device=case.device,
    )
    found = ((images.contiguous(memory_format=torch.channels_last), labels) for images, labels in batches)
    return plain(case, clock, found)


class Images(torch.utils.data.Dataset[tuple[Any, Any]]):
    """Single images of a dataset, as bytes (3, H, W) cropped and mirrored here, or as Pillow's for a transform."""

    def __init__(self, data: Dataset, pillow: bool = False) -> None:
        self.data, self.pillow = data, pillow
        self.transform: Callable[[Any], Any] | None = None  # timm sets it

    def __len__(self) -> int:
        return len(self.data.train_labels)

    def __getitem__(self, place: int) -> tuple[Any, Any]:
        image, label = self.data.train_images[place], int(self.data.train_labels[place])
        if self.pillow:
            from PIL import Image

            assert self.transform is not None
            return self.transform(Image.fromarray(image.permute(1, 2, 0).numpy())), label
        padding, size = self.data.image_size // 16, self.data.image_size
        padded = F.pad(image[None].float(), (padding,) * 4, mode="replicate")[0].byte()
        top, left = (random.randint(0, 2 * padding) for _ in range(2))
        image = padded[:, top : top + size, left : left + size]
        return (image.flip(2) if random.random() < 0.5 else image), label


def plain(case: Case, clock: Clock, batches: Iterable[tuple[Tensor, Tensor]]) -> Speed:
    """A plain training loop over normalised batches, with the settings of the proxy."""
    model, settings = case.network(), TrainSettings()
    optimizer = torch.optim.AdamW(parameter_groups(model, settings.weight_decay), lr=settings.lr, fused=True)
    scaler = torch.amp.GradScaler(case.device.type, enabled=case.precision == "fp16")
    with kept_heap(case.device):  # as `train` does: it is about loading images
        for images, labels in batches:
            with autocast(case.device, case.precision):
                loss = F.cross_entropy(model(images), labels, label_smoothing=settings.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM)
            scaler.step(optimizer)
            scaler.update()
            clock.step()
    return clock.speed


WAYS: dict[str, Callable[[Case], Speed]] = {
    "train": ours,
    "compute alone": limit,
    "DataLoader, 0 workers": partial(loader, workers=0),
    "DataLoader, 2 workers": partial(loader, workers=2),
    "timm's loader, 2 workers": timm_loader,
}
