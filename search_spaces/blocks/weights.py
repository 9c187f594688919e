"""Weights into our networks and backbones, in our naming or a published one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isqrt
from typing import TypeVar

from torch import Tensor

from search_spaces.blocks.backbone import Backbone
from search_spaces.blocks.namings import NAMINGS, UNKNOWN, naming, rename
from search_spaces.blocks.network import Network
from search_spaces.blocks.resample import resample_embedding, resample_table, window_of

Built = TypeVar("Built", Network, Backbone)

_DERIVED = ("relative_position_index", "attn_mask")  # buffers that hold no weights
_TABLE, _EMBEDDING = "relative_position_bias_table", "position.embedding"
_TOKENS = ("cls_token", "dist_token")


@dataclass(frozen=True)
class Placement:
    """What became of each weight of a state dict."""

    naming: str  # whose names they have
    placed: dict[str, str]  # theirs -> ours
    left_over: dict[str, str]  # theirs -> why it has no place
    fresh: tuple[str, ...]  # ours, left as initialised
    resampled: dict[str, tuple[int, int]]  # ours -> from, to: window or map, in tokens along one side


def load_weights(network: Built, state_dict: Mapping[str, object], *, resample: bool = False) -> Built:
    """The network, with the weights of a state dict in our naming or a published one placed in it.

    Strict: every weight finds its place and every place its weight, with equal shapes (a 1x1 convolution may be
    stored as a matrix, a position embedding as tokens), or nothing is changed. A backbone takes those of the full
    network. With `resample`, position tables of another window or image size are interpolated.

    Raises:
        ValueError: one line that lists what cannot be placed, what is missing, and what has another shape.
    """
    place_weights(network, state_dict, resample=resample)
    return network


def place_weights(
    network: Network | Backbone, state_dict: Mapping[str, object], *, resample: bool = False, drop_head: bool = False
) -> Placement:
    """As `load_weights`, telling what was placed where; with `drop_head` the classifier stays as initialised."""
    wanted = network.state_dict()
    tensors = _tensors(state_dict)
    places = rename(tensors)
    left_over = {}
    for key, place in list(places.items()):
        if why := _left_over(place, network, drop_head):
            left_over[key] = why
            del places[key]
    given = {place: tensors[key] for key, place in places.items()}
    fresh = tuple(key for key in wanted if key not in given and _may_be_fresh(key, network, drop_head))
    for key in wanted:  # not in every published file, and of no effect on inference
        if key.endswith("num_batches_tracked") or key in fresh:
            given.setdefault(key, wanted[key])
    problems = []
    if left := [key for key, place in places.items() if place not in wanted]:
        problems.append(f"not placed: {_some(left)}")
    if tokens := [key for key in left if key in _TOKENS]:
        problems.append(
            f"{tokens[0]} has no place because our networks average the tokens;"
            " use weights that were trained so (timm: class_token=False, global_pool='avg')"
        )
    if len(given) < len(places):
        taken = list(places.values())
        problems.append(f"two for one place: {_some([key for key, p in places.items() if taken.count(p) > 1])}")
    if missing := [key for key in wanted if key not in given]:
        problems.append(f"missing: {_some(missing)}")
    fitted, sizes, wrong = {}, {}, []
    for key in wanted.keys() & given.keys():
        value = _fit(given[key], wanted[key])
        other = None if value is not None else _other_size(key, given[key], wanted[key])
        if other is not None and resample:
            value, sizes[key] = other
        if value is None:
            wrong.append((key, other is not None))
        else:
            fitted[key] = value
    if wrong:
        wrong.sort()
        shapes = [f"{key} {_shape(given[key])}, needs {_shape(wanted[key])}" for key, _ in wrong]
        problems.append(f"wrong shape: {_some(shapes)}")
    if any(size for _, size in wrong):
        problems.append(
            "position tables of another window or image size are interpolated by load_weights(..., resample=True)"
            " and by vitscape import-weights with --window or --image-size"
        )
    if any(key == "head.fc.weight" and given[key].shape[1:] == wanted[key].shape[1:] for key, _ in wrong):
        problems.append("a classifier of other classes is left out by vitscape import-weights with --drop-head")
    if problems:
        whose = naming(tensors)
        told = f"namings known: {NAMINGS}" if whose == UNKNOWN else f"read as {whose}"
        raise ValueError(f"weights do not fit this architecture ({told}): {'; '.join(problems)}")
    network.load_state_dict(fitted)
    order = {key: sizes[key] for key in wanted if key in sizes}
    return Placement(naming(tensors), places, left_over, fresh, order)


def _left_over(place: str, network: Network | Backbone, drop_head: bool) -> str | None:
    """Why a weight is rightly left out; None where it has to find its place."""
    if place.endswith(_DERIVED):
        return "computed, not learned"
    if drop_head and place.startswith("head.fc."):
        return "the classifier is left as initialised"
    if isinstance(network, Backbone):
        if place.startswith("head."):
            return "a backbone has no head"
        part, _, rest = place.partition(".")
        stage = rest.split(".")[0]
        if (
            part == "stages"
            and stage.isdigit()
            and len(network.stages) <= int(stage) < len(network.architecture.stages)
        ):
            return "of a stage after the last one that is used"
    return None


def _may_be_fresh(key: str, network: Network | Backbone, drop_head: bool) -> bool:
    if isinstance(network, Backbone):
        return key.startswith("norm")  # of the outputs; no classifier has them
    return drop_head and key.startswith("head.fc.")


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
    if value.is_floating_point() != wanted.is_floating_point():
        return None
    if value.shape == wanted.shape:
        return value
    if wanted.ndim == 4 and value.ndim == 2 and wanted.shape[2:] == (1, 1) and value.shape == wanted.shape[:2]:
        return value[:, :, None, None]  # older SHViT files
    if wanted.ndim == 4 and value.ndim == 3 and wanted.shape[0] == 1 and value.shape[1] == wanted[0, 0].numel():
        return _as_map(value, wanted.shape[2]) if value.shape[2] == wanted.shape[1] else None
    return None


def _other_size(key: str, value: Tensor, wanted: Tensor) -> tuple[Tensor, tuple[int, int]] | None:
    """A position table made for another size, resampled, with both sizes; None where it differs in more than that."""
    if not value.is_floating_point() or value.numel() == 0:
        return None
    if key.endswith(_TABLE) and value.ndim == 2 and value.shape[1] == wanted.shape[1]:
        old, new = window_of(value.shape[0]), window_of(wanted.shape[0])
        if old is not None and new is not None:
            return resample_table(value, new), (old, new)
    if key.endswith(_EMBEDDING):
        side = wanted.shape[2]
        if value.ndim == 3 and value.shape[0] == 1 and isqrt(value.shape[1]) ** 2 == value.shape[1]:
            value = _as_map(value, isqrt(value.shape[1]))
        if value.ndim == 4 and value.shape[:2] == wanted.shape[:2] and value.shape[2] == value.shape[3]:
            return resample_embedding(value, side), (value.shape[2], side)
    return None


def _as_map(tokens: Tensor, side: int) -> Tensor:
    """(1, N, C) -> (1, C, side, side), as a position embedding is stored in published files."""
    return tokens.transpose(1, 2).reshape(1, tokens.shape[2], side, side)


def _shape(tensor: Tensor) -> str:
    kind = "" if tensor.is_floating_point() else f" of {tensor.dtype}".replace("torch.", "")
    return f"{tuple(tensor.shape)}{kind}"


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:8]) + (f" and {len(listed) - 8} more" if len(listed) > 8 else "")
