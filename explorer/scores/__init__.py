"""Zero-cost scores: what an untrained network tells of how well it would learn, one file a score.

A score takes a network, images (B, channels, H, W) as floats, 2 to 64 of them, and their labels (B,), and returns a
number: higher is expected to be better, and only the order means anything. It draws nothing at random, and leaves the
network's weights, mode, gradients and buffers as they were. -inf is of a network that cannot be told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from explorer.scores.dss import dss
from explorer.scores.naswot import naswot
from explorer.scores.synflow import synflow
from explorer.scores.zico import zico
from search_spaces.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor, nn

    from explorer.proxy.dataset import Dataset
    from search_spaces.architecture import Architecture

    Score = Callable[[nn.Module, Tensor, Tensor], float]

IMAGES = 32  # of a minibatch; scores of 16 and 64 rank alike (docs/calibrate.md)

SCORES: dict[str, Score] = {"synflow": synflow, "naswot": naswot, "dss": dss, "zico": zico}


def require_score(name: str) -> str:
    """The name, where it is a score's; InputError, one line, where it is not."""
    if name not in SCORES:
        raise InputError(f"screen={name}: no such score; choose one of {', '.join(SCORES)}")
    return name


def scores(
    architecture: Architecture,
    data: Dataset,
    *,
    seed: int = 0,
    names: Iterable[str] = tuple(SCORES),
    device: str = "cpu",
) -> dict[str, float]:
    """The named scores of the network that a search of this seed would train, on a minibatch of its training images.

    The minibatch is the same for all architectures of a seed. On a CPU the same arguments give the same scores.

    >>> scores(preset("deit_ti"), load_data("folder:/data/birds", 224), names=["naswot"])
    """
    from explorer.evaluate import build_seeded
    from explorer.proxy.train import train_seed

    network = build_seeded(architecture, train_seed(seed, architecture.id)).to(device)
    images, labels = minibatch(data, seed, device)
    return {name: SCORES[require_score(name)](network, images, labels) for name in names}


def minibatch(data: Dataset, seed: int, device: str) -> tuple[Tensor, Tensor]:
    """(B, channels, H, W) normalised images and their labels (B,): the same ones for every network of a seed."""
    import torch

    from explorer.proxy.batches import normalised

    order = torch.randperm(len(data.train_images), generator=torch.Generator().manual_seed(seed))[:IMAGES]
    order = order.to(data.train_images.device)
    return normalised(data.train_images[order], data).to(device), data.train_labels[order].to(device)


__all__ = ["IMAGES", "SCORES", "minibatch", "require_score", "scores"]
