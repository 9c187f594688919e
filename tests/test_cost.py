"""Closed-form cost: published figures, and equality with two counters on the built network, to the last integer."""

import os
import subprocess
import sys

import pytest
from hypothesis import given, settings

from benchmarks.count_equality import differences
from explorer.profile.flops import count_with_torch
from search_spaces import Architecture, build, cost, load_space, preset
from tests.published import PUBLISHED
from tests.strategies import architectures, samples

NUMBER = int(os.environ.get("VITSCAPE_COUNT_EQUALITY", "0"))  # architectures of each space; 300 for the full check
DEFAULT_NUMBER = {"tiny_32": 40, "swin_224": 3, "shvit_224": 3, "hybrid_224": 4}


@pytest.mark.parametrize("name", PUBLISHED)
def test_presets_cost_what_was_published(name):
    found = cost(preset(name))
    assert (found.params, found.params_folded, found.macs) == PUBLISHED[name]


def test_swin_b_at_384_costs_what_was_published():
    larger = preset("swin_b").to_dict() | {"image_size": 384}
    for stage in larger["stages"]:
        stage["mixer"] |= {"size": 12, "shift": 6}
    found = cost(Architecture.from_dict(larger))
    assert (found.params, found.macs) == (87903584, 47083134976)


@pytest.mark.parametrize("name", ["swin_t", "shvit_s1", "deit_ti"])
def test_built_presets_cost_what_was_published(name):
    assert differences(preset(name)) == []


@pytest.mark.parametrize("name", DEFAULT_NUMBER)
def test_closed_form_equals_both_counters_on_random_architectures_of_a_space(name):
    number = NUMBER or DEFAULT_NUMBER[name]
    for architecture in samples(load_space(name), number, seed=1):
        assert differences(architecture) == [], architecture.to_yaml()


@settings(max_examples=NUMBER or 40)
@given(architectures())
def test_closed_form_equals_both_counters_on_any_architecture(architecture):
    """Odd images, windows that do not divide the map or exceed it, widths that are no multiples of anything."""
    assert differences(architecture) == []


@given(architectures())
def test_totals_are_the_sums_of_the_layers(architecture):
    found = cost(architecture)
    assert found == cost(architecture.canonical)
    for field in ("macs", "params", "params_folded", "activations"):
        total = getattr(found, field)
        assert total == sum(getattr(layer, field) for layer in found.layers) > 0
        assert type(total) is int
    assert len({layer.name for layer in found.layers}) == len(found.layers)


@settings(max_examples=10)
@given(architectures(max_stages=2, max_image=24))
def test_layers_are_modules_in_the_order_of_the_forward_pass(architecture):
    modules = [name for name, _ in build(architecture).named_modules()]
    layers = [layer.name for layer in cost(architecture).layers]
    assert [name for name in modules if name in layers] == layers


def one_stage(image_size: int, stride: int, width: int, classes: int, **stage) -> Architecture:
    return Architecture.from_dict(
        {
            "format": "vitscape/architecture@1",
            "image_size": image_size,
            "classes": classes,
            "stem": {"kind": "patch", "stride": stride},
            "stages": [{"width": width, "depth": 1, **stage}],
        }
    )


@pytest.mark.parametrize(("image_size", "size"), [(56, 7), (60, 7), (24, 7), (16, 7), (56, 1), (20, 4)])
def test_a_swin_block_costs_by_the_formula_of_the_paper(image_size, size):
    width, heads, ratio, side = 12, 3, 4, image_size // 4
    window = min(side, size)
    padded = -(-side // window) * window
    macs = padded**2 * 4 * width**2 + 2 * padded**2 * window**2 * width + side**2 * 2 * ratio * width**2
    params = (2 * window - 1) ** 2 * heads + 4 * width**2 + 4 * width + 2 * ratio * width**2 + ratio * width + width
    architecture = one_stage(image_size, 4, width, 5, mixer={"kind": "window", "size": size, "heads": heads})
    block = [layer for layer in cost(architecture).layers if "blocks.0" in layer.name]
    assert sum(layer.macs for layer in block) == macs
    assert sum(layer.params for layer in block) == params + 4 * width
    qkv_and_projection, scores = padded**2 * 4 * width, padded**2 * window**2 * heads + padded**2 * width
    assert sum(layer.activations for layer in block) == qkv_and_projection + scores + side**2 * (ratio + 1) * width


def test_window_attention_against_global_attention_as_in_the_literature():
    def mixer(image_size: int, stride: int, width: int, **kind) -> int:
        layers = {layer.name: layer for layer in cost(one_stage(image_size, stride, width, 5, mixer=kind)).layers}
        return layers["stages.0.blocks.0.mixer"].macs

    window = {"kind": "window", "size": 7, "heads": 1}
    everywhere = {"kind": "global", "heads": 1}
    assert mixer(224, 4, 96, **everywhere) == 2003828736
    assert mixer(224, 4, 96, **window) == 145108992
    assert mixer(224, 2, 128, **everywhere) - mixer(224, 2, 128, **window) == 40124743680


def test_a_shvit_block_costs_by_the_formula_of_the_paper():
    width, partial, tokens = 28, 6, 16
    mixer = {"kind": "single_head", "partial_channels": partial, "qk_dim": 16}
    architecture = one_stage(16, 4, width, 5, mixer=mixer, local=True, ffn_ratio=2, norm="batch", activation="relu")
    layers = {layer.name.split(".")[-1]: layer for layer in cost(architecture).layers if "blocks.0" in layer.name}
    assert layers["local"].macs == 9 * width * tokens
    assert layers["ffn"].macs == 4 * width**2 * tokens
    assert layers["mixer"].macs == partial * (32 + partial) * tokens + tokens**2 * (16 + partial) + width**2 * tokens
    assert layers["mixer"].activations == (32 + partial) * tokens + tokens**2 + partial * tokens + width * tokens


def test_merging_costs_by_the_formula_of_the_paper_also_on_odd_maps():
    data = one_stage(28, 4, 12, 5, mixer={"kind": "none"}).to_dict()
    data["stages"].append({"width": 24, "depth": 1, "mixer": {"kind": "none"}, "downsample": "patch_merging"})
    merging = {layer.name: layer for layer in cost(Architecture.from_dict(data)).layers}["stages.1.downsample"]
    assert merging.macs == 4**2 * 8 * 12**2  # the map of 7 is padded to 8
    assert merging.params == 8 * 12**2 + 8 * 12


@pytest.mark.parametrize("name", ["swin_t", "shvit_s1"])
def test_folding_does_not_change_what_is_multiplied(name):
    assert count_with_torch(build(preset(name)).fuse(), preset(name).image_size) == cost(preset(name)).macs


def test_the_closed_form_needs_no_torch():
    code = (
        "import sys; from search_spaces import cost, load_space, preset; import random;"
        "cost(preset('swin_t')); cost(load_space('tiny_32').sample(random.Random(0)));"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
