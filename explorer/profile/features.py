"""What an architecture asks of a device, in closed form: the work of its operators, summed by kind; no torch.

The kinds are those that a device runs by different code, so that time is nearly a sum of a price a call, a price a
multiply-add and a price an element of each kind (explorer/profile/predict.py finds the prices). Networks are counted
as they are timed: BatchNorm folded, one image.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from search_spaces.architecture import (
    Architecture,
    ConvMixer,
    GlobalMixer,
    PatchStem,
    SingleHeadMixer,
    Stage,
    WindowMixer,
    squeeze_width,
)

LANES = 16  # channels that dense code works on at once: 308 channels take the time of 320
TILES = ((768, 256), (192, 64), (0, 32))  # (queries from, rows of a tile): how fused attention cuts its work


class Work(NamedTuple):
    """What operators of one kind do for one image."""

    kind: str  # in words
    calls: int
    macs: int  # multiply-adds, as cost() counts them
    padded: int  # the same with channels rounded up to LANES
    elements: int  # read and written


def work(architecture: Architecture) -> list[Work]:
    """The work of the network's operators in about the order of the forward pass; their MACs are cost()'s."""
    network = architecture.canonical
    found = list(_stem(network))
    width = tokens = 0
    for stage, side in zip(network.stages, network.maps, strict=True):
        if stage.downsample == "patch_merging":
            found += [_moved("copy", side**2 * 4 * width), _moved("norm", side**2 * 4 * width)]
            found += _dense("linear layer", side**2, 4 * width, stage.width)
        elif stage.downsample is not None:
            found += _inverted(width, stage.width, tokens, side**2)
        for index in range(stage.depth):
            found += _block(stage, side, index)
        width, tokens = stage.width, side**2
    if network.head.norm == "layer":
        found.append(_moved("norm", tokens * width))
    macs = width * network.classes
    return [*found, Work("classifier", 1, macs, macs, tokens * width + macs)]


def features(architectures: Sequence[Architecture], names: Sequence[str] | None = None) -> NDArray[np.float64]:
    """(architectures, columns) work by kind; the columns are `names`, by default those of `columns(architectures)`."""
    places = {name: i for i, name in enumerate(columns(architectures) if names is None else names)}
    table = np.zeros((len(architectures), len(places)))
    for row, architecture in zip(table, architectures, strict=True):
        for name, value in _named(work(architecture)):
            if name in places:
                row[places[name]] += value
    return table


def columns(architectures: Iterable[Architecture]) -> tuple[str, ...]:
    """Names of all that these networks do: "linear layer: calls", "linear layer: macs", ...; sorted."""
    return tuple(sorted({name for a in architectures for name, value in _named(work(a)) if value}))


def kinds(architecture: Architecture) -> frozenset[str]:
    """The kinds of parts and operators that a network has, in words: "window mixer", "conv stem", "gelu", ..."""
    network = architecture.canonical
    parts = {f"{network.stem.kind} stem", *(f"{stage.mixer.kind} mixer" for stage in network.stages)}
    parts |= {f"{stage.downsample} downsample" for stage in network.stages if stage.downsample}
    return frozenset(parts | {part.kind for part in work(network)})


def sizes(architecture: Architecture) -> dict[str, float]:
    """The sizes by which networks of one space differ most: what a predictor must have seen the range of."""
    network = architecture.canonical
    return {
        "image size": network.image_size,
        "widest stage": max(stage.width for stage in network.stages),
        "widest hidden layer": max(stage.hidden for stage in network.stages),
        "finest map": network.maps[0],
        "blocks": sum(stage.depth for stage in network.stages),
        "classes": network.classes,
    }


def _named(parts: Iterable[Work]) -> Iterator[tuple[str, int]]:
    for kind, calls, _, padded, elements in parts:
        yield f"{kind}: calls", calls
        yield f"{kind}: macs", padded
        yield f"{kind}: elements", elements


def _pad(channels: int) -> int:
    return -(-channels // LANES) * LANES


def _moved(kind: str, elements: int, calls: int = 1) -> Work:
    return Work(kind, calls, 0, 0, elements)


def _dense(kind: str, tokens: int, width: int, out: int) -> list[Work]:
    macs, padded = tokens * width * out, tokens * _pad(width) * _pad(out)
    return [Work(kind, 1, macs, padded, tokens * (width + out)), _moved(f"weights of a {kind}", width * out, 0)]


def _depthwise(width: int, kernel: int, tokens: int, out_tokens: int) -> Work:
    macs = kernel**2 * width * out_tokens
    return Work("depthwise convolution", 1, macs, macs, width * (tokens + out_tokens))


def _stem(network: Architecture) -> Iterator[Work]:
    stem, width, side, channels = network.stem, network.stages[0].width, network.image_size, network.in_channels
    tokens = network.maps[0] ** 2
    if isinstance(stem, PatchStem):
        macs = tokens * channels * stem.stride**2 * width
        yield Work("patch convolution", 1, macs, macs, channels * side**2 + tokens * width)
        if stem.norm == "layer":
            yield _moved("norm", tokens * width)
    else:
        for out in stem.widths(width):
            half = -(-side // 2)
            macs = 9 * half**2 * channels * out
            yield Work("3x3 convolution", 1, macs, macs, side**2 * channels + half**2 * out)
            yield _moved("relu", half**2 * out)
            side, channels = half, out
    if stem.position == "absolute":
        yield _moved("copy", tokens * width)


def _inverted(width: int, out: int, tokens: int, out_tokens: int) -> Iterator[Work]:
    yield _depthwise(width, 3, tokens, tokens)
    yield from _conv_ffn(width, 2 * width, tokens, "relu")
    yield from _dense("1x1 convolution", tokens, width, 4 * width)
    yield _moved("relu", 4 * width * tokens)
    yield _depthwise(4 * width, 3, tokens, out_tokens)
    yield _moved("relu", 4 * width * out_tokens)
    macs = 8 * width * squeeze_width(width)
    yield Work("squeeze-excite", 1, macs, macs, 8 * width * out_tokens)
    yield from _dense("1x1 convolution", out_tokens, 4 * width, out)
    yield _depthwise(out, 3, out_tokens, out_tokens)
    yield from _conv_ffn(out, 2 * out, out_tokens, "relu")


def _conv_ffn(width: int, hidden: int, tokens: int, activation: str, kind: str = "1x1 convolution") -> Iterator[Work]:
    yield from _dense(kind, tokens, width, hidden)
    yield _moved(activation, tokens * hidden)
    yield from _dense(kind, tokens, hidden, width)
    yield _moved("residual", tokens * width)


def _block(stage: Stage, side: int, index: int) -> Iterator[Work]:
    tokens, width, layer_norm = side**2, stage.width, stage.norm == "layer"
    if stage.local:
        yield _depthwise(width, 3, tokens, tokens)
    match stage.mixer:
        case WindowMixer() | GlobalMixer():
            yield from _attention(stage, side, index)
        case SingleHeadMixer() as mixer:
            yield from _single_head(stage, mixer, tokens)
        case ConvMixer() as mixer:
            yield _depthwise(width, mixer.kernel, tokens, tokens)
            if layer_norm:  # else folded into the convolution
                yield from (_moved("norm", tokens * width), _moved("residual", tokens * width))
    if layer_norm:
        yield _moved("norm", tokens * width)
    yield from _conv_ffn(
        width, stage.hidden, tokens, stage.activation, "linear layer" if layer_norm else "1x1 convolution"
    )


def _attention(stage: Stage, side: int, index: int) -> Iterator[Work]:
    width, mixer = stage.width, stage.mixer
    tokens = keys = side**2
    bias = False
    assert isinstance(mixer, WindowMixer | GlobalMixer)
    if isinstance(mixer, WindowMixer):
        window = min(mixer.size, side)
        tokens, keys = (-(-side // window) * window) ** 2, window**2
        shifted = bool(index % 2 and mixer.shift_tokens)
        bias = mixer.relative_position_bias or shifted or tokens != side**2
        yield _moved("copy", 2 * tokens * width)
        if shifted:
            yield _moved("roll", 2 * tokens * width)
        if tokens != side**2:
            yield _moved("copy", tokens * width)
    if stage.norm == "layer":
        yield _moved("norm", side**2 * width)
    yield from _dense("linear layer", tokens, width, 3 * width)
    yield from _fused(tokens // keys * mixer.heads, keys, width // mixer.heads, bias)
    yield from _dense("linear layer", tokens, width, width)
    yield _moved("residual", side**2 * width)


def _fused(problems: int, keys: int, head_dim: int, bias: bool) -> Iterator[Work]:
    """Fused attention of so many heads and windows, each of `keys` tokens."""
    scores = problems * keys**2
    padded = 2 * scores * _pad(head_dim)
    yield Work("attention", 1, 2 * scores * head_dim, padded, scores)
    yield _moved("heads gathered", 4 * problems * keys * head_dim)
    rows = next(rows for least, rows in TILES if keys >= least)
    yield _moved("attention tile", 0, problems * -(-keys // rows) * -(-keys // 512))
    if head_dim % LANES:
        yield Work("attention of uneven heads", 0, 0, padded, scores)
    if bias:
        yield _moved("attention bias", scores, 0)


def _single_head(stage: Stage, mixer: SingleHeadMixer, tokens: int) -> Iterator[Work]:
    width, partial = stage.width, mixer.partial(stage.width)
    projected = 2 * mixer.qk_dim + partial
    yield _moved("norm", tokens * width) if stage.norm == "layer" else _moved("group norm", tokens * partial)
    yield from _dense("1x1 convolution", tokens, partial, projected)
    yield _moved("copy", tokens * projected)
    if partial == mixer.qk_dim:  # fused attention wants values as wide as the keys
        yield from _fused(1, tokens, partial, False)
    else:
        macs = tokens**2 * (mixer.qk_dim + partial)
        yield Work("unfused attention", 1, macs, macs, tokens**2)
    yield _moved("concatenation", 2 * tokens * width)
    yield _moved(stage.activation, tokens * width)
    yield from _dense("1x1 convolution", tokens, width, width)
    yield _moved("residual", tokens * width)
