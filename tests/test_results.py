"""From an Optuna storage to a frame, its front, its hypervolume and its knee; and storages that cannot be used."""

from __future__ import annotations

import pickle
import sqlite3
import subprocess
import sys
import threading
from datetime import datetime, timedelta, timezone

import moocore
import numpy as np
import optuna
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.metrics import METRICS, MetricError, metrics
from explorer.results import (
    COLUMNS,
    best_under,
    conditions,
    frame,
    front,
    hypervolume,
    knee,
    reference_point,
    what,
)
from explorer.storage import (
    StorageError,
    hide_password,
    load_study,
    open_storage,
    storage_errors,
    study_data,
    study_objectives,
)
from tests.studies import add, evaluation, new_study, table

# Few distinct values, so that ties and duplicates are common; None is a trial that was not measured.
accuracies = st.one_of(st.none(), st.integers(0, 8).map(lambda n: 12.5 * n))
costs = st.one_of(st.none(), st.integers(1, 8).map(lambda n: 0.25 * n))
trials = st.fixed_dictionaries(
    {
        "accuracy": accuracies,
        "latency_ms": costs,
        "macs": st.one_of(st.none(), st.integers(1, 5).map(lambda n: n * 10**8)),
    }
    | {"status": st.sampled_from(["complete", "complete", "complete", "failed", "infeasible"])}
    | {"duplicate": st.sampled_from([False, False, False, True])}
)
frames = st.lists(trials, max_size=25).map(table)
choices = st.sampled_from([("accuracy", "latency"), ("accuracy", "latency", "macs"), ("latency", "macs"), ("latency",)])


def counted(rows: pd.DataFrame, objectives: tuple[str, ...]) -> pd.DataFrame:
    """The trials that may be on a front, the plain way."""
    columns = [METRICS[name].column for name in objectives]
    return rows[(rows["status"] == "complete") & ~rows["duplicate"]].dropna(subset=columns)


def dominates(a: pd.Series, b: pd.Series, objectives: tuple[str, ...]) -> bool:
    gains = [(float(a[m.column]) - float(b[m.column])) * (1 if m.maximize else -1) for m in metrics(objectives)]
    return min(gains) >= 0 and max(gains) > 0


# --- the front -------------------------------------------------------------------------------------------------------


@given(frames, choices)
def test_no_member_of_the_front_dominates_another(rows, objectives):
    best = front(rows, objectives)
    members = [row for _, row in best.iterrows()]
    assert not any(dominates(a, b, objectives) for a in members for b in members)


@given(frames, choices)
def test_every_complete_trial_off_the_front_is_dominated_or_an_equal_of_a_member(rows, objectives):
    best = front(rows, objectives)
    columns = [METRICS[name].column for name in objectives]
    members = [row for _, row in best.iterrows()]
    for _, row in counted(rows, objectives).iterrows():
        equal = any((row[columns] == member[columns]).all() for member in members)
        assert equal or any(dominates(member, row, objectives) for member in members)


@given(frames, choices, st.randoms(use_true_random=False))
def test_the_front_does_not_depend_on_the_order_of_the_rows(rows, objectives, random):
    shuffled = rows.sample(frac=1, random_state=random.randrange(1000))
    pd.testing.assert_frame_equal(front(shuffled, objectives), front(rows, objectives))


@given(frames)
def test_the_front_runs_from_cheap_to_dear_and_so_from_bad_to_good(rows):
    best = front(rows)
    assert best["latency_ms"].is_monotonic_increasing
    assert best["accuracy"].is_monotonic_increasing


def test_of_equal_trials_the_earliest_is_on_the_front():
    same = {"accuracy": 70.0, "latency_ms": 1.0}
    assert list(front(table([{"accuracy": 60.0, "latency_ms": 2.0}, same, same]))["number"]) == [1]


def test_unmeasured_failed_infeasible_and_duplicate_trials_are_not_on_the_front():
    rows = table(
        [
            {"accuracy": 99.0, "latency_ms": None},
            {"accuracy": 99.0, "latency_ms": 0.1, "status": "failed"},
            {"accuracy": 99.0, "latency_ms": 0.1, "status": "infeasible"},
            {"accuracy": 99.0, "latency_ms": 0.1, "duplicate": True, "status": "duplicate"},
            {"accuracy": 50.0, "latency_ms": 1.0},
        ]
    )
    assert list(front(rows)["number"]) == [4]


# --- the knee --------------------------------------------------------------------------------------------------------


@given(frames, choices)
def test_the_knee_is_on_the_front_and_exists_when_the_front_does(rows, objectives):
    best, chosen = front(rows, objectives), knee(rows, objectives)
    assert (chosen is None) == best.empty
    assert chosen is None or chosen["number"] in set(best["number"])


def test_the_knee_is_where_the_curve_bends():
    rows = [(10.0, 1.0), (40.0, 2.0), (80.0, 4.0), (82.0, 8.0), (84.0, 16.0)]
    assert knee(table([{"accuracy": a, "latency_ms": c} for a, c in rows]))["number"] == 2


def test_the_knee_does_not_depend_on_units_of_the_cost():
    rows = [(20.0, 1.0), (60.0, 3.0), (70.0, 9.0), (73.0, 30.0)]
    numbers = {knee(table([{"accuracy": a, "latency_ms": c * k} for a, c in rows]))["number"] for k in (1e-3, 1, 1e3)}
    assert len(numbers) == 1


def test_the_knee_of_one_trial_is_that_trial_and_of_two_the_cheaper():
    one, two = {"accuracy": 50.0, "latency_ms": 1.0}, {"accuracy": 80.0, "latency_ms": 2.0}
    assert knee(table([one]))["number"] == 0
    assert knee(table([two, one]))["number"] == 1


def test_an_end_of_the_front_is_no_knee_even_where_the_front_bends_inwards():
    rows = [(10.0, 1.0), (12.0, 4.0), (80.0, 16.0)]
    assert knee(table([{"accuracy": a, "latency_ms": c} for a, c in rows]))["number"] == 1


def test_the_knee_of_three_objectives_is_a_compromise_of_all():
    rows = [(90.0, 9.0, 9), (50.0, 1.0, 8), (48.0, 8.0, 1), (85.0, 2.0, 2)]
    made = table([{"accuracy": a, "latency_ms": c, "macs": m * 10**8} for a, c, m in rows])
    assert knee(made, ("accuracy", "latency", "macs"))["number"] == 3


# --- the hypervolume -------------------------------------------------------------------------------------------------


@given(frames, choices)
def test_the_hypervolume_never_falls_and_ends_at_the_front_s(rows, objectives):
    series = hypervolume(rows, objectives)
    assert series.is_monotonic_increasing
    assert list(series.index) == list(rows["number"])
    best = front(rows, objectives)
    if len(best) and len(objectives) > 1:
        points = np.column_stack([best[m.column].to_numpy(dtype=float) for m in metrics(objectives)])
        corner = [series.attrs["reference"][name] for name in objectives]
        expected = moocore.hypervolume(points, ref=corner, maximise=[m.maximize for m in metrics(objectives)])
        assert series.iloc[-1] == pytest.approx(expected, abs=1e-6)


def test_the_reference_point_is_zero_accuracy_and_a_tenth_beyond_the_worst_cost_and_is_stated():
    rows = table([{"accuracy": 50.0, "latency_ms": 1.0}, {"accuracy": 40.0, "latency_ms": 2.0}])
    series = hypervolume(rows)
    assert series.attrs["reference"] == reference_point(rows) == {"accuracy": 0.0, "latency": pytest.approx(2.2)}
    assert list(series) == pytest.approx([50 * 1.2, 50 * 1.2])


def test_trials_beyond_a_given_reference_add_nothing():
    rows = table([{"accuracy": 50.0, "latency_ms": 5.0}, {"accuracy": 40.0, "latency_ms": 1.0}])
    series = hypervolume(rows, reference={"accuracy": 10.0, "latency": 4.0})
    assert list(series) == pytest.approx([0.0, 90.0])


def test_a_reference_for_other_objectives_is_refused():
    with pytest.raises(MetricError, match="accuracy, latency"):
        hypervolume(table([]), reference={"accuracy": 0.0, "macs": 1.0})


# --- budgets ---------------------------------------------------------------------------------------------------------


@given(frames, st.floats(0.1, 2.5), st.integers(1, 5))
def test_the_best_under_budgets_keeps_them_and_nothing_within_is_better(rows, most_ms, most_macs):
    chosen = best_under(rows, "accuracy", latency=most_ms, macs=most_macs * 1e8)
    within = counted(rows, ("accuracy", "latency", "macs"))
    within = within[(within["latency_ms"] <= most_ms) & (within["macs"] <= most_macs * 10**8)]
    assert (chosen is None) == within.empty
    if chosen is not None:
        assert chosen["accuracy"] == within["accuracy"].max()
        assert chosen["number"] in set(within["number"])


def test_a_budget_of_accuracy_is_a_least_value():
    rows = table([{"accuracy": a, "latency_ms": c} for a, c in [(50, 1), (60, 2), (70, 4)]])
    assert best_under(rows, "latency", accuracy=55.0)["number"] == 1
    assert best_under(rows, "latency", accuracy=71.0) is None


def test_of_equally_good_trials_the_one_cheaper_in_the_budget_is_best():
    rows = table([{"accuracy": 60.0, "latency_ms": c} for c in (3.0, 1.0, 2.0)])
    assert best_under(rows, latency=5.0)["number"] == 1


@pytest.mark.parametrize("objectives", [("speed",), ("accuracy", "accuracy"), ()])
def test_unknown_repeated_or_no_objectives_are_refused_by_name(objectives):
    with pytest.raises(MetricError, match=r"metric|objectives"):
        front(table([]), objectives)


# --- from the storage to the frame -----------------------------------------------------------------------------------


def test_a_study_becomes_one_row_a_trial_with_all_that_was_measured(tmp_path):
    study = new_study(tmp_path / "x.db")
    add(study, "complete", evaluation(71.5, 2.0, peak_memory_mb=33.0), preset="shvit_s1")
    row = frame(load_study("tiny", str(tmp_path / "x.db"))).iloc[0]
    assert row["number"] == 0
    assert row["status"] == "complete"
    assert row["preset"] == "shvit_s1"
    assert row["what"] == "conv/4 · 32×2 window4 · 64×2 single_head+dw bn · 96×1 conv5"
    assert (row["accuracy"], row["latency_ms"], row["macs"], row["memory_mb"]) == (71.5, 2.0, 10_000_000, 33.0)
    assert row["latency_lo_ms"] < row["latency_ms"] < row["latency_hi_ms"]
    assert (row["seconds"], row["train_seconds"]) == (9.0, 7.5)
    assert abs(datetime.now(timezone.utc) - row["started"]) < timedelta(minutes=1)
    assert row["architecture"]["stages"][0]["width"] == 32


def test_failed_infeasible_interrupted_running_and_waiting_trials_are_rows_too(tmp_path):
    study = new_study(tmp_path / "x.db")
    add(study, "failed", error="OutOfMemoryError: 3 GiB")
    add(study, "infeasible", evaluation(None, None, infeasible="macs 10 M above 5 M"))
    add(study, "interrupted")
    study.ask()
    study.enqueue_trial({})
    study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
    rows = frame(study)
    assert list(rows["status"]) == ["failed", "infeasible", "interrupted", "running", "interrupted"]
    assert rows["error"][0] == "OutOfMemoryError: 3 GiB"
    assert rows["infeasible"][1] == "macs 10 M above 5 M"
    assert rows["macs"][1] == 10_000_000
    assert front(rows).empty
    study.enqueue_trial({})
    assert frame(study)["status"].iloc[-1] == "waiting"


def test_a_duplicate_is_flagged_and_shows_the_values_it_replays(tmp_path):
    study = new_study(tmp_path / "x.db")
    measured = evaluation(70.0, 1.0)
    add(study, "complete", measured, id="same")
    trial = study.ask()
    record = {"id": "same", "architecture": frame(study)["architecture"][0], "status": "duplicate", "duplicate_of": 0}
    trial.set_user_attr("vitscape", record)
    study.tell(trial, [70.0, 1.0])
    add(study, "complete", measured, id="same")  # another driver evaluated it again
    rows = frame(study)
    assert list(rows["duplicate"]) == [False, True, True]
    assert list(rows["accuracy"]) == [70.0, 70.0, 70.0]
    assert list(front(rows)["number"]) == [0]


def test_an_empty_study_has_the_same_columns_and_dtypes_as_a_full_one(tmp_path):
    study = new_study(tmp_path / "x.db")
    empty = frame(study)
    add(study, "complete", evaluation(71.5, 2.0))
    add(study, "failed")
    full = frame(study)
    assert empty.empty
    assert list(empty.columns) == list(COLUMNS)
    pd.testing.assert_series_equal(empty.dtypes, full.dtypes)
    assert front(empty).empty
    assert knee(empty) is None
    assert best_under(empty, latency=1.0) is None
    assert hypervolume(empty).empty
    assert conditions(empty) == ""


def test_the_conditions_of_the_latencies_are_one_line(tmp_path):
    study = new_study(tmp_path / "x.db")
    add(study, "complete", evaluation(71.5, 2.0))
    add(study, "failed")
    assert conditions(frame(study)) == "AMD EPYC · threads 1 · eager · fp32 · batch 1"


def test_a_record_of_another_version_is_one_line(tmp_path):
    study = new_study(tmp_path / "x.db")
    trial = study.ask()
    trial.set_user_attr("vitscape", {"format": "vitscape/trial@2"})
    with pytest.raises(StorageError, match="trial 0: its record cannot be read: format"):
        frame(study)


def test_an_architecture_is_described_by_stem_and_stages():
    stages = [{"width": 96, "depth": 12, "mixer": {"kind": "global", "heads": 3}, "local": False, "norm": "layer"}]
    assert what({"stem": {"kind": "patch", "stride": 16}, "stages": stages}) == "patch/16 · 96×12 global"


def test_a_study_says_its_objectives_and_what_its_accuracy_stands_for(tmp_path):
    study = new_study(tmp_path / "x.db", objectives=("accuracy", "macs"))
    assert study_objectives(study) == ("accuracy", "macs")
    assert study_data(study) == "cues, 8 of 12 epochs"
    assert study_data(new_study(tmp_path / "x.db", "costs", ("latency", "macs"))) == ""


@pytest.mark.parametrize(
    ("name", "stored", "shown"),
    [
        ("macs", 4490566656, "4491 M"),
        ("params", 22140, "0.0221 M"),
        ("latency", 2.3149, "2.31 ms"),
        ("accuracy", 100.0, "100 %"),
        ("accuracy", 0.0, "0 %"),
    ],
)
def test_a_number_is_shown_with_its_unit_and_three_digits(name, stored, shown):
    assert METRICS[name].text(stored) == shown


# --- storages that cannot be used ------------------------------------------------------------------------------------


def refusal(url: str, name: str | None = None) -> str:
    with pytest.raises(StorageError) as caught:
        load_study(name, url)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_reading_a_wrong_path_says_so_and_creates_nothing(tmp_path):
    assert "does not exist" in refusal(str(tmp_path / "wrong.db"))
    assert "does not exist" in refusal(f"sqlite:///{tmp_path}/wrong.db")
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_no_optuna_storage_are_told_apart(tmp_path):
    (tmp_path / "text.db").write_text("not a database, but long enough to look like one\n" * 100)
    (tmp_path / "empty.db").touch()
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE birds (name TEXT)").connection.close()
    assert "not a database" in refusal(str(tmp_path / "text.db"))
    assert "not an Optuna storage" in refusal(str(tmp_path / "empty.db"))
    assert "not an Optuna storage" in refusal(str(tmp_path / "other.db"))
    assert "is a folder" in refusal(str(tmp_path))
    with pytest.raises(StorageError, match="other tables \\(birds\\)"):
        open_storage(str(tmp_path / "other.db"), must_exist=False)


def test_an_unknown_study_names_those_that_are_there(tmp_path):
    path = tmp_path / "x.db"
    new_study(path, "one")
    assert load_study(None, str(path)).study_name == "one"
    new_study(path, "two")
    assert "no study 'three'" in refusal(str(path), "three")
    assert "one, two" in refusal(str(path), "three")
    assert "2 studies; name one with --study: one, two" in refusal(str(path))


def test_a_storage_without_studies_and_a_foreign_study_say_so(tmp_path):
    path = str(tmp_path / "x.db")
    storage = open_storage(path, must_exist=False)
    assert "has no studies yet" in refusal(path)
    optuna.create_study(study_name="theirs", storage=storage)
    assert "'theirs' was not made by vitscape" in refusal(path)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+nodriver://ann:s3cret@localhost/x",
        "postgresql://ann:s3cret@127.0.0.1:1/x?sslpassword=s3cret&connect_timeout=1",
        "postgresql://ann:s3cret@127.0.0.1:port/x",
        "postgresql://ann:p@s3cret@127.0.0.1:1/x",
        "postgresql://ann:p/s3cret@127.0.0.1:1/x",
        "postgresql://ann:p:s3cret@127.0.0.1:1/x",
        "postgresql://ann:p?s3cret@127.0.0.1:1/x",
        "postgresql://127.0.0.1:1/x?user=a@b&password=s3cret",
        "mysql://ann:s3cret@127.0.0.1:1/x",
        "redis://:s3cret@localhost",
        "ann:s3cret@localhost/x",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///runs/x.db?password=s3cret",
        "://",
        "",
    ],
)
def test_an_unusable_url_is_one_line_without_its_password(url):
    for must_exist in (True, False):
        with pytest.raises(StorageError) as caught:
            open_storage(url, must_exist=must_exist)
        assert "s3cret" not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_driver_that_quotes_the_password_is_not_repeated():
    for url in ("postgresql://ann:s3cret@db.lab/x", "postgresql://db.lab/x?password=s3cret"):
        with pytest.raises(StorageError) as caught, storage_errors(url):
            raise RuntimeError("bad token s3cret\nat line 1")
        assert str(caught.value) == f"cannot use {hide_password(url)}: RuntimeError"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("runs/x.db", "runs/x.db"),
        ("sqlite:///runs/x.db", "sqlite:///runs/x.db"),
        ("postgresql://db.lab/x", "postgresql://db.lab/x"),
        ("postgresql://ann@db.lab/x", "postgresql://ann@db.lab/x"),
        ("postgresql://ann:pw@db.lab:5432/x", "postgresql://ann:***@db.lab:5432/x"),
        ("postgresql://db.lab/x?user=ann&password=pw", "postgresql://db.lab/x"),
        ("postgresql://ann:p@w@db.lab/x", "postgresql://ann:***@db.lab/x"),
        ("postgresql://ann:p?w@db.lab/x", "postgresql://***"),
    ],
)
def test_a_shown_url_has_no_password(url, shown):
    assert hide_password(url) == shown


# --- one writer, many readers ----------------------------------------------------------------------------------------


def test_a_reader_cannot_write(tmp_path):
    new_study(tmp_path / "x.db")
    study = load_study("tiny", str(tmp_path / "x.db"))
    with pytest.raises(optuna.exceptions.StorageInternalError):
        study.set_user_attr("note", "written")


def test_paths_with_odd_characters_and_missing_folders_are_written_and_read(tmp_path):
    path = tmp_path / "new folder" / "50% #1?é.db"
    add(new_study(path), "complete", evaluation(70.0, 1.0))
    assert len(frame(load_study(None, str(path)))) == 1
    assert path.exists()


def test_a_written_file_is_in_wal_mode_with_normal_synchronisation(tmp_path):
    storage = open_storage(str(tmp_path / "x.db"), must_exist=False)
    with storage.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 60_000


def test_a_storage_survives_pickling(tmp_path):
    storage = pickle.loads(pickle.dumps(open_storage(str(tmp_path / "x.db"), must_exist=False)))
    with storage.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1


def test_a_long_read_does_not_stop_the_writer(tmp_path):
    study = new_study(tmp_path / "x.db")
    add(study, "complete", evaluation(70.0, 1.0))
    reading = sqlite3.connect(f"file:{tmp_path}/x.db?mode=ro", uri=True)
    reading.execute("BEGIN")
    assert reading.execute("SELECT count(*) FROM trials").fetchone() == (1,)
    writer = threading.Thread(target=lambda: add(study, "complete", evaluation(71.0, 2.0)))
    writer.start()
    writer.join(timeout=10)
    assert not writer.is_alive()
    assert len(frame(load_study("tiny", str(tmp_path / "x.db")))) == 2
    reading.close()


def test_reading_results_loads_no_torch(tmp_path):
    new_study(tmp_path / "x.db")
    code = (
        "import sys; from explorer.results import frame; from explorer.storage import load_study;"
        f"frame(load_study(None, {str(tmp_path / 'x.db')!r})); assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-W", "error", "-c", code], timeout=60).returncode == 0
