"""An ONNX model, executed by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from explorer.profile.artefacts.artefact import Artefact, line, not_one, sizes
from explorer.profile.runtimes import DTYPES, Forward
from explorer.profile.runtimes.onnxruntime import (
    ELEMENT_TYPES,
    PROVIDERS,
    needs_provider,
    onnxruntime_libraries,
    run_onnx,
)
from explorer.record import Precision
from search_spaces.errors import InputError


def open_onnx(path: Path) -> Artefact:
    """The model in an ONNX file, its input and output under whatever names, large weights in files beside it."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # onnx comes with it

    try:
        graph = onnx.load(str(path), load_external_data=False).graph
    except (DecodeError, OSError) as error:
        raise InputError(f"{path}: cannot be read as ONNX: {line(error)}; export it again") from None
    weights = {one.name: one for one in graph.initializer}
    inputs, outputs = [one for one in graph.input if one.name not in weights], list(graph.output)
    if len(inputs) != 1 or len(outputs) != 1:
        raise not_one(path, [one.name for one in inputs], [one.name for one in outputs])
    shapes = [[_axis(axis) for axis in one.type.tensor_type.shape.dim] for one in (inputs[0], outputs[0])]
    kinds = {number: precision for precision, number in ELEMENT_TYPES.items()}
    numbers = [one.type.tensor_type.elem_type for one in (inputs[0], outputs[0])]
    for number in numbers:
        if number not in kinds:
            raise InputError(f"{path}: its type {_type_name(number)} is none of fp32, fp16, bf16; export it in fp32")
    batch_size, in_channels, image_size, classes = sizes(path, *shapes)
    parts = [path, *_external(path, weights.values())]
    floats = [one for one in weights.values() if one.data_type in kinds]  # whole numbers are shapes and indices

    def check(device: torch.device) -> None:
        if device.type not in PROVIDERS:
            raise InputError(f"{path}: ONNX Runtime needs a CPU or CUDA device, this is {device}; use --device cpu")
        needs_provider(device)

    def run(example: Tensor, precision: Precision) -> Forward:
        images = example.to(DTYPES[precision])
        return run_onnx(str(path), images, precision, whole=False, way_out="export it otherwise")

    return Artefact(
        path=path,
        image_size=image_size,
        in_channels=in_channels,
        classes=classes,
        precision=kinds[numbers[0]],
        batch_size=batch_size,
        params=sum(_elements(one.dims) for one in floats),
        file_bytes=sum(part.stat().st_size for part in parts),
        runtime="onnxruntime",
        libraries=onnxruntime_libraries,
        check=check,
        run=run,
    )


def _axis(axis: Any) -> int | None:
    """The length of an ONNX axis; None where it may be any."""
    return axis.dim_value if axis.HasField("dim_value") and axis.dim_value > 0 else None


def _external(path: Path, weights: Any) -> list[Path]:
    """The files beside an ONNX file in which its large weights lie."""
    names = sorted({entry.value for one in weights for entry in one.external_data if entry.key == "location"})
    for name in names:
        if not (path.parent / name).is_file():
            raise InputError(f"{path}: its weights lie in {name}, which is not beside it; put it there")
    return [path.parent / name for name in names]


def _elements(axes: Sequence[int]) -> int:
    count = 1
    for axis in axes:
        count *= axis
    return count


def _type_name(number: int) -> str:
    from onnx import TensorProto

    return TensorProto.DataType.Name(number).lower() if number in TensorProto.DataType.values() else str(number)
