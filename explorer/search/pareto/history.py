"""What a study's trials say, in numbers, kept up from one proposal to the next."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from explorer.search.pareto.columns import Columns, Levels
from explorer.search.pareto.domain import Domain, Facts, Point
from explorer.search.pareto.tree import Tree, path_of

Key: TypeAlias = frozenset[tuple[str, float]]

EXPECTED = "expected_values"  # user attribute of a pruned trial: what its objectives would likely have been
PLAN = "pareto:plan"  # system attribute of a trial: {"turn": proposals before it, "point": what it is meant to answer}


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
    distributions: dict[str, BaseDistribution] = field(default_factory=dict)  # the latest of each parameter
    finished: set[int] = field(default_factory=set)  # trials, by number

    @classmethod
    def of(cls, study: optuna.Study, domain: Domain | None, column_of: Callable[[str], str]) -> History:
        """An empty one."""
        signs = tuple(-1.0 if d == StudyDirection.MAXIMIZE else 1.0 for d in study.directions)
        return cls(Columns(column_of), domain, signs)

    def read(self, trials: Sequence[FrozenTrial], asking: int) -> list[Point]:
        """Reads what is new; the points of the trials under way or enqueued, but for the one that is asking."""
        under_way = []
        for trial in trials:
            if trial.number in self.finished or trial.number == asking:
                continue
            if trial.state.is_finished():
                self.finished.add(trial.number)
                self._learn(trial)
            elif (point := self._intended(trial)) is not None:
                under_way.append(point)
        return under_way

    def take(self, point: Point, distributions: dict[str, BaseDistribution]) -> None:
        """Takes in the parameters of a point."""
        for name in point:
            self.distributions[name] = distributions[name]

    def levels(self, point: Point) -> Levels:
        """The levels of a point."""
        return self.columns.row(point, self.distributions)

    def facts(self, point: Point) -> Facts:
        """What is known of a point for nothing."""
        if self.domain is None:
            return Facts()
        return self.domain.facts({n: self.distributions[n].to_external_repr(v) for n, v in point.items()})

    def _learn(self, trial: FrozenTrial) -> None:
        path = path_of(trial)
        self.tree.add(path, ended=trial.state != TrialState.FAIL)
        point = {name: value for name, value, _ in path}
        self.take(point, dict(trial.distributions))
        self.taken.add(frozenset(point.items()))
        values = self._values(trial)
        constraints = {name: float(v) for name, v in trial.constraints.items() if math.isfinite(v)}
        if not point or (values is None and not any(v > 0 for v in constraints.values())):
            return
        levels = self.levels(point)
        row = Row(trial.number, point, levels, values, constraints, self._facts_of(point))
        self.constraints |= constraints.keys()
        insort(self.rows, row, key=lambda one: one.number)

    def _facts_of(self, point: Point) -> Facts:
        try:
            return self.facts(point)
        except (ValueError, KeyError):  # of a trial that is none of the space's
            return Facts()

    def _values(self, trial: FrozenTrial) -> tuple[float, ...] | None:
        found = trial.values if trial.state == TrialState.COMPLETE else trial.user_attrs.get(EXPECTED)
        if found is None or trial.state == TrialState.FAIL or len(found) != len(self.signs):
            return None
        values = tuple(sign * float(value) for sign, value in zip(self.signs, found, strict=True))
        return values if all(map(math.isfinite, values)) else None

    def _intended(self, trial: FrozenTrial) -> Point | None:
        """The point of a trial that has not ended: what it was asked, and what it is meant to answer to the rest."""
        path = path_of(trial)
        if trial.state == TrialState.RUNNING and path:
            self.tree.add(path, ended=False)
        self.take({name: value for name, value, _ in path}, dict(trial.distributions))
        point: Point = dict(trial.system_attrs.get(PLAN, {}).get("point", {}))
        for name, value in trial.system_attrs.get("fixed_params", {}).items():
            if name in self.distributions and name not in point:
                point[name] = self.distributions[name].to_internal_repr(value)
        point |= {name: value for name, value, _ in path}
        known = {name: value for name, value in point.items() if name in self.distributions}
        self.taken.add(frozenset(known.items()))
        return known or None
