"""The final stage of a search: some of its front trained in full, and kept with the study.

Which ones is a function of the study alone, so that the same command goes on where an earlier one was ended. Each is
written as it ends: a kill loses those that were training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.trial import FrozenTrial
from rich.console import Console

from explorer import results
from explorer.finals import Final, add_final, finals
from explorer.frame import trial_record
from explorer.limits import Limits
from explorer.patient_storage import show_waits
from explorer.record import Evaluation
from explorer.search.attempt import Found
from explorer.search.budget import Budget
from explorer.search.driver import Driver
from explorer.search.final_progress import FinalProgress
from explorer.search.session import require_ours, sole_searcher
from explorer.search.study import Plan
from search_spaces.architecture import Architecture

CHOSEN = "vitscape_finalists"  # user attribute of the study: which trials, and by which command
MOST_TRIES = 2  # of a finalist that fails, before its stage is done without it
UNSEEN: dict[str, Any] = {"accuracy": None, "accuracy_by_epoch": (), "seconds": {}}  # of an evaluation, to be found


@dataclass(frozen=True)
class Finalist:
    """A trial whose architecture is trained in full."""

    trial: FrozenTrial
    architecture: Architecture
    known: Evaluation  # all but the training
    origin: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, trial: FrozenTrial) -> Finalist:
        """Of a complete trial."""
        record = trial_record(trial)
        assert record is not None
        assert record.evaluation is not None
        return cls(trial, Architecture.from_dict(record.architecture), record.evaluation.model_copy(update=UNSEEN))


def choose(frame: pd.DataFrame, objectives: Sequence[str], count: int) -> list[int]:
    """Numbers of the trials to be trained in full, at most `count`, by rank and then by rising cost.

    A front with more members gives the knee, the best in each objective, and then, one after the other, the member
    farthest from those that it has given. One with fewer is followed by the front of what is left without it.
    """
    left, chosen = results.candidates(frame, objectives), list[int]()
    while len(chosen) < count and len(left):
        members = results.front(left, objectives)
        spread = _spread(members, objectives, count - len(chosen))
        chosen += [int(number) for number in members["number"].iloc[spread]]
        left = left[~left["number"].isin(members["number"])]
    return chosen


def _spread(members: pd.DataFrame, objectives: Sequence[str], count: int) -> list[int]:
    """Places of at most `count` members of a front: its knee and its ends, then the farthest from those before it."""
    if len(members) <= count:
        return list(range(len(members)))
    gains = results.gains(members, objectives)  # (members, objectives that differ)
    knee = results.knee(members, objectives)
    assert knee is not None
    first = [int(np.flatnonzero(members["number"] == knee["number"])[0]), *map(int, gains.argmax(axis=0))]
    chosen = list(dict.fromkeys(first))[:count]
    while len(chosen) < count:
        apart = np.linalg.norm(gains[:, None] - gains[None, chosen], axis=2).min(axis=1)  # (members,)
        apart[chosen] = -1
        chosen.append(int(apart.argmax()))
    return sorted(chosen)


def unfinished(study: optuna.Study, count: int, budget: Budget) -> bool:
    """Whether this very command was ended in its final stage, with finalists left to train.

    One that has failed is left to train once more; the command would search no further where it always fails.
    """
    stored = study.user_attrs.get(CHOSEN)
    if not isinstance(stored, dict) or stored.get("asked") != _asked(count, budget):
        return False
    tried = {name: final.tries for name, final in finals(study).items()}
    return any(tried.get(one.architecture.id, 0) < MOST_TRIES for one in _left(study, stored["numbers"]))


def chosen(study: optuna.Study) -> list[int]:
    """Numbers of the trials that the study's last final stage has chosen."""
    stored = study.user_attrs.get(CHOSEN)
    return list(stored["numbers"]) if isinstance(stored, dict) else []


def train_finalists(
    study: optuna.Study, plan: Plan, count: int, budget: Budget, run: Callable[..., str], console: Console
) -> None:
    """Trains `count` finalists of a search in full with its engine, those that an earlier run has trained left out.

    `run` is the engine's. What has failed is tried again.

    Raises:
        SearchStopped: another process searches the study, or no worker can be started.
        KeyboardInterrupt: as it came; what has ended is kept.
    """
    if unfinished(study, count, budget):
        numbers = chosen(study)
    else:
        numbers = choose(results.frame(study), plan.objectives, count)
        study.set_user_attr(CHOSEN, {"asked": _asked(count, budget), "numbers": numbers})
    if not numbers:
        console.print("final stage: no complete trial to train in full", style="bold", highlight=False)
        return
    left = _left(study, numbers)
    work = replace(plan.work, objectives=("accuracy",), settings=plan.work.settings.in_full, limits=Limits())
    full = replace(plan, work=work, stopping="none", gating=False)
    begun = f", {len(numbers) - len(left)} of them trained already" if len(left) < len(numbers) else ""
    console.print(
        f"final stage: {len(numbers)} architectures in full, {work.settings.epochs} epochs each{begun}",
        style="bold",
        highlight=False,
    )
    if not left:
        return
    with FinalProgress(console, study, plan.objectives, len(numbers)) as progress:
        progress.already(len(numbers) - len(left))
        show_waits(study, progress.gone)

        @contextmanager
        def stage(*_: Any, engine: str = "local") -> Iterator[FinalStage]:
            about = {"engine": engine, "finalists": count, **asdict(budget)}
            with sole_searcher(study, about) as driver:
                yield FinalStage(study, driver, full, left, progress)

        run(study, full, budget, [], progress, begin=stage)


class FinalStage:
    """The finalists of a study that are left to train, as the engines ask for them (explorer/search/searching.py)."""

    def __init__(
        self, study: optuna.Study, driver: Driver, plan: Plan, left: Sequence[Finalist], progress: FinalProgress
    ) -> None:
        self.study, self.driver, self.plan, self.progress = study, driver, plan, progress
        self.left = list(left)
        self.under_way: dict[int, Finalist] = {}

    @property
    def over(self) -> bool:
        """Whether all have been begun."""
        return not self.left

    @property
    def ended(self) -> str | None:
        """Why nothing more is begun, in words."""
        return "all finalists are trained" if self.over else None

    def next(self) -> Finalist | None:
        """The next one; None where all have been begun."""
        self.require_ours()
        if not self.left:
            return None
        finalist = self.left.pop(0)
        self.under_way[finalist.trial.number] = finalist
        return finalist

    def says(self, number: int, step: str, where: str = "") -> None:
        """Keeps what one is at, for `vitscape status`."""
        self.driver.running[number] = {"step": f"in full: {step}", "where": where}

    def require_ours(self) -> None:
        """Raise SearchStopped where another process has taken the study over, believing this one dead."""
        require_ours(self.driver, self.study)

    def finish(self, finalist: Finalist, found: Found) -> Final:
        """What was found of one, written to the study."""
        self.require_ours()
        evaluation = found.get("evaluation")
        before = finals(self.study).get(finalist.architecture.id)
        final = Final(
            id=finalist.architecture.id,
            number=finalist.trial.number,
            status="failed" if evaluation is None else "complete",
            accuracy=None if evaluation is None else evaluation.accuracy,
            accuracy_by_epoch=() if evaluation is None else evaluation.accuracy_by_epoch,
            seconds=found.get("seconds", 0.0),
            tries=1 if before is None else before.tries + 1,
            settings=self.plan.work.settings.model_dump(),
            precision=self.plan.place.training_precision,
            error=found.get("error"),
            traceback=found.get("traceback"),
        )
        add_final(self.study, final)
        del self.under_way[final.number]
        self.driver.running.pop(final.number, None)
        self.progress.trained(finalist, final)
        return final


def _left(study: optuna.Study, numbers: Sequence[int]) -> list[Finalist]:
    """Those of the trials whose architecture has not been trained in full yet, or failed to be."""
    done = {name for name, final in finals(study).items() if final.status == "complete"}
    trials = {trial.number: trial for trial in study.get_trials(deepcopy=False)}
    asked = [Finalist.of(trials[number]) for number in numbers if number in trials]
    return [finalist for finalist in asked if finalist.architecture.id not in done]


def _asked(count: int, budget: Budget) -> dict[str, Any]:
    return {"finalists": count, **asdict(budget)}
