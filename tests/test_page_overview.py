"""The Overview page: counts, pace, budgets, and what is wrong with its next step."""

from __future__ import annotations

import optuna
import pandas as pd
import pytest

from dashboard.parts.findings import findings
from explorer import reader
from explorer.analysis import budgets, faults
from explorer.record import TrialRecord
from tests.big import made_up_study
from tests.pages import page
from tests.studies import CONDITIONS, add, evaluation, new_study, table
from tests.test_history import START, one_by_one, trials

NOW = START + pd.Timedelta(hours=1)


def texts(shown):
    return [*(one.value for one in shown.main.text), *(one.value for one in shown.main.markdown)]


def found(frame, objectives=("accuracy", "latency"), lookup=lambda number: None):
    option = " --study tiny --storage runs/x.db"
    return {one.title: one for one in findings(frame, objectives, "cues, 8 epochs", option, NOW, lookup)}


# --- failures --------------------------------------------------------------------------------------------------------


def test_errors_that_differ_in_numbers_alone_are_one_reason():
    errors = ["OutOfMemoryError: tried 3.00 GiB", "OutOfMemoryError: tried 12.5 GiB", "TrainingDiverged: nan", None]
    frame = table([{"status": "failed", "error": error} for error in errors] + [{"error": "not failed"}])
    reasons = faults.failures(frame)
    assert reasons["reason"].tolist() == ["OutOfMemoryError: tried … GiB", faults.NO_REASON, "TrainingDiverged: nan"]
    assert reasons["trials"].tolist() == [2, 1, 1]
    assert reasons["example"].tolist() == [1, 3, 2]
    assert reasons["share"].tolist() == [0.5, 0.25, 0.25]


def test_a_reason_is_one_short_line():
    assert faults.reason("Error at 0x7f3a: dim 1,024\nmore") == "Error at …: dim …"
    assert len(faults.reason("x" * 999)) == faults.LONGEST
    assert faults.failures(table([{}])).empty


# --- what else is wrong ----------------------------------------------------------------------------------------------


def test_a_sound_study_is_only_told_that_its_accuracies_are_the_proxys():
    frame = trials([row | {"verdict": "ok"} for row in one_by_one(5)])
    assert list(found(frame)) == ["Accuracy of the proxy alone"]


def test_doubtful_times_say_their_share_and_to_measure_again():
    rows = one_by_one(20, verdict="ok")
    rows[3]["verdict"], rows[4]["verdict"] = "shared", "noisy"
    one = found(trials(rows))["Times in doubt"]
    assert one.grave
    assert "latency: 10.0% of the times measured (1 shared, 1 noisy)" in one.text
    assert one.command == "vitscape front --study tiny --storage runs/x.db --remeasure"


def test_a_repeat_is_not_counted_among_the_doubtful_times():
    rows = one_by_one(3, verdict="noisy")
    rows[1] |= {"status": "duplicate"}
    assert faults.doubtful(trials(rows))["trials"].tolist() == [2]


def test_latencies_that_are_missing_say_how_many_and_how_to_measure():
    rows = [row | {"verdict": "ok"} for row in one_by_one(4)]
    rows[0]["latency_ms"] = None
    one = found(trials(rows))["Latencies that some complete architectures have not"]
    assert "latency: 3 of 4" in one.text
    assert "vitscape measure" in one.command
    assert "vitscape attach times.parquet --study tiny" in one.command
    none = found(trials([row | {"latency_ms": None} for row in rows]))["No latency in this study"]
    assert none.grave
    assert "vitscape measure" in none.command


def test_a_search_that_died_is_told_from_one_that_runs():
    rows = [*one_by_one(5), {"status": "running", "at": 300}]
    assert "trial 5 for 55 min" in found(trials(rows))["A search that died"].text
    rows[-1]["at"] = 3540
    assert "A search that died" not in found(trials(rows))


def test_of_a_database_server_no_search_is_told_to_have_died(tmp_path, monkeypatch):
    study = new_study(tmp_path / "x.db")
    add(study, "complete", evaluation(60.0, 1.0))
    study.ask()

    def told():
        frame = reader.Storage(str(tmp_path / "x.db")).read("tiny").frame
        return [f.title for f in findings(frame, ("accuracy",), "", "", NOW + pd.Timedelta(days=9999), lambda n: None)]

    assert "A search that died" in told()
    monkeypatch.setattr(reader, "sqlite_path", lambda url: None)
    assert "A search that died" not in told()


def test_interrupted_trials_are_told_until_they_are_repeated():
    rows = [*one_by_one(2), {"status": "interrupted", "at": 120, "ended": 125}]
    assert "1 trial interrupted, 1 of them not repeated" in found(trials(rows))["Interrupted trials"].text
    assert "Interrupted trials" not in found(trials([*rows, {"status": "complete", "retry_of": 2}]))


def test_a_repeat_that_was_itself_interrupted_counts_for_the_one_that_it_repeated():
    rows = [{} for _ in range(10)]
    rows[1] |= {"status": "interrupted"}
    rows[5] |= {"status": "interrupted", "retry_of": 1}
    assert faults.interrupted(table(rows)) == (2, 1)
    rows[9] |= {"retry_of": 5}
    assert faults.interrupted(table(rows)) == (2, 0)
    rows[9] |= {"status": "running"}
    assert faults.interrupted(table(rows)) == (2, 1)


def test_many_repeats_are_told():
    rows = [*one_by_one(3), {"status": "duplicate", "at": 180, "ended": 180}]
    assert "25% repeats" not in found(trials(rows))
    assert "40% repeats" in found(trials([*rows, rows[-1]]))


def test_a_change_of_driver_is_told():
    def lookup(number):
        conditions = CONDITIONS.model_copy(update={"driver": "580.95" if number == 0 else "590.10"})
        measured = evaluation(50.0, 1.0)
        latency = measured.latency.model_copy(update={"conditions": conditions})
        return TrialRecord(
            id="a", architecture={}, status="complete", evaluation=measured.model_copy(update={"latency": latency})
        )

    one = found(trials(one_by_one(3)), lookup=lookup)["The device's driver changed"]
    assert "Trial 0 was timed with driver 580.95, trial 2 with 590.10" in one.text


@pytest.mark.parametrize(("status", "step"), [("failed", "mend what they name"), ("infeasible", "--max-macs")])
def test_nothing_complete_comes_first_with_the_way_out(status, step):
    one = next(iter(found(trials([{"status": status, "ended": 1} for _ in range(3)])).values()))
    assert one.title == "No complete trial"
    assert step in one.step


# --- budgets ---------------------------------------------------------------------------------------------------------


def test_budgets_are_the_quartiles_of_the_fronts_costs():
    frame = table([{"accuracy": 50.0 + i, "latency_ms": float(i + 1)} for i in range(8)])
    three = budgets.three_budgets(frame, ("accuracy", "latency"))
    assert [(one.budget, one.row["accuracy"]) for one in three] == [(2.0, 51.0), (4.0, 53.0), (6.0, 55.0)]


def test_a_front_of_one_has_one_budget_and_of_none_none():
    frame = table([{"accuracy": 50.0, "latency_ms": 2.0}])
    assert [one.budget for one in budgets.three_budgets(frame, ("latency", "accuracy"))] == [2.0]
    assert budgets.three_budgets(frame[:0], ("accuracy", "latency")) == []


@pytest.mark.parametrize(
    ("objectives", "names"),
    [
        (("accuracy",), ("accuracy", "macs")),
        (("latency", "macs"), ("latency", "macs")),
        (("macs",), ("macs", "macs")),
        (("macs", "accuracy", "latency"), ("accuracy", "macs")),
    ],
)
def test_what_is_best_and_what_is_paid_follows_the_objectives(objectives, names):
    frame = table([{"accuracy": 50.0, "latency_ms": 2.0, "macs": 10}])
    assert tuple(row.name for row in budgets.goal_and_cost(frame, objectives)) == names
    assert len(budgets.three_budgets(frame, objectives)) == 1


# --- the page --------------------------------------------------------------------------------------------------------


@pytest.fixture
def storage(tmp_path):
    study = new_study(tmp_path / "x.db")
    for i in range(12):
        add(study, "complete", evaluation(60.0 + i, 1.0 + i))
    add(study, "failed", error="OutOfMemoryError: tried 3.00 GiB", traceback="Traceback: <b>boom</b> `x`")
    add(study, "infeasible", evaluation(None, None))
    return tmp_path / "x.db"


def test_a_study_at_a_glance(storage):
    shown = page("overview", storage)
    assert not shown.exception
    values = {one.label: one.value for one in shown.main.metric}
    assert values["Complete"] == "12"
    assert values["Failed"] == "1"
    assert values["Over a limit"] == "1"
    assert values["Time left"] == "unknown"
    assert any("Time left is unknown, for a study does not keep" in text for text in texts(shown))
    assert any("AMD EPYC · threads 1 · eager · fp32 · batch 1" in text for text in texts(shown))
    assert sum("≤" in text for text in texts(shown)) == 3


def test_the_table_of_the_hypervolume_has_its_displayed_unit(tmp_path):
    study = new_study(tmp_path / "x.db", objectives=("accuracy", "macs"))
    for i in range(3):
        add(study, "complete", evaluation(60.0 + i, 1.0))  # 10 M MACs each
    shown = page("overview", tmp_path / "x.db")
    shown.session_state["history_table"] = True
    shown.run()
    assert not shown.exception
    (values,) = [one.value["Hypervolume, % · M"] for one in shown.main.dataframe if "Trial" in one.value]
    assert list(values) == pytest.approx([60.0, 61.0, 62.0])  # 11 M is the reference


def test_what_was_asked_for_gives_the_time_left_or_says_that_nothing_runs(storage):
    shown = page("overview", storage, asked="5")
    assert {one.label: one.value for one in shown.main.metric}["Time left"] == "done"
    shown = page("overview", storage, asked="100")
    assert {one.label: one.value for one in shown.main.metric}["Time left"] == "not running"


def test_a_failure_shows_its_traceback_as_it_is_written(storage):
    shown = page("overview", storage)
    assert not any("boom" in one.value for one in shown.main.code)  # nothing is read before it is asked for
    shown.session_state["traceback"] = True
    shown.run()
    assert not shown.exception
    assert any("<b>boom</b> `x`" in one.value for one in shown.main.code)


def test_showing_the_best_chooses_its_trial(storage):
    shown = page("overview", storage)
    next(one for one in shown.main.button if one.label == "Show").click().run()
    assert not shown.exception
    assert shown.session_state["_trial"] == [2]


def test_an_empty_study_says_what_comes_next(tmp_path):
    new_study(tmp_path / "x.db")
    shown = page("overview", tmp_path / "x.db")
    assert not shown.exception
    assert "No trials yet" in shown.main.info[0].value


@pytest.mark.parametrize("objectives", [("accuracy",), ("latency", "macs"), ("accuracy", "latency", "macs")])
def test_any_objectives_have_an_overview(objectives):
    assert not page("overview", made_up_study(60, objectives)).exception


def test_all_failed_says_so_first():
    shown = page("overview", made_up_study(60, failed=True))
    assert not shown.exception
    assert any("No complete trial" in text for text in texts(shown))
    assert any("failed trials, by reason" in text for text in texts(shown))


def test_a_study_that_cannot_be_read_is_listed_with_the_reason(storage):
    optuna.create_study(study_name="<b>foreign</b>", storage=f"sqlite:///{storage}")
    shown = page("overview", storage)
    assert not shown.exception
    assert any("<b>foreign</b> cannot be read" in one.value for one in shown.main.text)
    assert not any("<b>" in one.value for one in shown.main.markdown)


def test_a_hostile_name_is_no_markdown(tmp_path):
    study = new_study(tmp_path / "x.db", name="![x](http://evil/a.png)`y`")
    add(study, "complete", evaluation(60.0, 1.0))
    shown = page("overview", tmp_path / "x.db")
    assert not shown.exception
    headings = [one.value for one in shown.main.subheader]
    assert not any("![" in text or "](http" in text for text in [*headings, *(m.value for m in shown.main.markdown)])
