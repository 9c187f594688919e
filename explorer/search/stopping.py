"""Ends trainings early, or does not begin them: the seam between the engines, which ask, and a rule, which decides."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

from explorer.record import Evaluation, TrialRecord
from search_spaces.architecture import Architecture

AUDITED = 20  # of so many architectures one is


@dataclass(frozen=True)
class Decision:
    """Whether a training is begun or goes on; where not, the final accuracy expected of it in %, and why in words."""

    goes_on: bool = True
    expected: float | None = None
    reason: str | None = None


def audited(architecture: Architecture) -> bool:
    """Whether an architecture is trained to its end whatever is expected: else a rule would not see where it errs.

    By its id, for an interruption moves the numbers of all later trials, and is to move nothing else.
    """
    drawn = hashlib.blake2b(f"audit:{architecture.id}".encode(), digest_size=8).digest()
    return int.from_bytes(drawn, "big") % AUDITED == 0


class Rule(Protocol):
    """What an engine asks before a training and after each epoch. It has to be picklable: a cluster asks it elsewhere.

    What it ends is recorded as stopped, and is no result.
    """

    def decide(self, number: int, architecture: Architecture, so_far: Evaluation) -> Decision:
        """Whether the training of a trial goes on, given all that is known of it by then: before it, no accuracy.

        Asked in the order in which the epochs end, whichever trials they are of: several train at once on a cluster.
        """

    def learn(self, number: int, record: TrialRecord) -> None:
        """Takes note of a trial that has ended; on a resume of all of them, by number."""


class Stopping(Protocol):
    """A rule of one's own, for `search(stopping=...)`: it looks at accuracies alone, after each epoch."""

    def goes_on(self, number: int, so_far: Evaluation) -> bool:
        """Whether the training of a trial goes on after an epoch, given all that is known of it by then."""

    def learn(self, number: int, found: Evaluation) -> None:
        """Takes note of what a trial found, trained to the end, stopped or not trained."""


@dataclass
class Own:
    """A rule of one's own as the engines ask it, beside another that is asked first."""

    stopping: Stopping
    first: Rule | None = None

    def decide(self, number: int, architecture: Architecture, so_far: Evaluation) -> Decision:
        decision = Decision() if self.first is None else self.first.decide(number, architecture, so_far)
        if decision.goes_on and so_far.accuracy_by_epoch and not self.stopping.goes_on(number, so_far):
            return Decision(False, reason=f"{type(self.stopping).__name__} ended it")
        return decision

    def learn(self, number: int, record: TrialRecord) -> None:
        if self.first is not None:
            self.first.learn(number, record)
        if record.evaluation is not None:
            self.stopping.learn(number, record.evaluation)
