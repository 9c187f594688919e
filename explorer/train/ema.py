"""The moving average of a network's weights, which is often the better network."""

from __future__ import annotations

import copy

import torch
from torch import nn

from explorer.train.recipe import Recipe
from explorer.train.schedule import ema_decay


class Average:
    """A second network whose weights follow those of the first (Polyak and Juditsky 1992).

    The first must keep its tensors, as optimizers and `load_state_dict` do: they are looked up once.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        pairs = list(zip(self.network.state_dict().values(), network.state_dict().values(), strict=True))
        self._smooth = [pair for pair in pairs if pair[0].is_floating_point()]
        self._counts = [pair for pair in pairs if not pair[0].is_floating_point()]  # batches that BatchNorm has seen

    @torch.no_grad()
    def update(self, recipe: Recipe, step: int) -> None:
        """Move towards the first network's weights and statistics after its `step`-th step, counted from 0."""
        averages, values = zip(*self._smooth, strict=True)
        torch._foreach_lerp_(averages, values, 1 - ema_decay(recipe, step))
        for average, value in self._counts:
            average.copy_(value)
