"""Small square pictures of an image: windows on it, what a token attends to, how strong activations are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from explorer.explain.canvas import font, text_width
from explorer.explain.colours import BLUE, PAPER, VERMILION, heat_colours
from explorer.explain.lattice import Box, Floats, Lattice, smooth

if TYPE_CHECKING:
    from explorer.explain.views import Heat
    from search_spaces.blocks.window import Grid

FINER = 3  # lines are drawn that many times larger, and then reduced: smooth at any angle
HEAT_OPACITY = 0.82
HATCH = 7  # pixels between the lines of what is masked
PADDING = (236, 239, 242)


def resized(pixels: NDArray[np.uint8], size: int, box: Box | None = None) -> NDArray[np.uint8]:
    """(size, size, 3): smooth where it shrinks; where it grows by more than double, in squares, as the network sees."""
    box = box or Box(0, 0, len(pixels))
    how = Image.Resampling.NEAREST if size > 2 * box.side else Image.Resampling.LANCZOS
    part = (box.left, box.top, box.left + box.side, box.top + box.side)
    return np.asarray(Image.fromarray(pixels).resize((size, size), how, part))


def faded(pixels: NDArray[np.uint8], size: int, box: Box | None = None) -> NDArray[np.float64]:
    """The image in light grey, for colours to lie on."""
    grey = resized(pixels, size, box).astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    return np.repeat((135 + grey * 0.47)[..., None], 3, -1).clip(0, 255)


def heat_panel(
    pixels: NDArray[np.uint8],
    weights: Floats,
    heat: Heat,
    lattice: Lattice,
    size: int,
    mark: str,
    box: Box | None = None,
) -> Image.Image:
    """Attention (h, w) over the image, from 0 to its own highest; what is masked is hatched, the query marked.

    With a box only what is in it, enlarged.
    """
    box = box or Box(0, 0, lattice.size)
    drawn = smooth(weights, lattice, size, heat.reach > 0, box)
    image = _coloured(faded(pixels, size, box), drawn / max(float(weights.max()), 1e-12))
    if (heat.reach < 0).any():
        hatch(image, ~np.isnan(smooth(weights, lattice, size, heat.reach < 0, box)))
    if (heat.reach == 0).any():
        outline(image, ~np.isnan(smooth(weights, lattice, size, heat.reach != 0, box)))
    x, y = lattice.centre(heat.column) - box.left, lattice.centre(heat.row) - box.top
    return marked(image, x / box.side, y / box.side, mark)


def _coloured(grey: NDArray[np.float64], values: Floats) -> Image.Image:
    """Colours of values in 0..1 over a grey picture (S, S, 3), which stays legible; where they are NaN it is bare."""
    inside = ~np.isnan(values)
    colours = heat_colours(values[inside]) * HEAT_OPACITY + (1 - HEAT_OPACITY) * 235
    grey[inside] = (colours + (grey[inside] - grey[inside].mean()) * 0.35).clip(0, 255)
    return Image.fromarray(grey.astype(np.uint8))


def box_around(heat: Heat, lattice: Lattice) -> Box | None:
    """What a query may attend to, and half as much around it; None where that is most of the image."""
    rows, columns = np.nonzero(heat.reach > 0)
    top, bottom = lattice.edge(int(rows.min())), lattice.edge(int(rows.max()) + 1)
    left, right = lattice.edge(int(columns.min())), lattice.edge(int(columns.max()) + 1)
    side = 1.5 * max(bottom - top, right - left)
    if side > 0.7 * lattice.size:
        return None
    farthest = lattice.size - side
    return Box(min(max((left + right - side) / 2, 0), farthest), min(max((top + bottom - side) / 2, 0), farthest), side)


def magnitude_panel(pixels: NDArray[np.uint8], magnitude: Floats, lattice: Lattice, size: int) -> Image.Image:
    """Activations (h, w) over the image, from their lowest to their highest."""
    low, high = float(magnitude.min()), float(magnitude.max())
    return _coloured(faded(pixels, size), smooth((magnitude - low) / max(high - low, 1e-12), lattice, size))


def tokens_panel(pixels: NDArray[np.uint8], lattice: Lattice, size: int) -> Image.Image:
    """The image with the borders between tokens, as far as these are not closer than 5 pixels."""
    image = Image.fromarray(lightened(resized(pixels, size), 0.25))
    scale = size / lattice.size
    if lattice.stride * scale >= 5:
        cuts = [lattice.edge(i) * scale for i in range(1, lattice.side)]
        image = _lined(image, cuts, cuts, PAPER, 1)
    return image


def windows_panel(pixels: NDArray[np.uint8], lattice: Lattice, grid: Grid, size: int) -> Image.Image:
    """Windows where they lie on the image. Those that the cyclic shift tears apart have their pieces in one tint."""
    base = lightened(resized(pixels, size), 0.25).astype(np.float64)
    rows = _window_index(grid.padded[0], grid.window_h, grid.shift_h)[: grid.h]
    columns = _window_index(grid.padded[1], grid.window_w, grid.shift_w)[: grid.w]
    torn_row, torn_column = rows == rows[0], columns == columns[0]  # row 0 came to lie in the last windows
    if grid.shift_h and grid.shift_w:
        kinds = torn_row[:, None] * 1 + torn_column * 2  # 1 row, 2 column, 3 both
        nearest = [lattice.token((p + 0.5) * lattice.size / size - 0.5) for p in range(size)]
        at = kinds[np.ix_(nearest, nearest)]
        for kind, tint in enumerate(TINTS, 1):
            base[at == kind] = base[at == kind] * 0.55 + np.array(tint) * 0.45
    image = Image.fromarray(base.clip(0, 255).astype(np.uint8))
    scale = size / lattice.size
    across = [lattice.edge(i) * scale for i in _cuts(rows)]
    along = [lattice.edge(i) * scale for i in _cuts(columns)]
    return _lined(image, across, along, BLUE, 2)


TINTS = ((86, 180, 233), (230, 159, 0), (0, 158, 115))  # pieces of the last row, column and corner of windows


def rolled_panel(pixels: NDArray[np.uint8], lattice: Lattice, grid: Grid, size: int) -> Image.Image:
    """The map as windows are computed on it: padded, rolled, cut; dashed are the seams that the mask guards.

    Tokens beyond a seam came round from the other side; queries on one side may not attend to keys on the other.
    """
    ph, pw = grid.padded
    cell = lattice.stride
    # every token with the pixels that it covers; where these lie beyond the image, with the image's edge
    y, x = (np.clip(round(lattice.edge(0)) + np.arange(n * cell), 0, lattice.size - 1) for n in (grid.h, grid.w))
    canvas = np.full((ph * cell, pw * cell, 3), PADDING, np.uint8)
    canvas[: grid.h * cell, : grid.w * cell] = lightened(pixels, 0.25)[np.ix_(y, x)]
    canvas = np.roll(canvas, (-grid.shift_h * cell, -grid.shift_w * cell), (0, 1))
    larger = max(ph, pw) * cell
    image = Image.new("RGB", (size, size), PAPER)
    scale = size / larger
    how = Image.Resampling.NEAREST if scale > 2 else Image.Resampling.LANCZOS
    part = Image.fromarray(canvas).resize((max(1, round(pw * cell * scale)), max(1, round(ph * cell * scale))), how)
    image.paste(part, (0, 0))
    unit = cell * scale
    down = [i * unit for i in range(grid.window_h, ph, grid.window_h)]
    right = [i * unit for i in range(grid.window_w, pw, grid.window_w)]
    image = _lined(image, down, right, BLUE, 2)
    draw = ImageDraw.Draw(image)
    came_round = np.zeros((size, size), bool)
    if grid.shift_h:
        seam = (ph - grid.shift_h) * unit
        _dashed(draw, (0, seam), (pw * unit, seam))
        came_round[round(seam) : round(ph * unit), : round(pw * unit)] = True
    if grid.shift_w:
        seam = (pw - grid.shift_w) * unit
        _dashed(draw, (seam, 0), (seam, ph * unit))
        came_round[: round(ph * unit), round(seam) : round(pw * unit)] = True
    hatch(image, came_round)
    return image


def marked(image: Image.Image, x: float, y: float, label: str) -> Image.Image:
    """The panel with a ring and a letter at a place given as shares of its size."""
    draw = ImageDraw.Draw(image)
    cx, cy = x * image.width, y * image.height
    for radius, colour, width in ((6, PAPER, 4), (5, VERMILION, 2)):
        draw.ellipse((cx - radius, cy - radius, cx + radius, cy + radius), outline=colour, width=width)
    if label:
        wide = text_width(label, 17)
        tx = cx + 10 if cx + 14 + wide < image.width else cx - 10 - wide
        ty = min(max(cy - 11, 1), image.height - 23)
        draw.text((tx, ty), label, VERMILION, font(17), stroke_width=3, stroke_fill=PAPER)
        draw.text((tx, ty), label, VERMILION, font(17), stroke_width=0.6, stroke_fill=VERMILION)
    return image


def hatch(image: Image.Image, mask: NDArray[np.bool_]) -> None:
    """Slanting lines over what `mask` holds."""
    y, x = np.mgrid[: image.height, : image.width]
    lines = (x + y) % HATCH < 2
    pixels = np.asarray(image).copy()
    pixels[mask & lines] = (pixels[mask & lines] * 0.25 + np.array([213, 94, 0]) * 0.75).astype(np.uint8)
    image.paste(Image.fromarray(pixels))


def outline(image: Image.Image, mask: NDArray[np.bool_]) -> None:
    """A line around what `mask` holds."""
    inner = np.zeros_like(mask)
    inner[1:-1, 1:-1] = mask[1:-1, 1:-1] & mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    pixels = np.asarray(image).copy()
    pixels[mask & ~inner] = (0, 114, 178)
    image.paste(Image.fromarray(pixels))


def lightened(pixels: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    """The image, `share` of the way to white."""
    return (pixels + (255.0 - pixels) * share).astype(np.uint8)


def _window_index(padded: int, window: int, shift: int) -> NDArray[np.int64]:
    """The window of each row of tokens, where these lie before the shift."""
    return np.roll(np.arange(padded) // window, shift)


def _cuts(index: NDArray[np.int64]) -> list[int]:
    return [i for i in range(1, len(index)) if index[i] != index[i - 1]]


def _lined(image: Image.Image, down: list[float], right: list[float], colour: str, width: int) -> Image.Image:
    large = image.resize((image.width * FINER, image.height * FINER), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(large)
    for y in down:
        draw.line((0, y * FINER, large.width, y * FINER), colour, width * FINER)
    for x in right:
        draw.line((x * FINER, 0, x * FINER, large.height), colour, width * FINER)
    return large.resize(image.size, Image.Resampling.BOX)


def _dashed(draw: ImageDraw.ImageDraw, start: tuple[float, float], end: tuple[float, float]) -> None:
    length = max(abs(end[0] - start[0]), abs(end[1] - start[1]))
    across, along = (end[0] - start[0]) / length, (end[1] - start[1]) / length
    for i in range(0, int(length), 12):
        stop = min(i + 8, length)
        draw.line(
            (start[0] + across * i, start[1] + along * i, start[0] + across * stop, start[1] + along * stop),
            VERMILION,
            3,
        )
