"""timm's own networks with random weights, run in a process of their own: beside a CPU-only torch, timm needs an
operator of torchvision's declared, which must not leak into the tests.
"""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

ROOT = Path(__file__).parent.parent
SHIM = """\
import torch
library = torch.library.Library("torchvision", "FRAGMENT")
for name in ("nms", "qnms"):
    library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""
SCRIPT = (
    SHIM
    + """\
import sys

torch.set_num_threads(1)
import timm
from tests.reference_weights import tensor_for

for base, name, how in eval(sys.argv[1]):
    model = timm.create_model(name, **how).eval()
    own = model.state_dict()
    random = {key: tensor_for(key, list(value.shape)) for key, value in own.items()}
    state = {key: own[key] if value is None else value for key, value in random.items()}
    model.load_state_dict(state)
    torch.save(state, base + ".pth")
    with torch.no_grad():
        found = model.double()(torch.load(base + ".images").double())
    torch.save(found, base + ".outputs")
"""
)


class Model(NamedTuple):
    """A network of timm: its name there, arguments of create_model, and the images that it is given."""

    name: str
    how: dict[str, object]
    images: Tensor


class Run(NamedTuple):
    """The file of the random weights, as timm names them, and what timm computes from the images in float64."""

    checkpoint: Path
    outputs: Any


def timm_runs(folder: Path, models: dict[str, Model]) -> dict[str, Run]:
    """What timm makes of each model; one process for all, since timm takes seconds to import."""
    if find_spec("timm") is None:
        pytest.skip("timm is not installed (pip install timm)")
    todo = []
    for key, model in models.items():
        torch.save(model.images, folder / f"{key}.images")
        todo.append((str(folder / key), model.name, model.how))
    command = [sys.executable, "-c", SCRIPT, repr(todo)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return {key: Run(folder / f"{key}.pth", torch.load(folder / f"{key}.outputs")) for key in models}
