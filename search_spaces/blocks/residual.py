"""The residual branch, with stochastic depth, around every part of a block."""

from __future__ import annotations

from torch import Tensor, nn

from search_spaces.blocks.conv_bn import add_identity


class DropPath(nn.Module):
    """Drops a whole branch per image with probability `rate`, in training (Huang et al. 2016)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        keep = 1 - self.rate
        mask = x.new_empty(x.shape[0], *[1] * (x.ndim - 1)).bernoulli_(keep)
        return x * mask.div_(keep)

    def extra_repr(self) -> str:
        return f"{self.rate:.3f}"


class Residual(nn.Module):
    """x + body(x), (B, C, H, W) -> the same shape."""

    def __init__(self, body: nn.Module, drop_path: float = 0.0) -> None:
        super().__init__()
        self.body = body
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop_path(self.body(x))

    def folded(self) -> nn.Module:
        """The same with a folded body; a bare depthwise convolution takes the addition in, too."""
        body = self.body
        if isinstance(body, nn.Conv2d) and body.groups == body.in_channels == body.out_channels:
            return add_identity(body)
        return self
