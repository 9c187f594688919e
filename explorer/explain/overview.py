"""The overview: one row a stage, with what the queries attend to on average over heads, and how far heads look."""

from __future__ import annotations

from PIL import Image

from explorer.explain.canvas import MARGIN, SMALL, TEXT, WIDTH, Sheet, line_height
from explorer.explain.chart import draw_distances
from explorer.explain.colours import INK, MUTED, RULE
from explorer.explain.lattice import Lattice
from explorer.explain.panels import heat_panel, magnitude_panel, marked, resized, tokens_panel, windows_panel
from explorer.explain.scene import GAP, INSIDE, TALLEST, Scene, channels_bar, heading, legend, shown_blocks
from explorer.explain.views import BlockView
from explorer.explain.words import map_words, mixer_details, mixer_words, times_uniform
from search_spaces.architecture import SingleHeadMixer

LABELS = 206  # pixels of the column of labels


def overview(scene: Scene, stages: list[int]) -> tuple[Sheet, float]:
    """One row a stage: where tokens and windows lie, and what the queries attend to, averaged over heads."""
    sheet = Sheet(TALLEST)
    y = heading(sheet, scene, f"{scene.name}: what it looks at")
    image = Image.fromarray(resized(scene.pixels, 224))
    for number, (row, column) in enumerate(scene.queries):
        size = scene.architecture.image_size
        marked(image, (column + 0.5) / size, (row + 0.5) / size, scene.letter(number))
    sheet.paste(MARGIN, round(y), image)
    sheet.text(MARGIN, y + 230, _queries(scene), SMALL, MUTED)
    views = [scene.views[stage] for stage in stages]
    draw_distances(sheet, MARGIN + 224 + 40, y, INSIDE - 264, 250, views, stages)
    y = legend(sheet, y + 270, views)
    for stage in stages:
        sheet.draw.line((MARGIN, y, WIDTH - MARGIN, y), RULE, 1)
        y = _overview_row(sheet, scene, stage, y + 18) + 18
    return sheet, y + 6


def _queries(scene: Scene) -> str:
    named = [f"{scene.letter(i) or 'query'} at {row},{column}" for i, (row, column) in enumerate(scene.queries)]
    shown = "; ".join(named[:2])
    return shown if len(named) < 3 else f"{shown}; ..."


def _overview_row(sheet: Sheet, scene: Scene, stage: int, y: float) -> float:
    spec, lattice, views = scene.architecture.stages[stage], scene.lattices[stage], scene.views[stage]
    below = sheet.text(MARGIN, y, f"Stage {stage}", TEXT + 3, INK, bold=True) + 2
    below = sheet.wrapped(MARGIN, below, LABELS - 10, mixer_words(spec), SMALL, INK)
    details = [map_words(lattice), *mixer_details(spec, views)]
    if not views[0].heats:
        details.append("shown: size of activations, lowest to highest")
    for words in details:
        below = sheet.wrapped(MARGIN, below, LABELS - 10, words, SMALL, MUTED)
    if isinstance(spec.mixer, SingleHeadMixer):
        below = channels_bar(sheet, MARGIN, below + 4, LABELS - 26, spec, spec.mixer.partial(spec.width))
    size = (INSIDE - LABELS - 4 * GAP) // 5
    x = MARGIN + LABELS
    for image, caption in _overview_panels(scene, stage, size):
        sheet.paste(x, round(y), image)
        sheet.centred(x + size / 2, y + size + 5, caption)
        x += size + GAP
    return max(below, y + size + 5 + line_height(SMALL))


def _overview_panels(scene: Scene, stage: int, size: int) -> list[tuple[Image.Image, str]]:
    lattice, blocks = scene.lattices[stage], shown_blocks(scene.views[stage])
    panels: list[tuple[Image.Image, str]] = []
    last = next((view for view in blocks if view.shifted), blocks[-1])
    for i, view in enumerate(blocks):
        if i == 0 or view.shifted != blocks[i - 1].shifted:
            panels.append(_geometry(scene, view, lattice, size))
        if view.heats:
            panels.append(_mean(scene, view, 0, lattice, size, f"block {view.block}"))
        else:
            image = magnitude_panel(scene.pixels, view.magnitude, lattice, size)
            panels.append((image, f"activations, block {view.block}"))
    if len(last.heats) > 1:
        panels.append(_mean(scene, last, 1, lattice, size, f"block {last.block}"))
    return panels


def _geometry(scene: Scene, view: BlockView, lattice: Lattice, size: int) -> tuple[Image.Image, str]:
    grid = view.grid
    if grid is None or (grid.window_h, grid.window_w) == (grid.h, grid.w):
        return tokens_panel(scene.pixels, lattice, size), "tokens"
    name = f"shifted by {grid.shift_h}" if view.shifted else "windows"
    return windows_panel(scene.pixels, lattice, grid, size), name


def _mean(
    scene: Scene, view: BlockView, query: int, lattice: Lattice, size: int, caption: str
) -> tuple[Image.Image, str]:
    heat = view.heats[query]
    weights = heat.weights.mean(0)
    image = heat_panel(scene.pixels, weights, heat, lattice, size, scene.letter(query))
    times = times_uniform(float(weights.max()), int((heat.reach > 0).sum()))
    return image, f"{scene.letter(query)} {caption}: {times}".strip()
