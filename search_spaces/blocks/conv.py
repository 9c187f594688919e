"""Depthwise convolutions: the local residual of a block, and the `conv` mixer; (B, C, H, W) -> the same shape."""

from __future__ import annotations

from torch import Tensor, nn

from search_spaces.architecture import ConvMixer, Stage
from search_spaces.blocks.conv_bn import ConvBN


class NormedConv(nn.Module):
    """LayerNorm over channels, then a depthwise convolution with bias."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.conv = depthwise(width, kernel)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.conv(x)


def depthwise(width: int, kernel: int) -> nn.Conv2d:
    """A depthwise convolution with bias that keeps the map's size."""
    return nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)


def build_local(stage: Stage) -> nn.Module:
    """The body of the local residual: 3x3, with BatchNorm (SHViT) or bare with bias (CMT, section 3.3)."""
    if stage.norm == "layer":
        return depthwise(stage.width, 3)
    return ConvBN(stage.width, stage.width, 3, groups=stage.width, bn_weight=0)


def build_conv(stage: Stage, mixer: ConvMixer) -> nn.Module:
    """The body of a depthwise token mixer."""
    if stage.norm == "layer":
        return NormedConv(stage.width, mixer.kernel)
    return ConvBN(stage.width, stage.width, mixer.kernel, groups=stage.width, bn_weight=0)
