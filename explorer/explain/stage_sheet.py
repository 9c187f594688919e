"""The sheet of one stage: windows as they lie and as they are computed, and every head for every query."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from explorer.explain.canvas import MARGIN, SMALL, TEXT, WIDTH, Sheet, line_height
from explorer.explain.colours import INK, MUTED, RULE
from explorer.explain.lattice import Floats, Lattice
from explorer.explain.panels import (
    box_around,
    heat_panel,
    magnitude_panel,
    rolled_panel,
    tokens_panel,
    windows_panel,
)
from explorer.explain.scene import GAP, INSIDE, TALLEST, Scene, channels_bar, heading, legend, shown_blocks
from explorer.explain.views import BlockView, Heat
from explorer.explain.words import block_words, map_words, mixer_details, mixer_words, times_uniform
from search_spaces.architecture import SingleHeadMixer, Stage


def stage_sheet(scene: Scene, stage: int) -> tuple[Sheet, float]:
    """Blocks of one stage: windows as they lie and as they are computed, and every head for every query."""
    sheet = Sheet(TALLEST)
    spec, lattice, views = scene.architecture.stages[stage], scene.lattices[stage], scene.views[stage]
    y = heading(sheet, scene, f"{scene.name}, stage {stage}: {mixer_words(spec)}")
    facts = [map_words(lattice), f"{spec.width} channels", f"{spec.depth} blocks" if spec.depth > 1 else "1 block"]
    y = sheet.wrapped(MARGIN, y, INSIDE, " · ".join(facts + mixer_details(spec, views)), TEXT, INK) + 8
    if isinstance(spec.mixer, SingleHeadMixer):
        y = _channels(sheet, MARGIN, y + 4, INSIDE, spec, spec.mixer.partial(spec.width)) + 8
    y = legend(sheet, y, [views])
    for view in shown_blocks(views):
        sheet.draw.line((MARGIN, y, WIDTH - MARGIN, y), RULE, 1)
        y = _block(sheet, scene, stage, view, y + 14) + 16
    return sheet, y + 6


class Panel(NamedTuple):
    """One map of attention with what it is called."""

    name: str
    heat: Heat
    weights: Floats  # (h, w)


def _block(sheet: Sheet, scene: Scene, stage: int, view: BlockView, y: float) -> float:
    spec, lattice = scene.architecture.stages[stage], scene.lattices[stage]
    title = block_words(view, mixer_words(spec))
    y_next = sheet.text(MARGIN, y, title[0].upper() + title[1:], TEXT + 2, INK, bold=True) + 8
    size = (INSIDE - 4 * GAP) // 5
    if not view.heats:
        sheet.paste(MARGIN, round(y_next), tokens_panel(scene.pixels, lattice, size))
        sheet.centred(MARGIN + size / 2, y_next + size + 5, "tokens")
        sheet.paste(MARGIN + size + GAP, round(y_next), magnitude_panel(scene.pixels, view.magnitude, lattice, size))
        sheet.centred(MARGIN + size * 1.5 + GAP, y_next + size + 5, "mean activation")
        low, high = view.magnitude.min(), view.magnitude.max()
        x = MARGIN + 2 * (size + GAP) + 8
        text = "No attention in this stage. Shown instead: how strong the block's outputs are at each token, from"
        sheet.wrapped(x, y_next, WIDTH - MARGIN - x, f"{text} {low:.3g} (light) to {high:.3g} (dark).", SMALL, MUTED)
        return y_next + size + 5 + line_height(SMALL)
    y = _explain_windows(sheet, scene, view, lattice, y_next, size)
    if len(view.distance_px) == 1:  # its queries side by side
        panels = []
        for query, heat in enumerate(view.heats):
            name = f"{scene.letter(query)}, token {heat.row},{heat.column}".removeprefix(", ")
            panels.append(Panel(name, heat, heat.weights[0]))
        return _grid(sheet, scene, lattice, panels, y)
    for query, heat in enumerate(view.heats):
        name = f"Query {scene.letter(query)}".strip() + f": token {heat.row},{heat.column}"
        box = box_around(heat, lattice)
        if box is not None:
            name += f", enlarged: {box.side:.0f} x {box.side:.0f} pixels around what it may attend to"
        y = sheet.text(MARGIN, y, name, SMALL, INK, bold=True) + 4
        heads = [Panel(f"head {i}", heat, weights) for i, weights in enumerate(heat.weights)]
        y = _grid(sheet, scene, lattice, [*heads, Panel("mean", heat, heat.weights.mean(0))], y)
    return y


def _grid(sheet: Sheet, scene: Scene, lattice: Lattice, panels: list[Panel], y: float) -> float:
    """Panels in rows as even as can be, each with how many times equal attention its highest weight is."""
    columns = max(5, -(-len(panels) // -(-len(panels) // 9)))
    size = (INSIDE - (columns - 1) * GAP) // columns
    for place, panel in enumerate(panels):
        if place and place % columns == 0:
            y += size + line_height(SMALL) + 10
        x = MARGIN + place % columns * (size + GAP)
        box = box_around(panel.heat, lattice)
        image = heat_panel(scene.pixels, panel.weights, panel.heat, lattice, size, "", box)
        sheet.paste(x, round(y), image)
        times = times_uniform(float(panel.weights.max()), int((panel.heat.reach > 0).sum()))
        colour = INK if panel.name == "mean" else MUTED
        sheet.centred(x + size / 2, y + size + 4, f"{panel.name}: {times}", SMALL, colour)
    return y + size + line_height(SMALL) + 16


def _explain_windows(sheet: Sheet, scene: Scene, view: BlockView, lattice: Lattice, y: float, size: int) -> float:
    """The windows of a block, and what becomes of them, in words beside; nothing where one window spans the map."""
    grid = view.grid
    who = "a head looks" if len(view.distance_px) > 1 else "the head looks"
    far = f"On average {who} {np.mean(view.distance_px):.1f} pixels far"
    far += f" ({min(view.distance_px):.1f} to {max(view.distance_px):.1f})" if len(view.distance_px) > 1 else ""
    far += f"; attention that is equal on all tokens in reach would look {view.uniform_px:.1f}."
    if grid is None or (grid.window_h, grid.window_w) == (grid.h, grid.w):
        return sheet.wrapped(MARGIN, y, INSIDE, far, SMALL, MUTED) + 8
    sheet.paste(MARGIN, round(y), windows_panel(scene.pixels, lattice, grid, size))
    sheet.centred(MARGIN + size / 2, y + size + 5, "windows on the image")
    x = MARGIN + size + GAP
    rolled = view.shifted or grid.padded != (grid.h, grid.w)
    if rolled:
        sheet.paste(x, round(y), rolled_panel(scene.pixels, lattice, grid, size))
        sheet.centred(x + size / 2, y + size + 5, "as they are computed")
        x += size + GAP
    count = grid.padded[0] // grid.window_h * (grid.padded[1] // grid.window_w)
    text = f"{count} windows of {grid.window_h} x {grid.window_w} tokens; a token attends only within its own."
    if view.shifted:
        text += (
            f" The map is rolled by {grid.shift_h} tokens up and left, so that windows lie across the borders of the"
            " block before. What came round from the other side (hatched, beyond the dashed seam) is in one window"
            " with tokens that it never touched on the image: the mask keeps them apart. On the image, pieces of one"
            " window have one tint: orange those of the last column, light blue those of the last row, green those of"
            " the corner."
        )
    if grid.padded != (grid.h, grid.w):
        text += f" The map is padded to {grid.padded[0]} x {grid.padded[1]} (grey), and padding is never attended to."
    below = sheet.wrapped(x + 8, y, WIDTH - MARGIN - x - 8, text, SMALL, MUTED) + 8
    sheet.wrapped(x + 8, below, WIDTH - MARGIN - x - 8, far, SMALL, MUTED)
    return y + size + 5 + line_height(SMALL) + 8


def _channels(sheet: Sheet, x: float, y: float, width: float, spec: Stage, partial: int) -> float:
    text = f"channels 0 to {partial - 1} attend; the other {spec.width - partial} pass untouched to the projection"
    return sheet.text(x, channels_bar(sheet, x, y, width, spec, partial), text, SMALL, MUTED)
