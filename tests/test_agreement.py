"""Rank agreement, what choosing by another device costs, held-out predictions, and their figures."""

from __future__ import annotations

import random
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr

from dashboard.canvas import THEMES
from dashboard.figures.devices import rank_agreement, short
from dashboard.figures.latencies import POINTS, latency_scatter, predicted_measured
from explorer.analysis.agreement import LEAST, MOST, Values, agreement, compared, movers, values
from explorer.analysis.held_out import held_out, learnable, summary
from explorer.analysis.transfer import transfer, transfers
from explorer.frame import COLUMNS, LATENCY_COLUMNS
from explorer.profile.predict import PredictorError
from search_spaces import load_space

OTHER = "latency@nvidia_h200/eager/fp16/b1"
KEYS = ("", "@nvidia_h200/eager/fp16/b1")


def devices(*times, accuracy=None, spread=0.0, **columns):
    """A frame of architectures with these times (ms) on each device; intervals of ± `spread` of the time."""
    rows = pd.DataFrame({"number": range(len(times[0]))})
    for key, ms in zip(KEYS, times, strict=False):
        values = np.asarray(ms, dtype=float)
        parts = (values, values * (1 - spread), values * (1 + spread), np.full(len(values), "ok"))
        rows = rows.assign(**{c + key: part for c, part in zip(LATENCY_COLUMNS, parts, strict=True)})
    rows = rows.assign(status="complete", duplicate=False, id=rows["number"].astype(str), what="conv/4 · 32×2 window4")
    rows = rows.assign(accuracy=np.nan if accuracy is None else accuracy, **columns)
    dtypes = COLUMNS | {column + key: COLUMNS[column] for key in KEYS for column in LATENCY_COLUMNS}
    frame = rows.reindex(columns=list(dtypes)).astype(dtypes)
    frame.attrs = {"latency": "eager/b1", "versions": {}}
    return frame


def texts(figure):
    return [figure.layout.title.text or "", *(note.text for note in figure.layout.annotations)]


# --- rank agreement --------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=3, max_size=30))
def test_exact_values_have_the_tau_and_rho_of_scipy(pairs):
    one, other = np.array(pairs, dtype=float).T
    if len(set(one)) == 1 or len(set(other)) == 1:
        return
    found = compared(Values(one, one, one), Values(other, other, other), 5, np.random.default_rng(0))
    assert found["tau"] == pytest.approx(kendalltau(one, other).statistic, abs=1e-5)
    assert found["rho"] == pytest.approx(spearmanr(one, other).statistic, abs=1e-5)


def test_a_pair_whose_intervals_overlap_is_a_tie_for_both_orders():
    wide = devices([1.0, 1.1, 4.0, 8.0, 16.0], [1.1, 1.0, 4.0, 8.0, 16.0], spread=0.1)
    sharp = devices([1.0, 1.1, 4.0, 8.0, 16.0], [1.1, 1.0, 4.0, 8.0, 16.0], spread=0.01)
    (told,) = agreement(wide, ["latency", OTHER]).to_dict("records")
    (split,) = agreement(sharp, ["latency", OTHER]).to_dict("records")
    assert (told["tau"], told["told"], told["same"]) == pytest.approx((1.0, 0.9, 1.0))
    assert (split["tau"], split["told"], split["same"]) == pytest.approx((0.8, 1.0, 0.9))


def test_the_interval_holds_the_estimate_narrows_with_more_architectures_and_is_the_same_each_time():
    rng = np.random.default_rng(0)
    ms = np.exp(rng.normal(size=400))
    frame = devices(ms, ms * np.exp(0.6 * rng.normal(size=400)))
    few, many = (agreement(frame.iloc[:n], ["latency", OTHER]).iloc[0] for n in (40, 400))
    for row in (few, many):
        assert row["tau_lo"] < row["tau"] < row["tau_hi"]
        assert row["rho_lo"] < row["rho"] < row["rho_hi"]
    assert many["tau_hi"] - many["tau_lo"] < 0.6 * (few["tau_hi"] - few["tau_lo"])
    again = agreement(frame.iloc[:40], ["latency", OTHER]).iloc[0]
    assert again.equals(few)


def test_the_bootstrap_interval_is_as_wide_as_samples_really_differ():
    rng = np.random.default_rng(1)

    def drawn():
        ms = np.exp(rng.normal(size=60))
        return agreement(devices(ms, ms * np.exp(0.6 * rng.normal(size=60))), ["latency", OTHER]).iloc[0]

    rows = [drawn() for _ in range(60)]
    spread = np.std([row["tau"] for row in rows])
    told = np.median([(row["tau_hi"] - row["tau_lo"]) / (2 * 1.96) for row in rows])
    assert 0.7 < told / spread < 1.4


def test_counts_are_compared_with_every_latency_and_never_with_each_other():
    ms = np.arange(1.0, 9.0)
    frame = devices(ms, ms[::-1], macs=np.arange(8) + 10, params=np.arange(8)[::-1] + 5, activations=7)
    table = agreement(frame)
    assert set(zip(table["first"], table["second"], strict=True)) == {
        ("latency", OTHER),
        *((latency, count) for latency in ("latency", OTHER) for count in ("macs", "params", "activations")),
    }
    at = table.set_index(["first", "second"])["tau"]
    assert at["latency", "macs"] == at[OTHER, "params"] == pytest.approx(1)
    assert at["latency", OTHER] == at["latency", "params"] == pytest.approx(-1)
    assert np.isnan(at["latency", "activations"])  # of what does not vary nothing can be told


def test_fewer_than_five_in_common_are_not_compared():
    frame = devices(np.arange(1.0, 9.0), [*range(1, LEAST), *[np.nan] * (9 - LEAST)], macs=range(8))
    table = agreement(frame)
    assert OTHER not in {*table["first"], *table["second"]}
    assert agreement(frame[:0]).empty


def test_a_shifted_latency_does_not_count_and_an_architecture_counts_once():
    frame = devices(np.arange(1.0, 9.0), np.arange(1.0, 9.0))
    doubtful = frame.assign(verdict=["throttled", "shared", "noisy", *["ok"] * 5])
    assert agreement(doubtful, ["latency", OTHER])["n"].tolist() == [6]
    twice = pd.concat([frame, frame.assign(number=frame["number"] + 8, status="duplicate", duplicate=True)])
    assert agreement(twice, ["latency", OTHER])["n"].tolist() == [8]
    failed = frame.assign(status=["failed", "infeasible", *["complete"] * 6])
    assert agreement(failed, ["latency", OTHER])["n"].tolist() == [7]  # one over a measured limit was timed, too


def test_of_very_many_architectures_a_sample_is_compared():
    ms = np.linspace(1, 2, MOST + 500)
    (row,) = agreement(devices(ms, ms), ["latency", OTHER]).to_dict("records")
    assert row["n"] == MOST
    assert row["tau"] == pytest.approx(1)


def test_movers_are_those_whose_rank_changes_beyond_the_intervals():
    frame = devices([1.0, 2.0, 3.0, 4.0, 4.01], [9.0, 2.0, 3.0, 4.01, 4.0], spread=0.02)
    table = movers(frame, "latency", OTHER)
    assert table["number"].tolist() == [0, 1, 2]  # 3 and 4 cannot be told apart, before or after
    first = table.iloc[0]
    assert (first["rank_first_lo"], first["rank_first_hi"], first["rank_second_lo"], first["moved"]) == (1, 1, 5, 4)
    assert table["moved"].tolist() == [4, -1, -1]
    assert movers(frame, "latency", "latency").empty


# --- the front of one device on another ------------------------------------------------------------------------------


def test_the_front_of_one_device_loses_on_another_what_its_best_would_have():
    # on the other device trial 1 is slow, and trial 2 takes its place
    frame = devices([1.0, 2.0, 3.0, 4.0], [1.0, 6.0, 2.0, 4.0], accuracy=[50.0, 70.0, 68.0, 80.0])
    table = transfer(frame, "latency", OTHER).set_index("number")
    assert table.index.tolist() == [0, 1, 3]
    assert table["stays"].tolist() == ["yes", "no", "yes"]
    assert table.loc[1, ["better", "lost", "faster"]].tolist() == [3, 10.0, 3]
    assert table.loc[1, "time_lost"] == pytest.approx(50)
    assert table.loc[0, ["better", "lost", "faster", "time_lost"]].tolist() == [0, 0.0, 0, 0.0]


def test_whether_a_member_stays_cannot_be_told_where_the_intervals_overlap():
    frame = devices([1.0, 2.0, 3.0], [1.0, 2.1, 2.0], accuracy=[50.0, 70.0, 71.0], spread=0.1)
    assert transfer(frame, "latency", OTHER).set_index("number")["stays"].to_dict() == {
        0: "yes",
        1: "cannot be told",
        2: "yes",
    }
    sharp = devices([1.0, 2.0, 3.0], [1.0, 2.1, 2.0], accuracy=[50.0, 70.0, 71.0], spread=0.01)
    assert transfer(sharp, "latency", OTHER)["stays"].tolist() == ["yes", "no", "yes"]


@given(st.lists(st.tuples(*[st.integers(1, 6)] * 3), min_size=1, max_size=20))
def test_a_transfer_equals_looking_at_every_pair(triples):
    one, other, accuracy = np.array(triples, dtype=float).T
    table = transfer(devices(one, other, accuracy=accuracy), "latency", OTHER)
    best = [
        i
        for i in range(len(one))
        if not any(
            (one[j] <= one[i] and accuracy[j] >= accuracy[i])
            and (one[j] < one[i] or accuracy[j] > accuracy[i] or j < i)
            for j in range(len(one))
        )
    ]
    assert sorted(table["number"]) == best
    for row in table.to_dict("records"):
        i = row["number"]
        assert row["lost"] == max(a - accuracy[i] for a, t in zip(accuracy, other, strict=True) if t <= other[i])
        quickest = min(t for a, t in zip(accuracy, other, strict=True) if a >= accuracy[i])
        assert row["time_lost"] == pytest.approx(100 * (other[i] / quickest - 1))
        assert other[row["better"]] <= other[i]
        assert accuracy[row["better"]] - accuracy[i] == row["lost"]
        assert accuracy[row["faster"]] >= accuracy[i]
        assert other[row["faster"]] == quickest


def test_every_way_to_choose_is_counted_up():
    frame = devices([1.0, 2, 3, 4, 5], [5.0, 1, 2, 3, 4], accuracy=[50.0, 60, 70, 80, 90], macs=[1, 2, 3, 4, 5])
    table = transfers(frame).set_index(["by", "on"])
    assert set(table.index) == {("latency", OTHER), (OTHER, "latency"), ("macs", "latency"), ("macs", OTHER)}
    assert table.loc[("macs", "latency"), ["members", "stay", "lost_mean"]].tolist() == [5, 5, 0.0]
    assert table.loc[("latency", OTHER), ["members", "stay", "leave", "lost_most"]].tolist() == [5, 4, 1, 40.0]
    assert transfers(frame[:0]).empty


def test_a_goal_is_not_chosen_by_itself_nor_used_on_itself():
    frame = devices([1.0, 2, 3, 4, 5], [5.0, 1, 2, 3, 4], accuracy=[50.0, 60, 70, 80, 90], macs=[1, 2, 3, 4, 5])
    assert set(transfers(frame, "macs")["by"]) == {"latency", OTHER}
    assert list(zip(*[transfers(frame, OTHER)[name] for name in ("by", "on")], strict=True)) == [("macs", "latency")]


def test_an_interval_that_is_none_counts_as_none():
    frame = devices([1.0, 2.0, 3.0, 4.0], spread=0.1)
    frame["latency_lo_ms"] = [0.0, -1.0, np.nan, 0.5]
    frame["latency_hi_ms"] = [0.0, np.inf, 4.0, 5.0]
    found = values(frame, "latency")
    assert list(found.low) == [1, 2, 3, 0.5]
    assert list(found.high) == [1, 2, 3, 5]


# --- held-out predictions --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def networks():
    """Sixty architectures whose time is what a predictor takes it for: a sum over the work of their operators."""
    from explorer.profile.features import columns, features

    space, rng = load_space("tiny_32"), random.Random(0)
    architectures = [space.sample(rng) for _ in range(60)]
    table = features(architectures, columns(architectures))
    prices = np.random.default_rng(0).random(table.shape[1]) / np.maximum(table.mean(0), 1)
    return devices(table @ prices, spread=0.01), {i: a.to_dict() for i, a in enumerate(architectures)}


def test_held_out_predictions_are_near_and_their_error_is_stated(networks):
    frame, architectures = networks
    table = held_out(learnable(frame), architectures)
    assert len(table) == 60
    assert (table["error"].abs() < 25).mean() > 0.9
    assert table["error"].tolist() == pytest.approx((100 * (table["predicted"] / table["measured"] - 1)).tolist())
    assert (table["inside"] == table["measured"].between(table["predicted_lo"], table["predicted_hi"])).all()
    said = summary(table)
    assert f"mean error {table['error'].abs().mean():.1f} %" in said
    assert "60 architectures, each predicted without having been seen" in said


def test_a_wrong_measurement_is_predicted_from_the_others_alone(networks):
    frame, architectures = networks
    wrong = frame.copy()
    wrong.loc[7, ["latency_ms", "latency_lo_ms", "latency_hi_ms"]] *= 10
    table = held_out(learnable(wrong), architectures).set_index("number")
    assert table.loc[7, "error"] < -70  # far from the tenfold time that it never saw
    assert not table.loc[7, "inside"]


def test_too_few_to_learn_from_are_refused_and_doubtful_ones_left_out(networks):
    frame, architectures = networks
    with pytest.raises(PredictorError, match="24 architectures measured"):
        held_out(learnable(frame[:24]), architectures)
    assert len(learnable(frame.assign(verdict=["noisy", "shared", *["ok"] * 58]))) == 58


# --- figures ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def landscape():
    rng = np.random.default_rng(0)
    ms = np.exp(rng.normal(size=50))
    other = ms * np.exp(0.5 * rng.normal(size=50))
    return devices(ms, other, accuracy=60 + 5 * np.log(ms) + rng.normal(size=50), spread=0.02, macs=np.rint(1e7 * ms))


@pytest.mark.parametrize("theme", list(THEMES))
@pytest.mark.parametrize("width", [None, 358])
def test_every_figure_has_its_theme_its_alternative_text_and_units(landscape, networks, theme, width):
    options = {"theme": theme, "width": width}
    for figure in (
        rank_agreement(agreement(landscape), landscape, **options),
        latency_scatter(landscape, "latency", OTHER, **options),
        latency_scatter(landscape, "macs", OTHER, **options),
        predicted_measured(held_out(learnable(networks[0]), networks[1]), **options),
    ):
        assert figure.layout.paper_bgcolor == THEMES[theme].paper
        assert len(figure.layout.meta["alt"]) > 40
        assert figure.layout.width == width


def test_the_heat_map_writes_each_tau_with_its_interval_and_reads_on_its_colour(landscape):
    table = agreement(landscape)
    row = table.iloc[0]
    shown = texts(rank_agreement(table, landscape))
    assert sum(f"<b>{row['tau']:.2f}</b>" in text and f"{row['tau_lo']:.2f} to" in text for text in shown) == 2
    figure = rank_agreement(table.assign(tau=-0.95), landscape)
    assert figure.data[0].z[1][0] == -0.95
    for theme, tau, ink in (("light", 0.05, "#000000"), ("dark", 0.05, "#ffffff"), ("dark", 1.0, "#000000")):
        notes = rank_agreement(table.assign(tau=tau), landscape, theme=theme).layout.annotations
        assert {note.font.color for note in notes} == {ink, THEMES[theme].muted}


def test_the_scatter_marks_both_fronts_names_movers_and_finds_its_points(landscape):
    figure = latency_scatter(landscape, "latency", OTHER)
    drawn = {trace.name: trace for trace in figure.data}
    numbers = [n for trace in figure.data if trace.customdata is not None for n in trace.customdata]
    assert sorted(numbers) == list(range(50))
    assert {"both fronts", "on neither front"} <= set(drawn)
    shapes = [(t.marker.symbol, t.marker.size) for t in figure.data if t.customdata is not None]
    assert len(set(shapes)) == len(shapes) == 4  # classes differ by more than colour
    farthest = movers(landscape, "latency", OTHER)["number"].iloc[0]
    assert f"trial {farthest}" in texts(figure)
    assert figure.layout.xaxis.title.text == "Latency eager/b1, ms (log scale) · lower is better"


def test_at_many_points_a_picture_stands_under_few():
    rng = np.random.default_rng(0)
    ms = np.exp(rng.normal(size=5000))
    figure = latency_scatter(
        devices(ms, ms * np.exp(rng.normal(size=5000)), accuracy=rng.random(5000)), "latency", OTHER
    )
    assert sum(len(trace.x) for trace in figure.data if trace.customdata is not None) <= POINTS
    assert len(figure.layout.images) == 1
    assert "600 of 5,000 architectures drawn" in figure.layout.title.text


def test_figures_of_nothing_say_what_to_do(landscape):
    assert any("to compare" in text for text in texts(rank_agreement(agreement(landscape[:0]), landscape[:0])))
    assert any("measure and attach" in text for text in texts(latency_scatter(landscape[:1], "latency", OTHER)))
    table = pd.DataFrame(columns=["measured", "predicted", "error", "inside", "in_domain"])
    assert any("measure 25" in text for text in texts(predicted_measured(table)))


def test_names_of_devices_are_shown_as_text(landscape):
    hostile = landscape.assign(what="<a href='https://evil'>x</a>")
    hostile.attrs["latency"] = "<b>eager</b>/b1"
    assert short(hostile, "latency") == "<b>eager</b>/b1"
    for figure in (
        rank_agreement(agreement(hostile), hostile),
        latency_scatter(hostile, "latency", OTHER),
    ):
        written = figure.to_json()
        assert "<a href" not in written
        assert "<b>eager" not in written.replace('"alt":"', "").split('"meta"')[0]


def test_every_two_latencies_are_compared_once(landscape):
    table = agreement(landscape)
    timed = table[~table["second"].isin(["macs", "params", "activations"])]
    assert len(timed) == len(list(combinations(["latency", OTHER], 2)))
