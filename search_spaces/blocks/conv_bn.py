"""Convolutions and linear layers whose BatchNorm folds into them for inference."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

LayerT = TypeVar("LayerT", nn.Conv2d, nn.Linear)


class ConvBN(nn.Module):
    """Convolution without bias, then BatchNorm: (B, C, H, W) -> (B, C', ceil(H / stride), ceil(W / stride))."""

    def __init__(
        self, width: int, out_width: int, kernel: int = 1, stride: int = 1, groups: int = 1, bn_weight: float = 1.0
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, out_width, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(out_width)
        nn.init.constant_(self.bn.weight, bn_weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))

    def folded(self) -> nn.Conv2d:
        """The one convolution, with bias, that equals this in eval mode."""
        weight, bias = fold_bn(self.conv.weight, self.bn)
        return conv_like(self.conv, weight, bias)


class LinearBN(nn.Module):
    """Linear layer without bias, then BatchNorm over all tokens: (..., C) -> (..., C') (LeViT, section 4)."""

    def __init__(self, width: int, out_width: int, bn_weight: float = 1.0) -> None:
        super().__init__()
        self.linear = nn.Linear(width, out_width, bias=False)
        self.bn = nn.BatchNorm1d(out_width)
        nn.init.constant_(self.bn.weight, bn_weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x)
        return self.bn(x.flatten(0, -2)).view_as(x)

    def folded(self) -> nn.Linear:
        """The one linear layer, with bias, that equals this in eval mode."""
        weight, bias = fold_bn(self.linear.weight, self.bn)
        linear = nn.Linear(weight.shape[1], weight.shape[0], device=weight.device, dtype=weight.dtype)
        return with_weights(linear, weight, bias)


def linear(norm: str, width: int, out_width: int, bn_weight: float = 1.0) -> nn.Linear | LinearBN:
    """The projection of tokens that belongs to a stage's norm: biased after a LayerNorm, or with its BatchNorm."""
    return nn.Linear(width, out_width) if norm == "layer" else LinearBN(width, out_width, bn_weight)


@torch.no_grad()
def fold_bn(weight: Tensor, bn: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """(weight, bias) of the layer whose outputs `bn` then normalises by its running statistics."""
    scale, shift = scale_and_shift(bn)
    return weight * scale.view(-1, *[1] * (weight.ndim - 1)), shift


@torch.no_grad()
def scale_and_shift(bn: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """(C,) factor and summand that `bn` is in eval mode."""
    assert bn.running_mean is not None
    assert bn.running_var is not None
    scale = bn.weight / torch.sqrt(bn.running_var + bn.eps)
    return scale, bn.bias - bn.running_mean * scale


@torch.no_grad()
def add_identity(conv: nn.Conv2d) -> nn.Conv2d:
    """The depthwise convolution that equals x + conv(x): its centre taps are one higher."""
    weight = conv.weight.clone()
    weight[:, :, weight.shape[2] // 2, weight.shape[3] // 2] += 1
    assert conv.bias is not None
    return conv_like(conv, weight, conv.bias)


def conv_like(conv: nn.Conv2d, weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """A convolution of the same geometry with other weights, and a bias."""
    copy = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        conv.stride,  # type: ignore[arg-type]
        conv.padding,  # type: ignore[arg-type]
        groups=conv.groups,
        device=weight.device,
        dtype=weight.dtype,
    )
    return with_weights(copy, weight, bias)


def with_weights(layer: LayerT, weight: Tensor, bias: Tensor) -> LayerT:
    """The layer with these weights, in eval mode."""
    layer.weight = nn.Parameter(weight.detach().clone())
    layer.bias = nn.Parameter(bias.detach().clone())
    return layer.eval()
