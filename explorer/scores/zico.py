"""ZiCo: gradients that are large, and alike in every part of the images (Li et al. 2023, arXiv 2301.11300)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from explorer.scores.looking import awake, gradients

PARTS = 4  # of the images, between which gradients are compared; as many as there are images where they are fewer


def zico(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Sum over layers of ln(sum over weights of mean |gradient| / standard deviation of |gradient| between parts).

    Weights whose gradient is the same in every part are left out, as in the paper's code. The paper compares two
    minibatches; here they are parts of one.
    """
    looked_at = awake(network, images)
    parts = min(PARTS, len(images))
    found = [
        gradients(looked_at, some, of_them)
        for some, of_them in zip(images.tensor_split(parts), labels.tensor_split(parts), strict=True)
    ]
    total = -math.inf
    for name in found[0]:
        layer = consistency(torch.stack([part[name] for part in found]).abs().flatten(1).double())
        if layer > 0:
            total = math.log(layer) + (total if math.isfinite(total) else 0.0)
    return total


def consistency(sizes: Tensor) -> float:
    """Sum over weights of mean / standard deviation of the sizes of their gradients, (parts, weights)."""
    mean, deviation = sizes.mean(0), sizes.std(0, correction=0)
    varies = deviation > 0
    return float((mean[varies] / deviation[varies]).sum())
