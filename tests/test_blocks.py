"""Networks of blocks: any mixer after any other, at any size, trained, folded, saved, and without stale caches."""

import copy
import itertools
import pickle

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces import Architecture, build, load_space, preset
from search_spaces.blocks import window
from search_spaces.blocks.network import Network
from search_spaces.blocks.residual import DropPath
from search_spaces.blocks.window import WindowAttention
from tests.strategies import architectures, randomise, samples

MIXERS = {
    "window": {"kind": "window", "size": 3, "heads": 2},
    "global": {"kind": "global", "heads": 4},
    "single_head": {"kind": "single_head", "partial_channels": 5, "qk_dim": 7},
    "conv": {"kind": "conv", "kernel": 5},
    "none": {"kind": "none"},
}


def network_of(*kinds: str, image_size: int = 26, norm: str = "layer", down: str = "patch_merging", **stage) -> Network:
    """Stages of two blocks with these mixers, 12 and 16 and 20 channels wide; the stem has stride 2."""
    stages = [
        {"width": 12 + 4 * i, "depth": 2, "mixer": MIXERS[kind], "norm": norm, "ffn_ratio": 2, **stage}
        | ({"downsample": down} if i else {})
        for i, kind in enumerate(kinds)
    ]
    return build(
        Architecture.from_dict(
            {
                "format": "vitscape/architecture@1",
                "image_size": image_size,
                "classes": 7,
                "stem": {"kind": "patch" if norm == "layer" else "conv", "stride": 2},
                "stages": stages,
                "head": {"norm": norm},
            }
        )
    )


def images(network: Network, batch: int = 2, size: tuple[int, int] | None = None) -> Tensor:
    architecture = network.architecture
    side = architecture.image_size
    generator = torch.Generator().manual_seed(0)
    dtype = next(network.parameters()).dtype
    return torch.randn(batch, architecture.in_channels, *(size or (side, side)), generator=generator).to(dtype)


def close(one: Tensor, other: Tensor, tolerance: float = 1e-10) -> bool:
    return float((one - other).abs().max()) < tolerance * max(1.0, float(other.abs().max()))


# forward and backward


@pytest.mark.parametrize(("first", "second"), list(itertools.product(MIXERS, MIXERS)))
@pytest.mark.parametrize(("norm", "down"), [("layer", "patch_merging"), ("batch", "inverted_residual")])
def test_any_mixer_after_any_other_trains_every_parameter(first, second, norm, down):
    network = randomise(network_of(first, second, norm=norm, down=down, local=first != "none"))
    logits = network(images(network))  # maps of 13 and 7 tokens: no multiple of the window
    assert logits.shape == (2, 7)
    F.cross_entropy(logits, torch.tensor([1, 2])).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@settings(max_examples=60)
@given(architectures())
def test_any_architecture_runs_forward_and_backward(architecture):
    network = build(architecture)
    logits = network(images(network))
    assert logits.shape == (2, architecture.classes)
    logits.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_a_single_channel_of_a_single_token_can_attend():
    network = network_of("none", "none", image_size=2, norm="batch")
    data = network.architecture.to_dict()
    for stage in data["stages"]:
        stage["mixer"] = {"kind": "single_head", "partial_channels": 1}
    network = build(Architecture.from_dict(data))
    assert network(images(network)).isfinite().all()
    with torch.no_grad():
        assert network.eval()(images(network, 1)).isfinite().all()


@given(architectures(max_depth=1))
def test_features_have_the_widths_and_maps_of_the_stages(architecture):
    network = build(architecture).eval()
    with torch.no_grad():
        found = [tuple(x.shape[1:]) for x in network.features(images(network, 1))]
    expected = zip(architecture.stages, architecture.maps, strict=True)
    assert found == [(stage.width, side, side) for stage, side in expected]


@pytest.mark.parametrize("name", ["swin_t", "shvit_s1", "deit_ti"])
def test_presets_run(name):
    network = build(preset(name)).eval()
    with torch.no_grad():
        assert network(images(network, 1)).shape == (1, 1000)


# folding


@settings(max_examples=60)
@given(architectures())
def test_the_folded_network_gives_the_same_logits_and_has_no_batch_norm(architecture):
    network = randomise(build(architecture)).double()
    before = copy.deepcopy(network.state_dict())
    folded = network.fuse()
    x = images(network)
    assert network.training
    assert not folded.training
    with torch.no_grad():
        assert close(folded(x), network.eval()(x))
        assert close(folded.fuse()(x), folded(x))
    assert not [m for m in folded.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("kind", MIXERS)
def test_bare_depthwise_residuals_fold_into_one_convolution(kind):
    folded = network_of(kind, norm="batch", local=True).fuse()
    assert isinstance(folded.stages[0].blocks[0].local, nn.Conv2d)
    assert all(module.bias is not None for module in folded.modules() if isinstance(module, nn.Conv2d))


# other sizes


@pytest.mark.parametrize("size", [(26, 26), (13, 13), (17, 41), (64, 48), (2, 2), (5, 60)])
@pytest.mark.parametrize(("norm", "down"), [("layer", "patch_merging"), ("batch", "inverted_residual")])
def test_images_of_other_sizes_work_and_fold(size, norm, down):
    network = randomise(network_of("window", "global", "single_head", norm=norm, down=down)).double().eval()
    x = images(network, 2, size)
    with torch.no_grad():
        logits = network(x)
        assert close(network.fuse()(x), logits)
        assert close(network(x[1:]), logits[1:])  # images do not see each other


def test_a_position_embedding_is_interpolated_to_other_sizes():
    data = preset("deit_ti").to_dict() | {"image_size": 64}
    data["stages"][0] |= {"width": 12, "depth": 1, "mixer": {"kind": "global", "heads": 2}}
    network = build(Architecture.from_dict(data)).eval()
    embedding = network.stem.position.embedding
    with torch.no_grad():
        embedding.fill_(0.25)
        features = network.stem.embed(images(network, 1, (96, 48)))
        assert torch.allclose(network.stem(images(network, 1, (96, 48))), features + 0.25, atol=1e-5)


# caches


def test_after_evaluation_training_continues_with_the_new_weights():
    network = randomise(network_of("window", "window", norm="layer"))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    x, y = images(network), torch.tensor([1, 2])
    other = images(network, 2, (31, 19))
    for mode in (torch.inference_mode, torch.no_grad):
        window.geometry.cache_clear()
        network.eval()
        with mode():
            before, elsewhere = network(x), network(other)
        network.train()
        optimizer.zero_grad()
        F.cross_entropy(network(x) + network(other), y).backward()
        optimizer.step()
        fresh = build(network.architecture)
        fresh.load_state_dict(network.state_dict())
        with torch.no_grad():
            assert not torch.allclose(network.eval()(x), before)
            assert torch.equal(network(x), fresh.eval()(x))
            assert torch.equal(network(other), fresh(other))
            assert not torch.allclose(network(other), elsewhere)


@pytest.mark.parametrize("kind", ["window", "conv"])
def test_weights_loaded_into_a_folded_network_take_effect(kind):
    # nothing folds in a network of LayerNorms but the gathered bias: its keys still fit
    one, other = (randomise(network_of(kind), seed).eval() for seed in (1, 2))
    folded = one.fuse()
    folded.load_state_dict(other.state_dict())
    x = images(one)
    with torch.no_grad():
        assert torch.allclose(folded(x), other(x), atol=1e-5)


def test_a_folded_network_that_is_trained_all_the_same_uses_its_bias_table():
    folded = randomise(network_of("window")).fuse().train()
    table = folded.stages[0].blocks[1].mixer.body.relative_position_bias_table
    folded(images(folded)).sum().backward()
    assert table.grad.abs().max() > 0
    with torch.no_grad():
        table.add_(1.0 * torch.arange(len(table))[:, None])
        fresh = build(folded.architecture)
        fresh.load_state_dict(folded.state_dict())
        assert torch.allclose(folded.eval()(images(folded)), fresh.eval()(images(folded)), atol=1e-5)


def test_masks_and_indices_are_made_once_per_shape(monkeypatch):
    made = []
    for name in ("attention_mask", "relative_position_index"):
        original = getattr(window, name)
        monkeypatch.setattr(window, name, lambda *a, n=name, f=original: (made.append(n), f(*a))[1])
    window.geometry.cache_clear()
    network = network_of("window", "window").eval()
    made.clear()
    with torch.no_grad():
        for _ in range(3):
            network(images(network))
        assert made == []
        for _ in range(3):
            network(images(network, 1, (50, 38)))
    # two maps, each with and without a shift
    assert sorted(made) == ["attention_mask"] * 4 + ["relative_position_index"] * 4


def test_the_folded_network_gathers_no_bias(monkeypatch):
    network = network_of("window").eval()
    calls = []
    original = torch.Tensor.__getitem__
    monkeypatch.setattr(torch.Tensor, "__getitem__", lambda self, key: (calls.append(key), original(self, key))[1])
    tensors = lambda: [key for key in calls if isinstance(key, Tensor)]  # noqa: E731
    with torch.no_grad():
        network(images(network))
        assert tensors()
        folded = network.fuse()
        calls.clear()
        folded(images(folded))
    assert not tensors()


@pytest.mark.parametrize(("kind", "calls"), [("window", 4), ("global", 4), ("single_head", 4), ("conv", 0)])
def test_attention_goes_through_scaled_dot_product_attention(monkeypatch, kind, calls):
    seen = []
    original = F.scaled_dot_product_attention
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *a, **k: (seen.append(1), original(*a, **k))[1])
    network = network_of(kind, kind)
    network(images(network))
    assert len(seen) == calls


# memory layout


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("norm", ["layer", "batch"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_maps_stay_channels_last_between_all_parts(layout, norm, folded):
    for kind, down in itertools.product(MIXERS, ("patch_merging", "inverted_residual")):
        network = network_of(kind, kind, norm=norm, down=down, local=True).eval()
        network = network.fuse() if folded else network
        parts = {"stem": network.stem}
        for i, stage in enumerate(network.stages):
            parts |= {f"stages.{i}.{name}": part for name, part in stage.named_children() if name == "downsample"}
            for j, block in enumerate(stage.blocks):
                parts |= {f"stages.{i}.blocks.{j}.{name}": part for name, part in block.named_children()}
        parts |= {f"{name}.body": part.body for name, part in parts.items() if hasattr(part, "body")}
        wrong = []

        def check(name, output, wrong=wrong):
            # what a residual adds may be a view of a padded map, as long as channels are innermost
            whole = output.is_contiguous(memory_format=torch.channels_last)
            if not (output.stride(1) == 1 if name.endswith(".body") else whole):
                wrong.append(name)

        for name, part in parts.items():
            part.register_forward_hook(lambda _, __, output, name=name: check(name, output))
        with torch.no_grad():
            network(images(network).contiguous(memory_format=layout))
        assert len(parts) >= 8
        assert wrong == []


# drop path


def test_drop_path_rises_linearly_over_all_blocks():
    data = preset("swin_t").to_dict()
    rates = [
        [module.rate for module in block.modules() if isinstance(module, DropPath)]
        for stage in build(Architecture.from_dict(data)).stages
        for block in stage.blocks
    ]
    assert [rate for (rate, _) in rates] == pytest.approx([0.2 * i / 11 for i in range(12)])
    assert all(attention == ffn for attention, ffn in rates)


def test_drop_path_drops_whole_images_in_training_and_keeps_the_mean():
    torch.manual_seed(0)
    drop = DropPath(0.25)
    x = torch.rand(4000, 2, 3, 3) + 1
    dropped = drop.train()(x)
    kept = dropped.flatten(1).abs().sum(1) > 0
    assert kept.float().mean().item() == pytest.approx(0.75, abs=0.03)
    assert torch.allclose(dropped[kept], x[kept] / 0.75)
    assert drop.eval()(x) is x


# initial weights


def test_shvit_starts_as_an_identity_and_swin_does_not():
    x = torch.randn(2, 12, 9, 9)
    for kind in MIXERS:
        batch = network_of(kind, norm="batch", local=True, activation="relu").eval().stages[0].blocks
        assert torch.equal(batch(x), x)
        layer = network_of(kind, norm="layer").eval().stages[0].blocks
        assert not torch.allclose(layer(x), x)


def test_linear_layers_start_with_a_standard_deviation_of_one_fiftieth():
    network = build(preset("deit_ti"))
    for module in network.modules():
        if isinstance(module, nn.Linear):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.03)
            assert module.bias.abs().max() == 0


# copies, files, export, precision


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_copies_and_files_compute_the_same(tmp_path, norm, folded):
    network = randomise(network_of("window", "single_head", "global", norm=norm)).eval()
    network = network.fuse() if folded else network
    x = images(network)
    with torch.no_grad():
        wanted = network(x)
        assert torch.equal(copy.deepcopy(network)(x), wanted)
        assert torch.equal(pickle.loads(pickle.dumps(network))(x), wanted)
        torch.save(network.state_dict(), tmp_path / "weights.pt")
        again = build(network.architecture).eval()
        again = again.fuse() if folded else again
        again.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
        assert torch.allclose(again(x), wanted, atol=1e-5)


def test_state_dicts_hold_weights_and_no_tables_that_can_be_computed():
    keys = network_of("window", "window").state_dict()
    assert not [key for key in keys if key.endswith((".mask", ".index", ".bias_of_grid")) or "grid" in key]
    assert sum("relative_position_bias_table" in key for key in keys) == 4


@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_torch_export_gives_the_same_logits(norm):
    network = randomise(network_of("window", "single_head", "global", norm=norm, local=True)).eval()
    for one in (network, network.fuse()):
        x = images(one)
        exported = torch.export.export(one, (x,)).module()
        with torch.no_grad():
            assert torch.allclose(exported(x), one(x), atol=1e-5)


@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_half_precision_runs_at_any_size_and_mixed_precision_trains(norm):
    network = randomise(network_of("window", "single_head", norm=norm))
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(images(network))
        elsewhere = network(images(network, 2, (31, 19)))
    (logits.float() + elsewhere.float()).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
    half = copy.deepcopy(network).eval().to(torch.bfloat16)
    with torch.no_grad():
        for size in ((26, 26), (31, 19)):
            x = images(network, 2, size)
            assert close(half(x.to(torch.bfloat16)).float(), network.eval()(x), 0.1)


def test_samples_of_the_demo_build_and_run():
    for architecture in samples(load_space("tiny_32"), 30, seed=11):
        network = build(architecture).eval()
        with torch.no_grad():
            assert network(images(network, 1)).shape == (1, 10)


def test_a_window_module_works_alone():
    module = WindowAttention(8, 2, 4, 2, 8, "layer", True)
    assert module(torch.randn(3, 8, 8, 8)).shape == (3, 8, 8, 8)
