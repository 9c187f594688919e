"""The rule of a search that trains what can reach the front, and no longer than it can.

A candidate's costs are known before it is trained. What is not known is its accuracy, and of that a little is known
beforehand (from networks like it), more after each epoch. It is trained, or trained on, while the most that it can be
expected to reach is above the accuracy of every finished trial that costs no more. So a candidate cheaper than all
finished ones always is, and no candidate competes with larger ones; successive halving on accuracy alone ends the
small, fast end of the front (docs/early_stopping.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from explorer.metrics import metrics, minimised
from explorer.record import Evaluation, TrialRecord
from explorer.search.choices import traits
from explorer.search.expectation import Curve, Expectation
from explorer.search.stopping import Decision, Own, Rule, Stopping, audited
from search_spaces.architecture import Architecture
from search_spaces.errors import InputError

LEAST = 6  # trainings run to the end before anything is stopped
ENOUGH = 12  # before anything is that costs more than all of them
SHARE = 0.55  # of the trainings that end below the bound
STOPPING = ("front", "none")  # rules by name


@dataclass(frozen=True)
class Finished:
    """A trial that was trained to the end."""

    number: int
    costs: tuple[float, ...]
    accuracy: float  # %


@dataclass
class Reach:
    """Stops what is not expected to reach the front: while it trains (`stops`), before it is trained (`gates`).

    Only the survivors' curves run to the end, so that learning from these alone would expect too much of the others: it
    errs towards training on. What was stopped is learnt from as expectation.py says, and one architecture in twenty
    trains to its end whatever is expected, so that the rule keeps learning where it stops the most.
    """

    objectives: tuple[str, ...]
    epochs: int  # that a training runs
    stops: bool = True
    gates: bool = True
    finished: list[Finished] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.expectation = Expectation(self.epochs)

    def decide(self, number: int, architecture: Architecture, so_far: Evaluation) -> Decision:
        curve = so_far.accuracy_by_epoch
        asked = self.stops if curve else self.gates
        if not asked or len(curve) >= self.epochs or len(self.finished) < LEAST or audited(architecture):
            return Decision()
        costs = self._costs(so_far)
        best = None if costs is None or self._too_early(costs) else self._best_at(costs)
        if best is None:
            return Decision()
        known = traits(architecture.canonical.to_dict(), so_far)
        expected, most = self.expectation.expect(known, curve, SHARE)
        if most > best.accuracy:
            return Decision()
        when = f"after epoch {len(curve)}" if curve else "not trained"
        reason = f"{when}: {most:.1f} % expected at most, trial {best.number} has {best.accuracy:.1f} % at no more cost"
        return Decision(False, min(max(expected, 0.0), 100.0), reason)

    def learn(self, number: int, record: TrialRecord) -> None:
        found = record.evaluation
        if record.status not in ("complete", "stopped") or found is None or not found.accuracy_by_epoch:
            return
        self.expectation.learn(Curve(traits(record.architecture, found), found.accuracy_by_epoch))
        costs = self._costs(found)
        if record.status == "complete" and found.accuracy is not None and costs is not None:
            self.finished.append(Finished(number, costs, found.accuracy))

    def _costs(self, found: Evaluation) -> tuple[float, ...] | None:
        """The objectives beside the accuracy, all minimised; None where one was not measured."""
        return minimised((row for row in metrics(self.objectives) if row.name != "accuracy"), found)

    def _too_early(self, costs: tuple[float, ...]) -> bool:
        """Whether few trainings have ended, and a candidate costs more than all: what it reaches is guessed, too low.

        Of several that train at once the small ones end first.
        """
        largest = (max(column) for column in zip(*(one.costs for one in self.finished), strict=True))
        return len(self.finished) < ENOUGH and all(a > b for a, b in zip(costs, largest, strict=True))

    def _best_at(self, costs: tuple[float, ...]) -> Finished | None:
        """The most accurate finished trial that costs no more in anything."""
        as_cheap = (one for one in self.finished if all(a <= b for a, b in zip(one.costs, costs, strict=True)))
        return max(as_cheap, key=lambda one: one.accuracy, default=None)


class Chosen(NamedTuple):
    """The rule of a search, and what its study keeps of it."""

    rule: Rule | None
    stopping: str
    gating: bool


def chosen(stopping: Stopping | str | None, gating: bool | None, objectives: tuple[str, ...], epochs: int) -> Chosen:
    """The rule by its name, or one's own; "auto" is "front" where accuracy is one objective of several.

    Where nothing is trained there is none. `gating` is on with "front" where it is None.

    Raises:
        InputError: no such rule; one line.
    """
    if isinstance(stopping, str) and stopping not in (*STOPPING, "auto"):
        raise InputError(f"stopping={stopping}: not known; use one of {', '.join(STOPPING)}")
    if "accuracy" not in objectives:
        return Chosen(None, "none", False)
    if stopping == "auto":
        stopping = "front" if len(objectives) > 1 else "none"
    stops = stopping == "front"
    gates = stops if gating is None else gating
    rule: Rule | None = Reach(objectives, epochs, stops, gates) if stops or gates else None
    if stopping is None or isinstance(stopping, str):
        return Chosen(rule, stopping or "none", gates)
    return Chosen(Own(stopping, rule), type(stopping).__name__, gates)
