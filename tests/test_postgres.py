"""Searches whose study lies in PostgreSQL: passwords, drivers, a server that is gone for a while.

Skipped where PostgreSQL is not installed (Debian's package postgresql), but for what needs no server.
"""

from __future__ import annotations

import gc
import inspect
import itertools
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import optuna
import pandas as pd
import psycopg
import pytest
import sqlalchemy
import sqlalchemy.exc
import sqlalchemy.orm
from optuna.distributions import IntDistribution
from optuna.storages import _CachedStorage
from optuna.trial import TrialState

from explorer import patient_storage, results, storage_url
from explorer.last import recall
from explorer.patient_storage import PATIENT, PatientStorage, is_gone, show_waits
from explorer.reader import Storage
from explorer.storage import StorageError, hide_password, load_study, open_engine, open_storage, study_key
from explorer.storage_url import connection
from tests.minis import MINI, Run, environment
from tests.postgres import PASSWORD, USER, Server, binaries, launched
from tests.studies import add, evaluation, new_study
from tests.test_reader import of_every_kind, same

pytestmark = [
    pytest.mark.xdist_group("postgres"),  # they share one server, and take it away from each other
    pytest.mark.filterwarnings("ignore:.*deleted while still open:ResourceWarning"),  # Optuna leaves its pools open
]
KEPT = ("VITSCAPE_STORAGE", "VITSCAPE_STORAGE_PASSWORD", "VITSCAPE_STORAGE_PASSWORD_FILE", "PGPASSWORD")
OPTIONS = ("mini.yaml", "--study", "s", "--objectives", "macs,params", "--sampler", "random")


@pytest.fixture(scope="module")
def installed() -> Iterator[Server]:
    programs = binaries()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with launched(programs) as server:
        yield server


@pytest.fixture
def server(installed: Server) -> Iterator[Server]:
    """The server, up, whatever the test before has done to it."""
    installed.start()
    yield installed
    gc.collect()  # the pools left open, before a test that takes a warning for an error


@pytest.fixture
def url(server: Server) -> str:
    """A database of the test's own."""
    return server.url()


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VITSCAPE_LEASES", str(tmp_path / "leases"))
    for name in KEPT:
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "mini.yaml").write_text(MINI)


def searched(run: Run, url: str, trials: int) -> pd.DataFrame:
    """The trials of a search of the command line, after asserting that it did what was asked and lost nothing."""
    status, _, err = run("search", *OPTIONS, "--storage", url, "--trials", str(trials))
    assert status == 0, err
    return sound(url, trials)


def sound(url: str, trials: int) -> pd.DataFrame:
    """The trials of a study, after asserting that so many are complete, and that none is lost or there twice."""
    study = load_study("s", url)
    frame = results.frame(study)
    complete = frame[frame["status"] == "complete"]
    assert len(complete) == trials
    assert complete["id"].is_unique
    assert [trial.number for trial in study.trials] == list(range(len(study.trials)))
    assert not study.get_trials(states=(TrialState.WAITING,))
    return frame


def soon(what: Callable[[], bool], seconds: float = 60) -> None:
    """Returns as soon as something holds."""
    ends = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < ends
        time.sleep(0.05)


def complete(url: str) -> int:
    """How many trials a database has that are complete, be there tables or none."""
    with psycopg.connect(url) as connection:
        try:
            return connection.execute("SELECT count(*) FROM trials WHERE state = 'COMPLETE'").fetchone()[0]
        except psycopg.errors.UndefinedTable:
            return 0


# --- a study in a database -------------------------------------------------------------------------------------------


def test_a_search_into_postgresql_is_continued_and_read_by_every_verb(run: Run, url: str, tmp_path: Path) -> None:
    first = searched(run, url, 4)
    assert list(searched(run, url, 7)["id"][:4]) == list(first["id"][:4])
    assert recall(None, None) == ("s", url)
    status, out, _ = run("front", "--json")  # of the study last used here
    assert status == 0
    assert {row["number"] for row in json.loads(out)} <= set(range(len(load_study("s", url).trials)))
    assert len(json.loads(run("trials", "--storage", url, "--json")[1])) == len(load_study("s", url).trials)
    assert run("export", "--storage", url, "--front", "--out", "pareto")[0] == 0
    assert list((tmp_path / "pareto").glob("*.yaml"))


def test_the_reader_says_what_the_frame_says_and_reads_on(url: str) -> None:
    of_every_kind(url)  # type: ignore[arg-type]
    storage = Storage(url)
    reading = storage.read("tiny")
    assert reading.frame.attrs.pop("remote")
    same(reading.frame, results.frame(load_study("tiny", url)))
    study = optuna.load_study(study_name="tiny", storage=open_storage(url, must_exist=False))
    for _ in range(2):  # the one that is enqueued, and a new one
        add(study, "complete", evaluation(9, 9))
    later = storage.read("tiny", before=reading)
    later.frame.attrs.pop("remote")
    assert len(later.frame) == len(reading.frame) + 1
    same(later.frame, results.frame(load_study("tiny", url)))
    assert storage.read("tiny", before=later) is later


def test_drivers_that_begin_at_one_moment_make_the_tables_together(url: str) -> None:
    with ThreadPoolExecutor(6) as threads:
        opened = list(threads.map(lambda _: open_storage(url, must_exist=False), range(6)))
    assert all(storage.get_all_studies() == [] for storage in opened)


def test_an_empty_database_has_no_studies_and_gets_none_by_reading(url: str) -> None:
    for _ in range(2):
        with pytest.raises(StorageError, match="has no studies yet; vitscape search makes one"):
            Storage(url)


# --- a server that is gone -------------------------------------------------------------------------------------------


def test_a_search_goes_on_when_its_server_has_come_back(
    run: Run, url: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, done, coming = sqlalchemy.orm.Session.commit, itertools.count(1), list[threading.Timer]()
    ways = {100: server.stop, 400: server.kill}  # after so many commits of about 800

    def cut(session: sqlalchemy.orm.Session) -> None:
        commit(session)
        if (take_away := ways.get(next(done))) is not None:
            take_away()
            coming.append(threading.Timer(2, server.start))
            coming[-1].start()

    monkeypatch.setattr(sqlalchemy.orm.Session, "commit", cut)
    status, _, err = run("search", *OPTIONS, "--storage", url, "--trials", "45")
    for back in coming:
        back.join()
    assert status == 0, err
    frame = sound(url, 45)
    assert err.count("the storage is gone, trying again") >= 2
    assert searched(run, url, 46)["id"][: len(frame)].equals(frame["id"])
    assert not load_study("s", url).get_trials(states=(TrialState.RUNNING,))


@pytest.fixture
def unheard(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Has every n-th commit go through and its answer be lost; none for 0."""
    monkeypatch.setattr(patient_storage, "FIRST_PAUSE", 0.001)
    commit, done = sqlalchemy.orm.Session.commit, [0]

    def start(every: int) -> None:
        def cut(session: sqlalchemy.orm.Session) -> None:
            commit(session)
            done[0] += 1
            if every and done[0] % every == 0:
                raise sqlalchemy.exc.OperationalError("COMMIT", {}, Exception("the answer is lost"))

        monkeypatch.setattr(sqlalchemy.orm.Session, "commit", cut)

    return start


def test_a_search_whose_every_fifth_answer_is_lost_loses_and_doubles_nothing(
    run: Run, url: str, unheard: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    searched(run, url, 1)
    unheard(5)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # Optuna's own, when it makes a trial again
    status, _, err = run("search", *OPTIONS, "--storage", url, "--trials", "8")
    unheard(0)
    assert status == 0, err
    sound(url, 8)


def test_a_write_that_went_through_unheard_is_answered_as_if_it_had_been_heard(
    url: str, unheard: Callable[[int], None]
) -> None:
    study = new_study(url)  # type: ignore[arg-type]
    storage = open_storage(url, must_exist=False)
    study.enqueue_trial({"x": 3})
    unheard(2)  # every call here is one commit, and its repeat, or the look whether it has to be repeated, another
    (queued,) = storage.get_all_trials(1)
    assert storage.set_trial_state_values(queued._trial_id, TrialState.RUNNING)
    for _ in range(2):
        storage.set_trial_param(queued._trial_id, "x", 3.0, IntDistribution(0, 9))
        storage.set_trial_user_attr(queued._trial_id, "a", 1)
    assert storage.set_trial_state_values(queued._trial_id, TrialState.COMPLETE, [1.0, float("inf")])
    made = [storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE], f"s{i}") for i in range(2)]
    unheard(0)
    assert made == [2, 3]
    told = storage.get_trial(queued._trial_id)
    assert (told.state, told.values, told.params, told.user_attrs) == (
        TrialState.COMPLETE,
        [1.0, float("inf")],
        {"x": 3},
        {"a": 1},
    )
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        storage.set_trial_state_values(queued._trial_id, TrialState.FAIL)


def test_a_trial_that_another_driver_took_from_the_queue_is_not_taken_again(
    url: str, unheard: Callable[[int], None]
) -> None:
    study = new_study(url)  # type: ignore[arg-type]
    study.enqueue_trial({"x": 3})
    one, other = (open_storage(url, must_exist=False) for _ in range(2))
    (queued,) = one.get_all_trials(1)
    assert one.set_trial_state_values(queued._trial_id, TrialState.RUNNING)
    assert not other.set_trial_state_values(queued._trial_id, TrialState.RUNNING)
    time.sleep(patient_storage.CLOCK_STEP.total_seconds())
    unheard(3)
    other.get_all_trials(1), other.get_all_trials(1)
    assert not other.set_trial_state_values(queued._trial_id, TrialState.RUNNING)  # tried twice


def test_patience_ends_in_one_line_and_a_reader_has_none(
    url: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patient_storage, "PATIENCE_SECONDS", 1.0)
    study = new_study(url)  # type: ignore[arg-type]
    reading, waits = Storage(url), list[tuple[float, str]]()
    show_waits(study, lambda waited, why: waits.append((waited, why)))
    server.stop()
    with pytest.raises(StorageError, match=r"^cannot use postgresql://.*; gone for 1 s$"):
        study.ask()
    assert waits[0][0] == 0
    assert 0.4 < waits[-1][0] < 3
    assert "Connection refused" in waits[-1][1]
    began = time.monotonic()
    with pytest.raises(optuna.exceptions.StorageInternalError):  # what has waited in vain hears it at once
        study.get_trials()
    with pytest.raises(StorageError):
        reading.read("tiny")
    assert time.monotonic() - began < 0.9
    server.start()
    assert study.ask().number == 0
    server.stop()
    with pytest.raises(StorageError, match="gone for 1 s"):  # and patient again
        study.ask()


def test_ctrl_c_ends_a_wait_of_any_thread_and_what_is_done_while_leaving_waits_shortly(
    url: str, server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(patient_storage, "LEAVING_SECONDS", 0.3)
    study = new_study(url)  # type: ignore[arg-type]
    server.stop()
    began = time.monotonic()
    with ThreadPoolExecutor(1) as thread:
        beat = thread.submit(study.set_user_attr, "beat", 1)
        threading.Timer(1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            study.ask()
        for read in (study.get_trials, beat.result):
            with pytest.raises(StorageError):
                read()
    assert time.monotonic() - began < 6
    assert "the storage is gone, trying again for 10 minutes" in caplog.text  # where nothing else shows it


def test_a_search_that_holds_ctrl_c_back_while_it_ends_waits_shortly(
    url: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patient_storage, "LEAVING_SECONDS", 0.3)
    study = new_study(url)  # type: ignore[arg-type]
    server.stop()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(StorageError, match=r"gone for [01] s$"):
            study.get_trials()
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_error_that_a_wait_would_not_mend_is_not_waited_on(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = open_storage(url, must_exist=False)
    monkeypatch.setattr(storage, "on_wait", None)
    with pytest.raises(KeyError):
        storage.get_study_directions(77)
    with psycopg.connect(url) as connection:
        connection.execute("DROP TABLE trial_values CASCADE")
    new = optuna.create_study(storage=storage)
    new.enqueue_trial({"x": 1})
    with pytest.raises(optuna.exceptions.StorageInternalError):
        new.get_trials()
    assert not is_gone(ValueError())


def test_every_call_that_optuna_makes_is_patient() -> None:
    made = set(re.findall(r"self\._backend\.(\w+)\(", inspect.getsource(_CachedStorage)))
    heartbeats = {name for name in made if "heartbeat" in name or name == "_get_stale_trial_ids"}
    own = {name for name in vars(PatientStorage) if not name.startswith("__")}
    assert made - heartbeats - own == {"get_all_trials"} & made
    assert set(PATIENT) <= own


def test_a_patient_storage_survives_pickling_and_ends_transactions_that_nobody_goes_on_with(url: str) -> None:
    storage = open_storage(url, must_exist=False)
    storage.on_wait = lambda waited, why: None  # what cannot be pickled
    for one in (storage, pickle.loads(pickle.dumps(storage))):
        with one.engine.connect() as connected:
            assert connected.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar() == "30s"


def test_a_driver_that_was_killed_is_continued_without_losing_a_trial(run: Run, url: str, tmp_path: Path) -> None:
    words = ["search", *OPTIONS, "--storage", url, "--trials", "40"]
    driver = subprocess.Popen([sys.executable, "-m", "explorer.cli", *words], env=environment(tmp_path))
    soon(lambda: complete(url) >= 3)
    driver.kill()
    driver.wait()
    before = load_study("s", url).get_trials(states=(TrialState.COMPLETE,))
    assert 3 <= len(before) < 40
    frame = searched(run, url, len(before) + 3)
    assert set(frame[frame["status"] == "complete"]["number"]) > {trial.number for trial in before}
    assert not load_study("s", url).get_trials(states=(TrialState.RUNNING,))


# --- passwords and drivers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["environment", "file", "url", "query", "PGPASSWORD"])
def test_a_password_is_taken_from_where_it_is_kept_and_shown_nowhere(
    given: str, run: Run, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = url = server.url(USER)
    (tmp_path / "secret").write_text(PASSWORD + "\n")
    if given == "environment":
        monkeypatch.setenv("VITSCAPE_STORAGE_PASSWORD", PASSWORD)
        monkeypatch.setenv("VITSCAPE_STORAGE_PASSWORD_FILE", "not looked at")
    elif given == "file":
        monkeypatch.setenv("VITSCAPE_STORAGE_PASSWORD_FILE", str(tmp_path / "secret"))
    elif given == "PGPASSWORD":
        monkeypatch.setenv("PGPASSWORD", PASSWORD)
    else:
        monkeypatch.setenv("VITSCAPE_STORAGE_PASSWORD", "another")  # the URL's own goes first
        quoted = PASSWORD.replace(" ", "%20")
        url = f"{bare}?password={quoted}" if given == "query" else bare.replace("@", f":{quoted}@")
    storage = open_storage(url, must_exist=False)
    engine = open_engine(url)
    with engine.connect() as connected:
        assert connected.exec_driver_sql("SELECT current_user").scalar() == USER
    assert storage.url == bare.replace("postgresql:", "postgresql+psycopg:")  # so that locks on a study are one
    if given in ("file", "url"):
        status, out, err = run("search", *OPTIONS, "--storage", url, "--trials", "1")
        assert status == 0, err
        kept = (tmp_path / ".vitscape/last.json").read_text()
        said = [out, err, kept, repr(storage), repr(engine), repr(engine.url), repr(Storage(url))]
        assert not [text for text in said if PASSWORD in text or PASSWORD.replace(" ", "%20") in text]


@pytest.mark.parametrize("given", ["environment", "file", "url"])
def test_a_wrong_password_is_one_line_without_it(
    given: str, run: Run, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.url(USER)
    (tmp_path / "secret").write_text("wr0ng")
    if given == "environment":
        monkeypatch.setenv("VITSCAPE_STORAGE_PASSWORD", "wr0ng")
    elif given == "file":
        monkeypatch.setenv("VITSCAPE_STORAGE_PASSWORD_FILE", str(tmp_path / "secret"))
    else:
        url = url.replace("@", ":wr0ng@")
    for words in (["search", *OPTIONS, "--storage", url], ["front", "--storage", url]):
        status, out, err = run(*words)
        assert (status, out, err.count("\n")) == (2, "", 1), err
        assert f"error: cannot use {hide_password(url)}: " in err
        assert "password authentication failed" in err
        assert "wr0ng" not in err


@pytest.mark.parametrize("name", ["none", ".", "empty", "binary"])
def test_a_password_file_that_is_none_is_one_line_that_names_the_variable(
    name: str, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    monkeypatch.setenv("VITSCAPE_STORAGE_PASSWORD_FILE", str(tmp_path / name))
    status, out, err = run("front", "--storage", "postgresql://ann@127.0.0.1:1/x")
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert "VITSCAPE_STORAGE_PASSWORD_FILE" in err
    new_study(tmp_path / "a.db")  # which needs none
    assert run("front", "--storage", "a.db")[0] == 0


def test_an_error_that_quotes_a_kept_password_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    from explorer.storage import storage_errors

    monkeypatch.setenv("VITSCAPE_STORAGE_PASSWORD", "s3cret")
    with pytest.raises(StorageError) as caught, storage_errors("postgresql://ann@db.lab/x"):
        raise RuntimeError("bad token s3cret")
    assert str(caught.value) == "cannot use postgresql://ann@db.lab/x: RuntimeError"
    with pytest.raises(StorageError) as caught, storage_errors("postgresql://ann@db.lab/x"):
        raise RuntimeError("no route")
    assert str(caught.value) == "cannot use postgresql://ann@db.lab/x: no route"


def test_a_study_has_one_lock_wherever_its_password_comes_from(url: str) -> None:
    new_study(url)  # type: ignore[arg-type]
    spelled = (url, url.replace("@", ":any@"), url.replace("postgresql:", "postgresql+psycopg:"), f"{url}?password=any")
    assert len({study_key(load_study(None, one)) for one in spelled}) == 1


@pytest.mark.parametrize(
    ("there", "driver"), [("psycopg psycopg2", "psycopg"), ("psycopg2", "psycopg2"), ("", "psycopg")]
)
def test_the_driver_that_is_installed_is_taken(there: str, driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_url, "find_spec", lambda name: name if name in there.split() else None)
    if driver == "psycopg":
        assert connection("postgresql://ann@h/x")[0] == "postgresql+psycopg://ann@h/x"
    else:
        assert storage_url._with_driver(sqlalchemy.make_url("postgresql://ann@h/x")).drivername == "postgresql+psycopg2"


def test_a_missing_driver_is_one_line_that_says_what_to_install(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.setattr(storage_url, "find_spec", lambda name: None)
    status, _, err = run("front", "--storage", "postgresql://ann:s3cret@127.0.0.1:1/x")
    assert status == 2
    assert err.endswith("needs the package psycopg: pip install 'vitscape[postgres]'\n")
    assert "s3cret" not in err
