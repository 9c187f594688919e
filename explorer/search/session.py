"""A search under way, whichever engine runs it: what to evaluate next, and what becomes of what was found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

import optuna

from explorer.metrics import metrics, minimised
from explorer.profile.lease import exclusive
from explorer.record import TrialRecord
from explorer.search.attempt import Found
from explorer.search.budget import Account, Budget
from explorer.search.driver import UNREACHABLE, Driver, driving
from explorer.search.interrupted import close_interrupted, enqueue_again
from explorer.search.interrupts import uninterrupted
from explorer.search.progress import SearchProgress
from explorer.search.propose import Candidate, NothingLeft, Proposals
from explorer.search.stopping import Rule
from explorer.search.study import Plan, close_trial, records
from explorer.sole_writer import read_anew
from explorer.storage import StorageError, study_key
from search_spaces.architecture import Architecture
from search_spaces.errors import InputError

MOST_FAILURES = 10  # in a row: then something is wrong with the set-up, not with the candidates


class SearchStopped(RuntimeError):
    """The search cannot go on; what is finished is kept. One line."""


class Session:
    """The study of a search, the candidates under way, and the budget.

    >>> with session(study, plan, Budget(trials=20), [], progress) as one:
    ...     while (candidate := one.next()) is not None:
    ...         one.finish(candidate, attempt(candidate.architecture, plan.work, images))
    """

    def __init__(
        self,
        study: optuna.Study,
        driver: Driver,
        plan: Plan,
        budget: Budget,
        presets: list[Architecture],
        progress: SearchProgress,
        rule: Rule | None,
    ) -> None:
        self.driver = driver
        self.study, self.plan, self.budget, self.progress, self.rule = study, plan, budget, progress, rule
        self.under_way: dict[int, Candidate] = {}  # by trial
        self.ended: str | None = None  # why nothing more is begun, in words
        self._failures = 0
        read_anew(study)  # whoever searched it before may have written until now
        close_interrupted(study, plan.space, plan.objectives, plan.work.limits)
        finished = records(study)
        self.proposals = Proposals(study, plan.space, plan.objectives, plan.work.limits, plan.work.seed, finished)
        self.proposals.enqueue_presets(presets)
        self.front = RunningFront(plan.objectives)
        self.account = Account(budget, plan.objectives)
        for number, record in finished.items():
            self.front.joins(record)
            self._teach(number, record)
            self.account.add(record)
        progress.already(self.account.done)

    @property
    def over(self) -> bool:
        """Whether nothing more is begun: the budget is spent, or nothing is left to propose."""
        self.ended = self.ended or self.account.why_over()
        return self.ended is not None

    def next(self) -> Candidate | None:
        """The next candidate, under way from now on; None where none is to be begun, or not before another ends.

        Raises:
            SearchStopped: another process has taken the study over, believing this one dead.
        """
        self.require_ours()
        trials = self.budget.trials
        if self.over or (trials is not None and self.account.done + len(self.under_way) >= trials):
            return None
        try:
            candidate = self.proposals.next()
        except NothingLeft as nothing:
            self.ended = str(nothing)
            return None
        self.under_way[candidate.trial.number] = candidate
        return candidate

    def require_ours(self) -> None:
        """Raise SearchStopped where another process has taken the study over, believing this one dead."""
        require_ours(self.driver, self.study)

    def says(self, number: int, step: str, where: str = "") -> None:
        """Keeps what a trial is at, for `vitscape status`."""
        self.driver.running[number] = {"step": step, "where": where}

    def finish(self, candidate: Candidate, found: Found) -> TrialRecord:
        """The record of a candidate, written to the study with what was found.

        Raises:
            SearchStopped: ten trials failed in a row, or another process has taken the study over.
        """
        self.require_ours()
        number, record = candidate.trial.number, candidate.record(**found)
        del self.under_way[number]  # first: what a Ctrl-C leaves half closed is not to be given back
        self.driver.running.pop(number, None)
        close_trial(self.study, candidate.trial, record, self.plan.objectives, self.plan.work.limits)
        self.proposals.remember(number, record)
        self._teach(number, record)
        self.progress.finished(number, record, self.account.add(record), self.front.joins(record))
        self._failures = self._failures + 1 if record.status == "failed" else 0
        if self._failures == MOST_FAILURES:
            raise SearchStopped(
                f"{self._failures} trials failed in a row, the last with {record.error}: search stopped"
            )
        return record

    def give_back(self) -> None:
        """Enqueues again what is under way, and closes its trials: nothing of it was found."""
        for candidate in list(self.under_way.values()):
            del self.under_way[candidate.trial.number]
            trial, origin = candidate.trial, candidate.origin
            enqueue_again(self.study, trial.params, origin, trial.number, origin.get("retries", 0))
            record = candidate.record(status="interrupted", seconds=time.monotonic() - candidate.began)
            close_trial(self.study, trial, record, self.plan.objectives, self.plan.work.limits)

    def _teach(self, number: int, record: TrialRecord) -> None:
        if self.rule is not None:
            self.rule.learn(number, record)


@contextmanager
def session(
    study: optuna.Study,
    plan: Plan,
    budget: Budget,
    presets: list[Architecture],
    progress: SearchProgress,
    rule: Rule | None = None,
    engine: str = "local",
) -> Iterator[Session]:
    """A session, this process being the one that searches the study; what is under way at its end is given back.

    Raises:
        SearchStopped: another process searches this study.
    """
    with sole_searcher(study, {"engine": engine, **asdict(budget)}) as driver:
        begun = None
        try:
            begun = Session(study, driver, plan, budget, presets, progress, rule)
            yield begun
        except (InputError, SearchStopped) as error:
            # where the storage is gone the next start gives it back
            if begun is not None and not isinstance(error, StorageError) and _is_ours(driver):
                begun.give_back()
            raise
        except KeyboardInterrupt:
            with uninterrupted(), suppress(StorageError):  # where the storage is gone the next start does it
                if _is_ours(driver):
                    read_anew(study)  # a Ctrl-C may have come between a write and the note of it
                    if begun is not None:
                        begun.give_back()
                    # what it met while it was asked for or told
                    close_interrupted(study, plan.space, plan.objectives, plan.work.limits)
            raise


@contextmanager
def sole_searcher(study: optuna.Study, about: Mapping[str, Any]) -> Iterator[Driver]:
    """Holds a study for this process, telling `about` to whoever asks who searches it.

    Raises:
        SearchStopped: another process searches this study.
    """
    with (
        exclusive(study_key(study), _refuse_second(study.study_name)),
        driving(study, about, SearchStopped) as driver,
    ):
        yield driver


def require_ours(driver: Driver, study: optuna.Study) -> None:
    """Raise SearchStopped where another process has taken the study over, believing this one dead."""
    if driver.taken_by is not None:
        raise SearchStopped(f"{driver.taken_by} has taken over study {study.study_name!r}: search stopped")


def _is_ours(driver: Driver) -> bool:
    """Whether no other process has taken the study over by now, as far as the storage tells."""
    with suppress(*UNREACHABLE):
        driver.beat()
    return driver.taken_by is None


class RunningFront:
    """The front of the trials seen so far, kept up without reading the study again."""

    def __init__(self, objectives: tuple[str, ...]) -> None:
        self.objectives = metrics(objectives)
        self.points: list[tuple[float, ...]] = []  # all to be minimised

    def joins(self, record: TrialRecord) -> bool:
        """Whether a complete trial is on the front now."""
        if record.status != "complete" or record.evaluation is None:
            return False
        point = minimised(self.objectives, record.evaluation)
        if point is None or any(all(a <= b for a, b in zip(other, point, strict=True)) for other in self.points):
            return False
        self.points = [p for p in self.points if not all(a <= b for a, b in zip(point, p, strict=True))] + [point]
        return True


def _refuse_second(name: str) -> Callable[[int | None], None]:
    def refuse(pid: int | None) -> None:
        raise SearchStopped(f"process {pid or 'unknown'} is searching study {name!r} already: wait for it, or end it")

    return refuse
