"""When a search has done enough: trials, hours, seconds of training, or a front that no longer grows."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from explorer.metrics import metrics, minimised
from explorer.record import TrialRecord
from explorer.results import REFERENCE_MARGIN, volume
from explorer.search.study import spent
from search_spaces.errors import InputError

LEAST_GROWTH = 1e-3  # of the hypervolume, over the last `patience` trials, below which it counts as grown no more


@dataclass(frozen=True)
class Budget:
    """When to stop; None: no such limit."""

    trials: int | None = None  # in the study, as `--trials` counts them
    hours: float | None = None  # of this run
    train_seconds: float | None = None  # of training, of all trials in the study
    patience: int | None = None  # trials over which the hypervolume grows by no more than 0.1 %, from the first one on

    def check(self, objectives: tuple[str, ...]) -> None:
        """Raise InputError of a budget that never ends, or ends before it begins, in a search for these objectives."""
        if all(limit is None for limit in (self.trials, self.hours, self.train_seconds, self.patience)):
            raise InputError(
                "trials and hours are both open: the search would never end; give one of them,"
                " or train-seconds or patience"
            )
        for name, limit in (("trials", self.trials), ("patience", self.patience)):
            if limit is not None and limit < 1:
                raise InputError(f"{name}={limit}: give at least 1")
        for name, length in (("hours", self.hours), ("train-seconds", self.train_seconds)):
            if length is not None and not 0 < length < 1e9:
                raise InputError(f"{name}={length}: give a number above 0")
        others = (self.trials, self.hours, self.patience)
        if "accuracy" not in objectives and all(limit is None for limit in others):
            raise InputError(
                f"train-seconds={self.train_seconds:g}: without accuracy among the objectives nothing is trained, and"
                " the search would never end; give trials, hours or patience"
            )


class Account:
    """What a study's trials have taken and reached, against a budget."""

    def __init__(self, budget: Budget, objectives: tuple[str, ...]) -> None:
        self.budget, self.objectives = budget, metrics(objectives)
        self.done = 0  # trials that count
        self.train_seconds = 0.0
        self._started = time.monotonic()
        self._looked = (0, False)  # at how many trials, whether the hypervolume grew no more
        self._points: list[tuple[float, ...] | None] = []  # of each trial that counts, to be minimised; where complete

    def add(self, record: TrialRecord) -> bool:
        """Takes note of a trial that has ended; whether it counts."""
        self.train_seconds += training_seconds(record)
        if not spent(record):
            return False
        self.done += 1
        found = record.evaluation if record.status == "complete" else None
        self._points.append(None if found is None else minimised(self.objectives, found))
        return True

    def why_over(self) -> str | None:
        """Why nothing more is to be begun, in words; None where something is."""
        budget = self.budget
        if budget.hours is not None and time.monotonic() - self._started >= budget.hours * 3600:
            return f"{budget.hours:g} hours are over"
        if budget.trials is not None and self.done >= budget.trials:
            return f"{self.done} trials are done"
        if budget.train_seconds is not None and self.train_seconds >= budget.train_seconds:
            return f"{self.train_seconds:.0f} of {budget.train_seconds:g} seconds of training are spent"
        if budget.patience is not None and self._idle(budget.patience):
            if not any(self._points):
                return f"none of {self.done} trials is complete, with a patience of {budget.patience}"
            return f"the hypervolume has not grown over {budget.patience} trials"
        return None

    def _idle(self, patience: int) -> bool:
        if self._looked[0] != self.done:  # an engine asks again and again while it waits
            self._looked = (self.done, self._grows_no_more(patience))
        return self._looked[1]

    def _grows_no_more(self, patience: int) -> bool:
        """One reference for both volumes, that of `vitscape status`: it moves, but not between the two."""
        before = [point for point in self._points[:-patience] if point is not None]
        if not before:  # there was none, nor is there one now
            return self.done >= patience and not any(self._points)
        now = np.array([point for point in self._points if point is not None])
        maximised = np.array([row.maximize for row in self.objectives])
        corner = np.where(maximised, 0.0, now.max(axis=0) * REFERENCE_MARGIN)
        return volume(now, corner) <= volume(np.array(before), corner) * (1 + LEAST_GROWTH)


def training_seconds(record: TrialRecord) -> float:
    """Wall seconds that a trial has trained; of one that failed all it took, since it does not say."""
    if record.status == "failed":
        return record.seconds
    if record.status not in ("complete", "stopped") or record.evaluation is None:
        return 0.0
    return record.evaluation.seconds.get("train", 0.0)
