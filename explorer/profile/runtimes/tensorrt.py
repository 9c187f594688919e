"""NVIDIA TensorRT 10 or later: an engine built from the exported network for this one GPU, shape and precision.

Layers have the precision of the exported network ("strongly typed"); of float32 TensorRT rounds products to TF32, as it
does by default. Building takes from seconds to minutes for every candidate.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from explorer.profile.runtimes.eager import torch_libraries
from explorer.profile.runtimes.onnx_bytes import INPUT, OUTPUT, onnx_bytes
from explorer.profile.runtimes.runtime import Forward, NetworkRefused, place
from explorer.record import Precision


def prepare_tensorrt(model: nn.Module, example: Tensor, precision: Precision) -> Forward:
    """A forward pass of a TensorRT engine; it returns the same logits' memory each time.

    Raises:
        NetworkRefused: TensorRT cannot parse or build the network; one line.
    """
    placed, images = place(model, example, precision)
    device = example.device
    with torch.cuda.device(device):
        engine = _engine(onnx_bytes(placed, images))
        context = engine.create_execution_context()
        if context is None:
            raise NetworkRefused("runtime=tensorrt: out of memory for the engine's activations on the GPU; use eager")
        images = images.contiguous()  # (B, C, H, W) without strides: ONNX knows no other layout
        logits = torch.empty(tuple(engine.get_tensor_shape(OUTPUT)), dtype=images.dtype, device=device)
        context.set_tensor_address(INPUT, images.data_ptr())
        context.set_tensor_address(OUTPUT, logits.data_ptr())
        stream = torch.cuda.Stream(device)  # on the default stream TensorRT synchronises more than it must

    def forward(read_by_address: tuple[Any, Tensor] = (engine, images)) -> Tensor:
        current = torch.cuda.current_stream(device)
        stream.wait_stream(current)
        if not context.execute_async_v3(stream.cuda_stream):
            raise RuntimeError("TensorRT could not launch the engine")
        current.wait_stream(stream)
        return logits

    return forward


def _engine(model: bytes) -> Any:
    """The engine for the current CUDA device."""
    import tensorrt

    logger = tensorrt.Logger(tensorrt.Logger.INTERNAL_ERROR)
    builder = tensorrt.Builder(logger)
    network = builder.create_network(1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse(model):
        raise NetworkRefused(f"runtime=tensorrt: it cannot parse this network: {parser.get_error(0).desc()}; use eager")
    plan = builder.build_serialized_network(network, builder.create_builder_config())
    if plan is None:
        raise NetworkRefused("runtime=tensorrt: it cannot build an engine for this network on this GPU; use eager")
    return tensorrt.Runtime(logger).deserialize_cuda_engine(plan)


def tensorrt_libraries(device: torch.device) -> dict[str, str]:
    """Versions: {"tensorrt": "10.13.2", "cuda": "13.0", "cudnn": "91900"}."""
    import tensorrt

    return {"tensorrt": tensorrt.__version__, **torch_libraries(device)}
