"""The whole network: an Architecture built of its blocks."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

import torch
from torch import Tensor, nn

from search_spaces.architecture import (
    Architecture,
    ConvMixer,
    GlobalMixer,
    NoMixer,
    SingleHeadMixer,
    Stage,
    WindowMixer,
)
from search_spaces.blocks.conv import build_conv, build_local
from search_spaces.blocks.downsample import DOWNSAMPLES
from search_spaces.blocks.ffn import build_ffn
from search_spaces.blocks.global_attention import GlobalAttention
from search_spaces.blocks.head import HEADS
from search_spaces.blocks.residual import Residual
from search_spaces.blocks.single_head import SingleHeadAttention
from search_spaces.blocks.stem import build_stem
from search_spaces.blocks.window import WindowAttention
from search_spaces.errors import InputError

if TYPE_CHECKING:
    from search_spaces.blocks.backbone import Backbone


@overload
def build(architecture: Architecture | str | Path, *, features_only: Literal[False] = False) -> Network: ...
@overload
def build(
    architecture: Architecture | str | Path,
    *,
    features_only: Literal[True],
    out_indices: Sequence[int] | None = None,
    out_norms: bool = False,
) -> Backbone: ...
def build(
    architecture: Architecture | str | Path,
    *,
    features_only: bool = False,
    out_indices: Sequence[int] | None = None,
    out_norms: bool = False,
) -> Network | Backbone:
    """The network of an architecture, or of an architecture file, freshly initialised, in training mode.

    >>> logits = build("arch.yaml")(torch.randn(2, 3, 224, 224))  # (2, classes)
    >>> maps = build("arch.yaml", features_only=True)(torch.randn(2, 3, 800, 1333))  # [(2, C, H / 4, W / 4), ...]

    With `features_only` it is a Backbone, without head, whose outputs are the maps of the stages `out_indices`, all
    where none are named. Weights come from torch's global generator: seed it for the same ones again.

    Raises:
        SpecError: the file is no architecture.
        InputError: out_indices names a stage that is not there.
    """
    if not isinstance(architecture, Architecture):
        architecture = Architecture.load(architecture)
    if features_only:
        from search_spaces.blocks.backbone import Backbone

        return Backbone(architecture.canonical, out_indices, out_norms)
    if out_indices is not None or out_norms:
        raise InputError("out_indices and out_norms are a backbone's; give features_only=True with them")
    return channels_last(Network(architecture.canonical))


class Network(nn.Module):
    """Stem, stages and head: (B, channels, H, W) -> logits (B, classes).

    Made for `architecture.image_size`, it takes images of other sizes too.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.stem = build_stem(architecture)
        self.stages = build_stages(architecture, len(architecture.stages))
        self.head = HEADS[architecture.head.norm](architecture.stages[-1].width, architecture.classes)
        initialise(self)

    def features(self, images: Tensor) -> list[Tensor]:
        """The map after each stage, (B, C, H, W), finest first."""
        x = self.stem(images.contiguous(memory_format=torch.channels_last))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images)[-1])

    def fuse(self) -> Network:
        """A copy for inference, in eval mode, with every BatchNorm and bare convolutional residual folded away."""
        network = copy.deepcopy(self).eval()
        fold(network)
        return channels_last(network)


def build_stages(architecture: Architecture, number: int) -> nn.ModuleList:
    """The first `number` stages, each with the downsampling before it; drop path is linear over all blocks."""
    stages, blocks = architecture.stages, sum(stage.depth for stage in architecture.stages)
    rates = [architecture.drop_path * i / max(1, blocks - 1) for i in range(blocks)]
    built = nn.ModuleList()
    for i, (stage, side) in enumerate(zip(stages[:number], architecture.maps, strict=False)):
        parts = nn.Sequential()
        if stage.downsample is not None:
            parts.add_module("downsample", DOWNSAMPLES[stage.downsample](stages[i - 1].width, stage.width))
        own, rates = rates[: stage.depth], rates[stage.depth :]
        parts.add_module("blocks", nn.Sequential(*(build_block(stage, j, side, rate) for j, rate in enumerate(own))))
        built.append(parts)
    return built


def initialise(network: nn.Module) -> None:
    """Draw the weights of its linear layers: truncated normal, .02 (Swin); biases are zero."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def build_block(stage: Stage, index: int, side: int, drop_path: float) -> nn.Sequential:
    """Block `index` of a stage: residuals around local convolution, mixer and FFN, those that it has."""
    block = nn.Sequential()
    if stage.local:
        block.add_module("local", Residual(build_local(stage), drop_path))
    mixer = build_mixer(stage, index, side)
    if mixer is not None:
        block.add_module("mixer", Residual(mixer, drop_path))
    block.add_module("ffn", Residual(build_ffn(stage), drop_path))
    return block


def build_mixer(stage: Stage, index: int, side: int) -> nn.Module | None:
    """The token mixer of block `index`: of window attention, odd blocks shift."""
    match stage.mixer:
        case WindowMixer() as mixer:
            shift = mixer.shift_tokens if index % 2 else 0
            bias = mixer.relative_position_bias
            return WindowAttention(stage.width, mixer.heads, mixer.size, shift, side, stage.norm, bias)
        case GlobalMixer() as mixer:
            return GlobalAttention(stage.width, mixer.heads, stage.norm)
        case SingleHeadMixer() as mixer:
            partial = mixer.partial(stage.width)
            return SingleHeadAttention(stage.width, partial, mixer.qk_dim, stage.norm, stage.activation)
        case ConvMixer() as mixer:
            return build_conv(stage, mixer)
        case NoMixer():
            return None


def channels_last(network: Network) -> Network:
    """The network, its convolutions' weights laid out for channels-last maps."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def fold(module: nn.Module) -> None:
    """Replace, innermost first, every child that says what it folds to."""
    for name, child in list(module.named_children()):
        fold(child)
        folded = getattr(child, "folded", None)
        if callable(folded):
            setattr(module, name, folded())
