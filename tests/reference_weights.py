"""The published implementations' outputs in tests/reference, and the weights and images that led to them.

Weights are regenerated from (seed, published key, shape), images from (seed, name). Everything is random, also norm
scales, statistics, biases and bias tables: at their initial values most mistakes do not show. RandomState, because
its stream never changes.
"""

import json
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from search_spaces import Architecture, preset

HERE = Path(__file__).parent / "reference"


class Reference(NamedTuple):
    """One network of a published implementation."""

    name: str
    image_size: int
    keys: dict[str, list[int]]  # of its state dict, with shapes
    params: int
    params_folded: int
    macs: int
    outputs: dict[str, np.ndarray]


def reference(name: str) -> Reference:
    data = json.loads((HERE / f"{name}.json").read_text())
    with np.load(HERE / f"{name}.npz") as file:
        outputs = dict(file)
    folded = data["fused_params"] or data["params"]
    return Reference(name, data["image_size"], data["keys"], data["params"], folded, data["macs"], outputs)


def published_weights(name: str) -> dict[str, Tensor]:
    """The state dict in the published naming, without its derived buffers."""
    weights = {key: tensor_for(key, shape) for key, shape in reference(name).keys.items()}
    return {key: tensor for key, tensor in weights.items() if tensor is not None}


def tensor_for(key: str, shape: list[int], seed: int = 0) -> Tensor | None:
    """Weights of a published key; None for a buffer that holds none."""
    if key.endswith(("relative_position_index", "attn_mask", "num_batches_tracked")):
        return None
    values = _stream(f"{seed}:{key}").standard_normal(tuple(shape))
    if key.endswith("running_var"):
        values = np.exp(0.3 * values)
    elif key.endswith("running_mean"):
        values = 0.2 * values
    elif key.endswith("relative_position_bias_table"):
        pass
    elif len(shape) == 1 and key.endswith("weight"):  # of a norm
        values = 1.0 + 0.2 * values
        if key.endswith(("pw2.bn.weight", "proj.1.bn.weight")) or ".conv.m.bn." in key:
            values = 0.5 * values  # keeps the residual stream of order 1
    elif len(shape) == 1:
        values = 0.1 * values
    else:
        values = values / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(np.ascontiguousarray(values)).to(torch.float32)


def images_for(name: str, size: int, batch: int = 2, seed: int = 0) -> Tensor:
    """(batch, 3, size, size): noise, and per image and channel an offset, a gradient and a wave, so that images differ
    after pooling and rows and columns are not alike."""
    stream = _stream(f"{seed}:{name}:input")
    noise = stream.standard_normal((batch, 3, size, size))
    c = stream.standard_normal((batch, 3, 6))[..., None, None]
    t = np.arange(size) / size
    h, w = t[:, None], t[None, :]
    wave = np.sin(2 * np.pi * ((1 + c[:, :, 3]) * h + (2 + c[:, :, 4]) * w) + c[:, :, 5])
    x = 0.5 * noise + c[:, :, 0] + c[:, :, 1] * (2 * h - 1) + c[:, :, 2] * (1 - 2 * w) * 0.5 + wave
    return torch.from_numpy(np.ascontiguousarray(x)).to(torch.float32)


def _stream(text: str) -> np.random.RandomState:
    return np.random.RandomState(zlib.crc32(text.encode()) & 0x7FFFFFFF)


def swin_micro() -> Architecture:
    stages = [
        {"width": 24 * 2**i, "depth": 2, "mixer": {"kind": "window", "size": 4, "heads": 2**i}}
        | ({"downsample": "patch_merging"} if i else {})
        for i in range(4)
    ]
    return _architecture(64, {"kind": "patch", "stride": 4}, stages, "layer")


def shvit_micro() -> Architecture:
    common = {"local": True, "ffn_ratio": 2, "norm": "batch", "activation": "relu"}
    stages = [{"width": 32, "depth": 1, "mixer": {"kind": "none"}, **common}]
    for width, partial in ((56, 12), (84, 18)):
        mixer = {"kind": "single_head", "partial_channels": partial}
        stages.append({"width": width, "depth": 2, "mixer": mixer, "downsample": "inverted_residual", **common})
    return _architecture(96, {"kind": "conv", "stride": 16}, stages, "batch")


def _architecture(image_size: int, stem: dict, stages: list[dict], head: str) -> Architecture:
    return Architecture.from_dict(
        {
            "format": "vitscape/architecture@1",
            "image_size": image_size,
            "stem": stem,
            "stages": stages,
            "head": {"norm": head},
        }
    )


ARCHITECTURES = {
    "swin_micro_64w4": swin_micro,
    "shvit_micro": shvit_micro,
    "swin_tiny": lambda: preset("swin_t"),
    "shvit_s1": lambda: preset("shvit_s1"),
}
