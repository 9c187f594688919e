"""Asks a study for architectures that are worth an evaluation: new ones, within the limits known in closed form."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import Trial

from explorer.evaluate import count
from explorer.limits import Limits
from explorer.metrics import METRICS
from explorer.record import Evaluation, TrialRecord
from explorer.search.study import ORIGIN, close_trial, spent, waiting
from search_spaces.architecture import Architecture
from search_spaces.cost import cost
from search_spaces.space import SearchSpace

REPEATS = 4  # successive proposals of known or too costly points after which one is drawn at random instead
DRAWS = 5_000  # random draws before a space counts as exhausted, or as having nothing within the limits


class NothingLeft(Exception):
    """The space has no further architecture to evaluate; the message says why, in one line."""


@dataclass(frozen=True)
class Candidate:
    """A trial under way and what it is to evaluate."""

    trial: Trial
    architecture: Architecture
    origin: dict[str, Any]  # where it was enqueued: the preset, or the interrupted trial that it repeats
    began: float = field(default_factory=time.monotonic)
    known: Evaluation | None = None  # nothing, where all is to be evaluated

    def record(self, **found: Any) -> TrialRecord:
        """The trial's record, with what was found."""
        return TrialRecord(
            id=self.architecture.id,
            architecture=self.architecture.canonical.to_dict(),
            preset=self.origin.get("preset"),
            retry_of=self.origin.get("retry_of"),
            **{"retries": self.origin.get("retries", 0), **found},
        )


class Proposals:
    """The stream of candidates of a search.

    What the sampler proposes again is answered from the record, once there is one, and what is over a closed-form limit
    is recorded as infeasible; neither is evaluated, and neither is counted. When a sampler does little else, a random
    new point is put before it: told only failures it would repeat itself for ever, and told nothing it would not learn.
    """

    def __init__(
        self,
        study: optuna.Study,
        space: SearchSpace,
        objectives: tuple[str, ...],
        limits: Limits,
        seed: int,
        finished: dict[int, TrialRecord],
    ) -> None:
        self.study, self.space, self.objectives, self.limits, self.seed = study, space, objectives, limits, seed
        self.known: dict[str, tuple[int, TrialRecord]] = {}
        self.under_way: dict[str, list[Candidate]] = {}  # id -> repeats that wait for what is found of it
        self.misses = _misses(finished)  # proposals in a row that were not evaluated
        for number, record in finished.items():
            self.remember(number, record)

    def remember(self, number: int, record: TrialRecord) -> None:
        """Take note of a finished trial, so that its architecture is not evaluated again; answer its repeats."""
        if record.status in ("complete", "infeasible", "stopped", "failed"):
            self.known.setdefault(record.id, (number, record))
            for repeat in self.under_way.pop(record.id, []):
                self._answer(repeat)

    def enqueue_presets(self, presets: list[Architecture]) -> None:
        """Put the presets that the space contains first in the queue, unless they are known or there already."""
        queued = {trial.user_attrs.get(ORIGIN, {}).get("preset") for trial in waiting(self.study)}
        for preset in presets:
            if self.space.contains(preset) and preset.name not in queued and preset.id not in self.known:
                self.study.enqueue_trial(self.space.params(preset), user_attrs={ORIGIN: {"preset": preset.name}})

    def next(self) -> Candidate:
        """The next architecture to evaluate, with its trial; until its record is known it is under way.

        Raises:
            NothingLeft: every architecture is known, or none found is within the limits.
        """
        while True:
            if self.misses >= REPEATS and not waiting(self.study):
                self._enqueue_new()
            trial = self.study.ask()
            architecture = self.space.suggest(trial)
            candidate = Candidate(trial, architecture, trial.user_attrs.get(ORIGIN, {}))
            if architecture.id in self.known:
                self._answer(candidate)
            elif architecture.id in self.under_way:
                self.under_way[architecture.id].append(candidate)
            elif (counted := count(architecture, self.limits)).infeasible:
                self._reject(candidate, counted)
            else:
                self.under_way[architecture.id] = []
                self.misses = 0
                return candidate
            self.misses += 1

    def _answer(self, candidate: Candidate) -> None:
        number, first = self.known[candidate.architecture.id]
        record = candidate.record(status="duplicate", duplicate_of=number, error=first.error)
        close_trial(self.study, candidate.trial, record, self.objectives, self.limits, first=first)

    def _reject(self, candidate: Candidate, counted: Evaluation) -> None:
        record = candidate.record(status="infeasible", evaluation=counted)
        close_trial(self.study, candidate.trial, record, self.objectives, self.limits)
        self.remember(candidate.trial.number, record)

    def _enqueue_new(self) -> None:
        """Put a random architecture that is new and within the closed-form limits before the sampler's proposals."""
        rng = random.Random(f"{self.seed}:{self._asked()}")  # an interruption moves the number of trials, not this one
        cheapest: dict[str, float] = {}
        for _ in range(DRAWS):
            if self._asked() >= self.space.size:
                break
            architecture = self.space.sample(rng)
            counts = cost(architecture)
            for name, value in (("macs", counts.macs), ("params", counts.params)):
                cheapest[name] = min(value, cheapest.get(name, value))
            new = architecture.id not in self.known and architecture.id not in self.under_way
            if new and not self.limits.exceeded(counts):
                self.study.enqueue_trial(self.space.params(architecture))
                return
        self._give_up(cheapest)

    def _give_up(self, cheapest: dict[str, float]) -> None:
        for name, limit in self.limits.given().items():
            if cheapest.get(name, 0) > limit:
                least, most = METRICS[name].text(cheapest[name]), METRICS[name].text(limit)
                raise NothingLeft(
                    f"max-{name}: none of {DRAWS} random architectures of {self.space.name} is within {most};"
                    f" the least of them has {least}"
                )
        if self._asked() >= self.space.size:
            raise NothingLeft(f"all {self.space.size} architectures of {self.space.name} are known")
        raise NothingLeft(f"{DRAWS} random architectures of {self.space.name} brought no new one within the limits")

    def _asked(self) -> int:
        """How many different architectures are known or under way."""
        return len(self.known.keys() | self.under_way.keys())


def _misses(finished: dict[int, TrialRecord]) -> int:
    """How many of the last trials were answered from the record or rejected; an interrupted one is as none."""
    many = 0
    for _, record in sorted(finished.items(), reverse=True):
        if spent(record):
            break
        many += record.status != "interrupted"
    return many
