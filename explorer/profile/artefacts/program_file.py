"""A program of torch.export: its operators, one by one, without the Python that they came from."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.passes import move_to_device_pass

from explorer.profile.artefacts.artefact import Artefact, not_one, sizes
from explorer.profile.runtimes import DTYPES, Forward
from explorer.profile.runtimes.eager import torch_libraries
from explorer.profile.runtimes.runtime import always_ready
from explorer.record import Precision
from search_spaces.errors import InputError

LOGS = ("torch.export", "torch._export")  # which print a traceback for a file that they cannot read


def open_program(path: Path) -> Artefact:
    """The program in a .pt2 file, which is unpickled."""
    program = _load(path)
    signature = program.graph_signature
    inputs, outputs = signature.user_inputs, signature.user_outputs
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    tensors = [value for name in (*inputs, *outputs) if isinstance(value := values.get(str(name)), Tensor)]
    if len(inputs) != 1 or len(outputs) != 1 or len(tensors) != 2:
        raise not_one(path, inputs, outputs)
    images = tensors[0]
    kinds = {dtype: precision for precision, dtype in DTYPES.items()}
    if images.dtype not in kinds:
        raise InputError(f"{path}: its type {images.dtype} is none of fp32, fp16, bf16; export it in fp32")
    shapes = [[axis if type(axis) is int else None for axis in tensor.shape] for tensor in tensors]
    batch_size, in_channels, image_size, classes = sizes(path, *shapes)

    def run(example: Tensor, precision: Precision) -> Forward:
        device = example.device
        # the devices of tensors that it makes are written in the program; it is moved for good, so not the one here
        placed = program if device.type == "cpu" else move_to_device_pass(_load(path), str(device))
        return _run(placed, example.to(DTYPES[precision]))

    return Artefact(
        path=path,
        image_size=image_size,
        in_channels=in_channels,
        classes=classes,
        precision=kinds[images.dtype],
        batch_size=batch_size,
        params=sum(parameter.numel() for parameter in program.parameters()),
        file_bytes=path.stat().st_size,
        runtime="torch_export",
        libraries=torch_libraries,
        check=always_ready,
        run=run,
    )


def _load(path: Path) -> ExportedProgram:
    with _quiet():
        try:
            return torch.export.load(path)
        except Exception as error:  # sixty damaged files ended in seven types of exception
            by = f"torch {torch.__version__}"
            raise InputError(
                f"{path}: cannot be read as a program of torch.export by {by}; export it with this version"
            ) from error


def _run(program: ExportedProgram, images: Tensor) -> Forward:
    """A forward pass of an exported program on the images' device."""
    images = images.contiguous()  # as it was exported: the program's views were derived for such strides
    with _quiet():
        module = program.module()

    def forward() -> Any:
        with torch.inference_mode():
            return module(images)

    return forward


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's own deprecations, and without its tracebacks beside the exceptions."""
    loggers = [logging.getLogger(name) for name in LOGS]
    before = [log.level for log in loggers]
    for log in loggers:
        log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(loggers, before, strict=True):
            log.setLevel(level)
