"""Ends trainings early: the seam between the engines, which know after each epoch, and a rule, which decides."""

from __future__ import annotations

from typing import Protocol

from explorer.record import Evaluation


class Stopping(Protocol):
    """A rule that looks at a training after each epoch. What it stops is recorded as stopped, and is no result."""

    def goes_on(self, number: int, so_far: Evaluation) -> bool:
        """Whether the training of a trial goes on after an epoch, given all that is known of it by then.

        Asked in the order in which the epochs end, whichever trials they are of: several train at once on a cluster.
        """

    def learn(self, number: int, found: Evaluation) -> None:
        """Takes note of what a trial found, trained to the end, stopped or not trained."""
