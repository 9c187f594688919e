"""Returns drawings of architectures: stem, stages and head as an SVG that a page, a report or a paper can show.

Stages run from left to right, from top to bottom where there are fewer than 480 pixels, and on in a new row where they
would get too narrow. The picture language is in dashboard/drawing/parts.py.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from dashboard.canvas import THEMES, Theme, ThemeName
from dashboard.drawing import parts as parts
from dashboard.drawing.layout import across, down
from dashboard.drawing.parts import Pen
from dashboard.drawing.words import DOWNSAMPLES, NORMS, mixer_lines
from search_spaces.architecture import Architecture
from search_spaces.errors import InputError

NARROW = 480  # pixels, below which stages run downwards


def drawing_svg(architecture: Mapping[str, Any], *, theme: ThemeName = "light", width: int = 640) -> str:
    """An SVG of a canonical architecture, `width` pixels wide and as high as it needs; nothing in it is loaded or runs.

    Data that is no architecture gives a drawing that says so.
    """
    look = THEMES[theme]
    try:
        network = Architecture.from_dict(dict(architecture))
    except InputError as error:
        return _unreadable(str(error), look, width)
    pen = Pen(look)
    placed, height = (down if width < NARROW else across)(pen, network, float(width))
    return parts.document(width, height, "Architecture", drawing_alt(architecture), placed, look)


def drawing_alt(architecture: Mapping[str, Any]) -> str:
    """The drawing in words: "224×224 image; patch stem, stride 4; stage 1, 56×56 tokens: 96 channels, ..."."""
    try:
        network = Architecture.from_dict(dict(architecture)).canonical
    except InputError as error:
        return f"This architecture cannot be drawn: {error}"
    size, stem = network.image_size, network.stem
    said = [f"{size}×{size} image", f"{stem.kind} stem, stride {stem.stride}"]
    for i, (stage, side) in enumerate(zip(network.stages, network.maps, strict=True), 1):
        down = f"{DOWNSAMPLES[stage.downsample]}, " if stage.downsample else ""
        blocks = f"{stage.depth} block{'s' * (stage.depth > 1)}"
        local = "local convolution, " * stage.local
        details = ", ".join(mixer_lines(stage))
        said.append(
            f"stage {i}, {down}{side}×{side} tokens: {stage.width} channels, {blocks}, {local}{details},"
            f" FFN ×{stage.ffn_ratio:.3g}, {NORMS[stage.norm]}"
        )
    return "; ".join([*said, f"{network.classes} classes"]) + "."


def _unreadable(why: str, look: Theme, width: int) -> str:
    """A drawing that says why there is none."""
    words = "This architecture cannot be drawn."
    lines = textwrap.wrap(why, max(20, width // 7))[:6]
    pen = Pen(look)
    shown = [pen.text(12, 26, words, size=13, bold=True)]
    shown += [pen.text(12, 48 + 16 * i, line, color=look.muted) for i, line in enumerate(lines)]
    return parts.document(width, 60 + 16 * len(lines), "Architecture", f"{words} {why}", shown, look)
