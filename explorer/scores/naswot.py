"""NASWOT: how differently a network sees different images (Mellor et al. 2021, arXiv 2006.04647)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from explorer.scores.looking import ACTIVATIONS, Operator, Replacing, awake

CHUNK = 2**20  # units whose agreements are counted at once, exactly in float32


def naswot(network: nn.Module, images: Tensor, labels: Tensor | None = None) -> float:
    """ln |det K|, K[i, j] the number of activation units that are on, or off, for both images i and j.

    A unit is on where what enters its ReLU or GELU is above 0; the paper's networks have ReLUs alone. Codes are those
    of the activations of the whole network, with BatchNorm's statistics of the images. -inf where two images have one
    code, or nothing is activated.
    """
    count = len(images)
    kernel = torch.zeros(count, count, dtype=torch.float64, device=images.device)

    def coding(activation: Operator) -> Operator:
        def seen(x: Tensor, *args: object, **how: object) -> Tensor:
            nonlocal kernel
            kernel = kernel + agreements(x.reshape(count, -1) > 0)
            found: Tensor = activation(x, *args, **how)
            return found

        return seen

    looked_at = awake(network, images)
    with torch.no_grad(), Replacing({activation: coding(activation) for activation in ACTIVATIONS}):
        looked_at(images)
    return log_determinant(kernel)


def agreements(codes: Tensor) -> Tensor:
    """(B, B) float64, in how many of its units each image agrees with each other: (B, units) bool codes."""
    total = torch.zeros(len(codes), len(codes), dtype=torch.float64, device=codes.device)
    for part in codes.split(CHUNK, dim=1):
        signs = part.float() * 2 - 1  # a product of signs is agreements less disagreements
        total += ((signs @ signs.T).double() + part.shape[1]) / 2
    return total


def log_determinant(kernel: Tensor) -> float:
    """ln |det| of a symmetric matrix; -inf where it is singular, rounding aside."""
    found = torch.linalg.slogdet(kernel.cpu())
    rank = torch.linalg.matrix_rank(kernel.cpu(), hermitian=True)
    return float(found.logabsdet) if int(rank) == len(kernel) else -math.inf
