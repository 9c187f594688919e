"""ONNX: any number of images, BatchNorms folded, weights inside, opset stated; checked with ONNX Runtime."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from explorer.export.subject import Subject
from explorer.export.target import FOLDED, Target


def write_onnx(subject: Subject, path: Path) -> dict[str, Any]:
    """Write the folded network; the file's metadata holds its architecture. Returns its opset and names."""
    import onnx

    from explorer.profile.runtimes.onnx_bytes import INPUT, OPSET, OUTPUT, onnx_model

    about = {"vitscape.architecture": json.dumps(subject.architecture.to_dict(), ensure_ascii=False)}
    model = onnx_model(subject.folded, subject.images(2), any_batch=True, about=about)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    size = subject.architecture.image_size
    shape = ["batch", subject.architecture.in_channels, size, size]
    return {"opset": OPSET, "input": {INPUT: shape}, "output": {OUTPUT: ["batch", subject.architecture.classes]}}


ONNX = Target(
    file="{name}.onnx",
    write=write_onnx,
    load="""
import onnxruntime
import torch

session = onnxruntime.InferenceSession("{name}.onnx", providers=["CPUExecutionProvider"])


def model(images):
    return torch.from_numpy(session.run(["logits"], {{"images": images.numpy()}})[0])
""",
    tolerance=FOLDED,
    needs={"onnx": "vitscape[onnx]", "onnxscript": "vitscape[onnx]", "onnxruntime": "vitscape[onnx]"},
    timed=True,
)
