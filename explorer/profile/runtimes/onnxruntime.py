"""ONNX Runtime: the network exported to ONNX, optimised and executed by its CPU or CUDA provider.

Images and logits lie in torch's memory and are bound by address, so that no pass copies them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from explorer.profile.runtimes.eager import torch_libraries
from explorer.profile.runtimes.onnx_bytes import onnx_bytes
from explorer.profile.runtimes.runtime import DTYPES, Forward, NetworkRefused, place
from explorer.record import Precision
from search_spaces.errors import InputError

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
ELEMENT_TYPES: dict[Precision, int] = {"fp32": 1, "fp16": 10, "bf16": 16}  # as onnx.TensorProto numbers them
PRECISIONS: dict[str, Precision] = {  # as ONNX Runtime calls them
    "tensor(float)": "fp32",
    "tensor(float16)": "fp16",
    "tensor(bfloat16)": "bf16",
}
SILENT = 4  # ONNX Runtime's log: what is fatal alone; errors come as exceptions


def prepare_onnxruntime(model: nn.Module, example: Tensor, precision: Precision) -> Forward:
    """A forward pass of an ONNX Runtime session; it returns the same logits' memory each time.

    Raises:
        NetworkRefused: the provider cannot run the network in this precision, or not all of it; one line.
        InputError: the provider itself does not load.
    """
    placed, images = place(model, example, precision)
    way_out = "use eager" if precision == "fp32" else "use fp32, or eager"
    return run_onnx(onnx_bytes(placed, images), images, precision, whole=True, way_out=way_out)


def run_onnx(model: bytes | str, images: Tensor, precision: Precision, *, whole: bool, way_out: str) -> Forward:
    """A forward pass of an ONNX model of one input and one output, serialised or in a file, on the images' device.

    `whole` refuses a model of which operators would run elsewhere than on that device. `way_out` ends a refusal's line.

    Raises:
        NetworkRefused, InputError: as prepare_onnxruntime.
    """
    on_cuda, device = images.device.type == "cuda", images.device
    stream = torch.cuda.Stream(device) if on_cuda else None
    with _refusals(device, precision, way_out):
        session = _session(model, device, stream, whole)
    (given,), (found,) = session.get_inputs(), session.get_outputs()
    images = images.contiguous()  # (B, C, H, W) without strides: ONNX knows no other layout
    # an axis of any length has a name in place of a number: it is the batch
    shape = [axis if isinstance(axis, int) else len(images) for axis in found.shape]
    kind = PRECISIONS[found.type]
    logits = torch.empty(shape, dtype=DTYPES[kind], device=device)
    binding, options = session.io_binding(), _run_options()
    where = device.type, device.index or 0
    binding.bind_input(given.name, *where, ELEMENT_TYPES[precision], tuple(images.shape), images.data_ptr())
    binding.bind_output(found.name, *where, ELEMENT_TYPES[kind], tuple(logits.shape), logits.data_ptr())

    def forward(read_by_address: Tensor = images) -> Tensor:
        session.run_with_iobinding(binding, options)
        return logits

    def forward_on_cuda() -> Tensor:
        # The session has a stream of its own for life. Torch's is made to wait for it and it for torch's, so that
        # events on torch's stream enclose the pass.
        assert stream is not None
        current = torch.cuda.current_stream(device)
        stream.wait_stream(current)
        forward()
        current.wait_stream(stream)
        return logits

    chosen = forward_on_cuda if on_cuda else forward
    with _refusals(device, precision, way_out):  # memory is taken in the first pass
        chosen()
    return chosen


def _session(model: bytes | str, device: torch.device, stream: torch.cuda.Stream | None, whole: bool) -> Any:
    """An InferenceSession on `device`, every operator of it where `whole`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = SILENT
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    # Waiting threads sleep. Those that spin would take cores from whatever is timed in turn with this network, and
    # where cores are busy they delay it: shvit_s1 on two threads took 12.5 ms with, 6.3 ms without.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    provider: Any = PROVIDERS[device.type]
    if stream is not None:
        if whole:
            # An operator without a CUDA kernel would else run on the CPU, its inputs and outputs copied there and back
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        provider = (provider, {"device_id": str(device.index or 0), "user_compute_stream": str(stream.cuda_stream)})
    session = onnxruntime.InferenceSession(model, options, providers=[provider], enable_fallback=0)
    if session.get_providers()[0] != PROVIDERS[device.type]:  # where its libraries do not load, a mere warning
        loaded = ", ".join(session.get_providers())
        raise InputError(
            f"runtime=onnxruntime: ONNX Runtime's {PROVIDERS[device.type]} does not load, only {loaded} does; use eager"
        )
    return session


@contextmanager
def _refusals(device: torch.device, precision: Precision, way_out: str) -> Iterator[None]:
    """Turns what ONNX Runtime says of a network that it cannot run into a NetworkRefused of one line."""
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    try:
        yield
    except (errors.Fail, errors.NotImplemented, errors.InvalidGraph, errors.RuntimeException) as error:
        reason = str(error).strip().splitlines()[0]
        what = f"precision={precision!r}: ONNX Runtime's {PROVIDERS[device.type]} cannot run this network"
        raise NetworkRefused(f"runtime=onnxruntime, {what}: {reason}; {way_out}") from error


def _run_options() -> Any:
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.log_severity_level = SILENT
    # On a GPU a pass is launched and not waited for, as in the other runtimes; a CPU has nothing to wait for
    options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    return options


def needs_provider(device: torch.device) -> None:
    """Nothing where the installed ONNX Runtime was built for `device`.

    Raises:
        InputError: it was not; one line.
    """
    import onnxruntime

    if PROVIDERS[device.type] not in onnxruntime.get_available_providers():
        raise InputError(
            f"runtime=onnxruntime: the one installed has no {PROVIDERS[device.type]}; "
            "pip uninstall onnxruntime, then pip install onnxruntime-gpu"
        )


def onnxruntime_libraries(device: torch.device) -> dict[str, str]:
    """Versions: {"onnxruntime": "1.31.1"}, and on a GPU what it calls."""
    import onnxruntime

    return {"onnxruntime": onnxruntime.__version__, **torch_libraries(device)}
