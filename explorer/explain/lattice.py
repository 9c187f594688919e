"""Where a stage's tokens lie on the image, and maps of tokens drawn smoothly over its pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_spaces.architecture import Architecture, PatchStem

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Lattice:
    """side x side tokens, `stride` pixels apart, the first centred `first` pixels from the image's edge, on an image
    of `size` x `size` pixels.

    A patch covers the pixels that it is made of. A token of a 3x3 convolution with stride 2 and padding 1 is centred
    on the first of its two pixels: the lattice of SHViT begins half a pixel from the edge, whatever its stride.
    """

    side: int
    stride: int
    first: float
    size: int

    def edge(self, index: float) -> float:
        """Pixels from the image's edge to where token `index` begins; may lie outside the image."""
        return self.first + (index - 0.5) * self.stride

    def token(self, pixel: float) -> int:
        """The row or column of tokens that covers a pixel."""
        return min(self.side - 1, max(0, int((pixel + 0.5 - self.first) / self.stride + 0.5)))

    def centre(self, index: int) -> float:
        """Pixels from the image's edge to the middle of a token, at most the image's own."""
        return min(self.size - 0.5, max(0.5, self.first + index * self.stride))


def lattices(architecture: Architecture) -> tuple[Lattice, ...]:
    """The lattice of each stage."""
    stride: int = architecture.stem.stride
    first = stride / 2 if isinstance(architecture.stem, PatchStem) else 0.5
    found = [Lattice(architecture.maps[0], stride, first, architecture.image_size)]
    for stage, side in zip(architecture.stages[1:], architecture.maps[1:], strict=True):
        if stage.downsample == "patch_merging":
            first += stride / 2  # the middle of two tokens
        stride *= 2
        found.append(Lattice(side, stride, first, architecture.image_size))
    return tuple(found)


@dataclass(frozen=True)
class Box:
    """A square part of an image, pixels."""

    left: float
    top: float
    side: float


def smooth(
    values: Floats, lattice: Lattice, pixels: int, within: NDArray[np.bool_] | None = None, box: Box | None = None
) -> Floats:
    """(pixels, pixels) of a map of tokens (side, side) over a part of the image; NaN beyond the tokens `within`.

    Between two tokens it goes from one's value to the other's along 3 t^2 - 2 t^3: at each token's centre it has the
    token's own value, and nowhere is it higher than the highest. Nothing flows in from beyond `within`.
    """
    box = box or Box(0, 0, lattice.size)
    (down, row), (right, column) = (_spread(lattice, start, box.side, pixels) for start in (box.top, box.left))
    if within is None:
        return down @ values @ right.T
    drawn: Floats = np.full((pixels, pixels), np.nan)
    covered = down @ within.astype(float) @ right.T
    inside = within[np.ix_(row, column)]
    np.divide(down @ np.where(within, values, 0.0) @ right.T, covered, out=drawn, where=inside)
    return drawn


def _spread(lattice: Lattice, start: float, length: float, pixels: int) -> tuple[Floats, NDArray[np.int64]]:
    """(pixels, side) shares of the tokens in each pixel along one axis, and (pixels,) the nearest token."""
    x = start + (np.arange(pixels) + 0.5) * length / pixels
    at = np.clip((x - lattice.first) / lattice.stride, 0, lattice.side - 1)
    low = np.minimum(at.astype(int), max(0, lattice.side - 2))
    t = at - low
    shares = np.zeros((pixels, lattice.side))
    shares[np.arange(pixels), low] = 1 - (3 * t**2 - 2 * t**3)
    shares[np.arange(pixels), np.minimum(low + 1, lattice.side - 1)] += 3 * t**2 - 2 * t**3
    return shares, (at + 0.5).astype(np.int64)
