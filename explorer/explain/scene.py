"""What every sheet is about, and what all of them begin with: title, conditions, the key to colours and signs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from explorer.explain.canvas import MARGIN, SMALL, TEXT, TITLE, WIDTH, Sheet, line_height, shortened, text_width
from explorer.explain.colours import BLUE, INK, MUTED, VERMILION, heat_colours
from explorer.explain.lattice import Lattice
from explorer.explain.panels import hatch
from explorer.explain.views import BlockView, Query
from explorer.explain.words import RANDOM
from search_spaces.architecture import Architecture, Stage

INSIDE = WIDTH - 2 * MARGIN
GAP = 12
TALLEST = 20_000  # pixels of a sheet before it is cut to what is drawn


@dataclass(frozen=True)
class Scene:
    """What every sheet is about."""

    architecture: Architecture
    name: str
    pixels: NDArray[np.uint8]  # (S, S, 3)
    source: str  # of the image
    weights: str | None  # file; None: random
    queries: tuple[Query, ...]
    lattices: tuple[Lattice, ...]
    views: list[list[BlockView]]

    def letter(self, query: int) -> str:
        return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[query] if len(self.queries) > 1 else ""


def shown_blocks(views: list[BlockView]) -> list[BlockView]:
    """The last blocks with and without shift where some shift; else the first, the middle and the last."""
    if any(view.shifted for view in views):
        return sorted(
            [[v for v in views if v.shifted is shifted][-1] for shifted in (False, True)], key=lambda view: view.block
        )
    return [views[i] for i in sorted({0, len(views) // 2, len(views) - 1})]


def heading(sheet: Sheet, scene: Scene, title: str) -> float:
    y = sheet.text(MARGIN, 28, shortened(title, INSIDE, TITLE), TITLE, INK, bold=True) + 2
    where = f"Image: {scene.source}, at {scene.architecture.image_size} x {scene.architecture.image_size} pixels."
    if scene.weights is None:
        y = sheet.wrapped(MARGIN, y, INSIDE, RANDOM, TEXT, VERMILION)
    else:
        where += f" Weights: {scene.weights}."
    return sheet.wrapped(MARGIN, y, INSIDE, where, SMALL, MUTED) + 14


def legend(sheet: Sheet, y: float, stages: list[list[BlockView]]) -> float:
    """The scale of heat and the signs, in one line."""
    x, blocks = MARGIN, [view for stage in stages for view in stage]
    if not any(view.heats for view in blocks):
        return y
    sheet.text(x, y, "0", SMALL, MUTED)
    x += 16
    ramp = np.repeat(heat_colours(np.linspace(0, 1, 150))[None], 16, 0)
    sheet.paste(x, round(y) + 4, Image.fromarray(ramp))
    x += 158
    text = "the panel's highest weight; beside it, how many times equal attention that is"
    sheet.text(x, y, text, SMALL, MUTED)
    x += round(text_width(text, SMALL)) + 26
    sheet.draw.ellipse((x, y + 4, x + 14, y + 18), outline=VERMILION, width=3)
    sheet.text(x + 22, y, "query", SMALL, MUTED)
    x += 88
    if all(view.grid is None for view in blocks):
        return y + line_height(SMALL) + 12
    box = Image.new("RGB", (30, 16), "#f1f3f5")
    hatch(box, np.ones((16, 30), bool))
    sheet.paste(x, round(y) + 4, box)
    sheet.text(x + 38, y, "masked", SMALL, MUTED)
    x += 116
    sheet.draw.rectangle((x, y + 4, x + 30, y + 19), outline=BLUE, width=2)
    sheet.text(x + 38, y, "window", SMALL, MUTED)
    return y + line_height(SMALL) + 12


def channels_bar(sheet: Sheet, x: float, y: float, width: float, spec: Stage, partial: int) -> float:
    """The stage's channels as a bar, those that attend in blue."""
    split = x + width * partial / spec.width
    sheet.draw.rectangle((x, y, x + width, y + 12), "#e3e7eb")
    sheet.draw.rectangle((x, y, split, y + 12), BLUE)
    return y + 18
