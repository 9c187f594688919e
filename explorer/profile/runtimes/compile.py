"""torch.compile: the whole network as one graph of fused kernels, by Inductor.

Mode "default": fusion and code generation. "reduce-overhead" adds CUDA graphs, which are a runtime of their own here;
"max-autotune" tries kernels for minutes, for every candidate. Compiling takes 4 s (a network of one block on one CPU
thread) to minutes, and a search pays it for each candidate.
"""

from __future__ import annotations

import types
import warnings

import torch
from torch import Tensor, nn

from explorer.profile.runtimes.eager import torch_libraries
from explorer.profile.runtimes.runtime import Forward, NetworkRefused, place
from explorer.record import Precision
from search_spaces.errors import InputError


def prepare_compile(model: nn.Module, example: Tensor, precision: Precision) -> Forward:
    """A forward pass of compiled code that returns the logits.

    Raises:
        NetworkRefused: the network is not one graph, so that part of it would run eagerly; one line.
    """
    from torch._dynamo.exc import Unsupported

    placed, images = place(model, example, precision)

    def run() -> Tensor:
        return placed(images)

    # Dynamo keeps what it compiled with the code object of a function, for all who share it: the ninth network would
    # hit the limit of recompilations, and none would ever be freed. A copy of the code gives each network its own.
    own = types.FunctionType(run.__code__.replace(), run.__globals__, "run", None, run.__closure__)
    compiled = torch.compile(own, fullgraph=True, dynamic=False)

    def forward() -> Tensor:
        with torch.inference_mode():
            return compiled()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own: of deprecations inside Inductor, and advice on TF32
        try:
            forward()
        except Unsupported as error:
            reason = str(error).strip().splitlines()[0]
            raise NetworkRefused(f"runtime=compile: this network is not one graph: {reason}; use eager") from error
    return forward


def needs_compiler(device: torch.device) -> None:
    """Nothing where there is a C++ compiler for code that runs on a CPU.

    Raises:
        InputError: there is none; one line.
    """
    if device.type != "cpu":
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch._inductor.cpp_builder import get_cpp_compiler
        from torch._inductor.exc import InvalidCxxCompiler
    try:
        get_cpp_compiler()
    except (InvalidCxxCompiler, OSError) as error:  # the latter of a CXX that may not be executed
        raise InputError(
            "runtime=compile: no C++ compiler is here; install g++, or set CXX to the path of one"
        ) from error


def compile_libraries(device: torch.device) -> dict[str, str]:
    """Versions of what compiled code calls: on a GPU {"cuda": "13.0", "cudnn": "91900", "triton": "3.6.0"}."""
    if device.type != "cuda":
        return {}
    import triton

    return {**torch_libraries(device), "triton": triton.__version__}
