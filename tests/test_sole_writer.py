"""A storage read from memory says what the database says, whatever is done through it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from explorer import sole_writer
from explorer.sole_writer import SoleWriter, read_anew

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # Optuna leaves its pools open
Act = tuple[str, int]
ACTS = st.lists(
    st.tuples(st.sampled_from(("ask", "complete", "fail", "prune", "note", "enqueue", "constrain")), st.integers(0, 3)),
    max_size=20,
)


def made(path: Path | str) -> optuna.Study:
    storage = SoleWriter(RDBStorage(f"sqlite:///{path}"))
    return optuna.create_study(study_name="s", storage=storage, directions=["maximize", "minimize"])


def as_stored(study: optuna.Study) -> list[FrozenTrial]:
    """The trials as the database has them, read anew."""
    url = study._storage._backend.url  # type: ignore[attr-defined]
    return optuna.load_study(study_name="s", storage=RDBStorage(url)).get_trials()


def do(study: optuna.Study, acts: list[Act]) -> None:
    under_way: list[optuna.Trial] = []
    for act, number in acts:
        if act == "enqueue":
            study.enqueue_trial({"width": 8 * (number + 1)}, user_attrs={"from": number})
        elif act == "ask" or not under_way:
            trial = study.ask()
            if trial.suggest_categorical("kind", ["a", "b"]) == "a":
                trial.suggest_int("width", 8, 32, step=8)
            trial.suggest_float("rate", 1e-4, 1.0, log=True)
            under_way.append(trial)
        elif act == "note":
            under_way[number % len(under_way)].set_user_attr("told", {"step": number})
        elif act == "constrain":
            trial = under_way[number % len(under_way)]
            known = study._storage.get_trial_system_attrs(trial._trial_id)
            if not any(key.startswith("constraints:") for key in known):
                trial.set_constraint("most", number - 1.0)
        else:
            trial = under_way.pop(number % len(under_way))
            state = {"fail": TrialState.FAIL, "prune": TrialState.PRUNED}.get(act)
            study.tell(trial, [float(number), 1.0] if state is None else None, state=state)


@given(acts=ACTS)
def test_what_is_read_from_memory_is_what_the_database_has(
    acts: list[Act], tmp_path_factory: pytest.TempPathFactory
) -> None:
    study = made(tmp_path_factory.mktemp("s") / "a.db")
    do(study, acts)
    kept, stored = study.get_trials(), as_stored(study)
    for mine, theirs in zip(kept, stored, strict=True):
        if mine.state == TrialState.RUNNING and mine.datetime_start and theirs.datetime_start:
            assert abs((mine.datetime_start - theirs.datetime_start).total_seconds()) < 1  # two readings of a clock
            mine.datetime_start = theirs.datetime_start
        assert mine == theirs


def test_a_trial_that_was_given_before_a_change_stays_as_it_was(tmp_path: Path) -> None:
    study = made(tmp_path / "a.db")
    trial = study.ask()
    (before,) = study.get_trials(deepcopy=False)
    trial.set_user_attr("told", 1)
    (after,) = study.get_trials(deepcopy=False)
    assert before.user_attrs == {}
    assert after.user_attrs == {"told": 1}


def test_trials_that_another_process_enqueues_are_seen_and_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = made(tmp_path / "a.db")
    study.tell(study.ask(), [1.0, 1.0])
    other = optuna.load_study(study_name="s", storage=RDBStorage(f"sqlite:///{tmp_path}/a.db"))
    other.enqueue_trial({"width": 24})
    study.tell(study.ask(), [1.0, 1.0])  # a later one, by a look of a moment ago
    assert len(study.get_trials()) == 2
    monkeypatch.setattr(sole_writer, "LOOK_SECONDS", 0.0)
    assert study.ask().suggest_int("width", 8, 32) == 24


def test_what_another_process_told_of_trials_that_were_read_is_read_anew(tmp_path: Path) -> None:
    do(made(tmp_path / "a.db"), [("ask", 0), ("ask", 0), ("complete", 1)])
    study = optuna.load_study(study_name="s", storage=SoleWriter(RDBStorage(f"sqlite:///{tmp_path}/a.db")))
    states = [trial.state for trial in study.get_trials()]
    assert sorted(state.name for state in states) == ["COMPLETE", "RUNNING"]
    other = optuna.load_study(study_name="s", storage=RDBStorage(f"sqlite:///{tmp_path}/a.db"))
    other.tell(states.index(TrialState.RUNNING), state=TrialState.FAIL)
    assert [trial.state for trial in study.get_trials()] == states
    read_anew(study)
    assert sorted(trial.state.name for trial in study.get_trials()) == ["COMPLETE", "FAIL"]


def test_the_trials_of_a_study_that_was_there_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    do(made(tmp_path / "a.db"), [("ask", 0), ("complete", 1), ("ask", 0), ("enqueue", 2), ("ask", 1)])
    study = optuna.load_study(study_name="s", storage=SoleWriter(RDBStorage(f"sqlite:///{tmp_path}/a.db")))
    read: list[int] = []
    inner = RDBStorage._get_trials

    def counted(*words: Any, **more: Any) -> list[FrozenTrial]:
        found = inner(*words, **more)
        read.append(len(found))
        return found

    monkeypatch.setattr(RDBStorage, "_get_trials", counted)
    monkeypatch.setattr(sole_writer, "LOOK_SECONDS", 0.0)
    for _ in range(5):
        assert [trial.state for trial in study.get_trials()] == [trial.state for trial in as_stored(study)]
    assert read[0] == 3
    assert read[2::2] == [0, 0, 0, 0]  # the others are the reader's
