"""Samples of a search space, where a search has looked in it, and parallel coordinates of its trials."""

from __future__ import annotations

import re
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard.figures import parallel
from dashboard.figures.cloud import choice_shares, cloud_density, cloud_histogram, histogram
from explorer.analysis import cloud
from explorer.analysis.distribution import COMPLEXITY
from explorer.metrics import metric
from explorer.results import front
from search_spaces.architecture import Architecture
from search_spaces.cost import cost
from search_spaces.errors import InputError
from search_spaces.space import load_space, parse_space
from tests.minis import MINI
from tests.studies import table

MACS, PARAMS = COMPLEXITY["macs"], COMPLEXITY["params"]
OBJECTIVES = ("accuracy", "latency")


@pytest.fixture
def space(tmp_path, monkeypatch):
    monkeypatch.setenv("VITSCAPE_CACHE", str(tmp_path / "cache"))
    return parse_space(MINI)


def made(count: int, seed: int = 0) -> pd.DataFrame:
    """Complete trials with choices, some without a window."""
    generator = np.random.default_rng(seed)
    rows = [
        {"accuracy": float(a), "latency_ms": float(c), "macs": int(c * 1e6), "params": int(a * 1e4), "activations": 5}
        for a, c in zip(generator.uniform(40, 90, count), generator.lognormal(0, 1, count), strict=True)
    ]
    mixer = np.resize(["window", "conv", "none"], count)
    columns = {
        "mixer@1": pd.Categorical(mixer),
        "window@1": pd.array(np.where(mixer == "window", np.resize([2.0, 4.0], count), np.nan), "Int32"),
        "width@1": pd.array(generator.choice([16, 24, 32], count), "Int32"),
        "local@1": pd.array(np.resize([True, False], count), "boolean"),
        "stem": pd.Categorical(["conv/4"] * count),
    }
    return table(rows).assign(**columns)


# --- the samples ------------------------------------------------------------------------------------------------------


def test_a_cloud_is_the_same_again_and_begins_as_a_smaller_one(space):
    found = cloud.cloud(space, 700)
    pd.testing.assert_frame_equal(found, cloud.cloud(space, 700))
    assert list(cloud.cloud(space, 550)["key"]) == list(found["key"][:550])
    assert list(cloud.cloud(space, 550, seed=1)["key"]) != list(found["key"][:550])


def test_its_numbers_are_the_closed_form_costs_of_networks_of_the_space(space):
    found = cloud.cloud(space, 400)
    data = {"image_size": 16, "classes": 10, "stem": {"kind": "patch", "stride": 4}}
    for width, depth, mixer in found[["width@1", "depth@1", "mixer@1"]].drop_duplicates().itertuples(index=False):
        if mixer == "none":  # one network but for the FFN's ratio
            of = [
                cost(Architecture.model_validate({**data, "stages": [stage]})).macs
                for ratio in (1.0, 2.0)
                for stage in [{"width": int(width), "depth": int(depth), "mixer": {"kind": mixer}, "ffn_ratio": ratio}]
            ]
            mine = found[(found["width@1"] == width) & (found["depth@1"] == depth) & (found["mixer@1"] == mixer)]
            assert set(mine["macs"]) <= set(of)
    assert found["key"].nunique() <= space.size
    assert {"stem", "image_size"}.isdisjoint(found.columns)  # they do not vary in this space


def test_every_choice_is_drawn_uniformly(space):
    shares = cloud.cloud(space, 3000)["mixer@1"].value_counts(normalize=True)
    assert shares.to_dict() == pytest.approx({"none": 1 / 3, "global": 1 / 3, "window": 1 / 3}, abs=0.04)


def test_sampling_tells_how_far_it_is_and_can_be_ended(space):
    told: list[int] = []
    cloud.cloud(space, 1200, progress=told.append)
    assert told == [500, 1000, 1200]

    class Enough(Exception):
        pass

    def end(sampled: int) -> None:
        raise Enough

    with pytest.raises(Enough):
        cloud.cloud(space, 1200, progress=end)


def test_another_process_samples_and_keeps_the_same(space):
    assert cloud.kept(space, 1500) is None
    sampling = cloud.Sampling(space, 1500)
    sampling.wait(120)
    assert (sampling.running, sampling.error, sampling.sampled) == (False, None, 1500)
    pd.testing.assert_frame_equal(cloud.kept(space, 1500), cloud.cloud(space, 1500))
    assert cloud.kept(space, 1500, seed=1) is None
    assert cloud.kept(parse_space(MINI.replace("[8, 12, 16]", "[8, 12]")), 1500) is None


def test_a_sampling_that_is_stopped_leaves_nothing(space, tmp_path):
    sampling = cloud.Sampling(space, 10_000_000)
    until = time.monotonic() + 60
    while not sampling.sampled and time.monotonic() < until:
        time.sleep(0.05)
    sampling.stop()
    assert not sampling.running
    assert sampling.error == "stopped"
    assert 0 < sampling.sampled < 10_000_000
    assert not list(tmp_path.rglob("*.p*"))


def test_a_broken_file_in_the_cache_counts_as_none(space):
    cloud.keep(cloud.cloud(space, 100), space)
    path = cloud._path(space, 100, 0)
    path.write_bytes(path.read_bytes()[:200])
    assert cloud.kept(space, 100) is None
    path.write_bytes(b"no parquet")
    assert cloud.kept(space, 100) is None


def test_a_record_without_a_space_is_one_line(tmp_path):
    with pytest.raises(InputError) as told:
        cloud.space_of({"space_name": "tiny\n32", "space": {}})
    assert "\n" not in str(told.value)
    whole = load_space("tiny_32")
    assert cloud.space_of({"space_name": "tiny_32", "space": whole.data}).size == whole.size


# --- where a search has looked ---------------------------------------------------------------------------------------


def test_shares_compare_the_space_with_the_trials_and_the_front(space):
    found = cloud.cloud(space, 600)
    trials = pd.DataFrame({"mixer@1": pd.Categorical(["none"] * 30 + ["global"] * 10 + ["later"] * 5)})
    shares = cloud.shares(found, trials, trials.head(4), "mixer@1").set_index("level")
    assert shares["trials"].to_dict() == {"global": 0.25, "none": 0.75, "window": 0}
    assert shares["front"].to_dict() == {"global": 0, "none": 1, "window": 0}
    assert shares["space"].sum() == pytest.approx(1)
    assert ((shares["lo"] <= shares["trials"]) & (shares["trials"] <= shares["hi"])).all()
    assert shares.loc["none", ["lo", "hi"]].tolist() == pytest.approx([0.598, 0.858], abs=0.001)  # Wilson, 30 of 40
    figure = choice_shares(shares.reset_index(), "mixer@1")
    assert re.search("none: 3. % of the space, 75 % of the trials, 100 % of the front", figure.layout.meta["alt"])


def test_a_histogram_counts_every_architecture_once(space):
    found, trials = cloud.cloud(space, 600), made(50)
    bins = histogram(found, trials, MACS)
    assert bins[["the space", "trials"]].sum().tolist() == pytest.approx([1, 1])
    figure = cloud_histogram(found, trials, MACS, limits={"macs": 1e6})
    assert figure.layout.xaxis.title.text.startswith("MACs, M (log scale)")
    assert "limit: 1.00 M" in [note.text for note in figure.layout.annotations]
    assert "let the search run on" in cloud_histogram(found, trials[:0], MACS).layout.meta["alt"]


@pytest.mark.parametrize("count", [0, 40, 3000])
def test_the_space_is_a_picture_and_at_most_600_trials_are_points(space, count):
    found, trials = cloud.cloud(space, 600), made(count)
    trials.loc[trials["number"] % 5 == 1, "status"] = "infeasible"
    best = front(trials, OBJECTIVES)
    figure = cloud_density(found, trials, best, MACS, PARAMS, width=390)
    assert len(figure.layout.images) == 1
    drawn = {trace.name: list(trace.customdata) for trace in figure.data if trace.customdata is not None}
    assert sum(map(len, drawn.values())) == min(count, 600)
    if count:
        assert drawn["Pareto front"] == sorted(best["number"])
        assert all(number % 5 == 1 for number in drawn["over a limit, not trained"])
    assert f"{found['key'].nunique()} distinct" in figure.layout.meta["alt"]
    assert "600 samples uniform over the space's choices" in figure.layout.meta["alt"]


# --- parallel coordinates --------------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(st.integers(0, 1500), st.integers(0, 5))
def test_the_lines_hold_the_front_and_are_three_hundred_at_most(count, seed):
    frame = made(count, seed)
    drawn = parallel.lines(frame, OBJECTIVES)
    assert len(drawn) == min(count, 300)
    assert drawn["number"].is_unique
    assert set(front(frame, OBJECTIVES)["number"]) <= set(drawn["number"])  # far fewer than 150 here


def test_the_lines_that_are_near_the_front_are_nearer_than_the_others():
    frame = made(1500)
    drawn, best = parallel.lines(frame, OBJECTIVES), front(frame, OBJECTIVES)
    accuracy, latency = (frame[[column]].to_numpy() for column in ("accuracy", "latency_ms"))
    above = best["accuracy"].to_numpy() > accuracy
    beaten = pd.Series((above & (best["latency_ms"].to_numpy() < latency)).sum(axis=1))  # by members of the front
    off = ~frame["number"].isin(best["number"])
    assert beaten[off & frame["number"].isin(drawn["number"])].mean() < 0.8 * beaten[off].mean()
    tenths = pd.qcut(frame["accuracy"], 10, labels=False)
    assert set(tenths[frame["number"].isin(drawn["number"])]) == set(range(10))


def brush_of(figure, label, low, high):
    """A brush as the chart tells it, by its own wrapped label."""
    (own,) = [d.label for d in figure.data[0].dimensions if d.label.replace("<br>", " ") == label]
    return {own: (low, high)}


@pytest.mark.parametrize("width", [390, None])
def test_a_brush_means_all_trials_not_only_the_lines(width):
    frame = made(2000)
    axes = parallel.dimensions(frame, ["accuracy", "latency", "mixer@1", "window@1"], "cues, 8 epochs")
    drawn = parallel.lines(frame, OBJECTIVES)
    figure = parallel.parallel_coordinates(drawn, axes, metric("accuracy"), trials=2000, width=width)
    assert len(figure.data[0].customdata) == 300
    told = brush_of(figure, "Latency, ms", np.log10(0.5), np.log10(2))
    told |= brush_of(figure, "mixer in stage 1", 1.75, 2.25)
    told |= brush_of(figure, "Top-1 (proxy, 8 epochs), %", 60.0, 80.0)
    brush = parallel.brushed(told, axes)
    found = frame[parallel.matching(frame, axes, brush)]
    expected = frame["latency_ms"].between(0.5, 2) & (frame["mixer@1"] == "window") & frame["accuracy"].between(60, 80)
    assert list(found["number"]) == list(frame.loc[expected, "number"])
    assert len(found) > 50
    said = parallel.in_words(axes, brush)
    assert said == "Top-1 (proxy, 8 epochs), % 60 to 80; Latency, ms 0.5 to 2; mixer in stage 1: window"
    assert parallel.matching(frame, axes, parallel.brushed(None, axes)).all()


def test_networks_without_a_choice_have_a_place_of_their_own():
    frame = made(60)
    (axis,) = parallel.dimensions(frame, ["window@1"])
    assert axis.beneath < axis.low == 2
    brush = {axis.label: (axis.beneath - 0.1, axis.beneath + 0.1)}
    assert frame[parallel.matching(frame, [axis], brush)]["window@1"].isna().all()
    figure = parallel.parallel_coordinates(frame, [axis], metric("accuracy"))
    assert "none here" in figure.data[0].dimensions[0].ticktext


def test_trials_of_one_value_lie_side_by_side_where_a_brush_takes_them_all():
    frame = made(300)
    axes = parallel.dimensions(frame, ["mixer@1", "width@1", "local@1", "latency"])
    figure = parallel.parallel_coordinates(frame, axes, metric("accuracy"))
    for axis, drawn in zip(axes[:3], figure.data[0].dimensions, strict=False):
        ticks = np.array(drawn.tickvals)
        assert list(ticks) == sorted(ticks)
        aside = np.abs(np.array(drawn.values) - axis.places(frame))
        assert 0 < aside.max() < 0.25 * np.diff(ticks).min()  # plotly snaps a brush to a quarter of the gap
        assert len(set(drawn.ticktext)) == len(ticks)


def test_a_logarithmic_axis_has_round_ticks_and_a_range_may_end_anywhere():
    frame = made(300)
    axes = parallel.dimensions(frame, ["latency"])
    (drawn,) = parallel.parallel_coordinates(frame, axes, metric("accuracy")).data[0].dimensions
    ticks = dict(zip(drawn.ticktext, drawn.tickvals, strict=True))  # plotly draws ticks of one text at one place
    assert len(ticks) == len(drawn.tickvals) > 80
    assert list(drawn.tickvals) == sorted(drawn.tickvals)
    named = {text: 10**tick for text, tick in ticks.items() if text.strip("\u200b")}
    assert all(float(text) == pytest.approx(number) for text, number in named.items())
    assert len(named) > 3
    assert np.diff(drawn.tickvals).max() < 0.02 * np.ptp(drawn.tickvals)  # plotly snaps a brush to ticks


def test_a_kind_that_no_trial_has_takes_no_room():
    frame = made(30)
    frame["mixer@1"] = frame["mixer@1"].cat.add_categories("global")
    (axis,) = parallel.dimensions(frame, ["mixer@1"])
    assert axis.names == ("conv", "none", "window")
    assert set(axis.places(frame)) == {0, 1, 2}


def test_the_liveliest_choices_come_first_and_those_that_never_vary_not_at_all():
    assert parallel.liveliest(made(300), 9)[2:] == ["local@1", "window@1"]
    assert parallel.liveliest(made(300), 2) == parallel.liveliest(made(300), 9)[:2]
    assert "stem" not in parallel.liveliest(made(300), 9)


def test_the_colour_bar_has_a_unit_and_says_what_is_better():
    figure = parallel.parallel_coordinates(
        made(20), parallel.dimensions(made(20), ["accuracy"]), metric("latency"), data="cues, 8 epochs"
    )
    assert figure.data[0].line.colorbar.title.text == "Latency, ms<br>lower is better"
    empty = parallel.parallel_coordinates(made(0), [], metric("accuracy"))
    assert "let the search run on" in empty.layout.meta["alt"]


def test_hostile_choices_are_text():
    frame = made(30)
    frame["mixer@1"] = frame["mixer@1"].cat.rename_categories({"conv": "<img src=//evil>"})
    axes = parallel.dimensions(frame, ["mixer@1"])
    assert "<img" not in str(parallel.parallel_coordinates(frame, axes, metric("accuracy")).data[0].dimensions)
    shares = cloud.shares(frame, frame, frame, "mixer@1")
    assert "<img" not in str(choice_shares(shares, "mixer@1").data)
