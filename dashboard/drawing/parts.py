"""The picture language of a network's drawing: SVG pieces for stems, token mixers, channels, FFNs and blocks.

Each token mixer has a colour and a picture of its own: a window is one cell of a grid on the map, global attention a
token that sees all others, of single-head attention the channel bar says which share attends, a convolution is its
kernel. Nothing here needs an id, so that several drawings can stand in one page.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Literal

from dashboard.canvas import CLASSES, FONT, Theme
from search_spaces.architecture import (
    ConvMixer,
    ConvStem,
    GlobalMixer,
    PatchStem,
    SingleHeadMixer,
    Stage,
    WindowMixer,
)

Anchor = Literal["start", "middle", "end"]

COLORS = {  # of a token mixer
    "window": CLASSES[0][0],
    "global": CLASSES[1][0],
    "single_head": CLASSES[2][0],
    "conv": CLASSES[3][0],
    "none": CLASSES[6][0],
}
GLYPH = 56.0  # pixels, side of a mixer's picture
WINDOWS = 4  # windows drawn along a side; more of a map would not show the shift
KERNEL_FIELD = 13  # cells along the side of a convolution's picture: the largest kernel
STRIPES = 32  # heads drawn one by one
SLABS = 12  # blocks drawn one by one


@dataclass(frozen=True)
class Pen:
    """Writes SVG elements in the colours of a theme."""

    look: Theme

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float = 11,
        anchor: Anchor = "start",
        bold: bool = False,
        color: str | None = None,
    ) -> str:
        weight = ' font-weight="600"' if bold else ""
        return (
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" text-anchor="{anchor}"{weight}'
            f' fill="{color or self.look.ink}">{escape(words)}</text>'
        )

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        fill: str = "none",
        opacity: float = 1,
        line: str | None = None,
        thick: float = 1,
        dash: str = "",
        round_by: float = 0,
    ) -> str:
        stroke = f' stroke="{line}" stroke-width="{thick:g}"' if line else ""
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        corner = f' rx="{round_by:g}"' if round_by else ""
        return (
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}"'
            f' fill-opacity="{opacity:g}"{stroke}{dashed}{corner}/>'
        )

    def path(
        self, data: str, *, fill: str = "none", opacity: float = 1, line: str | None = None, thick: float = 1
    ) -> str:
        stroke = f' stroke="{line}" stroke-width="{thick:g}" stroke-linejoin="round"' if line else ""
        return f'<path d="{data}" fill="{fill}" fill-opacity="{opacity:g}"{stroke}/>'

    def arrow(self, x: float, y: float, dx: float, dy: float, color: str, head: float = 3.5) -> str:
        """A straight arrow from (x, y) by (dx, dy)."""
        length = (dx**2 + dy**2) ** 0.5
        along, across = (dx / length * head, dy / length * head), (-dy / length * head * 0.7, dx / length * head * 0.7)
        tip, foot = (x + dx, y + dy), (x + dx - along[0], y + dy - along[1])
        data = (
            f"M{x:.1f} {y:.1f}L{foot[0]:.1f} {foot[1]:.1f}"
            f"M{tip[0]:.1f} {tip[1]:.1f}L{foot[0] + across[0]:.1f} {foot[1] + across[1]:.1f}"
            f"L{foot[0] - across[0]:.1f} {foot[1] - across[1]:.1f}Z"
        )
        return self.path(data, fill=color, line=color, thick=1.2)


def document(width: float, height: float, title: str, words: str, parts: list[str], look: Theme) -> str:
    """An SVG document with a title and a description for screen readers."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}"'
        f' viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(words)}" font-family="{escape(FONT)}">'
        f"<title>{escape(title)}</title><desc>{escape(words)}</desc>"
        f'<rect width="100%" height="100%" fill="{look.paper}"/>{"".join(parts)}</svg>'
    )


def mixer_glyph(pen: Pen, x: float, y: float, stage: Stage, side: int) -> str:
    """The token mixer of a stage on a map of side x side tokens, GLYPH pixels square."""
    draw: dict[str, Callable[[Pen, float, float, Stage, int], str]] = {
        "window": _window,
        "global": _global,
        "single_head": _single_head,
        "conv": _conv,
        "none": _none,
    }
    return draw[stage.mixer.kind](pen, x, y, stage, side)


def _window(pen: Pen, x: float, y: float, stage: Stage, side: int) -> str:
    """Windows as a grid on the map's corner, one of them filled, and where the next block's lies after the shift."""
    mixer, color = stage.mixer, COLORS["window"]
    assert isinstance(mixer, WindowMixer)
    along = side / mixer.size
    whole = along <= WINDOWS
    cell = GLYPH / min(along, WINDOWS)
    over = 0.0 if whole else 4.0  # the map goes on
    lines = [x + cell * i for i in range(int(min(along, WINDOWS)) + 1)]
    offsets = [line - x for line in lines if line - x < GLYPH + (0 if whole else 0.5)]
    grid = "".join(f"M{x + o:.1f} {y:.1f}v{GLYPH + over:.1f}M{x:.1f} {y + o:.1f}h{GLYPH + over:.1f}" for o in offsets)
    at = cell if along >= 3 else 0.0
    parts = [pen.box(x, y, GLYPH, GLYPH, fill=color, opacity=0.12)]
    parts.append(pen.box(x + at, y + at, min(cell, GLYPH), min(cell, GLYPH), fill=color, opacity=0.75))
    parts.append(pen.path(grid, line=pen.look.muted, thick=0.9))
    if whole:
        parts.append(pen.box(x, y, GLYPH, GLYPH, line=pen.look.muted, thick=0.9))
    if mixer.shift_tokens:
        move = cell * mixer.shift_tokens / mixer.size
        parts.append(pen.box(x + at + move, y + at + move, cell, cell, line=pen.look.ink, thick=1.5, dash="3 2"))
        middle = x + at + cell / 2, y + at + cell / 2
        length = max(move, 9.0)
        parts.append(pen.arrow(*middle, length, length, pen.look.ink))
    return "".join(parts)


def _sees_all(pen: Pen, x: float, y: float, color: str) -> str:
    """A map of tokens of which one looks at all the others."""
    step = GLYPH / 5
    spots = [(x + step * (i + 0.5), y + step * (j + 0.5)) for i in range(5) for j in range(5)]
    here = spots[7]
    rays = "".join(f"M{here[0]:.1f} {here[1]:.1f}L{a:.1f} {b:.1f}" for a, b in spots if (a, b) != here)
    dots = "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="1.5" fill="{pen.look.muted}"/>' for a, b in spots)
    return (
        pen.box(x, y, GLYPH, GLYPH, fill=pen.look.paper)
        + pen.box(x, y, GLYPH, GLYPH, fill=color, opacity=0.22, line=pen.look.muted, thick=0.9)
        + pen.path(rays, line=color, thick=0.8)
        + dots
        + f'<circle cx="{here[0]:.1f}" cy="{here[1]:.1f}" r="3.4" fill="{color}" stroke="{pen.look.ink}"/>'
    )


def _global(pen: Pen, x: float, y: float, stage: Stage, side: int) -> str:
    """Heads as sheets behind each other."""
    assert isinstance(stage.mixer, GlobalMixer)
    sheets = min(stage.mixer.heads, 3) - 1
    behind = [
        pen.box(x + 3 * i, y - 3 * i, GLYPH, GLYPH, fill=pen.look.paper, line=pen.look.muted, thick=0.9)
        for i in range(sheets, 0, -1)
    ]
    return "".join(behind) + _sees_all(pen, x, y, COLORS["global"])


def _single_head(pen: Pen, x: float, y: float, stage: Stage, side: int) -> str:
    return _sees_all(pen, x, y, COLORS["single_head"])


def _conv(pen: Pen, x: float, y: float, stage: Stage, side: int) -> str:
    """The kernel among the cells of the largest one, its middle marked."""
    assert isinstance(stage.mixer, ConvMixer)
    return kernel(pen, x, y, GLYPH, stage.mixer.kernel, KERNEL_FIELD, COLORS["conv"])


def _none(pen: Pen, x: float, y: float, stage: Stage, side: int) -> str:
    middle = y + GLYPH / 2
    return pen.box(x, y, GLYPH, GLYPH, line=pen.look.muted, thick=0.9, dash="3 3") + pen.arrow(
        x + 6, middle, GLYPH - 12, 0, pen.look.muted
    )


def kernel(pen: Pen, x: float, y: float, side: float, taps: int, field: int, color: str) -> str:
    """taps x taps cells in the middle of field x field, `side` pixels in all."""
    cell = side / field
    start = (field - taps) // 2 * cell
    size = taps * cell
    lines = "".join(
        f"M{x + start + i * cell:.1f} {y + start:.1f}v{size:.1f}M{x + start:.1f} {y + start + i * cell:.1f}h{size:.1f}"
        for i in range(taps + 1)
    )
    middle = (field - 1) / 2 * cell
    frame = pen.box(x, y, side, side, fill=color, opacity=0.12, line=pen.look.muted, thick=0.9) if field > taps else ""
    return (
        frame
        + pen.box(x + start, y + start, size, size, fill=color, opacity=0.6)
        + pen.path(lines, line=pen.look.muted, thick=0.7)
        + pen.box(x + middle, y + middle, cell, cell, fill=pen.look.ink)
    )


def channel_bar(pen: Pen, x: float, y: float, width: float, stage: Stage) -> str:
    """The channels as a bar: a stripe a head; of single-head attention the share that attends filled."""
    mixer, height = stage.mixer, 8.0
    color = COLORS[mixer.kind]
    parts = [pen.box(x, y, width, height, fill=color, opacity=0.12)]
    if isinstance(mixer, WindowMixer | GlobalMixer):
        shown = min(mixer.heads, STRIPES)
        step = width / shown
        parts += [
            pen.box(x + i * step, y, step, height, fill=color, opacity=0.8 if i % 2 == 0 else 0.35)
            for i in range(shown)
        ]
    elif isinstance(mixer, SingleHeadMixer):
        parts.append(pen.box(x, y, width * mixer.partial(stage.width) / stage.width, height, fill=color, opacity=0.85))
    elif isinstance(mixer, ConvMixer):
        parts.append(pen.box(x, y, width, height, fill=color, opacity=0.6))
    return "".join(parts) + pen.box(x, y, width, height, line=pen.look.muted, thick=0.9)


def ffn(pen: Pen, x: float, y: float, width: float, height: float, ratio: float) -> str:
    """The FFN from left to right: as many channels wider in the middle as its ratio says, up to 4."""
    least = height / max(1.0, min(ratio, 4.0))
    inner = height if ratio >= 1 else height * max(ratio, 0.1)
    outer = least if ratio >= 1 else height
    a, b = (height - outer) / 2, (height - inner) / 2
    start, end, low = x + width * 0.36, x + width * 0.64, y + height
    upper = f"M{x:.1f} {y + a:.1f}L{start:.1f} {y + b:.1f}H{end:.1f}L{x + width:.1f} {y + a:.1f}"
    lower = f"V{low - a:.1f}L{end:.1f} {low - b:.1f}H{start:.1f}L{x:.1f} {low - a:.1f}Z"
    return pen.path(upper + lower, fill=pen.look.cloud, opacity=0.35, line=pen.look.muted, thick=0.9)


def slabs(pen: Pen, x: float, y: float, width: float, height: float, stage: Stage, widest: int) -> str:
    """The blocks one after the other, each as high as the root of its channels; shifted ones are outlined dashed."""
    shown = min(stage.depth, SLABS)
    tall = max(8.0, height * (stage.width / widest) ** 0.5)
    step = min(15.0, width / shown)
    top = y + (height - tall) / 2
    color = COLORS[stage.mixer.kind]
    shifts = isinstance(stage.mixer, WindowMixer) and stage.mixer.shift_tokens > 0
    start = x + (width - step * shown) / 2
    thick = max(step - 3, 2.0)
    parts = []
    for i in range(shown):
        odd = shifts and i % 2 == 1
        left = start + i * step + (step - thick) / 2
        opacity = 0.25 if odd else 0.7
        dash = "2.5 2" if odd else ""
        parts.append(
            pen.box(left, top, thick, tall, fill=color, opacity=opacity, line=pen.look.ink, thick=0.9, dash=dash)
        )
    return "".join(parts)


def stem_glyph(pen: Pen, x: float, y: float, side: float, stem: PatchStem | ConvStem, image_size: int) -> str:
    """Patches as a grid over the image; a convolution stem as ever smaller maps."""
    color = pen.look.front
    if isinstance(stem, PatchStem):
        cells = min(max(1, -(-image_size // stem.stride)), 7)
        step = side / cells
        lines = "".join(
            f"M{x + i * step:.1f} {y:.1f}v{side:.1f}M{x:.1f} {y + i * step:.1f}h{side:.1f}" for i in range(cells + 1)
        )
        return (
            pen.box(x, y, side, side, fill=color, opacity=0.15)
            + pen.box(x, y, step, step, fill=color, opacity=0.7)
            + pen.path(lines, line=pen.look.muted, thick=0.9)
        )
    steps = stem.stride.bit_length() - 1
    parts = []
    for i in range(steps + 1):
        size = side * 0.72**i
        opacity = 0.12 + 0.5 * i / steps
        parts.append(pen.box(x + side - size, y + side - size, size, size, fill=pen.look.paper))
        parts.append(
            pen.box(x + side - size, y + side - size, size, size, fill=color, opacity=opacity, line=pen.look.muted)
        )
    return "".join(parts)
