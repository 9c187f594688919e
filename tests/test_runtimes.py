"""The ways to execute a network: all give its logits, and each says in one line where it cannot run."""

from __future__ import annotations

import copy
import gc
import importlib.util
import logging
import os
import subprocess
import sys
import warnings
import weakref
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import nn

from explorer.options import RUNTIMES as OFFERED
from explorer.profile.runtimes import RUNTIMES, NetworkRefused, example_images, require_runtime
from search_spaces import Architecture, build
from search_spaces.errors import InputError
from tests.strategies import randomise

ROOT = Path(__file__).parent.parent
CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")
ON_CPU = [name for name, runtime in RUNTIMES.items() if "cpu" in runtime.devices]
ON_CUDA = [name for name, runtime in RUNTIMES.items() if "cuda" in runtime.devices]
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
SHIFTED = {"kind": "window", "size": 2, "heads": 2}
PADDED = {"kind": "window", "size": 3, "heads": 2, "shift": 1}


def network(stem: str, norm: str, *mixers: dict, image_size: int = 20) -> nn.Module:
    """A folded network of one stage a mixer, two blocks each, none of whose branches is zero."""
    down = {"layer": "patch_merging", "batch": "inverted_residual"}[norm]
    stages = [
        {"width": 16 + 8 * i, "depth": 2, "mixer": mixer, "norm": norm, "ffn_ratio": 2}
        | {"local": norm == "batch"}
        | ({"downsample": down} if i else {})
        for i, mixer in enumerate(mixers)
    ]
    position = "absolute" if stem == "patch" else "none"
    architecture = {
        "format": "vitscape/architecture@1",
        "image_size": image_size,
        "classes": 7,
        "stem": {"kind": stem, "stride": 4, "position": position},
        "stages": stages,
        "head": {"norm": norm},
    }
    torch.manual_seed(0)
    return randomise(build(Architecture.from_dict(architecture))).eval().fuse()


GLOBAL, SINGLE_HEAD, CONV, NONE = (
    {"kind": "global", "heads": 2},
    {"kind": "single_head"},
    {"kind": "conv"},
    {"kind": "none"},
)
NETWORKS = {  # together every mixer, both stems, both norms; maps of 5 and 3 tokens, which no window divides
    "windows, LayerNorm": ("patch", "layer", SHIFTED, PADDED),
    "global, single-head, LayerNorm": ("patch", "layer", GLOBAL, SINGLE_HEAD),
    "no mixer, windows, BatchNorm": ("conv", "batch", NONE, PADDED),
    "conv, global, single-head, BatchNorm": ("conv", "batch", CONV, GLOBAL, SINGLE_HEAD),
}


def assert_same_logits(runtime: str, model: nn.Module, batch_size: int, device: torch.device, **tolerance) -> None:
    """That two passes in a row give what the network gives on the CPU, to a share of its largest logit."""
    images = example_images(batch_size, 3, 20, CPU)
    with torch.no_grad():
        expected = model(images)
    forward = require_runtime(runtime, device).prepare(model, images.to(device), "fp32")
    scale = expected.abs().max()
    for _ in range(2):
        torch.testing.assert_close(torch.as_tensor(forward()).cpu() / scale, expected / scale, rtol=0, **tolerance)


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("runtime", [name for name in ON_CPU if name != "compile"])
def test_every_runtime_gives_the_logits_of_every_mixer(runtime, name, batch_size):
    assert_same_logits(runtime, network(*NETWORKS[name]), batch_size, CPU, atol=1e-5)


def test_compiled_code_gives_the_logits_too():
    assert_same_logits("compile", network("patch", "layer", GLOBAL), 3, CPU, atol=1e-5)


@on_gpu
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("runtime", ON_CUDA)
def test_every_runtime_gives_the_logits_on_a_gpu(runtime, name):
    try:
        require_runtime(runtime, CUDA)
    except InputError as error:
        pytest.skip(str(error))
    assert_same_logits(runtime, network(*NETWORKS[name]), 3, CUDA, atol=1e-2)  # TF32 keeps 10 bits


@pytest.mark.parametrize("runtime", ON_CPU)
def test_preparing_leaves_the_model_as_it_was_and_prints_nothing(runtime, capfd, caplog):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5))
    before = copy.deepcopy(model.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RUNTIMES[runtime].prepare(model, torch.randn(2, 3, 8, 8), "fp32")()
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


class Followed(nn.Conv2d):
    """A layer all of whose copies are known as long as they live."""

    copies: ClassVar[weakref.WeakSet[Followed]] = weakref.WeakSet()

    def __setstate__(self, state):  # which is what copy.deepcopy makes a module with
        super().__setstate__(state)
        Followed.copies.add(self)


@pytest.mark.parametrize("runtime", ON_CPU)
def test_who_drops_a_prepared_forward_frees_all_that_it_held(runtime):
    forward = RUNTIMES[runtime].prepare(Followed(3, 2, 1), torch.randn(2, 3, 4, 4), "fp32")
    logits = weakref.ref(forward())
    assert sessions() == (runtime == "onnxruntime")
    assert runtime == "onnxruntime" or Followed.copies  # which has weights of its own
    del forward
    gc.collect()
    assert not Followed.copies
    assert not sessions()
    assert logits() is None


def sessions() -> int:
    """ONNX Runtime's sessions that are alive."""
    module = sys.modules.get("onnxruntime")
    return 0 if module is None else sum(type(thing) is module.InferenceSession for thing in gc.get_objects())


def test_many_networks_compile_once_each_and_run_side_by_side():
    from torch._dynamo.utils import counters

    started = counters["stats"]["unique_graphs"]
    forwards = [
        RUNTIMES["compile"].prepare(nn.Conv2d(3, width, 1), torch.randn(2, 3, 4, 4), "fp32")
        for width in range(1, torch._dynamo.config.recompile_limit + 3)
    ]
    for _ in range(3):
        assert [forward().shape[1] for forward in forwards] == list(range(1, len(forwards) + 1))
    assert counters["stats"]["unique_graphs"] - started == len(forwards)


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_a_network_that_is_not_one_graph_is_told_so_in_one_line():
    with pytest.raises(NetworkRefused, match=r"runtime=compile: this network is not one graph: .*; use eager") as error:
        RUNTIMES["compile"].prepare(Branching(), torch.randn(2, 3, 4, 4), "fp32")
    assert "\n" not in str(error.value)


@on_gpu
def test_a_network_that_cannot_be_captured_is_told_so_in_one_line():
    images = torch.randn(2, 3, 4, 4, device=CUDA)
    with pytest.raises(NetworkRefused, match=r"runtime=cuda_graph: this network cannot be captured: .*; use eager"):
        RUNTIMES["cuda_graph"].prepare(Branching(), images, "fp32")
    assert RUNTIMES["cuda_graph"].prepare(nn.Conv2d(3, 2, 1), images, "fp32")().shape == (2, 2, 4, 4)  # as before


def test_a_precision_that_onnx_runtime_lacks_is_told_in_one_line():
    with pytest.raises(
        NetworkRefused, match=r"runtime=onnxruntime, precision='bf16': .*CPU.*; use fp32, or eager"
    ) as error:
        RUNTIMES["onnxruntime"].prepare(nn.Conv2d(3, 4, 3), torch.randn(1, 3, 8, 8), "bf16")
    assert "\n" not in str(error.value)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads as Linux does")
@pytest.mark.parametrize("threads", [1, 2])
def test_onnx_runtime_uses_as_many_threads_as_torch(threads):
    example, model = torch.randn(2, 3, 8, 8), nn.Conv2d(3, 4, 1)
    RUNTIMES["onnxruntime"].prepare(model, example, "fp32")  # whatever starts threads once, for good
    before = len(os.listdir("/proc/self/task"))
    torch.set_num_threads(threads)
    try:
        forward = RUNTIMES["onnxruntime"].prepare(model, example, "fp32")
    finally:
        torch.set_num_threads(1)
    assert forward().shape == (2, 4, 8, 8)
    assert len(os.listdir("/proc/self/task")) - before == threads - 1


def test_every_runtime_has_a_name_to_be_asked_for_and_is_documented():
    assert OFFERED.split(", ") == list(RUNTIMES)
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    for name in RUNTIMES:
        assert f"| `{name}` |" in page


@pytest.mark.parametrize(
    ("name", "device", "message"),
    [
        ("turbo", CPU, r"runtime=turbo: not known; use eager, compile, .* or tensorrt"),
        ("cuda_graph", CPU, r"runtime=cuda_graph: needs a CUDA device, this is cpu; use eager, compile or onnxruntime"),
        ("compile", torch.device("mps"), r"runtime=compile: needs a CPU or CUDA device, this is mps; use eager"),
        pytest.param(
            "tensorrt",
            CUDA,
            r"runtime=tensorrt: tensorrt is not installed; pip install 'tensorrt'",
            marks=pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="tensorrt is here"),
        ),
        pytest.param(
            "onnxruntime",
            CUDA,
            r"runtime=onnxruntime: the one installed has no CUDAExecutionProvider; .*pip install onnxruntime-gpu",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="may have one"),
        ),
    ],
)
def test_a_runtime_that_cannot_run_says_why_and_the_way_out(name, device, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        require_runtime(name, device)


def test_without_a_compiler_compile_says_so():
    code = "import torch\nfrom explorer.profile.runtimes import require_runtime as require\n"
    code += "require('compile', torch.device('cpu'))"
    environment = {**os.environ, "CXX": "/nowhere/g++"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stderr.endswith(
        "InputError: runtime=compile: no C++ compiler is here; install g++, or set CXX to the path of one\n"
    )


@pytest.mark.parametrize("name", ON_CPU)
def test_a_runtime_knows_the_versions_of_its_libraries(name):
    found = require_runtime(name, CPU).libraries(CPU)
    assert set(found) == ({"onnxruntime"} if name == "onnxruntime" else set())
    assert all(version[0].isdigit() for version in found.values())
