"""DSS of TF-TAS: how diverse attention's weights are, how salient the others (Zhou et al. 2022, arXiv 2203.12217)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from explorer.scores.looking import awake, gradients

ATTENTION = ("qkv", "proj")  # an attention's projections; also within a layer that carries its own BatchNorm


def dss(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """ln of the sum of attention's synaptic diversity and of all other layers' synaptic saliency.

    Diversity of a matrix is the product of its nuclear norm and of its gradient's, saliency of a layer the sum of
    |weight x gradient|, as in the paper. The paper takes gradients of a sum of logits for an image of ones through
    absolute weights; then all tokens are alike, a LayerNorm returns nothing, and every gradient of attention has rank
    one. Here they are of the cross-entropy of the images, through the weights as they are drawn. Convolutions count as
    the paper's MLPs do, so that it is defined for networks of any mixer, with attention or without.
    """
    looked_at = awake(network, images)
    attending = set(attention_layers(looked_at))
    weights = {
        name: module.weight.detach()
        for name, module in looked_at.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }
    total = 0.0
    for name, gradient in gradients(looked_at, images, labels).items():
        if name in attending:
            total += nuclear(weights[name]) * nuclear(gradient)
        else:
            total += float((weights[name] * gradient).abs().sum(dtype=torch.float64))
    return math.log(total) if total > 0 else -math.inf


def attention_layers(network: nn.Module) -> list[str]:
    """Names of the layers that make queries, keys and values, and of those that project what was attended."""
    return [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and _within(name, network)
    ]


def nuclear(weight: Tensor) -> float:
    """Sum of the singular values of a layer's weight as a matrix (out, in x taps)."""
    return float(torch.linalg.matrix_norm(weight.flatten(1).double(), ord="nuc"))


def _within(name: str, network: nn.Module) -> bool:
    """Whether a layer is the `qkv` or `proj` of a module that has both, or inside one of them."""
    parts = name.split(".")
    for end in range(len(parts)):
        if parts[end] in ATTENTION:
            owner = network.get_submodule(".".join(parts[:end]))
            if all(hasattr(owner, part) for part in ATTENTION):
                return True
    return False
