"""Position tables for another window or image size: bicubic, as the official Swin code does for fine-tuning."""

from __future__ import annotations

from math import isqrt

from torch import Tensor
from torch.nn import functional as F


def resample_table(table: Tensor, size: int) -> Tensor:
    """The relative position bias table ((2 size - 1)^2, heads) for windows of size x size tokens.

    The old table's square of offsets is stretched over the new one's, per head.
    """
    old, side, heads = isqrt(table.shape[0]), 2 * size - 1, table.shape[1]
    if old == side:
        return table
    square = table.T.reshape(1, heads, old, old)
    return _bicubic(square, side).reshape(heads, side * side).T.contiguous()


def resample_embedding(embedding: Tensor, side: int) -> Tensor:
    """The absolute position embedding (1, C, side, side) of one of another map, (1, C, H, W)."""
    return embedding if embedding.shape[2:] == (side, side) else _bicubic(embedding, side)


def window_of(rows: int) -> int | None:
    """The window size in tokens whose bias table has this many rows, (2 size - 1)^2; None where none has."""
    side = isqrt(rows)
    return (side + 1) // 2 if side * side == rows and side % 2 else None


def _bicubic(maps: Tensor, side: int) -> Tensor:
    wide = maps if maps.dtype.itemsize >= 4 else maps.float()  # not every device interpolates halves
    return F.interpolate(wide, (side, side), mode="bicubic", align_corners=False).to(maps.dtype)
