"""The search: budgets, resume, duplicates, limits, failures; through `explorer.search` and the command line."""

from __future__ import annotations

import io
import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy.orm
from rich.console import Console

from explorer import Limits, Setup, results, search
from explorer.proxy.train import TrainSettings
from explorer.record import TrialRecord
from explorer.search.session import SearchStopped
from explorer.search.study import StudyMismatch
from explorer.storage import ATTRIBUTE, StorageError, load_study
from search_spaces import cost, load_space
from search_spaces.errors import InputError
from search_spaces.space import SearchSpace, parse_space
from tests.minis import MINI, environment, vitscape

QUIET = Console(quiet=True)
QUICK = Setup(time_limit_s=0.2)
SHORT = TrainSettings(epochs=1, warmup_epochs=0)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VITSCAPE_LEASES", str(tmp_path / "leases"))


@pytest.fixture
def mini() -> SearchSpace:
    return parse_space(MINI)


def find(space: SearchSpace, storage: str = "a.db", **options: object) -> optuna.Study:
    """A search that trains for one epoch on digits and counts instead of timing."""
    options = {"objectives": ("accuracy", "macs"), "data": "digits", "settings": SHORT, "setup": QUICK, **options}
    return search(space, storage=storage, console=QUIET, **options)  # type: ignore[arg-type]


def statuses(study: optuna.Study) -> Counter[str]:
    return Counter(results.frame(study)["status"])


def test_a_search_evaluates_as_many_trials_as_asked_and_none_twice(mini: SearchSpace) -> None:
    study = find(mini, trials=6)
    frame = results.frame(study)
    complete = frame[frame["status"] == "complete"]
    assert len(complete) == 6
    assert complete["id"].is_unique
    for _, row in complete.iterrows():
        architecture = mini.suggest(optuna.trial.FixedTrial(study.trials[row["number"]].params))
        assert architecture.id == row["id"]
        assert row["macs"] == cost(architecture).macs
        assert study.trials[row["number"]].values == [row["accuracy"], row["macs"]]


def test_the_whole_record_of_a_trial_is_in_the_storage_for_any_optuna_tool(mini: SearchSpace) -> None:
    find(mini, trials=2, study="s")
    study = optuna.load_study(study_name="s", storage="sqlite:///a.db")
    assert len(study.best_trials) >= 1
    record = TrialRecord.model_validate(study.trials[0].user_attrs[ATTRIBUTE])
    assert record.evaluation is not None
    assert record.evaluation.accuracy_by_epoch == (record.evaluation.accuracy,)
    assert study.user_attrs[ATTRIBUTE]["data"]["source"] == "digits"


def test_the_same_call_continues_a_study_without_repeating_or_losing_a_trial(mini: SearchSpace) -> None:
    first = results.frame(find(mini, trials=3))
    second = results.frame(find(mini, trials=5))
    assert (second["status"] == "complete").sum() == 5
    assert second[second["status"] == "complete"]["id"].is_unique
    assert list(second["id"][:3]) == list(first["id"])
    assert list(second["accuracy"][:3]) == list(first["accuracy"])


def test_a_finished_study_asked_for_again_trains_nothing(mini: SearchSpace) -> None:
    before = results.frame(find(mini, trials=3))
    assert results.frame(find(mini, trials=3)).equals(before)


def test_an_exhausted_space_ends_the_search_with_every_architecture_evaluated_once() -> None:
    space = parse_space(MINI.replace("[8, 12, 16]", "8").replace("[1, 2]\n    mixer", "1\n    mixer"))
    study = find(space, trials=1000, objectives=("macs", "params"))
    frame = results.frame(study)
    complete = frame[frame["status"] == "complete"]
    assert len(complete) == space.size
    assert complete["id"].is_unique


def test_a_repeated_proposal_is_answered_with_the_recorded_values(mini: SearchSpace) -> None:
    study = find(mini, trials=1)
    study.enqueue_trial(study.trials[0].params)
    study = find(mini, trials=2)
    frame = results.frame(study)
    assert list(frame["status"]) == ["complete", "duplicate", "complete"]
    assert frame["duplicate_of"][1] == 0
    assert study.trials[1].values == study.trials[0].values


def test_the_same_seed_finds_the_same_trials(mini: SearchSpace) -> None:
    one, two = (results.frame(find(mini, f"{name}.db", trials=4, seed=3)) for name in "ab")
    other = results.frame(find(mini, "c.db", trials=4, seed=4))
    assert list(one["id"]) == list(two["id"])
    assert list(one["accuracy"]) == list(two["accuracy"])
    assert list(one["id"]) != list(other["id"])


def test_a_candidate_over_a_closed_form_limit_is_infeasible_costs_no_training_and_is_not_counted() -> None:
    space = parse_space(MINI)
    limit = 60_000
    study = find(space, trials=6, sampler="random", limits=Limits.parse(macs=limit))
    frame = results.frame(study)
    infeasible = frame[frame["status"] == "infeasible"]
    assert len(infeasible) > 0
    assert (infeasible["macs"] > limit).all()
    assert infeasible["train_seconds"].isna().all()
    complete = frame[frame["status"] == "complete"]
    assert len(complete) == 6
    assert (complete["macs"] <= limit).all()
    for trial in study.trials:
        (value,) = [v for k, v in trial.system_attrs.items() if k == "constraints:macs"]
        assert (value > 0) == (trial.state == optuna.trial.TrialState.PRUNED)


def test_a_candidate_over_the_latency_limit_is_timed_but_not_trained(mini: SearchSpace) -> None:
    limits = Limits.parse(latency="1us")
    study = find(mini, trials=2, objectives=("accuracy", "latency"), limits=limits)
    frame = results.frame(study)
    assert list(frame["status"]) == ["infeasible", "infeasible"]
    assert (frame["latency_ms"] > 0.001).all()
    assert frame["accuracy"].isna().all()
    assert "latency" in frame["infeasible"][0]


def test_a_limit_that_nothing_meets_ends_the_search_and_says_how_far_off_it_is(mini: SearchSpace) -> None:
    console = Console(record=True, width=200, file=io.StringIO())
    search(mini, storage="a.db", console=console, trials=3, objectives=("macs",), limits=Limits.parse(macs="1K"))
    assert "max-macs: none of" in console.export_text()


def test_one_failing_trial_is_recorded_with_its_reason_and_the_search_goes_on(mini: SearchSpace) -> None:
    # a learning rate this high turns the loss into NaN for most networks
    settings = TrainSettings(epochs=1, warmup_epochs=0, lr=1e30)
    with pytest.raises(SearchStopped, match=r"10 trials failed in a row.*TrainingDiverged"):
        find(mini, trials=12, settings=settings)
    study = load_study(None, "a.db")
    frame = results.frame(study)
    assert (frame["status"] == "failed").sum() == 10
    assert frame["error"].str.startswith("TrainingDiverged").all()
    record = TrialRecord.model_validate(study.trials[0].user_attrs[ATTRIBUTE])
    assert record.traceback is not None
    assert "train" in record.traceback


def test_a_network_that_a_runtime_cannot_run_is_a_failed_trial_and_ends_no_search() -> None:
    space = parse_space(MINI.replace("[8, 12, 16]", "8").replace("depth: [1, 2]", "depth: 1").replace("[1, 2]", "1"))
    setup = Setup(device="cpu", precision="bf16", runtimes=("onnxruntime",), time_limit_s=0.2)
    frame = results.frame(find(space, trials=2, objectives=("latency",), setup=setup))
    assert list(frame["status"]) == ["failed", "failed"]
    assert frame["error"].str.contains("runtime=onnxruntime, precision='bf16'").all()


@pytest.mark.parametrize("finished", [False, True])
def test_a_record_that_cannot_be_read_is_told_in_one_line(mini: SearchSpace, finished: bool) -> None:
    study = find(mini, trials=1)
    trial = study.ask()
    trial.set_user_attr(ATTRIBUTE, {**study.trials[0].user_attrs[ATTRIBUTE], "status": "splendid"})
    if finished:
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    with pytest.raises(StorageError, match=r"^trial 1: its record cannot be read: status: .*$"):
        find(mini, trials=2)


@pytest.mark.parametrize("sampler", ["pareto", "tpe", "nsga2", "nsga3", "gp", "random"])
def test_every_sampler_searches_a_conditional_space_with_limits(mini: SearchSpace, sampler: str) -> None:
    study = find(mini, trials=14, objectives=("macs", "params"), sampler=sampler, limits=Limits.parse(macs="90K"))
    frame = results.frame(study)
    assert (frame["status"] == "complete").sum() == 14
    assert not results.front(frame, ("macs", "params")).empty


def test_presets_in_the_space_are_evaluated_first_and_once() -> None:
    space = load_space("shvit_224")
    found = find(space, trials=5, objectives=("macs", "params"), with_presets=True)
    frame = results.frame(found)
    assert list(frame["preset"][:4]) == ["shvit_s1", "shvit_s2", "shvit_s3", "shvit_s4"]
    frame = results.frame(find(space, trials=7, objectives=("macs", "params"), with_presets=True))
    assert frame["preset"].notna().sum() == 4


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"data": "cues"}, "data.source=digits, now cues"),
        ({"objectives": ("accuracy", "params")}, "objectives.1=macs, now params"),
        ({"limits": Limits.parse(macs="1M")}, "limits.macs=None, now 1000000.0"),
        ({"settings": TrainSettings(epochs=2)}, "proxy.epochs=1, now 2"),
        ({"seed": 7}, "seed=0, now 7"),
        (
            {"space": parse_space(MINI.replace("[8, 12, 16]", "[8, 12]"))},
            "space.stages.0.width=[8, 12, 16], now [8, 12]",
        ),
    ],
)
def test_a_study_made_otherwise_is_refused_and_the_difference_named(
    mini: SearchSpace, change: dict[str, object], named: str
) -> None:
    find(mini, trials=1)
    space = change.pop("space", mini)
    with pytest.raises(StudyMismatch) as caught:
        find(space, trials=2, **change)  # type: ignore[arg-type]
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_second_search_of_one_study_is_refused_while_the_first_runs(mini: SearchSpace, tmp_path: Path) -> None:
    process = start(tmp_path, "1000")
    try:
        wait_for(tmp_path, 1)
        second = vitscape(*words(tmp_path, "1000"), cwd=tmp_path)
        assert second.returncode == 1
        assert f"process {process.pid} is searching study 'mini' already" in second.stderr
    finally:
        process.kill()
        process.wait()


def words(folder: Path, trials: str) -> list[str]:
    (folder / "mini.yaml").write_text(MINI)
    options = "--storage a.db --data digits --objectives accuracy,macs --epochs 2 --time-limit 0.2"
    return ["search", "mini.yaml", *options.split(), "--trials", trials]


def start(folder: Path, trials: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "explorer.cli", *words(folder, trials)]
    return subprocess.Popen(command, cwd=folder, env=environment(folder), stderr=subprocess.DEVNULL)


def wait_for(folder: Path, complete: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if (folder / "a.db").exists():
            connection = sqlite3.connect(f"file:{folder}/a.db?mode=ro", uri=True)
            try:
                (count,) = connection.execute("SELECT COUNT(*) FROM trials WHERE state = 'COMPLETE'").fetchone()
            except sqlite3.OperationalError:  # the tables are not there yet
                count = 0
            finally:
                connection.close()
            if count >= complete:
                return
        time.sleep(0.05)
    raise AssertionError("the search finished no trial in two minutes")


def test_kill_9_loses_only_the_running_trial_and_the_same_command_completes_the_study(tmp_path: Path) -> None:
    for complete in (2, 4):
        process = start(tmp_path, "8")
        wait_for(tmp_path, complete)
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = results.frame(load_study(None, "a.db"))
    finished = before[before["status"] == "complete"]
    vitscape(*words(tmp_path, "8"), cwd=tmp_path, check=True)
    study = load_study(None, "a.db")
    frame = results.frame(study)
    ended = frame[frame["status"].isin(["complete", "stopped"])]
    assert len(ended) == 8
    assert ended["id"].is_unique
    kept = frame[frame["number"].isin(finished["number"])]
    assert list(kept["id"]) == list(finished["id"])
    assert list(kept["accuracy"]) == list(finished["accuracy"])
    assert all(trial.state.is_finished() for trial in study.get_trials())
    interrupted = frame[(frame["status"] == "interrupted") & frame["id"].notna()]  # not those still being asked for
    assert set(frame["retry_of"].dropna()) == set(interrupted["number"])


def test_ctrl_c_closes_the_running_trial_and_says_how_to_go_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "explorer.cli", *words(tmp_path, "1000")]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(tmp_path), stderr=subprocess.PIPE, text=True)
    wait_for(tmp_path, 2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command continues" in errors
    assert "Traceback" not in errors
    counts = statuses(load_study(None, "a.db"))
    assert counts["running"] == 0
    assert counts["complete"] >= 2


@pytest.mark.parametrize(
    ("owner", "name"), [(optuna.Trial, "suggest_categorical"), (optuna.Trial, "set_user_attr"), (optuna.Study, "tell")]
)
def test_ctrl_c_while_a_trial_is_asked_for_or_told_leaves_none_running(
    mini: SearchSpace, owner: type, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find(mini, trials=1)
    called = getattr(owner, name)

    def interrupted(*args: object, **options: object) -> None:
        monkeypatch.setattr(owner, name, called)
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        find(mini, trials=3)
    assert statuses(load_study(None, "a.db"))["running"] == 0
    assert statuses(find(mini, trials=3))["complete"] == 3


def test_a_ctrl_c_that_python_drops_ends_the_search_all_the_same_and_prints_nothing(
    mini: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, dropped = optuna.Study.ask, list[object]()

    class Interrupted:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    def asked(study: optuna.Study, *args: Any) -> optuna.Trial:
        Interrupted()
        return ask(study, *args)

    monkeypatch.setattr(sys, "unraisablehook", dropped.append)
    monkeypatch.setattr(optuna.Study, "ask", asked)
    with pytest.raises(KeyboardInterrupt):
        find(mini, trials=3)
    assert not dropped
    assert sys.unraisablehook == dropped.append


@pytest.mark.parametrize("after", [12, 20, 30])  # commits: some time after the study was opened
def test_a_ctrl_c_in_the_middle_of_a_transaction_is_heard_when_it_has_ended(
    mini: SearchSpace, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    find(mini, trials=1)
    commit, begun, ended = sqlalchemy.orm.Session.commit, list[int](), list[int]()

    def interrupted(session: sqlalchemy.orm.Session) -> None:
        begun.append(len(begun))
        if len(begun) == after:
            session.connection()
            signal.raise_signal(signal.SIGINT)
        commit(session)
        ended.append(begun[-1])

    monkeypatch.setattr(sqlalchemy.orm.Session, "commit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        find(mini, trials=5)
    assert ended == begun
    assert len(begun) >= after
    assert statuses(load_study(None, "a.db"))["running"] == 0
    assert statuses(find(mini, trials=5))["complete"] == 5


def test_a_trial_evaluated_but_not_yet_told_when_killed_keeps_its_values(mini: SearchSpace) -> None:
    study = find(mini, trials=2)
    record = study.trials[1].user_attrs[ATTRIBUTE]
    trial = study.ask()
    mini.suggest(trial)
    trial.set_user_attr(ATTRIBUTE, {**record, "id": "f" * 16})
    frame = results.frame(find(mini, trials=3))
    assert list(frame["status"]) == ["complete"] * 3
    assert frame["accuracy"][2] == frame["accuracy"][1]


def test_what_keeps_killing_the_process_is_given_up_after_three_retries(mini: SearchSpace) -> None:
    study = find(mini, trials=1)
    trial = study.ask()
    mini.suggest(trial)
    for _ in range(3):
        study = find(mini, trials=1)  # closes the trial that a killed process left, and enqueues it again
        study.ask()
        waiting = study.trials[-1]
        mini.suggest(optuna.trial.Trial(study, waiting._trial_id))
    frame = results.frame(find(mini, trials=2))
    assert statuses(load_study(None, "a.db"))["interrupted"] == 3
    (failed,) = frame[frame["status"] == "failed"]["error"]
    assert failed == "the process died 4 times while this trial ran"


@pytest.mark.parametrize("moment", range(1, 9))
def test_a_kill_at_any_write_loses_no_preset(tmp_path: Path, moment: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dies at the nth parameter of the second preset; what was enqueued comes back."""
    space = load_space("swin_224")
    suggest = optuna.Trial.suggest_categorical
    calls = 0

    def dying(self: optuna.Trial, name: str, choices: tuple[object, ...]) -> object:
        nonlocal calls
        calls += self.number == 1
        if calls == moment:
            raise SystemExit
        return suggest(self, name, choices)  # type: ignore[type-var]

    monkeypatch.setattr(optuna.Trial, "suggest_categorical", dying)
    with pytest.raises(SystemExit):
        find(space, trials=3, objectives=("macs", "params"), with_presets=True)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    frame = results.frame(find(space, trials=3, objectives=("macs", "params"), with_presets=True))
    complete = frame[frame["status"] == "complete"]
    assert sorted(complete["preset"]) == ["swin_b", "swin_s", "swin_t"]


@pytest.mark.parametrize("lost", ["tell", "enqueue_trial", "set_user_attr"])
def test_a_kill_while_an_interrupted_trial_is_closed_loses_nothing(
    mini: SearchSpace, tmp_path: Path, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find(mini, trials=1)
    owner = optuna.Trial if lost == "set_user_attr" else optuna.Study

    def interrupted(*args: object, **options: object) -> None:
        monkeypatch.setattr(owner, lost, dies)
        raise KeyboardInterrupt

    def dies(*args: object, **options: object) -> None:
        raise SystemExit

    monkeypatch.setattr("explorer.search.attempt.evaluate", interrupted)
    with pytest.raises(SystemExit):
        find(mini, trials=2)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    study = find(mini, trials=2)
    frame = results.frame(study)
    wanted = mini.suggest(optuna.trial.FixedTrial(study.trials[1].params)).id
    assert wanted in set(frame[frame["status"] == "complete"]["id"])
    assert (frame["status"] == "complete").sum() == 2


def test_a_replayed_duplicate_killed_before_it_was_told_gets_its_values(
    mini: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = find(mini, trials=1)
    study.enqueue_trial(study.trials[0].params)

    def dies(*args: object, **options: object) -> None:
        raise SystemExit

    monkeypatch.setattr(optuna.Study, "tell", dies)
    with pytest.raises(SystemExit):
        find(mini, trials=2)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    study = find(mini, trials=2)
    assert study.trials[1].values == study.trials[0].values


def test_a_plain_optuna_study_of_the_same_name_is_not_adopted(mini: SearchSpace) -> None:
    optuna.create_study(study_name="mini", storage="sqlite:///a.db", direction="minimize")
    with pytest.raises(InputError, match="other directions"):
        find(mini, trials=1)


def test_data_that_fits_no_candidate_is_refused_before_the_first_trial(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="in_channels: the data digits has 3 channels; set in_channels: 3"):
        find(parse_space(MINI + "in_channels: 1\n"), trials=3)
    with pytest.raises(InputError, match="training images are fewer than a batch"):
        find(parse_space(MINI), trials=3, settings=TrainSettings(epochs=1, batch_size=10_000))
    assert not (tmp_path / "a.db").exists()


def test_a_change_of_remarks_continues_a_study(mini: SearchSpace) -> None:
    find(mini, trials=1, study="s")
    renamed = parse_space(MINI.replace("name: mini", "name: other\ndescription: the same"))
    assert statuses(find(renamed, trials=2, study="s"))["complete"] == 2


def test_a_storage_that_breaks_is_one_line(tmp_path: Path) -> None:
    vitscape(*words(tmp_path, "2"), cwd=tmp_path, check=True)
    connection = sqlite3.connect(tmp_path / "a.db")
    connection.execute("DROP TABLE trial_values")
    connection.commit()
    connection.close()
    broken = vitscape("trials", cwd=tmp_path)
    assert broken.returncode != 0
    assert "Traceback" not in broken.stderr
    assert broken.stderr.count("\n") == 1


def test_odd_study_names_and_plain_terminals_are_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    vitscape(*words(tmp_path, "2"), "--study", "[/] a/b", cwd=tmp_path, check=True)
    assert "[/] a/b" in vitscape("front", cwd=tmp_path, check=True).stdout
    out = vitscape("export", "--front", "--out", "[x]", cwd=tmp_path, check=True).stdout
    assert all((tmp_path / line).exists() for line in out.split("\n") if line)


def test_hours_end_a_search(mini: SearchSpace) -> None:
    study = find(mini, trials=None, hours=1 / 3600)
    assert 1 <= statuses(study)["complete"] < mini.size


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trials": 0}, "trials=0"),
        ({"trials": None}, "trials and hours are both open"),
        ({"hours": -1.0}, "hours=-1.0"),
        ({"sampler": "annealing"}, "sampler=annealing: not known; use one of pareto"),
        ({"objectives": ("accuracy", "speed")}, "unknown metric 'speed'"),
        ({"data": "imagenet"}, "imagenet"),
        ({"storage": "nosuch://x"}, "nosuch://x"),
    ],
)
def test_a_bad_option_is_one_line_and_makes_no_study(
    mini: SearchSpace, options: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        find(mini, **{"trials": 2, **options})  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a.db").exists()


def test_the_front_is_printed_as_json_with_its_knee(tmp_path: Path) -> None:
    vitscape(*words(tmp_path, "5"), cwd=tmp_path, check=True)
    rows = json.loads(vitscape("front", "--json", cwd=tmp_path, check=True).stdout)
    assert sum(row["knee"] for row in rows) == 1
    for one in rows:
        assert not any(o["accuracy"] > one["accuracy"] and o["macs"] <= one["macs"] for o in rows)
