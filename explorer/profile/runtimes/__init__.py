"""Ways to execute a network. A new one is a function `prepare` in a file of its own and one entry in `RUNTIMES`.

What a runtime needs beside torch is imported when it prepares, and asked for by `require_runtime`.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

import torch

from explorer.profile.runtimes.compile import compile_libraries, needs_compiler, prepare_compile
from explorer.profile.runtimes.cuda_graph import prepare_cuda_graph
from explorer.profile.runtimes.eager import prepare_eager, torch_libraries
from explorer.profile.runtimes.onnxruntime import needs_provider, onnxruntime_libraries, prepare_onnxruntime
from explorer.profile.runtimes.runtime import (
    DTYPES,
    Forward,
    NetworkRefused,
    Prepare,
    Runtime,
    example_images,
    on_unsupported_precision,
    place,
)
from explorer.profile.runtimes.tensorrt import prepare_tensorrt, tensorrt_libraries
from search_spaces.errors import InputError

__all__ = [
    "DTYPES",
    "RUNTIMES",
    "Forward",
    "NetworkRefused",
    "Prepare",
    "Runtime",
    "example_images",
    "on_unsupported_precision",
    "place",
    "prepare_eager",
    "require_runtime",
]

_EXPORT = {"onnx": "vitscape[onnx]", "onnxscript": "vitscape[onnx]"}

RUNTIMES: dict[str, Runtime] = {
    "eager": Runtime(prepare_eager, torch_libraries, {"cpu": {}, "cuda": {}, "mps": {}}),
    "compile": Runtime(prepare_compile, compile_libraries, {"cpu": {}, "cuda": {"triton": "triton"}}, needs_compiler),
    "cuda_graph": Runtime(prepare_cuda_graph, torch_libraries, {"cuda": {}}),
    "onnxruntime": Runtime(
        prepare_onnxruntime,
        onnxruntime_libraries,
        {"cpu": {**_EXPORT, "onnxruntime": "vitscape[onnx]"}, "cuda": {**_EXPORT, "onnxruntime": "onnxruntime-gpu"}},
        needs_provider,
    ),
    "tensorrt": Runtime(prepare_tensorrt, tensorrt_libraries, {"cuda": {**_EXPORT, "tensorrt": "tensorrt"}}),
}


def require_runtime(name: str, device: torch.device) -> Runtime:
    """The runtime of that name, which can run on `device` here.

    Raises:
        InputError: it is not known, does not run on such a device, or lacks a package or a compiler; one line.
    """
    if name not in RUNTIMES:
        raise InputError(f"runtime={name}: not known; use {_either(RUNTIMES)}")
    runtime = RUNTIMES[name]
    if device.type not in runtime.devices:
        needed = _either([kind.upper() for kind in runtime.devices])
        others = _either([other for other in RUNTIMES if device.type in RUNTIMES[other].devices])
        raise InputError(f"runtime={name}: needs a {needed} device, this is {device}; use {others}")
    packages = runtime.devices[device.type]
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        sources = sorted({f"'{packages[package]}'" for package in missing}, reverse=True)
        verb = "is" if len(missing) == 1 else "are"
        raise InputError(f"runtime={name}: {', '.join(missing)} {verb} not installed; pip install {' '.join(sources)}")
    runtime.check(device)
    return runtime


def _either(names: Iterable[str]) -> str:
    *but_last, last = names
    return f"{', '.join(but_last)} or {last}" if but_last else last
