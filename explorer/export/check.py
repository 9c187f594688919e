"""Exported files loaded as a stranger would load them, their logits compared with those that are expected.

A script for a fresh process, which `verify.py` starts: it imports nothing of Vitscape, and hides it from what it loads.
A job a line comes in as JSON, an answer a line goes out.
"""

from __future__ import annotations

import sys

sys.path.pop(0)  # this script's own folder, whose files are called as the packages that they are for

import importlib.abc
import importlib.metadata
import importlib.util
import json
import os
import traceback
from typing import Any

HIDDEN = ["explorer", "dashboard"]
TOLD = ("torch", "onnxruntime", "timm", "transformers")  # whose versions an answer says


class Hidden(importlib.abc.MetaPathFinder):
    """Finds none of our packages, and says so."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.split(".")[0] in HIDDEN:
            raise ImportError(f"{name} must not be needed to load this file")


def mend_torchvision() -> Any:
    """Declare two operators where torchvision is of another build than torch and so cannot be imported.

    timm and transformers import it although these networks need nothing of it.
    """
    import torch

    if importlib.util.find_spec("torchvision") is None:
        return None
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return library
    return None


def check(job: dict[str, Any]) -> dict[str, Any]:
    """The largest difference of any logit, and the largest logit, over all batches of a job."""
    import torch

    HIDDEN[2:] = [job["hidden"]]
    for name in [name for name in sys.modules if name.split(".")[0] in HIDDEN]:
        del sys.modules[name]
    os.chdir(job["folder"])
    sys.path.insert(0, job["folder"])
    try:
        loaded: dict[str, Any] = {}
        exec(job["load"], loaded)
        cases = torch.load(job["cases"], weights_only=True)
        difference = scale = 0.0
        with torch.no_grad():
            for images, expected in zip(cases["images"], cases["logits"], strict=True):
                logits = loaded["model"](images)
                if logits.shape != expected.shape:
                    raise ValueError(f"logits are {tuple(logits.shape)}, not {tuple(expected.shape)}")
                if not bool(torch.isfinite(logits).all()):
                    raise ValueError("logits are not finite")
                difference = max(difference, (logits - expected).abs().max().item())
                scale = max(scale, expected.abs().max().item())
    finally:
        sys.path.remove(job["folder"])
        for name, module in list(sys.modules.items()):  # another file of that name may come
            if (getattr(module, "__file__", None) or "").startswith(job["folder"]):
                del sys.modules[name]
    versions = {name: importlib.metadata.version(name) for name in TOLD if name in sys.modules}
    return {"difference": difference, "scale": scale, "versions": versions}


def main() -> None:
    """Answer jobs until there are no more."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    sys.meta_path.insert(0, Hidden())
    library = None
    for line in sys.stdin:
        try:
            import torch

            torch.set_num_threads(1)
            job = json.loads(line)
            if library is None and job["torchvision"]:
                library = mend_torchvision()
            answer = check(job)
        except Exception as error:  # whatever a file does, its answer says
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
        print(json.dumps(answer), file=answers)


main()
