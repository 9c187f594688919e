"""The Trials page: every trial found, sorted, chosen and taken away; and the tables that it is made of."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest

from dashboard.parts.trials_table import as_csv, as_parquet, found, ordered, scales, shown, usual
from explorer.reader import Storage
from tests.big import made_up_study
from tests.pages import page
from tests.studies import add, evaluation, new_study

HOSTILE = "![x](http://198.51.100.1/a.png) <b>#</b>"


@pytest.fixture(scope="module")
def frame():
    return Storage(str(made_up_study(150))).read("made_up").frame


@pytest.fixture
def storage(tmp_path):
    """Three complete trials, one failed, one over a limit."""
    study = new_study(tmp_path / "x.db")
    for accuracy, ms in [(40.0, 0.5), (62.0, 1.0), (70.0, 2.1)]:
        add(study, "complete", evaluation(accuracy, ms))
    add(study, "failed", error=f"OutOfMemoryError: {HOSTILE}", traceback=f"Traceback\n  {HOSTILE}")
    over = evaluation(None, None, infeasible="macs 20.0 M > 12.0 M")
    add(study, "infeasible", over)
    return tmp_path / "x.db"


def fine(test):
    assert not test.exception, [error.value for error in test.exception]
    return test


def said(test):
    parts = (test.text, test.markdown, test.caption, test.code, test.header, test.subheader)
    return "\n".join(str(element.value) for kind in parts for element in kind)


# --- the tables ------------------------------------------------------------------------------------------------------


def numbers(frame, **options):
    return set(frame.loc[found(frame, **options), "number"])


def test_trials_are_found_by_status_and_by_all_words_in_whatever_case(frame):
    assert numbers(frame) == set(frame["number"])
    assert numbers(frame, statuses=["failed"]) == set(frame.loc[frame["status"] == "failed", "number"])
    what = frame["what"].astype("object").fillna("")
    wanted = frame.loc[what.str.contains("WINDOW4", case=False) & what.str.contains("conv/2"), "number"]
    assert numbers(frame, text="WINDOW4  conv/2") == set(wanted)
    assert numbers(frame, text="(.*") == set()  # a text, no pattern
    errors = frame["error"].astype("object").fillna("")
    reason = errors[errors != ""].iloc[0].split(":")[0]
    assert set(frame.loc[errors.str.contains(reason), "number"]) <= numbers(frame, text=reason.lower())


def test_a_number_finds_the_trial(frame):
    assert 7 in numbers(frame, text="7")
    assert 77 in numbers(frame, text="77")
    assert 7 not in numbers(frame, text="77")


def test_rows_are_sorted_with_missing_ones_last_and_equals_by_number(frame):
    everything = np.ones(len(frame), dtype=bool)
    for falling in (False, True):
        values = frame["latency_ms"].iloc[ordered(frame, everything, "latency_ms", falling)]
        known = values.dropna().to_numpy()
        assert (np.diff(known) <= 0).all() if falling else (np.diff(known) >= 0).all()
        assert values.iloc[len(known) :].isna().all()
        places = ordered(frame, everything, "status", falling)
        statuses = frame["status"].astype("object").iloc[places].tolist()
        assert statuses == sorted(statuses, reverse=falling)
        same = frame["number"].to_numpy()[places][[status == "complete" for status in statuses]]
        assert (np.diff(same) > 0).all()


def test_headings_have_units_and_numbers_are_displayed_in_them(frame):
    table = shown(frame, np.arange(3), ["number", "accuracy", "macs", "latency_ms"], "cues, 8 of 12 epochs")
    assert list(table.columns) == ["Trial", "Top-1 (proxy, 8 of 12 epochs), %", "MACs, M", "Latency eager/b1, ms"]
    assert table["MACs, M"].astype(float).tolist() == pytest.approx(
        (frame["macs"].iloc[:3].astype(float) / 1e6).tolist()
    )
    headings = [heading for heading, _ in scales(frame).values()]
    assert len(set(headings)) == len(headings)
    assert "mixer in stage 1" in headings


def test_the_usual_columns_are_what_it_is_its_objectives_and_what_went_wrong(frame):
    columns = usual(frame, ("accuracy", "latency"))
    assert columns[:5] == ["number", "status", "what", "accuracy", "latency_ms"]
    assert {"infeasible", "error"} <= set(columns)
    assert not {"infeasible", "error"} & set(usual(frame[frame["status"] == "complete"], ("accuracy",)))


def test_files_hold_what_is_shown(frame):
    table = shown(frame, np.arange(150), ["number", "status", "accuracy", "mixer@1", "started"])
    for read, made in ((pd.read_csv, as_csv), (pd.read_parquet, as_parquet)):
        again = read(io.BytesIO(made(table)))
        assert list(again.columns) == list(table.columns)
        assert again["Trial"].tolist() == frame["number"].tolist()
        assert again.iloc[:, 2].astype(float).tolist() == pytest.approx(
            frame["accuracy"].astype(float).tolist(), nan_ok=True
        )
    everything = pd.read_parquet(io.BytesIO(as_parquet(frame)))
    assert list(everything.columns) == list(frame.columns)
    assert len(everything) == 150


# --- the page --------------------------------------------------------------------------------------------------------


def test_every_trial_is_there_with_its_number_status_and_objectives(storage):
    test = fine(page("trials", storage))
    table = test.dataframe[0].value
    assert table["Trial"].tolist() == [0, 1, 2, 3, 4]
    assert table["Status"].tolist() == ["complete", "complete", "complete", "failed", "infeasible"]
    assert table["Latency, ms"].astype(float).tolist()[:3] == [0.5, 1.0, 2.1]
    assert "5 trials" in said(test)


def test_a_link_restores_search_status_order_and_columns(storage):
    query = {"find": "conv/4", "status": "complete", "sort": "Latency, ms", "falling": "true"}
    test = fine(page("trials", storage, **query))
    assert test.dataframe[0].value["Trial"].tolist() == [2, 1, 0]
    assert "3 of 5 trials" in said(test)
    columns = fine(page("trials", storage, columns="Status")).dataframe[0].value.columns
    assert list(columns) == ["Trial", "Status"]


def test_nothing_found_says_what_to_clear(storage):
    test = fine(page("trials", storage, find="nowhere"))
    assert "None of 5 trials" in said(test)
    assert not test.dataframe


def test_no_trials_yet_is_no_error(tmp_path):
    new_study(tmp_path / "x.db")
    test = fine(page("trials", tmp_path / "x.db"))
    assert "No trials yet." in said(test)


def test_a_failed_trial_shows_its_error_and_traceback_as_text(storage):
    test = fine(page("trials", storage, trial="3"))
    assert any(element.value == f"OutOfMemoryError: {HOSTILE}" for element in test.text)
    assert [element.value for element in test.code] == [f"Traceback\n  {HOSTILE}"]
    for element in (*test.markdown, *test.caption, *test.subheader):
        assert "![x](" not in element.value


def test_an_infeasible_a_complete_and_an_unknown_trial_are_told_apart(storage):
    assert "not trained: macs 20.0 M > 12.0 M" in said(fine(page("trials", storage, trial="4")))
    assert "complete · conv/4" in said(fine(page("trials", storage, trial="1")))
    assert "no trial 99" in said(fine(page("trials", storage, trial="99")))


def test_more_than_a_thousand_rows_are_paged_and_sorted_on_the_server():
    test = fine(page("trials", made_up_study(1500), sort="MACs, M", page="2"))
    table = test.dataframe[0].value
    assert len(table) == 500
    costs = table["MACs, M"].dropna().astype(float)
    assert (np.diff(costs) >= 0).all()
    first = fine(page("trials", made_up_study(1500), sort="MACs, M")).dataframe[0].value
    assert len(first) == 1000
    assert first["MACs, M"].astype(float).max() <= costs.min()


def test_files_are_made_only_when_they_are_asked_for(storage, monkeypatch):
    from dashboard.parts import trials_table

    def fail(table):
        raise AssertionError("made on a rerun")

    monkeypatch.setattr(trials_table, "as_csv", fail)
    monkeypatch.setattr(trials_table, "as_parquet", fail)
    test = fine(page("trials", storage))
    assert len(test.get("download_button")) == 4


def test_a_study_in_which_all_failed_lists_them_with_their_reasons():
    test = fine(page("trials", made_up_study(12, failed=True), trial="0", sort="Error"))
    assert set(test.dataframe[0].value["Status"]) <= {"failed", "infeasible", "interrupted", "running", "waiting"}
    assert "failed" in said(test)
    assert "Traceback" in said(test)


def test_one_trial_is_no_plural(tmp_path):
    add(new_study(tmp_path / "x.db"), "failed", error="E: x")
    test = fine(page("trials", tmp_path / "x.db"))
    assert "1 trial" in [caption.value for caption in test.caption]
    assert "None of 1 trial has" in said(fine(page("trials", tmp_path / "x.db", find="nowhere")))


def test_numbers_are_drawn_with_four_digits_and_told_to_be_whole_in_the_file(storage):
    test = fine(page("trials", storage))
    columns = json.loads(test.dataframe[0].proto.columns)
    assert columns["Latency, ms"]["type_config"]["format"] == "%.4g"
    assert "Trial" not in columns
    assert "full precision" in said(test)
