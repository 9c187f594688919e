"""What a training is asked for, found and checked: architecture, recipe, data, weights to begin and to learn from."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from explorer.proxy.data import SOURCES, load_data, parse_source
from explorer.proxy.dataset import DataError, Dataset
from explorer.proxy.progress import load_shown
from explorer.train.processes import Processes
from explorer.train.progress import TrainProgress
from explorer.train.recipe import Recipe, changed, default_recipe, load_recipe
from explorer.weights import load_file, read_architecture, read_weights
from search_spaces.architecture import Architecture
from search_spaces.blocks.network import Network, build
from search_spaces.errors import InputError
from search_spaces.shipped import find

CLASSIFIER = re.compile(r"head\.(?:fc\.|l\.)?weight")  # in our naming and in published ones


def check_numbers(*, seed: int, accumulate: int, save_minutes: float) -> None:
    """Raise InputError for a number that is none of a training's."""
    if not 0 <= seed < 2**31:
        raise InputError(f"seed={seed}: give a whole number from 0 to {2**31 - 1}")
    if accumulate < 1:
        raise InputError(f"accumulate={accumulate}: give at least 1")
    if not save_minutes >= 0:
        raise InputError(f"save-minutes={save_minutes}: give a number of at least 0")


def named(architecture: Architecture | str | Path) -> tuple[Architecture, str]:
    """The architecture and a name for it."""
    if isinstance(architecture, Architecture):
        return architecture, architecture.name or architecture.id
    path = find(architecture, "presets")
    found = Architecture.load(path)
    return found, path.stem


def chosen_recipe(
    recipe: str | Path | Recipe | None, changes: Mapping[str, Any], data: str | Dataset, size: int
) -> Recipe:
    """The recipe with its changes; where none is named, that for such data."""
    if isinstance(recipe, Recipe):
        return changed(recipe, changes)
    if recipe is None:
        kind = parse_source(data).kind if isinstance(data, str) else data.name
        recipe = default_recipe(kind in SOURCES and not SOURCES[kind].needs_path, size)
    return load_recipe(recipe, changes)


def loaded(data: str | Dataset, image_size: int, group: Processes, console: Console, strict: bool) -> Dataset:
    """The dataset; the main process reads it first and shows that, and the others find it decoded."""
    if isinstance(data, Dataset):
        return data
    dataset = load_shown(data, image_size, console, strict=strict) if group.main else None
    group.told(None)
    return dataset or load_data(data, image_size)


def check_fit(spec: Architecture, data: Dataset, recipe: Recipe, count: int, accumulate: int) -> None:
    """Raise InputError where architecture, data, recipe and processes do not go together."""
    if spec.classes != data.classes:
        raise InputError(
            f"classes={spec.classes} of the architecture do not fit the data {data.name}, which has {data.classes}:"
            f" give --classes {data.classes} to replace them"
        )
    for name, has, needs in (
        ("in_channels", spec.in_channels, data.train_images.shape[1]),
        ("image_size", spec.image_size, data.image_size),
    ):
        if has != needs:
            raise InputError(f"{name}={has} does not fit the data {data.name}, which has {needs}: set {name}={needs}")
    size, images = recipe.batch_size, len(data.train_labels)
    if size > images:
        raise DataError(f"batch_size={size}: more than the {images} training images; give a smaller --batch-size")
    parts = count * accumulate
    if size % parts:
        raise InputError(
            f"batch_size={size} cannot be shared by {count} processes with accumulate={accumulate}:"
            f" give a multiple of {parts}"
        )
    if recipe.mixes and size // parts % 2:
        raise InputError(
            f"batch_size={size}: mixup and cutmix pair the images of a part, which has {size // parts}: give a multiple"
            f" of {2 * parts}"
        )


def digest(path: str | Path | None) -> str | None:
    """16 hexadecimal digits of a file's content; None where there is no file."""
    if path is None:
        return None
    try:
        return hashlib.blake2b(Path(path).read_bytes(), digest_size=8).hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give a file of weights") from None


def initialised(network: Network, path: str | Path, progress: TrainProgress) -> Network:
    """The network with the weights of a file; where that has other classes, with a fresh head."""
    wanted, tensors = network.architecture, read_weights(path)
    classes = next((len(value) for name, value in tensors.items() if CLASSIFIER.fullmatch(name)), wanted.classes)
    if classes == wanted.classes:
        return load_file(network, path)
    other = load_file(build(wanted.model_copy(update={"classes": classes})), path)
    kept = {name: value for name, value in other.state_dict().items() if not name.startswith("head.fc.")}
    network.load_state_dict(kept, strict=False)
    progress.tell(f"{path} has {classes} classes, this network {wanted.classes}: the classifier begins afresh")
    return network


def teacher_of(
    path: str | Path | None,
    architecture: Architecture | str | Path | None,
    spec: Architecture,
    recipe: Recipe,
    device: torch.device,
) -> nn.Module | None:
    """The network to distil from, in eval mode; its architecture is told by its file, or given."""
    if recipe.distill == "none":
        return None
    if path is None:
        raise InputError(f"distill={recipe.distill}: from which network? give --teacher WEIGHTS")
    found = read_architecture(path) if architecture is None else named(architecture)[0]
    if found is None:
        raise InputError(f"{path}: tells no architecture; give the teacher's with --teacher-arch")
    if architecture is not None and found.classes != spec.classes:  # a preset, say
        found = found.model_copy(update={"classes": spec.classes})
    for name, has, needs in (
        ("classes", found.classes, spec.classes),
        ("in_channels", found.in_channels, spec.in_channels),
    ):
        if has != needs:
            raise InputError(f"{name}={has} of the teacher {path} are not the {needs} of this network; take another")
    return load_file(build(found), path).eval().requires_grad_(False).to(device)
