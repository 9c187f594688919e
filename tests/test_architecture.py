"""Architectures as data: one id per network, round trips, and errors that name what is wrong."""

import copy
import json
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from pydantic import ValidationError

from search_spaces import Architecture, SpecError, build, preset
from search_spaces.shipped import names
from tests.malformed import ARCHITECTURE, MALFORMED_ARCHITECTURES
from tests.strategies import architecture_data, architectures, damaged


def data(**changes) -> dict:
    """Plain data of a network with two stages on maps of 8 and 4 tokens."""
    return {
        "format": "vitscape/architecture@1",
        "image_size": 32,
        "classes": 10,
        "stem": {"kind": "patch", "stride": 4},
        "stages": [stage(), stage(width=32, downsample="patch_merging")],
        **changes,
    }


def stage(**changes) -> dict:
    return {"width": 16, "depth": 2, "mixer": {"kind": "window", "size": 4, "heads": 2}, **changes}


def with_first(**changes) -> dict:
    return data(stages=[stage(**changes), data()["stages"][1]])


def with_mixer(**mixer) -> dict:
    return with_first(mixer=mixer)


def id_of(spelling: dict) -> str:
    return Architecture.from_dict(spelling).id


WINDOW = {"kind": "window", "size": 4, "heads": 2}
SPELLINGS = {
    "key order": (data(), dict(reversed(data().items()))),
    "defaults written out": (data(), data(in_channels=3, drop_path=0.0, head={"norm": "layer"})),
    "stage defaults written out": (
        data(),
        with_first(local=False, ffn_ratio=4.0, norm="layer", activation="gelu", downsample=None),
    ),
    "stem defaults written out": (
        data(),
        data(stem={"kind": "patch", "stride": 4, "norm": "layer", "position": "none"}),
    ),
    "half a window": (with_mixer(**WINDOW, shift="half"), with_mixer(**WINDOW, shift=2)),
    "half an odd window": (
        with_mixer(kind="window", size=5, heads=2),
        with_mixer(kind="window", size=5, heads=2, shift=2),
    ),
    "window as large as the map and larger": (
        with_mixer(kind="window", size=8, heads=2),
        with_mixer(kind="window", size=14, heads=2),
    ),
    "shift of a window that spans the map": (
        with_mixer(kind="window", size=8, shift=0, heads=2),
        with_mixer(kind="window", size=9, shift=8, heads=2),
    ),
    "window over the map without bias is global": (
        with_mixer(kind="window", size=8, heads=2, relative_position_bias=False),
        with_mixer(kind="global", heads=2),
    ),
    "shift where no second block shifts": (
        with_first(depth=1, mixer={**WINDOW, "shift": 3}),
        with_first(depth=1, mixer={**WINDOW, "shift": 0}),
    ),
    "partial ratio and channels": (
        with_mixer(kind="single_head", partial_ratio=0.25),
        with_mixer(kind="single_head", partial_channels=4),
    ),
    "two ratios that round to the same channels": (
        with_mixer(kind="single_head", partial_ratio=0.25),
        with_mixer(kind="single_head", partial_ratio=0.28),
    ),
    "published partial channels": (
        with_mixer(kind="single_head"),
        with_mixer(kind="single_head", partial_channels=3, qk_dim=16),
    ),
    "integer and float": (with_first(ffn_ratio=4), with_first(ffn_ratio=4.0)),
    "two ratios with one hidden width": (with_first(ffn_ratio=2.0), with_first(ffn_ratio=2.01)),
    "no drop path, and minus none": (data(drop_path=0), data(drop_path=-0.0)),
    "name and remarks": (
        data(),
        data(name="x", description="y", published={"top1": 81.2, "source": "a paper"}),
    ),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_two_spellings_of_one_network_have_one_id(name):
    one, other = SPELLINGS[name]
    assert repr(one) != repr(other)
    assert id_of(one) == id_of(other)
    assert Architecture.from_dict(one).canonical == Architecture.from_dict(other).canonical


DIFFERENT = [
    data(),
    data(image_size=48),
    data(in_channels=1),
    data(classes=11),
    data(drop_path=0.1),
    data(stem={"kind": "patch", "stride": 2}),
    data(stem={"kind": "patch", "stride": 4, "norm": "none"}),
    data(stem={"kind": "patch", "stride": 4, "position": "absolute"}),
    data(stem={"kind": "conv", "stride": 4}),
    data(stem={"kind": "conv", "stride": 4, "position": "absolute"}),
    data(stages=[stage()]),
    data(stages=[*data()["stages"], stage(width=64, downsample="patch_merging")]),
    data(stages=[stage(), stage(width=32, downsample="inverted_residual")]),
    data(stages=[stage(), stage(downsample="patch_merging")]),
    data(head={"norm": "batch"}),
    with_first(width=24),
    with_first(depth=1),
    with_first(depth=3),
    with_first(local=True),
    with_first(ffn_ratio=3),
    with_first(norm="batch"),
    with_first(activation="relu"),
    with_mixer(kind="window", size=4, heads=4),
    with_mixer(kind="window", size=4, heads=2, shift=0),
    with_mixer(kind="window", size=4, heads=2, shift=1),
    with_mixer(kind="window", size=4, heads=2, relative_position_bias=False),
    with_mixer(kind="window", size=5, heads=2),
    with_mixer(kind="window", size=7, heads=2, shift=0),
    with_mixer(kind="window", size=8, heads=2),
    with_mixer(kind="global", heads=2),
    with_mixer(kind="global", heads=4),
    with_mixer(kind="single_head"),
    with_mixer(kind="single_head", partial_channels=4),
    with_mixer(kind="single_head", qk_dim=8),
    with_mixer(kind="conv", kernel=3),
    with_mixer(kind="conv", kernel=5),
    with_mixer(kind="none"),
]


def test_different_networks_have_different_ids():
    ids = [id_of(network) for network in DIFFERENT]
    assert len(set(ids)) == len(DIFFERENT)
    assert all(len(i) == 16 and int(i, 16) >= 0 for i in ids)


def test_the_id_is_the_same_in_every_process_and_version():
    # studies and files of today must be found again tomorrow; a change of the canonical form needs a new format
    assert preset("swin_t").id == "a480c0c80b00b4d2"
    assert preset("shvit_s1").id == "063bc5275383836d"
    code = "from search_spaces import preset; print(preset('swin_t').id)"
    elsewhere = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert elsewhere.stdout.strip() == preset("swin_t").id


@given(architectures())
def test_yaml_and_json_give_the_architecture_back(tmp_path_factory, architecture):
    folder = tmp_path_factory.mktemp("round")
    (folder / "a.yaml").write_text(architecture.to_yaml(), encoding="utf-8")
    (folder / "a.json").write_text(json.dumps(architecture.to_dict()), encoding="utf-8")
    for file in ("a.yaml", "a.json"):
        again = Architecture.load(folder / file)
        assert again == architecture
        assert again.id == architecture.id
    assert Architecture.from_dict(architecture.to_dict()).to_yaml() == architecture.to_yaml()


@given(architectures())
def test_the_canonical_form_is_its_own_canonical_form(architecture):
    canonical = architecture.canonical
    assert canonical.canonical == canonical
    assert canonical.id == architecture.id
    assert Architecture.from_dict(canonical.to_dict()) == canonical  # and can be written and read
    assert canonical.maps == architecture.maps
    assert canonical.name is None


@settings(max_examples=25)
@given(architectures(max_stages=2, max_depth=2, max_image=33))
def test_an_architecture_and_its_canonical_form_build_the_same_network(architecture):
    built = []
    for one in (architecture, architecture.canonical):
        torch.manual_seed(0)
        built.append(build(one).eval())
    weights, same = (network.state_dict() for network in built)
    assert {key: tensor.shape for key, tensor in weights.items()} == {key: t.shape for key, t in same.items()}
    images = torch.randn(2, architecture.in_channels, architecture.image_size, architecture.image_size)
    with torch.no_grad():
        assert torch.equal(built[0](images), built[1](images))


@settings(max_examples=15)
@given(architectures(max_stages=2, max_depth=2, max_image=33))
def test_building_is_deterministic_under_a_seed(architecture):
    torch.manual_seed(7)
    first = build(architecture).state_dict()
    torch.manual_seed(7)
    again = build(architecture).state_dict()
    assert list(first) == list(again)
    assert all(torch.equal(first[key], again[key]) for key in first)
    other = build(architecture).state_dict()  # the generator has moved on
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_build_takes_a_file(tmp_path):
    path = tmp_path / "arch.yaml"
    path.write_text(preset("swin_t").to_yaml())
    assert build(path).architecture.id == build(str(path)).architecture.id == preset("swin_t").id


@pytest.mark.parametrize("name", names("presets"))
def test_a_preset_is_an_architecture_file_with_its_name(name):
    architecture = preset(name)
    assert architecture.name == name
    assert architecture.published.top1 > 70
    assert Architecture.from_dict(architecture.to_dict()) == architecture


def test_an_architecture_cannot_be_changed():
    architecture = preset("swin_t")
    with pytest.raises(ValidationError):
        architecture.image_size = 32
    with pytest.raises(ValidationError):
        architecture.stages[0].width = 32


def test_reading_does_not_change_what_is_read():
    spelling = with_mixer(kind="single_head", partial_ratio=0.25)
    before = copy.deepcopy(spelling)
    Architecture.from_dict(spelling).canonical  # noqa: B018
    assert spelling == before


@settings(max_examples=200)
@given(architecture_data())
def test_maps_are_halved_and_rounded_up(spelling):
    architecture = Architecture.from_dict(spelling)
    sides = [-(-spelling["image_size"] // spelling["stem"]["stride"])]
    while len(sides) < len(spelling["stages"]):
        sides.append((sides[-1] + 1) // 2)
    assert architecture.maps == tuple(sides)


@pytest.mark.parametrize("malformed", MALFORMED_ARCHITECTURES, ids=lambda malformed: malformed.id)
def test_a_malformed_architecture_is_one_line_that_says_where_and_what(tmp_path, malformed):
    path = malformed.write(tmp_path)
    with pytest.raises(SpecError) as error:
        Architecture.load(path)
    message = str(error.value)
    assert message.startswith(f"{path}, line {malformed.line}: " if malformed.line else f"{path}: ")
    assert [fragment for fragment in malformed.fragments if fragment not in message] == []
    assert message.isprintable()  # one line
    assert len(message) < len(str(path)) + 250
    assert error.value.__cause__ is None


@settings(max_examples=150)
@given(damaged(ARCHITECTURE))
def test_a_damaged_file_is_an_architecture_still_or_one_line(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("damaged") / "damaged.yaml"
    path.write_bytes(text.encode(errors="surrogatepass"))
    try:
        found = Architecture.load(path)
    except SpecError as error:
        found = str(error)
    if isinstance(found, str):
        assert found.isprintable()
        assert found.startswith(str(path))
    else:
        assert Architecture.from_dict(found.to_dict()).canonical.id == found.id


def test_every_malformed_case_is_named_once_and_there_are_enough():
    cases = [case.id for case in MALFORMED_ARCHITECTURES]
    assert len(cases) == len(set(cases)) >= 60


def test_what_is_no_file_is_one_line(tmp_path):
    for path, fragment in [
        (tmp_path / "nothing.yaml", "no such file"),
        (tmp_path, "cannot be read"),
        (tmp_path / ("x" * 300), "cannot be read"),
    ]:
        with pytest.raises(SpecError, match=fragment) as error:
            Architecture.load(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [None, 3, "swin_t", [], [data()], {1: 2}, {"format": None}, {**data(), 1: 2}])
def test_plain_data_that_is_no_architecture_is_one_line(value):
    with pytest.raises(SpecError) as error:
        Architecture.from_dict(value, "the record")
    assert str(error.value).startswith("the record: ")
    assert str(error.value).isprintable()


@pytest.mark.parametrize(("name", "hint"), [("swin_x", "swin_t"), ("", "swin_t"), ("../swin_t", "swin_t")])
def test_an_unknown_preset_names_those_that_exist(name, hint):
    with pytest.raises(SpecError, match=hint):
        preset(name)


def test_yaml_and_json_spellings_of_a_file_agree(tmp_path):
    text = preset("shvit_s2").to_yaml()
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    (tmp_path / "plain.json").write_text(json.dumps(preset("shvit_s2").to_dict(), indent=4))
    assert Architecture.load(tmp_path / "bom.yaml").id == preset("shvit_s2").id
    assert Architecture.load(tmp_path / "plain.json").id == preset("shvit_s2").id
