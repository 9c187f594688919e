"""The learning rate and the moving average's decay, step by step."""

from __future__ import annotations

import math

from explorer.train.recipe import Recipe


def learning_rate(recipe: Recipe, epoch: float) -> float:
    """Linear from `warmup_lr` to the peak over the warm-up, then half a cosine to `min_lr`; `epoch` in fractions."""
    peak = recipe.peak_lr()
    if epoch < recipe.warmup_epochs:
        first = min(recipe.warmup_lr, peak)
        return first + (peak - first) * epoch / recipe.warmup_epochs
    progress = (epoch - recipe.warmup_epochs) / (recipe.epochs - recipe.warmup_epochs)
    last = min(recipe.min_lr, peak)
    return last + (peak - last) * 0.5 * (1 + math.cos(math.pi * progress))


def ema_decay(recipe: Recipe, step: int) -> float:
    """Decay after `step` steps: from 0, towards `ema_decay`, which a short training never reaches.

    As timm's ModelEmaV3: an average that began with its final decay would remember the random weights for long.
    """
    return min(recipe.ema_decay, 1 - (1 + step) ** (-2 / 3))
