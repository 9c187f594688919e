"""SynFlow: how much flows from inputs to outputs through all paths (Tanaka et al. 2020, arXiv 2006.05467)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from explorer.scores.looking import ACTIVATIONS, GATES, NORMS, Operator, Replacing, untouched


def synflow(network: nn.Module, images: Tensor, labels: Tensor | None = None) -> float:
    """Natural logarithm of the sum of |weight x dR/dweight|, R being the sum of logits of one image of ones.

    Weights are taken absolute, in float64. The paper's network is linear then, and so is ours: norms pass their input
    on (a LayerNorm of equal values would return 0, a BatchNorm that starts at 0 would close its branch), activations
    too, gates are open, biases and tables of positions are 0, and attention, whose scores are then all equal, averages
    the values it may attend to; queries and keys count for nothing. Of the images only the shape is looked at.
    """
    linear = untouched(network).to(torch.float64)
    weights = [module.weight for module in linear.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    with torch.no_grad():
        kept = {id(weight) for weight in weights}
        for parameter in linear.parameters():
            if id(parameter) in kept:
                parameter.abs_()
            else:
                parameter.zero_()
    ones = torch.ones_like(images[:1], dtype=torch.float64)
    with Replacing(LINEAR):
        flow = linear(ones).sum()
    gradients = torch.autograd.grad(flow, weights, allow_unused=True)
    total = sum(
        float((weight.detach() * gradient).sum())
        for weight, gradient in zip(weights, gradients, strict=True)
        if gradient is not None
    )
    return math.log(total) if total > 0 else -math.inf


def _passed(x: Tensor, *_: Any, **__: Any) -> Tensor:
    return x


def _open(x: Tensor) -> Tensor:
    return torch.ones_like(x)


def _averaged(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, **_: Any) -> Tensor:
    """Attention without scores: (..., N, d), (..., M, d), (..., M, d') -> (..., N, d')."""
    scores = q.new_zeros(*q.shape[:-1], k.shape[-2])
    return (scores if attn_mask is None else scores + attn_mask.detach()).softmax(-1) @ v


LINEAR: dict[Operator, Operator] = {
    **dict.fromkeys((*ACTIVATIONS, *NORMS), _passed),
    **dict.fromkeys(GATES, _open),
    nn.functional.scaled_dot_product_attention: _averaged,
}
