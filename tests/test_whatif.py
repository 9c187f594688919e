"""What the parts of a network cost, what edits make of it, which trials are near, and what its latency would be."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.parts import effects
from explorer import structure
from explorer.analysis.nearby import neighbours_measured
from explorer.analysis.whatif import change, cost_by_part, divisors, latency_predictor, notes, settings
from explorer.profile.predict import LEAST, PredictorError, relative_noise
from search_spaces import Architecture, cost, load_space, preset
from search_spaces.errors import InputError
from tests.strategies import architectures, samples
from tests.studies import table

SWIN = preset("swin_t")


@given(architectures())
def test_the_parts_add_up_to_the_network(architecture: Architecture) -> None:
    parts, whole = cost_by_part(architecture), cost(architecture)
    for name in ("macs", "params", "activations"):
        assert int((parts[name] * parts["blocks"]).sum()) == getattr(whole, name)
    assert parts["stage"].iloc[0] == "stem"
    assert parts["stage"].iloc[-1] == "head"


def test_swin_t_costs_by_part_are_those_that_are_known() -> None:
    parts = cost_by_part(SWIN).set_index(["stage", "part"])
    assert parts.loc[("stage 1", "mixer"), "macs"] == 145_108_992  # one block of window attention, worked by hand
    assert parts.loc[("stage 3", "mixer"), "blocks"] == 6
    assert parts.loc[("head", "head"), "params"] == 770_536


@given(architectures())
def test_without_edits_a_network_stays_what_it_is(architecture: Architecture) -> None:
    assert change(architecture, {}).id == architecture.id


@given(architectures())
def test_to_edit_every_choice_to_what_it_is_changes_nothing(architecture: Architecture) -> None:
    has = structure.columns_of(architecture.canonical.to_dict())
    derived = ("stem", "stage_count", "depth")
    edits = {name: value for name, value in has.items() if value is not None and name not in derived}
    assert change(architecture, edits).id == architecture.id


@given(architectures(), st.data())
def test_an_edit_shows_in_the_structure_or_the_reason_is_one_line(architecture: Architecture, data: Any) -> None:
    k = data.draw(st.integers(1, len(architecture.stages)))
    choices = {
        f"mixer@{k}": st.sampled_from(["window", "global", "single_head", "conv", "none"]),
        f"width@{k}": st.integers(1, 64),
        f"depth@{k}": st.integers(0, 4),
        f"ffn_ratio@{k}": st.sampled_from([0.5, 2.0, 4.0]),
        "stem_stride": st.sampled_from([2, 3, 4, 8]),
        "image_size": st.integers(0, 64),
    }
    column = data.draw(st.sampled_from(sorted(choices)))
    value = data.draw(choices[column])
    try:
        edited = change(architecture, {column: value})
    except InputError as error:
        reason = str(error)
    else:
        reason = ""
    assert "\n" not in reason
    if reason:
        return
    found = structure.columns_of(edited.to_dict())[column]
    turned = {found, value} == {"window", "global"}  # a window over the whole map without bias is global attention
    assert found == pytest.approx(value, rel=0.6) if column.startswith("ffn") else found == value or turned
    assert Architecture.from_dict(edited.to_dict()).id == edited.id


def test_a_new_mixer_begins_with_usual_values() -> None:
    assert change(SWIN, {"mixer@3": "single_head"}).stages[2].mixer.partial_channels == 3 * 384 // 14
    assert change(SWIN, {"mixer@3": "global"}).stages[2].mixer.heads == 12
    assert change(SWIN, {"mixer@1": "conv", "kernel@1": 7}).stages[0].mixer.kernel == 7
    window = change(preset("deit_ti"), {"mixer@1": "window"}).stages[0].mixer
    assert (window.size, window.shift, window.heads) == (7, 3, 6)


def test_single_head_attention_keeps_its_share_when_the_width_changes() -> None:
    assert change(preset("shvit_s1"), {"width@2": 448}).stages[1].mixer.partial_channels == 96


def test_a_window_of_another_size_shifts_by_half_of_it_where_it_did_before() -> None:
    assert change(SWIN, {"window@1": 4}).stages[0].mixer.shift == 2
    assert settings(SWIN, 0, "window", 96, 4)["shift"] == 2


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ({"heads@2": 5}, "stage 2, heads: heads=5 does not divide width=192; use one of [1, 2, 3"),
        ({"width@2": 100}, "stage 2, heads: heads=6 does not divide width=100"),
        ({"shift@1": 9}, "stage 1, shift: shift=9 is not below size=7; use 0 to 6"),
        ({"kernel@1": 4, "mixer@1": "conv"}, "stage 1, kernel: 4 is not allowed; input should be 3, 5"),
        ({"mixer@1": "magic"}, "stage 1: mixer=magic is not known; use one of window, global"),
        ({"mixer@5": "conv"}, "mixer@5: no such choice in a network of 4 stages"),
        ({"depth@1": 0}, "stage 1, depth: 0 is not allowed"),
        ({"width@1": "<b>"}, "stage 1, width: '<b>' is not allowed"),
        ({"stem_stride": 3}, "stem.stride: 3 is not allowed; input should be 2, 4, 8 or 16"),
    ],
)
def test_an_impossible_choice_is_told_in_one_line_with_the_way_out(edits: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as raised:
        change(SWIN, edits)
    assert str(raised.value).startswith(said)
    assert "\n" not in str(raised.value)


def test_what_takes_no_effect_is_said() -> None:
    assert notes(SWIN, {"window@4": 9}) == ["stage 4: a window of 9 covers the whole map: it shrinks to 7×7"]
    assert notes(SWIN, {"depth@1": 1}) == ["stage 1: no shift, since one block alone cannot shift its windows"]
    assert notes(SWIN, {"mixer@1": "conv", "heads@1": 3}) == ["heads in stage 1: the mixer has none"]
    assert notes(SWIN, {"width@1": 192}) == []


def test_heads_are_offered_that_divide_the_width() -> None:
    assert divisors(96) == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48]


def measured(networks: list[Architecture], **columns: Any) -> pd.DataFrame:
    """A study's frame of these networks, with structure columns, as the dashboard reads it."""
    rows = table([{"id": one.id, "accuracy": 50.0, "latency_ms": 1.0 + i} for i, one in enumerate(networks)])
    forms = [structure.columns_of(one.canonical.to_dict()) for one in networks]
    kinds = structure.columns(max(len(one.stages) for one in networks))
    joined = pd.concat(
        [rows.drop(columns="architecture"), pd.DataFrame(forms, columns=list(kinds)).astype(kinds)], axis=1
    )
    return joined.assign(**columns)


def test_neighbours_are_the_trials_that_differ_in_one_choice_and_the_choice_is_named() -> None:
    near = [
        change(SWIN, {"mixer@2": "conv", "kernel@2": 7}),
        change(SWIN, {"width@1": 192}),
        change(SWIN, {"window@1": 14}),
        change(SWIN, {"stem_stride": 2}),
    ]
    far = change(SWIN, {"width@1": 192, "depth@3": 2})
    found = neighbours_measured(measured([*near, far, SWIN]), SWIN.canonical.to_dict())
    assert list(found["number"]) == [5, 0, 1, 2, 3]
    assert list(found["differs"]) == [0, 1, 1, 1, 1]
    assert list(found["difference"]) == [
        "",
        "mixer in stage 2: conv instead of window",
        "width in stage 1: 192 instead of 96",
        "window size in stage 1: 14 instead of 7",
        "stem stride: 2 instead of 4",
    ]


def test_where_none_differs_in_one_choice_the_nearest_come_first() -> None:
    two = change(SWIN, {"width@1": 192, "depth@3": 2})
    five = change(two, {"mixer@1": "conv", "mixer@2": "conv", "norm@4": "batch"})
    found = neighbours_measured(measured([five, two]), SWIN.canonical.to_dict())
    assert list(found["number"]) == [1, 0]
    assert list(found["differs"]) == [2, 5]
    assert found["difference"].iloc[0] == "width in stage 1: 192 instead of 96; blocks in stage 3: 2 instead of 6"


def test_a_stage_more_or_less_is_one_choice() -> None:
    data = SWIN.canonical.to_dict()
    three = Architecture.from_dict({**data, "stages": data["stages"][:3]})
    found = neighbours_measured(measured([three]), data)
    assert list(found["differs"]) == [1]
    assert found["difference"].iloc[0] == "no stage 4"
    other_way = neighbours_measured(measured([SWIN]), three.canonical.to_dict())
    assert list(other_way["difference"]) == ["a stage 4"]


def test_trials_without_any_measurement_and_repeats_are_no_neighbours() -> None:
    frame = measured([SWIN, SWIN], accuracy=[None, 50.0], latency_ms=[None, 1.0], duplicate=[False, True])
    assert neighbours_measured(frame, SWIN.canonical.to_dict()).empty


def chosen_differently(one: Architecture, other: Architecture) -> int:
    """How many choices differ, by hand: without what follows from others, or comes with another mixer or window."""
    first, second = (structure.columns_of(each.canonical.to_dict()) for each in (one, other))
    names = {name for name in first if first[name] != second[name]} - {"stem", "stage_count", "depth"}
    for k in range(1, len(one.stages) + 1):
        if f"mixer@{k}" in names:
            names -= {f"{own}@{k}" for own in ("window", "shift", "heads", "kernel", "partial", "qk_dim")}
        if f"window@{k}" in names or 1 in (first[f"depth@{k}"], second[f"depth@{k}"]):
            names -= {f"shift@{k}"}
    return len(names)


def test_distances_agree_with_the_spaces_own_neighbours() -> None:
    space = load_space("tiny_32")
    for architecture in samples(space, 3):
        near = random.Random(0).sample(space.neighbours(architecture), 20)
        far = [random.Random(i).choice(space.neighbours(one)) for i, one in enumerate(near)]
        alone = [neighbours_measured(measured([one]), architecture.canonical.to_dict()) for one in [*near, *far]]
        differs = [int(found["differs"].iloc[0]) for found in alone]
        assert differs == [chosen_differently(architecture, one) for one in [*near, *far]]
        assert differs[:20].count(1) >= 18  # a stem of another kind may have another stride with it: two
        assert max(differs[:20]) <= 2
        assert differs[20:].count(2) >= 8


def timed(count: int) -> tuple[pd.DataFrame, dict[int, dict[str, Any]]]:
    networks = samples(load_space("tiny_32"), count)
    ms = np.array([0.2 + cost(one).macs / 8e6 + cost(one).activations / 2e5 for one in networks])
    frame = measured(networks, latency_ms=ms, latency_lo_ms=ms * 0.99, latency_hi_ms=ms * 1.01, verdict="ok")
    return frame, {i: one.canonical.to_dict() for i, one in enumerate(networks)}


def test_a_latency_is_predicted_from_the_studys_own_measurements() -> None:
    frame, forms = timed(60)
    asked: list[int] = []

    def read(numbers: Any) -> dict[int, dict[str, Any]]:
        asked.extend(numbers)
        return {number: forms[number] for number in numbers}

    predictor = latency_predictor(frame, read)
    assert set(asked) <= set(forms)
    assert predictor.validation.mape < 10
    architecture = Architecture.from_dict(forms[3])
    told = predictor.predict([architecture])
    assert told.lo_ms[0] < frame["latency_ms"][3] < told.hi_ms[0]
    assert "architecture" not in frame.columns  # the shared frame is left as it was


def test_with_too_few_measurements_there_is_no_predictor_and_the_reason_says_how_many() -> None:
    frame, forms = timed(LEAST - 1)
    with pytest.raises(PredictorError, match=rf"{LEAST - 1} trusted measurements.*{LEAST}"):
        latency_predictor(frame, lambda numbers: {number: forms[number] for number in numbers})


@pytest.mark.parametrize("name", ["latency", "latency@eager/b8"])
def test_a_latency_without_a_proper_interval_teaches_by_its_median_alone(name: str) -> None:
    frame, forms = timed(60)
    for column in ("latency_ms", "latency_lo_ms", "latency_hi_ms", "verdict"):
        frame[f"{column}@eager/b8"] = frame[column]
    suffix = name.removeprefix("latency")
    low, high = f"latency_lo_ms{suffix}", f"latency_hi_ms{suffix}"
    for row, ends in enumerate([(np.nan, np.nan), (-1.0, 2.0), (0.0, 2.0), (1e9, 2e9), (0.1, np.inf), (2.0, 0.0)]):
        frame.loc[row, [low, high]] = ends
    view = View(frame, forms)
    told, why = effects._predictor.__wrapped__(("key",), name, view)
    assert told is not None, why
    assert told.validation.measurements == 60
    assert told.validation.mape < 10
    assert np.isfinite(told.predict([Architecture.from_dict(forms[0])]).hi_ms).all()
    frame.loc[7:, [low, high]] = np.nan
    frame.loc[:6, [low, high]] = np.nan
    told, why = effects._predictor.__wrapped__(("key",), name, view)
    assert told is not None, why
    frame[f"latency_ms{suffix}"] = -1.0
    told, why = effects._predictor.__wrapped__(("key",), name, view)
    assert told is None
    assert why


def test_broken_intervals_do_not_weigh_more_than_proper_ones() -> None:
    low, middle, high = np.array([[0.9, 1, 1.1], [0.8, 1, 1.25], [0, 1, 1.1], [np.nan, 1, 2], [3, 1, 4]]).T
    noise = relative_noise(low, middle, high)
    assert noise[:2] == pytest.approx(np.log([1.1 / 0.9, 1.25 / 0.8]) / 3.92)
    assert noise[2:] == pytest.approx([np.median(noise[:2])] * 3)
    assert list(relative_noise(low[2:], middle[2:], high[2:])) == [0, 0, 0]


@dataclass
class View:
    """What the page's predictor takes of a view."""

    frame: pd.DataFrame
    forms: dict[int, dict[str, Any]]

    def architectures(self, numbers: Any) -> dict[int, dict[str, Any]]:
        return {number: self.forms[number] for number in numbers}
