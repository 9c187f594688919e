"""What a study's trials say, in numbers, kept up from one proposal to the next."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from explorer.search.pareto.columns import Columns, Levels
from explorer.search.pareto.domain import Domain, Facts, Key, Point, internal
from explorer.search.pareto.tree import Path, Tree, path_of

EXPECTED = "expected_values"  # user attribute of a pruned trial: what its objectives would likely have been
PLAN = "pareto:plan"  # system attribute of a trial: what its sampler means to answer
FIXED = "fixed_params"  # Optuna's, of a trial that was enqueued
MOST_KINDS = 32  # distributions of one parameter that are compared with a new one


@dataclass
class Row:
    """A point that was evaluated, or nearly."""

    number: int  # of its trial
    point: Point
    levels: Levels
    values: tuple[float, ...] | None  # to minimize; None where no constraint let it come that far
    constraints: dict[str, float]
    facts: Facts
    feasible: bool = field(init=False)

    def __post_init__(self) -> None:
        self.feasible = self.values is not None and all(value <= 0 for value in self.constraints.values())


@dataclass
class History:
    """All of a study's trials, as far as they have been read."""

    columns: Columns
    domain: Domain | None
    signs: tuple[float, ...]
    tree: Tree = field(default_factory=Tree)
    rows: list[Row] = field(default_factory=list)  # in the order of the trials' numbers
    constraints: set[str] = field(default_factory=set)  # their names
    taken: set[Key] = field(default_factory=set)
    finished: set[int] = field(default_factory=set)  # trials, by number
    proposed: list[int] = field(default_factory=list)  # those of them that were proposed, ascending
    unfinished: list[FrozenTrial] = field(default_factory=list)  # all others, when they were last read
    _distributions: dict[str, BaseDistribution] = field(default_factory=dict)  # that trials were last asked for
    _kinds: dict[str, list[BaseDistribution]] = field(default_factory=dict)  # all of a parameter, each once
    # of failed trials that may not have made all their decisions: those made, and whether more were planned
    _failed: list[tuple[Path, bool]] = field(default_factory=list)

    @classmethod
    def of(cls, study: optuna.Study, domain: Domain | None, column_of: Callable[[str], str]) -> History:
        """An empty one."""
        signs = tuple(-1.0 if d == StudyDirection.MAXIMIZE else 1.0 for d in study.directions)
        return cls(Columns(column_of), domain, signs)

    def read(self, trials: Sequence[FrozenTrial], asking: int) -> list[Point]:
        """Reads what is new; the points of the trials under way or enqueued, but for the one that is asking."""
        self.tree.release()
        others = [trial for trial in trials if trial.number != asking and trial.number not in self.finished]
        for trial in others:
            if trial.state.is_finished():
                self.finished.add(trial.number)
                if is_proposal(trial):
                    insort(self.proposed, trial.number)
                self._learn(trial)
        failed, self._failed = self._failed, []
        for path, more in failed:
            self._fail(path, more)
        self.unfinished = [trial for trial in others if not trial.state.is_finished()]
        under_way = [self._intended(trial) for trial in self.unfinished]
        return [point for point in under_way if point is not None]

    def turn(self, asking: int) -> int:
        """How many of the trials before the one that is asking were proposed."""
        before = (trial for trial in self.unfinished if trial.number < asking)
        return bisect_left(self.proposed, asking) + sum(map(is_proposal, before))

    def levels(self, point: Point) -> Levels:
        """The levels of a point."""
        return self.columns.row(point.values, point.distributions)

    def facts(self, point: Point) -> Facts:
        """What is known of a point for nothing."""
        if self.domain is None:
            return Facts()
        try:
            return self.domain.facts(point.params)
        except (ValueError, KeyError):  # of a trial that is none of the space's
            return Facts()

    def _learn(self, trial: FrozenTrial) -> None:
        path = [(name, value, self._kind(name, distribution)) for name, value, distribution in path_of(trial)]
        point = Point({name: value for name, value, _ in path}, {name: d for name, _, d in path})
        self._distributions |= point.distributions
        self.taken.add(point.key)
        if trial.state == TrialState.FAIL:
            planned = trial.system_attrs.get(PLAN, {}).get("point", {})
            self._failed.append((path, bool(planned.keys() - point.values.keys())))
        else:
            self.tree.add(path)
        values = self._values(trial)
        constraints = {name: float(value) for name, value in trial.constraints.items() if not math.isnan(value)}
        if not path or (values is None and not any(value > 0 for value in constraints.values())):
            return
        self.constraints |= constraints.keys()
        row = Row(trial.number, point, self.levels(point), values, constraints, self.facts(point))
        insort(self.rows, row, key=lambda one: one.number)

    def _kind(self, name: str, distribution: BaseDistribution) -> BaseDistribution:
        """The one object for all equal distributions of a parameter: what is known of each is kept by identity."""
        kinds = self._kinds.setdefault(name, [])
        for kind in kinds:
            if kind is distribution or kind == distribution:
                return kind
        if len(kinds) < MOST_KINDS:
            kinds.append(distribution)
        return distribution

    def _fail(self, path: Path, more: bool) -> None:
        """Closes the way of a failed trial, unless it failed while it was asked.

        That is told by what others did after its last decision, or one like it. As long as there is none the way is
        kept closed.
        """
        if not path:
            return
        ended, went_on = self.tree.followed(path)
        if ended and not (went_on and more):
            self.tree.add(path)
            return
        self._failed.append((path, more))
        if not went_on:
            self.tree.hold(path)

    def _values(self, trial: FrozenTrial) -> tuple[float, ...] | None:
        found: Any = trial.values if trial.state == TrialState.COMPLETE else trial.user_attrs.get(EXPECTED)
        if trial.state == TrialState.FAIL or not isinstance(found, list | tuple) or len(found) != len(self.signs):
            return None
        try:
            values = tuple(sign * float(value) for sign, value in zip(self.signs, found, strict=True))
        except (TypeError, ValueError, OverflowError):
            return None
        return values if all(map(math.isfinite, values)) else None

    def _intended(self, trial: FrozenTrial) -> Point | None:
        """The point of a trial that has not ended: what it was asked, and what it is meant to answer to the rest."""
        path = path_of(trial)
        asked = {name: value for name, value, _ in path}
        self._distributions |= trial.distributions
        planned = self._stored(trial.system_attrs.get(PLAN, {}).get("point", {}), trial.system_attrs.get(FIXED, {}))
        if not planned.keys() - asked.keys():
            self.tree.hold(path)
        values = planned | asked
        self.taken.add(frozenset(values.items()))
        known = {name: value for name, value in values.items() if name in self._distributions}
        known = {name: value for name, value in known.items() if self._distributions[name]._contains(value)}
        return Point(known, {name: self._distributions[name] for name in known}) if known else None

    def _stored(self, planned: Mapping[str, float], fixed: Mapping[str, Any]) -> dict[str, float]:
        """What is planned, and what is fixed as far as it can be told how Optuna will store it."""
        found = dict(planned)
        for name, value in fixed.items():
            if name in self._distributions and (stored := internal(self._distributions[name], value)) is not None:
                found[name] = stored
        return found


def is_proposal(trial: FrozenTrial) -> bool:
    """Whether a trial was proposed, or is about to be.

    One that was enqueued was not, so that an interrupted trial and its repetition count as one; nor one that was killed
    before anything was proposed.
    """
    if FIXED in trial.system_attrs:
        return False
    return PLAN in trial.system_attrs or trial.state == TrialState.RUNNING
