"""Published weights into our networks: the namings of the official Swin, SHViT and DeiT code and of timm."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from search_spaces.blocks.network import Network

Rules = tuple[tuple[str, str], ...]  # (pattern, replacement), the first that matches wins

_SWIN: Rules = (
    (r"patch_embed\.(proj|norm)\.(.+)", r"stem.embed.\1.\2"),
    (r"absolute_pos_embed", r"stem.position.embedding"),
    (r"layers\.(\d+)\.blocks\.(\d+)\.norm1\.(.+)", r"stages.\1.blocks.\2.mixer.body.norm.\3"),
    (r"layers\.(\d+)\.blocks\.(\d+)\.attn\.(.+)", r"stages.\1.blocks.\2.mixer.body.\3"),
    (r"layers\.(\d+)\.blocks\.(\d+)\.norm2\.(.+)", r"stages.\1.blocks.\2.ffn.body.norm.\3"),
    (r"layers\.(\d+)\.blocks\.(\d+)\.mlp\.(.+)", r"stages.\1.blocks.\2.ffn.body.\3"),
    (r"layers\.(\d+)\.downsample\.(.+)", r"stages.\1.downsample.\2"),
    (r"norm\.(.+)", r"head.norm.\1"),
    (r"head\.(?:fc\.)?(weight|bias)", r"head.fc.\1"),
)
_VIT: Rules = (
    (r"patch_embed\.proj\.(.+)", r"stem.embed.proj.\1"),
    (r"pos_embed", r"stem.position.embedding"),
    (r"blocks\.(\d+)\.norm1\.(.+)", r"stages.0.blocks.\1.mixer.body.norm.\2"),
    (r"blocks\.(\d+)\.attn\.(.+)", r"stages.0.blocks.\1.mixer.body.\2"),
    (r"blocks\.(\d+)\.norm2\.(.+)", r"stages.0.blocks.\1.ffn.body.norm.\2"),
    (r"blocks\.(\d+)\.mlp\.(.+)", r"stages.0.blocks.\1.ffn.body.\2"),
    (r"(?:norm|fc_norm)\.(.+)", r"head.norm.\1"),
    (r"head\.(weight|bias)", r"head.fc.\1"),
)
_SHVIT: Rules = (
    (r"patch_embed\.(\d)\.(.+)", lambda m: f"stem.embed.steps.{int(m[1]) // 2}.{m[2]}"),  # type: ignore[assignment]
    (r"stages\.(\d+)\.downsample\.0\.m\.(.+)", r"stages.\1.downsample.local1.body.\2"),
    (r"stages\.(\d+)\.downsample\.1\.m\.pw(\d)\.(.+)", r"stages.\1.downsample.ffn1.body.fc\2.\3"),
    (r"stages\.(\d+)\.downsample\.2\.conv1\.(.+)", r"stages.\1.downsample.expand.\2"),
    (r"stages\.(\d+)\.downsample\.2\.conv2\.(.+)", r"stages.\1.downsample.depthwise.\2"),
    (r"stages\.(\d+)\.downsample\.2\.conv3\.(.+)", r"stages.\1.downsample.project.\2"),
    (r"stages\.(\d+)\.downsample\.2\.se\.fc1\.(.+)", r"stages.\1.downsample.se.reduce.\2"),
    (r"stages\.(\d+)\.downsample\.2\.se\.fc2\.(.+)", r"stages.\1.downsample.se.expand.\2"),
    (r"stages\.(\d+)\.downsample\.3\.m\.(.+)", r"stages.\1.downsample.local2.body.\2"),
    (r"stages\.(\d+)\.downsample\.4\.m\.pw(\d)\.(.+)", r"stages.\1.downsample.ffn2.body.fc\2.\3"),
    (r"stages\.(\d+)\.blocks\.(\d+)\.conv\.m\.(.+)", r"stages.\1.blocks.\2.local.body.\3"),
    (r"stages\.(\d+)\.blocks\.(\d+)\.mixer\.m\.pre_norm\.(.+)", r"stages.\1.blocks.\2.mixer.body.norm.\3"),
    (r"stages\.(\d+)\.blocks\.(\d+)\.mixer\.m\.proj\.1\.(.+)", r"stages.\1.blocks.\2.mixer.body.proj.\3"),
    (r"stages\.(\d+)\.blocks\.(\d+)\.mixer\.m\.qkv\.(.+)", r"stages.\1.blocks.\2.mixer.body.qkv.\3"),
    (r"stages\.(\d+)\.blocks\.(\d+)\.ffn\.m\.pw(\d)\.(.+)", r"stages.\1.blocks.\2.ffn.body.fc\3.\4"),
    (r"head\.bn\.(.+)", r"head.norm.\1"),
    (r"head\.l\.(.+)", r"head.fc.\1"),
)
_DERIVED = ("relative_position_index", "attn_mask")  # buffers that hold no weights
_NAMINGS = "ours, Swin's (official, timm), SHViT's (official, timm), DeiT's without class token (timm)"


def load_weights(network: Network, state_dict: Mapping[str, object]) -> Network:
    """The network, with the weights of a state dict in our naming or a published one placed in it.

    Strict: every weight finds its place and every place its weight, with equal shapes (a 1x1 convolution may be
    stored as a matrix, a position embedding as tokens), or nothing is changed.

    Raises:
        ValueError: one line that lists what cannot be placed, what is missing, and what has another shape.
    """
    wanted = network.state_dict()
    tensors = _tensors(state_dict)
    places = rename(tensors)
    given = {place: tensors[key] for key, place in places.items()}
    for key in wanted:  # not in every published file, and of no effect on inference
        if key.endswith("num_batches_tracked"):
            given.setdefault(key, wanted[key])
    problems = []
    if left := [key for key, place in places.items() if place not in wanted]:
        problems.append(f"not placed: {_some(left)}")
    if len(given) < len(places):
        taken = list(places.values())
        problems.append(f"two for one place: {_some([key for key, p in places.items() if taken.count(p) > 1])}")
    if missing := [key for key in wanted if key not in given]:
        problems.append(f"missing: {_some(missing)}")
    fitted = {key: _fit(given[key], wanted[key]) for key in wanted if key in given}
    wrong = [f"{k} {tuple(given[k].shape)}, needs {tuple(wanted[k].shape)}" for k, v in fitted.items() if v is None]
    if wrong:
        problems.append(f"wrong shape: {_some(wrong)}")
    if problems:
        raise ValueError(f"weights do not fit this architecture (namings known: {_NAMINGS}): {'; '.join(problems)}")
    network.load_state_dict(fitted)
    return network


def rename(names: Iterable[str]) -> dict[str, str]:
    """Our name for each name in a state dict, as far as the naming is known; others stay as they are."""
    keys = [key for key in names if not key.endswith(_DERIVED)]
    if any(key.startswith("stem.") for key in keys):
        return {key: key for key in keys}
    steps = {key: key for key in keys}
    if any(key.startswith("layers.") for key in keys):
        rules = _SWIN
        if any(key.startswith("layers.0.downsample.") for key in keys):  # official: at the end of the stage before
            steps = {key: re.sub(r"^layers\.(\d+)\.downsample", _next_layer, key) for key in keys}
    elif any(key.startswith("patch_embed.0.") for key in keys):
        rules = _SHVIT
        if any(key.startswith("blocks1.") for key in keys):
            steps = {key: _shvit_as_timm(key) for key in keys}
        steps = {key: re.sub(r"\.c\.(weight)$", r".conv.\1", step) for key, step in steps.items()}
    else:
        rules = _VIT
    return {key: _apply(rules, step) for key, step in steps.items()}


def _apply(rules: Rules, key: str) -> str:
    for pattern, replacement in rules:
        if match := re.fullmatch(pattern, key):
            return match.expand(replacement) if isinstance(replacement, str) else replacement(match)
    return key


def _next_layer(match: re.Match[str]) -> str:
    return f"layers.{int(match[1]) + 1}.downsample"


def _shvit_as_timm(key: str) -> str:
    # official: blocksN is one Sequential, whose first three entries are the transition in stages 2 and 3
    match = re.fullmatch(r"blocks(\d)\.(\d+)\.(.+)", key)
    if match is None:
        return key
    stage, index, rest = int(match[1]) - 1, int(match[2]), match[3]
    if stage == 0:
        return f"stages.0.blocks.{index}.{rest}"
    if index == 1:
        return f"stages.{stage}.downsample.2.{rest}"
    if index in (0, 2):
        inner, rest = rest.split(".", 1)
        return f"stages.{stage}.downsample.{int(inner) + (3 if index else 0)}.{rest}"
    return f"stages.{stage}.blocks.{index - 3}.{rest}"


def _tensors(state_dict: Mapping[str, object]) -> dict[str, Tensor]:
    for wrapper in ("model", "state_dict"):
        inner = state_dict.get(wrapper)
        if isinstance(inner, Mapping):
            return _tensors(inner)
    strangers = [key for key, value in state_dict.items() if not isinstance(value, Tensor)]
    if strangers:
        raise ValueError(f"not a state dict: {_some(strangers)} is no tensor; give the mapping from names to tensors")
    return {key: value for key, value in state_dict.items() if isinstance(value, Tensor)}


def _fit(value: Tensor, wanted: Tensor) -> Tensor | None:
    if value.shape == wanted.shape:
        return value
    if wanted.ndim == 4 and value.ndim == 2 and wanted.shape[2:] == (1, 1) and value.shape == wanted.shape[:2]:
        return value[:, :, None, None]  # older SHViT files
    if wanted.ndim == 4 and value.ndim == 3 and wanted.shape[0] == 1 and value.shape[1] == wanted[0, 0].numel():
        return value.transpose(1, 2).reshape(wanted.shape)  # position embedding (1, N, C)
    return None


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
