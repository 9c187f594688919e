"""Mean attention distance of every head, block by block, as a small chart."""

from __future__ import annotations

from explorer.explain.canvas import SMALL, Sheet, text_width
from explorer.explain.colours import BLUE, INK, MUTED, RULE, VERMILION
from explorer.explain.views import BlockView

BAND = "#f4f6f8"


def draw_distances(
    sheet: Sheet, x: float, y: float, width: float, height: float, stages: list[list[BlockView]], numbers: list[int]
) -> None:
    """Dots are heads, over their block; a dash is the distance of attention that is equal on all tokens in reach."""
    blocks = [view for stage in stages for view in stage]
    highest = max((max(*view.distance_px, view.uniform_px) for view in blocks if view.distance_px), default=0.0)
    sheet.text(x, y, "Mean attention distance of each head, pixels", SMALL, INK, bold=True)
    key = x + width - 262
    _dot(sheet, key, y + 11, BLUE)
    sheet.text(key + 10, y, "a head", SMALL, MUTED)
    sheet.draw.line((key + 92, y + 11, key + 110, y + 11), VERMILION, 3)
    sheet.text(key + 118, y, "equal attention", SMALL, MUTED)
    if not highest:
        words = "no stage has attention" if not any(view.heats for view in blocks) else "each token sees itself alone"
        sheet.text(x, y + 40, words, SMALL, MUTED)
        return
    left, top, bottom = x + 44, y + 36, y + height - 30
    step = nice_step(highest / 4)
    ceiling = max(highest * 1.04, step)
    place = (x + width - left) / len(blocks)

    def down(pixels: float) -> float:
        return bottom - pixels / ceiling * (bottom - top)

    at = left
    for number, stage in zip(numbers, stages, strict=True):
        wide = place * len(stage)
        if numbers.index(number) % 2 == 0:
            sheet.draw.rectangle((at, top, at + wide, bottom), BAND)
        name = f"stage {number}" if text_width(f"stage {number}", SMALL) + 6 < wide else str(number)
        sheet.centred(at + wide / 2, bottom + 6, name)
        at += wide
    ticks = 0
    while ticks * step <= ceiling:
        level = down(ticks * step)
        sheet.draw.line((left, level, x + width, level), RULE, 1)
        label = f"{ticks * step:g}"
        sheet.text(left - 8 - text_width(label, SMALL), level - 11, label, SMALL, MUTED)
        ticks += 1
    for i, view in enumerate(blocks):
        middle = left + (i + 0.5) * place
        if view.distance_px:
            half = min(16.0, place * 0.42)
            sheet.draw.line((middle - half, down(view.uniform_px), middle + half, down(view.uniform_px)), VERMILION, 3)
        for pixels in view.distance_px:
            _dot(sheet, middle, down(pixels), BLUE)


def nice_step(least: float) -> float:
    """The smallest of 1, 2, 5, 10, ... that is not below `least`; also 0.1, 0.2, 0.5.

    >>> nice_step(13.0)
    20.0
    """
    step = 1e-3
    while True:
        for factor in (1, 2, 5):
            if step * factor >= least:
                return float(f"{step * factor:g}")
        step *= 10


def _dot(sheet: Sheet, x: float, y: float, colour: str) -> None:
    sheet.draw.ellipse((x - 5, y - 5, x + 5, y + 5), colour, "#ffffff", 1)
