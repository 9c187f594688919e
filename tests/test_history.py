"""How a search went on: its pace, the growth of its hypervolume, learning curves, timeline, and their figures."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard.canvas import THEMES
from dashboard.figures.history import hypervolume_compared, hypervolume_history, hypervolume_table
from dashboard.figures.learning import learning_curves
from dashboard.figures.timeline import MOST_BARS, STATUS, timeline
from explorer import results
from explorer.analysis import convergence, learning, pace
from tests.studies import table

START = pd.Timestamp("2026-10-01 08:00", tz="UTC")


def trials(rows: list[dict[str, object]]) -> pd.DataFrame:
    """A frame of trials; `at` and `ended` are seconds after the first one's start."""
    plain = [{key: value for key, value in row.items() if key not in ("at", "ended")} for row in rows]
    frame = table(plain)
    frame["started"] = [START + pd.Timedelta(seconds=float(row.get("at", 0))) for row in rows]
    ends = [pd.NaT if row.get("ended") is None else START + pd.Timedelta(seconds=float(row["ended"])) for row in rows]
    frame["finished"] = pd.Series(ends, dtype="datetime64[us, UTC]")
    return frame


def one_by_one(count: int, seconds: float = 60.0, **more: object) -> list[dict[str, object]]:
    """Complete trials, each beginning when the one before has ended, ever more accurate and slower."""
    return [
        {"at": i * seconds, "ended": (i + 1) * seconds, "seconds": seconds, "accuracy": 40.0 + i, "latency_ms": 1.0 + i}
        | more
        for i in range(count)
    ]


# --- pace ------------------------------------------------------------------------------------------------------------


def test_a_trial_a_minute_is_sixty_an_hour():
    found = pace.pace(trials(one_by_one(50)))
    assert found.per_hour == pytest.approx(60)
    assert found.recent_per_hour == pytest.approx(60)
    assert found.evaluated == 50
    assert found.device_hours == pytest.approx(50 / 60)


def test_a_night_without_trials_does_not_slow_the_rate():
    rows = one_by_one(20)
    for row in rows[10:]:
        row |= {"at": row["at"] + 36_000, "ended": row["ended"] + 36_000}
    found = pace.pace(trials(rows))
    assert found.per_hour == pytest.approx(60)
    assert found.paused_hours == pytest.approx(10)
    assert found.recent_per_hour == pytest.approx(60)


def test_the_recent_rate_is_of_the_last_thirty_trials():
    slow, fast = one_by_one(40, 120.0), one_by_one(31, 30.0)
    for row in fast:
        row |= {"at": row["at"] + 4800, "ended": row["ended"] + 4800}
    found = pace.pace(trials(slow + fast))
    assert found.recent_per_hour == pytest.approx(120)
    assert found.per_hour == pytest.approx(71 / (5730 / 3600))


def test_two_workers_are_twice_as_fast_and_take_twice_the_device_hours():
    rows = [row for row in one_by_one(30) for _ in range(2)]
    found = pace.pace(trials(rows))
    assert found.per_hour == pytest.approx(120)
    assert found.device_hours == pytest.approx(2 * found.hours)


def test_repeats_and_closed_form_rejections_are_no_evaluated_trials():
    rows = one_by_one(3)
    rows += [{"status": "duplicate", "at": 180, "ended": 180, "seconds": 0.0}]
    rows += [{"status": "infeasible", "at": 180, "ended": 180, "seconds": 0.0}]
    rows += [{"status": "infeasible", "at": 180, "ended": 182, "seconds": 2.0}, {"status": "failed", "seconds": 0.0}]
    assert list(pace.evaluated(trials(rows))) == [True] * 3 + [False, False, True, True]


def test_a_training_that_was_stopped_counts_as_evaluated_and_takes_its_time():
    rows = [*one_by_one(3), {"status": "stopped", "at": 180, "ended": 240, "seconds": 60.0}]
    found = pace.pace(trials(rows))
    assert (found.evaluated, found.per_hour) == (4, pytest.approx(60))
    assert list(pace.clock(trials(rows), "device-hours")["x"]) == pytest.approx([1 / 60, 2 / 60, 3 / 60, 4 / 60])


def test_the_time_left_is_what_is_asked_for_at_the_recent_rate():
    found = pace.pace(trials(one_by_one(40)))
    assert pace.hours_left(found, 100) == pytest.approx(1)
    assert pace.hours_left(found, 10) == 0
    assert pace.hours_left(pace.pace(trials(one_by_one(1))), 100) is None


def test_a_running_trial_is_stale_only_far_beyond_the_usual_time():
    frame = trials([*one_by_one(5), {"status": "running", "at": 300}])
    assert pace.stale(frame, START + pd.Timedelta(minutes=24)).empty
    assert list(pace.stale(frame, START + pd.Timedelta(minutes=26))["number"]) == [5]


NIGHT = [  # cut short after 40 s and closed by the resume 15 h later, with one that failed without a record
    *one_by_one(3),
    {"status": "interrupted", "at": 180, "ended": 54_180, "seconds": 40.0},
    {"status": "failed", "at": 180, "ended": 54_180, "seconds": None},
    *({**row, "at": row["at"] + 54_180, "ended": row["ended"] + 54_180} for row in one_by_one(3)),
]


def test_an_interrupted_trial_ends_when_it_was_cut_and_not_when_it_was_closed():
    frame = trials(NIGHT)
    found = pace.pace(frame)
    assert found.paused_hours == pytest.approx((54_180 - 220) / 3600)
    assert found.hours == pytest.approx((220 + 180) / 3600)
    ended = (pace.ends(frame) - START).dt.total_seconds().tolist()
    assert ended == [60, 120, 180, 220, 180, 54_240, 54_300, 54_360]
    own = trials([{"status": "failed", "at": 0, "ended": 90, "seconds": 90.0}, {"status": "running", "at": 90}])
    assert pace.ends(own).isna().tolist() == [False, True]
    assert pace.pace(own).hours == pytest.approx(90 / 3600)


def test_the_bar_of_an_interrupted_trial_is_as_long_as_it_ran():
    bars = {trace.name: trace for trace in timeline(trials(NIGHT)).data}
    assert list(bars["interrupted"].x) == [40_000]
    assert list(bars["failed"].x) == [0]
    assert "40 s" in bars["interrupted"].hovertext[0]


def test_no_search_is_told_to_have_died_by_a_clock_that_may_be_another():
    frame = trials([*one_by_one(5), {"status": "running", "at": 300}])
    late = START + pd.Timedelta(hours=5)
    assert len(pace.stale(frame, late)) == 1
    assert pace.stale(trials([*one_by_one(5), {"status": "running", "at": 300}]), START).empty
    ahead = trials([*one_by_one(5), {"status": "running", "at": 300}, {"status": "running", "at": 6 * 3600}])
    assert pace.stale(ahead, late).empty
    frame.attrs["remote"] = True
    assert pace.stale(frame, late).empty


@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(0, 1e7), st.sampled_from(pace.ENDED)), min_size=1, max_size=60), st.integers(5, 80))
def test_throughput_counts_every_ended_trial_once_in_few_stretches(ended, bins):
    rows = [{"status": status, "at": 0, "ended": seconds} for seconds, status in ended]
    found = pace.throughput(trials([*rows, {"status": "running"}]), bins)
    assert found["trials"].sum() == len(rows)
    assert found["start"].nunique() <= bins


# --- growth of the hypervolume ---------------------------------------------------------------------------------------


def test_the_steps_end_where_the_whole_series_ends_and_keep_every_rise():
    frame = trials(one_by_one(40))
    whole = results.hypervolume(frame)
    steps = convergence.growth(frame, results.OBJECTIVES)
    assert steps["hypervolume"].iloc[-1] == whole.iloc[-1]
    assert set(steps["hypervolume"]) == set(whole)
    assert list(steps["x"]) == list(steps["number"])


def test_what_ended_first_counts_first_over_time():
    frame = trials(
        [
            {"at": 0, "ended": 7200, "seconds": 7200.0, "accuracy": 90.0, "latency_ms": 1.0},
            {"at": 0, "ended": 3600, "seconds": 3600.0, "accuracy": 50.0, "latency_ms": 1.0},
        ]
    )
    over_time = convergence.growth(frame, results.OBJECTIVES, over="time")
    assert list(over_time["number"]) == [1, 0]
    assert list(over_time["x"]) == [1, 2]
    assert list(convergence.growth(frame, results.OBJECTIVES, over="device-hours")["x"]) == [1, 3]
    assert convergence.at(over_time, 0.5) == 0
    assert convergence.at(over_time, 1.5) == pytest.approx(50 * 0.1)  # up to 1.1 times the slowest
    assert convergence.at(over_time, 2) == pytest.approx(90 * 0.1)


def test_the_common_reference_bounds_all_studies_and_is_round():
    first, second = trials(one_by_one(5)), trials(one_by_one(9))
    point = convergence.common_reference([first, second], results.OBJECTIVES)
    assert point == {"accuracy": 0.0, "latency": 9.9}
    assert np.isnan(convergence.common_reference([first[:0]], results.OBJECTIVES)["latency"])
    assert convergence.common_reference([first[:0], first], results.OBJECTIVES)["latency"] == 5.5


def test_the_table_is_in_the_units_of_the_figure_with_the_unit_in_its_heading():
    frame = trials(one_by_one(9, macs=20_000_000))
    frame["macs"] = pd.array([20_000_000 + i for i in range(9)], dtype="Int64")
    objectives = ("accuracy", "macs")
    reference = {"accuracy": 0.0, "macs": 5e7}
    steps = convergence.growth(frame, objectives, reference, "time")
    shown = hypervolume_table(steps, results.metrics_of(frame, objectives), "time")
    assert list(shown.columns) == ["Trial", "Hours since the first trial began", "Hypervolume, % · M"]
    line = hypervolume_history(frame, objectives, reference=reference, over="time").data[0]
    assert list(shown["Hypervolume, % · M"]) == pytest.approx(list(line.y))
    assert shown["Hypervolume, % · M"].iloc[0] == pytest.approx(40 * 30)
    assert list(shown["Trial"]) == list(line.customdata)


def test_thousands_of_rises_are_two_thousand_points():
    frame = trials(one_by_one(1))
    frame = pd.concat([frame] * 6000, ignore_index=True).assign(
        number=range(6000), id=[str(i) for i in range(6000)], accuracy=np.linspace(1, 90, 6000)
    )
    line = hypervolume_history(frame, reference={"accuracy": 0.0, "latency": 9.0}).data[0]
    assert len(line.x) <= 2000
    assert line.x[-1] == 5999
    assert line.y[-1] == pytest.approx(90 * 8)


def test_studies_share_one_reference_and_each_has_a_line_of_its_own():
    frame = trials(one_by_one(9))
    steps = convergence.growth(frame, results.OBJECTIVES).set_index("x")["hypervolume"]
    reference = {"accuracy": 0.0, "latency": 9.9}
    rows = results.metrics_of(frame, results.OBJECTIVES)
    figure = hypervolume_compared({"mine": steps, "<b>other</b>": steps * 0.5, "none": steps * 0}, rows, reference)
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    assert [line.name for line in lines] == ["mine", "&lt;b&gt;other&lt;/b&gt;"]
    assert len({line.line.dash for line in lines}) == len({line.line.color for line in lines}) == 2
    assert "common reference point: accuracy 0 %, latency 9.90 ms" in figure.layout.title.text
    assert "mine" in figure.layout.meta["alt"]


@pytest.mark.parametrize("over", list(convergence.OVER))
def test_the_history_says_what_x_is_and_finds_its_trials(over):
    figure = hypervolume_history(trials(one_by_one(9)), over=over)
    assert figure.layout.xaxis.title.text == convergence.OVER[over]
    assert set(figure.data[0].customdata) <= set(range(9))
    assert "reference point" in figure.layout.meta["alt"]


# --- learning curves -------------------------------------------------------------------------------------------------


def curves_of(counts: dict[int, int]) -> pd.DataFrame:
    rows = [
        (number, epoch, 10.0 * epoch + number) for number, epochs in counts.items() for epoch in range(1, epochs + 1)
    ]
    return pd.DataFrame(rows, columns=["number", "epoch", "accuracy"])


def test_the_sample_has_the_front_and_evenly_some_of_the_others():
    rows = [{"accuracy": 50.0, "latency_ms": 9.0, "train_seconds": 5.0} for _ in range(900)]
    rows[7] |= {"accuracy": 80.0, "latency_ms": 1.0}
    frame = table([*rows, {"status": "infeasible"}])
    front, others = learning.sample(frame, results.OBJECTIVES)
    assert front == (7,)
    assert len(others) == learning.MOST_CURVES - 1
    assert (others[0], others[-1]) == (0, 899)


def test_curves_that_end_early_are_stopped_and_marked():
    curves = curves_of({0: 8, 1: 3, 2: 8})
    early = learning.stopped(curves, 8)
    assert early.to_dict("records") == [{"number": 1, "epoch": 3, "accuracy": 31.0}]
    figure = learning_curves(curves, [2], epochs=8, trained=3, data="cues, 8 epochs")
    (crosses,) = [trace for trace in figure.data if trace.name == "stopped early"]
    assert (list(crosses.x), crosses.marker.symbol) == ([3], "x")
    assert "1 stopped early" in figure.layout.meta["alt"]
    assert all(trace.name != "stopped early" for trace in learning_curves(curves, [2], epochs=3, trained=3).data)


def test_many_others_have_their_middle_half_and_curves_do_not_run_into_each_other():
    curves = curves_of(dict.fromkeys(range(40), 4))
    figure = learning_curves(curves, [0], epochs=4, trained=40)
    named = {trace.name: trace for trace in figure.data if trace.name}
    assert list(named["median of the others"].y) == [30.0, 40.0, 50.0, 60.0]
    assert np.isnan(named["others"].y).sum() == 39
    few = learning_curves(curves[curves["number"] < 9], [0], epochs=4, trained=9)
    assert not any(trace.name == "median of the others" for trace in few.data)


def test_rank_agreement_is_one_where_an_early_epoch_tells_the_last_ones_order():
    found = learning.by_epoch(curves_of(dict.fromkeys(range(12), 3)))
    assert list(found["rank_agreement"]) == pytest.approx([1, 1, 1])
    assert list(found["curves"]) == [12, 12, 12]
    assert learning.by_epoch(curves_of({0: 3}))["rank_agreement"].isna().all()


def test_no_curves_say_so():
    figure = learning_curves(curves_of({}), [], epochs=8, trained=0)
    assert "no trial has trained" in figure.layout.annotations[0].text.replace("<br>", " ")


# --- timeline --------------------------------------------------------------------------------------------------------


def test_each_trial_is_a_bar_from_its_start_to_its_end_in_the_row_of_its_status():
    frame = trials([*one_by_one(3), {"status": "failed", "at": 180, "ended": 200}, {"status": "running", "at": 210}])
    figure = timeline(frame)
    bars = {trace.name: trace for trace in figure.data}
    assert set(bars) == {"complete", "failed", "running"}
    assert list(bars["complete"].x) == [60_000] * 3
    assert list(bars["failed"].customdata) == [3]
    assert "3 complete" in figure.layout.meta["alt"]


def test_many_trials_are_counted_by_stretch_of_time():
    frame = trials(one_by_one(MOST_BARS + 1))
    figure = timeline(frame)
    assert sum(sum(trace.y) for trace in figure.data) == MOST_BARS + 1
    assert len(figure.data[0].x) <= 60


def test_every_status_has_a_colour_a_shape_and_a_pattern_of_its_own():
    for part in ("color", "pattern", "shape", "icon", "word"):
        assert len({getattr(look, part) for look in STATUS.values()}) == len(STATUS)
    assert set(pace.ENDED) <= set(STATUS)


@pytest.mark.parametrize("theme", list(THEMES))
@pytest.mark.parametrize("width", [390, None])
def test_figures_are_drawn_in_both_themes_and_widths(theme, width):
    frame = trials(one_by_one(9))
    curves = curves_of({0: 2})
    for figure in (
        timeline(frame, theme=theme, width=width),
        timeline(frame[:0], theme=theme, width=width),
        learning_curves(curves, [0], epochs=2, trained=1, theme=theme, width=width),
        hypervolume_history(frame, over="time", theme=theme, width=width),
    ):
        assert figure.layout.paper_bgcolor == THEMES[theme].paper
        assert figure.layout.width == width
