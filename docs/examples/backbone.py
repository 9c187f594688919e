"""A backbone under a feature pyramid and a segmentation head, trained for some steps on shapes that are drawn here.

    python docs/examples/backbone.py
    python docs/examples/backbone.py --arch pareto/tiny_32_0007.yaml --steps 300

Prints the mean intersection over union (IoU) on held-out images before and after. It shows how the maps of a backbone
are used; the network is far too small, and the training far too short, for more.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces import Architecture, build
from search_spaces.blocks.backbone import Backbone
from search_spaces.shipped import find

CLASSES = ("clutter", "disc", "square", "triangle")
HEIGHT, WIDTH = 64, 96  # pixels: not square, as images of detection are
SMALL = {
    "format": "vitscape/architecture@1",
    "image_size": 64,
    "stem": {"kind": "conv", "stride": 4},
    "stages": [
        {"width": 24, "depth": 1, "local": True, "ffn_ratio": 2.0, "mixer": {"kind": "conv", "kernel": 5}},
        {
            "width": 32,
            "depth": 2,
            "downsample": "patch_merging",
            "local": True,
            "mixer": {"kind": "window", "size": 4, "heads": 2},
        },
        {
            "width": 48,
            "depth": 2,
            "downsample": "patch_merging",
            "local": True,
            "mixer": {"kind": "global", "heads": 3},
        },
    ],
}


class Pyramid(nn.Module):
    """Feature pyramid (Lin et al. 2017): maps of a backbone -> maps of one width at the same strides."""

    def __init__(self, channels: list[int], width: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.smooth = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in channels)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        found = [lateral(x) for lateral, x in zip(self.laterals, maps, strict=True)]
        for i in range(len(found) - 1, 0, -1):  # sizes round up, so the coarse map is fitted, not doubled
            found[i - 1] = found[i - 1] + F.interpolate(found[i], found[i - 1].shape[2:], mode="nearest")
        return [smooth(x) for smooth, x in zip(self.smooth, found, strict=True)]


class Segmenter(nn.Module):
    """Images (B, 3, H, W) -> logits (B, classes, H, W): backbone, pyramid, the sum of its maps, two convolutions."""

    def __init__(self, backbone: Backbone, width: int = 32) -> None:
        super().__init__()
        self.backbone = backbone
        self.pyramid = Pyramid(backbone.feature_info.channels(), width)
        self.head = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, len(CLASSES), 1))

    def forward(self, images: Tensor) -> Tensor:
        finest, *others = self.pyramid(self.backbone(images))
        for x in others:
            finest = finest + F.interpolate(x, finest.shape[2:], mode="bilinear")
        return F.interpolate(self.head(finest), images.shape[2:], mode="bilinear")


def draw(number: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images (number, 3, H, W) of coloured shapes on strokes and noise, and the class of each pixel (number, H, W)."""

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator)

    y, x = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    images = 0.15 * torch.randn(number, 3, HEIGHT, WIDTH, generator=generator)
    labels = torch.zeros(number, HEIGHT, WIDTH, dtype=torch.long)
    for image, label in zip(images, labels, strict=True):
        for slope, where, thick in zip(uniform(0, 3.14, 6), uniform(-30, 130, 6), uniform(0.5, 2, 6), strict=True):
            stroke = (x * slope.cos() + y * slope.sin() - where).abs() < thick
            image[:, stroke] = uniform(-1, 1, 3, 1)
        for _ in range(3):
            kind = int(torch.randint(1, len(CLASSES), (), generator=generator))
            r = float(uniform(8, 15))
            dx, dy = x - float(uniform(r, WIDTH - r)), y - float(uniform(r, HEIGHT - r))
            inside = {
                "disc": dx**2 + dy**2 < r**2,
                "square": torch.maximum(dx.abs(), dy.abs()) < 0.85 * r,
                "triangle": (dy < 0.8 * r) & (dy > 2 * dx.abs() - r),
            }[CLASSES[kind]]
            image[:, inside] = uniform(-1, 1, 3, 1) + 0.1 * torch.randn(3, int(inside.sum()), generator=generator)
            label[inside] = kind
    return images, labels


def mean_iou(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Intersection over union of each class over all pixels, and the mean of them, 0 to 1."""
    network.eval()
    with torch.no_grad():
        found = torch.cat([network(batch).argmax(1) for batch in images.split(16)])
    network.train()
    both = [((found == c) & (labels == c)).sum() / ((found == c) | (labels == c)).sum() for c in range(len(CLASSES))]
    return float(torch.stack(both).mean())


def train(network: nn.Module, steps: int, generator: torch.Generator, batch: int = 12) -> list[float]:
    """The loss of each step: cross entropy, AdamW, a rate that warms up and falls to nothing."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=max(2, steps), pct_start=0.2)
    losses = []
    for step in range(steps):
        images, labels = draw(batch, generator)
        loss = F.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if (step + 1) % max(1, steps // 8) == 0:
            print(f"step {step + 1:4d} of {steps}  loss {losses[-1]:.3f}", flush=True)
    return losses


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--arch", help="a preset by name, or an architecture file; a small one if not given")
    parser.add_argument("--steps", type=int, default=240, help="training steps of 12 images (240)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and images (0)")
    options = parser.parse_args(words)
    architecture = Architecture.load(find(options.arch, "presets")) if options.arch else Architecture.from_dict(SMALL)

    torch.manual_seed(options.seed)
    backbone = build(architecture, features_only=True, out_norms=True)
    for stage in backbone.feature_info.get_dicts():
        print(f"{stage['module']}: stride {stage['reduction']:2d}, {stage['num_chs']} channels")
    network = Segmenter(backbone)
    held_out = draw(64, torch.Generator().manual_seed(options.seed + 1_000_000))
    before, started = mean_iou(network, *held_out), time.perf_counter()
    train(network, options.steps, torch.Generator().manual_seed(options.seed))
    seconds = time.perf_counter() - started
    print(f"mean IoU on 64 held-out images: {before:.3f} before, {mean_iou(network, *held_out):.3f} after")
    print(f"{options.steps} steps in {seconds:.0f} s, {sum(p.numel() for p in network.parameters()):,} parameters")


if __name__ == "__main__":
    main()
