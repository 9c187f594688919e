"""Returns pictures of point clouds too large to be drawn point by point, and which of their points still are.

A browser takes 10 s and more over 100,000 points, and shows no more of them than how dense they lie.
"""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageFilter

from dashboard.canvas import Axis, Numbers

EXACT = 2000  # points up to which each is drawn
NEAREST = 600  # points drawn where there are more
CELL = 2.0  # pixels, a side of a cell in which points are counted
FAINTEST, STRONGEST = 0.14, 0.8  # opacity of a cell of one point, and of the fullest


def density_image(
    across: Numbers,
    up: Numbers,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    color: str,
    *,
    pixels: tuple[float, float] = (880, 400),
    yref: str = "y",
) -> dict[str, Any]:
    """A layout image (`figure.add_layout_image`) of how many points lie where, the number by its logarithm as opacity.

    Points and ranges are as plotly takes the ranges of axes: log10 of the numbers where an axis is logarithmic.
    `pixels` is the room between the ranges on the page. Points outside of the ranges are left out.
    """
    columns, rows = (max(1, round(side / CELL)) for side in pixels)
    counts = _counts(across, up, x_range, y_range, columns, rows)
    most = float(counts.max(initial=0))
    strength = np.log1p(counts) / np.log1p(max(most, 1.0))
    opacity = np.where(counts > 0, FAINTEST + (STRONGEST - FAINTEST) * strength, 0)
    picture = np.empty((rows, columns, 4), dtype=np.uint8)
    picture[..., :3] = ImageColor.getrgb(color)[:3]
    picture[..., 3] = np.rint(255 * opacity[::-1])  # a picture's first row is the upper one
    image = Image.fromarray(picture, "RGBA")
    alpha = image.getchannel("A").filter(ImageFilter.GaussianBlur(0.6))  # a lone point is a dot, not a square
    image.putalpha(alpha)
    file = io.BytesIO()
    image.save(file, format="PNG", compress_level=1)
    return {
        "source": "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii"),
        "xref": "x",
        "yref": yref,
        "x": x_range[0],
        "y": y_range[1],
        "sizex": x_range[1] - x_range[0],
        "sizey": y_range[1] - y_range[0],
        "sizing": "stretch",
        "layer": "below",
    }


def _counts(
    across: Numbers,
    up: Numbers,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    columns: int,
    rows: int,
) -> NDArray[np.int64]:
    """Points in each cell, (rows, columns), the lowest row first."""
    column = (across - x_range[0]) / ((x_range[1] - x_range[0]) or 1) * columns
    row = (up - y_range[0]) / ((y_range[1] - y_range[0]) or 1) * rows
    inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)  # False for a missing number, too
    cell = row[inside].astype(np.int64) * columns + column[inside].astype(np.int64)
    return np.bincount(cell, minlength=rows * columns).reshape(rows, columns)


def plot_places(numbers: Numbers, axis: Axis) -> Numbers:
    """Displayed numbers as plotly takes the ranges of an axis."""
    places: Numbers = np.log10(numbers) if axis.log else numbers
    return places


def depth_below_front(points: Numbers, best: Numbers) -> Numbers:
    """How far each point (n, 2) lies behind the stepped line through the front `best` (m, 2), in the points' unit.

    Both are costs, so that less is better: negate what is maximized, and scale either to pixels. It is the shorter of
    the ways to the line, straight down and straight across.
    """
    order = np.lexsort((best[:, 1], best[:, 0]))
    cost, loss = best[order, 0], np.minimum.accumulate(best[order, 1])
    at = np.searchsorted(cost, points[:, 0], side="right") - 1  # the last of the front that is as cheap
    below = points[:, 1] - np.where(at >= 0, loss[np.maximum(at, 0)], np.inf)
    # the cheapest of the front that is as good: losses fall along the front
    first = np.searchsorted(-loss, -points[:, 1], side="left")
    beyond = points[:, 0] - np.where(first < len(cost), cost[np.minimum(first, len(cost) - 1)], np.inf)
    depth: Numbers = np.maximum(np.minimum(below, beyond), 0)
    return depth
