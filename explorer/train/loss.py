"""What is minimised: cross entropy to soft labels, and to a teacher."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from explorer.train.recipe import Recipe


def loss(logits: Tensor, targets: Tensor, teacher: Tensor | None, recipe: Recipe) -> Tensor:
    """Mean over the batch; logits, targets, and the teacher's logits where there is one, are (B, classes)."""
    own = F.cross_entropy(logits.float(), targets)
    if teacher is None or recipe.distill == "none":
        return own
    taught = distillation(logits, teacher, hard=recipe.distill == "hard", temperature=recipe.temperature)
    return (1 - recipe.distill_weight) * own + recipe.distill_weight * taught


def distillation(logits: Tensor, teacher: Tensor, *, hard: bool, temperature: float = 1.0) -> Tensor:
    """How far the logits (B, classes) are from a teacher's, mean over the batch.

    Soft: the Kullback-Leibler divergence at a temperature, times its square (Hinton et al. 2015): gradients keep their
    size. Hard: cross entropy to the teacher's class (Touvron et al. 2021, equation 3).
    """
    logits, teacher = logits.float(), teacher.detach().float()
    if hard:
        return F.cross_entropy(logits, teacher.argmax(1))
    own, wanted = torch.log_softmax(logits / temperature, 1), torch.log_softmax(teacher / temperature, 1)
    return F.kl_div(own, wanted, reduction="batchmean", log_target=True) * temperature**2
