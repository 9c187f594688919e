"""Exported files work where Vitscape is not: each target is loaded as its user would load it."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given, settings
from torch import Tensor

from explorer.export import TARGETS, ExportError, ExportFailed, export_architecture
from explorer.export.python import write_python
from explorer.export.subject import Subject, randomised
from explorer.export.verify import Checker
from explorer.weights import save_weights
from search_spaces import Architecture, build, preset
from tests.minis import Run, environment, refuses
from tests.reference_timm import SHIM
from tests.strategies import architectures

pytestmark = pytest.mark.xdist_group("export")  # what all of them look at is written once

# every mixer, both stems' kinds of norm, both downsamplings: 32 pixels, maps of 8, 4 and 2 tokens a side
ARCHITECTURE = Architecture.from_dict(
    yaml.safe_load("""
format: vitscape/architecture@1
image_size: 32
classes: 10
drop_path: 0.1
stem: {kind: conv, stride: 4, position: absolute}
stages:
  - {width: 16, depth: 2, mixer: {kind: window, size: 3, heads: 2}, local: true, norm: batch}
  - {width: 24, depth: 2, mixer: {kind: single_head}, downsample: inverted_residual, norm: batch, activation: relu}
  - {width: 32, depth: 2, mixer: {kind: window, size: 2, heads: 4}, downsample: patch_merging, local: true}
head: {norm: batch}
""")
)
NAME = "my-net_0003"  # no name that Python could import
LOADERS = [name for name, target in TARGETS.items() if all(find_spec(package) for package in target.needs)]
TORCH_ALONE = (
    "torch",
    "torchgen",
    "functorch",
    "typing_extensions",
    "sympy",
    "mpmath",
    "networkx",
    "jinja2",
    "markupsafe",
)
TORCH_ALONE += ("filelock", "fsspec")


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return randomised(build(ARCHITECTURE), seed=7)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, network: torch.nn.Module) -> Path:
    """A folder of all targets, with trained weights as it were."""
    folder = tmp_path_factory.mktemp("exported")
    weights = folder / "given.safetensors"
    about = {"mean": "[0.1, 0.2, 0.3]", "std": "[0.4, 0.5, 0.6]"}
    save_weights(weights, network.state_dict(), architecture=ARCHITECTURE, about=about)
    export_architecture(ARCHITECTURE, folder, name=NAME, to=LOADERS, weights=weights)
    return folder


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(11))


@pytest.fixture(scope="module")
def logits(network: torch.nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return network(images)


def loaded(path: Path) -> ModuleType:
    """A Python file as a module of its own."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # NamedTuple asks for it
    spec.loader.exec_module(module)
    return module


def in_process(code: str, folder: Path, *options: str, **variables: str) -> str:
    """What a fresh process prints that runs code in a folder."""
    command = [sys.executable, *options, "-c", code]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | variables, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# what is written


def test_every_target_is_written_verified_and_told_in_the_manifest(exported: Path) -> None:
    manifest = json.loads((exported / "export.json").read_text())
    entry = manifest["exports"][NAME]
    assert {file["target"] for file in entry["files"].values()} == {*LOADERS, "weights"}
    assert entry["id"] == ARCHITECTURE.id
    for name, file in entry["files"].items():
        assert name in manifest["files"]
        assert file["weights"]["trained"]
        if file["target"] == "weights":
            continue
        verified = file["verified"]
        assert 0 <= verified["logits_differ_by"] <= verified["tolerance"] * verified["largest_logit"]
        assert verified["versions"]["torch"] == torch.__version__
        if isinstance(file["sha256"], str):
            assert file["sha256"] == hashlib.sha256((exported / name).read_bytes()).hexdigest()
    assert entry["files"][f"{NAME}.yaml"]["train"].startswith(f"vitscape train ./{NAME}.yaml")
    assert not [path for path in exported.iterdir() if path.name.startswith(".")]


def test_the_lines_that_the_manifest_tells_load_each_file(exported: Path, images: Tensor, logits: Tensor) -> None:
    files = json.loads((exported / "export.json").read_text())["exports"][NAME]["files"]
    plain = {name: file["load"] for name, file in files.items() if file["target"] in ("yaml", "python", "torch_export")}
    torch.save(images, exported / "images.pt")
    code = f"""
import torch
found = {{}}
for name, lines in {plain!r}.items():
    known = {{}}
    exec(lines, known)
    found[name] = known["model"](torch.load("images.pt")).detach()
torch.save(found, "found.pt")
"""
    in_process(code, exported)
    found = torch.load(exported / "found.pt")
    assert len(found) == 3
    for name, one in found.items():
        assert torch.allclose(one, logits, atol=1e-4 * logits.abs().max().item()), name


# python


@pytest.fixture(scope="module")
def torch_alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of torch and what it requires, and nothing else: no numpy either."""
    folder = tmp_path_factory.mktemp("torch_alone")
    for name in TORCH_ALONE:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            continue
        origin = Path(spec.origin)
        source = origin.parent if origin.name == "__init__.py" else origin
        (folder / source.name).symlink_to(source)
    return folder


def test_the_python_file_runs_where_torch_is_alone(
    exported: Path, torch_alone: Path, images: Tensor, logits: Tensor
) -> None:
    torch.save(images, exported / "images.pt")
    code = f"""
import sys
sys.path[:0] = [{str(exported)!r}, {str(torch_alone)!r}]
import torch
from my_net_0003 import Network
network = Network().eval()
network.load_state_dict(torch.load("my-net_0003.pt", weights_only=True))
with torch.no_grad():
    torch.save([network(torch.load("images.pt")), network.fuse()(torch.load("images.pt"))], "found.pt")
print(*sorted({{name.split(".")[0] for name in sys.modules}}))
"""
    names = in_process(code, exported, "-S", "-I", "-W", "ignore").split()
    assert not {"search_spaces", "explorer", "pydantic", "yaml", "numpy"} & set(names)
    plain, fused = torch.load(exported / "found.pt")
    assert torch.allclose(plain, logits, atol=1e-5 * logits.abs().max().item())
    assert torch.allclose(fused, logits, atol=1e-4 * logits.abs().max().item())


@given(architecture=architectures())
@settings(max_examples=40)
def test_the_python_file_of_any_architecture_is_our_network(
    tmp_path_factory: pytest.TempPathFactory, architecture: Architecture
) -> None:
    path = tmp_path_factory.mktemp("any") / "net.py"
    torch.manual_seed(0)
    ours = build(architecture)
    write_python(Subject("net", architecture), path)
    module = loaded(path)
    torch.manual_seed(0)
    theirs = module.Network()
    own, other = ours.state_dict(), theirs.state_dict()
    assert list(own) == list(other)
    assert all(torch.equal(own[key], other[key]) for key in own)  # the same weights from the same seed
    theirs.load_state_dict(randomised(ours).state_dict())
    ours, theirs = ours.double().eval(), theirs.double().eval()
    size = architecture.image_size
    batch = torch.randn(2, architecture.in_channels, size, size, dtype=torch.float64)
    with torch.no_grad():
        assert torch.equal(theirs(batch), ours(batch))
        assert all(map(torch.equal, theirs.features(batch), ours.features(batch)))
    assert (size, architecture.classes) == (module.IMAGE_SIZE, module.CLASSES)
    assert max(map(len, path.read_text().splitlines())) <= 120


@pytest.mark.parametrize("name", ["swin_t", "shvit_s4", "deit_s"])
def test_weights_move_both_ways_between_a_preset_and_its_python_file(name: str, tmp_path: Path) -> None:
    write_python(Subject(name, preset(name)), tmp_path / "net.py")
    with torch.device("meta"):
        ours, theirs = build(preset(name)).state_dict(), loaded(tmp_path / "net.py").Network().state_dict()
    assert [(key, value.shape) for key, value in ours.items()] == [(key, value.shape) for key, value in theirs.items()]


@pytest.mark.parametrize("name", ["torch", "class", "explorer", "½x", "a²", "日本", "my-net", "3", "copy", "ﬁnet"])
def test_the_python_file_can_be_imported_whatever_the_name(name: str, tmp_path: Path) -> None:
    subject = Subject(name, ARCHITECTURE)
    path = TARGETS["python"].path(tmp_path, subject)
    write_python(subject, path)
    code = f"import torch, {path.stem} as it; print(torch.randn(1).shape, it.Network().head)"
    assert "BatchNormHead" in in_process(code, tmp_path)


def test_the_python_file_can_be_built_without_memory_and_filled(exported: Path, network: Any, images: Tensor) -> None:
    module = loaded(exported / "my_net_0003.py")
    with torch.device("meta"):
        other = module.Network()
    other.load_state_dict(network.state_dict(), assign=True)
    with torch.no_grad():
        assert torch.allclose(other.eval()(images), network(images), atol=1e-5)


def test_hostile_remarks_stay_remarks(tmp_path: Path) -> None:
    remark = 'x"""\nraise SystemExit(3)\n"""\\'
    architecture = ARCHITECTURE.model_copy(update={"description": remark})
    write_python(Subject("net", architecture), tmp_path / "net.py")
    assert loaded(tmp_path / "net.py").CLASSES == 10


# ONNX, torch.export


@pytest.mark.skipif("onnx" not in LOADERS, reason="ONNX is not installed")
def test_the_onnx_file_takes_any_number_of_images_and_tells_what_it_is(
    exported: Path, images: Tensor, logits: Tensor
) -> None:
    import onnx
    import onnxruntime

    model = onnx.load(exported / f"{NAME}.onnx")
    told = json.loads((exported / "export.json").read_text())["exports"][NAME]["files"][f"{NAME}.onnx"]
    assert {entry.domain: entry.version for entry in model.opset_import}[""] == told["opset"]
    (about,) = [entry.value for entry in model.metadata_props if entry.key == "vitscape.architecture"]
    assert Architecture.from_dict(json.loads(about)).id == ARCHITECTURE.id
    session = onnxruntime.InferenceSession(exported / f"{NAME}.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 4):
        (found,) = session.run(["logits"], {"images": images[:count].numpy()})
        assert torch.allclose(torch.from_numpy(found), logits[:count], atol=1e-4 * logits.abs().max().item())


def test_the_pt2_file_takes_any_number_of_images(exported: Path, images: Tensor, logits: Tensor) -> None:
    extra = {"architecture.yaml": ""}
    model = torch.export.load(exported / f"{NAME}.pt2", extra_files=extra).module()
    for count in (1, 4):
        assert torch.allclose(model(images[:count]), logits[:count], atol=1e-4 * logits.abs().max().item())
    assert "image_size: 32" in extra["architecture.yaml"]


# timm, transformers


@pytest.mark.skipif("timm" not in LOADERS, reason="timm is not installed")
def test_timm_builds_the_model_whole_as_backbone_and_as_encoder(
    exported: Path, network: Any, images: Tensor, logits: Tensor
) -> None:
    torch.save(images, exported / "images.pt")
    code = f"""{SHIM}
import timm, timm.optim, my_net_0003_timm
name, images = "vitscape_my_net_0003", torch.load("images.pt")
weights = {{"checkpoint_path": "my-net_0003.pt"}}
model = timm.create_model(name, **weights).eval()
assert model.get_classifier().out_features == 10
backbone = timm.create_model(name, features_only=True, out_indices=(0, 2)).eval()
backbone.load_state_dict({{"model." + key: value for key, value in model.state_dict().items() if "head" not in key}})
encoder = timm.create_model(name, num_classes=0).eval()
encoder.load_state_dict(model.state_dict(), strict=False)
fresh = timm.create_model(name, num_classes=7, in_chans=1, drop_path_rate=0.0)
data = timm.data.resolve_model_data_config(model)
groups = timm.optim.param_groups_layer_decay(model)
trained = {{"pretrained": True, "pretrained_cfg_overlay": {{"file": "my-net_0003.pt"}}}}
for how in ({{"features_only": True}}, {{"num_classes": 0}}, {{"num_classes": 5}}):
    assert torch.equal(next(timm.create_model(name, **how, **trained).parameters()), next(model.parameters()))
half = timm.create_model(name).eval().bfloat16()
half.reset_classifier(5)
assert half.fuse()(images.bfloat16()).shape == (4, 5)
assert encoder.fuse()(images).shape == (4, 32)
for refused in (lambda: half.reset_classifier(5, "max"), lambda: half.set_grad_checkpointing(True)):
    try:
        refused()
    except ValueError:
        continue
    raise AssertionError
with torch.no_grad():
    found = [model(images), backbone(images), encoder(images), model.forward_head(model.forward_features(images), True)]
    found += [fresh(images[:, :1]).shape, backbone.feature_info.channels(), backbone.feature_info.reduction()]
found += [model.forward_intermediates(images, [-1], intermediates_only=True)[0].detach(), data["mean"], len(groups)]
torch.save(found, "found.pt")
"""
    in_process(code, exported)
    whole, maps, encoded, pooled, fresh, channels, reduction, last, mean, groups = torch.load(exported / "found.pt")
    with torch.no_grad():
        features = network.features(images)
        wanted = network.head.pooled(features[-1])
    scale = 1e-5 * max(1.0, logits.abs().max().item())
    assert torch.allclose(whole, logits, atol=scale)
    assert torch.allclose(encoded, wanted, atol=scale)
    assert torch.equal(pooled, encoded)
    assert [tuple(one.shape) for one in maps] == [(4, 16, 8, 8), (4, 32, 2, 2)]
    assert torch.allclose(maps[0], features[0], atol=1e-4)
    assert torch.allclose(maps[1], features[2], atol=1e-4)
    assert torch.allclose(last, features[2], atol=1e-4)
    assert (tuple(fresh), channels, reduction) == ((4, 7), [16, 32], [4, 16])
    assert mean == (0.1, 0.2, 0.3)
    assert groups > 2


@pytest.mark.skipif("huggingface" not in LOADERS, reason="transformers is not installed")
def test_transformers_loads_the_folder_offline_with_another_classifier_and_saves_it_again(
    exported: Path, tmp_path: Path, images: Tensor, logits: Tensor
) -> None:
    torch.save(images, exported / "images.pt")
    code = f"""{SHIM}
from PIL import Image
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification
where = "./{NAME}_huggingface"
model = AutoModelForImageClassification.from_pretrained(where, trust_remote_code=True)
images = torch.load("images.pt")
with torch.no_grad():
    found = model(pixel_values=images, labels=torch.arange(4), output_hidden_states=True)
other = AutoModelForImageClassification.from_pretrained(
    where, trust_remote_code=True, num_labels=3, ignore_mismatched_sizes=True
)
model.save_pretrained({str(tmp_path / "again")!r})
again = AutoModelForImageClassification.from_pretrained({str(tmp_path / "again")!r}, trust_remote_code=True)
fresh = AutoModelForImageClassification.from_config(
    AutoConfig.from_pretrained(where, trust_remote_code=True), trust_remote_code=True
)
with torch.no_grad():
    prepared = AutoImageProcessor.from_pretrained(where)(Image.new("RGB", (80, 40), "red"), return_tensors="pt")
    several = torch.eye(10)[:4]
    model.config.problem_type = "multi_label_classification"
    told = model(images, labels=several).loss
    assert torch.allclose(told, torch.nn.functional.binary_cross_entropy_with_logits(found.logits, several))
    half = AutoModelForImageClassification.from_pretrained(where, trust_remote_code=True, dtype=torch.bfloat16)
    assert torch.allclose(half(images.bfloat16()).logits.float(), found.logits, atol=0.1 * found.logits.abs().max())
    shapes = [other(images).logits, again(images).logits, fresh(images).logits]
shapes += [other.head.fc.weight.std().item()]
shapes += [prepared["pixel_values"]]
torch.save([found.logits, found.loss, [one.shape for one in found.hidden_states], *shapes], "found.pt")
"""
    in_process(code, exported, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1")
    found, loss, shapes, other, again, fresh, deviation, prepared = torch.load(exported / "found.pt")
    assert torch.allclose(found, logits, atol=1e-5 * logits.abs().max().item())
    assert torch.allclose(loss, torch.nn.functional.cross_entropy(logits, torch.arange(4)), atol=1e-4)
    assert [tuple(shape) for shape in shapes] == [(4, 16, 8, 8), (4, 24, 4, 4), (4, 32, 2, 2)]
    assert torch.equal(again, found)
    assert other.shape == (4, 3)
    assert 0.01 < deviation < 0.03  # drawn, not whatever memory held
    assert bool(torch.isfinite(fresh).all())
    assert prepared.shape == (1, 3, 32, 32)
    red = torch.tensor([(1 - 0.1) / 0.4, -0.2 / 0.5, -0.3 / 0.6])  # normalised as the weights' training did
    assert torch.allclose(prepared[0], red[:, None, None].expand(3, 32, 32), atol=1e-4)


# verification


@pytest.fixture
def tampered(tmp_path: Path) -> Iterator[tuple[Subject, Path, Checker]]:
    """A Python file with its weights, and who checks it."""
    subject = Subject("net", ARCHITECTURE)
    torch.save(subject.network.state_dict(), tmp_path / "net.pt")
    write_python(subject, tmp_path / "net.py")
    with Checker() as checker, checker.cases(subject):
        yield subject, tmp_path / "net.py", checker


def test_a_file_that_computes_something_else_is_found_out(tampered: tuple[Subject, Path, Checker]) -> None:
    subject, path, checker = tampered
    right = path.read_text()

    def verdict(wrong: str) -> str:
        path.write_text(wrong)
        with pytest.raises(ExportFailed) as caught:
            checker.check(TARGETS["python"], subject, path.parent)
        return str(caught.value)

    assert checker.check(TARGETS["python"], subject, path.parent).difference < 1e-4
    assert "logits differ by" in verdict(right.replace("-grid.shift_h, -grid.shift_w", "grid.shift_h, grid.shift_w"))
    assert "must not be needed" in verdict(
        "import explorer\n" + right.replace("from __future__ import annotations", "")
    )
    assert "search_spaces must not be needed" in verdict(right.replace("import copy", "import copy, search_spaces"))
    assert "ended with status 5" in verdict(right.replace("import copy", "import copy, os; os._exit(5)"))
    assert "logits are (3, 9)" in verdict(
        right.replace("self.features(images)[-1])", "self.features(images)[-1])[:, :9]")
    )
    path.write_text(right)
    assert checker.check(TARGETS["python"], subject, path.parent).difference < 1e-4


def test_a_network_that_magnifies_rounding_may_differ_by_what_float32_explains(tmp_path: Path) -> None:
    network = randomised(build(ARCHITECTURE))
    with torch.no_grad():  # features of 10,000 and more, of which the head takes the mean away again
        network.stages[-1].blocks[-1].ffn.body.fc2.bias += 1e4
        pooled = network.features(torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)))[-1].mean(
            (2, 3)
        )
        network.head.norm.running_mean.copy_(pooled.mean(0))
        network.head.norm.running_var.copy_(pooled.var(0))
    save_weights(tmp_path / "w.pt", network.state_dict(), architecture=ARCHITECTURE)
    export_architecture(ARCHITECTURE, tmp_path, name="net", to=["torch_export"], weights=tmp_path / "w.pt")
    (entry,) = json.loads((tmp_path / "export.json").read_text())["exports"].values()
    verified = entry["files"]["net.pt2"]["verified"]
    rounding, share = (
        verified["float32_differs_from_float64_by"],
        verified["logits_differ_by"] / verified["largest_logit"],
    )
    assert 1e-4 < share < 4 * rounding == pytest.approx(verified["tolerance"])


def test_what_cannot_be_verified_is_not_written_and_the_others_are(run: Run, tmp_path: Path) -> None:
    network = build(ARCHITECTURE)
    with torch.no_grad():
        network.head.fc.bias[0] = torch.nan
    save_weights(tmp_path / "w.safetensors", network.state_dict(), architecture=ARCHITECTURE)
    status, _, err = run("export", "w.safetensors", "--to", "python", "--no-timing", "--out", "out")
    assert status == 1
    assert "logits are not finite" in err
    assert not list((tmp_path / "out").glob("*.py"))


# the command line


def test_targets_may_follow_each_other_with_spaces_or_commas(run: Run, tmp_path: Path) -> None:
    for words in (["--to", "yaml", "json"], ["--to", "json,yaml"]):
        status, out, err = run("export", "swin_t", *words, "--out", "out")
        assert status == 0, err
        assert {Path(line).name for line in out.split()} == {"swin_t.yaml", "swin_t.json"}


def test_trained_weights_go_into_the_files_and_the_files_are_timed(run: Run, tmp_path: Path, network: Any) -> None:
    save_weights(tmp_path / "w.safetensors", network.state_dict(), architecture=ARCHITECTURE)
    words = ["--to", "python", "torch_export", "--time-limit", "0.2", "--json"]
    status, out, err = run("export", "w.safetensors", *words)
    assert status == 0, err
    paths = [Path(path) for path in json.loads(out)]
    (weights,) = [path for path in paths if path.suffix == ".pt"]
    found = torch.load(weights, weights_only=True)
    assert all(torch.equal(found[key], value) for key, value in network.state_dict().items())
    (entry,) = json.loads((tmp_path / "pareto" / "export.json").read_text())["exports"].values()
    timed = {file["target"]: file["latencies"] for file in entry["files"].values() if "latencies" in file}
    assert timed.keys() == {"python", "torch_export"}
    for (latency,) in timed.values():
        assert latency["latency"]["median_ms"] > 0
        assert latency["latency"]["conditions"]["batch_size"] == 1


def test_impossible_words_are_refused_in_one_line(run: Run, tmp_path: Path) -> None:
    assert "to=pickle: not known" in refuses(run, "export", "swin_t", "--to", "pickle")
    assert "demo: one study or architecture at a time" in refuses(run, "export", "swin_t", "demo")
    assert "--knee: chooses from a study" in refuses(run, "export", "swin_t", "--knee")
    assert "device='nosuch' is not here" in refuses(run, "export", "swin_t", "--to", "python", "--device", "nosuch")
    assert "w.safetensors" in refuses(run, "export", "swin_t", "--weights", "w.safetensors", "--to", "python")
    save_weights(tmp_path / "w.pt", build(ARCHITECTURE).state_dict(), architecture=ARCHITECTURE)
    assert "do not fit" in refuses(run, "export", "shvit_s1", "--weights", "w.pt", "--to", "python", "--no-timing")


def test_nothing_of_others_is_written_over(tmp_path: Path) -> None:
    def refused(name: str, to: str) -> str:
        with pytest.raises(ExportError) as caught:
            export_architecture(ARCHITECTURE, tmp_path, name=name, to=[to])
        return str(caught.value)

    (tmp_path / "net_huggingface").mkdir()
    (tmp_path / "net_huggingface" / "mine").write_text("x")
    if "huggingface" in LOADERS:
        assert "a folder that no export wrote" in refused("net", "huggingface")
    assert (tmp_path / "net_huggingface" / "mine").exists()
    (tmp_path / "net.yaml").mkdir()
    assert "a folder that no export wrote" in refused("net", "yaml")
    export_architecture(ARCHITECTURE, tmp_path, name="my-net", to=["python"])
    assert "my_net.py: is my-net's" in refused("my.net", "python")
    assert export_architecture(ARCHITECTURE, tmp_path, name="export", to=["json"])[0].name == "export_.json"


def test_writing_architecture_files_loads_no_torch(tmp_path: Path) -> None:
    code = "import sys; from explorer.cli import main\nsys.argv[1:] = ['export', 'swin_t', '--no-timing']\n"
    code += "try: main()\nexcept SystemExit as end: assert not end.code\nprint('torch' in sys.modules)"
    assert in_process(code, tmp_path, **environment(tmp_path)).split()[-1] == "False"
