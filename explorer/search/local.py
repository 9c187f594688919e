"""The local engine: one trial after the other in this process, on one device."""

from __future__ import annotations

import signal
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import optuna
import torch

from explorer.evaluate import evaluate
from explorer.metrics import metrics
from explorer.profile.lease import exclusive
from explorer.proxy.data import Dataset, load_data
from explorer.record import TrialRecord
from explorer.search.progress import SearchProgress
from explorer.search.propose import Candidate, NothingLeft, Proposals
from explorer.search.study import Plan, close_interrupted, close_trial, enqueue_again, records, spent
from explorer.storage import study_key
from search_spaces.architecture import Architecture
from search_spaces.errors import InputError

MOST_FAILURES = 10  # in a row: then something is wrong with the set-up, not with the candidates
SIZES_KEPT = 2  # image sizes whose data stays in memory


class SearchStopped(RuntimeError):
    """The search cannot go on; what is finished is kept. One line."""


@dataclass(frozen=True)
class Budget:
    """When to stop: after so many trials in the study, or so many hours of this run; None: no such limit."""

    trials: int | None = None
    hours: float | None = None


def run(study: optuna.Study, plan: Plan, budget: Budget, presets: list[Architecture], progress: SearchProgress) -> str:
    """Why the search ended, in words, after evaluating candidates until the budget is spent.

    The presets that the space contains are evaluated first. One process at a time searches a study.

    Raises:
        SearchStopped: ten trials failed in a row, or another process searches this study.
        KeyboardInterrupt: after the running trial was closed and enqueued again.
    """
    started = time.monotonic()
    one_at_a_time = exclusive(study_key(study), _refuse_second(study.study_name))
    with one_at_a_time, interrupts() as check, _left_closed(study, plan):

        def say(text: str) -> None:
            check()
            progress.step(text)

        close_interrupted(study, plan.space, plan.objectives, plan.limits)
        finished = records(study)
        proposals = Proposals(study, plan.space, plan.objectives, plan.limits, plan.seed, finished)
        proposals.enqueue_presets(presets)
        front = RunningFront(plan.objectives)
        for record in finished.values():
            front.joins(record)
        done = sum(spent(record) for record in finished.values())
        progress.already(done)
        images, failures = Images(plan.data), 0
        while budget.trials is None or done < budget.trials:
            if budget.hours is not None and time.monotonic() - started >= budget.hours * 3600:
                return f"{budget.hours:g} hours are over"
            say("choosing")
            try:
                candidate = proposals.next()
            except NothingLeft as nothing:
                return str(nothing)
            record = _evaluated(study, plan, candidate, images, say)
            proposals.remember(candidate.trial.number, record)
            done += spent(record)
            progress.finished(candidate.trial.number, record, spent(record), front.joins(record))
            failures = failures + 1 if record.status == "failed" else 0
            if failures == MOST_FAILURES:
                raise SearchStopped(f"{failures} trials failed in a row, the last with {record.error}: search stopped")
    return f"{done} trials are done"


@contextmanager
def interrupts() -> Iterator[Callable[[], None]]:
    """A check that raises KeyboardInterrupt after a Ctrl-C which was lost.

    Python drops an exception that a signal raises inside a destructor or a callback of C code, and there are many of
    both under a training step; the check is made between steps.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    asked = threading.Event()

    def remember(number: int, where: FrameType | None) -> None:
        asked.set()
        raise KeyboardInterrupt

    def check() -> None:
        if asked.is_set():
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _left_closed(study: optuna.Study, plan: Plan) -> Iterator[None]:
    """Closes what still runs after a Ctrl-C that came while a trial was asked for or told."""
    try:
        yield
    except KeyboardInterrupt:
        with uninterrupted():
            close_interrupted(study, plan.space, plan.objectives, plan.limits)
        raise


class Images:
    """The data set at the image sizes lately asked for."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.kept: OrderedDict[int, Dataset] = OrderedDict()

    def at(self, image_size: int) -> Dataset:
        """The data set at an image size, loaded once while it stays among the last ones used."""
        if image_size not in self.kept:
            self.kept[image_size] = load_data(self.source, image_size)
        self.kept.move_to_end(image_size)
        while len(self.kept) > SIZES_KEPT:
            self.kept.popitem(last=False)
        return self.kept[image_size]


def _evaluated(
    study: optuna.Study, plan: Plan, candidate: Candidate, images: Images, say: Callable[[str], None]
) -> TrialRecord:
    """The record of a candidate, evaluated and written to the study, whatever happened meanwhile."""
    started = time.monotonic()
    trained = "accuracy" in plan.objectives
    try:
        evaluation = evaluate(
            candidate.architecture,
            data=images.at(candidate.architecture.image_size) if trained else plan.data,
            setup=plan.setup,
            settings=plan.settings,
            limits=plan.limits,
            seed=plan.seed,
            measure=plan.objectives,
            on_step=say,
        )
        status = "infeasible" if evaluation.infeasible else "complete"
        record = candidate.record(status=status, evaluation=evaluation, seconds=time.monotonic() - started)
    except KeyboardInterrupt:
        with uninterrupted():
            _give_back(study, plan, candidate, time.monotonic() - started)
        raise
    except InputError:  # the set-up's fault, so every other candidate's, too
        _give_back(study, plan, candidate, time.monotonic() - started)
        raise
    except Exception as error:  # the one broad catch: a candidate may fail in any way, and the search goes on
        line = " ".join(str(error).split())[:300]
        record = candidate.record(
            status="failed",
            seconds=time.monotonic() - started,
            error=f"{type(error).__name__}: {line}",
            traceback=traceback.format_exc(limit=-8),
        )
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    close_trial(study, candidate.trial, record, plan.objectives, plan.limits)
    return record


def _give_back(study: optuna.Study, plan: Plan, candidate: Candidate, seconds: float) -> None:
    """Enqueue a candidate that was not evaluated again, and close its trial."""
    trial, origin = candidate.trial, candidate.origin
    enqueue_again(study, trial.params, origin, trial.number, origin.get("retries", 0))
    record = candidate.record(status="interrupted", seconds=seconds)
    close_trial(study, trial, record, plan.objectives, plan.limits)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Holds Ctrl-C back while a trial is closed, in the main thread; a second one would leave it half closed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class RunningFront:
    """The front of the trials seen so far, kept up without reading the study again."""

    def __init__(self, objectives: tuple[str, ...]) -> None:
        self.objectives = metrics(objectives)
        self.points: list[tuple[float, ...]] = []  # all to be minimised

    def joins(self, record: TrialRecord) -> bool:
        """Whether a complete trial is on the front now."""
        if record.status != "complete" or record.evaluation is None:
            return False
        values = [metric.read(record.evaluation) for metric in self.objectives]
        signs = [-1 if metric.maximize else 1 for metric in self.objectives]
        point = tuple(sign * value for sign, value in zip(signs, values, strict=True) if value is not None)
        if any(all(a <= b for a, b in zip(other, point, strict=True)) for other in self.points):
            return False
        self.points = [p for p in self.points if not all(a <= b for a, b in zip(point, p, strict=True))] + [point]
        return True


def _refuse_second(name: str) -> Callable[[int | None], None]:
    def refuse(pid: int | None) -> None:
        raise SearchStopped(f"process {pid or 'unknown'} is searching study {name!r} already: wait for it, or end it")

    return refuse
