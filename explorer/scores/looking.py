"""What scores have in common: a copy to work on, and a way to see or replace operators inside its forward pass."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

ACTIVATIONS = (F.relu, torch.relu, F.gelu)  # as blocks call them; nn.ReLU and nn.GELU call the same
NORMS = (F.batch_norm, F.layer_norm, F.group_norm, torch.group_norm)
GATES = (torch.sigmoid, Tensor.sigmoid)

Operator = Callable[..., Any]


class Replacing(TorchFunctionMode):
    """Within it torch's operators are replaced: `replacements[operator](*what it is called with)` is called instead.

    Hooks see modules alone; our blocks call activations and attention as functions, in forward passes of their own.
    """

    def __init__(self, replacements: Mapping[Operator, Operator]) -> None:
        super().__init__()
        self.replacements = dict(replacements)

    def __torch_function__(
        self, func: Operator, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return self.replacements.get(func, func)(*args, **(kwargs or {}))


def untouched(network: nn.Module) -> nn.Module:
    """A copy in eval mode, so that nothing of the network changes and drop path and dropout draw nothing."""
    made = copy.deepcopy(network).eval()
    made.zero_grad(set_to_none=True)
    for parameter in made.parameters():
        parameter.requires_grad_(True)
    return made


@torch.no_grad()
def awake(network: nn.Module, images: Tensor) -> nn.Module:
    """A copy as the first step of training would find it, had its branches begun open, in eval mode.

    A BatchNorm whose weight starts at 0 silences its residual branch, and all that is in it; its weight becomes 1. The
    statistics of every BatchNorm are those of the images, so that parts of them can be passed through, even one.
    """
    made = untouched(network)
    norms = [module for module in made.modules() if isinstance(module, _BatchNorm)]
    for norm in norms:
        if norm.weight is not None and not norm.weight.any():
            nn.init.ones_(norm.weight)
        norm.momentum = 1.0  # statistics are replaced, not averaged with those of nothing
        norm.train()
    made(images)
    return made.eval()


def gradients(network: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """The cross-entropy's gradient for every weight of convolutions and linear layers, by the module's name."""
    weights = {
        name: module.weight for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)
    }
    loss = F.cross_entropy(network(images), labels)
    found = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
    return {name: grad for name, grad in zip(weights, found, strict=True) if grad is not None}
