"""The reader: that it says what explorer.frame says, while others write, of whatever is in a storage."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timezone
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FixedTrial, TrialState

from explorer.columns.arrays import utc
from explorer.columns.columnar import Head, columns_of_records
from explorer.columns.gather import gathered
from explorer.columns.tables import Tables, ThroughOptuna
from explorer.finals import Final, add_final
from explorer.measured import add_latencies
from explorer.reader import Reading, Storage
from explorer.record import Evaluation, Latency, TrialRecord
from explorer.results import COLUMNS, front, hypervolume
from explorer.results import frame as frame_of_study
from explorer.storage import StorageError, load_study, open_storage
from explorer.structure import columns, columns_of
from search_spaces.space import load_space
from tests.big import made_up_study
from tests.studies import ARCHITECTURE, CONDITIONS, add, evaluation, new_study


def latency(ms: float, verdict: str | None = "ok", **where: Any) -> Latency:
    conditions = CONDITIONS.model_copy(update=where)
    ends = (ms * 0.99, ms * 1.02)
    return Latency(median_ms=ms, ci95_ms=ends, samples=9, stop="converged", conditions=conditions, verdict=verdict)


H200: dict[str, Any] = {"device": "cuda", "device_name": "NVIDIA H200", "precision": "fp16", "threads": None}


def same(read: pd.DataFrame, plain: pd.DataFrame) -> None:
    """Both frames have the same values, but for the architectures and the dtypes of strings."""
    shared = [name for name in plain if name != "architecture"]
    assert list(read.columns[: len(COLUMNS) - 1]) == shared[: len(COLUMNS) - 1]
    assert set(shared) <= set(read.columns)
    for name in shared:
        if str(plain[name].dtype) == "string":
            assert str(read[name].dtype) in ("category", "string")
            assert [None if pd.isna(value) else value for value in read[name]] == [
                None if pd.isna(value) else value for value in plain[name]
            ], name
        else:
            pd.testing.assert_series_equal(read[name], plain[name], check_exact=True)
    assert read.attrs == plain.attrs
    for row, architecture in enumerate(plain["architecture"]):
        known = {} if architecture is None else columns_of(architecture)
        assert set(known) <= set(read.columns)
        for name in columns(int(read["stage_count"].max()) if read["stage_count"].notna().any() else 0):
            value, expected = read[name][row], known.get(name)
            assert pd.isna(value) if expected is None else value == pytest.approx(expected), name


# --- the same as the frame -------------------------------------------------------------------------------------------


def of_every_kind(path: Path) -> None:
    study = new_study(path)
    measured = evaluation(70.0, 1.0, peak_memory_mb=3.5, accuracy_by_epoch=(40.0, 70.0))
    add(study, "infeasible", evaluation(None, None, infeasible="macs 10 M > 5 M"), id="a1")
    add(study, "complete", measured, id="a1", preset="shvit_s1")
    add(study, "complete", evaluation(80.0, 4.0), id="a2")
    add(study, "failed", error='OutOfMemoryError: 3 GiB\ud7ff "quoted" \n', traceback="Traceback\n  File", id="a1")
    add(study, "interrupted", id="a9")
    for answered in (1, 5, 0, 77, 10):  # an answer, an answer to it, to the infeasible one, to none, to a later one
        trial = study.ask()
        record = TrialRecord(id="a1", architecture=ARCHITECTURE, status="duplicate", duplicate_of=answered)
        trial.set_user_attr("vitscape", record.model_dump(mode="json"))
        study.tell(trial, [70.0, 1.0])
    add(study, "complete", evaluation(60.0, 3.0), id="a1", retry_of=4)
    study.tell(study.ask(), state=TrialState.FAIL)
    study.ask()
    study.enqueue_trial({})


def with_latencies(path: Path) -> None:
    study = new_study(path)
    stored = study.user_attrs["vitscape"]
    study.set_user_attr("vitscape", stored | {"conditions": {"runtimes": ["eager", "compile"], "batch_sizes": [1, 32]}})
    for number in range(6):
        libraries = {"onnxruntime": "1.31.1"} if number % 2 else {}
        further = {"compile/b1": latency(0.5, "shared", runtime="compile"), "eager/b32": latency(9, batch_size=32)}
        further = further if number < 4 else {"compile/b32": latency(7, runtime="compile", libraries=libraries)}
        first = latency(1.0 + number, "noisy" if number == 2 else "ok", libraries=libraries)
        measured = evaluation(60.0 + number, None).model_copy(update={"latency": first, "latencies": further})
        add(study, "complete", Evaluation.model_validate(measured.model_dump()), id=f"a{number % 5}")
    add_latencies(study, "a0", [latency(0.1, **H200), latency(0.2, "throttled", **H200), latency(8.5, batch_size=32)])
    add_latencies(study, "a1", [latency(0.3, **H200, torch="2.14.0"), latency(7.0, "noisy")])
    add_latencies(study, "a2", [latency(0.3, **H200), latency(5.0, "shared")])
    add_latencies(study, "gone", [latency(0.3, **H200, runtime="cuda_graph")])


def with_finalists(path: Path) -> None:
    of_every_kind(path)
    study = load_study(None, str(path))
    study = optuna.load_study(study_name=study.study_name, storage=open_storage(str(path), must_exist=False))
    for name, number, accuracy in (("a1", 1, 91.5), ("a2", 2, None), ("gone", 99, 50.0)):
        status: Any = "failed" if accuracy is None else "complete"
        add_final(study, Final(id=name, number=number, status=status, accuracy=accuracy))


def of_an_early_version(path: Path) -> None:
    study = new_study(path)
    stored = study.user_attrs["vitscape"]
    study.set_user_attr("vitscape", stored | {"conditions": {"runtime": "eager", "batch_size": 1, "protocol": 1}})
    for verdict in (None, "ok"):
        measured = evaluation(50.0, None).model_copy(update={"latency": latency(1.0, verdict)})
        record = TrialRecord(id="a1", architecture=ARCHITECTURE, status="complete", evaluation=measured)
        dumped = record.model_dump(mode="json", exclude_defaults=True) | {"status": "complete"}
        trial = study.ask()
        trial.set_user_attr("vitscape", dumped)
        study.tell(trial, [50.0, 1.0])


def written_by_another_hand(path: Path) -> None:
    study = new_study(path)
    for number in range(3):
        measured = evaluation(50.0 + number, 1.0)
        record = TrialRecord(id=f"a{number}", architecture=ARCHITECTURE, status="complete", evaluation=measured)
        stored: dict[str, Any] = record.model_dump(mode="json")
        stored["evaluation"]["macs"] = 5.0 if number else "7"  # pydantic takes both for whole numbers
        stored["evaluation"]["accuracy"] = float("nan") if number == 2 else 50
        stored["evaluation"]["latency"] = dict(reversed(stored["evaluation"]["latency"].items()))
        trial = study.ask()
        trial.set_user_attr("vitscape", stored)
        study.tell(trial, [50.0, 1.0])


def without_trials(path: Path) -> None:
    new_study(path)


def of_made_up(trials: int, **how: Any) -> Callable[[Path], None]:
    return lambda path: shutil.copy(made_up_study(trials, **how), path) and None


STUDIES: dict[str, Callable[[Path], None]] = {
    "every kind": of_every_kind,
    "latencies": with_latencies,
    "finalists": with_finalists,
    "early version": of_an_early_version,
    "another hand": written_by_another_hand,
    "no trials": without_trials,
    "made up": of_made_up(200),
    "hybrid": of_made_up(60, space="hybrid_224", objectives=("accuracy", "latency", "macs")),
    "failed": of_made_up(30, failed=True),
}
of_all = pytest.mark.parametrize("make", STUDIES.values(), ids=STUDIES.keys())


@of_all
def test_a_reading_is_the_frame(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "x.db")
    storage, study = Storage(str(tmp_path / "x.db")), load_study(None, str(tmp_path / "x.db"))
    reading = storage.read(study.study_name)
    same(reading.frame, frame_of_study(study))
    assert reading.counts == storage.counts(study.study_name)
    assert reading.objectives == tuple(study.user_attrs["vitscape"]["objectives"])
    finished = [trial.datetime_complete for trial in study.get_trials(deepcopy=False)]
    assert reading.frame["finished"].isna().tolist() == [time is None for time in finished]
    assert len(front(reading.frame, reading.objectives)) == len(front(frame_of_study(study), reading.objectives))


@of_all
def test_tables_of_an_unknown_version_are_read_through_optuna(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "x.db")
    known = Storage(str(tmp_path / "x.db"))
    (name,) = known.studies()["name"]
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.execute("UPDATE version_info SET schema_version = 99")
    connection.close()
    other = Storage(str(tmp_path / "x.db"))
    assert isinstance(known.source, Tables)
    assert isinstance(other.source, ThroughOptuna)
    reading, expected = other.read(name), known.read(name)
    pd.testing.assert_frame_equal(reading.frame, expected.frame)
    pd.testing.assert_frame_equal(other.studies(), known.studies())
    assert other.counts(name).by_state == known.counts(name).by_state
    assert other.read(name, reading) is reading
    numbers = expected.frame["number"][:9].tolist()
    pd.testing.assert_frame_equal(other.curves(name, numbers), known.curves(name, numbers))
    assert [other.trial(name, number) for number in numbers] == [known.trial(name, number) for number in numbers]


def test_an_answered_trial_shows_the_values_of_an_earlier_one_alone(tmp_path: Path) -> None:
    of_every_kind(tmp_path / "x.db")
    frame = Storage(str(tmp_path / "x.db")).read("tiny").frame
    assert frame["accuracy"].fillna(0).tolist() == [0, 70, 80, 0, 0, 70, 70, 0, 0, 0, 60, 0, 0, 0]
    assert frame["infeasible"].notna().tolist() == [number in (0, 7) for number in range(14)]
    assert np.flatnonzero(frame["duplicate"]).tolist() == [3, 5, 6, 7, 8, 9, 10]


@pytest.mark.parametrize("space", ["tiny_32", "hybrid_224"])
def test_records_as_a_search_writes_them_are_parsed_by_the_thousand(
    space: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("explorer.columns.columnar._columns_of_doubtful")  # looks at each by itself: slow
    assert len(Storage(str(made_up_study(60, space=space))).read("made_up").frame) == 60


def record_of(draw: st.DrawFn, number: int) -> TrialRecord | None:
    status = draw(st.sampled_from(["complete", "complete", "duplicate", "infeasible", "failed", None]))
    if status is None:
        return None
    own: Evaluation | None = None
    if status in ("complete", "infeasible"):
        verdicts = st.sampled_from(["ok", "noisy", "shared"])
        first = draw(st.none() | verdicts.map(lambda verdict: latency(number + 1.0, verdict)))
        further = {"eager/b32": latency(number + 50.0, draw(verdicts), batch_size=32)} if draw(st.booleans()) else {}
        own = evaluation(float(number), None).model_copy(update={"latency": first, "latencies": further})
    answered = draw(st.none() | st.integers(0, 9)) if status == "duplicate" else None
    name = draw(st.sampled_from("abc"))
    return TrialRecord(id=name, architecture=ARCHITECTURE, status=status, evaluation=own, duplicate_of=answered)


@st.composite
def recorded(draw: st.DrawFn) -> tuple[list[TrialRecord | None], dict[str, tuple[Latency, ...]]]:
    records = [record_of(draw, number) for number in range(draw(st.integers(0, 9)))]
    kinds = st.sampled_from([{}, {"batch_size": 32}, H200, {"torch": "2.14.0"}])
    one = st.builds(lambda ms, verdict, where: latency(ms, verdict, **where), st.integers(100, 200), VERDICTS, kinds)
    return records, draw(st.dictionaries(st.sampled_from("abcd"), st.lists(one, max_size=3).map(tuple), max_size=3))


VERDICTS = st.sampled_from(["ok", "ok", "noisy", "throttled"])


@given(recorded())
def test_what_follows_of_several_trials_is_as_one_would_do_it_by_hand(
    given: tuple[list[TrialRecord | None], dict[str, tuple[Latency, ...]]],
) -> None:
    records, added = given
    rows, nothing = len(records), [None] * len(records)
    own = columns_of_records(Head(range(rows), range(rows), ["COMPLETE"] * rows, nothing, nothing), records)
    found = gathered(own, ["eager/b1"], added)
    evaluations: dict[int, Evaluation] = {}
    complete: set[str] = set()
    for number, record in enumerate(records):
        again = record is not None and (record.status == "duplicate" or record.id in complete)
        assert found.columns["duplicate"][number] == again
        if record is None:
            continue
        complete |= {record.id} if record.status == "complete" else set()
        shown = record.evaluation
        if shown is None and record.duplicate_of is not None:
            shown = evaluations.get(record.duplicate_of)
        if shown is not None:
            evaluations[number] = shown
        assert pd.isna(found.columns["macs"][number]) == (shown is None)
        assert np.nan_to_num(found.columns["accuracy"][number], nan=-1) == (-1 if shown is None else shown.accuracy)
        kept: dict[tuple[str, ...], Latency] = {}
        if shown is not None:
            kept = {one.comparable: one for one in (shown.latency, *shown.latencies.values()) if one is not None}
        for one in added.get(record.id, ()):
            before = kept.get(one.comparable)
            if one.verdict == "ok" or before is None or before.verdict != "ok":
                kept[one.comparable] = one
        columns = [name for name in found.columns if name.partition("@")[0] == "latency_ms"]
        values = [found.columns[name][number] for name in columns]
        assert sorted(value for value in values if not np.isnan(value)) == sorted(
            one.median_ms for one in kept.values()
        )


# --- what changes ----------------------------------------------------------------------------------------------------


def again(storage: Storage, before: Reading) -> Reading:
    """What is read on top of `before`, which has to be what is read from the beginning."""
    found, anew = storage.read("tiny", before), Storage(storage.url).read("tiny")
    pd.testing.assert_frame_equal(found.frame, anew.frame)
    assert found.frame.attrs == anew.frame.attrs
    assert found.counts == anew.counts == storage.counts("tiny") == Storage(storage.url).counts("tiny")
    return found


def test_what_is_new_or_was_unfinished_is_read_on_top_of_what_was_read(tmp_path: Path) -> None:
    study, storage = new_study(tmp_path / "x.db"), Storage(str(tmp_path / "x.db"))
    reading = again(storage, storage.read("tiny"))
    first, second = study.ask(), study.ask()
    reading = again(storage, reading)
    assert (reading.counts.running, reading.behind(storage.counts("tiny"))) == (2, 0)
    add(study, "complete", evaluation(70.0, 1.0), id="same")
    assert reading.behind(storage.counts("tiny")) == 1
    reading = again(storage, reading)
    for trial in (second, first):  # the earlier one is the last to finish, and makes a duplicate of what was complete
        record = TrialRecord(id="same", architecture=ARCHITECTURE, status="complete", evaluation=evaluation(60.0, 2.0))
        trial.set_user_attr("vitscape", record.model_dump(mode="json"))
        reading = again(storage, reading)
        study.tell(trial, [60.0, 2.0])
        reading = again(storage, reading)
    assert reading.frame["duplicate"].tolist() == [False, True, True]
    study.enqueue_trial({})
    reading = again(storage, reading)
    further = evaluation(80.0, 4.0).model_copy(update={"latencies": {"compile/b1": latency(3.0, runtime="compile")}})
    add(study, "complete", Evaluation.model_validate(further.model_dump()))
    reading = again(storage, reading)
    assert reading.frame["latency_ms@compile/b1"].tolist()[3:] == [3.0]
    assert storage.read("tiny", reading) is reading


def test_only_what_is_new_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, storage = new_study(tmp_path / "x.db"), Storage(str(tmp_path / "x.db"))
    for _ in range(5):
        add(study, "complete", evaluation(70.0, 1.0))
    reading = storage.read("tiny")
    asked: list[int] = []
    through = storage.source.trials
    monkeypatch.setattr(
        storage.source, "trials", lambda study_id, after: asked.append(after) or through(study_id, after)
    )
    add(study, "complete", evaluation(71.0, 1.0))
    assert len(storage.read("tiny", reading).frame) == 6
    assert asked == [5]


def test_latencies_attached_later_are_new_as_well(tmp_path: Path) -> None:
    study, storage = new_study(tmp_path / "x.db"), Storage(str(tmp_path / "x.db"))
    add(study, "complete", evaluation(70.0, 1.0), id="a0")
    reading = storage.read("tiny")
    add_latencies(study, "a0", [latency(0.25, **H200)])
    assert storage.counts("tiny") != reading.counts
    reading = again(storage, reading)
    assert reading.frame["latency_ms@nvidia_h200/eager/fp16/b1"].tolist() == [0.25]


def test_an_earlier_reading_is_left_as_it_was(tmp_path: Path) -> None:
    study, storage = new_study(tmp_path / "x.db"), Storage(str(tmp_path / "x.db"))
    add(study, "complete", evaluation(70.0, 1.0), id="a0")
    running = study.ask()
    before = storage.read("tiny")
    kept = before.frame.copy(deep=True)
    study.tell(running, state=TrialState.FAIL)
    add_latencies(study, "a0", [latency(0.5, torch=CONDITIONS.torch)])
    storage.read("tiny", before)
    pd.testing.assert_frame_equal(before.frame, kept)


@pytest.mark.parametrize("trials", [1, 3])
def test_a_study_made_anew_is_read_from_the_beginning(tmp_path: Path, trials: int) -> None:
    path = tmp_path / "x.db"
    study, storage = new_study(path), Storage(str(path))
    for accuracy in (10.0, 20.0):
        add(study, "complete", evaluation(accuracy, 1.0))
    before = storage.read("tiny")
    optuna.delete_study(study_name="tiny", storage=open_storage(str(path), must_exist=False))
    with pytest.raises(StorageError, match="no study 'tiny'"):
        storage.read("tiny", before)
    study = new_study(path)
    for _ in range(trials):
        add(study, "complete", evaluation(90.0, 1.0))
    assert before.behind(storage.counts("tiny")) == trials
    assert again(storage, before).frame["accuracy"].tolist() == [90.0] * trials


def test_a_file_that_takes_the_place_of_another_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    add(new_study(path), "complete", evaluation(10.0, 1.0))
    storage = Storage(str(path))
    storage.read("tiny")
    path.unlink()
    with pytest.raises(StorageError, match="cannot use"):
        storage.counts("tiny")
    assert not path.exists()
    study = new_study(path)
    add(study, "complete", evaluation(90.0, 1.0))
    assert storage.read("tiny").frame["accuracy"].tolist() == [90.0]


# --- what cannot be read ---------------------------------------------------------------------------------------------


def test_a_broken_record_is_a_failed_trial_and_the_rest_is_read(tmp_path: Path) -> None:
    study = new_study(tmp_path / "x.db")
    good = json.loads(TrialRecord(id="a", architecture=ARCHITECTURE, status="failed").model_dump_json())
    measured = json.loads(evaluation(70.0, 1.0).model_dump_json())
    broken: list[Any] = [
        good | {"format": "vitscape/trial@2"},
        good | {"status": "odd"},
        good | {"architecture": {"stages": 5}},
        good | {"architecture": {"stem": {"kind": "conv", "stride": 4}, "stages": []}},
        good | {"evaluation": {key: value for key, value in measured.items() if key != "macs"}},
        good | {"evaluation": measured | {"latency": measured["latency"] | {"ci95_ms": [1.0]}}},
        "text",
        {},
    ]
    add(study, "complete", evaluation(70.0, 1.0))
    for stored in broken:
        trial = study.ask()
        trial.set_user_attr("vitscape", stored)
        study.tell(trial, state=TrialState.FAIL)
    add(study, "complete", evaluation(71.0, 2.0))
    storage = Storage(str(tmp_path / "x.db"))
    frame = storage.read("tiny").frame
    assert frame["status"].tolist() == ["complete", *["failed"] * len(broken), "complete"]
    assert frame["accuracy"].tolist()[::9] == [70.0, 71.0]
    assert frame["id"].isna().tolist() == [False, *[True] * len(broken), False]
    reasons = frame["error"].tolist()[1:-1]
    assert all(reason.startswith("its record cannot be read: ") and "\n" not in reason for reason in reasons)
    assert [word in reason for word, reason in zip(("format", "status", "architecture"), reasons, strict=False)] == [
        True
    ] * 3
    assert len(hypervolume(frame)) == len(frame)
    for number in range(1, 9):
        with pytest.raises(StorageError, match=f"^trial {number}: its record cannot be read: [^\n]+$"):
            storage.trial("tiny", number)
    assert storage.curves("tiny", range(10)).empty


def test_text_that_is_no_json_is_a_broken_record_too(tmp_path: Path) -> None:
    study = new_study(tmp_path / "x.db")
    for _ in range(3):
        add(study, "complete", evaluation(70.0, 1.0))
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.execute("UPDATE trial_user_attributes SET value_json = '{\"half' WHERE trial_id = 2")
        connection.execute("UPDATE trial_user_attributes SET value_json = 'null' WHERE trial_id = 3")
    connection.close()
    frame = Storage(str(tmp_path / "x.db")).read("tiny").frame
    assert frame["status"].tolist() == ["complete", "failed", "failed"]
    assert "cannot be read" in frame["error"][1]
    assert pd.isna(frame["error"][2])


def test_studies_of_others_are_listed_with_the_reason_why_they_are_not_read(tmp_path: Path) -> None:
    url = str(tmp_path / "x.db")
    assert Storage(str(made_up_study(30))).studies()["readable"].all()
    add(new_study(tmp_path / "x.db"), "complete", evaluation(70.0, 1.0))
    writable = open_storage(url, must_exist=False)
    optuna.create_study(study_name="theirs", storage=writable).optimize(lambda trial: 1.0, n_trials=2)
    optuna.create_study(study_name="later", storage=writable).set_user_attr("vitscape", {"format": "vitscape/study@9"})
    optuna.create_study(study_name="odd", storage=writable).set_user_attr("vitscape", 5)
    storage = Storage(url)
    found = storage.studies()
    assert found["name"].tolist() == ["tiny", "theirs", "later", "odd"]
    assert found["trials"].tolist() == [1, 2, 0, 0]
    assert found["readable"].tolist() == [True, False, False, False]
    assert [("not made by vitscape" in reason, "@9" in reason) for reason in found["reason"]] == [
        *((False, False), (True, False), (False, True), (False, False))
    ]
    assert found["first"].notna().tolist() == [True, True, False, False]
    for name in ("theirs", "later", "odd"):
        with pytest.raises(StorageError, match=f"study '{name}'"):
            storage.read(name)


def test_a_storage_without_studies_has_an_empty_table_of_the_same_columns(tmp_path: Path) -> None:
    open_storage(str(tmp_path / "x.db"), must_exist=False)
    empty = Storage(str(tmp_path / "x.db")).studies()
    assert empty.empty
    assert empty.dtypes.equals(Storage(str(made_up_study(30))).studies().dtypes)


def test_looking_creates_and_changes_nothing(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="does not exist"):
        Storage(str(tmp_path / "wrong.db"))
    assert list(tmp_path.iterdir()) == []
    shutil.copy(made_up_study(30), tmp_path / "x.db")
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    connection.close()
    before = (tmp_path / "x.db").read_bytes()
    storage = Storage(str(tmp_path / "x.db"))
    storage.read("made_up", storage.read("made_up"))
    storage.studies(), storage.counts("made_up"), storage.trial("made_up", 3), storage.curves("made_up", [1, 2])
    assert (tmp_path / "x.db").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["x.db"]


# --- one trial, and times --------------------------------------------------------------------------------------------


def test_records_and_curves_of_trials_are_read_on_demand(tmp_path: Path) -> None:
    study = new_study(tmp_path / "x.db")
    add(study, "failed", error="RuntimeError: no", traceback="Traceback\n  line")
    for accuracy in (60.0, 70.0):
        add(study, "complete", evaluation(accuracy, 1.0, accuracy_by_epoch=(accuracy / 2, accuracy)))
    study.ask()
    storage = Storage(str(tmp_path / "x.db"))
    for _ in range(2):  # without and with a reading, which knows their ids
        failed = storage.trial("tiny", 0)
        assert failed is not None
        assert failed.traceback == "Traceback\n  line"
        assert storage.trial("tiny", 3) is None
        assert storage.trial("tiny", 99) is None
        curves = storage.curves("tiny", [2, 0, 1, 99, 2])
        assert curves.to_dict("list") == {
            "number": [2, 2, 1, 1],
            "epoch": [1, 2, 1, 2],
            "accuracy": [35.0, 70.0, 30.0, 60.0],
        }
        storage.read("tiny")
    assert storage.curves("tiny", []).dtypes.equals(curves.dtypes)


def test_times_of_a_machine_with_summer_time_are_read_as_python_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    hours = pd.date_range("2026-03-28", "2026-10-27", freq="17min").to_pydatetime().tolist()
    try:
        for zone in ("Europe/Berlin", "Australia/Lord_Howe", "UTC"):
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            expected = pd.to_datetime([hour.astimezone(timezone.utc) for hour in hours], utc=True)
            assert (pd.DatetimeIndex(utc([*hours, None])[:-1]) == expected).all()
    finally:
        monkeypatch.undo()
        time.tzset()


# --- many trials, and a writer ---------------------------------------------------------------------------------------


def test_a_made_up_study_is_one_that_optuna_and_a_search_could_have_written() -> None:
    study = load_study("made_up", str(made_up_study(200)))
    space = load_space("tiny_32")
    trials = study.get_trials(deepcopy=False)
    frame = frame_of_study(study)
    for trial, row in zip(trials, frame.itertuples(), strict=True):
        assert trial.number == row.number
        if trial.state.is_finished():
            assert space.suggest(FixedTrial(trial.params)).id == row.id
        if trial.state == TrialState.COMPLETE:
            assert trial.values == [row.accuracy, row.latency_ms]
    assert {"complete", "infeasible", "failed", "duplicate", "running", "waiting"} <= set(frame["status"])
    assert {trial.number for trial in study.best_trials} >= set(front(frame)["number"])
    assert frame["started"].dropna().is_monotonic_increasing
    assert all(trial.system_attrs.keys() == {"constraints:macs"} for trial in trials if trial.state.is_finished())


WRITER = """
import sys
import optuna
from tests.studies import add, evaluation
optuna.logging.set_verbosity(optuna.logging.WARNING)
study = optuna.load_study(study_name="tiny", storage=sys.argv[1])
for number in range(60):
    add(study, "complete", evaluation(50.0 + number % 40, 1.0 + number % 7), id=f"b{number % 50}")
"""


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
def test_a_writer_at_full_speed_never_waits_for_the_reader(tmp_path: Path, journal: str) -> None:
    path = tmp_path / "x.db"
    study = new_study(path)
    for number in range(40):
        add(study, "complete", evaluation(60.0, 1.0), id=f"b{number}")
    study._storage._backend.engine.dispose()  # type: ignore[attr-defined]
    with sqlite3.connect(path) as connection:
        assert connection.execute(f"PRAGMA journal_mode={journal}").fetchone() == (journal.lower(),)
    connection.close()
    command = [sys.executable, "-c", WRITER, f"sqlite:///{path}"]  # Optuna's own connection, which waits for 5 s
    writer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    storage, readings = Storage(str(path)), 0
    before = storage.read("tiny")
    while writer.poll() is None:
        storage.counts("tiny")
        before = storage.read("tiny", before)
        readings += 1
        assert len(storage.read("tiny").frame) >= len(before.frame)
    _, told = writer.communicate(timeout=60)
    assert writer.returncode == 0, told
    assert readings > 3
    final = storage.read("tiny", before)
    assert len(final.frame) == 100
    same(final.frame, frame_of_study(load_study("tiny", str(path))))
    assert final.counts == storage.counts("tiny")


def test_reading_loads_no_torch() -> None:
    code = (
        "import sys; from explorer.reader import Storage;"
        f"Storage({str(made_up_study(30))!r}).read('made_up'); assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-W", "error", "-c", code], timeout=60).returncode == 0
