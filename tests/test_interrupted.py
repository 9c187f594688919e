"""An interruption changes nothing but itself: what is proposed, trained and stopped afterwards is as without it."""

from __future__ import annotations

import io
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial
from rich.console import Console

from explorer import results, search
from explorer.evaluate import count
from explorer.limits import Limits
from explorer.proxy.train import TrainSettings
from explorer.record import Evaluation
from explorer.search.interrupted import close_interrupted
from explorer.search.pareto import ParetoSampler
from explorer.search.propose import Proposals
from explorer.search.study import StudyMismatch, close_trial, records
from explorer.storage import ATTRIBUTE, load_study
from search_spaces.architecture import Architecture
from search_spaces.space import parse_space
from tests.minis import MINI

EPOCHS = 6
TRIALS = 44
SPACE = parse_space(MINI.replace("ffn_ratio: [1, 2]", "ffn_ratio: [1, 2, 3, 4]"))
QUIET = Console(quiet=True)
COUNTED = ("macs", "params")
DEATHS = (KeyboardInterrupt, SystemExit)  # Ctrl-C; and as kill -9: nothing is given back, the trial is left running


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VITSCAPE_LEASES", str(tmp_path / "leases"))


class Formula:
    """In the place of the one expensive thing, an evaluation: a made-up curve, and a death after so many."""

    def __init__(self, death: type[BaseException] | None = None, after: int = 0) -> None:
        self.death, self.after, self.begun = death, after, 0

    def __call__(self, architecture: Architecture, **how: Any) -> Evaluation:
        self.begun += 1
        found = count(architecture, how["limits"])
        if not how["before_training"](found):
            return found
        if self.death is not None and self.begun > self.after:
            raise self.death
        for epoch in range(1, EPOCHS + 1):
            curve = (*found.accuracy_by_epoch, self.accuracy(architecture, epoch))
            found = found.model_copy(update={"accuracy": curve[-1], "accuracy_by_epoch": curve})
            if not how["on_epoch"](found):
                break
        return found

    @staticmethod
    def accuracy(architecture: Architecture, epoch: int) -> float:
        """Larger networks are better, attention learns slowly, and no two networks end alike."""
        stage = architecture.stages[0]
        kind = {"none": 0.0, "window": 10.0, "global": 16.0}[stage.mixer.kind]
        top = 40 + kind + 8 * math.log2(stage.width / 8) + 4 * stage.depth + random.Random(architecture.id).gauss(0, 2)
        return top * (1 - 0.8 * math.exp(-epoch / (1.0 if kind == 0 else 2.5)))


def find(**options: Any) -> optuna.Study:
    """A search by the rules that there are where none is named."""
    asked = {"objectives": ("accuracy", "macs"), "data": "digits", "settings": TrainSettings(epochs=EPOCHS)}
    return search(SPACE, **{"storage": "a.db", "trials": TRIALS, "console": QUIET, **asked, **options})


def went(study: optuna.Study) -> list[tuple[Any, ...]]:
    """What became of each trial but the interrupted, in their order."""
    frame = results.frame(study)
    frame = frame[frame["id"].notna() & (frame["status"] != "interrupted")].astype(object)
    frame = frame.where(frame.notna(), None)
    return list(frame[["id", "status", "accuracy", "macs", "stopped_after"]].itertuples(index=False, name=None))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[tuple[Any, ...]]]:
    """What becomes of the trials of a search that nothing interrupts."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("undisturbed")
        patch.chdir(folder)
        patch.setenv("VITSCAPE_LEASES", str(folder / "leases"))
        patch.setattr("explorer.search.attempt.evaluate", Formula())
        yield went(find())


# --- while a candidate is evaluated ----------------------------------------------------------------------------------


@pytest.mark.parametrize("death", DEATHS)
def test_a_search_that_was_interrupted_goes_on_as_if_it_had_not_been(
    undisturbed: list[tuple[Any, ...]], death: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = [row for row in undisturbed if row[4] is None]
    assert len(trained) < len(undisturbed) - 8  # the rule has ended some
    for after in (3, 9, 14):
        monkeypatch.setattr("explorer.search.attempt.evaluate", Formula(death, after))
        with pytest.raises(death):
            find()
    monkeypatch.setattr("explorer.search.attempt.evaluate", Formula())
    study = find()
    frame = results.frame(study)
    assert (frame["status"] == "interrupted").sum() == 3
    assert went(study) == undisturbed


# --- while one is proposed -------------------------------------------------------------------------------------------


def dying(called: Any, death: type[BaseException], after: int) -> Any:
    """A function as before, but for the death that its call after so many is."""
    left = after

    def dies(*words: Any, **how: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise death
        return called(*words, **how)

    return dies


@pytest.mark.parametrize("death", DEATHS)
@pytest.mark.parametrize(
    ("owner", "name"),
    [(ParetoSampler, "before_trial"), (optuna.Trial, "suggest_categorical"), (optuna.Trial, "set_user_attr")],
)
def test_what_was_being_proposed_when_it_was_interrupted_is_proposed_again(
    owner: type, name: str, death: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {"objectives": COUNTED, "trials": 18}
    undisturbed = went(find(storage="other.db", **asked))
    for after in (4, 27, 40, 56):  # a proposal is two choices or more
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, dying(getattr(owner, name), death, after))
            try:
                find(**asked)
            except death:
                continue
    assert went(find(**asked)) == undisturbed


class Stuck(RandomSampler):
    """Proposes one and the same, and dies once, after so many questions."""

    def __init__(self, after: int) -> None:
        super().__init__(seed=0)
        self.after = after

    def sample_relative(self, *words: Any) -> dict[str, Any]:
        return {}

    def sample_independent(self, study: Any, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> Any:
        self.after -= 1
        if self.after == 0:
            raise KeyboardInterrupt
        return distribution.choices[0] if isinstance(distribution, CategoricalDistribution) else distribution.low  # type: ignore[attr-defined]


@pytest.mark.parametrize("after", [0, 3, 6, 11, 18, 29, 37, 50])
def test_random_points_before_a_sampler_that_is_stuck_are_the_same_after_an_interruption(after: int) -> None:
    def proposed(after: int) -> list[tuple[str, str]]:
        study = optuna.create_study(directions=["minimize", "minimize"], sampler=Stuck(after))
        proposals = Proposals(study, SPACE, COUNTED, Limits(), 0, {})
        while len(proposals.known) < 6:
            try:
                candidate = proposals.next()
            except KeyboardInterrupt:
                close_interrupted(study, SPACE, COUNTED, Limits())
                proposals = Proposals(study, SPACE, COUNTED, Limits(), 0, records(study))
                continue
            record = candidate.record(status="complete", evaluation=count(candidate.architecture, Limits()))
            close_trial(study, candidate.trial, record, COUNTED, Limits())
            proposals.remember(candidate.trial.number, record)
        return [(one.id, one.status) for one in records(study).values() if one.status != "interrupted"]

    assert proposed(after) == proposed(0)


# --- a study from before there were rules ----------------------------------------------------------------------------


def spoken(**options: Any) -> str:
    console = Console(record=True, width=200, file=io.StringIO())
    find(console=console, **options)
    return " ".join(console.export_text().split())


def test_a_study_from_before_early_stopping_goes_on_without_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("explorer.search.attempt.evaluate", Formula())
    old = find(trials=2, stopping="none")
    plan = {key: value for key, value in old.user_attrs[ATTRIBUTE].items() if key not in ("stopping", "gating")}
    old.set_user_attr(ATTRIBUTE, plan)
    for trials in (20, 40):
        assert "no training is ended early: the study is from before that" in spoken(trials=trials)
    assert {row[1] for row in went(load_study(None, "a.db"))} <= {"complete", "duplicate"}
    assert "no training is ended early" not in spoken(trials=60, stopping="front")  # from now on
    assert "stopped" in {row[1] for row in went(load_study(None, "a.db"))}
    assert "no training is ended early" not in spoken(trials=61)
    stored = load_study(None, "a.db").user_attrs[ATTRIBUTE]
    assert (stored["stopping"], stored["gating"]) == ("front", True)
    with pytest.raises(StudyMismatch, match="stopping=front, now none"):
        find(trials=62, stopping="none")


def test_a_new_study_is_not_taken_for_an_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("explorer.search.attempt.evaluate", Formula())
    for _ in range(2):
        assert "no training is ended early" not in spoken(trials=2)
