"""Window attention with cyclic shift and relative position bias (Swin, section 3.2), (B, C, H, W) -> the same shape.

Where the published implementations differ or fail: a window larger than the map shrinks to it, and then does not
shift, along that axis; a map that the window does not divide is padded at the bottom and right first, then rolled,
and the padded keys are masked.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.blocks.conv_bn import linear
from search_spaces.blocks.global_attention import attend

MASKED = -100.0  # as published: finite, so that a window of padding alone stays free of NaN


class Grid(NamedTuple):
    """How windows lie on a map of h x w tokens."""

    h: int
    w: int
    window_h: int
    window_w: int
    shift_h: int
    shift_w: int

    @property
    def padded(self) -> tuple[int, int]:
        return -(-self.h // self.window_h) * self.window_h, -(-self.w // self.window_w) * self.window_w


def grid_of(h: int, w: int, size: int, shift: int) -> Grid:
    """The grid of windows of `size` on a map of h x w: shrunk to the map, unshifted where one window spans it."""
    return Grid(h, w, min(size, h), min(size, w), 0 if size >= h else shift, 0 if size >= w else shift)


class WindowAttention(nn.Module):
    """Norm (where the stage has LayerNorm), qkv, attention within windows, projection.

    Made for a map of side x side tokens, for which index and mask are computed once; other maps work, too.
    """

    def __init__(
        self, width: int, heads: int, size: int, shift: int, side: int, norm: str, relative_position_bias: bool
    ) -> None:
        super().__init__()
        self.heads, self.size, self.shift = heads, size, shift
        self.norm = nn.LayerNorm(width) if norm == "layer" else nn.Identity()
        self.qkv = linear(norm, width, 3 * width)
        self.proj = linear(norm, width, width, bn_weight=0)
        table = nn.Parameter(torch.empty((2 * size - 1) ** 2, heads)) if relative_position_bias else None
        self.relative_position_bias_table = table
        if table is not None:
            nn.init.trunc_normal_(table, std=0.02)
        self.grid = grid_of(side, side, size, shift)
        self.register_buffer("index", None, False)
        self.register_buffer("mask", None, False)
        self.register_buffer("bias", None, False)  # index and mask applied to the table, once it is final
        self.compute_geometry()
        self.register_load_state_dict_post_hook(_gather_again)  # type: ignore[no-untyped-call]

    index: Tensor | None
    mask: Tensor | None
    bias: Tensor | None

    def compute_geometry(self) -> None:
        """Set index and mask anew, which no state dict holds: for who builds without memory and then fills it."""
        weight, table = next(self.parameters()), self.relative_position_bias_table
        self.index = None if table is None else relative_position_index(self.grid, self.size).to(weight.device)
        mask = attention_mask(self.grid)
        self.mask = None if mask is None else mask.to(weight.device, weight.dtype)

    def forward(self, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        grid = grid_of(h, w, self.size, self.shift)
        tokens = self.norm(x.permute(0, 2, 3, 1))  # (B, H, W, C), a view
        windows = partition(tokens, grid)  # (B * windows, N, C)
        bias = self.attention_bias(grid)
        if bias is not None and bias.shape[0] > 1:
            bias = bias.expand(b, *bias.shape).flatten(0, 1)
        windows = self.proj(attend(self.qkv(windows), self.heads, bias))
        return reverse(windows, grid, b).permute(0, 3, 1, 2)

    def attention_bias(self, grid: Grid) -> Tensor | None:
        """What is added to the scores, (windows or 1, heads or 1, N, N); None if nothing is."""
        table = self.relative_position_bias_table
        index, mask, bias = self.index, self.mask, self.bias
        if grid != self.grid:
            weight = self.proj.weight if isinstance(self.proj, nn.Linear) else self.proj.linear.weight
            index, mask, bias = *geometry(grid, self.size, weight.device, weight.dtype), None
        if bias is not None:
            return bias
        if table is None:
            return None if mask is None else mask.unsqueeze(1)
        assert index is not None
        n = grid.window_h * grid.window_w
        bias = table[index.flatten()].view(n, n, self.heads).permute(2, 0, 1).unsqueeze(0)  # (1, heads, N, N)
        return bias if mask is None else bias + mask.unsqueeze(1)

    @torch.no_grad()
    def folded(self) -> WindowAttention:
        """The same with its bias gathered for good on the map that it was made for."""
        self.bias = None
        bias = self.attention_bias(self.grid)
        self.bias = None if bias is None else bias.contiguous()
        return self

    def train(self, mode: bool = True) -> WindowAttention:
        if mode:
            self.bias = None  # the table may change
        return super().train(mode)


def _gather_again(attention: WindowAttention, _: object) -> None:
    derived = [one for one in (attention.index, attention.mask) if one is not None]
    if any(one.is_meta for one in derived):  # built without memory, which the weights now have
        attention.compute_geometry()
    if attention.bias is not None:
        attention.folded()  # of the table that was just loaded


def partition(x: Tensor, grid: Grid) -> Tensor:
    """(B, H, W, C) -> (B * windows, window_h * window_w, C), windows row-major, after padding and the cyclic shift."""
    b, h, w, c = x.shape
    ph, pw = grid.padded
    if (ph, pw) != (h, w):
        x = F.pad(x, (0, 0, 0, pw - w, 0, ph - h))
    if grid.shift_h or grid.shift_w:
        x = torch.roll(x, (-grid.shift_h, -grid.shift_w), (1, 2))
    x = x.reshape(b, ph // grid.window_h, grid.window_h, pw // grid.window_w, grid.window_w, c)
    return x.transpose(2, 3).reshape(-1, grid.window_h * grid.window_w, c)


def reverse(windows: Tensor, grid: Grid, batch: int) -> Tensor:
    """The inverse of `partition`: (B * windows, N, C) -> (B, H, W, C)."""
    ph, pw = grid.padded
    rows, columns = ph // grid.window_h, pw // grid.window_w
    x = windows.reshape(batch, rows, columns, grid.window_h, grid.window_w, -1)
    x = x.transpose(2, 3).reshape(batch, ph, pw, -1)
    if grid.shift_h or grid.shift_w:
        x = torch.roll(x, (grid.shift_h, grid.shift_w), (1, 2))
    return x[:, : grid.h, : grid.w] if (ph, pw) != (grid.h, grid.w) else x


@lru_cache(maxsize=256)
def geometry(grid: Grid, size: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """(index, mask) of a map that a network was not made for, kept per shape."""
    with torch.inference_mode(False):  # kept tensors must serve training, too
        mask = attention_mask(grid)
        return relative_position_index(grid, size).to(device), None if mask is None else mask.to(device, dtype)


def relative_position_index(grid: Grid, size: int) -> Tensor:
    """(N, N) row of the (2 size - 1)^2 bias table for query i and key j; N tokens of a window, row-major."""
    h, w = torch.meshgrid(torch.arange(grid.window_h), torch.arange(grid.window_w), indexing="ij")
    h, w = h.flatten(), w.flatten()
    return (h[:, None] - h + size - 1) * (2 * size - 1) + (w[:, None] - w + size - 1)


def attention_mask(grid: Grid) -> Tensor | None:
    """(windows, N, N): -100 where query and key were no neighbours before the shift, or the key is padding."""
    ph, pw = grid.padded
    if not (grid.shift_h or grid.shift_w or (ph, pw) != (grid.h, grid.w)):
        return None
    bands = 3 * _bands(ph, grid.window_h, grid.shift_h)[:, None] + _bands(pw, grid.window_w, grid.shift_w)
    regions = partition(bands.view(1, ph, pw, 1), grid._replace(h=ph, w=pw, shift_h=0, shift_w=0))[..., 0]
    padding = partition(_padding(grid), grid._replace(h=ph, w=pw))[..., 0]  # (windows, N)
    apart = (regions[:, None, :] != regions[:, :, None]) | padding[:, None, :]
    return torch.zeros(apart.shape).masked_fill_(apart, MASKED)


def _padding(grid: Grid) -> Tensor:
    ph, pw = grid.padded
    return ((torch.arange(ph) >= grid.h)[:, None] | (torch.arange(pw) >= grid.w)).view(1, ph, pw, 1)


def _bands(length: int, window: int, shift: int) -> Tensor:
    """For each row after the shift the band it belongs to: [0, L - M), [L - M, L - s), [L - s, L)."""
    rows = torch.arange(length)
    return (rows >= length - window).long() + (rows >= length - shift).long() if shift else torch.zeros_like(rows)
