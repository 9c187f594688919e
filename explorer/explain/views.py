"""What each block of a network looks at in one image: attention of query tokens, distances, activations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from explorer.explain.attention import Attention, output_of, read_attention
from explorer.explain.lattice import Floats, Lattice
from search_spaces.blocks.global_attention import GlobalAttention
from search_spaces.blocks.network import Network
from search_spaces.blocks.single_head import SingleHeadAttention
from search_spaces.blocks.window import Grid, WindowAttention

Query = tuple[int, int]  # row and column of a pixel
ATTENTION = (WindowAttention, GlobalAttention, SingleHeadAttention)
OnBlock = Callable[[int, int], None]  # (blocks done, blocks in all)


@dataclass(frozen=True)
class Heat:
    """What one query token attends to, on the map of its stage."""

    row: int  # of the token
    column: int
    weights: Floats  # (heads, h, w), each head's sum is 1
    reach: NDArray[np.int8]  # (h, w) 1: may be attended to; -1: in the same window, but masked; 0: beyond it


@dataclass(frozen=True)
class BlockView:
    """One block on one image; `heats` has one entry a query, and none where the block has no attention."""

    stage: int
    block: int
    magnitude: Floats  # (h, w) mean over channels of the block's absolute outputs
    grid: Grid | None = None  # of its windows
    heats: tuple[Heat, ...] = ()
    distance_px: tuple[float, ...] = ()  # of each head: mean over queries of the attention-weighted distance, pixels
    uniform_px: float = 0.0  # the same of a head that attends equally to all that it may
    error: float = 0.0  # the mixer's output less the one rebuilt from this attention: largest, over the largest output

    @property
    def shifted(self) -> bool:
        return self.grid is not None and bool(self.grid.shift_h or self.grid.shift_w)


def look(
    network: Network,
    image: Tensor,
    lattices: tuple[Lattice, ...],
    queries: tuple[Query, ...],
    on_block: OnBlock | None = None,
) -> list[list[BlockView]]:
    """The views of every block, stage by stage, of a network in eval mode on an image (1, channels, S, S)."""
    blocks = [list(stage.blocks) for stage in network.stages]  # type: ignore[arg-type]
    of = sum(map(len, blocks))
    views: list[list[BlockView]] = [[] for _ in blocks]
    read: list[tuple[Attention, float]] = []  # of the block under way

    def after_mixer(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        attention = read_attention(module, inputs[0])
        difference = (output_of(module, inputs[0], attention) - output).abs().max()
        read.append((attention, float(difference / output.abs().max().clamp(min=1e-12))))

    def after_block(stage: int) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            magnitude = output[0].abs().mean(0).double().numpy()
            view = BlockView(stage, len(views[stage]), magnitude)
            if read:
                attention, error = read.pop()
                view = _with_attention(view, attention, error, lattices[stage], queries)
            views[stage].append(view)
            if on_block is not None:
                on_block(sum(map(len, views)), of)

        return keep

    hooks = []
    for stage, parts in enumerate(blocks):
        for part in parts:
            mixers = (module for module in part.modules() if isinstance(module, ATTENTION))
            hooks += [mixer.register_forward_hook(after_mixer) for mixer in mixers]
            hooks.append(part.register_forward_hook(after_block(stage)))
    try:
        with torch.inference_mode():
            network(image)
    finally:
        for hook in hooks:
            hook.remove()
    return views


def _with_attention(
    view: BlockView, attention: Attention, error: float, lattice: Lattice, queries: tuple[Query, ...]
) -> BlockView:
    heats = []
    for pixel_row, pixel_column in queries:
        row, column = lattice.token(pixel_row), lattice.token(pixel_column)
        weights, reach = attention.of(row, column)
        heats.append(Heat(row, column, weights.double().numpy(), reach.numpy()))
    distances, uniform = mean_distance(attention, lattice.stride)
    return BlockView(view.stage, view.block, view.magnitude, attention.grid, tuple(heats), distances, uniform, error)


def mean_distance(attention: Attention, stride: int) -> tuple[tuple[float, ...], float]:
    """(pixels a head, pixels of uniform attention): mean attention distance (Raghu et al. 2021, section 3).

    Each query's distances to all keys, weighted by its attention and averaged over the queries, where tokens lie on
    the image: across the seam of a shifted window they are far apart, and masked.
    """
    total = torch.zeros(attention.heads, dtype=torch.float64)
    uniform, queries = 0.0, 0
    rows, columns = attention.places // attention.w, attention.places % attention.w
    for window, part in attention.parts():
        real = attention.places[window, part] >= 0
        if not real.any():
            continue
        down = rows[window, part][real][:, None] - rows[window]
        right = columns[window, part][real][:, None] - columns[window]
        seen = attention.seen(window, part)[real]
        far = torch.hypot(down.double(), right.double()) * stride * seen  # (queries, N)
        total += (attention.weights(window, part)[:, real].double() * far).sum((1, 2))
        uniform += float((far.sum(1) / seen.sum(1)).sum())
        queries += int(real.sum())
    return tuple((total / queries).tolist()), uniform / queries
