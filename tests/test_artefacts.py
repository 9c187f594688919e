"""Exported files as what can be run and timed: what each is, that it gives its logits, and what is refused."""

from __future__ import annotations

import gc
import logging
import warnings
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from explorer.profile.artefacts import OPENERS, open_artefact
from explorer.profile.runtimes import NetworkRefused
from search_spaces.errors import InputError
from tests.test_runtimes import sessions

CPU = torch.device("cpu")
BATCH = {0: torch.export.Dim("batch")}
SOURCE = """
import torch
from torch import nn

IMAGE_SIZE = 8
IN_CHANNELS = 2


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(2, 4, 2, 2), nn.BatchNorm2d(4), nn.Linear(4, 5)
        torch.manual_seed(1)
        for parameter in self.parameters():
            nn.init.normal_(parameter)

    def forward(self, images):
        return self.head(self.norm(self.conv(images)).mean((2, 3)))
"""


def original() -> nn.Module:
    """The network that SOURCE defines."""
    names: dict[str, type[nn.Module]] = {}
    exec(SOURCE, names)
    return names["Network"]().eval()


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one network as net.onnx, net.pt2 and net.py, for batches of any size."""
    folder, images = tmp_path_factory.mktemp("exported"), (torch.randn(2, 2, 8, 8),)
    (folder / "net.py").write_text(SOURCE)
    log = logging.getLogger("torch.onnx._internal.exporter._registration")
    log.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(original(), images, dynamic_shapes=(BATCH,)), folder / "net.pt2")
        names = {"input_names": ["images"], "output_names": ["logits"], "opset_version": 20, "verbose": False}
        torch.onnx.export(
            original(), images, folder / "net.onnx", dynamo=True, dynamic_shapes=(BATCH,), external_data=False, **names
        )
    return folder


Shape = tuple[int | str, ...]


def write_onnx(
    path: Path,
    images: Shape = ("batch", 3, 8, 8),
    kind: int = TensorProto.FLOAT,
    inputs: tuple[str, ...] = ("pixels",),
    outputs: tuple[str, ...] = ("scores",),
) -> str:
    """A model that averages the pixels of each channel; returns its name."""
    taken = [helper.make_tensor_value_info(name, kind, images) for name in inputs]
    given = [helper.make_tensor_value_info(name, kind, images[:2]) for name in outputs]
    axes = numpy_helper.from_array(torch.tensor([2, 3]).numpy(), "axes")
    nodes = [helper.make_node("ReduceMean", [inputs[0], "axes"], [name], keepdims=0) for name in outputs]
    graph = helper.make_graph(nodes, "g", taken, given, [axes])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), str(path))
    return path.name


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("suffix", sorted(OPENERS))
def test_every_kind_of_file_gives_the_logits_of_its_network(exported: Path, suffix: str, batch_size: int) -> None:
    images = torch.randn(batch_size, 2, 8, 8)
    forward = open_artefact(exported / f"net{suffix}").prepare(images, "fp32")
    with torch.no_grad():
        expected = original()(images)
    for _ in range(2):
        torch.testing.assert_close(torch.as_tensor(forward()), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("suffix", "runtime", "libraries"),
    [(".onnx", "onnxruntime", {"onnxruntime"}), (".pt2", "torch_export", set()), (".py", "eager", set())],
)
def test_a_file_says_what_it_is(exported: Path, suffix: str, runtime: str, libraries: set[str]) -> None:
    found = open_artefact(exported / f"net{suffix}")
    assert (found.image_size, found.in_channels, found.classes, found.batch_size) == (8, 2, 5, None)
    assert found.precision == (None if suffix == ".py" else "fp32")
    assert found.runtime == runtime
    assert set(found.libraries(CPU)) == libraries
    found.check(CPU)
    folded = 4 * 2 * 2 * 2 + 4 + 4 * 5 + 5
    assert folded <= found.params <= folded + 4 * 4  # the exporter folds BatchNorm, the others keep it
    assert found.file_bytes == (exported / f"net{suffix}").stat().st_size


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_a_file_keeps_its_precision(exported: Path, suffix: str) -> None:
    with pytest.raises(NetworkRefused, match=rf"precision=fp16: .*net{suffix} is of fp32; export"):
        open_artefact(exported / f"net{suffix}").prepare(torch.randn(2, 2, 8, 8), "fp16")


def test_code_runs_in_whatever_precision_is_asked_for(exported: Path) -> None:
    assert open_artefact(exported / "net.py").prepare(torch.randn(2, 2, 8, 8), "bf16")().dtype == torch.bfloat16


def test_a_file_of_half_precision_takes_and_gives_it(tmp_path: Path) -> None:
    write_onnx(tmp_path / "half.onnx", kind=TensorProto.FLOAT16)
    found, images = open_artefact(tmp_path / "half.onnx"), torch.randn(2, 3, 8, 8)
    assert found.precision == "fp16"
    means = found.prepare(images, "fp16")()
    assert means.dtype == torch.float16
    torch.testing.assert_close(means, images.mean((2, 3)).half(), rtol=0, atol=2e-3)


def test_a_file_of_one_batch_size_takes_no_other(tmp_path: Path) -> None:
    write_onnx(tmp_path / "two.onnx", (2, 3, 8, 8))
    found = open_artefact(tmp_path / "two.onnx")
    assert found.batch_size == 2
    assert found.prepare(torch.randn(2, 3, 8, 8), "fp32")().shape == (2, 3)
    with pytest.raises(NetworkRefused, match=r"batch-size=3: .*two.onnx takes batches of 2 alone; export"):
        found.prepare(torch.randn(3, 3, 8, 8), "fp32")


def test_code_that_can_fold_itself_is_folded(tmp_path: Path) -> None:
    fuse = "\n    def fuse(self):\n        self.norm = nn.Identity()\n"
    (tmp_path / "net.py").write_text(SOURCE + fuse)
    assert open_artefact(tmp_path / "net.py").params == 4 * 2 * 2 * 2 + 4 + 4 * 5 + 5
    (tmp_path / "copy.py").write_text(SOURCE + "\n    def fuse(self):\n        return nn.Sequential(self)\n")
    assert open_artefact(tmp_path / "copy.py").params == 4 * 2 * 2 * 2 + 4 + 4 * 5 + 5 + 8


def test_who_drops_a_prepared_file_frees_its_session(exported: Path) -> None:
    forward = open_artefact(exported / "net.onnx").prepare(torch.randn(2, 2, 8, 8), "fp32")
    assert sessions() == 1
    del forward
    gc.collect()
    assert sessions() == 0


def refusal(path: Path) -> str:
    """Why a file is refused, in one line that names it."""
    with pytest.raises(InputError) as error:
        open_artefact(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"inputs": ("pixels", "mask")}, "it takes pixels, mask and gives scores; a classifier takes images"),
        ({"outputs": ("scores", "boxes")}, "it takes pixels and gives scores, boxes"),
        ({"images": ("batch", 3)}, "(any, 3) -> (any, 3) is not (B, C, H, W) -> (B, classes)"),
        ({"images": ("batch", 3, 8, 6)}, "is not of square images"),
        ({"images": ("batch", 3, "height", "width")}, "(any, 3, any, any) -> (any, 3) is not of square images"),
        ({"kind": TensorProto.DOUBLE}, "its type double is none of fp32, fp16, bf16"),
    ],
)
def test_an_onnx_file_that_is_no_classifier_of_images_is_refused(tmp_path: Path, how: dict, told: str) -> None:
    write_onnx(tmp_path / "odd.onnx", **how)
    assert told in refusal(tmp_path / "odd.onnx")


def test_weights_may_lie_in_a_file_beside_and_are_missed_where_it_is_not(exported: Path, tmp_path: Path) -> None:
    path, beside = tmp_path / "net.onnx", tmp_path / "weights.bin"
    how = {"save_as_external_data": True, "size_threshold": 64, "location": beside.name}
    onnx.save_model(onnx.load(str(exported / "net.onnx")), str(path), **how)
    found, images = open_artefact(path), torch.randn(2, 2, 8, 8)
    assert found.file_bytes == path.stat().st_size + beside.stat().st_size
    with torch.no_grad():
        torch.testing.assert_close(found.prepare(images, "fp32")(), original()(images), rtol=1e-4, atol=1e-4)
    beside.unlink()
    assert "its weights lie in weights.bin, which is not beside it" in refusal(path)


def test_damaged_files_are_refused_and_nothing_is_printed(exported: Path, tmp_path: Path, capfd, caplog) -> None:
    for suffix, told in ((".onnx", "cannot be read as ONNX"), (".pt2", "cannot be read as a program of torch.export")):
        whole = (exported / f"net{suffix}").read_bytes()
        for content in (b"hello", whole[:100], whole[: len(whole) // 2], b"\xff" * 64):
            (tmp_path / f"bad{suffix}").write_bytes(content)
            assert told in refusal(tmp_path / f"bad{suffix}")
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = (", "cannot be executed: SyntaxError"),
        ("import nowhere_at_all", "cannot be executed: ModuleNotFoundError"),
        ("import sys\nsys.exit(3)", "cannot be executed: SystemExit: 3"),
        ("IMAGE_SIZE, IN_CHANNELS = 8, 2", "it must define `class Network(nn.Module)`"),
        (SOURCE.replace("nn.Module", "object"), "it must define `class Network(nn.Module)`"),
        (SOURCE.replace("IMAGE_SIZE = 8", ""), "IMAGE_SIZE=None: it must define IMAGE_SIZE"),
        (SOURCE.replace("IN_CHANNELS = 2", "IN_CHANNELS = 2.0"), "IN_CHANNELS=2.0: it must define IN_CHANNELS"),
        (SOURCE.replace("IN_CHANNELS = 2", "IN_CHANNELS = 3"), "Network() of an image 3x8x8 fails: RuntimeError"),
        (SOURCE.replace(".mean((2, 3))", ".mean((2, 3), True)"), "Network() of an image 2x8x8 fails"),
        (SOURCE.replace("self.head(", "(").replace(".mean((2, 3))", ""), "gives (1, 4, 4, 4) of one image"),
        (SOURCE.replace("def __init__(self)", "def __init__(self, width)"), "fails: TypeError"),
    ],
)
def test_code_that_is_no_network_is_refused(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "odd.py").write_text(text)
    assert told in refusal(tmp_path / "odd.py")


def test_other_names_and_missing_files_are_refused(tmp_path: Path) -> None:
    assert "must end in .onnx, .pt2, .py" in refusal(tmp_path / "net.tflite")
    assert "there is no such file" in refusal(tmp_path / "net.onnx")
    (tmp_path / "folder.py").mkdir()
    assert "there is no such file" in refusal(tmp_path / "folder.py")


def test_onnx_files_need_a_device_that_onnx_runtime_has(tmp_path: Path) -> None:
    write_onnx(tmp_path / "net.onnx")
    with pytest.raises(InputError, match=r"net.onnx: ONNX Runtime needs a CPU or CUDA device, this is mps; use"):
        open_artefact(tmp_path / "net.onnx").check(torch.device("mps"))
