"""Weights in files, and published ones brought into our networks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from explorer.checkpoint import FORMAT, checksum, read_weights, told_by
from explorer.whole import replacing
from search_spaces.architecture import Architecture, WindowMixer
from search_spaces.blocks.namings import rename
from search_spaces.blocks.network import Network, build
from search_spaces.blocks.weights import Built, load_weights, place_weights
from search_spaces.errors import InputError
from search_spaces.shipped import find

__all__ = ["Imported", "import_weights", "load_file", "read_architecture", "read_weights", "resized", "save_weights"]

Statistics = tuple[tuple[float, ...], tuple[float, ...]]  # mean and deviation of each channel, of images in 0..1
IMAGENET: Statistics = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # that published weights were trained with


def read_architecture(path: str | Path) -> Architecture | None:
    """The architecture that a file of weights tells, as those of `save_weights` do; None where it tells none."""
    told = told_by(path)
    if told.get("format") != FORMAT:
        return None
    try:
        data = json.loads(str(told["architecture"]))
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{path}: its architecture cannot be read; the file is damaged: write it again") from None
    return Architecture.from_dict(data, str(path))


def statistics_of(path: str | Path) -> Statistics | None:
    """How the images were normalised that a file's weights were trained on, where it tells, as those of `train` do."""
    told = told_by(path)
    about = told.get("about", told)  # a checkpoint of torch.save keeps it apart
    try:
        mean, std = (tuple(float(value) for value in json.loads(about[name])) for name in ("mean", "std"))  # type: ignore[index]
    except (KeyError, TypeError, ValueError):
        return None
    return mean, std


def save_weights(
    path: str | Path,
    tensors: Mapping[str, Tensor],
    *,
    architecture: Architecture,
    about: Mapping[str, str] | None = None,
) -> None:
    """Write tensors with their architecture to a .safetensors or a .pt / .pth file, whole or not at all."""
    path = Path(path)
    if path.suffix not in (".safetensors", ".pt", ".pth"):
        raise InputError(f"{path}: the name of a file of weights ends with .safetensors, .pt or .pth")
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file")
    # copies: tensors that share memory, or lie channels-last, are nothing that safetensors stores
    dense = {k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()}
    told = {"format": FORMAT, "id": architecture.id, "architecture": json.dumps(architecture.to_dict())}
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part = stack.enter_context(replacing(path))
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror}") from None
        if path.suffix == ".safetensors":
            from safetensors.torch import save_file

            save_file(dense, part, {**(about or {}), **told, "checksum": checksum(dense)})
        else:
            torch.save({"state_dict": dense, **told, "about": dict(about or {})}, part)


def load_file(network: Built, path: str | Path) -> Built:
    """The network with the weights of a file, in our naming or a published one, placed in it.

    Raises:
        InputError: the file cannot be read, or its weights are not this network's.
    """
    weights = read_weights(path)
    try:
        load_weights(network, weights)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    return network


@dataclass(frozen=True)
class Imported:
    """A network with published weights, and what became of each of them."""

    network: Network
    architecture: Architecture  # of the network, as it is written: with a name
    naming: str  # whose names the file has: official Swin, timm Swin, official SHViT, ...
    placed: dict[str, str]  # the file's name -> ours
    left_over: dict[str, str]  # the file's name -> why it has no place
    fresh: tuple[str, ...]  # our names of what is left as initialised: the classifier or nothing
    resampled: dict[str, tuple[int, int]]  # our name -> from, to: window or map, in tokens along one side


def import_weights(
    architecture: Architecture | str | Path,
    checkpoint: str | Path,
    *,
    image_size: int | None = None,
    window: int | None = None,
    classes: int | None = None,
    drop_head: bool = False,
    averaged: bool = False,
) -> Imported:
    """The network of an architecture, a preset's name or a file, with the weights of a published checkpoint.

    >>> imported = import_weights("swin_t", "swin_tiny_patch4_window7_224.pth", image_size=384, window=12)
    >>> imported.resampled["stages.0.blocks.0.mixer.body.relative_position_bias_table"]
    (7, 12)

    With another image size or window the tables of positions are interpolated as the official Swin code does. The
    classifier stays as initialised with `drop_head`, or where the file's has another number than `classes`.

    Raises:
        InputError: the file cannot be read, or a weight finds no place or a place no weight; one line lists them.
    """
    if not isinstance(architecture, Architecture):
        architecture = Architecture.load(find(architecture, "presets"))
    target = resized(architecture, image_size, window, classes)
    weights = read_weights(checkpoint, averaged=averaged)
    if strange := [key for key, value in weights.items() if value.is_floating_point() and not value.isfinite().all()]:
        raise InputError(
            f"{checkpoint}: {strange[0]} holds values that are not finite; the file or its training failed"
        )
    heads = [weights[key] for key, place in rename(weights).items() if place == "head.fc.weight"]
    drop_head |= classes is not None and any(head.shape[0] != classes for head in heads)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # a fresh classifier is the same each time
        network = build(target)
    try:
        resample = image_size is not None or window is not None
        found = place_weights(network, weights, resample=resample, drop_head=drop_head)
    except ValueError as error:
        raise InputError(f"{checkpoint}: {error}") from None
    return Imported(network, target, found.naming, found.placed, found.left_over, found.fresh, found.resampled)


def resized(
    architecture: Architecture, image_size: int | None = None, window: int | None = None, classes: int | None = None
) -> Architecture:
    """The architecture for another image size, another window in every stage that has one, or other classes.

    A shift of half the window, or one that has no effect on the old map, becomes half of the new window.
    """
    data = architecture.to_dict()
    moved = image_size is not None or window is not None
    if window is not None and not any(isinstance(stage.mixer, WindowMixer) for stage in architecture.stages):
        raise InputError(f"window={window}: no stage of {architecture.name or 'the architecture'} has windows")
    for stage, side, plain in zip(architecture.stages, architecture.maps, data["stages"], strict=True):
        if moved and isinstance(stage.mixer, WindowMixer):
            size, shift = stage.mixer.size, stage.mixer.shift_tokens
            idle = size >= side or stage.depth == 1
            plain["mixer"]["size"] = size if window is None else window
            plain["mixer"]["shift"] = "half" if idle or shift == size // 2 else shift
    data |= {"image_size": architecture.image_size if image_size is None else image_size}
    data |= {"classes": architecture.classes if classes is None else classes}
    changed = Architecture.from_dict(data)
    if changed.id == architecture.id:
        return architecture
    return changed.model_copy(update={"published": None})  # it speaks of another network
