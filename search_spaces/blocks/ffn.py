"""The feed-forward network of a block, (B, C, H, W) -> the same shape."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.architecture import Stage
from search_spaces.blocks.conv_bn import ConvBN

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "relu": F.relu,
}  # exact GELU, as both papers' code


class MLP(nn.Module):
    """LayerNorm, linear C -> rC, activation, linear rC -> C on tokens (Swin, section 3.1)."""

    def __init__(self, width: int, hidden: int, activation: str) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x.permute(0, 2, 3, 1))  # (B, H, W, C), a view
        x = self.fc2(ACTIVATIONS[self.activation](self.fc1(x)))
        return x.permute(0, 3, 1, 2)


class ConvFFN(nn.Module):
    """1x1 ConvBN C -> rC, activation, 1x1 ConvBN rC -> C (SHViT, section 3.3)."""

    def __init__(self, width: int, hidden: int, activation: str, bn_weight: float = 0.0) -> None:
        super().__init__()
        self.fc1 = ConvBN(width, hidden)
        self.fc2 = ConvBN(hidden, width, bn_weight=bn_weight)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(ACTIVATIONS[self.activation](self.fc1(x)))


def build_ffn(stage: Stage) -> nn.Module:
    """The FFN that belongs to a stage's norm."""
    kind = MLP if stage.norm == "layer" else ConvFFN
    return kind(stage.width, stage.hidden, stage.activation)
