"""A network as a backbone gives the maps of its stages, for images of any size, as code written for timm's expects."""

import os
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from explorer.weights import load_file, save_weights
from search_spaces import Architecture, build, load_weights, preset
from search_spaces.blocks.backbone import Backbone
from search_spaces.blocks.network import Network
from search_spaces.blocks.weights import place_weights
from search_spaces.errors import InputError
from tests.minis import ARCHITECTURE
from tests.reference_timm import Model, timm_runs
from tests.reference_weights import ARCHITECTURES, images_for, published_weights
from tests.strategies import architectures, randomise

pytestmark = pytest.mark.xdist_group("backbone")  # what several of them look at is made once

SWIN, SHVIT = ARCHITECTURES["swin_micro_64w4"](), ARCHITECTURES["shvit_micro"]()
EXAMPLE = Path(__file__).parent.parent / "docs" / "examples" / "backbone.py"


def pair(architecture: Architecture, **how: object) -> tuple[Network, Backbone]:
    """A network with random weights and the backbone with the same ones, both in eval mode."""
    network = randomise(build(architecture)).eval()
    backbone = load_weights(build(architecture, features_only=True, **how), network.state_dict()).eval()
    return network, backbone


def ceil_sizes(height: int, width: int, strides: list[int]) -> list[tuple[int, int]]:
    return [(-(-height // stride), -(-width // stride)) for stride in strides]


# maps


@pytest.mark.parametrize("architecture", [SWIN, SHVIT], ids=["swin", "shvit"])
def test_maps_equal_the_features_of_the_network_with_the_same_weights(architecture):
    network, backbone = pair(architecture)
    images = images_for("maps", 64)
    with torch.no_grad():
        wanted, found = network.features(images), backbone(images)
    assert len(found) == len(wanted) == len(architecture.stages)
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


@settings(max_examples=max(25, settings().max_examples // 2))
@given(architectures(max_image=32), st.integers(1, 70), st.integers(1, 70), st.data())
def test_any_backbone_takes_images_of_any_size_and_has_the_strides_that_it_tells(architecture, height, width, data):
    stages = len(architecture.stages)
    indices = data.draw(st.lists(st.integers(0, stages - 1), min_size=1, unique=True))
    network, backbone = pair(architecture, out_indices=indices)
    images = torch.randn(1, architecture.in_channels, height, width)
    with torch.no_grad():
        found, all_maps = backbone(images), network.features(images)
    assert all(torch.equal(x, all_maps[i]) for x, i in zip(found, sorted(indices), strict=True))
    assert [x.shape[1] for x in found] == backbone.feature_info.channels()
    sizes = ceil_sizes(height, width, backbone.feature_info.reduction())
    assert [tuple(x.shape[2:]) for x in found] == sizes
    assert len(backbone.stages) == max(indices) + 1


@pytest.mark.parametrize("size", [(97, 131), (800, 1333)])
@pytest.mark.parametrize("name", ["swin", "shvit"])
def test_images_of_detection_give_maps_that_round_up(name, size):
    data = (SWIN if name == "swin" else SHVIT).to_dict()
    for i, stage in enumerate(data["stages"]):
        stage["width"], stage["depth"] = 8 * 2**i, 1
        if name == "shvit" and i:
            stage["mixer"]["partial_channels"] = 4
        if name == "swin":
            stage["depth"], stage["mixer"]["size"] = 2, 7
    backbone = randomise(build(Architecture.from_dict(data), features_only=True)).eval()
    with torch.no_grad():
        maps = backbone(torch.randn(1, 3, *size))
    strides = [4, 8, 16, 32] if name == "swin" else [16, 32, 64]
    assert backbone.feature_info.reduction() == strides
    assert [tuple(x.shape[2:]) for x in maps] == ceil_sizes(*size, strides)
    assert all(x.isfinite().all() for x in maps)


def test_maps_equal_those_of_timm_on_an_image_that_is_not_square(tmp_path):
    small = {"embed_dim": 24, "depths": (2, 2, 2, 2), "num_heads": (1, 2, 4, 8), "img_size": (224, 448)}
    images = images_for("timm", 448)[:, :, :224]
    how = {"features_only": True, **small}
    run = timm_runs(tmp_path, {"swin": Model("swin_tiny_patch4_window7_224", how, images)})["swin"]
    data = preset("swin_t").to_dict()
    for i, stage in enumerate(data["stages"]):
        stage |= {"width": 24 * 2**i, "depth": 2}
        stage["mixer"] |= {"heads": 2**i, "shift": "half"}
    backbone = build(Architecture.from_dict(data | {"image_size": 448}), features_only=True)
    # features_only of timm names layers.0 layers_0; it has no head
    weights = {re.sub(r"^layers_", "layers.", key): value for key, value in torch.load(run.checkpoint).items()}
    load_weights(backbone, weights)
    with torch.no_grad():
        maps = backbone.double().eval()(images.double())
    for found, wanted in zip(maps, run.outputs, strict=True):  # theirs are (B, H, W, C)
        wanted = wanted.permute(0, 3, 1, 2)
        assert found.shape == wanted.shape
        assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()


# which stages


def test_negative_indices_count_from_the_end_and_maps_come_in_the_order_of_the_stages():
    _, backbone = pair(SWIN, out_indices=(-2, 0))
    assert backbone.out_indices == (0, 2)
    assert backbone.feature_info.channels() == [24, 96]
    assert [x.shape[1] for x in backbone(torch.randn(1, 3, 64, 64))] == [24, 96]
    assert not any(key.startswith("stages.3.") for key in backbone.state_dict())


@pytest.mark.parametrize("indices", [(4,), (-5,), (0, 9), (), (1, 1), (3, -1), (0.5,), 2, "01", (True,)])
def test_stages_that_are_not_there_are_refused_with_those_that_are(indices):
    with pytest.raises(InputError, match="out_indices=") as error:
        build(SWIN, features_only=True, out_indices=indices)
    assert "0 to 3" in str(error.value) or "named twice" in str(error.value)
    assert str(error.value).isprintable()


def test_what_is_a_backbones_is_refused_without_features_only():
    with pytest.raises(InputError, match="features_only=True"):
        build(SWIN, out_indices=(0,))
    with pytest.raises(InputError, match="features_only=True"):
        build(SWIN, out_norms=True)


def test_without_features_only_build_is_what_it_was():
    torch.manual_seed(0)
    first = build(SWIN)
    torch.manual_seed(0)
    second = build(SWIN, features_only=False)
    assert type(first) is type(second) is Network
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_feature_info_answers_as_timms_does():
    info = build(SWIN, features_only=True, out_indices=(1, 3)).feature_info
    assert info.channels() == [48, 192]
    assert info.reduction() == [8, 32]
    assert info.module_name() == ["stages.1", "stages.3"]
    assert info.get_dicts(["num_chs"]) == [{"num_chs": 48}, {"num_chs": 192}]
    assert len(info) == len(info.info) == 4
    assert info[0] == {"num_chs": 24, "reduction": 4, "module": "stages.0", "index": 0}
    assert (info.out_indices, info.channels(0), info.channels([0, 2])) == ((1, 3), 24, [24, 96])
    backbone = build(SWIN, features_only=True)
    names = dict(backbone.named_modules())
    assert all(name in names for name in backbone.feature_info.module_name())


# weights


def test_names_of_the_weights_are_those_of_the_full_network_without_its_head():
    full = build(SWIN).state_dict()
    found = build(SWIN, features_only=True).state_dict()
    assert list(found) == [key for key in full if not key.startswith("head.")]


def test_weights_of_the_full_network_load_and_what_is_left_over_is_named():
    backbone = build(SWIN, features_only=True, out_indices=(0, 1))
    placement = place_weights(backbone, published_weights("swin_micro_64w4"))
    assert placement.left_over["head.weight"] == "a backbone has no head"
    assert placement.left_over["layers.3.blocks.0.norm1.weight"] == "of a stage after the last one that is used"
    assert placement.left_over["layers.1.downsample.norm.weight"] == "of a stage after the last one that is used"
    assert len(placement.placed) == len(backbone.state_dict())
    with pytest.raises(ValueError, match=r"not placed: stages\.4\.blocks\.0\.x"):
        load_weights(backbone, build(SWIN).state_dict() | {"stages.4.blocks.0.x": torch.zeros(1)})
    with pytest.raises(ValueError, match="missing: stages"):
        load_weights(build(SWIN, features_only=True), backbone.state_dict())


def test_a_file_of_the_full_network_loads_into_the_backbone_and_its_own_file_does(tmp_path):
    network, backbone = pair(SHVIT)
    save_weights(tmp_path / "full.safetensors", network.state_dict(), architecture=SHVIT)
    save_weights(tmp_path / "own.pt", backbone.state_dict(), architecture=SHVIT)
    for name in ("full.safetensors", "own.pt"):
        again = load_file(build(SHVIT, features_only=True), tmp_path / name).state_dict()
        assert all(torch.equal(value, again[key]) for key, value in backbone.state_dict().items())


def test_norms_of_the_outputs_are_there_on_request_and_stay_fresh_where_a_file_has_none():
    backbone = build(SWIN, features_only=True, out_indices=(1, 2), out_norms=True)
    placement = place_weights(backbone, published_weights("swin_micro_64w4"))
    assert placement.fresh == ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias")
    images = images_for("norms", 64)
    plain = load_weights(build(SWIN, features_only=True, out_indices=(1, 2)), published_weights("swin_micro_64w4"))
    with torch.no_grad():
        for found, raw in zip(backbone.eval()(images), plain.eval()(images), strict=True):
            wanted = nn.functional.layer_norm(raw.permute(0, 2, 3, 1), raw.shape[1:2]).permute(0, 3, 1, 2)
            assert torch.allclose(found, wanted, atol=1e-5)
    again = randomise(build(SWIN, features_only=True, out_indices=(1, 2), out_norms=True))
    assert place_weights(backbone, again.state_dict()).fresh == ()
    assert torch.equal(backbone.get_submodule("norm2").weight, again.get_submodule("norm2").weight)


# use


def test_the_folded_backbone_gives_the_same_maps_without_batch_norm():
    _, backbone = pair(SHVIT)
    folded = backbone.double().fuse()
    images = images_for("folded", 80).double()
    with torch.no_grad():
        for found, wanted in zip(folded(images), backbone(images), strict=True):
            assert (found - wanted).abs().max() < 1e-9 * wanted.abs().max()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in backbone.modules())


@pytest.mark.parametrize("how", [{}, {"out_indices": (0, 1)}, {"out_indices": (-1,), "out_norms": True}])
@pytest.mark.parametrize("architecture", [SWIN, SHVIT], ids=["swin", "shvit"])
def test_every_parameter_takes_part_in_the_outputs(architecture, how):
    backbone = randomise(build(architecture, features_only=True, **how))
    sum(x.square().mean() for x in backbone(torch.randn(2, 3, 64, 96))).backward()
    assert [name for name, p in backbone.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.fixture
def alone(tmp_path) -> Iterator[None]:
    """A process group of this process."""
    where = f"file://{tmp_path / 'rendezvous'}"
    torch.distributed.init_process_group("gloo", init_method=where, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_it_trains_under_ddp_which_allows_no_unused_parameters(alone):
    model = nn.parallel.DistributedDataParallel(build(SWIN, features_only=True, out_indices=(0, 2)))
    for _ in range(2):  # the second step fails where a parameter got no gradient in the first
        model.zero_grad()
        sum(x.mean() for x in model(torch.randn(1, 3, 48, 64))).backward()


# the example


def test_the_example_learns(capsys, tmp_path, monkeypatch):
    example = runpy.run_path(str(EXAMPLE), run_name="example")
    example["main"](["--steps", "16"])
    out = capsys.readouterr().out
    losses = [float(loss) for loss in re.findall(r"loss (\d\.\d+)", out)]
    assert len(losses) == 8
    assert losses[-1] < 0.75 * losses[0]
    assert "stages.1: stride  8, 32 channels" in out
    assert re.search(r"mean IoU on 64 held-out images: 0\.\d+ before, 0\.\d+ after", out)


def test_the_example_takes_an_architecture_of_yours(capsys, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(ARCHITECTURE)
    runpy.run_path(str(EXAMPLE), run_name="example")["main"](["--arch", os.fspath(path), "--steps", "1"])
    assert "stages.0: stride  4, 8 channels" in capsys.readouterr().out


def test_the_pictures_of_the_example_hold_every_class_and_are_the_same_each_time():
    draw = runpy.run_path(str(EXAMPLE), run_name="example")["draw"]
    images, labels = draw(12, torch.Generator().manual_seed(3))
    assert (images.shape, labels.shape) == ((12, 3, 64, 96), (12, 64, 96))
    assert labels.unique().tolist() == [0, 1, 2, 3]
    assert torch.equal(images, draw(12, torch.Generator().manual_seed(3))[0])
