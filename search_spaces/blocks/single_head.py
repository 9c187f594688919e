"""Single-head self-attention over part of the channels (SHViT, section 3.2), (B, C, H, W) -> the same shape."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.blocks.conv_bn import ConvBN
from search_spaces.blocks.ffn import ACTIVATIONS


class JointNorm(nn.GroupNorm):
    """GroupNorm with one group over channels and map, also of a single value, which nn.GroupNorm refuses."""

    def __init__(self, width: int) -> None:
        super().__init__(1, width)

    def forward(self, x: Tensor) -> Tensor:
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


class SingleHeadAttention(nn.Module):
    """The first `partial` channels attend among all tokens, the others pass; activation, projection over all.

    In a BatchNorm stage as published: GroupNorm with one group over the attending channels, then Conv-BN. In a
    LayerNorm stage the norm comes before the split, and the projections carry biases instead.
    """

    def __init__(self, width: int, partial: int, qk_dim: int, norm: str, activation: str) -> None:
        super().__init__()
        self.split = [partial, width - partial]
        self.qkv_split = [qk_dim, qk_dim, partial]
        self.activation = activation
        self.per_token = norm == "layer"
        self.norm: nn.Module = nn.LayerNorm(width) if self.per_token else JointNorm(partial)
        self.qkv: nn.Module
        self.proj: nn.Module
        if self.per_token:
            self.qkv = nn.Conv2d(partial, 2 * qk_dim + partial, 1)
            self.proj = nn.Conv2d(width, width, 1)
        else:
            self.qkv = ConvBN(partial, 2 * qk_dim + partial)
            self.proj = ConvBN(width, width, bn_weight=0)

    def forward(self, x: Tensor) -> Tensor:
        if self.per_token:
            x = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            attending, passing = x.split(self.split, 1)
        else:
            attending, passing = x.split(self.split, 1)
            attending = self.norm(attending)
        b, p, h, w = attending.shape
        qkv = self.qkv(attending).permute(0, 2, 3, 1).reshape(b, 1, h * w, -1)  # one head, tokens row-major
        q, k, v = qkv.split(self.qkv_split, -1)
        attended = F.scaled_dot_product_attention(q, k, v)  # (B, 1, H W, p), scale qk_dim ** -0.5
        attended = attended.view(b, h, w, p).permute(0, 3, 1, 2)
        return self.proj(ACTIVATIONS[self.activation](torch.cat([attended, passing], 1)))
