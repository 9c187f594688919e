"""Where the parts of a network's drawing go: stages from left to right, or from top to bottom on a narrow page."""

from __future__ import annotations

import textwrap

from dashboard.drawing import parts as parts
from dashboard.drawing.parts import GLYPH, Pen
from dashboard.drawing.words import ACTIVATIONS, DOWNSAMPLES, NORMS, mixer_lines, share, stem_lines
from search_spaces.architecture import Architecture, Stage

MARGIN, GAP, ABOVE = 6.0, 16.0, 18.0  # pixels: around all, between cards, over a row for the downsampling's name
STEM, HEAD = 80.0, 66.0  # pixels, width of their cards
LEAST_CARD, MOST_CARD = 100.0, 190.0  # pixels, width of a stage's card
CARD, LOCAL_ROW = 326.0, 26.0  # pixels, height of a stage's card, and of its line for local convolutions
ROW_GAP = 12.0


def across(pen: Pen, network: Architecture, width: float) -> tuple[list[str], float]:
    """Stages from left to right, and the height in pixels."""
    count = len(network.stages)
    room = width - 2 * MARGIN - STEM - HEAD - GAP
    rows = -(-count // max(1, int(room // (LEAST_CARD + GAP))))
    each = -(-count // rows)
    card = min((room - GAP * each) / each, MOST_CARD)
    left = (width - (STEM + HEAD + GAP + each * (card + GAP))) / 2
    local = any(stage.local for stage in network.stages)
    tall = CARD + LOCAL_ROW * local
    found: list[str] = []
    x, y = left, MARGIN
    for row in range(rows):
        y = MARGIN + row * (tall + ABOVE + ROW_GAP) + ABOVE
        x = left
        if row == 0:
            found.append(_stem_card(pen, x, y, STEM, tall, network))
        else:
            found.append(_turn(pen, x + STEM / 2, y, tall))
        x += STEM
        for index in range(row * each, min((row + 1) * each, count)):
            found.append(_between(pen, x, y, tall, network.stages[index]))
            x += GAP
            found.append(_stage_card(pen, x, y, card, tall, network, index, local))
            x += card
    found.append(_between(pen, x, y, tall, None))
    found.append(_head_card(pen, x + GAP, y, HEAD, tall, network))
    return found, y + tall + MARGIN


def _card(pen: Pen, x: float, y: float, width: float, height: float) -> str:
    return pen.box(x, y, width, height, fill=pen.look.grid, opacity=0.45, line=pen.look.grid, round_by=6)


def _between(pen: Pen, x: float, y: float, tall: float, stage: Stage | None) -> str:
    """What lies between two cards: an arrow, or a halving of the map with the name of how."""
    look, middle = pen.look, y + 66
    if stage is None or stage.downsample is None:
        return pen.arrow(x + 3, middle, GAP - 6, 0, look.muted)
    wedge = f"M{x + 3:.1f} {middle - 16:.1f}L{x + GAP - 3:.1f} {middle - 7:.1f}v14L{x + 3:.1f} {middle + 16:.1f}Z"
    name = pen.text(x + GAP / 2, y - 6, f"↓2 {DOWNSAMPLES[stage.downsample]}", anchor="middle", color=look.muted)
    tick = pen.path(f"M{x + GAP / 2:.1f} {y - 2:.1f}V{middle - 15:.1f}", line=look.muted, thick=0.7)
    return name + tick + pen.path(wedge, fill=look.muted, opacity=0.8)


def _turn(pen: Pen, x: float, y: float, tall: float) -> str:
    """Where a row goes on from the one above."""
    line = pen.path(f"M{x:.1f} {y:.1f}V{y + 66:.1f}", line=pen.look.muted, thick=1.2)
    return line + pen.arrow(x, y + 66, STEM / 2 - 4, 0, pen.look.muted)


def _stem_card(pen: Pen, x: float, y: float, width: float, tall: float, network: Architecture) -> str:
    middle, glyph = x + width / 2, 50.0
    size = network.image_size
    found = [_card(pen, x, y, width, tall), pen.text(middle, y + 18, "Stem", size=12, bold=True, anchor="middle")]
    found.append(parts.stem_glyph(pen, middle - glyph / 2, y + 42, glyph, network.stem, size))
    lines = [f"{size}×{size}×{network.in_channels}", "", *stem_lines(network)]
    for i, line in enumerate(lines):
        color = pen.look.ink if i == 2 else pen.look.muted
        found.append(pen.text(middle, y + 112 + 15 * i, line, anchor="middle", color=color))
    return "".join(found)


def _head_card(pen: Pen, x: float, y: float, width: float, tall: float, network: Architecture) -> str:
    middle, look = x + width / 2, pen.look
    found = [_card(pen, x, y, width, tall), pen.text(middle, y + 18, "Head", size=12, bold=True, anchor="middle")]
    high = 56.0
    found.append(pen.box(middle - 14, y + 39, 8, high, fill=look.cloud, opacity=0.6, line=look.muted))
    found.append(
        pen.path(
            f"M{middle - 6:.1f} {y + 39:.1f}L{middle + 8:.1f} {y + 52:.1f}v30L{middle - 6:.1f} {y + 95:.1f}Z",
            fill=look.cloud,
            opacity=0.2,
        )
    )
    found.append(pen.box(middle + 8, y + 52, 8, 30, fill=look.front, opacity=0.7, line=look.muted))
    steps = ["mean", NORMS["batch"]] if network.head.norm == "batch" else [NORMS["layer"], "mean"]
    for i, line in enumerate(["", "", *steps, "linear", f"{network.classes:,}", "classes"]):
        found.append(pen.text(middle, y + 112 + 15 * i, line, anchor="middle", color=look.muted))
    return "".join(found)


def _stage_card(
    pen: Pen, x: float, y: float, width: float, tall: float, network: Architecture, index: int, local: bool
) -> str:
    """One stage: its blocks, what is in each of them, and what it costs."""
    stage, side, look = network.canonical.stages[index], network.maps[index], pen.look
    middle = x + width / 2
    widest = max(one.width for one in network.stages)
    found = [_card(pen, x, y, width, tall)]
    found.append(pen.text(x + 7, y + 18, f"Stage {index + 1}", size=12, bold=True))
    size = 11 if width > LEAST_CARD + 12 else 9.5
    found.append(pen.text(x + width - 6, y + 18, f"{side}×{side}", size=size, anchor="end", color=look.muted))
    found.append(parts.slabs(pen, x + 7, y + 28, width - 42, 76, stage, widest))
    found.append(pen.text(x + width - 7, y + 71, f"×{stage.depth}", size=14, bold=True, anchor="end"))
    found.append(pen.text(x + 7, y + 118, f"{stage.width} channels"))
    found.append(pen.path(f"M{x + 7:.1f} {y + 126:.1f}H{x + width - 7:.1f}", line=look.muted, thick=0.6))
    top = y + 134
    if local:
        if stage.local:
            found.append(parts.kernel(pen, x + 7, top, 16, 3, 3, parts.COLORS["conv"]))
            found.append(pen.text(x + 29, top + 12, "dw conv 3×3"))
        top += LOCAL_ROW
    found.append(parts.mixer_glyph(pen, middle - GLYPH / 2, top + 4, stage, side))
    found.append(parts.channel_bar(pen, x + 7, top + 70, width - 14, stage))
    for i, line in enumerate(mixer_lines(stage)):
        color = look.muted if i else look.ink
        found.append(pen.text(middle, top + 93 + 14 * i, line, anchor="middle", color=color))
    end = y + tall
    found.append(parts.ffn(pen, x + 7, end - 62, 26, 22, stage.ffn_ratio))
    found.append(pen.text(x + 40, end - 54, f"FFN ×{stage.ffn_ratio:.3g}"))
    found.append(
        pen.text(x + 40, end - 40, f"{ACTIVATIONS[stage.activation]}, {stage.norm[0].upper()}N", color=look.muted)
    )
    for i, line in enumerate(share(network, index)):
        found.append(pen.text(x + 7, end - 21 + 13 * i, line, color=look.muted))
    return "".join(found)


def down(pen: Pen, network: Architecture, width: float) -> tuple[list[str], float]:
    """Stages from top to bottom, and the height in pixels."""
    look, inner = pen.look, width - 2 * MARGIN
    size = network.image_size
    y = MARGIN
    found = [_card(pen, MARGIN, y, inner, 74), parts.stem_glyph(pen, 20, y + 12, 50, network.stem, size)]
    found.append(pen.text(88, y + 20, f"Stem · {size}×{size}×{network.in_channels}", size=12, bold=True))
    found += [
        pen.text(88, y + 38 + 15 * i, line, color=look.muted)
        for i, line in enumerate(textwrap.wrap(", ".join(stem_lines(network)), int((inner - 90) / 5.8))[:3])
    ]
    y += 74
    for index, stage in enumerate(network.canonical.stages):
        found.append(pen.arrow(MARGIN + 36, y + 3, 0, 16, look.muted))
        if stage.downsample is not None:
            found.append(pen.text(88, y + 15, f"↓2 {DOWNSAMPLES[stage.downsample]}", color=look.muted))
        y += 22
        found.append(_flat_card(pen, y, inner, network, index))
        y += 124
    found.append(pen.arrow(MARGIN + 36, y + 3, 0, 16, look.muted))
    y += 22
    norm = "mean, BatchNorm" if network.head.norm == "batch" else "LayerNorm, mean"
    found += [_card(pen, MARGIN, y, inner, 30), pen.text(MARGIN + 14, y + 19, "Head", size=12, bold=True)]
    found.append(pen.text(88, y + 19, f"{norm}, linear: {network.classes:,} classes", color=look.muted))
    return found, y + 30 + MARGIN


def _flat_card(pen: Pen, y: float, inner: float, network: Architecture, index: int) -> str:
    """One stage, its parts side by side."""
    stage, side, look = network.canonical.stages[index], network.maps[index], pen.look
    widest = max(one.width for one in network.stages)
    found = [_card(pen, MARGIN, y, inner, 124), parts.mixer_glyph(pen, 18, y + 16, stage, side)]
    found.append(parts.channel_bar(pen, 16, y + 84, 60, stage))
    found.append(parts.ffn(pen, 16, y + 98, 60, 18, stage.ffn_ratio))
    found.append(pen.text(88, y + 20, f"Stage {index + 1} · {side}×{side}", size=12, bold=True))
    first, *details = mixer_lines(stage)
    norm = f"{ACTIVATIONS[stage.activation]}, {NORMS[stage.norm]}"
    lines = [
        f"{stage.width} channels",
        first,
        ", ".join([*["dw 3×3"] * stage.local, *details]),
        f"FFN ×{stage.ffn_ratio:.3g}, {norm}",
        ", ".join(share(network, index)),
    ]
    for i, line in enumerate([line for line in lines if line]):
        color = look.ink if i < 2 else look.muted
        found.append(pen.text(88, y + 39 + 17 * i, line, color=color))
    room = 64.0
    left = MARGIN + inner - room - 36
    found.append(parts.slabs(pen, left, y + 10, room, 46, stage, widest))
    found.append(pen.text(MARGIN + inner - 10, y + 38, f"×{stage.depth}", size=14, bold=True, anchor="end"))
    return "".join(found)
