"""Networks with published weights compute what the published implementations compute; weights in every naming load."""

import re

import numpy as np
import pytest
import torch
from torch import Tensor

from search_spaces import Architecture, build, cost, load_weights, preset
from search_spaces.blocks.network import Network
from tests.reference_weights import ARCHITECTURES, images_for, published_weights, reference

TOLERANCE = 1e-6  # relative, in float64


def outputs(network: Network, images: Tensor) -> dict[str, np.ndarray]:
    """Logits and the summary of every stage, as the reference files have them."""
    with torch.no_grad():
        found = {"logits": network(images).numpy()}
        for i, x in enumerate([network.stem(images), *network.features(images)]):
            name = f"stage{i - 1}" if i else "stem"
            tokens = x.permute(0, 2, 3, 1).flatten(1, 2)  # (B, H W, C), row-major
            found[f"{name}_mean_std"] = np.array([tokens.mean().item(), tokens.std().item()])
            found[f"{name}_first"] = tokens[0, 0, :8].numpy()
            found[f"{name}_last"] = tokens[-1, -1, -8:].numpy()
    return found


def relative_error(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> float:
    """The largest difference between arrays, each relative to the largest entry of the one wanted."""
    assert wanted.keys() == found.keys()
    return max(float(np.abs(found[key] - wanted[key]).max() / np.abs(wanted[key]).max()) for key in wanted)


def loaded(name: str, weights: dict[str, Tensor] | None = None) -> Network:
    """The network of a reference, with its weights, in float64 and eval mode."""
    network = build(ARCHITECTURES[name]())
    return load_weights(network, weights or published_weights(name)).double().eval()


def error_of(name: str, weights: dict[str, Tensor] | None = None) -> float:
    """How far logits and stages of the network as it is built now are from the published ones."""
    images = images_for(name, reference(name).image_size).double()
    return relative_error(outputs(loaded(name, weights), images), reference(name).outputs)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_logits_and_stages_equal_the_published_implementation(name):
    assert error_of(name) < TOLERANCE


@pytest.mark.parametrize("name", ["swin_micro_64w4", "shvit_micro"])
def test_the_folded_network_equals_the_published_implementation(name):
    images = images_for(name, reference(name).image_size).double()
    logits = loaded(name).fuse()(images).detach().numpy()
    assert relative_error({"logits": logits}, {"logits": reference(name).outputs["logits"]}) < TOLERANCE


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_parameters_and_cost_equal_the_published_implementation(name):
    found, published = cost(ARCHITECTURES[name]()), reference(name)
    assert (found.params, found.params_folded) == (published.params, published.params_folded)
    assert found.macs == published.macs


def test_the_reference_images_and_logits_are_different_for_every_image():
    for name in ARCHITECTURES:
        first, second = reference(name).outputs["logits"]
        assert np.abs(first - second).max() > 0.1 * np.abs(first).max()


# namings


def swin_as_timm(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """timm keeps the merging at the start of the stage that follows it, and calls the classifier head.fc."""

    def renamed(key: str) -> str:
        if match := re.fullmatch(r"layers\.(\d+)\.downsample\.(.+)", key):
            return f"layers.{int(match[1]) + 1}.downsample.{match[2]}"
        return re.sub(r"^head\.", "head.fc.", key)

    return {renamed(key): tensor for key, tensor in weights.items()}


def shvit_as_timm(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """timm gives stages downsampling and blocks, where the official code has one sequence blocks1, blocks2, blocks3."""

    def renamed(key: str) -> str:
        match = re.fullmatch(r"blocks(\d)\.(\d+)\.(.+)", key)
        if match is None:
            return key
        stage, index, rest = int(match[1]) - 1, int(match[2]), match[3]
        if stage == 0:
            return f"stages.0.blocks.{index}.{rest}"
        if index >= 3:
            return f"stages.{stage}.blocks.{index - 3}.{rest}"
        if index == 1:
            return f"stages.{stage}.downsample.2.{rest}"
        part, rest = rest.split(".", 1)
        return f"stages.{stage}.downsample.{int(part) + (0 if index == 0 else 3)}.{rest}"

    return {renamed(key): tensor for key, tensor in weights.items()}


def with_buffers(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """As files have it, with the buffers that hold no weights."""
    extra = {}
    for key in weights:
        if key.endswith("relative_position_bias_table"):
            extra[key.replace("bias_table", "index")] = torch.zeros(16, 16)
        if key.endswith("blocks.1.norm1.weight"):
            extra[key.replace("norm1.weight", "attn_mask")] = torch.zeros(4, 16, 16)
        if key.endswith("running_var"):
            extra[key.replace("running_var", "num_batches_tracked")] = torch.tensor(300)
    assert extra
    return weights | extra


def with_matrices(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """As older SHViT files have it: 1x1 convolutions as matrices."""
    found = {key: t[:, :, 0, 0] if t.ndim == 4 and t.shape[2:] == (1, 1) else t for key, t in weights.items()}
    assert any(t.ndim == 2 and ".pw1." in key for key, t in found.items())
    return found


NAMINGS = {
    "swin official": ("swin_micro_64w4", lambda w: w),
    "swin official, file": ("swin_micro_64w4", lambda w: {"model": with_buffers(w), "epoch": 300}),
    "swin timm": ("swin_micro_64w4", swin_as_timm),
    "swin timm, file": ("swin_micro_64w4", lambda w: {"state_dict": with_buffers(swin_as_timm(w))}),
    "swin ours": ("swin_micro_64w4", lambda w: loaded("swin_micro_64w4").float().state_dict()),
    "shvit official": ("shvit_micro", lambda w: w),
    "shvit official, file": ("shvit_micro", lambda w: {"model": with_buffers(w), "optimizer": {}}),
    "shvit official, old": ("shvit_micro", with_matrices),
    "shvit timm": ("shvit_micro", shvit_as_timm),
    "shvit timm, file": ("shvit_micro", lambda w: {"state_dict": {"model": with_buffers(shvit_as_timm(w))}}),
    "shvit timm, old": ("shvit_micro", lambda w: with_matrices(shvit_as_timm(w))),
    "shvit ours": ("shvit_micro", lambda w: loaded("shvit_micro").float().state_dict()),
}


@pytest.mark.parametrize("naming", NAMINGS)
def test_weights_load_in_every_naming(naming):
    name, rewrite = NAMINGS[naming]
    assert error_of(name, rewrite(published_weights(name))) < TOLERANCE


def test_weights_load_from_a_file_on_disk(tmp_path):
    path = tmp_path / "swin.pth"
    torch.save({"model": published_weights("swin_micro_64w4")}, path)
    assert error_of("swin_micro_64w4", torch.load(path, weights_only=True)) < TOLERANCE


def test_timm_namings_of_the_test_are_other_names():
    swin, shvit = published_weights("swin_micro_64w4"), published_weights("shvit_micro")
    assert "layers.1.downsample.norm.weight" in swin_as_timm(swin)
    assert "layers.0.downsample.norm.weight" not in swin_as_timm(swin)
    names = shvit_as_timm(shvit).keys()
    assert {"stages.1.downsample.2.se.fc1.bias", "stages.2.blocks.1.mixer.m.qkv.c.weight"} <= names
    assert len(shvit_as_timm(shvit)) == len(shvit)


def deit_weights(architecture: Architecture) -> dict[str, Tensor]:
    """Random weights in DeiT's naming, without class token."""
    width = architecture.stages[0].width
    shapes = {
        "pos_embed": (1, architecture.maps[0] ** 2, width),
        "patch_embed.proj.weight": (width, 3, 16, 16),
        "patch_embed.proj.bias": (width,),
        "fc_norm.weight": (width,),
        "fc_norm.bias": (width,),
        "head.weight": (architecture.classes, width),
        "head.bias": (architecture.classes,),
    }
    for i in range(architecture.stages[0].depth):
        for norm in ("norm1", "norm2"):
            shapes |= {f"blocks.{i}.{norm}.weight": (width,), f"blocks.{i}.{norm}.bias": (width,)}
        for part, rows, columns in (
            ("attn.qkv", 3 * width, width),
            ("attn.proj", width, width),
            ("mlp.fc1", 4 * width, width),
            ("mlp.fc2", width, 4 * width),
        ):
            shapes |= {f"blocks.{i}.{part}.weight": (rows, columns), f"blocks.{i}.{part}.bias": (rows,)}
    generator = torch.Generator().manual_seed(0)
    return {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}


def test_deit_weights_find_their_places():
    weights = deit_weights(preset("deit_ti"))
    network = load_weights(build(preset("deit_ti")), weights)
    body = network.stages[0].blocks[3]
    assert torch.equal(body.mixer.body.qkv.weight, weights["blocks.3.attn.qkv.weight"])
    assert torch.equal(body.ffn.body.norm.bias, weights["blocks.3.norm2.bias"])
    assert torch.equal(network.head.norm.weight, weights["fc_norm.weight"])
    embedding = network.stem.position.embedding  # (1, C, 14, 14)
    assert torch.equal(embedding[0, :, 2, 5], weights["pos_embed"][0, 2 * 14 + 5])
    renamed = {key.replace("fc_norm.", "norm."): tensor for key, tensor in weights.items()}
    load_weights(network, renamed)


# strictness


def spoil(weights: dict[str, Tensor], how: str, key: str) -> dict[str, Tensor]:
    weights = dict(weights)
    if how == "extra":
        weights[f"{key}_too"] = torch.zeros(3)
    elif how == "missing":
        del weights[key]
    elif how == "misshapen":
        weights[key] = torch.zeros(2, *weights[key].shape)
    elif how == "transposed":
        weights[key] = weights[key].transpose(0, 1).contiguous()
    return weights


@pytest.mark.parametrize(
    ("name", "how", "key", "fragments"),
    [
        (
            "swin_micro_64w4",
            "extra",
            "layers.1.blocks.0.attn.qkv.weight",
            ["not placed: layers.1.blocks.0.attn.qkv.weight_too"],
        ),
        ("swin_micro_64w4", "missing", "norm.bias", ["missing: head.norm.bias"]),
        ("swin_micro_64w4", "misshapen", "head.weight", ["wrong shape: head.fc.weight (2, 1000, 192)", "(1000, 192)"]),
        ("swin_micro_64w4", "transposed", "layers.0.blocks.0.attn.qkv.weight", ["wrong shape", "(24, 72)", "(72, 24)"]),
        ("shvit_micro", "extra", "blocks2.3.mixer.m.qkv.c.weight", ["not placed: blocks2.3.mixer.m.qkv.c.weight_too"]),
        ("shvit_micro", "missing", "blocks3.1.se.fc2.bias", ["missing: stages.2.downsample.se.expand.bias"]),
        ("shvit_micro", "missing", "head.bn.running_mean", ["missing: head.norm.running_mean"]),
        ("shvit_micro", "misshapen", "patch_embed.0.c.weight", ["wrong shape: stem.embed.steps.0.conv.weight"]),
    ],
)
def test_a_weight_out_of_place_is_an_error_that_lists_it_and_changes_nothing(name, how, key, fragments):
    network = build(ARCHITECTURES[name]())
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    with pytest.raises(ValueError, match="weights do not fit") as error:
        load_weights(network, spoil(published_weights(name), how, key))
    message = str(error.value)
    assert message.isprintable()
    assert [fragment for fragment in fragments if fragment not in message] == []
    after = network.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before)


def test_everything_that_is_wrong_is_listed_at_once():
    weights = spoil(published_weights("swin_micro_64w4"), "extra", "norm.weight")
    weights = spoil(spoil(weights, "missing", "norm.bias"), "misshapen", "head.bias")
    with pytest.raises(ValueError, match=r"not placed: .*missing: head\.norm\.bias.*wrong shape: head\.fc\.bias"):
        load_weights(build(ARCHITECTURES["swin_micro_64w4"]()), weights)


def test_two_weights_for_one_place_are_refused():
    weights = published_weights("swin_micro_64w4")
    weights["head.fc.bias"] = torch.zeros(1000)  # timm's name for head.bias
    with pytest.raises(ValueError, match=r"two for one place: head\.bias, head\.fc\.bias"):
        load_weights(build(ARCHITECTURES["swin_micro_64w4"]()), weights)


@pytest.mark.parametrize("weights", [{}, {"model": {}}, published_weights("shvit_micro")])
def test_weights_of_another_network_are_refused(weights):
    with pytest.raises(ValueError, match="missing"):
        load_weights(build(ARCHITECTURES["swin_micro_64w4"]()), weights)


def test_what_is_no_state_dict_is_refused():
    with pytest.raises(ValueError, match="epoch is no tensor"):
        load_weights(build(ARCHITECTURES["swin_micro_64w4"]()), {"epoch": 3})


def test_loading_weights_of_another_precision_keeps_the_precision_of_the_network():
    weights = {key: tensor.double() for key, tensor in published_weights("swin_micro_64w4").items()}
    network = load_weights(build(ARCHITECTURES["swin_micro_64w4"]()), weights)
    assert {tensor.dtype for tensor in network.state_dict().values()} == {torch.float32}
