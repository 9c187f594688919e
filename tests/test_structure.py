"""Structure columns: of one architecture, and of thousands at once."""

from __future__ import annotations

import random
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from explorer.frame import what
from explorer.structure import STAGE, TYPE, Architectures, columns, columns_of, is_structure, label, splits
from search_spaces import preset
from search_spaces.space import load_space


def sampled(space: str, count: int = 200) -> list[dict[str, Any]]:
    rng, found = random.Random(0), load_space(space)
    return [found.sample(rng).canonical.to_dict() for _ in range(count)]


def test_a_swin_s_structure_is_that_of_its_paper() -> None:
    found = columns_of(preset("swin_t").canonical.to_dict())
    general = ("stem", "stem_kind", "stem_stride", "image_size", "stage_count", "depth")
    assert [found[name] for name in general] == ["patch/4", "patch", 4, 224, 4, 12]
    assert [found[f"width@{k}"] for k in (1, 2, 3, 4)] == [96, 192, 384, 768]
    assert [found[f"depth@{k}"] for k in (1, 2, 3, 4)] == [2, 2, 6, 2]
    assert [found[f"heads@{k}"] for k in (1, 2, 3, 4)] == [3, 6, 12, 24]
    assert [found[f"shift@{k}"] for k in (1, 2, 3, 4)] == [3, 3, 3, 0]  # the last window covers the whole map
    assert {found[f"{name}@3"] for name in ("kernel", "partial", "qk_dim")} == {None}
    assert (found["downsample@1"], found["downsample@2"]) == (None, "patch_merging")


def test_single_heads_tell_their_share_of_the_channels() -> None:
    found = columns_of(preset("shvit_s1").canonical.to_dict())
    assert found["mixer@2"] == "single_head"
    assert found["partial@2"] == pytest.approx(48 / 224)
    assert (found["qk_dim@2"], found["window@2"], found["heads@2"]) == (16, None, None)
    assert (found["local@1"], found["norm@1"], found["activation@1"], found["ffn_ratio@1"]) == (
        True,
        "batch",
        "relu",
        2,
    )


@pytest.mark.parametrize("space", ["tiny_32", "hybrid_224"])
def test_many_at_once_have_the_columns_and_words_that_each_has_alone(space: str) -> None:
    stored: list[dict[str, Any] | None] = [None, *sampled(space), None]
    together = Architectures(pa.array(stored, TYPE))
    found, words = {name: column.to_pylist() for name, column in together.columns().items()}, together.what()
    assert list(found) == list(columns(4 if space == "hybrid_224" else 2))
    for row, architecture in enumerate(stored):
        alone = {} if architecture is None else columns_of(architecture)
        assert {name: column[row] for name, column in found.items()} == {name: alone.get(name) for name in found}
        assert words[row].as_py() == (None if architecture is None else what(architecture))
        assert together.readable[row] == (architecture is not None)


@pytest.mark.parametrize(
    "change", [{"stem": None}, {"stages": []}, {"stages": [{"depth": 1, "mixer": {"kind": "none"}}]}], ids=str
)
def test_what_is_no_architecture_is_told_apart_from_its_neighbours(change: dict[str, Any]) -> None:
    good = sampled("tiny_32", 1)[0]
    assert Architectures(pa.array([good, good | change, good], TYPE)).readable.tolist() == [True, False, True]


def test_every_column_has_a_name_for_a_person() -> None:
    assert label("mixer@3") == "mixer in stage 3"
    assert label("downsample@2") == "downsampling before stage 2"
    assert label("depth") == "blocks in all"
    assert label("depth@1") == "blocks in stage 1"
    names = [label(name) for name in columns(4)]
    assert len(set(names)) == len(names)
    assert not any("_" in name or "@" in name for name in names)


def test_splits_are_the_columns_that_vary() -> None:
    kinds = columns(1)
    rows = [{"stem": "conv/4", "width@1": width, "mixer@1": mixer} for width, mixer in ((8, "conv"), (16, "conv"))]
    frame = pd.DataFrame(rows, columns=list(kinds)).astype(kinds).assign(**{"latency_ms@eager/b1": [1.0, 2.0]})
    assert splits(frame) == ["width@1"]
    assert splits(frame.iloc[:1]) == []
    frame["mixer@1"] = pd.Categorical(["conv", "window"])
    assert splits(frame) == ["width@1", "mixer@1"]
    assert splits(frame.iloc[1:]) == []  # a category that no row has any more is no variation


def test_latencies_are_no_structure() -> None:
    assert all(is_structure(f"{name}@12") for name in STAGE)
    assert not any(map(is_structure, ("latency_ms@eager/b1", "verdict", "width", "width@eager/b1", "stem@1")))
