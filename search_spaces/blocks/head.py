"""From the last map to logits: (B, C, H, W) -> (B, classes)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces.blocks.conv_bn import scale_and_shift, with_weights


class LayerNormHead(nn.Module):
    """LayerNorm on tokens, their mean, linear (Swin)."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc = nn.Linear(width, classes)

    def pooled(self, x: Tensor) -> Tensor:
        """(B, C), what the classifier sees."""
        return self.norm(x.permute(0, 2, 3, 1)).mean((1, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pooled(x))


class BatchNormHead(nn.Module):
    """Mean over tokens, BatchNorm, linear (SHViT)."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.norm: nn.Module = nn.BatchNorm1d(width)
        self.fc = nn.Linear(width, classes)

    def pooled(self, x: Tensor) -> Tensor:
        """(B, C), what the classifier sees."""
        return self.norm(x.mean((2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pooled(x))

    @torch.no_grad()
    def folded(self) -> nn.Module:
        """The same with the BatchNorm inside the linear layer."""
        bn, fc = self.norm, self.fc
        if isinstance(bn, nn.BatchNorm1d) and isinstance(fc, nn.Linear):
            scale, shift = scale_and_shift(bn)
            self.norm, self.fc = nn.Identity(), with_weights(fc, fc.weight * scale, fc.bias + fc.weight @ shift)
        return self


HEADS: dict[str, type[LayerNormHead] | type[BatchNormHead]] = {"layer": LayerNormHead, "batch": BatchNormHead}
