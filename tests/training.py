"""Networks that train in a second, and ways to look at what a training left."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from explorer.train import train
from explorer.train.start import Trained
from explorer.weights import read_weights
from search_spaces.architecture import Architecture

LAYER_NORM = """\
format: vitscape/architecture@1
image_size: 16
classes: 10
stem: {kind: patch, stride: 4}
stages:
  - width: 16
    depth: 1
    mixer: {kind: conv, kernel: 3}
    ffn_ratio: 2
  - width: 24
    depth: 1
    downsample: patch_merging
    mixer: {kind: global, heads: 2}
    ffn_ratio: 2
"""
BATCH_NORM = """\
format: vitscape/architecture@1
image_size: 16
classes: 10
drop_path: 0.1
stem: {kind: conv, stride: 4}
stages:
  - {width: 16, depth: 2, mixer: {kind: conv, kernel: 3}, norm: batch, activation: relu}
head: {norm: batch}
"""
EVERYTHING = {  # every augmentation at once
    "resized_crop": [0.5, 1.0],
    "shift": 0.1,
    "flip": True,
    "color_jitter": 0.3,
    "randaugment_ops": 2,
    "erase": 0.5,
    "mixup": 0.4,
    "cutmix": 1.0,
}
SHORT: dict[str, Any] = {"epochs": 2, "batch_size": 128, "warmup_epochs": 0.5}


def architecture(text: str = LAYER_NORM, **changes: Any) -> Architecture:
    """A small network for 16 x 16 images of ten classes."""
    return Architecture.from_dict(yaml.safe_load(text) | changes)


def trained(out: Path, text: str = LAYER_NORM, changes: dict[str, Any] | None = None, **options: Any) -> Trained:
    """A training of two epochs on digits, unless told otherwise."""
    options.setdefault("data", "digits")
    return train(architecture(text), out=out, device="cpu", changes=SHORT | (changes or {}), **options)


def metrics(folder: Path, *columns: str) -> list[tuple[str, ...]]:
    """Columns of metrics.csv as they are written, a tuple an epoch."""
    with (folder / "metrics.csv").open() as file:
        return [tuple(row[column] for column in columns) for row in csv.DictReader(file)]


def farthest(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    """The largest difference between two networks' weights, which have the same names."""
    assert first.keys() == second.keys()
    return max(float((first[name].double() - second[name].double()).abs().max()) for name in first)


def weights(folder: Path, name: str = "last.safetensors") -> dict[str, Tensor]:
    """The weights that a training left."""
    found = read_weights(folder / name)
    assert all(torch.isfinite(value).all() for value in found.values())
    return found
