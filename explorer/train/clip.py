"""Gradients kept within bounds, as a whole or unit by unit."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from explorer.train.recipe import Recipe

LEAST = 1e-3  # norm that a unit's weights count for at least: zero weights are to move, too


def clip(parameters: Iterable[nn.Parameter], recipe: Recipe) -> None:
    """Bound the gradients in place, as the recipe says; nothing is read from the device."""
    if recipe.clip_adaptive:
        clip_adaptive(parameters, recipe.clip_adaptive)
    elif recipe.clip_norm:
        nn.utils.clip_grad_norm_(parameters, recipe.clip_norm)


@torch.no_grad()
def clip_adaptive(parameters: Iterable[nn.Parameter], share: float) -> None:
    """Shrink each unit's gradient to at most `share` of the norm of its weights (Brock et al. 2021, equation 3)."""
    for parameter in parameters:
        if parameter.grad is not None:
            most = unit_norm(parameter).clamp(min=LEAST) * share
            parameter.grad.mul_((most / unit_norm(parameter.grad).clamp(min=1e-6)).clamp(max=1))


def unit_norm(weights: Tensor) -> Tensor:
    """Norm of the weights of each output (out, 1, ...); of all of them where they have one axis or none."""
    if weights.ndim <= 1:
        return torch.linalg.vector_norm(weights)
    return torch.linalg.vector_norm(weights, dim=tuple(range(1, weights.ndim)), keepdim=True)
