"""Attention as a block computes it: recomputed from the module's own weights, and placed on the map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search_spaces.blocks.ffn import ACTIVATIONS
from search_spaces.blocks.global_attention import GlobalAttention
from search_spaces.blocks.single_head import SingleHeadAttention
from search_spaces.blocks.window import Grid, WindowAttention, attention_mask, grid_of, partition, reverse

MOST = 2**24  # elements of attention held at once: 64 MiB in float32


@dataclass(frozen=True)
class Attention:
    """One image's attention in one block. Without windows the whole map is the one window, and N = h * w."""

    q: Tensor  # (windows, heads, N, d)
    k: Tensor  # (windows, heads, N, d)
    v: Tensor  # (windows, heads, N, d_v)
    bias: Tensor | None  # (windows or 1, heads or 1, N, N), relative position bias and mask
    mask: Tensor | None  # (windows, N, N), the mask alone: 0 where a query may attend
    places: Tensor  # (windows, N) row * w + column of each token on the map as it lies on the image; -1: padding
    h: int
    w: int
    grid: Grid | None  # of windows

    @property
    def heads(self) -> int:
        return self.q.shape[1]

    def weights(self, window: int, queries: slice | Tensor = slice(None)) -> Tensor:
        """(heads, queries, N): softmax(q k^T / sqrt(d) + bias) over the keys of one window."""
        scores = self.q[window, :, queries] @ self.k[window].transpose(-2, -1) * self.q.shape[-1] ** -0.5
        bias = self._bias(window)
        return (scores if bias is None else scores + bias[:, queries]).softmax(-1)

    def seen(self, window: int, queries: slice | Tensor = slice(None)) -> Tensor:
        """(queries, N) whether a query may attend to a key: neither masked nor padding."""
        places = self.places[window]
        allowed = (places >= 0).expand(len(places), -1)
        return (allowed if self.mask is None else allowed & (self.mask[window] == 0))[queries]

    def parts(self) -> Iterator[tuple[int, slice]]:
        """(window, queries) that cover all rows, so few at a time that their attention fits into memory."""
        windows, heads, n, _ = self.q.shape
        step = max(1, MOST // (heads * n))
        for window in range(windows):
            for first in range(0, n, step):
                yield window, slice(first, first + step)

    def attended(self) -> Tensor:
        """(windows, heads, N, d_v): attention @ v."""
        out = torch.empty_like(self.v)
        for window, queries in self.parts():
            out[window, :, queries] = self.weights(window, queries) @ self.v[window]
        return out

    def of(self, row: int, column: int) -> tuple[Tensor, Tensor]:
        """What the token at (row, column) attends to on the map: weights (heads, h, w), and (h, w) what it may see.

        The second is 1 where it may attend, -1 where its window reaches but the mask forbids, 0 beyond its window.
        """
        window, query = (int(i) for i in (self.places == row * self.w + column).nonzero()[0])
        index = torch.tensor([query])
        places, seen = self.places[window], self.seen(window, index)[0]
        real = places >= 0
        heat = self.q.new_zeros(self.heads, self.h * self.w)
        heat[:, places[real]] = self.weights(window, index)[:, 0, real]
        reach = torch.zeros(self.h * self.w, dtype=torch.int8)
        reach[places[real]] = torch.where(seen[real], 1, -1).to(torch.int8)
        return heat.view(-1, self.h, self.w), reach.view(self.h, self.w)

    def _bias(self, window: int) -> Tensor | None:
        return None if self.bias is None else self.bias[window if self.bias.shape[0] > 1 else 0]


def read_attention(module: nn.Module, x: Tensor) -> Attention:
    """The attention of a mixer in eval mode over its input (1, C, H, W)."""
    _, _, h, w = x.shape
    everywhere = torch.arange(h * w).view(1, -1)
    match module:
        case WindowAttention():
            grid = grid_of(h, w, module.size, module.shift)
            windows = partition(module.norm(x.permute(0, 2, 3, 1)), grid)  # (windows, N, C)
            q, k, v = _heads(module.qkv(windows), module.heads)
            # from 1 on, so that what the padding adds is told from the first token
            places = partition((everywhere + 1).view(1, h, w, 1), grid)[..., 0] - 1
            return Attention(q, k, v, module.attention_bias(grid), attention_mask(grid), places, h, w, grid)
        case GlobalAttention():
            tokens = module.norm(x.permute(0, 2, 3, 1)).reshape(1, h * w, -1)
            q, k, v = _heads(module.qkv(tokens), module.heads)
            return Attention(q, k, v, None, None, everywhere, h, w, None)
        case SingleHeadAttention():
            qkv = module.qkv(_split(module, x)[0]).permute(0, 2, 3, 1).reshape(1, 1, h * w, -1)
            q, k, v = qkv.split(module.qkv_split, -1)
            return Attention(q, k, v, None, None, everywhere, h, w, None)
        case _:
            raise TypeError(f"{type(module).__name__} has no attention to read")


def output_of(module: nn.Module, x: Tensor, attention: Attention) -> Tensor:
    """(1, C, H, W): what the mixer puts out if that is its attention; the proof that nothing was left out."""
    _, c, h, w = x.shape
    mixed = attention.attended()
    tokens = mixed.transpose(1, 2).flatten(2)  # (windows, N, heads * d_v)
    match module:
        case WindowAttention():
            assert attention.grid is not None
            return reverse(module.proj(tokens), attention.grid, 1).permute(0, 3, 1, 2)
        case GlobalAttention():
            return module.proj(tokens).view(1, h, w, c).permute(0, 3, 1, 2)
        case SingleHeadAttention():
            attended = tokens.view(1, h, w, -1).permute(0, 3, 1, 2)
            both = torch.cat([attended, _split(module, x)[1]], 1)
            return module.proj(ACTIVATIONS[module.activation](both))
        case _:
            raise TypeError(f"{type(module).__name__} has no attention to read")


def _heads(qkv: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """(windows, N, 3 C) split q|k|v, then heads -> three of (windows, heads, N, d)."""
    windows, n, _ = qkv.shape
    q, k, v = qkv.view(windows, n, 3, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    return q, k, v.contiguous()


def _split(module: SingleHeadAttention, x: Tensor) -> tuple[Tensor, Tensor]:
    """(attending, passing) channels, normed where and as the module does."""
    if module.per_token:
        attending, passing = module.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).split(module.split, 1)
        return attending, passing
    attending, passing = x.split(module.split, 1)
    return module.norm(attending), passing
