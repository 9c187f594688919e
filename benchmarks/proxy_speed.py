"""How near the proxy's training comes to what the device computes at all, beside usual ways of loading images.

    python -m benchmarks.proxy_speed [--device cpu] [--rounds 7] [--steps 20] [--threads 1] [--networks cheap,swin_t]

For each network, with random images in memory: `train` as a search calls it; the limit, which is forward, backward,
clipping and optimizer on one batch that is on the device, normalised, before the clock starts; a plain loop with
torch's DataLoader, each image cropped and mirrored by itself; and timm's loader. Only steps count: the first few of
each run are not timed, and neither are set-up and evaluation. In a round each way runs once, in an order that rotates.
The ratio is the median over rounds of two speeds of the same round, so that what slows the machine down slows both.
CPU time is of the process and its workers, from /proc, in which a tick is 10 ms.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median, quantiles
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from explorer.profile.device import device_name
from explorer.proxy.batches import normalised
from explorer.proxy.dataset import Dataset
from explorer.proxy.faster import TIMED, UNTIMED, Faster
from explorer.proxy.heap import kept_heap
from explorer.proxy.step import GRADIENT_NORM, autocast
from explorer.proxy.train import TrainSettings, parameter_groups, train
from explorer.record import Precision
from search_spaces import load_space, preset
from search_spaces.architecture import Architecture
from search_spaces.blocks.network import build
from search_spaces.cost import cost

SAMPLED = 64  # networks of tiny_32, of which the cheapest and the most expensive one are taken


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


# --- the ways ---


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


# --- measuring ---


def measured(case: Case, rounds: int) -> tuple[dict[str, list[Speed]], dict[str, str]]:
    """The speeds of each way in each round, and why others were not measured."""
    speeds: dict[str, list[Speed]] = {name: [] for name in WAYS}
    missing: dict[str, str] = {}
    for number in range(rounds):
        names = [name for name in WAYS if name not in missing]
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            try:
                speeds[name].append(WAYS[name](case))
            except Exception as error:  # timm asks for libraries that need not be here, and fit
                if WAYS[name] is not timm_loader:
                    raise
                missing[name] = f"{type(error).__name__}: {error}".splitlines()[0]
                del speeds[name]
    return speeds, missing


def row(name: str, way: str, speeds: dict[str, list[Speed]]) -> str:
    """A line of the table; how much faster `train` is than this way, in images a second and in CPU time."""
    own, others = speeds["train"], speeds[way]
    faster = [one.images / other.images for one, other in zip(own, others, strict=True)]
    cheaper = [other.cpu_ms / max(one.cpu_ms, 1e-9) for one, other in zip(own, others, strict=True)]
    low, _, high = quantiles(faster, n=4) if len(faster) > 1 else faster * 3
    images, cpu = median(one.images for one in others), median(one.cpu_ms for one in others)
    ratios = f"{median(faster):.3f} | {low:.3f} - {high:.3f} | {median(cheaper):.3f}"
    return f"| {name} | {way} | {images:.4g} | {cpu:.3g} | {ratios} |"


def cases(options: argparse.Namespace) -> Iterator[tuple[str, Case]]:
    """Of each network asked for its name and the case."""
    rng, space, device = random.Random(0), load_space("tiny_32"), torch.device(options.device)
    sampled = sorted((space.sample(rng) for _ in range(SAMPLED)), key=lambda one: cost(one).macs)
    known = {"cheap": sampled[0], "expensive": sampled[-1], "swin_t": preset("swin_t")}
    for name in options.networks.split(","):
        architecture = known[name]
        few = architecture.image_size > 64 and device.type == "cpu"
        size, steps, warm = options.batch or (4 if few else 64), options.steps, 1 if few else 5
        if few:
            steps = max(2, steps // 10)
        if options.faster in ("compile", "graph"):
            warm = 3 * (UNTIMED + TIMED)  # by then it is settled how steps are run
        data = made_up(architecture, (warm + steps) * size)
        yield name, Case(architecture, data, size, steps, warm, device, options.precision, options.faster)


def made_up(architecture: Architecture, count: int) -> Dataset:
    """Random images, as in a set that is mapped into memory."""
    generator, size, classes = torch.Generator().manual_seed(0), architecture.image_size, architecture.classes
    images = torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, classes, (count,), generator=generator)
    mean = torch.full((3,), 0.5)
    return Dataset(
        name="random",
        train_images=images.permute(0, 3, 1, 2),
        train_labels=labels,
        val_images=images[:2].permute(0, 3, 1, 2),
        val_labels=labels[:2],
        classes=classes,
        mean=mean,
        std=mean / 2,
        fingerprint="random",
        mirror=True,
    )


def main() -> None:
    """Print one Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20, help="timed in each run; a tenth at 224 pixels on a CPU")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, help="images; 64, and 4 at 224 pixels on a CPU")
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp16"))
    parser.add_argument("--networks", default="cheap,expensive,swin_t")
    parser.add_argument("--faster", choices=("off", "compile", "graph"), default="off", help="how `train` runs steps")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    gpu = torch.device(options.device).type == "cuda"
    options.precision = options.precision or ("bf16" if gpu else "fp32")
    where = device_name(torch.device(options.device)) + ("" if gpu else f", {options.threads} threads")
    print(
        f"{where}, {options.precision}, faster {options.faster}, torch {torch.__version__}, {options.rounds} rounds\n"
    )
    print("| network | way | images/s | CPU ms an image | `train` is faster by | quartiles | CPU time, by |")
    print("|---|---|---|---|---|---|---|")
    notes = []
    for name, case in cases(options):
        speeds, missing = measured(case, options.rounds)
        about = f"{name}, {cost(case.architecture).macs / 1e6:.3g} M MACs, {case.steps} x {case.batch}"
        for way in speeds:
            print(row(about, way, speeds), flush=True)
        notes += [f"{name}: {way} was not measured: {why}" for way, why in missing.items()]
    print("\n" + "\n".join(notes))


if __name__ == "__main__":
    main()
