"""Each mistake that implementations of Swin and SHViT are known to make is made on purpose, and the tests catch it.

A mistake is a patch of the blocks; what must catch it is parity with the published outputs (`test_parity`), or, where
the published code fails or errs itself, window attention token by token, slow and obvious, below.
"""

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces import architecture as architecture_module
from search_spaces.blocks import downsample, ffn, head, network, residual, single_head, stem, window
from search_spaces.blocks.window import Grid, WindowAttention, attention_mask, grid_of, relative_position_index
from tests.strategies import randomise
from tests.test_parity import TOLERANCE, error_of

SWIN, SHVIT = "swin_micro_64w4", "shvit_micro"

# Swin: attention


def attend(qkv: Tensor, heads: int, bias: Tensor | None = None, *, mistake: str = "") -> Tensor:
    """`blocks.global_attention.attend` written out, with a mistake."""
    b, n, c3 = qkv.shape
    d = c3 // 3 // heads
    if mistake == "qkv heads first":
        q, k, v = qkv.view(b, n, heads, 3, d).permute(3, 0, 2, 1, 4)
    else:
        q, k, v = qkv.view(b, n, 3, heads, d).permute(2, 0, 3, 1, 4)
    if mistake == "q, k and v the same":
        k = v = q
    if mistake == "windows before images" and bias is not None and bias.shape[0] > 1:  # the mask of (nW, B)
        bias = bias.unflatten(0, (2, -1)).transpose(0, 1).flatten(0, 1)
    scale = {"no scale": 1.0, "scale by C": (c3 // 3) ** -0.5}.get(mistake, d**-0.5)
    scores = scale * q @ k.transpose(-2, -1)
    if mistake == "bias before scale" and bias is not None:
        scores = scale * (q @ k.transpose(-2, -1) + bias)
    elif bias is not None:
        scores = scores + bias
    out = scores.softmax(-2 if mistake == "softmax over queries" else -1) @ v
    if mistake == "heads not transposed back":
        return out.reshape(b, n, c3 // 3)
    return out.transpose(1, 2).reshape(b, n, c3 // 3)


ATTEND = (
    "qkv heads first",
    "q, k and v the same",
    "no scale",
    "scale by C",
    "bias before scale",
    "softmax over queries",
    "heads not transposed back",
    "windows before images",
)

# Swin: windows, masks, bias


def reverse_without_permutation(windows: Tensor, grid: Grid, batch: int) -> Tensor:
    x = windows.reshape(batch, *grid.padded, -1)
    x = torch.roll(x, (grid.shift_h, grid.shift_w), (1, 2))
    return x[:, : grid.h, : grid.w]


def partition(x: Tensor, grid: Grid, *, mistake: str = "") -> Tensor:
    """`blocks.window.partition` written out, with a mistake."""
    b, h, w, c = x.shape
    ph, pw = grid.padded
    shift = (grid.shift_h, grid.shift_w) if mistake == "rolled the wrong way" else (-grid.shift_h, -grid.shift_w)
    if mistake == "roll, then pad":  # timm
        x = F.pad(torch.roll(x, shift, (1, 2)), (0, 0, 0, pw - w, 0, ph - h))
    else:
        x = torch.roll(F.pad(x, (0, 0, 0, pw - w, 0, ph - h)), shift, (1, 2))
    x = x.reshape(b, ph // grid.window_h, grid.window_h, pw // grid.window_w, grid.window_w, c)
    if mistake == "windows not permuted":
        return x.reshape(-1, grid.window_h * grid.window_w, c)
    return x.transpose(2, 3).reshape(-1, grid.window_h * grid.window_w, c)


def reverse(windows: Tensor, grid: Grid, batch: int, *, mistake: str = "") -> Tensor:
    ph, pw = grid.padded
    x = windows.reshape(batch, ph // grid.window_h, pw // grid.window_w, grid.window_h, grid.window_w, -1)
    x = x.transpose(2, 3).reshape(batch, ph, pw, -1)
    shift = {"not rolled back": (0, 0), "rolled the wrong way": (-grid.shift_h, -grid.shift_w)}
    if mistake == "roll, then pad":  # undone in the order of timm: unpad, then roll back
        return torch.roll(x[:, : grid.h, : grid.w], (grid.shift_h, grid.shift_w), (1, 2))
    return torch.roll(x, shift.get(mistake, (grid.shift_h, grid.shift_w)), (1, 2))[:, : grid.h, : grid.w]


def mask(grid: Grid, *, mistake: str = "") -> Tensor | None:
    found = attention_mask(grid)
    if found is None or mistake == "missing":
        return None
    return {"": found, "wrong sign": -found, "inverted": window.MASKED - found, "transposed windows": found.flip(0)}[
        mistake
    ]


def bands_from_the_wrong_end(length: int, size: int, shift: int) -> Tensor:
    rows = torch.arange(length)
    return (rows >= size).long() + (rows >= shift).long() if shift else torch.zeros_like(rows)


def bands_without_the_middle(length: int, size: int, shift: int) -> Tensor:
    rows = torch.arange(length)  # the last window is not cut in two
    return (rows >= length - size).long() if shift else torch.zeros_like(rows)


def index(grid: Grid, size: int, *, mistake: str = "") -> Tensor:
    h, w = torch.meshgrid(torch.arange(grid.window_h), torch.arange(grid.window_w), indexing="ij")
    h, w = h.flatten(), w.flatten()
    dh, dw = h[:, None] - h + size - 1, w[:, None] - w + size - 1
    if mistake == "transposed":
        dh, dw = dh.T, dw.T
    if mistake == "h and w swapped":
        dh, dw = dw, dh
    if mistake == "of the window, not the table":  # 2 Mh - 1 where the table's rows have 2 Mw - 1
        return (dh - size + grid.window_h) * (2 * grid.window_h - 1) + dw - size + grid.window_w
    return dh * (2 * size - 1) + dw


def shifted(which: str):
    """`blocks.network.build_mixer` that shifts other blocks than the odd ones."""
    original = network.build_mixer

    def build_mixer(stage, i, side):
        return original(stage, {"never": 0, "always": 1, "even": i + 1}[which], side)

    return build_mixer


def keep_the_shift(patch: pytest.MonkeyPatch) -> None:
    """A window that spans the map shifts all the same."""

    def canonical_mixer(mixer, width, depth, side):
        return mixer.model_copy(update={"size": min(mixer.size, side), "shift": min(mixer.size, side) // 2})

    patch.setattr(architecture_module, "canonical_mixer", canonical_mixer)
    patch.setattr(window, "grid_of", grid_that_keeps_the_shift)


def grid_that_keeps_the_shift(h: int, w: int, size: int, shift: int) -> Grid:
    return Grid(h, w, min(size, h), min(size, w), min(shift, size - 1, h - 1), min(shift, size - 1, w - 1))


# Swin: around the attention


def merge(self, x: Tensor, *, mistake: str = "") -> Tensor:
    x = x.permute(0, 2, 3, 1)
    b, h, w, c = x.shape
    x = x.reshape(b, h // 2, 2, w // 2, 2, c)
    x = x.permute(0, 1, 3, 2, 4, 5) if mistake == "row-major" else x.permute(0, 1, 3, 4, 2, 5)
    x = x.reshape(b, h // 2, w // 2, 4 * c)
    if mistake == "norm after reduction":
        out = self.reduction.out_features
        x = F.layer_norm(self.reduction(x), (out,), self.norm.weight[:out], self.norm.bias[:out])
    else:
        x = self.reduction(x if mistake == "no norm" else self.norm(x))
    return x.permute(0, 3, 1, 2)


def stem_without_norm(self, x: Tensor) -> Tensor:
    return self.proj(x)


def head_of_swin(self, x: Tensor, *, mistake: str = "") -> Tensor:
    tokens = x.permute(0, 2, 3, 1)
    if mistake == "no final norm":
        return self.fc(tokens.mean((1, 2)))
    if mistake == "pool before norm":
        return self.fc(self.norm(tokens.mean((1, 2))))
    return self.fc(self.norm(tokens).mean((1, 2)))


def layer_norm_with_eps(eps: float):
    return lambda self, x: F.layer_norm(x, self.normalized_shape, self.weight, self.bias, eps)


def group_norm_with_eps(eps: float):
    return lambda self, x: F.group_norm(x, self.num_groups, self.weight, self.bias, eps)


def residual_without(part: type[nn.Module]):
    """A block that leaves out the residuals around a kind of body."""
    original = residual.Residual.forward
    return lambda self, x: self.body(x) if isinstance(self.body, part) else original(self, x)


# SHViT


def single_head_attention(self, x: Tensor, *, mistake: str = "") -> Tensor:
    """`blocks.single_head.SingleHeadAttention.forward` written out, with a mistake."""
    p, rest = self.split
    if mistake == "norm before the split":
        x = F.group_norm(x, 1)
    attending, passing = x.split([p, rest], 1)
    if mistake == "last channels attend":
        passing, attending = x.split([rest, p], 1)
    if mistake == "norm per token":
        attending = F.layer_norm(attending.permute(0, 2, 3, 1), (p,), self.norm.weight, self.norm.bias)
        attending = attending.permute(0, 3, 1, 2)
    elif mistake == "norm per channel":
        attending = F.group_norm(attending, p, self.norm.weight, self.norm.bias)
    elif mistake != "no norm":
        attending = self.norm(attending)
    b, _, h, w = attending.shape
    qkv, qk = self.qkv(attending).flatten(2), self.qkv_split[0]  # (B, 2 qk + p, N)
    q, k, v = qkv.split([qk, qk, p], 1)
    if mistake == "split k, q, v":
        q, k = k, q
    if mistake == "split v, q, k":
        v, q, k = qkv.split([p, qk, qk], 1)
    scale = {"scale by p": p**-0.5, "no scale": 1.0}.get(mistake, qk**-0.5)
    scores = (scale * q.transpose(1, 2) @ k).softmax(-2 if mistake == "softmax over queries" else -1)  # (B, N, N)
    attended = v @ (scores if mistake == "v @ attention, not transposed" else scores.transpose(1, 2))
    attended = attended.reshape(b, p, h, w)
    if mistake in ("concatenated the other way", "last channels attend"):
        joined = torch.cat([passing, attended], 1)
    else:
        joined = torch.cat([attended, passing], 1)
    if mistake == "ReLU after the projection":
        return F.relu(self.proj(joined))
    if mistake == "ReLU on the attended part alone":
        return self.proj(torch.cat([F.relu(attended), passing], 1))
    return self.proj(joined if mistake == "no ReLU" else F.relu(joined))


SINGLE_HEAD = (
    "norm before the split",
    "last channels attend",
    "norm per token",
    "norm per channel",
    "no norm",
    "split k, q, v",
    "split v, q, k",
    "scale by p",
    "no scale",
    "softmax over queries",
    "v @ attention, not transposed",
    "concatenated the other way",
    "ReLU after the projection",
    "ReLU on the attended part alone",
    "no ReLU",
)


def transition(self, x: Tensor, *, mistake: str = "") -> Tensor:
    """`blocks.downsample.InvertedResidual.forward` written out, with a mistake."""
    x = x if mistake == "no first convolution" else self.local1(x)
    x = x if mistake == "no first FFN" else self.ffn1(x)
    x = self.expand(x)
    x = self.depthwise(x if mistake == "no first ReLU" else F.relu(x))
    x = x if mistake == "no second ReLU" else F.relu(x)
    x = self.project(x if mistake == "no squeeze-excite" else self.se(x))
    x = x if mistake == "no second convolution" else self.local2(x)
    return x if mistake == "no second FFN" else self.ffn2(x)


TRANSITION = (
    "no first convolution",
    "no first FFN",
    "no first ReLU",
    "no second ReLU",
    "no squeeze-excite",
    "no second convolution",
    "no second FFN",
)


def squeeze_excite(self, x: Tensor, *, mistake: str = "") -> Tensor:
    gate = self.reduce(x.mean((2, 3), keepdim=True))
    gate = self.expand(gate if mistake == "no ReLU" else F.relu(gate))
    return x * (F.hardsigmoid(gate) if mistake == "hard sigmoid" else gate.sigmoid())


def conv_stem(self, x: Tensor, *, mistake: str = "") -> Tensor:
    for i, step in enumerate(self.steps):
        x = step(x)
        if mistake == "ReLU after the last step" or i < len(self.steps) - 1:
            x = F.relu(x)
    return x


def local_residual(self, x: Tensor, *, mistake: str = "") -> Tensor:
    """A residual, with a mistake where its body is a depthwise convolution."""
    body = getattr(self.body, "conv", None)
    if isinstance(body, nn.Conv2d) and body.groups > 1:
        return {"left out": x, "without its residual": self.body(x), "": x + self.body(x)}[mistake]
    return x + self.body(x)


def head_of_shvit(self, x: Tensor, *, mistake: str = "") -> Tensor:
    x = x.mean((2, 3))
    return self.fc(x if mistake == "no norm" else self.norm(x))


# (network, owner, attribute, replacement) of each mistake that parity catches
MISTAKES = {
    **{f"attention: {m}": (SWIN, window, "attend", partial(attend, mistake=m)) for m in ATTEND},
    "windows: reversed without the permutation": (SWIN, window, "reverse", reverse_without_permutation),
    "windows: not permuted": (SWIN, window, "partition", partial(partition, mistake="windows not permuted")),
    "windows: not rolled back": (SWIN, window, "reverse", partial(reverse, mistake="not rolled back")),
    "windows: rolled the wrong way": (SWIN, window, "partition", partial(partition, mistake="rolled the wrong way")),
    "windows: rolled back the wrong way": (SWIN, window, "reverse", partial(reverse, mistake="rolled the wrong way")),
    **{
        f"mask: {m}": (SWIN, window, "attention_mask", partial(mask, mistake=m))
        for m in ("missing", "wrong sign", "inverted", "transposed windows")
    },
    "mask: cut from the wrong end": (SWIN, window, "_bands", bands_from_the_wrong_end),
    "mask: without the middle band": (SWIN, window, "_bands", bands_without_the_middle),
    **{f"shift: {w}": (SWIN, network, "build_mixer", shifted(w)) for w in ("never", "always", "even")},
    **{
        f"bias index: {m}": (SWIN, window, "relative_position_index", partial(index, mistake=m))
        for m in ("transposed", "h and w swapped")
    },
    **{
        f"merging: {m}": (SWIN, downsample.PatchMerging, "forward", lambda self, x, m=m: merge(self, x, mistake=m))
        for m in ("row-major", "norm after reduction", "no norm")
    },
    "stem: no norm": (SWIN, stem.Patches, "forward", stem_without_norm),
    **{
        f"head: {m}": (SWIN, head.LayerNormHead, "forward", lambda self, x, m=m: head_of_swin(self, x, mistake=m))
        for m in ("no final norm", "pool before norm")
    },
    "GELU: tanh": (SWIN, ffn, "ACTIVATIONS", {"gelu": partial(F.gelu, approximate="tanh"), "relu": F.relu}),
    "LayerNorm: eps 1e-6": (SWIN, nn.LayerNorm, "forward", layer_norm_with_eps(1e-6)),
    "residual: missing around attention": (SWIN, network.Residual, "forward", residual_without(WindowAttention)),
    "residual: missing around the FFN": (SWIN, network.Residual, "forward", residual_without(ffn.MLP)),
    **{
        f"single head: {m}": (
            SHVIT,
            single_head.SingleHeadAttention,
            "forward",
            lambda self, x, m=m: single_head_attention(self, x, mistake=m),
        )
        for m in SINGLE_HEAD
    },
    "single head: GELU": (SHVIT, single_head, "ACTIVATIONS", {"relu": F.gelu}),
    "GroupNorm: eps 1e-3": (SHVIT, single_head.JointNorm, "forward", group_norm_with_eps(1e-3)),
    "GroupNorm: eps 1e-6": (SHVIT, single_head.JointNorm, "forward", group_norm_with_eps(1e-6)),
    "FFN: GELU": (SHVIT, ffn, "ACTIVATIONS", {"relu": F.gelu}),
    "FFN: no residual": (SHVIT, network.Residual, "forward", residual_without(ffn.ConvFFN)),
    **{
        f"transition: {m}": (
            SHVIT,
            downsample.InvertedResidual,
            "forward",
            lambda self, x, m=m: transition(self, x, mistake=m),
        )
        for m in TRANSITION
    },
    **{
        f"squeeze-excite: {m}": (
            SHVIT,
            downsample.SqueezeExcite,
            "forward",
            lambda self, x, m=m: squeeze_excite(self, x, mistake=m),
        )
        for m in ("hard sigmoid", "no ReLU")
    },
    **{
        f"depthwise convolution: {m}": (
            SHVIT,
            residual.Residual,
            "forward",
            lambda self, x, m=m: local_residual(self, x, mistake=m),
        )
        for m in ("left out", "without its residual")
    },
    "stem: ReLU after it": (
        SHVIT,
        stem.ConvSteps,
        "forward",
        lambda self, x: conv_stem(self, x, mistake="ReLU after the last step"),
    ),
    "head: no BatchNorm": (
        SHVIT,
        head.BatchNormHead,
        "forward",
        lambda self, x: head_of_shvit(self, x, mistake="no norm"),
    ),
}

# the same functions without a mistake: what catches the mistakes is the mistakes, not the writing out
WRITTEN_OUT = {
    "attention": (SWIN, window, "attend", attend),
    "windows": (SWIN, window, "partition", partition),
    "windows, back": (SWIN, window, "reverse", reverse),
    "mask": (SWIN, window, "attention_mask", mask),
    "bias index": (SWIN, window, "relative_position_index", index),
    "merging": (SWIN, downsample.PatchMerging, "forward", merge),
    "head of Swin": (SWIN, head.LayerNormHead, "forward", head_of_swin),
    "LayerNorm": (SWIN, nn.LayerNorm, "forward", layer_norm_with_eps(1e-5)),
    "single head": (SHVIT, single_head.SingleHeadAttention, "forward", single_head_attention),
    "GroupNorm": (SHVIT, single_head.JointNorm, "forward", group_norm_with_eps(1e-5)),
    "transition": (SHVIT, downsample.InvertedResidual, "forward", transition),
    "squeeze-excite": (SHVIT, downsample.SqueezeExcite, "forward", squeeze_excite),
    "depthwise convolution": (SHVIT, residual.Residual, "forward", local_residual),
    "stem of SHViT": (SHVIT, stem.ConvSteps, "forward", conv_stem),
    "head of SHViT": (SHVIT, head.BatchNormHead, "forward", head_of_shvit),
}


@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_a_part_written_out_without_a_mistake_keeps_parity(monkeypatch, name):
    reference, owner, attribute, replacement = WRITTEN_OUT[name]
    monkeypatch.setattr(owner, attribute, replacement)
    assert error_of(reference) < TOLERANCE


@pytest.mark.parametrize("name", MISTAKES)
def test_parity_catches_the_mistake(monkeypatch, name):
    reference, owner, attribute, replacement = MISTAKES[name]
    monkeypatch.setattr(owner, attribute, replacement)
    assert not error_of(reference) < 3 * TOLERANCE


def test_parity_catches_a_shift_kept_where_the_window_spans_the_map(monkeypatch):
    keep_the_shift(monkeypatch)
    assert not error_of(SWIN) < 10 * TOLERANCE


# corner cases, where the published code is no reference


def attention_of(h: int, w: int, size: int, shift: int, norm: str = "layer", bias: bool = True) -> WindowAttention:
    """Window attention on h x w tokens, with random weights, in float64 and eval mode; two heads of three channels."""
    module = WindowAttention(6, 2, size, shift, h if h == w else 5, norm, bias)
    return randomise(module, seed=1).double().eval()


def token_by_token(module: WindowAttention, x: Tensor) -> Tensor:
    """Window attention, one query after the other: (B, C, H, W) -> the same shape.

    Rows and columns are padded to whole windows, then rolled by the shift. A query attends to the keys of its window
    that are tokens of the map and that were its neighbours before the roll, that is, that did not wrap around it.
    """
    b, c, h, w = x.shape
    heads, size = module.heads, module.size
    qkv = module.qkv(module.norm(x.permute(0, 2, 3, 1))).view(b, h, w, 3, heads, c // heads)
    out = torch.zeros(b, h, w, heads, c // heads, dtype=x.dtype)
    rows, columns = neighbours(h, size, module.shift), neighbours(w, size, module.shift)
    for i, j in ((i, j) for i in range(h) for j in range(w)):
        keys = [(row, column) for row in rows[i] for column in columns[j]]
        for n, head_ in ((n, head_) for n in range(b) for head_ in range(heads)):
            scores = []
            for row, column in keys:
                score = qkv[n, i, j, 0, head_] @ qkv[n, row, column, 1, head_] * (c // heads) ** -0.5
                if module.relative_position_bias_table is not None:
                    place = (i - row + size - 1) * (2 * size - 1) + (j - column + size - 1)
                    score = score + module.relative_position_bias_table[place, head_]
                scores.append(score)
            values = torch.stack([qkv[n, row, column, 2, head_] for row, column in keys])
            out[n, i, j, head_] = torch.stack(scores).softmax(0) @ values
    return module.proj(out.flatten(3)).permute(0, 3, 1, 2)


def neighbours(length: int, size: int, shift: int) -> list[list[int]]:
    """For each row of a map the rows that it attends to."""
    if size >= length:
        return [list(range(length))] * length
    padded = -(-length // size) * size
    windows = [sorted((start + i + shift) % padded for i in range(size)) for start in range(0, padded, size)]
    found = []
    for row in range(length):
        (own,) = (rows for rows in windows if row in rows)
        wrapped = [other < shift for other in own]  # the first rows came around to the last window
        mine = row < shift
        split = any(wrapped) and not all(wrapped)
        found.append(
            [o for o, around in zip(own, wrapped, strict=True) if o < length and (not split or around == mine)]
        )
    return found


CORNERS = {
    "whole windows": (8, 8, 4, 2),
    "whole windows, odd shift": (6, 6, 3, 2),
    "padded": (5, 5, 4, 2),
    "padded, no shift": (7, 7, 3, 0),
    "padded by less than the shift": (12, 12, 7, 3),
    "padded by more than the shift": (9, 9, 7, 1),
    "padded by a window less one": (7, 7, 6, 5),
    "window as large as the map": (4, 4, 4, 2),
    "window larger than the map": (3, 3, 7, 3),
    "one token": (1, 1, 7, 3),
    "window of one token": (3, 3, 1, 0),
    "not square": (4, 8, 4, 2),
    "not square, padded": (5, 9, 4, 1),
    "not square, window larger than one side": (3, 8, 4, 2),
    "not square, window larger than one side, padded": (9, 2, 4, 3),
    "one row": (1, 6, 4, 2),
}


def corner_error(h: int, w: int, size: int, shift: int, norm: str = "layer", bias: bool = True) -> float:
    module = attention_of(h, w, size, shift, norm, bias)
    x = torch.randn(2, 6, h, w, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return float((module(x) - token_by_token(module, x)).abs().max())


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize(("norm", "bias"), [("layer", True), ("batch", True), ("layer", False)])
def test_window_attention_equals_attention_token_by_token(corner, norm, bias):
    assert corner_error(*CORNERS[corner], norm, bias) < 1e-12


def test_at_a_map_of_12_the_first_row_attends_to_the_rows_beside_it():
    # rolled before it is padded, as timm does it, it attends to rows 0, 1, 10 and 11
    module = attention_of(12, 12, 7, 3)
    x = torch.randn(1, 6, 12, 12, dtype=torch.float64, requires_grad=True)
    module(x)[0, :, 0].sum().backward()
    assert (x.grad.abs().sum((0, 1, 3)) > 1e-12).nonzero().flatten().tolist() == [0, 1, 2]
    assert neighbours(12, 7, 3)[0] == [0, 1, 2]


def roll_then_pad(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(window, "partition", partial(partition, mistake="roll, then pad"))
    patch.setattr(window, "reverse", partial(reverse, mistake="roll, then pad"))


def padded_keys_not_masked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(window, "_padding", lambda grid: torch.zeros(1, *grid.padded, 1, dtype=torch.bool))


def no_mask_where_nothing_shifts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(window, "attention_mask", lambda grid: attention_mask(grid) if grid.shift_h or grid.shift_w else None)


def shift_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(window, "grid_of", grid_that_keeps_the_shift)


def index_of_the_window(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(window, "relative_position_index", partial(index, mistake="of the window, not the table"))


def index_swapped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(window, "relative_position_index", partial(index, mistake="h and w swapped"))


CORNER_MISTAKES = {
    "roll, then pad": (roll_then_pad, "padded by less than the shift"),
    "padded keys not masked": (padded_keys_not_masked, "padded"),
    "no mask where nothing shifts": (no_mask_where_nothing_shifts, "padded, no shift"),
    "shift kept where the window spans the map": (shift_kept, "window larger than the map"),
    "shift kept where the window spans one side": (shift_kept, "not square, window larger than one side"),
    "bias index with the window's own multiplier": (index_of_the_window, "not square, window larger than one side"),
    "bias index with h and w swapped": (index_swapped, "not square"),
}


@pytest.mark.parametrize("name", CORNER_MISTAKES)
def test_attention_token_by_token_catches_the_mistake(monkeypatch, name):
    window.geometry.cache_clear()
    mistake, corner = CORNER_MISTAKES[name]
    mistake(monkeypatch)
    error = corner_error(*CORNERS[corner])
    monkeypatch.undo()
    window.geometry.cache_clear()
    assert error > 1e-3


# golden masks and indices


def test_the_golden_mask_of_a_map_of_14_with_windows_of_7_shifted_by_3():
    found = attention_mask(grid_of(14, 14, 7, 3))
    assert found.shape == (4, 49, 49)
    assert found.count_nonzero((1, 2)).tolist() == [0, 1176, 1176, 1776]
    assert found.unique().tolist() == [-100, 0]


def test_the_golden_mask_of_a_map_of_4_with_windows_of_2_shifted_by_1():
    found = attention_mask(grid_of(4, 4, 2, 1))
    assert found[0].count_nonzero() == 0
    assert found[1].tolist() == [[0, -100, 0, -100], [-100, 0, -100, 0]] * 2
    assert found[2].tolist() == [[0, 0, -100, -100]] * 2 + [[-100, -100, 0, 0]] * 2
    assert found[3].tolist() == [[0 if i == j else -100 for j in range(4)] for i in range(4)]


@pytest.mark.parametrize("grid", [grid_of(14, 14, 7, 0), grid_of(7, 7, 7, 3), grid_of(4, 4, 7, 3), grid_of(8, 3, 8, 2)])
def test_there_is_no_mask_where_nothing_shifts_and_nothing_is_padded(grid):
    assert attention_mask(grid) is None


def test_the_golden_relative_index_of_a_window_of_7():
    found = relative_position_index(grid_of(14, 14, 7, 3), 7)
    golden = {(0, 0): 84, (0, 1): 83, (1, 0): 85, (0, 7): 71, (7, 0): 97, (0, 48): 0, (48, 0): 168}
    assert {place: found[place].item() for place in golden} == golden
    assert found.sum() == 201684


def test_the_golden_relative_index_of_a_window_of_2_by_3():
    # a window that shrinks keeps the table of its size: 2 x 3 here is part of the table of 3 x 3
    found = relative_position_index(grid_of(2, 3, 3, 0), 3)
    assert found.shape == (6, 6)
    dh, dw = found // 5 - 2, found % 5 - 2  # offsets of rows and columns
    own_table = (dh + 1) * 5 + (dw + 2)
    assert own_table[0].tolist() == [7, 6, 5, 2, 1, 0]
    assert own_table[3].tolist() == [12, 11, 10, 7, 6, 5]


def test_the_bias_table_starts_as_a_truncated_normal():
    torch.manual_seed(0)
    table = WindowAttention(64, 64, 14, 0, 14, "layer", True).relative_position_bias_table
    assert table.shape == (27**2, 64)
    assert table.std().item() == pytest.approx(0.02, rel=0.05)
    assert table.mean().item() == pytest.approx(0, abs=1e-3)
