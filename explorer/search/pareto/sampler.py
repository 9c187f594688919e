"""The sampler: proposes points that are likely to grow the front's hypervolume, and none that is known."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from explorer.search.one_thread import one_thread
from explorer.search.pareto.domain import ABSENT, Domain, Key, Point, choose
from explorer.search.pareto.history import FIXED, PLAN, History
from explorer.search.pareto.model import Model
from explorer.search.pareto.proposals import Candidates
from explorer.search.pareto.prospects import Prospects
from explorer.search.pareto.tree import path_of

START = 10  # points spread over the space before anything is modelled
LEAST = 3  # of them that have ended
SPREAD_OF = 24  # random points among which one is chosen that is far from all that are known
FIRST = 64  # candidates near the front
ROUNDS, MORE, BEST = 3, 48, 8  # then so many rounds of up to so many more, near the best of all before
NOTHING = Point({}, {})
LOCAL = 0.1  # share of proposals that are a member of the front with one choice changed, by chance


class ParetoSampler(BaseSampler):
    """Proposes points for studies of one objective or several, with or without constraints (`trial.set_constraint`).

    For categorical and integer parameters, conditional or not; floats are served as well. It starts with points spread
    over the space. Then it models each objective and constraint by a Gaussian process and proposes what is expected to
    add most to the front's hypervolume, among members of the front with some choices changed, mixtures of them, random
    points, and, in several rounds, what is near the best of all these; now and then it just changes one choice of a
    member (Pareto local search, Paquete et al. 2004). What was evaluated, is under way or enqueued is not proposed
    again while anything else is left.

    Its whole state is the study: a proposal follows from the seed, the number of proposals before it, and the trials
    known by then. Many processes can ask at once: each writes into its trial what it means to propose, and yields where
    another has done so.

    A pruned trial teaches it what its user attribute `expected_values` says, one number an objective. A `domain` tells
    of the space beforehand.

    >>> study = optuna.create_study(directions=["maximize", "minimize"], sampler=ParetoSampler(seed=1))
    """

    def __init__(self, seed: int = 0, *, domain: Domain | None = None) -> None:
        self.seed, self.domain = seed, domain
        self._lock = threading.RLock()
        self._known: tuple[Any, int, History, Model] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"seed": self.seed, "domain": self.domain}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Nothing: each parameter is answered when it is asked for, following the plan."""
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing."""
        return {}

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Plans the whole point, and writes it into the trial, unless it is there: a Trial may be made of it again."""
        if PLAN in trial.system_attrs:
            return
        fixed = trial.system_attrs.get(FIXED, {})
        with self._lock:
            history, model = self._of(study)
            for again in range(3):
                trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
                under_way = history.read(trials, trial.number)
                turn = history.turn(trial.number)
                rng = np.random.default_rng(
                    [self.seed, turn, again, *([trial.number] if FIXED in trial.system_attrs else [])]
                )
                point = self._plan(history, model, under_way, Candidates(history, fixed, rng)).values
                plan: dict[str, Any] = {"turn": turn, "point": point}
                study._storage.set_trial_system_attr(trial._trial_id, PLAN, plan)
                if not point or not self._is_planned_elsewhere(study, trial, point):
                    return

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The plan's value; where there is no plan, one that leads to something new."""
        plan = trial.system_attrs.get(PLAN, {"turn": trial.number, "point": {}})
        planned = plan["point"].get(param_name)
        wanted: Any = ABSENT
        if planned is not None and param_distribution._contains(planned):
            wanted = param_distribution.to_external_repr(planned)
        rng = np.random.default_rng([self.seed, plan["turn"], 3 + len(trial.params)])
        with self._lock:
            node = self._of(study)[0].tree.find(path_of(trial))
            if node is not None and node.name != param_name:
                node = None
            return param_distribution.to_external_repr(choose(node, param_distribution, wanted, rng))

    def _of(self, study: optuna.Study) -> tuple[History, Model]:
        if self._known is None or self._known[0] is not study._storage or self._known[1] != study._study_id:
            history = History.of(study, self.domain, self._column_of)
            self._known = (study._storage, study._study_id, history, Model(history))
        return self._known[2], self._known[3]

    def _column_of(self, name: str) -> str:
        return name if self.domain is None else self.domain.column(name)

    def _plan(self, history: History, model: Model, under_way: list[Point], candidates: Candidates) -> Point:
        rng = candidates.rng
        if len(history.rows) + len(under_way) < START or len(history.rows) < LEAST:
            return _apart(model, candidates.random(SPREAD_OF), under_way)
        members = model.front()
        if rng.random() < LOCAL:
            member = members[int(rng.integers(len(members)))]
            if moves := model.allowed(candidates.moves(member)):
                return moves[0]
        found = candidates.near(members, FIRST) or candidates.random(SPREAD_OF)
        if not found:
            return NOTHING
        with one_thread():
            return _best(found, candidates, model.prospects(under_way, found, rng))

    def _is_planned_elsewhere(self, study: optuna.Study, trial: FrozenTrial, point: dict[str, float]) -> bool:
        """Whether another trial that is under way means the same point: each of two that find it so yields."""
        trials: Sequence[FrozenTrial] = study._storage.get_all_trials(
            study._study_id, deepcopy=False, states=(TrialState.RUNNING,)
        )
        return any(
            other.number != trial.number and other.system_attrs.get(PLAN, {}).get("point") == point for other in trials
        )


def _best(found: list[Point], candidates: Candidates, prospects: Prospects) -> Point:
    """The candidate worth most: of those found, then of others near the best so far."""
    judged: dict[Key, tuple[float, Point]] = {}
    for left in range(ROUNDS, -1, -1):
        worth = prospects.worth(found).tolist()
        judged |= {point.key: (one, point) for point, one in zip(found, worth, strict=True)}
        best = [point for _, point in sorted(judged.values(), key=lambda one: -one[0])[:BEST]]
        found = [point for point in candidates.like(best, MORE) if point.key not in judged] if left else []
        if not found:
            break
    return best[0]


def _apart(model: Model, found: list[Point], under_way: list[Point]) -> Point:
    """The candidate farthest from all points that are known or under way."""
    found = model.allowed(found) or found
    return found[model.farthest(found, under_way)] if found else NOTHING
