"""Crops, shifts, mirror images and affine maps of a batch, (B, 3, H, W) float32."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def resized_crop(images: Tensor, crop: Tensor, flip: Tensor | None) -> Tensor:
    """Each image's rectangle, resized to the whole image (bicubic), mirrored where `flip`.

    `crop` is (B, 4): top, left, height, width as shares of the side.
    """
    top, left, height, width = crop.unbind(1)
    across = width if flip is None else width.where(~flip, -width)
    matrix = images.new_zeros(len(images), 2, 3)
    matrix[:, 0, 0], matrix[:, 0, 2] = across, 2 * left + width - 1
    matrix[:, 1, 1], matrix[:, 1, 2] = height, 2 * top + height - 1
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, "bicubic", "border", align_corners=False).clamp(0, 255)


def moved(images: Tensor, shift: Tensor | None, flip: Tensor | None) -> Tensor:
    """Each image moved by (B, 2) whole pixels down and right, its border repeated, mirrored where `flip`."""
    if shift is None and flip is None:
        return images
    count, _, height, width = images.shape
    rows = torch.arange(height, device=images.device).expand(count, -1)  # (B, H)
    columns = torch.arange(width, device=images.device).expand(count, -1)  # (B, W)
    if shift is not None:
        rows = (rows - shift[:, :1]).clamp(0, height - 1)
        columns = (columns - shift[:, 1:]).clamp(0, width - 1)
    if flip is not None:
        columns = torch.where(flip[:, None], columns.flip(1), columns)
    each = torch.arange(count, device=images.device)[:, None, None]
    return images.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def affine(images: Tensor, matrix: Tensor, fill: Tensor) -> Tensor:
    """Each image under a map from the result's pixels to its own (bilinear); `fill` (3,) is what lies outside.

    `matrix` is (B, 2, 3) in pixels around the image's centre: x and y of the source for x, y, 1 of the result.
    """
    height, width = images.shape[2:]
    scale = images.new_tensor([width / 2, height / 2])
    grid_matrix = torch.cat([matrix[:, :, :2] * scale / scale[:, None], matrix[:, :, 2:] / scale[:, None]], 2)
    grid = F.affine_grid(grid_matrix, list(images.shape), align_corners=False)
    fill = fill[:, None, None]
    return F.grid_sample(images - fill, grid, "bilinear", "zeros", align_corners=False) + fill
