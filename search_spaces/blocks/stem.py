"""From the image to the first map of tokens: (B, channels, H, W) -> (B, C, ceil(H / stride), ceil(W / stride))."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.architecture import Architecture, PatchStem
from search_spaces.blocks.conv_bn import ConvBN


class Position(nn.Module):
    """Adds a learned absolute position embedding, made for one map and interpolated (bicubic) to others."""

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.empty(1, width, side, side))
        nn.init.trunc_normal_(self.embedding, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        embedding: Tensor = self.embedding
        if embedding.shape[2:] != x.shape[2:]:
            embedding = F.interpolate(embedding, x.shape[2:], mode="bicubic", align_corners=False)
        return x + embedding


class Patches(nn.Module):
    """Patch embedding: one convolution with kernel = stride, with bias, and LayerNorm (Swin, section 3.1)."""

    def __init__(self, channels: int, width: int, stride: int, norm: str) -> None:
        super().__init__()
        self.stride = stride
        self.proj = nn.Conv2d(channels, width, stride, stride)
        self.norm = nn.LayerNorm(width) if norm == "layer" else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        short_h, short_w = -x.shape[2] % self.stride, -x.shape[3] % self.stride
        if short_h or short_w:
            x = F.pad(x, (0, short_w, 0, short_h))
        x = self.proj(x)
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvSteps(nn.Module):
    """Overlapping 3x3 stride-2 Conv-BN steps, widths C/8, C/4, C/2, C, ReLU between them (SHViT, section 3.1)."""

    def __init__(self, channels: int, widths: list[int]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(ConvBN(a, b, 3, 2) for a, b in pairwise([channels, *widths]))

    def forward(self, x: Tensor) -> Tensor:
        for i, step in enumerate(self.steps):
            x = step(x if i == 0 else F.relu(x))
        return x


def build_stem(architecture: Architecture) -> nn.Sequential:
    """The stem as `embed`, and `position` where the architecture has one."""
    stem, width = architecture.stem, architecture.stages[0].width
    parts = nn.Sequential()
    if isinstance(stem, PatchStem):
        parts.add_module("embed", Patches(architecture.in_channels, width, stem.stride, stem.norm))
    else:
        parts.add_module("embed", ConvSteps(architecture.in_channels, stem.widths(width)))
    if stem.position == "absolute":
        parts.add_module("position", Position(width, architecture.maps[0]))
    return parts
