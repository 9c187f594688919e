"""The names that the official Swin and SHViT code, timm and DeiT give the weights that ours gives other names."""

from __future__ import annotations

import re
from collections.abc import Iterable

Rules = tuple[tuple[str, str], ...]  # (pattern, replacement), the first that matches wins

OURS = "ours"
SWIN, SWIN_TIMM = "official Swin", "timm Swin"
SHVIT, SHVIT_TIMM = "official SHViT", "timm SHViT"
DEIT = "DeiT (timm)"
UNKNOWN = "unknown"
NAMINGS = "ours, Swin's (official, timm), SHViT's (official, timm), DeiT's without class token (timm)"

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


def naming(names: Iterable[str]) -> str:
    """Whose names those of a state dict are: one of the constants above."""
    keys = list(names)

    def has(start: str) -> bool:
        return any(key.startswith(start) for key in keys)

    if has("stem."):
        return OURS
    if has("layers."):
        # official: merging at the end of the stage before, the classifier is the head; timm: at the start, head.fc
        timm = not has("layers.0.downsample.") and (has("layers.1.downsample.") or has("head.fc."))
        return SWIN_TIMM if timm else SWIN
    if has("patch_embed.0."):
        return SHVIT if has("blocks1.") else SHVIT_TIMM
    return DEIT if has("blocks.") and has("patch_embed.proj.") else UNKNOWN


def rename(names: Iterable[str]) -> dict[str, str]:
    """Our name for each name in a state dict, as far as the naming is known; others stay as they are."""
    keys = list(names)
    whose = naming(keys)
    if whose in (OURS, UNKNOWN):
        return {key: key for key in keys}
    steps = keys
    if whose == SWIN:
        steps = [re.sub(r"^layers\.(\d+)\.downsample", _next_layer, key) for key in keys]
    elif whose == SHVIT:
        steps = [_shvit_as_timm(key) for key in keys]
    if whose in (SHVIT, SHVIT_TIMM):
        steps = [re.sub(r"\.c\.(weight)$", r".conv.\1", step) for step in steps]
    rules = {SWIN: _SWIN, SWIN_TIMM: _SWIN, SHVIT: _SHVIT, SHVIT_TIMM: _SHVIT, DEIT: _VIT}[whose]
    return {key: _apply(rules, step) for key, step in zip(keys, steps, strict=True)}


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
