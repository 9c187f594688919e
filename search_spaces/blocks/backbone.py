"""The network without its head, under a detector or a segmenter: (B, channels, H, W) -> maps of chosen stages."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from search_spaces.architecture import Architecture
from search_spaces.blocks.network import build_stages, fold, initialise
from search_spaces.blocks.stem import build_stem
from search_spaces.errors import InputError


class FeatureInfo(list[dict[str, Any]]):
    """Channels, stride and module of every stage; the methods tell those of the outputs, as timm's do.

    >>> build("swin_t.yaml", features_only=True, out_indices=(1, 2)).feature_info.channels()
    [192, 384]
    """

    def __init__(self, architecture: Architecture, out_indices: Sequence[int]) -> None:
        super().__init__(
            {
                "num_chs": stage.width,
                "reduction": architecture.stem.stride * 2**i,
                "module": f"stages.{i}",
                "index": i,
            }
            for i, stage in enumerate(architecture.stages)
        )
        self.out_indices = tuple(out_indices)

    @property
    def info(self) -> list[dict[str, Any]]:
        """The list itself."""
        return self

    def get(self, key: str, idx: int | Sequence[int] | None = None) -> Any:
        """The entry of each output; or of stage `idx`, or of each of several."""
        if isinstance(idx, int):
            return self[idx][key]
        return [self[i][key] for i in (self.out_indices if idx is None else idx)]

    def get_dicts(self, keys: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """What is known of each output, or the entries `keys` of it."""
        return [{k: self[i][k] for k in (self[i] if keys is None else keys)} for i in self.out_indices]

    def channels(self, idx: int | Sequence[int] | None = None) -> Any:
        """Channels of each output."""
        return self.get("num_chs", idx)

    def reduction(self, idx: int | Sequence[int] | None = None) -> Any:
        """Stride of each output in pixels."""
        return self.get("reduction", idx)

    def module_name(self, idx: int | Sequence[int] | None = None) -> Any:
        """Name of the module that makes each output."""
        return self.get("module", idx)


class Backbone(nn.Module):
    """Stem and stages: (B, channels, H, W) of any size -> [(B, C, ceil(H / stride), ceil(W / stride)), ...].

    Its weights have the names that they have in the full network. Stages after the last output are not there, so
    every parameter takes part in the outputs. `out_norms` adds a LayerNorm to each output, as Swin's detection code
    does: networks with pre-norm leave their maps unnormalised. It is not the default, since no classifier has weights
    for it, and stages with BatchNorm need none.
    """

    def __init__(
        self, architecture: Architecture, out_indices: Sequence[int] | None = None, out_norms: bool = False
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.out_indices = chosen(out_indices, len(architecture.stages))
        self.feature_info = FeatureInfo(architecture, self.out_indices)
        self.stem = build_stem(architecture)
        self.stages = build_stages(architecture, self.out_indices[-1] + 1)
        self.out_norms = out_norms
        if out_norms:
            for i in self.out_indices:  # norm0, norm1, ...: as in Swin's detection checkpoints
                self.add_module(f"norm{i}", nn.LayerNorm(architecture.stages[i].width))
        initialise(self)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.stem(images.contiguous(memory_format=torch.channels_last))
        maps = []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in self.out_indices:
                maps.append(self._normalised(x, i) if self.out_norms else x)
        return maps

    def _normalised(self, x: Tensor, stage: int) -> Tensor:
        return self.get_submodule(f"norm{stage}")(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def fuse(self) -> Backbone:
        """A copy for inference, in eval mode, with every BatchNorm and bare convolutional residual folded away."""
        backbone = copy.deepcopy(self).eval()
        fold(backbone)
        backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return backbone


def chosen(out_indices: Sequence[int] | None, stages: int) -> tuple[int, ...]:
    """The stages that indices name, negative ones from the end, ascending; all for None."""
    if out_indices is None:
        return tuple(range(stages))
    there = f"the stages there are: 0 to {stages - 1}, or -{stages} to -1 from the end"
    told = f"out_indices={out_indices!r}"
    if isinstance(out_indices, int | str) or not all(type(i) is int for i in out_indices):
        raise InputError(f"{told}: give a list of whole numbers; {there}")
    if not out_indices:
        raise InputError(f"{told}: give at least one; {there}")
    for i in out_indices:
        if not -stages <= i < stages:
            raise InputError(f"{told}: there is no stage {i}; {there}")
    found = sorted(i % stages for i in out_indices)
    if len(set(found)) < len(found):
        raise InputError(f"{told}: a stage is named twice; give each once, maps come in the order of the stages")
    return tuple(found)
