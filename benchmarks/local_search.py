"""The plain Pareto local search that samplers are compared with: no model, a few lines (Paquete et al. 2004)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import moocore
import numpy as np
import optuna

from benchmarks.policy_problems import Problem

START = 10  # random points
TRIES = 100  # for a neighbour that is new


class Like:
    """Stands for a trial: answers as another point did, but for one choice; by chance what that was not asked."""

    def __init__(self, rng: np.random.Generator, other: Mapping[str, Any]) -> None:
        self.rng, self.other, self.asked = rng, other, dict[str, Any]()
        self.changed = list(other)[int(rng.integers(len(other)))] if other else ""

    def suggest_categorical(self, name: str, options: Any) -> Any:
        options, before = list(options), self.other.get(name)
        if name == self.changed and len(options) > 1:
            options.remove(before)
        elif before in options:
            options = [before]
        self.asked[name] = options[int(self.rng.integers(len(options)))]
        return self.asked[name]

    def suggest_int(self, name: str, low: int, high: int) -> int:
        return int(self.suggest_categorical(name, range(low, high + 1)))

    def set_constraint(self, name: str, value: float) -> None:
        """Nothing: it is known once the point is evaluated."""


def proposal(problem: Problem, study: optuna.Study, rng: np.random.Generator) -> dict[str, Any]:
    """The parameters of a member of the front with one choice changed, that no trial has had."""
    trials = study.get_trials(deepcopy=False)
    feasible = [trial for trial in trials if all(value <= 0 for value in trial.constraints.values())]
    front = []
    if len(trials) >= START and feasible:
        values = np.array([problem.signed(tuple(trial.values)) for trial in feasible])
        front = [feasible[i] for i in np.flatnonzero(moocore.is_nondominated(values))]
    known = {frozenset(trial.params.items()) for trial in trials}
    tries = 0
    while True:
        tries += 1
        near = front and tries % TRIES  # now and then a random point: all neighbours may be known
        point = Like(rng, front[int(rng.integers(len(front)))].params if near else {})
        problem.objective(point)
        if frozenset(point.asked.items()) not in known:
            return point.asked
