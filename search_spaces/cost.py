"""Closed-form cost of an architecture, without building it: the integers that a counter finds on the built network.

MACs are multiply-adds of convolutions, linear layers and matrix products, for one image, padded window work included;
norms, activations and pooling are not MACs. Activations are the elements that those operators put out, as fvcore's
ActivationCountAnalysis counts them (Dollar et al. 2021), attention scores included.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from search_spaces.architecture import (
    Architecture,
    ConvMixer,
    GlobalMixer,
    NoMixer,
    PatchStem,
    SingleHeadMixer,
    Stage,
    WindowMixer,
    squeeze_width,
)


class Layer(NamedTuple):
    """Cost of one part of the network, named as in the built module."""

    name: str  # "stages.1.blocks.0.mixer"
    macs: int  # multiply-adds, one image
    params: int
    params_folded: int  # after Conv-BN folding
    activations: int  # elements, one image


@dataclass(frozen=True)
class Cost:
    """Totals for one image, and `layers`, the same part by part."""

    macs: int
    params: int
    params_folded: int
    activations: int
    parts: tuple[tuple[str, int, Part], ...] = field(repr=False)  # (name with {} for the block, blocks, cost of one)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The parts in the order of the forward pass."""
        found, start = [], 0
        while start < len(self.parts):  # local, mixer and ffn of a stage alternate block by block
            end = start + 1
            if "{" in self.parts[start][0]:
                stage = self.parts[start][0].split("{")[0]
                while end < len(self.parts) and self.parts[end][0].startswith(stage):
                    end += 1
            for j in range(self.parts[start][1]):
                found += [Layer(name.format(j), *part) for name, _, part in self.parts[start:end]]
            start = end
        return tuple(found)


class Part(NamedTuple):
    """macs, params, params_folded, activations of one part."""

    macs: int
    params: int
    params_folded: int
    activations: int

    def plus(self, *others: Part) -> Part:
        """The sum of parts."""
        return Part(*map(sum, zip(self, *others, strict=True)))


def cost(architecture: Architecture) -> Cost:
    """MACs, parameters (also after folding) and activations of an architecture; integers, for one image."""
    stages = architecture.stages
    parts = [("stem", 1, _stem(architecture))]
    previous, previous_side = 0, 0
    for i, (stage, side) in enumerate(zip(stages, architecture.maps, strict=True)):
        if stage.downsample is not None:
            down = _merging if stage.downsample == "patch_merging" else _inverted
            parts.append((f"stages.{i}.downsample", 1, down(previous, stage.width, previous_side**2, side**2)))
        if stage.local:
            parts.append((f"stages.{i}.blocks.{{}}.local", stage.depth, _depthwise(stage, 3, side**2, False)))
        if not isinstance(stage.mixer, NoMixer):
            parts.append((f"stages.{i}.blocks.{{}}.mixer", stage.depth, _mixer(stage, side)))
        parts.append((f"stages.{i}.blocks.{{}}.ffn", stage.depth, _ffn(stage, side**2)))
        previous, previous_side = stage.width, side
    parts.append(("head", 1, _head(architecture)))
    macs, params, folded, activations = (sum(blocks * part[i] for _, blocks, part in parts) for i in range(4))
    return Cost(macs, params, folded, activations, tuple(parts))


def _conv_bn(width: int, out: int, taps: int, out_tokens: int, groups: int = 1) -> Part:
    weights = width // groups * out * taps
    return Part(weights * out_tokens, weights + 2 * out, weights + out, out * out_tokens)


def _linear(width: int, out: int, tokens: int, norm: str = "layer", bias: bool = True) -> Part:
    weights = width * out
    params = weights + (out * bias if norm == "layer" else 2 * out)
    folded = params if norm == "layer" else weights + out
    return Part(weights * tokens, params, folded, out * tokens)


def _norm(width: int) -> Part:
    return Part(0, 2 * width, 2 * width, 0)  # weight and bias; no MACs by definition


def _stem(architecture: Architecture) -> Part:
    stem, width, channels = architecture.stem, architecture.stages[0].width, architecture.in_channels
    tokens = architecture.maps[0] ** 2
    if isinstance(stem, PatchStem):
        part = _linear(channels * stem.stride**2, width, tokens)
        if stem.norm == "layer":
            part = part.plus(_norm(width))
    else:
        part, side, before = Part(0, 0, 0, 0), architecture.image_size, channels
        for after in stem.widths(width):
            side = -(-side // 2)
            part, before = part.plus(_conv_bn(before, after, 9, side**2)), after
    if stem.position == "absolute":
        part = part.plus(Part(0, width * tokens, width * tokens, 0))
    return part


def _merging(width: int, out: int, _: int, out_tokens: int) -> Part:
    return _norm(4 * width).plus(_linear(4 * width, out, out_tokens, bias=False))


def _inverted(width: int, out: int, tokens: int, out_tokens: int) -> Part:
    reduced = squeeze_width(width)
    return _conv_bn(width, width, 9, tokens, width).plus(
        _conv_bn(width, 2 * width, 1, tokens),
        _conv_bn(2 * width, width, 1, tokens),
        _conv_bn(width, 4 * width, 1, tokens),
        _conv_bn(4 * width, 4 * width, 9, out_tokens, 4 * width),
        _linear(4 * width, reduced, 1),
        _linear(reduced, 4 * width, 1),
        _conv_bn(4 * width, out, 1, out_tokens),
        _conv_bn(out, out, 9, out_tokens, out),
        _conv_bn(out, 2 * out, 1, out_tokens),
        _conv_bn(2 * out, out, 1, out_tokens),
    )


def _depthwise(stage: Stage, kernel: int, tokens: int, pre_norm: bool) -> Part:
    if stage.norm == "batch":
        return _conv_bn(stage.width, stage.width, kernel**2, tokens, stage.width)
    params = stage.width * (kernel**2 + 1)
    part = Part(stage.width * kernel**2 * tokens, params, params, stage.width * tokens)
    return part.plus(_norm(stage.width)) if pre_norm else part


def _mixer(stage: Stage, side: int) -> Part:
    width = stage.width
    match stage.mixer:
        case WindowMixer() as mixer:
            window = min(mixer.size, side)
            tokens = (-(-side // window) * window) ** 2
            part = _attention(stage, mixer.heads, tokens, window**2)
            table = (2 * window - 1) ** 2 * mixer.heads
            return part.plus(Part(0, table, table, 0)) if mixer.relative_position_bias else part
        case GlobalMixer() as mixer:
            return _attention(stage, mixer.heads, side**2, side**2)
        case SingleHeadMixer() as mixer:
            partial, tokens = mixer.partial(width), side**2
            scores = tokens**2
            attention = Part(scores * (mixer.qk_dim + partial), 0, 0, scores + tokens * partial)
            return attention.plus(
                _norm(width if stage.norm == "layer" else partial),
                _linear(partial, 2 * mixer.qk_dim + partial, tokens, stage.norm),
                _linear(width, width, tokens, stage.norm),
            )
        case ConvMixer() as mixer:
            return _depthwise(stage, mixer.kernel, side**2, True)
        case NoMixer():
            return Part(0, 0, 0, 0)


def _attention(stage: Stage, heads: int, tokens: int, keys: int) -> Part:
    width = stage.width
    part = _linear(width, 3 * width, tokens, stage.norm).plus(
        Part(2 * tokens * keys * width, 0, 0, tokens * keys * heads + tokens * width),
        _linear(width, width, tokens, stage.norm),
    )
    return part.plus(_norm(width)) if stage.norm == "layer" else part


def _ffn(stage: Stage, tokens: int) -> Part:
    width, hidden = stage.width, stage.hidden
    part = _linear(width, hidden, tokens, stage.norm).plus(_linear(hidden, width, tokens, stage.norm))
    return part.plus(_norm(width)) if stage.norm == "layer" else part


def _head(architecture: Architecture) -> Part:
    width, batch = architecture.stages[-1].width, architecture.head.norm == "batch"
    return _linear(width, architecture.classes, 1).plus(Part(0, 2 * width, 0 if batch else 2 * width, 0))
