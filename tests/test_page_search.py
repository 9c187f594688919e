"""The Search page: one section at a time, restored by its link; and what training was saved."""

from __future__ import annotations

import numpy as np
import optuna
import pandas as pd
import pytest

from benchmarks.made_up import write_study
from dashboard.figures.timeline import timeline
from explorer.analysis.saved import saved, spent_seconds, trained
from explorer.reader import Storage
from tests.big import made_up_study
from tests.pages import page
from tests.studies import add, evaluation, new_study, table

SECTIONS = ("Hypervolume", "Saved", "Learning", "Importance", "Slices", "Timeline")
RECORD = {"proxy": {"epochs": 12, "stop_epoch": 8}}


def texts(shown):
    return [one.value for kind in ("text", "markdown", "caption") for one in getattr(shown.main, kind)]


def charts(shown):
    return list(shown.main.get("bidi_component"))


def saved_by_rule(frame, record=RECORD):
    return saved(frame, record).set_index("rule")


# --- training saved --------------------------------------------------------------------------------------------------


def test_a_repeat_saves_what_its_first_trial_took_and_is_no_training():
    frame = table([{"train_seconds": 40.0}, {"train_seconds": 60.0}, {"status": "duplicate", "train_seconds": 40.0}])
    row = saved_by_rule(frame).loc["repeats answered from the record"]
    assert (row["trials"], row["seconds"], row["basis"]) == (1, 40.0, "measured")
    assert spent_seconds(frame) == 100.0
    assert len(trained(frame)) == 2


def test_a_limit_saves_the_mean_training_of_each_that_it_stopped():
    rows = [{"train_seconds": 40.0}, {"train_seconds": 60.0}]
    rows += [{"status": "infeasible", "seconds": 0.0}] * 3 + [{"status": "infeasible", "seconds": 2.0}]
    found = saved_by_rule(table(rows))
    closed, timed = found.loc["over a limit in closed form"], found.loc["over a limit on latency or memory"]
    assert (closed["trials"], closed["seconds"], closed["basis"]) == (3, 150.0, "estimated")
    assert (timed["trials"], timed["seconds"]) == (1, 50.0)


def test_a_schedule_stopped_early_saves_its_other_epochs():
    frame = table([{"train_seconds": 40.0}, {"train_seconds": 60.0}])
    row = saved_by_rule(frame).loc["every training stopped after epoch 8 of 12"]
    assert row["seconds"] == pytest.approx(50.0)
    for proxy in ({"epochs": 12, "stop_epoch": None}, {"epochs": 12, "stop_epoch": 12}, {}):
        assert len(saved_by_rule(frame, {"proxy": proxy})) == 3


def test_nothing_trained_leaves_the_estimates_open():
    found = saved_by_rule(table([{"status": "infeasible", "seconds": 0.0}]))
    assert np.isnan(found.loc["over a limit in closed form", "seconds"])


# --- the page --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("section", SECTIONS)
def test_a_link_opens_its_section_and_draws_it_alone(section):
    shown = page("search", made_up_study(200), section=section)
    assert not shown.exception
    assert len(charts(shown)) == (section != "Saved")
    assert shown.main.button_group[0].value == section


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize(("trials", "failed"), [(0, False), (1, False), (60, True)])
def test_every_section_says_what_it_waits_for(section, trials, failed):
    shown = page("search", made_up_study(trials, failed=failed), section=section)
    assert not shown.exception
    if trials == 0:
        assert any("No trials yet" in text for text in texts(shown))
    elif not charts(shown) and not shown.main.dataframe:
        next_steps = ("let the search run on", "Let the search run on", "Overview says why", "keep no curve")
        assert any(step in text for text in texts(shown) for step in next_steps)


@pytest.mark.parametrize("objectives", [("accuracy",), ("latency", "macs"), ("accuracy", "latency", "macs")])
@pytest.mark.parametrize("section", SECTIONS)
def test_any_objectives_have_every_section(objectives, section):
    shown = page("search", made_up_study(120, objectives), section=section)
    assert not shown.exception
    if "accuracy" not in objectives and section in ("Saved", "Learning"):
        assert any("trains nothing" in text for text in texts(shown))


@pytest.fixture
def two(tmp_path):
    path = tmp_path / "two.db"
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    write_study(path, 60, name="first", seed=1)
    write_study(path, 90, name="second", seed=2)
    write_study(path, 40, ("accuracy", "macs"), name="other", seed=3)
    return path


def test_studies_are_compared_at_one_reference_and_at_what_all_have_reached(two):
    shown = page("search", two, "first", **{"with": "second", "over": "Trials"})
    assert not shown.exception
    (said,) = [text for text in texts(shown) if text.startswith("At trial ")]
    assert "first" in said
    assert "100.0%" in said
    assert shown.main.text_input(key="reference").placeholder.startswith("accuracy=0%,latency=")


def test_a_study_of_other_objectives_is_left_out_and_that_is_said(two):
    shown = page("search", two, "first", **{"with": "other"})
    assert not shown.exception
    assert "other is left out: its objectives are accuracy, macs." in texts(shown)


def test_a_reference_point_is_taken_from_the_link_and_a_wrong_one_is_told(two):
    shown = page("search", two, "first", reference="accuracy=50%,latency=2ms")
    assert not shown.exception
    assert not any("no reference point" in text for text in texts(shown))
    for wrong, words in [("latency=2ms", "it needs a value for each"), ("accuracy=fast", "not a quantity")]:
        shown = page("search", two, "first", reference=wrong)
        assert not shown.exception
        assert any("no reference point" in text and words in text for text in texts(shown))


def test_keeping_the_point_writes_it_into_the_field(two):
    shown = page("search", two, "first")
    words = shown.main.text_input(key="reference").placeholder
    shown.main.button(key="keep").click().run()
    assert not shown.exception
    assert shown.main.text_input(key="reference").value == words


def test_stopped_trials_are_listed_and_their_absence_is_told(tmp_path):
    study = new_study(tmp_path / "x.db")
    curve = tuple(float(10 * k) for k in range(1, 9))
    for i in range(3):
        add(study, "complete", evaluation(80.0 + i, 1.0 + i, accuracy_by_epoch=curve))
    assert "No stopped trials: every training ran its 8 epochs." in texts(
        page("search", tmp_path / "x.db", section="Learning")
    )
    add(study, "complete", evaluation(30.0, 5.0, accuracy_by_epoch=curve[:3]))
    shown = page("search", tmp_path / "x.db", section="Learning")
    assert "Stopped before epoch 8: 1 trial." in texts(shown)
    (stopped,) = [one.value for one in shown.main.dataframe]
    assert isinstance(stopped, pd.DataFrame)
    assert stopped["Trial"].tolist() == [3]


def test_a_slice_is_in_the_link_by_its_words():
    shown = page("search", made_up_study(200), section="Slices", slice="mixer in stage 2", objective="latency")
    assert not shown.exception
    assert shown.main.selectbox(key="slice").value == "mixer@2"


def test_a_section_of_another_pages_link_is_no_error():
    assert not page("search", made_up_study(200), section="Agreement").exception


def test_bars_with_a_pattern_have_their_colour_under_it():
    frame = Storage(str(made_up_study(1000))).read("made_up").frame  # of so many trials each bar is a stretch of time
    bars = [bar.marker for bar in timeline(frame).data]
    assert sum(bool(marker.pattern.shape) for marker in bars) > 2
    assert {marker.pattern.fillmode for marker in bars} == {"overlay"}  # else the paper's colour alone is drawn
