"""Drawings of architectures: any network, in one self-contained SVG, inside its frame, and in words."""

from __future__ import annotations

import random
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given

from dashboard.drawing import drawing_alt, drawing_svg
from search_spaces import Architecture, load_space, preset
from tests.strategies import architectures

SVG = "{http://www.w3.org/2000/svg}"
GLYPH = 7.4  # pixels, a wide character at 12 pixels


def drawn(architecture: Architecture, **options: object) -> ElementTree.Element:
    return ElementTree.fromstring(drawing_svg(architecture.canonical.to_dict(), **options))


def words(svg: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in svg.iter(f"{SVG}text")]


def many_stages(count: int) -> Architecture:
    """A network of so many stages, every mixer among them."""
    mixers = [
        {"kind": "conv", "kernel": 13},
        {"kind": "window", "size": 7, "heads": 4},
        {"kind": "single_head"},
        {"kind": "none"},
        {"kind": "global", "heads": 32},
    ]
    stages = [
        {"width": 64 * (i + 1), "depth": 2 * i + 1, "mixer": mixers[i % 5], "local": i % 2 == 1}
        | ({"downsample": ("patch_merging", "inverted_residual")[i % 2]} if i else {})
        for i in range(count)
    ]
    data = {"format": "vitscape/architecture@1", "image_size": 2048, "stem": {"kind": "patch"}, "stages": stages}
    return Architecture.from_dict(data)


@pytest.mark.parametrize("width", [640, 360])
def test_swin_t_is_drawn_with_all_that_it_chooses(width: int) -> None:
    said = " ".join(words(drawn(preset("swin_t"), width=width)))
    for expected in ("Stem", "patch 4×4", "56×56", "7×7", "96 channels", "×6", "window 7×7", "shift 3", "no shift"):
        assert expected in said
    for expected in ("24 heads × 32", "FFN ×4", "patch merging", "Head", "2.18 G MACs", "49 %"):
        assert expected in said


def test_shvit_s1_says_how_many_channels_attend() -> None:
    said = words(drawn(preset("shvit_s1")))
    assert "48 of 224 ch." in said
    assert "no token mixer" in said
    assert "4× conv 3×3" in said
    assert said.count("dw conv 3×3") == 3


def test_the_share_that_attends_is_as_long_in_the_bar_as_its_number_says() -> None:
    svg = drawing_svg(preset("shvit_s1").canonical.to_dict())
    bars = [float(w) for w in re.findall(r'width="([\d.]+)" height="8.0"', svg)]
    assert any(abs(part / whole - 48 / 224) < 0.01 for whole in bars for part in bars if part < whole)


def test_a_wider_stage_is_higher_and_a_deeper_one_has_more_blocks() -> None:
    boxes = [
        (element.get("stroke-dasharray"), float(element.get("height", 0)))
        for element in drawn(preset("swin_t")).iter(f"{SVG}rect")
        if element.get("stroke-width") == "0.9" and element.get("fill-opacity") in ("0.7", "0.25")
    ]
    assert len(boxes) == 12  # blocks
    heights = [height for _, height in boxes]
    assert heights == sorted(heights)
    assert heights[-1] / heights[0] == pytest.approx((768 / 96) ** 0.5, rel=0.02)
    assert [dash is not None for dash, _ in boxes] == [False, True] * 5 + [False, False]  # the last does not shift


@pytest.mark.parametrize("count", [1, 4, 5, 8, 16])
@pytest.mark.parametrize("width", [360, 480, 640, 960])
def test_every_stage_is_drawn_inside_of_the_frame(count: int, width: int) -> None:
    svg = drawn(many_stages(count), width=width)
    high = float(svg.get("height", 0))
    assert svg.get("width") == str(width)
    assert sum(word.startswith("Stage ") for word in words(svg)) == count
    for element in svg.iter(f"{SVG}text"):
        long = GLYPH * len(element.text or "") * float(element.get("font-size", 0)) / 12 * 0.85
        start = (
            float(element.get("x", 0)) - {"start": 0, "middle": long / 2, "end": long}[element.get("text-anchor", "")]
        )
        assert start >= -1, element.text
        assert start + long <= width + 4, element.text
        assert 0 < float(element.get("y", 0)) <= high
    for element in svg.iter(f"{SVG}rect"):
        if element.get("width") != "100%":
            assert float(element.get("x", 0)) + float(element.get("width", 0)) <= width + 0.1
            assert float(element.get("y", 0)) + float(element.get("height", 0)) <= high + 0.1


@given(architectures())
def test_any_network_is_drawn_as_well_formed_xml_that_loads_nothing(architecture: Architecture) -> None:
    for options in ({"width": 640}, {"width": 360, "theme": "dark"}):
        text = drawing_svg(architecture.canonical.to_dict(), **options)
        svg = ElementTree.fromstring(text)
        assert not re.search(r"href|url\(|<script|<style|<image|<foreignObject| on\w+=", text)
        assert not any("id" in element.attrib for element in svg.iter())  # two drawings can share a page
        assert svg.find(f"{SVG}title") is not None
        assert svg.find(f"{SVG}desc").text == drawing_alt(architecture.canonical.to_dict())


def test_samples_of_the_shipped_spaces_are_drawn_in_both_themes() -> None:
    for name in ("tiny_32", "hybrid_224"):
        space, rng = load_space(name), random.Random(0)
        for _ in range(20):
            light, dark = (drawn(space.sample(rng), theme=theme) for theme in ("light", "dark"))
            assert words(light)
            assert light.find(f"{SVG}rect").get("fill") != dark.find(f"{SVG}rect").get("fill")


def test_the_words_name_every_stage_with_its_choices() -> None:
    said = drawing_alt(preset("swin_t").to_dict())
    assert said.startswith(
        "224×224 image; patch stem, stride 4; stage 1, 56×56 tokens: 96 channels, 2 blocks, window 7×7"
    )
    assert "stage 4, patch merging, 7×7 tokens: 768 channels" in said
    assert said.endswith("1000 classes.")


def test_what_is_no_architecture_is_drawn_as_a_sentence_and_never_as_markup() -> None:
    for broken in (
        {},
        {"format": "<script>alert(1)</script>"},
        {"format": "vitscape/architecture@1", "stages": "x" * 999},
    ):
        text = drawing_svg(broken)
        said = " ".join(words(ElementTree.fromstring(text)))
        assert "cannot be drawn" in said
        assert "<script" not in text
