"""What a search is at: who searches a study, how far it is, what it found, told from its storage alone."""

from __future__ import annotations

import io
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from rich.console import Console

from explorer import results, status
from explorer.search.driver import CLAIM
from explorer.status import Look, Status, Watched
from explorer.storage import open_storage
from explorer.verbs.status import drawn
from tests.minis import MINI, Run, environment
from tests.studies import add, evaluation, new_study

HERE, ELSEWHERE = platform.node(), "node-7"
NO_MEMORY = "OutOfMemoryError: CUDA out of memory. Tried to allocate {} GiB"


@pytest.fixture
def asked(run: Run) -> Run:
    """As `run`, of the verb `status`."""
    return lambda *words: run("status", *words)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study of every status: nine evaluated, a repeat, one rejected in closed form, one cut."""
    folder = tmp_path_factory.mktemp("made")
    made = new_study(folder / "a.db")
    made.set_user_attr("vitscape", made.user_attrs["vitscape"] | {"limits": {"latency": 2.0}})
    for i in range(4):
        add(made, "complete", evaluation(60.0 + 5 * i, 1.0 + 0.25 * i))
    add(made, "infeasible", evaluation(None, 3.0, infeasible="latency 3.00 ms > 2.00 ms"))
    add(made, "infeasible", seconds=0.0)
    add(made, "stopped", evaluation(20.0, 1.5))
    add(made, "duplicate", evaluation(60.0, 1.0), duplicate_of=0)
    for error in (NO_MEMORY.format(3), NO_MEMORY.format(4), "TrainingDiverged: the loss became nan"):
        add(made, "failed", error=error)
    add(made, "interrupted")
    made.ask(), made.ask()
    made.enqueue_trial({})
    return folder


@pytest.fixture
def study(made: Path, tmp_path: Path) -> optuna.Study:
    """The same study in a file of the test's own."""
    for path in made.glob("a.db*"):
        shutil.copy(path, tmp_path)
    return optuna.load_study(study_name="tiny", storage=open_storage(str(tmp_path / "a.db"), must_exist=False))


def claimed(study: optuna.Study, **changes: Any) -> None:
    """Writes the claim of a process that searches the study: by default this one, which lives."""
    now = time.time()
    usual = {"owner": "one", "beat": 5, "host": HERE, "pid": os.getpid(), "began": now - 3600, "at": now - 2}
    usual |= {"engine": "local", "trials": 20, "hours": None, "running": {}}
    study._storage.set_study_system_attr(study._study_id, CLAIM, usual | changes)


def look(study: optuna.Study, tmp_path: Path) -> Status:
    return Look(study, str(tmp_path / "a.db")).status()


def text(found: Status, width: int = 200) -> str:
    """What a person sees of it in a terminal of this width."""
    console = Console(file=io.StringIO(), width=width)
    console.print(drawn(found))
    return console.file.getvalue()  # type: ignore[attr-defined]


def a_dead_process() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_every_trial_is_counted_by_its_status(asked: Run, study: optuna.Study) -> None:
    claimed(study)
    code, out, err = asked("--storage", "a.db", "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert (found["study"], found["storage"], found["space"]) == ("tiny", "a.db", "tiny_32")
    assert (found["objectives"], found["data"]) == (["accuracy", "latency"], "cues, 8 of 12 epochs")
    counts = {"complete": 4, "infeasible": 2, "stopped": 1, "failed": 3, "interrupted": 1, "duplicate": 1}
    assert found["trials"] == counts | {"running": 2, "waiting": 1}
    assert (found["evaluated"], found["trials_asked"], found["hours_asked"]) == (9, 20, None)
    assert "9 of 20 evaluated, 45 %" in asked("--storage", "a.db")[1]


def test_the_front_is_the_one_that_results_tells(study: optuna.Study, tmp_path: Path) -> None:
    found, frame = look(study, tmp_path).front, results.frame(study)
    assert found is not None
    assert found.size == len(results.front(frame))
    assert found.hypervolume == pytest.approx(results.hypervolume(frame).iloc[-1])
    reference = results.reference_point(frame)
    assert found.reference == {"accuracy": 0.0, "latency_ms": pytest.approx(reference["latency"])}
    knee = results.knee(frame)
    assert knee is not None
    assert (found.knee["number"], found.knee["accuracy"]) == (knee["number"], knee["accuracy"])
    assert found.limit == {"latency_ms": 2.0}
    assert found.best_under_limit is not None
    assert (found.best_under_limit["number"], found.best_under_limit["latency_ms"]) == (3, 1.75)


def test_a_running_trial_says_its_step_and_where(study: optuna.Study, tmp_path: Path) -> None:
    steps = {"12": {"step": "trains, epoch 3 of 8", "where": "node-3/cuda:0"}, "3": {"step": "over", "where": ""}}
    claimed(study, running=steps)
    found = look(study, tmp_path)
    assert [(one.number, one.step, one.where) for one in found.running] == [
        (12, "trains, epoch 3 of 8", "node-3/cuda:0"),
        (13, None, None),
    ]
    assert all(one.seconds is not None and 0 <= one.seconds < 600 for one in found.running)
    assert "Running   trial 12: trains, epoch 3 of 8  node-3/cuda:0, for" in text(found)


def test_failures_are_told_by_reason_the_last_first(study: optuna.Study, tmp_path: Path) -> None:
    failures = look(study, tmp_path).failures
    assert [(one.reason, one.trials, one.last_trial) for one in failures] == [
        ("TrainingDiverged: the loss became nan", 1, 10),
        (NO_MEMORY.format("…"), 2, 9),
    ]
    for word in ("Type", "Value", "Key"):
        add(study, "failed", error=f"{word}Error: bad")
    shown = text(look(study, tmp_path))
    assert "KeyError" in shown
    assert "TrainingDiverged" not in shown
    assert "3 more, of other reasons" in shown


def test_a_process_of_this_machine_runs_is_silent_has_ended_or_died(study: optuna.Study, tmp_path: Path) -> None:
    now = time.time()

    def seen(**changes: Any) -> tuple[str, str]:
        claimed(study, **changes)
        found = look(study, tmp_path)
        assert found.searcher is not None
        return found.searcher.life, text(found)

    who = f"process {os.getpid()} on {HERE} (local)"
    life, shown = seen()
    assert (life, f"running: {who}, since" in shown) == ("running", True)
    life, shown = seen(at=now - 6 * 3600)
    assert (life, "last heard 6 h ago" in shown) == ("quiet", True)
    life, shown = seen(ended=now)
    assert (life, ": process" in shown) == ("ended", True)
    life, shown = seen(pid=a_dead_process())
    assert (life, "dead: process" in shown) == ("dead", True)
    assert "Left behind  trial 12" in shown


def test_one_look_tells_of_another_machine_only_when_it_was_heard(study: optuna.Study, tmp_path: Path) -> None:
    claimed(study, host=ELSEWHERE, pid=1, at=time.time() - 30)
    found = look(study, tmp_path)
    assert found.searcher is not None
    assert (found.searcher.life, found.searcher.host, found.over) == ("elsewhere", ELSEWHERE, False)
    assert found.searcher.heard_seconds_ago == pytest.approx(30, abs=5)
    assert "if its clock and this one's agree: process 1 on node-7" in text(found)
    claimed(study, host=ELSEWHERE, at=time.time() + 500)  # its clock is ahead
    assert "last heard 0 s ago" in text(look(study, tmp_path))


def test_several_looks_tell_whether_another_machine_s_process_lives(study: optuna.Study, tmp_path: Path) -> None:
    looks, far = Look(study, str(tmp_path / "a.db")), time.time() - 500  # a clock that is behind
    claimed(study, host=ELSEWHERE, at=far)
    assert looks.status().searcher.life == "elsewhere"  # type: ignore[union-attr]
    assert looks.status().searcher.life == "elsewhere"  # type: ignore[union-attr]
    claimed(study, host=ELSEWHERE, at=far, beat=6)
    searcher = looks.status().searcher
    assert searcher is not None
    assert (searcher.life, searcher.heard_seconds_ago) == ("running", pytest.approx(0, abs=5))
    silent = {"owner": "one", "beat": 6, "host": ELSEWHERE, "pid": 1, "at": far}
    assert status.life(silent, time.time(), Watched(time.monotonic() - 26, changed=True)) == "dead"
    assert status.life(silent, time.time(), Watched(time.monotonic() - 24, changed=True)) == "running"


def test_an_old_study_has_nobody_who_searches_it(study: optuna.Study, tmp_path: Path) -> None:
    found = look(study, tmp_path)
    assert (found.searcher, found.trials_asked, found.over) == (None, None, True)
    assert "none that is known" in text(found)
    assert "9 evaluated" in text(found)


def test_the_time_left_is_of_the_trials_or_of_the_hours(study: optuna.Study, tmp_path: Path) -> None:
    claimed(study, trials=20, hours=None)
    found = look(study, tmp_path)
    assert found.recent_trials_per_hour is not None
    assert found.hours_left == found.hours_left_for_trials == pytest.approx(11 / found.recent_trials_per_hour)
    assert "11 trials, " in text(found)
    skewed = time.time() - 5e5  # what is left of a run is told by the claim's clock alone
    claimed(study, trials=None, hours=3.0, host=ELSEWHERE, began=skewed, at=skewed + 1800)
    found = look(study, tmp_path)
    assert (found.hours_left, found.hours_left_of_run) == (pytest.approx(2.5), pytest.approx(2.5))
    assert "2.5 h of the 3 h asked for" in text(found)
    claimed(study, trials=None, hours=3.0, ended=time.time())
    assert look(study, tmp_path).hours_left is None


def test_a_look_reads_what_is_new(study: optuna.Study, tmp_path: Path) -> None:
    looks = Look(study, str(tmp_path / "a.db"))
    assert looks.status().evaluated == 9
    add(study, "complete", evaluation(90.0, 1.0))
    assert looks.status().evaluated == 10


def test_no_trial_s_parameters_are_read_and_nothing_is_changed(
    asked: Run, study: optuna.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed(study)
    study._storage.remove_session()
    before = b"".join(path.read_bytes() for path in sorted(tmp_path.glob("a.db*")) if path.suffix != ".db-shm")

    def refuse(*args: Any, **named: Any) -> None:
        raise AssertionError("of 50,000 trials that takes minutes")

    for name in ("get_all_trials", "get_trial", "_get_trials"):
        monkeypatch.setattr(optuna.storages.RDBStorage, name, refuse)
    assert asked("--storage", "a.db")[0] == 0
    after = b"".join(path.read_bytes() for path in sorted(tmp_path.glob("a.db*")) if path.suffix != ".db-shm")
    assert after == before


def test_a_study_without_trials_and_one_where_all_failed_say_so(asked: Run, tmp_path: Path) -> None:
    made = new_study(tmp_path / "a.db")
    assert "Trials  none yet\n" in "\n".join(line.rstrip() for line in asked("--storage", "a.db")[1].split("\n")) + "\n"
    claimed(made)
    assert "none yet of 20" in asked("--storage", "a.db")[1]
    found = json.loads(asked("--storage", "a.db", "--json")[1])
    assert (found["front"], found["evaluated"], found["hours_left"]) == (None, 0, None)
    for _ in range(3):
        add(made, "failed", error="ValueError: no")
    assert "no complete trial yet: all 3 have failed" in asked("--storage", "a.db")[1]


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        ("--storage nowhere.db", "nowhere.db"),
        ("--storage a.db --study other", "no study 'other' in a.db; there are: tiny"),
        ("--storage postgresql://ann:secret@localhost:1/db", "postgresql://ann:***@localhost:1/db"),
        ("--storage a.db --watch 0", "watch=0"),
        ("--storage a.db --watch often", "often"),
        ("--storage a.db --watch 5 --json", "--json"),
        ("", "no study was used in this folder yet"),
    ],
)
def test_bad_words_are_one_line(asked: Run, study: optuna.Study, words: str, fragment: str) -> None:
    code, out, err = asked(*words.split())
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert fragment in err
    assert "secret" not in err


@pytest.mark.parametrize("width", [60, 80, 140])
def test_nothing_is_cut_in_a_narrow_terminal(study: optuna.Study, tmp_path: Path, width: int) -> None:
    steps = {"12": {"step": "trains, epoch 3 of 8", "where": "a-node-with-a-long-name.of.a.cluster/cuda:0"}}
    claimed(study, running=steps, hours=5.0)
    found = look(study, tmp_path)
    lines = text(found, width).split("\n")
    assert max(map(len, lines)) <= width
    assert len(lines) < 30
    bar = str.maketrans("", "", "━╸╺")
    assert "".join(text(found, width).translate(bar).split()) == "".join(text(found, 300).translate(bar).split())


def test_watching_ends_with_the_search(asked: Run, study: optuna.Study) -> None:
    claimed(study)
    ender = threading.Timer(0.5, claimed, [study], {"ended": time.time()})
    ender.start()
    code, out, _ = asked("--storage", "a.db", "--watch", "0.1")
    ender.join()
    assert code == 0
    assert "ended" in out


def test_ctrl_c_ends_watching_with_130(asked: Run, study: optuna.Study, monkeypatch: pytest.MonkeyPatch) -> None:
    claimed(study)

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("explorer.verbs.status.time.sleep", interrupted)
    code, out, err = asked("--storage", "a.db", "--watch", "5")
    assert (code, err) == (130, "")
    assert "running" in out


def test_a_real_search_is_seen_running_and_then_ended(asked: Run, tmp_path: Path) -> None:
    (tmp_path / "mini.yaml").write_text(MINI)
    words = "search mini.yaml --storage runs/a.db --trials 5 --data digits --epochs 1000 --objectives accuracy,macs"
    command = [sys.executable, "-m", "explorer.cli", *words.split()]
    search = subprocess.Popen(
        command, cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until, found = time.monotonic() + 60, dict[str, Any]()
        while time.monotonic() < until and not any(one["step"] for one in found.get("running", [])):
            time.sleep(0.5)
            code, out, _ = asked("--storage", "runs/a.db", "--json")
            found = json.loads(out) if code == 0 else {}  # there is no file yet
        assert (found["searcher"]["life"], found["searcher"]["pid"]) == ("running", search.pid)
        assert (found["searcher"]["engine"], found["trials_asked"]) == ("local", 5)
        (running,) = found["running"]
        assert running["number"] == 0
        assert "epoch" in running["step"]
    finally:
        search.send_signal(signal.SIGINT)
        ended = search.wait(timeout=30)
    assert ended == 130
    found = json.loads(asked("--storage", "runs/a.db", "--json")[1])
    assert (found["searcher"]["life"], found["running"]) == ("ended", [])
    assert (found["trials"]["interrupted"], found["trials"]["waiting"]) == (1, 1)
