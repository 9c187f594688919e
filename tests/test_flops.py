"""Multiply-adds and activations: by hand, by fvcore's trace and by torch's counter."""

import logging
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from explorer.profile.flops import UncountedOperator, count, count_with_torch
from search_spaces import build
from search_spaces.shipped import preset


class Apply(nn.Module):
    """A function of the image as a network."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, image: Tensor) -> Tensor:  # (1, 3, 8, 8) in most tests
        return self.function(image)


class Attention(nn.Module):
    """(B, C, H, W) -> (B, HW, C); keys and values may be fewer, and values narrower, than queries."""

    def __init__(self, width: int, heads: int, fused: bool, d_value: int | None = None, keys: int | None = None):
        super().__init__()
        self.heads, self.fused, self.keys = heads, fused, keys
        self.q, self.k = nn.Linear(width, width), nn.Linear(width, width)
        self.v = nn.Linear(width, heads * (d_value or width // heads))
        self.out = nn.Linear(self.v.out_features, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(2).transpose(1, 2)
        q, k, v = (part(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (self.q, self.k, self.v))
        k, v = k[:, :, : self.keys], v[:, :, : self.keys]
        if self.fused:
            x = scaled_dot_product_attention(q, k, v)
        else:
            x = (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)).softmax(-1) @ v
        return self.out(x.transpose(1, 2).flatten(2))


def both(model: nn.Module, image_size: int = 8) -> int:
    """The MACs on which the two counters agree."""
    macs = count(model, image_size).macs
    assert count_with_torch(model, image_size) == macs
    return macs


@pytest.mark.parametrize(
    ("conv", "macs", "activations"),
    [
        (nn.Conv2d(3, 16, 3, padding=1), 64 * 16 * 27, 64 * 16),
        (nn.Conv2d(3, 16, 3, padding="same"), 64 * 16 * 27, 64 * 16),
        (nn.Conv2d(3, 16, 3, stride=2, padding=1), 16 * 16 * 27, 16 * 16),
        (nn.Conv2d(3, 6, 3, padding=1, groups=3), 64 * 6 * 9, 64 * 6),
        (nn.Conv2d(3, 16, 3, dilation=2), 16 * 16 * 27, 16 * 16),
        (nn.ConvTranspose2d(3, 16, 2, stride=2), 64 * 3 * 16 * 4, 256 * 16),
    ],
)
def test_convolutions_count_as_by_hand(conv, macs, activations):
    counted = count(conv, 8)
    assert (counted.macs, counted.activations) == (macs, activations)
    assert both(conv) == macs


def test_fused_attention_counts_as_its_two_matrix_products():
    # 8 x 8 = 64 queries, 49 keys, 2 heads of 4 (queries, keys) and 5 (values)
    fused = Attention(8, 2, fused=True, d_value=5, keys=49)
    model = nn.Sequential(nn.Conv2d(3, 8, 1), fused)
    explicit = nn.Sequential(model[0], Attention(8, 2, fused=False, d_value=5, keys=49))
    linear = 64 * (8 * 8 + 8 * 8 + 8 * 10 + 10 * 8)
    counted = count(model, 8)
    assert counted.macs_by_module["1"] == linear + 2 * 64 * 49 * (4 + 5)
    assert counted.activations_by_module["1"] == 64 * (8 + 8 + 10 + 8) + 2 * 64 * (49 + 5)
    assert (counted.macs, counted.activations) == (count(explicit, 8).macs, count(explicit, 8).activations)
    assert both(model) == both(explicit)


def test_norms_pooling_softmax_and_elementwise_operators_count_as_nothing():
    norms = nn.Sequential(nn.BatchNorm2d(3), nn.GroupNorm(1, 3), nn.LayerNorm(8), nn.GELU(), nn.ReLU(inplace=True))
    rest = Apply(lambda x: (x.roll(1, 2) + x * 2).softmax(1).clone().mul_(0.5).amax(1, keepdim=True).mean((2, 3)))
    pooled = nn.Sequential(
        norms, nn.AvgPool2d(2), nn.Hardswish(), nn.SiLU(), nn.Sigmoid(), nn.Upsample(8), nn.Dropout(), rest
    )
    counted = count(pooled, 8)
    assert (counted.macs, counted.activations) == (0, 0)
    assert both(pooled) == 0


@pytest.mark.parametrize(
    ("function", "macs"),
    [
        (lambda x: x[0, 0] @ x, 3 * 8 * 8 * 8),  # the left operand is the broadcast one
        (lambda x: torch.mm(x[0, 0], x[0, 1]), 8 * 8 * 8),
        (lambda x: torch.bmm(x[0], x[0]), 3 * 8 * 8 * 8),
        (lambda x: torch.baddbmm(x[0], x[0], x[0]), 3 * 8 * 8 * 8),
        (lambda x: torch.addmm(x[0, 0], x[0, 0], x[0, 1]), 8 * 8 * 8),
        (lambda x: x[0, 0] @ x[0, 1, 0], 8 * 8),
        (lambda x: x[0, 0, 0] @ x[0, 1, 0], 8),
    ],
)
def test_every_kind_of_matrix_product_counts(function, macs):
    assert both(Apply(function)) == macs


@pytest.mark.parametrize(
    ("equation", "left", "right", "macs"),
    [
        ("bnc,bmc->bnm", (2, 101, 103), (2, 107, 103), 2 * 101 * 103 * 107),
        ("b n c, b m c -> b n m", (2, 5, 3), (2, 7, 3), 2 * 5 * 3 * 7),
        ("...nc,...mc->...nm", (2, 1, 5, 3), (4, 7, 3), 2 * 4 * 5 * 7 * 3),
        ("...nc,...mc->...nm", (4, 5, 3), (2, 1, 7, 3), 2 * 4 * 5 * 7 * 3),
        ("ij,jk", (5, 3), (3, 7), 5 * 3 * 7),
        ("bij,bij->b", (2, 5, 3), (2, 5, 3), 2 * 5 * 3),
        ("abc,bd->ad", (5, 3, 7), (3, 11), 5 * 3 * 11),  # c is summed before the product
        ("bij,bij->bij", (2, 5, 3), (2, 5, 3), 0),  # an elementwise product
    ],
)
def test_einsum_counts_exactly(equation, left, right, macs):
    model = Apply(lambda x: torch.einsum(equation, x.new_ones(left), x.new_ones(right)))
    assert both(model) == macs


def test_an_einsum_of_three_operands_is_refused_because_its_cost_depends_on_the_order():
    model = Apply(lambda x: torch.einsum("bcij,bcjk,bckl->bcil", x, x, x))
    with pytest.raises(UncountedOperator, match="two operands"):
        count(model, 8)


@pytest.mark.parametrize("eval_mode", [True, False])
def test_the_fast_paths_of_torch_attention_modules_are_not_missed(eval_mode):
    width, tokens = 8, 64

    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Conv2d(3, width, 1)
            self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
            self.layer = nn.TransformerEncoderLayer(width, 2, 16, batch_first=True)

        def forward(self, x):
            x = self.embed(x).flatten(2).transpose(1, 2)
            return self.layer(self.attention(x, x, x, need_weights=False)[0])

    attention = tokens * 4 * width**2 + 2 * tokens**2 * width
    mlp = 2 * tokens * width * 16
    assert both(Tokens().train(not eval_mode)) == tokens * 3 * width + 2 * attention + mlp
    assert torch.backends.mha.get_fastpath_enabled()


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x @ x @ x

    @staticmethod
    def backward(ctx, gradient):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: torch.cdist(x, x), "cdist"),
        (lambda x: torch.fft.rfft(x), "fft"),
        (lambda x: nn.functional.interpolate(x, scale_factor=2, mode="bilinear"), "upsample_bilinear2d"),
    ],
)
@pytest.mark.parametrize("counter", [count, count_with_torch])
def test_an_uncounted_operator_is_an_error_that_names_it_and_its_module(counter, function, name):
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Sequential(nn.ReLU(), Apply(function)))
    with pytest.raises(UncountedOperator) as error:
        counter(model, 8)
    assert name in str(error.value)
    assert "'1.1'" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_function_of_ones_own_is_not_taken_for_nothing():
    with pytest.raises(UncountedOperator, match="Cube"):
        count(Apply(Cube.apply), 8)


def test_a_scripted_function_is_not_taken_for_nothing():
    def product_or_not(x: Tensor) -> Tensor:
        if bool(x.sum() > -1.0):
            x = x @ x
        return x

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit.script is deprecated, but people's code has it
        scripted = torch.jit.script(product_or_not)
    with pytest.raises(UncountedOperator, match="prim::CallFunction in module '1'"):
        count(nn.Sequential(nn.ReLU(), Apply(lambda x: scripted(x))), 8)


def test_counting_leaves_the_model_as_it_was_and_says_nothing(caplog, capfd):
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.Dropout(), Attention(8, 2, fused=True)).train()
    model[1].weight.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with caplog.at_level(logging.DEBUG):
        both(model)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert [parameter.requires_grad for parameter in model[1].parameters()] == [False, True]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


def test_a_model_in_half_precision_counts_the_same():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    assert both(model) == both(model.half())


def test_counts_are_whole_numbers_and_those_of_the_children_add_up():
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Sequential(nn.BatchNorm2d(8), nn.Conv2d(8, 5, 3)))
    counted = count(model, 8)
    assert counted.macs_by_module[""] == counted.macs == counted.macs_by_module["0"] + counted.macs_by_module["1"]
    assert counted.macs_by_module["1"] == counted.macs_by_module["1.1"] == 36 * 5 * 72
    assert counted.activations_by_module["1.1"] == 36 * 5
    assert counted.macs_by_module["1.0"] == 0
    assert all(type(n) is int for by in (counted.macs_by_module, counted.activations_by_module) for n in by.values())


@pytest.mark.parametrize(("image_size", "in_channels", "named"), [(0, 3, "image_size=0"), (8, 0, "in_channels=0")])
@pytest.mark.parametrize("counter", [count, count_with_torch])
def test_a_size_below_one_is_refused(counter, image_size, in_channels, named):
    with pytest.raises(ValueError, match=named):
        counter(nn.Conv2d(3, 8, 1), image_size, in_channels)


@st.composite
def networks(draw):
    """Convolutions, then fused attention: sizes that are no powers of two."""
    layers, width = [], 3
    for _ in range(draw(st.integers(1, 3))):
        groups = draw(st.sampled_from([1, width]))
        out = width if groups > 1 else draw(st.integers(1, 17))
        layers += [nn.Conv2d(width, out, draw(st.sampled_from([1, 3])), draw(st.integers(1, 2)), 1, groups=groups)]
        layers += [draw(st.sampled_from([nn.ReLU(), nn.GELU(), nn.BatchNorm2d(out), nn.GroupNorm(1, out)]))]
        width = out
    heads = draw(st.integers(1, 3))
    embed = nn.Conv2d(width, 4 * heads, 1)
    return nn.Sequential(*layers, embed, Attention(4 * heads, heads, draw(st.booleans()), draw(st.integers(1, 9))))


@settings(max_examples=40, deadline=None)
@given(networks(), st.integers(5, 19))
def test_the_two_counters_agree_on_random_networks(model, image_size):
    assert both(model, image_size) > 0


@pytest.mark.parametrize(("name", "macs"), [("swin_t", 4490566656), ("shvit_s1", 241320768), ("deit_ti", 1246563840)])
def test_published_networks_have_their_published_multiply_adds(name, macs):
    assert both(build(preset(name)), 224) == macs
