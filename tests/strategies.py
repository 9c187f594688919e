"""Hypothesis strategies: architectures of small networks as plain data, and points of search spaces."""

import random
from collections.abc import Callable, Iterator

import torch
from hypothesis import strategies as st
from torch import nn

from search_spaces import Architecture, SearchSpace

WIDTHS = (1, 6, 8, 12, 15, 16, 24)


def mixers(width: int) -> st.SearchStrategy[dict]:
    """Any mixer that a stage of this width can have, as plain data."""
    heads = st.sampled_from([n for n in range(1, width + 1) if width % n == 0])
    windows = st.integers(1, 9).flatmap(
        lambda size: st.fixed_dictionaries(
            {"kind": st.just("window"), "size": st.just(size), "heads": heads},
            optional={
                "shift": st.one_of(st.just("half"), st.integers(0, size - 1)),
                "relative_position_bias": st.booleans(),
            },
        )
    )
    qk_dim = st.integers(1, 20)
    single = {"kind": st.just("single_head"), "qk_dim": qk_dim}
    return st.one_of(
        windows,
        st.fixed_dictionaries({"kind": st.just("global"), "heads": heads}),
        st.fixed_dictionaries({**single, "partial_channels": st.integers(1, width)}),
        st.fixed_dictionaries(single, optional={"partial_ratio": st.floats(0.01, 1)}),
        st.fixed_dictionaries({"kind": st.just("conv"), "kernel": st.sampled_from([3, 5, 7, 9, 11, 13])}),
        st.just({"kind": "none"}),
    )


@st.composite
def architecture_data(draw, max_stages: int = 3, max_depth: int = 3, max_image: int = 48) -> dict:
    """Plain data of an architecture; optional fields are there or not."""
    stages = []
    for i in range(draw(st.integers(1, max_stages))):
        width = draw(st.sampled_from(WIDTHS))
        stage = {"width": width, "depth": draw(st.integers(1, max_depth)), "mixer": draw(mixers(width))}
        stage |= draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "local": st.booleans(),
                    "ffn_ratio": st.sampled_from([0.25, 1, 2.0, 3.5, 4]),
                    "norm": st.sampled_from(["layer", "batch"]),
                    "activation": st.sampled_from(["gelu", "relu"]),
                },
            )
        )
        if i:
            stage["downsample"] = draw(st.sampled_from(["patch_merging", "inverted_residual"]))
        stages.append(stage)
    position = st.sampled_from(["none", "absolute"])
    stride = st.sampled_from([2, 4, 8, 16])
    patch = {"kind": st.just("patch"), "stride": stride}
    stem = st.one_of(
        st.fixed_dictionaries(patch, optional={"norm": st.sampled_from(["layer", "none"]), "position": position}),
        st.fixed_dictionaries({"kind": st.just("conv"), "stride": stride}, optional={"position": position}),
    )
    optional = {
        "name": st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=8),
        "in_channels": st.integers(1, 4),
        "drop_path": st.sampled_from([0, 0.0, 0.1, 0.25]),
        "head": st.fixed_dictionaries({}, optional={"norm": st.sampled_from(["layer", "batch"])}),
    }
    required = {"image_size": st.integers(1, max_image), "classes": st.integers(1, 12), "stem": stem}
    parts = draw(st.fixed_dictionaries(required, optional=optional))
    return {"format": "vitscape/architecture@1", **parts, "stages": stages}


def architectures(**limits: int) -> st.SearchStrategy[Architecture]:
    return architecture_data(**limits).map(Architecture.from_dict)


@st.composite
def points(draw, space: SearchSpace) -> Architecture:
    """An architecture of a space, every choice drawn."""
    return space.compose(lambda name, options, leaf: draw(st.sampled_from(options)))


@st.composite
def damaged(draw, text: str) -> str:
    """A text with some of its slices cut out, doubled, moved or overwritten."""
    words = [
        "",
        "null",
        "-1",
        "0",
        "[]",
        "{}",
        "[1, 2]",
        "&a",
        "*a",
        "true",
        "1e999",
        "'",
        '"',
        ": ",
        "- ",
        "\n",
        "!!x",
    ]
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        new = draw(st.one_of(st.sampled_from([*words, text[start:end] * 2]), st.text(max_size=3)))
        text = text[:start] + new + text[end:]
    return text


def samples(space: SearchSpace, number: int, seed: int = 0) -> list[Architecture]:
    """Random architectures of a space, the same ones each time."""
    rng = random.Random(seed)
    return [space.sample(rng) for _ in range(number)]


def every_composition(space: SearchSpace) -> Iterator[Architecture]:
    """Every way of making every choice of a space, one after the other; equal networks come more than once."""
    plan: list[int] = []
    while True:
        made: list[tuple[int, int]] = []
        yield space.compose(_planned(plan, made))
        while made and made[-1][0] + 1 == made[-1][1]:
            made.pop()
        if not made:
            return
        plan = [*(index for index, _ in made[:-1]), made[-1][0] + 1]


def _planned(plan: list[int], made: list[tuple[int, int]]) -> Callable:
    def decide(name, options, leaf):
        index = plan[len(made)] if len(made) < len(plan) else 0
        made.append((index, len(options)))
        return options[index]

    return decide


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model with every weight, norm scale, bias and running statistic random, so that no branch is silent."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            if name.endswith("running_var"):
                noise = torch.exp(0.3 * noise)
            elif name.endswith("running_mean") or (tensor.ndim == 1 and name.endswith("bias")):
                noise = 0.2 * noise
            elif tensor.ndim == 1:
                noise = 1 + 0.2 * noise
            elif "table" not in name and "embedding" not in name:
                noise = noise / max(1, tensor[0].numel()) ** 0.5
            tensor.copy_(noise.to(tensor.dtype))
    return model
