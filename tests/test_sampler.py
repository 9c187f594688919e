"""The sampler of a search, in plain Optuna studies and under `explorer.search`: what it proposes, and what never."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import moocore
import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from benchmarks.policy_problems import OPERATIONS, Direction, Problem, problems, stages, stages_3, table, volumes
from explorer import Limits, results, search
from explorer.search import default_sampler
from explorer.search.beforehand import SpaceDomain
from explorer.search.pareto import ParetoSampler
from explorer.search.pareto.domain import Point
from explorer.search.pareto.proposals import Candidates
from explorer.search.pareto.sampler import FIRST, _best
from search_spaces import cost
from search_spaces.space import load_space, parse_space
from tests.minis import MINI

Objective = Callable[[Any], Any]
BOTH: tuple[Direction, ...] = ("maximize", "minimize")

optuna.logging.set_verbosity(optuna.logging.WARNING)


def study_of(objective: Objective, trials: int, directions: Any = BOTH, **more: Any) -> optuna.Study:
    study = optuna.create_study(directions=directions, **{"sampler": default_sampler(seed=1), **more})
    study.optimize(objective, n_trials=trials)
    return study


def asked(study: optuna.Study) -> list[tuple[tuple[str, Any], ...]]:
    return [tuple(trial.params.items()) for trial in study.get_trials(deepcopy=False)]


def small(trial: Any) -> tuple[float, float]:
    """17 points: a kind with choices of its own, a second level that only some of them have."""
    kind = trial.suggest_categorical("kind", ("a", "b", "c"))
    if kind == "a":
        n = trial.suggest_int("n", 1, 6)
        return n + 0.5, n * 1.5
    width = trial.suggest_categorical("width", (8, 16, 32, 64))
    if kind == "b" and width > 8:
        deep = trial.suggest_categorical("deep", (True, False))
        return width / 10 + bool(deep), width / 8 + 3 * bool(deep)
    return width / 12, width / 9


SMALL = 6 + 4 + 1 + 3 * 2


def test_every_point_of_a_conditional_space_is_proposed_once_before_any_is_repeated() -> None:
    assert len(set(asked(study_of(small, SMALL)))) == SMALL
    study = study_of(small, SMALL + 3)  # and it goes on where nothing is left
    assert len(study.trials) == SMALL + 3


@st.composite
def trees(draw: st.DrawFn) -> Any:
    """A decision tree: a leaf, or a parameter and what follows each of its values."""

    def grow(depth: int) -> Any:
        options = draw(st.integers(1, 3)) if depth < 3 else 0
        if depth > 0 and (not options or draw(st.booleans())):
            return None
        name = draw(st.sampled_from(["x", "y"])) + str(depth)
        return name, [grow(depth + 1) for _ in range(max(options, 1))]

    return grow(0)


def leaves(tree: Any) -> int:
    return 1 if tree is None else sum(map(leaves, tree[1]))


@given(trees(), st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_no_point_of_any_decision_tree_is_proposed_twice_while_another_is_left(tree: Any, seed: int) -> None:
    def objective(trial: Any) -> tuple[float, float]:
        node, total = tree, 0.0
        while node is not None:
            # the same name under another parent may have other values
            value = trial.suggest_categorical(f"{node[0]}/{len(node[1])}", tuple(range(len(node[1]))))
            node, total = node[1][value], total * 3 + value
        return total, -total % 7

    study = study_of(objective, leaves(tree), sampler=default_sampler(seed=seed))
    assert len(set(asked(study))) == leaves(tree)


@pytest.mark.parametrize("directions", [("minimize",), ("maximize", "minimize"), ("minimize", "maximize", "maximize")])
def test_it_serves_floats_ranges_steps_and_any_number_of_objectives(directions: tuple[str, ...]) -> None:
    def objective(trial: Any) -> Any:
        lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
        share = trial.suggest_float("share", 0, 1, step=0.25)
        width = trial.suggest_int("width", 16, 512, step=8)
        batch = trial.suggest_int("batch", 1, 4096, log=True)
        values = (abs(np.log10(lr) + 2) + share, width / 512 - share, batch / 4096 + lr)
        return values[: len(directions)]

    study = study_of(objective, 40, directions)
    assert len(set(asked(study))) == 40
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}
    if len(directions) == 1:
        assert study.best_value < 0.35  # of 0 at best; random search has 0.35 after 40 trials in the median


@pytest.mark.parametrize("objective", [table, stages])
def test_it_finds_more_of_the_front_than_random_search_does_in_twice_the_evaluations(objective: Objective) -> None:
    known = problems()["table" if objective is table else "stages"]()
    ours = [volumes(known, study_of(objective, 50, sampler=default_sampler(seed)))[-1] for seed in range(3)]
    chance = [
        volumes(known, study_of(objective, 100, sampler=optuna.samplers.RandomSampler(seed=seed)))[-1]
        for seed in range(3)
    ]
    assert np.median(ours) > np.median(chance)
    assert np.median(ours) > 0.94


GAINS, PRICES = [1 + 7 * i % 11 / 5 for i in range(30)], [1 + 5 * i % 13 / 6 for i in range(30)]


def thirty_choices(trial: Any) -> tuple[float, float]:
    taken = [i for i in range(30) if trial.suggest_categorical(f"x{i}", (False, True))]
    return sum(GAINS[i] for i in taken), sum(PRICES[i] for i in taken)


def test_where_there_are_many_choices_it_finds_more_of_the_front_than_tpe_does() -> None:
    samplers = {"ours": default_sampler(seed=1), "tpe": optuna.samplers.TPESampler(seed=1, multivariate=True)}
    found = {}
    for name, sampler in samplers.items():
        trials = study_of(thirty_choices, 60, sampler=sampler).get_trials(deepcopy=False)
        points = np.array([(-trial.values[0], trial.values[1]) for trial in trials])
        found[name] = float(moocore.hypervolume(points, ref=(0.0, sum(PRICES))))
    assert found["ours"] > 1.03 * found["tpe"]


def test_rounds_of_candidates_find_what_is_worth_more_than_all_first_ones() -> None:
    study = study_of(thirty_choices, 24)
    history, model = ParetoSampler()._of(study)
    history.read(study.get_trials(deepcopy=False), -1)
    more = 0
    for seed in range(8):
        candidates = Candidates(history, {}, np.random.default_rng(seed))
        first = candidates.near(model.front(), FIRST)
        prospects = model.prospects([], first, candidates.rng)
        best = _best(first, candidates, prospects)
        more += prospects.worth([best])[0] > prospects.worth(first).max()
    assert more >= 6


def test_a_value_that_nothing_known_has_is_judged_like_the_nearest_that_is_known() -> None:
    def objective(trial: Any) -> tuple[float, float]:
        x, kind = trial.suggest_int("x", 0, 30), trial.suggest_categorical("kind", ("a", "b", "c", "d"))
        return x + "abcd".index(kind), x**1.5

    study = optuna.create_study(directions=BOTH)
    for x, kind in [(0, "a"), (4, "b"), (10, "a"), (15, "b"), (20, "a"), (27, "b"), (30, "a"), (12, "c")]:
        study.enqueue_trial({"x": x, "kind": kind})
    study.optimize(objective, n_trials=8)
    history, model = ParetoSampler()._of(study)
    history.read(study.get_trials(deepcopy=False), -1)
    prospects = model.prospects([], [], np.random.default_rng(0))

    def worth(x: int, kind: int) -> float:
        distributions = history.rows[0].point.distributions
        return float(prospects.worth([Point({"x": x, "kind": kind}, distributions)])[0])

    assert worth(13, 1) == worth(12, 1) != worth(15, 1)
    assert worth(26, 1) == worth(27, 1) != worth(20, 1)
    assert np.isfinite(worth(12, 3))  # a kind without a place on a scale, that nothing has


@pytest.mark.parametrize("pruned", [False, True])
def test_what_violates_a_constraint_is_avoided_once_that_is_learned(pruned: bool) -> None:
    def objective(trial: Any) -> tuple[float, float]:
        values = stages(trial)
        if pruned and trial.constraints["params"] > 0:  # too large to be trained, say
            raise optuna.TrialPruned
        return values

    study = study_of(objective, 60)
    over = [any(value > 0 for value in trial.constraints.values()) for trial in study.trials]
    tight = Problem("tight", BOTH, stages)
    assert len(tight.points) / tight.size < 0.7  # so that chance would violate a third
    assert sum(over[20:]) / 40 < 0.2


@pytest.mark.parametrize("pruned", [False, True])
def test_a_space_of_which_nothing_is_feasible_yet_is_searched_for_what_is(pruned: bool) -> None:
    def objective(trial: Any) -> tuple[float, float]:
        xs = [trial.suggest_int(f"x{i}", 0, 9) for i in range(4)]
        trial.set_constraint("sum", sum(xs) - 3.0)  # 35 of 10,000
        if pruned and sum(xs) > 3:
            raise optuna.TrialPruned
        return float(xs[0]), float(xs[1])

    study = study_of(objective, 60, ("maximize", "maximize"))
    assert any(trial.constraints["sum"] <= 0 for trial in study.trials)


def rdb(path: Path) -> optuna.storages.RDBStorage:
    return optuna.storages.RDBStorage(f"sqlite:///{path}")


def wide_ranges_that_depend(trial: Any) -> tuple[float, float]:
    a = trial.suggest_int("a", 1, 9)
    b, c = trial.suggest_int("b", 0, 50 * a), trial.suggest_float("c", 0, a)
    return a + b * c, b + c - a * a


@pytest.mark.parametrize("objective", [table, stages_3, wide_ranges_that_depend])
def test_a_sampler_begun_again_in_the_middle_proposes_what_it_would_have_proposed(
    objective: Objective, tmp_path: Path
) -> None:
    directions = (*BOTH, "minimize") if objective is stages_3 else BOTH
    whole = study_of(objective, 32, directions)
    for stop in (3, 20):
        path = tmp_path / f"{stop}.db"
        study_of(objective, stop, directions, storage=rdb(path), study_name="s")
        again = optuna.load_study(study_name="s", storage=rdb(path), sampler=default_sampler(seed=1))
        again.optimize(objective, n_trials=32 - stop)
        assert asked(again) == asked(whole), f"stopped after {stop}"
    other = study_of(objective, 32, directions, sampler=default_sampler(seed=2))
    assert asked(other) != asked(whole)


def test_an_interrupted_trial_that_is_enqueued_again_changes_no_later_proposal() -> None:
    whole = study_of(table, 30)
    study = study_of(table, 20)
    lost = study.ask()
    table(lost)  # killed here
    study.tell(lost, state=TrialState.FAIL)
    study.enqueue_trial(lost.params)
    study.optimize(table, n_trials=10)
    assert [one for one in asked(study) if one != tuple(lost.params.items())] == asked(whole)[:20] + asked(whole)[21:]


@pytest.mark.parametrize("at", [4, 20])
@pytest.mark.parametrize("parameters", [0, 1, 3])
def test_a_trial_that_is_killed_while_it_is_asked_changes_no_later_proposal(at: int, parameters: int) -> None:
    whole = study_of(table, 26)
    study = study_of(table, at)
    killed = study.ask()
    point = study._storage.get_trial(killed._trial_id).system_attrs["pareto:plan"]["point"]
    for i in range(parameters):
        killed.suggest_categorical(f"edge_{i}", OPERATIONS)
    study.tell(killed, state=TrialState.FAIL)
    study.enqueue_trial({name: OPERATIONS[int(value)] for name, value in point.items()})  # as `vitscape search` does
    study.optimize(table, n_trials=26 - at)
    assert asked(study)[at + 1 :] == asked(whole)[at:]


def bounded(trial: Any) -> tuple[float, float]:
    """A range that depends on another parameter."""
    p = trial.suggest_int("p", 1, 9)
    q = trial.suggest_int("q", 0, p)
    return float(p + q), float(q * p)


def renamed(trial: Any) -> tuple[float, float]:
    """One name with other values in each branch, ints and steps."""
    if trial.suggest_categorical("kind", ("a", "b")) == "a":
        return trial.suggest_int("n", 0, 5) + 0.5, trial.suggest_float("share", 0, 1, step=0.2)
    return trial.suggest_int("n", 20, 26) / 10, trial.suggest_float("share", 2, 2.75, step=0.25)


@pytest.mark.parametrize(("objective", "points"), [(bounded, 54), (renamed, 6 * 6 + 7 * 4)])
@pytest.mark.parametrize("seed", range(3))
def test_ranges_may_depend_on_what_was_chosen_before(objective: Objective, points: int, seed: int) -> None:
    study = study_of(objective, points, sampler=default_sampler(seed=seed))
    assert len(set(asked(study))) == points


def test_a_trial_that_is_enqueued_with_some_parameters_gets_new_ones_for_the_rest() -> None:
    study = study_of(small, 12)
    for width in (8, 16, 32, 64):
        study.enqueue_trial({"kind": "c", "width": width})
    study.enqueue_trial({"kind": "a"})
    known = set(asked(study)[:12])
    study.sampler = default_sampler(seed=9)  # another, which has read nothing yet
    study.optimize(small, n_trials=5)
    assert study.trials[16].params["kind"] == "a"
    assert tuple(study.trials[16].params.items()) not in known or len({one for one in known if one[0][1] == "a"}) == 6


def test_a_trial_that_failed_before_all_was_asked_closes_nothing_behind_it() -> None:
    study = optuna.create_study(directions=BOTH, sampler=default_sampler(seed=0))

    def grid(trial: Any) -> tuple[float, float]:
        a = trial.suggest_int("a", 0, 3)
        if trial.number == 5:
            raise ValueError("lost")
        return float(a), float(trial.suggest_int("b", 0, 3))

    study.optimize(grid, n_trials=17, catch=(ValueError,))
    assert len({one for one in asked(study) if len(one) == 2}) == 16


def test_steps_of_a_float_are_told_apart_however_they_are_rounded() -> None:
    study = optuna.create_study(directions=BOTH, sampler=default_sampler(seed=0))
    for i in range(11):
        study.enqueue_trial({"a": i / 10, "b": 1})

    def grid(trial: Any) -> tuple[float, float]:
        a, b = trial.suggest_float("a", 0, 1, step=0.1), trial.suggest_int("b", 0, 3)
        return a * b, a - b

    study.optimize(grid, n_trials=44)
    assert len({(round(10 * trial.params["a"]), trial.params["b"]) for trial in study.trials}) == 44


def test_what_others_have_written_amiss_stops_nobody() -> None:
    study = study_of(small, 11)
    odd = study.ask()
    small(odd)
    odd.set_user_attr("expected_values", [None, "much"])
    study.tell(odd, state=TrialState.PRUNED)
    study.enqueue_trial({"kind": "zzz"})  # of another space; whoever is given it will refuse it
    waiting = study.trials[-1]
    for _ in range(3):
        trial = study._storage.create_new_trial(study._study_id)  # asked beside the queue
        study.sampler.before_trial(study, study._storage.get_trial(trial))
    assert study.trials[-4].number == waiting.number


def test_an_infinite_violation_of_a_constraint_is_a_violation() -> None:
    def objective(trial: Any) -> tuple[float, float]:
        a, b = trial.suggest_int("a", 0, 9), trial.suggest_int("b", 0, 9)
        trial.set_constraint("c", float("inf") if a < 5 else -1.0)
        return float(a), float(b)

    study = study_of(objective, 40, ("minimize", "maximize"))
    assert np.mean([trial.params["a"] < 5 for trial in study.trials[12:]]) < 0.25


def test_many_that_ask_at_once_get_different_points() -> None:
    study = study_of(table, 15)
    under_way = [study.ask() for _ in range(16)]  # none has been asked for a parameter yet
    for trial in reversed(under_way):
        table(trial)
    assert len(set(asked(study))) == 15 + 16


def test_threads_that_search_one_study_never_evaluate_a_point_twice() -> None:
    study = optuna.create_study(directions=BOTH, sampler=default_sampler(seed=3))
    study.optimize(small, n_trials=SMALL, n_jobs=4)
    assert len(set(asked(study))) >= SMALL - 2  # at the very start none knows what comes after a choice


def test_processes_that_share_a_storage_see_what_the_others_mean_to_evaluate(tmp_path: Path) -> None:
    path = tmp_path / "shared.db"
    study_of(table, 12, storage=rdb(path), study_name="s")
    workers = [
        optuna.load_study(study_name="s", storage=rdb(path), sampler=default_sampler(seed=1)) for _ in range(3)
    ]  # each with a sampler and a view of the storage of its own, as three processes have
    for _ in range(6):
        with ThreadPoolExecutor(3) as pool:
            trials = list(pool.map(lambda study: study.ask(), workers))
        for worker, trial in zip(workers, trials, strict=True):
            worker.tell(trial, table(trial))
    assert len(set(asked(workers[0]))) == 12 + 18


def test_what_is_enqueued_failed_or_pruned_is_not_proposed() -> None:
    study = optuna.create_study(directions=BOTH, sampler=default_sampler(seed=0))
    rng = random.Random(0)

    def objective(trial: Any) -> tuple[float, float]:
        values = small(trial)
        if (chance := rng.random()) < 0.2:
            raise optuna.TrialPruned
        if chance < 0.4:
            raise ValueError("lost")
        return values

    study.enqueue_trial({"kind": "a", "n": 3})
    study.optimize(objective, n_trials=SMALL - 1, catch=(ValueError,))
    assert len(set(asked(study))) == SMALL - 1


def test_a_pruned_trial_teaches_by_what_was_expected_of_it() -> None:
    """Points of one kind are pruned, expected to be worthless: told so, the sampler leaves them alone."""

    def share(expected: bool) -> float:
        study = optuna.create_study(directions=BOTH, sampler=default_sampler(seed=5))

        def objective(trial: Any) -> tuple[float, float]:
            kind = trial.suggest_categorical("kind", ("good", "bad"))
            xs = [trial.suggest_int(f"{kind}{i}", 0, 9) for i in range(3)]
            if kind == "bad":
                if expected:
                    trial.set_user_attr("expected_values", [0.0, 30.0])
                raise optuna.TrialPruned
            return float(sum(xs)), float(xs[0] + 2 * xs[1])

        study.optimize(objective, n_trials=50)
        return float(np.mean([trial.params["kind"] == "bad" for trial in study.trials[12:]]))

    assert share(expected=True) < 0.1


def test_values_that_are_infinite_or_huge_do_no_harm() -> None:
    def objective(trial: Any) -> tuple[float, float]:
        x, y = trial.suggest_int("x", 0, 30), trial.suggest_int("y", 0, 30)
        return float("inf") if x % 7 == 0 else float(x), 1e300 if y % 5 == 0 else float(y - x)

    study = study_of(objective, 40)
    assert len(set(asked(study))) == 40


@given(st.integers(0, 2**32), st.sampled_from(["tiny_32", "hybrid_224"]))
@settings(max_examples=30, deadline=None)
def test_what_the_sampler_is_told_of_a_space_is_what_a_trial_is_asked(seed: int, name: str) -> None:
    space, rng = load_space(name), np.random.default_rng(seed)
    domain = SpaceDomain(space, ("accuracy", "macs"), Limits.parse(params="2M"))
    point = domain.complete({"stages.0.mixer": "window", "stages.0.width": 17, "stages.0.depth": 2}, rng)
    study = optuna.create_study(directions=BOTH)
    study.enqueue_trial(point.params)
    trial = study.ask()
    architecture = space.suggest(trial)  # raises where a value is none of its parameter's
    frozen = study.trials[0]
    assert list(frozen.params) == list(point.values)
    assert frozen.distributions == point.distributions
    assert str(architecture.stages[0].mixer.kind) == "window"
    assert architecture.stages[0].depth == 2
    facts, counts = domain.facts(point.params), cost(architecture)
    assert list(facts.values) == [None, counts.macs]
    assert dict(facts.constraints or {}) == pytest.approx({"params": counts.params / 2e6 - 1})


def test_a_search_proposes_nothing_over_a_limit_that_is_known_in_closed_form(tmp_path: Path) -> None:
    space = parse_space(MINI)
    macs = sorted(cost(one).macs for one in _every(space))
    study = search(
        space,
        storage=str(tmp_path / "a.db"),
        trials=12,
        objectives=("macs", "params"),
        limits=Limits.parse(macs=macs[len(macs) // 2]),
        console=Console(quiet=True),
    )
    assert set(results.frame(study)["status"]) == {"complete"}


def test_a_search_that_is_continued_finds_what_one_run_finds(tmp_path: Path) -> None:
    def ids(name: str, *trials: int) -> list[str]:
        for count in trials:
            study = search(
                "tiny_32",
                storage=str(tmp_path / f"{name}.db"),
                trials=count,
                objectives=("macs", "params"),
                console=Console(quiet=True),
            )
        return list(results.frame(study)["id"])

    assert ids("once", 24) == ids("twice", 7, 16, 24)


def test_a_sampler_can_be_copied_to_a_worker() -> None:
    import pickle

    study = study_of(small, 5)
    copy: ParetoSampler = pickle.loads(pickle.dumps(study.sampler))
    frozen: list[FrozenTrial] = study.trials
    study.sampler = copy
    study.optimize(small, n_trials=SMALL - 5)
    assert len(set(asked(study))) == SMALL
    assert study.trials[:5] == frozen


def _every(space: Any) -> list[Any]:
    rng = random.Random(0)
    found: dict[str, Any] = {}
    while len(found) < space.size:
        one = space.sample(rng)
        found[one.id] = one
    return list(found.values())
