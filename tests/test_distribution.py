"""Distributions and trends of a metric by a choice of the architecture, as numbers and as figures."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from dashboard.figures.edf import edf_curves
from dashboard.figures.trends import complexity_trend
from explorer.analysis.distribution import COMPLEXITY, FEWEST, edf, in_words, levels, trend, trend_rows
from explorer.metrics import metric
from tests.studies import table

MIXERS = ("conv", "none", "window")


def made(count: int = 120, seed: int = 0, **more: object) -> pd.DataFrame:
    """Complete trials in which windows gain 5 points and widths cost time."""
    generator = np.random.default_rng(seed)
    mixer = np.resize(MIXERS, count)
    macs = generator.lognormal(1, 0.6, count) * 1e6
    accuracy = 70 + 4 * np.log(macs / 1e6) + 5 * (mixer == "window") + generator.normal(0, 1, count)
    rows = [
        {"accuracy": float(a), "latency_ms": float(m / 2e6), "macs": int(m), "params": int(m // 3), "activations": 9}
        for a, m in zip(accuracy, macs, strict=True)
    ]
    columns = {
        "mixer@2": pd.Categorical(mixer),
        "window@2": pd.array(
            np.where(mixer == "window", np.resize([4.0, 4.0, 4.0, 7.0, 7.0, 7.0], count), np.nan), "Int32"
        ),
        "width@1": pd.array(np.resize(np.repeat([16, 24, 32, 48, 64, 80, 96], 3), count), "Int32"),
        "local@1": pd.array(np.resize([True, False], count), "boolean"),
    }
    return table(rows).assign(**columns, **more)


def test_a_curve_is_the_share_of_a_level_that_is_at_least_so_good():
    frame = made()
    found = edf(frame, "accuracy", "mixer@2")
    for name, curve in found.curves.groupby("level"):
        values = frame.loc[frame["mixer@2"] == name, "accuracy"]
        expected = [float((values >= value).mean()) for value in curve["value"]]
        assert list(curve["share"]) == pytest.approx(expected)
        assert curve["value"].is_monotonic_increasing
    costs = edf(frame, "latency", "mixer@2").curves
    of_conv = frame.loc[frame["mixer@2"] == "conv", "latency_ms"]
    for row in costs[costs["level"] == "conv"].itertuples():
        assert row.share == pytest.approx(float((of_conv <= row.value).mean()))  # of a cost: at most so much


def test_the_band_holds_the_curve_and_narrows_with_more_trials():
    few, many = (edf(made(count), "accuracy", "mixer@2").curves for count in (60, 3000))
    for curves in (few, many):
        assert ((curves["lo"] <= curves["share"] + 1e-9) & (curves["share"] <= curves["hi"] + 1e-9)).all()
    assert (few["hi"] - few["lo"]).mean() > 3 * (many["hi"] - many["lo"]).mean()


def test_the_band_is_as_wide_as_resampling_the_trials_one_by_one_makes_it():
    frame = made(90)
    curve = edf(frame, "accuracy", "mixer@2", draws=4000).curves.query("level == 'conv'")
    values = frame.loc[frame["mixer@2"] == "conv", "accuracy"].to_numpy()
    generator = np.random.default_rng(1)
    drawn = generator.choice(values, (4000, len(values)))
    shares = (drawn[:, :, None] >= curve["value"].to_numpy()).mean(axis=1)
    assert np.abs(np.quantile(shares, 0.025, axis=0) - curve["lo"]).max() < 0.04
    assert np.abs(np.quantile(shares, 0.975, axis=0) - curve["hi"]).max() < 0.04


def test_the_same_seed_gives_the_same_bands():
    first, again, other = (edf(made(), "accuracy", "mixer@2", seed=seed).curves for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)


def test_an_interval_of_a_difference_holds_it_in_most_studies():
    """Windows are 5 points better in truth; a 95 % interval misses that in about one study of twenty."""
    misses = 0
    for seed in range(40):
        pairs = edf(made(150, seed), "accuracy", "mixer@2", seed=seed, alike=None).differences
        row = pairs[(pairs["better"] == "window") & (pairs["other"] == "none")].iloc[0]
        misses += not row["lo"] <= 5 <= row["hi"]
    assert misses <= 6


def test_a_difference_within_its_doubt_is_said_so():
    told = in_words(edf(made(), "accuracy", "mixer@2"), "Top-1 (proxy, 8 epochs)")
    assert told.startswith("mixer in stage 2: window has the best median Top-1 (proxy, 8 epochs), ")
    assert "points above none" in told
    assert "not told apart" not in told
    same = made()
    assert "not told apart" in in_words(
        edf(same.assign(accuracy=np.resize([70.0, 71.0, 72.0, 73.0], 120)), "accuracy", "mixer@2")
    )


def test_a_level_of_few_trials_is_named_and_not_drawn():
    frame = made(60)
    frame = frame[(frame["mixer@2"] != "conv") | (frame["number"] < 3 * (FEWEST - 1))]
    found = edf(frame, "accuracy", "mixer@2")
    assert set(found.curves["level"]) == {"none", "window"}
    assert found.levels.set_index("level")["trials"].to_dict() == {"conv": FEWEST - 1, "none": 20, "window": 20}
    assert "not drawn: conv (7)" in edf_curves(found).layout.title.text


def test_a_kind_that_no_trial_has_is_no_level():
    frame = made()
    frame["mixer@2"] = frame["mixer@2"].cat.add_categories("global")
    assert list(edf(frame, "accuracy", "mixer@2").levels["level"]) == list(MIXERS)


def test_networks_without_the_choice_are_counted_apart():
    found = edf(made(), "accuracy", "window@2")
    assert (found.trials, found.without) == (40, 80)
    assert list(found.levels["level"]) == ["4", "7"]


def test_each_architecture_counts_once_and_only_complete_trials_do():
    frame = made()
    more = frame.head(30).assign(number=range(1000, 1030), duplicate=True)
    failed = frame.head(30).assign(number=range(2000, 2030), status="infeasible", accuracy=99.0)
    assert edf(pd.concat([frame, more, failed]), "accuracy", "mixer@2").levels.equals(
        edf(frame, "accuracy", "mixer@2").levels
    )


def test_latency_at_fixed_accuracy_takes_the_accurate_trials_alone():
    frame = made()
    found = edf(frame, "latency", "mixer@2", among={"accuracy": 74.0})
    assert found.trials == int((frame["accuracy"] >= 74.0).sum())
    assert edf(frame, "accuracy", "mixer@2", among={"latency": 1.0}).trials == int((frame["latency_ms"] <= 1.0).sum())


def test_at_like_complexity_a_level_of_larger_networks_is_not_better_for_that():
    generator = np.random.default_rng(0)
    large = np.resize([True, False], 800)
    macs = np.where(large, generator.uniform(2e6, 9e6, 800), generator.uniform(1e6, 6e6, 800))
    accuracy = 60 + macs / 1e6 * 3 + generator.normal(0, 0.5, 800)  # complexity alone decides
    frame = table([{"accuracy": float(a), "macs": int(m)} for a, m in zip(accuracy, macs, strict=True)])
    frame = frame.assign(stem=pd.Categorical(np.where(large, "conv/4", "patch/4")))
    (plain,), (alike,) = (edf(frame, "accuracy", "stem", alike=a).differences["difference"] for a in (None, "macs"))
    assert plain > 5
    assert abs(alike) < plain / 4


def test_a_number_of_many_values_has_five_levels_at_most():
    found = levels(made()["width@1"])
    assert len(found.cat.categories) == 5
    assert found.cat.ordered
    assert found.iloc[0] in ("16", "16–24")
    assert list(levels(pd.Series(pd.array([True, False, None], "boolean"))).cat.categories) == ["no", "yes"]
    assert list(levels(pd.Series([4.0, 2.0, np.nan], dtype="Float32")).astype("object").fillna("-")) == ["4", "2", "-"]


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (
            [0.2109, 0.2125, 0.21289, 0.21354, 0.21429],
            ["0.2109", "0.2125", "0.2129", "0.2135", "0.2143"],
        ),
        ([48 / 224, 82 / 384], ["0.2135", "0.2143"]),
        ([1e9, 1e9 + 1], ["1000000000", "1000000001"]),
        ([2.0, 3.5], ["2", "3.5"]),
    ],
)
def test_levels_that_differ_are_called_differently(values, names):
    column = pd.Series(np.repeat(values, 10), dtype="Float64")
    assert list(levels(column).cat.categories) == names
    close = pd.Series(np.linspace(0.2141, 0.2149, 60))  # five levels within a thousandth
    named = levels(close).cat.categories
    assert len(set(named)) == len(named) == 5
    for of, following in pairwise(named):
        assert float(of.split("–")[-1]) < float(following.split("–")[0])


@pytest.mark.parametrize("count", [9, 151, 801, 5001])
def test_the_median_of_a_level_is_the_median_of_its_trials(count):
    values = np.random.default_rng(count).normal(70, 5, count)
    frame = table([{"accuracy": float(a), "latency_ms": 100 - float(a)} for a in values])
    for metric_name, exact in (("accuracy", np.median(values)), ("latency", 100 - np.median(values))):
        (row,) = edf(frame, metric_name).levels.to_dict("records")
        assert row["median"] == pytest.approx(exact, rel=1e-12)


def test_levels_partition_their_values_in_order():
    generator = np.random.default_rng(0)
    for values in (generator.integers(0, 40, 300), generator.integers(0, 3, 50), np.ones(9), generator.random(100)):
        found = levels(pd.Series(values))
        spans = pd.Series(values).groupby(found, observed=True).agg(["min", "max"])
        assert found.notna().all()
        assert len(spans) <= 5
        assert (spans["max"].to_numpy()[:-1] < spans["min"].to_numpy()[1:]).all()


def test_a_trend_follows_the_median_of_neighbours():
    frame = made(2000)
    lines = trend(frame, COMPLEXITY["macs"], "accuracy", "mixer@2")
    for name, line in lines.groupby("level"):
        truth = 70 + 4 * np.log(line["x"] / 1e6) + 5 * (name == "window")
        assert np.abs(line["median"] - truth).max() < 1
        assert (line["lo"] < line["median"]).all()
        assert (line["median"] < line["hi"]).all()
    assert trend(frame.head(5), COMPLEXITY["macs"], "accuracy", "mixer@2").empty


@pytest.mark.parametrize("count", [40, 4000])
def test_a_trend_draws_few_trials_one_by_one_and_many_as_a_picture(count):
    frame = made(count)
    x = COMPLEXITY["macs"]
    rows = trend_rows(frame, x, "accuracy", "mixer@2")
    lines = trend(frame, x, "accuracy", "mixer@2")
    figure = complexity_trend(rows, lines, x, metric("accuracy"), "mixer@2", data="cues, 8 epochs")
    points = sorted(number for trace in figure.data if trace.customdata is not None for number in trace.customdata)
    assert points == (list(range(count)) if count == 40 else [])
    assert len(figure.layout.images) == (count > 40)
    assert sum(len(trace.x) for trace in figure.data) < 2500
    assert "Top-1 (proxy, 8 epochs)" in figure.layout.title.text
    assert "conv from 7" in figure.layout.meta["alt"]
    assert {trace.name for trace in figure.data if trace.showlegend is not False} == {
        f"{name} · {count // 3 + (i < count % 3):,}" for i, name in enumerate(MIXERS)
    }


def test_the_curves_say_metric_unit_conditions_and_what_is_better():
    figure = edf_curves(edf(made(), "latency", "mixer@2"), conditions="NVIDIA H200 · batch 1")
    notes = [note.text for note in figure.layout.annotations]
    assert figure.layout.xaxis.title.text == "Latency, ms (log scale) · lower is better"
    assert "Share of trials with at most this, % · higher is better" in notes
    assert "NVIDIA H200 · batch 1" in figure.layout.title.text
    assert {trace.line.shape for trace in figure.data} == {"hv"}
    symbols = [trace.marker.symbol for trace in figure.data if trace.showlegend is None]
    assert len(set(symbols)) == 3  # a shape for each


def test_nothing_to_compare_says_so_and_what_to_do():
    assert "let the search run on" in edf_curves(edf(made(9), "accuracy", "mixer@2")).layout.meta["alt"]
    empty = made()[:0]
    found = edf(empty, "accuracy", "mixer@2")
    assert in_words(found) == "No level has 8 trials to compare."
    x = COMPLEXITY["macs"]
    figure = complexity_trend(trend_rows(empty, x, "accuracy"), trend(empty, x, "accuracy"), x, metric("accuracy"))
    assert "Let the search run on" in figure.layout.meta["alt"]


def test_hostile_names_of_levels_are_text():
    frame = made()
    frame["mixer@2"] = frame["mixer@2"].cat.rename_categories({"conv": "<img src=//evil>"})
    x = COMPLEXITY["macs"]
    lines = trend(frame, x, "accuracy", "mixer@2")
    for figure in (
        edf_curves(edf(frame, "accuracy", "mixer@2")),
        edf_curves(edf(frame[:30], "accuracy", "mixer@2")),
        complexity_trend(trend_rows(frame, x, "accuracy", "mixer@2"), lines, x, metric("accuracy"), "mixer@2"),
    ):
        shown = [figure.layout.title.text, *(str(trace.name) for trace in figure.data)]
        assert not any("<img" in text for text in shown)


def test_the_frame_is_left_as_it_was():
    frame = made()
    before = frame.copy()
    edf(frame, "accuracy", "mixer@2", among={"latency": 3.0}, alike="macs")
    trend(frame, COMPLEXITY["params"], "accuracy", "width@1")
    pd.testing.assert_frame_equal(frame, before)
