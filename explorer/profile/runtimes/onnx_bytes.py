"""A network as an ONNX model, for the runtimes that read one."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

INPUT, OUTPUT = "images", "logits"
OPSET = 20  # the first with Gelu as one operator; 21 to 24 add nothing that these networks have
OPSET_BF16 = 22  # the first in which convolutions may be bfloat16


def onnx_bytes(model: nn.Module, images: Tensor) -> bytes:
    """A serialised ONNX model of exactly the images' shape and type, weights inside: "images" -> "logits"."""
    return onnx_model(model, images).SerializeToString()


def onnx_model(
    model: nn.Module, images: Tensor, *, any_batch: bool = False, about: Mapping[str, str] | None = None
) -> Any:
    """An onnx.ModelProto of the images' shape and type, or of any number of such images; `about` is its metadata.

    By torch.export, the exporter that is maintained. It takes 2 to 5 s of CPU time a model; the older one, through
    TorchScript, took 0.4 to 1.4 s, and ONNX Runtime executes what the two write equally fast (within 2 %: shvit_s1,
    deit_ti and swin_t on one CPU thread).
    """
    opset = OPSET_BF16 if images.dtype == torch.bfloat16 else OPSET
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            model,
            (images,),
            dynamo=True,
            verbose=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=opset,
            dynamic_shapes=({0: torch.export.Dim("batch")},) if any_batch else None,
        )
        assert program is not None
        program.model.metadata_props.update(about or {})
        return program.model_proto


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's own deprecations, and without a line for each operator of torchvision where that is not here."""
    log = logging.getLogger("torch.onnx._internal.exporter._registration")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)
