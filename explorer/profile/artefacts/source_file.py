"""A Python file of a network that needs torch alone, executed as it is written."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from explorer.profile.artefacts.artefact import Artefact, told
from explorer.profile.runtimes import prepare_eager
from explorer.profile.runtimes.eager import torch_libraries
from explorer.profile.runtimes.runtime import always_ready
from search_spaces.errors import InputError

CLASS, IMAGE_SIZE, IN_CHANNELS = "Network", "IMAGE_SIZE", "IN_CHANNELS"  # what the file defines


def open_source(path: Path) -> Artefact:
    """The network that a Python file defines, folded by its method fuse() where it has one."""
    module = _executed(path)
    made = getattr(module, CLASS, None)
    if not (isinstance(made, type) and issubclass(made, nn.Module)):
        raise InputError(f"{path}: it must define `class {CLASS}(nn.Module)`, built as {CLASS}()")
    size, channels = _whole(path, module, IMAGE_SIZE), _whole(path, module, IN_CHANNELS)
    try:
        network = _folded(made().eval())
        with torch.inference_mode():
            shape = tuple(network(torch.zeros(1, channels, size, size)).shape)
    except Exception as error:  # it is somebody's code
        raise InputError(f"{path}: {CLASS}() of an image {channels}x{size}x{size} fails: {told(error)}") from None
    if len(shape) != 2 or shape[0] != 1:
        raise InputError(f"{path}: {CLASS}() gives {shape} of one image; logits are (1, classes)")
    return Artefact(
        path=path,
        image_size=size,
        in_channels=channels,
        classes=shape[1],
        precision=None,
        batch_size=None,
        params=sum(parameter.numel() for parameter in network.parameters()),
        file_bytes=path.stat().st_size,
        runtime="eager",
        libraries=torch_libraries,
        check=always_ready,
        run=lambda example, precision: prepare_eager(network, example, precision),
    )


def _folded(network: nn.Module) -> nn.Module:
    """As it is deployed: its BatchNorms folded, if it can do that; some return a copy, some fold in place."""
    fuse = getattr(network, "fuse", None)
    folded = fuse() if callable(fuse) else network
    return folded if isinstance(folded, nn.Module) else network


def _whole(path: Path, module: Any, name: str) -> int:
    """What the module says of its images."""
    value = getattr(module, name, None)
    if type(value) is not int or value < 1:
        raise InputError(f"{path}: {name}={value!r}: it must define {name}, a whole number of at least 1")
    return value


def _executed(path: Path) -> Any:
    """The module that a Python file is, which is executed; not under its own name, which another may have."""
    name = f"vitscape_artefact_{abs(hash(str(path.resolve()))):x}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look for their module there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # it is somebody's code
        del sys.modules[name]
        raise InputError(f"{path}: cannot be executed: {told(error)}") from None
    return module
