"""`vitscape explain`: what is drawn is the attention that is computed, and lies where it belongs on the image."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor, nn

from explorer.explain import explain
from explorer.explain.attention import output_of, read_attention
from explorer.explain.colours import heat_scale
from explorer.explain.image import load_picture
from explorer.explain.lattice import lattices, smooth
from explorer.explain.views import look, mean_distance
from explorer.weights import save_weights
from search_spaces import Architecture, build
from search_spaces.blocks.global_attention import GlobalAttention
from search_spaces.blocks.single_head import SingleHeadAttention
from search_spaces.blocks.window import WindowAttention
from tests.minis import Run, refuses

WINDOWS = """\
format: vitscape/architecture@1
name: mini
image_size: 28
classes: 10
stem: {kind: patch, stride: 2}
stages:
  - {width: 8, depth: 2, mixer: {kind: window, size: 4, heads: 2}}
  - {width: 12, depth: 1, mixer: {kind: none}, downsample: patch_merging}
  - {width: 16, depth: 1, mixer: {kind: global, heads: 4}, downsample: patch_merging}
"""
SINGLE = """\
format: vitscape/architecture@1
image_size: 32
classes: 10
stem: {kind: conv, stride: 4}
stages:
  - {width: 16, depth: 1, mixer: {kind: conv, kernel: 3}, norm: batch, activation: relu}
  - width: 28
    depth: 2
    mixer: {kind: single_head, partial_channels: 6, qk_dim: 4}
    downsample: inverted_residual
    norm: batch
    activation: relu
"""
MIXERS = {
    "windows": lambda: WindowAttention(12, 3, 4, 0, 8, "layer", True),
    "shifted windows": lambda: WindowAttention(12, 3, 4, 2, 8, "layer", True),
    "shifted windows on a map that they do not divide": lambda: WindowAttention(12, 3, 4, 2, 7, "layer", True),
    "windows of batch norm without bias": lambda: WindowAttention(12, 2, 3, 1, 9, "batch", False),
    "global": lambda: GlobalAttention(12, 3, "layer"),
    "global of batch norm": lambda: GlobalAttention(12, 2, "batch"),
    "single head": lambda: SingleHeadAttention(14, 5, 4, "batch", "relu"),
    "single head of layer norm": lambda: SingleHeadAttention(14, 5, 4, "layer", "gelu"),
}


def scrambled(module: nn.Module) -> nn.Module:
    """In float64 and eval mode, with everything random: fresh norms, statistics and biases hide mistakes."""
    module = module.double().eval()
    with torch.no_grad():
        for tensor in [*module.parameters(), *module.buffers()]:
            if tensor.is_floating_point() and not (tensor <= -100).any():  # the mask is no weight
                tensor.copy_(torch.rand_like(tensor) + 0.3)
        for parameter in module.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn_like(parameter))
    return module


def mixer_and_input(name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(1)
    module = scrambled(MIXERS[name]())
    width = 14 if "single" in name else 12
    side = {"shifted windows on a map that they do not divide": 7, "windows of batch norm without bias": 9}.get(name, 8)
    return module, torch.randn(1, width, side, side, dtype=torch.float64)


@pytest.mark.parametrize("name", MIXERS)
def test_the_attention_that_is_drawn_gives_the_modules_own_output(name: str) -> None:
    module, x = mixer_and_input(name)
    with torch.no_grad():
        attention = read_attention(module, x)
        difference = (output_of(module, x, attention) - module(x)).abs().max()
        rows = torch.stack([attention.weights(window).sum(-1) for window in range(len(attention.places))])
    assert module(x).abs().max() > 0.1
    assert difference < 1e-10
    assert (rows - 1).abs().max() < 1e-12


@pytest.mark.parametrize("name", ["shifted windows", "shifted windows on a map that they do not divide"])
def test_masked_pairs_and_padding_get_no_attention(name: str) -> None:
    module, x = mixer_and_input(name)
    with torch.no_grad():
        attention = read_attention(module, x)
        hidden = [attention.weights(w)[:, ~attention.seen(w)] for w in range(len(attention.places))]
    assert sum(part.numel() for part in hidden) > 100
    assert max(float(part.max()) for part in hidden if part.numel()) < 1e-12


def test_every_token_is_in_one_window_whose_tokens_it_touches_on_the_image() -> None:
    module, x = mixer_and_input("shifted windows")
    attention = read_attention(module, x)
    assert sorted(attention.places.flatten().tolist()) == list(range(64))
    weights, reach = attention.of(0, 0)  # its window is torn: 2 x 2 tokens of it are here, the others at other corners
    corners = torch.zeros(8, 8, dtype=torch.int8)
    corners[:2, :2] = 1
    corners[:2, 6:] = corners[6:, :2] = corners[6:, 6:] = -1
    assert torch.equal(reach, corners)
    assert weights[:, reach != 1].max() < 1e-12


@pytest.mark.parametrize(("down", "right"), [(1, 0), (0, -1), (-1, 1)])
@pytest.mark.parametrize("shift", [0, 2])
def test_a_bias_that_attends_to_one_neighbour_lights_that_neighbour_on_the_image(
    shift: int, down: int, right: int
) -> None:
    module = WindowAttention(8, 2, 4, shift, 8, "layer", True).double().eval()
    with torch.no_grad():
        assert module.relative_position_bias_table is not None
        module.relative_position_bias_table.zero_()
        # the bias of a query that stands (-down, -right) off its key, in the table's own order
        module.relative_position_bias_table[(-down + 3) * 7 + (-right + 3)] = 40.0
        attention = read_attention(module, torch.randn(1, 8, 8, 8, dtype=torch.float64))
        lit = 0
        for row in range(8):
            for column in range(8):
                weights, reach = attention.of(row, column)
                there = row + down, column + right
                if not (0 <= there[0] < 8 and 0 <= there[1] < 8 and reach[there] == 1):
                    continue
                lit += 1
                assert weights[:, there[0], there[1]].min() > 0.999
    along = {0: 6, 2: 5}[shift]  # of 8 tokens those whose neighbour is in their own window: 4 + 4, or 2 + 4 + 2
    assert lit == (along if down else 8) * (along if right else 8)
    distances, _ = mean_distance(attention, 10)
    assert min(distances) > 0


def test_mean_distance_is_that_of_where_attention_lies() -> None:
    module = GlobalAttention(4, 1, "layer").double().eval()
    with torch.no_grad():
        module.qkv.weight.zero_()  # all scores equal
        module.qkv.bias.zero_()
        attention = read_attention(module, torch.randn(1, 4, 3, 3, dtype=torch.float64))
    places = [(row, column) for row in range(3) for column in range(3)]
    expected = np.mean([np.hypot(a[0] - b[0], a[1] - b[1]) * 16 for a in places for b in places])
    (distance,), uniform = mean_distance(attention, 16)
    assert distance == pytest.approx(expected)
    assert uniform == pytest.approx(expected)


def test_attention_that_is_equal_on_all_in_reach_has_the_distance_that_is_told_as_equal() -> None:
    module = WindowAttention(4, 2, 4, 2, 7, "layer", False).double().eval()  # torn windows, padding
    with torch.no_grad():
        module.qkv.weight.zero_()
        distances, uniform = mean_distance(read_attention(module, torch.randn(1, 4, 7, 7, dtype=torch.float64)), 16)
    assert distances == pytest.approx((uniform, uniform))


def test_large_maps_are_read_in_parts_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = mixer_and_input("global")
    with torch.no_grad():
        whole = read_attention(module, x).attended(), mean_distance(read_attention(module, x), 4)
        monkeypatch.setattr("explorer.explain.attention.MOST", 1000)
        parts = read_attention(module, x).attended(), mean_distance(read_attention(module, x), 4)
    assert torch.allclose(whole[0], parts[0], atol=1e-12)
    assert whole[1][0] == pytest.approx(parts[1][0])
    assert whole[1][1] == pytest.approx(parts[1][1])


def centre_of_gradient(architecture: Architecture, stage: int, token: tuple[int, int]) -> tuple[float, float]:
    """Where on the image the pixels lie that a token of a stage's map depends on: the middle of their bounding box."""
    torch.manual_seed(0)
    network = build(architecture).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()  # nothing cancels, no ReLU is shut
    size = architecture.image_size
    image = torch.ones(1, 3, size, size, dtype=torch.float64, requires_grad=True)
    x = network.stem(image)
    for index in range(1, stage + 1):
        x = network.stages[index].downsample(x)  # type: ignore[union-attr, operator]
    (gradient,) = torch.autograd.grad(x[0, :, token[0], token[1]].square().sum(), image)
    touched = gradient.abs().sum((0, 1)) > 0
    rows, columns = touched.any(1).nonzero().flatten(), touched.any(0).nonzero().flatten()
    return float(rows[0] + rows[-1] + 1) / 2, float(columns[0] + columns[-1] + 1) / 2


@pytest.mark.parametrize("stage", [0, 1])
def test_tokens_of_patches_lie_in_the_middle_of_the_pixels_that_they_are_made_of(stage: int) -> None:
    text = WINDOWS.replace("size: 28", "size: 64")
    architecture = Architecture.from_dict(yaml.safe_load(text))
    lattice = lattices(architecture)[stage]
    for row, column in ((0, 3), (5, 2)):
        expected = lattice.centre(row), lattice.centre(column)
        assert centre_of_gradient(architecture, stage, (row, column)) == expected


def test_tokens_of_convolutions_lie_half_a_pixel_beside_their_middle() -> None:
    architecture = Architecture.from_dict(yaml.safe_load(SINGLE.replace("size: 32", "size: 128")))
    lattice = lattices(architecture)[0]
    assert centre_of_gradient(architecture, 0, (9, 11)) == (lattice.centre(9), lattice.centre(11))
    assert lattice.centre(9) == 36.5
    assert lattices(architecture)[1].centre(4) == 32.5  # stride 8: the convolution of stride 2 keeps the first


def test_smoothing_keeps_each_tokens_value_at_its_centre_and_leaks_nothing_over_a_windows_border(
    tmp_path: Path,
) -> None:
    lattice = lattices(Architecture.from_dict(yaml.safe_load(WINDOWS)))[0]  # 14 x 14 tokens of 2 px
    values = np.random.default_rng(0).random((14, 14))
    drawn = smooth(values, lattice, 14 * 9)
    assert np.allclose(drawn[4::9, 4::9], values)
    assert drawn.max() <= values.max() + 1e-12
    within = np.zeros((14, 14), bool)
    within[3:5, 6:9] = True
    inside = smooth(np.where(within, 1.0, 7.0), lattice, 14 * 9, within)
    assert np.array_equal(~np.isnan(inside), np.kron(within, np.ones((9, 9), bool)))
    assert np.allclose(inside[~np.isnan(inside)], 1.0)


def test_colours_of_heat_fall_evenly_in_lightness() -> None:
    linear = (heat_scale() / 255.0) ** 2.2 @ np.array([0.2126, 0.7152, 0.0722])
    lightness = np.cbrt(linear)
    assert (np.diff(lightness) < 0.004).all()
    assert lightness[0] - lightness[-1] > 0.6
    steps = -np.diff(lightness[::16])
    assert steps.max() < 2 * steps.min()


def test_pictures_and_numbers_are_written_for_every_stage(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(WINDOWS.replace("28", "32"))
    status, out, err = run("explain", "a.yaml", "--image", "digits:3", "--json")
    assert status == 0, err
    told = json.loads(out)
    assert told["files"] == [f"explained/{name}.png" for name in ("overview", "stage_0", "stage_1", "stage_2")]
    assert err.count("\n") == 1
    assert "Random weights" in err
    for file in told["files"]:
        with Image.open(tmp_path / file) as image:
            assert image.width == 1200
            assert len(image.getcolors(1 << 24) or []) > 100
    windows, none, whole = told["stages"]
    assert [block["shift"] for block in windows["blocks"]] == [0, 2]
    assert [len(block["distance_px"]) for block in windows["blocks"]] == [2, 2]
    assert windows["blocks"][1]["queries"][1]["masked"] > 0
    assert none["blocks"] == []
    assert none["distance_px"] is None
    assert whole["heads"] == len(whole["blocks"][0]["distance_px"]) == 4
    assert all(block["rebuilt_within"] < 1e-4 for stage in told["stages"] for block in stage["blocks"])
    assert sorted(path.name for path in (tmp_path / "explained").iterdir()) == sorted(
        Path(file).name for file in told["files"]
    )


def test_single_head_and_convolution_are_drawn_and_stages_chosen(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SINGLE)
    status, out, err = run("explain", "a.yaml", "--image", "digits:0", "--stages", "1", "--query", "9,30", "--json")
    assert status == 0, err
    told = json.loads(out)
    assert told["files"] == ["explained/overview.png", "explained/stage_1.png"]
    (stage,) = told["stages"]
    assert (stage["attending_channels"], stage["channels"], stage["heads"]) == (6, 28, 1)
    assert told["queries"] == [[9, 30]]
    assert stage["blocks"][0]["queries"][0]["token"] == [1, 3]  # of 4 x 4 tokens 8 pixels apart, from half a pixel on


def test_given_weights_are_those_that_are_drawn(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(WINDOWS)
    architecture = Architecture.load(tmp_path / "a.yaml")
    torch.manual_seed(5)
    network = build(architecture)
    table = network.state_dict()["stages.0.blocks.0.mixer.body.relative_position_bias_table"]
    table.zero_()[(3 - 1) * 7 + 3] = 50.0  # every query at its neighbour below
    save_weights(tmp_path / "w.safetensors", network.state_dict(), architecture=architecture)
    words = ("explain", "a.yaml", "--image", "digits:3", "--query", "2,2", "--json")
    _, random, err = run(*words)
    assert "Random weights" in err
    status, given, err = run(*words, "--weights", "w.safetensors")
    assert status == 0
    assert err == ""
    told = json.loads(given)
    assert told["weights"] == "w.safetensors"
    highest = [json.loads(text)["stages"][0]["blocks"][0]["queries"][0]["highest"] for text in (given, random)]
    assert min(highest[0]) > 0.99
    assert max(highest[1]) < 0.5


def test_what_is_seen_comes_from_the_image_that_is_given(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(WINDOWS)
    pixels = np.zeros((40, 90, 3), np.uint8)
    pixels[:, :45] = (255, 0, 0)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    found = explain(tmp_path / "a.yaml", tmp_path / "wide.png", out=tmp_path / "out", queries=[(5, 5)], stages=[0])
    seen = found.scene.pixels
    assert seen.shape == (28, 28, 3)
    assert (seen[:, 2] == (255, 0, 0)).all()  # cropped at the centre, not squeezed
    assert (seen[:, -3] == 0).all()
    assert found.scene.source == "wide.png, 90 x 40"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "I;16", "F"])
def test_images_of_any_mode_are_read_as_rgb(mode: str, tmp_path: Path) -> None:
    grey = Image.fromarray(np.linspace(0, 255, 400).astype(np.uint8).reshape(20, 20))
    image = grey.convert("RGB").convert(mode) if mode not in ("I;16", "I", "F", "LA", "1") else grey.convert(mode)
    if mode in ("I;16", "I"):
        image = Image.fromarray((np.linspace(0, 65535, 400).reshape(20, 20)).astype(np.uint16)).convert(mode)
    file = tmp_path / ("x.tiff" if mode not in ("HSV", "YCbCr") else "x.png")
    (image if mode not in ("HSV", "YCbCr") else image.convert("RGB")).save(file)
    pixels = load_picture(str(file), Architecture.from_dict(yaml.safe_load(WINDOWS))).pixels
    assert pixels.shape == (28, 28, 3)
    assert int(pixels[-1, -1].max()) > 200
    assert int(pixels[0, 0].min()) < 60


def test_a_turned_photograph_is_set_upright(tmp_path: Path) -> None:
    pixels = np.zeros((30, 30, 3), np.uint8)
    pixels[:15] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    Image.fromarray(pixels).save(tmp_path / "x.jpg", exif=exif)
    seen = load_picture(str(tmp_path / "x.jpg"), Architecture.from_dict(yaml.safe_load(WINDOWS))).pixels
    assert seen[:5].max() < 60
    assert seen[-5:].min() > 200


def test_items_of_cues_are_the_validation_images_that_training_uses(tmp_path: Path) -> None:
    from explorer.proxy.cues import generate

    architecture = Architecture.from_dict(yaml.safe_load(WINDOWS.replace("28", "8")))
    split = generate(8, 0)
    for number in (0, 7, 300):
        assert np.array_equal(
            load_picture(f"cues:{number}", architecture).pixels.transpose(2, 0, 1), split.val_images[number]
        )


def broken(kind: str, folder: Path) -> str:
    """The path of an image file that is none."""
    file = folder / "x.png"
    whole = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(whole, "PNG")
    contents = {"empty": b"", "text": b"no image", "cut": whole.getvalue()[:90]}
    if kind == "huge":
        Image.new("1", (11000, 11000)).save(file)
    elif kind in contents:
        file.write_bytes(contents[kind])
    elif kind == "folder":
        file.mkdir()
    return str(file)


@pytest.mark.parametrize("kind", ["empty", "text", "cut", "huge", "folder", "missing"])
def test_a_broken_image_is_one_line(kind: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(WINDOWS)
    assert "x.png" in refuses(run, "explain", "a.yaml", "--image", broken(kind, tmp_path))
    assert not (tmp_path / "explained").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--image", "cues:4096"], "N from 0 to 4095"),
        (["--image", "cues:x"], "cues:N"),
        (["--image", "digits"], "digits:N"),
        (["--image", "folder:/tmp:3"], "give the file itself"),
        (["--image", "digits:3", "--stages", "3"], "stages 0 to 2"),
        (["--image", "digits:3", "--stages", "a"], "such as 0,2"),
        (["--image", "digits:3", "--query", "28,0"], "from 0,0 to 27,27"),
        (["--image", "digits:3", "--query", "4"], "ROW,COL"),
        (["--image", "digits:3", "--query", "auto", "--query", "4,4"], "auto alone"),
        (["--image", "digits:3", "--weights", "none.pt"], "no such file"),
        (["--image", "digits:3", "--out", "a.yaml"], "another folder"),
    ],
)
def test_bad_options_are_one_line(words: list[str], told: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(WINDOWS)
    assert told in refuses(run, "explain", "a.yaml", *words)


def test_hooks_are_gone_afterwards() -> None:
    architecture = Architecture.from_dict(yaml.safe_load(WINDOWS))
    network = build(architecture).eval()
    look(network, torch.randn(1, 3, 28, 28), lattices(architecture), ((0, 0),))
    assert not any(module._forward_hooks for module in network.modules())
