"""What a search does not train: out of reach of the front, after some epochs or from the start; and when it ends."""

from __future__ import annotations

import io
import math
import pickle
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import threadpoolctl
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState
from rich.console import Console

from benchmarks.early_stopping import Known, Outcome, replay
from explorer import Setup, results, search
from explorer.analysis.saved import STOPPED, UNBEGUN, saved
from explorer.evaluate import count
from explorer.limits import Limits
from explorer.proxy.train import TrainSettings
from explorer.record import Evaluation, Latency, TrialRecord
from explorer.search.budget import Account, Budget
from explorer.search.reach import ENOUGH, LEAST, Reach
from explorer.search.stopping import Decision, audited
from explorer.search.study import EXPECTED, StudyMismatch
from explorer.storage import ATTRIBUTE, load_study
from search_spaces.architecture import Architecture
from search_spaces.space import SearchSpace, load_space, parse_space
from tests.minis import MINI, Run, refuses
from tests.studies import CONDITIONS, table

EPOCHS = 12
BOTH = ("accuracy", "latency")
SPACE = parse_space(MINI.replace("ffn_ratio: [1, 2]", "ffn_ratio: [1, 2, 3, 4]"))


def latency(ms: float) -> Latency:
    return Latency(median_ms=ms, ci95_ms=(ms, ms), samples=1, stop="converged", conditions=CONDITIONS)


def every(space: SearchSpace) -> list[Architecture]:
    rng, found = random.Random(0), {}
    while len(found) < space.size:
        one = space.sample(rng)
        found[one.id] = one
    return [found[name] for name in sorted(found)]


ALL = every(SPACE)


def final(architecture: Architecture) -> float:
    """A made-up accuracy: larger networks are better, and attention is, with less and less to gain."""
    stage = architecture.stages[0]
    kind = {"none": 0.0, "window": 12.0, "global": 14.0 + 3 * getattr(stage.mixer, "heads", 0)}[stage.mixer.kind]
    return 40 + kind + 9 * math.log2(stage.width / 8) + 5 * stage.depth + 2 * math.log2(stage.ffn_ratio)


def known(architecture: Architecture) -> Known:
    """A made-up curve that learns fast without attention, slowly with it, so that curves cross."""
    rng, top = random.Random(architecture.id), final(architecture) + random.Random(architecture.id).gauss(0, 1)
    pace = 1.5 if architecture.stages[0].mixer.kind == "none" else 4.0
    curve = tuple(top * (1 - 0.8 * math.exp(-epoch / pace)) + rng.gauss(0, 0.5) for epoch in range(EPOCHS))
    counted = count(architecture, Limits())
    before = counted.model_copy(update={"latency": latency(counted.macs / 1e4 * rng.uniform(0.9, 1.1))})
    return Known(before, (*curve[:-1], top), counted.macs / 1e4)


TABLE = {one.id: known(one) for one in ALL}


def replayed(rule: Reach | None, seed: int = 0, workers: int = 1, candidates: int = 60) -> Outcome:
    return replay(SPACE, TABLE, rule, "random", seed, candidates, workers)


def reach(**how: Any) -> Reach:
    return Reach(BOTH, EPOCHS, **how)


def record(one: Architecture, evaluation: Evaluation, epochs: int = EPOCHS) -> TrialRecord:
    status = "complete" if epochs == EPOCHS else "stopped"
    return TrialRecord(id=one.id, architecture=one.canonical.to_dict(), status=status, evaluation=evaluation)


def after(one: Known, epochs: int) -> Evaluation:
    curve = one.curve[:epochs]
    return one.before.model_copy(update={"accuracy": curve[-1] if curve else None, "accuracy_by_epoch": curve})


def taught(rule: Reach, many: int, epochs: int = EPOCHS) -> Reach:
    """A rule that has seen so many networks of the space, trained for so many epochs."""
    for number, one in enumerate(random.Random(1).sample(ALL, many)):
        rule.learn(number, record(one, after(TABLE[one.id], epochs), epochs))
    return rule


# --- what it saves and loses, on made-up curves ----------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 8])
def test_two_fifths_of_the_training_are_saved_and_hardly_any_of_the_front_lost(workers: int) -> None:
    kept, spent = [], []
    for seed in range(3):
        every_one, some = replayed(None, seed, workers), replayed(reach(), seed, workers)
        assert some.ended.total() == every_one.ended["complete"] == 60
        kept.append(some.hypervolume / every_one.hypervolume)
        spent.append(some.seconds / every_one.seconds)
    assert max(spent) < 0.6
    assert min(kept) > 0.98


def test_stopping_and_gating_each_save_by_themselves() -> None:
    all_ = replayed(None)
    stopping, gating = replayed(reach(gates=False)), replayed(reach(stops=False))
    assert stopping.ended["not trained"] == gating.ended["stopped"] == 0
    assert stopping.ended["stopped"] > 10 < gating.ended["not trained"]
    assert max(stopping.seconds, gating.seconds) < 0.7 * all_.seconds


# --- laws of the rule ------------------------------------------------------------------------------------------------


@given(st.sampled_from(ALL), st.integers(0, EPOCHS - 1), st.lists(st.floats(0, 100), min_size=EPOCHS, max_size=EPOCHS))
@settings(max_examples=40, deadline=None)
def test_a_candidate_cheaper_than_all_that_are_finished_is_trained_whatever_it_shows(
    one: Architecture, epochs: int, curve: list[float]
) -> None:
    rule = taught(reach(), 12)
    cheap = count(one, Limits()).model_copy(update={"latency": latency(1e-3)})
    so_far = cheap.model_copy(update={"accuracy_by_epoch": tuple(curve[:epochs])})
    assert rule.decide(0, one, so_far).goes_on


@given(st.sampled_from(ALL), st.integers(0, EPOCHS - 1), st.integers(0, LEAST - 1), st.integers(0, 15))
@settings(max_examples=40, deadline=None)
def test_nothing_is_stopped_before_some_trainings_have_run_to_the_end(
    one: Architecture, epochs: int, whole: int, others: int
) -> None:
    rule = taught(taught(reach(), whole), others, epochs=3)
    slow = after(TABLE[one.id], epochs).model_copy(update={"latency": latency(1e6)})
    assert rule.decide(0, one, slow).goes_on


def test_while_few_have_ended_what_costs_more_than_all_of_them_is_trained() -> None:
    worst = min((one for one in ALL if not audited(one)), key=final)
    hopeless = (20.0, 20.0, 20.0, 20.0, 20.0)
    for whole, ms, goes_on in ((LEAST, 1e6, True), (ENOUGH - 1, 1e6, True), (ENOUGH, 1e6, False)):
        shown = after(TABLE[worst.id], 5).model_copy(update={"latency": latency(ms), "accuracy_by_epoch": hopeless})
        assert taught(reach(), whole).decide(0, worst, shown).goes_on == goes_on
    few = taught(reach(), LEAST)
    within = max(one.costs[0] for one in few.finished)  # no more than all of them
    assert not few.decide(0, worst, shown.model_copy(update={"latency": latency(within)})).goes_on


def test_one_architecture_in_twenty_is_trained_to_the_end_whatever_is_expected() -> None:
    rule = taught(reach(), 30)
    hopeless = {"latency": latency(1e6), "accuracy_by_epoch": (1.0, 1.0, 1.0, 1.0)}
    shown = [(one, count(one, Limits()).model_copy(update=hopeless)) for one in ALL]
    for number in (0, 19):  # of the trial, which an interruption moves
        went_on = [one for one, so_far in shown if rule.decide(number, one, so_far).goes_on]
        assert went_on == [one for one in ALL if audited(one)]
    rng, tiny = random.Random(0), load_space("tiny_32")
    assert sum(audited(tiny.sample(rng)) for _ in range(2000)) == pytest.approx(100, abs=30)


def test_what_is_best_goes_on_and_what_is_worst_is_stopped_with_the_reason() -> None:
    rule = taught(reach(), 30)
    for epochs in (0, 1, 4, 8):
        best, worst = max(ALL, key=final), min(ALL, key=final)
        slow = after(TABLE[worst.id], epochs).model_copy(update={"latency": latency(1e6)})
        assert rule.decide(0, best, after(TABLE[best.id], epochs)).goes_on
        decision = rule.decide(0, worst, slow)
        assert not decision.goes_on
        assert decision.expected == pytest.approx(final(worst), abs=6)
        assert decision.reason is not None
        assert ("not trained" if epochs == 0 else f"after epoch {epochs}") in decision.reason
        assert "at no more cost" in decision.reason


def test_every_cost_among_the_objectives_is_compared() -> None:
    key = "latency@cuda_graph/b1"
    rule = Reach(("accuracy", "params", key), EPOCHS)
    for number, one in enumerate(random.Random(1).sample(ALL, 30)):
        evaluation = after(TABLE[one.id], EPOCHS).model_copy(update={"latencies": {"cuda_graph/b1": latency(2.0)}})
        rule.learn(number, record(one, evaluation))
    worst = min(ALL, key=final)
    large = TABLE[worst.id].before.model_copy(update={"params": 8_000})
    for ms, goes_on in ((3.0, False), (1.0, True)):
        latencies = {"cuda_graph/b1": latency(ms)}
        assert rule.decide(0, worst, large.model_copy(update={"latencies": latencies})).goes_on == goes_on
    assert rule.decide(0, worst, large).goes_on  # its latency is not known


@given(st.integers(12, 25), st.integers(0, 20), st.integers(0, 6))
@settings(max_examples=10, deadline=None)
def test_a_rule_that_is_taught_the_records_decides_as_the_one_that_saw_them_come(
    whole: int, early: int, seed: int
) -> None:
    lived, order = reach(), random.Random(seed)
    ended = [(one, EPOCHS) for one in order.sample(ALL, whole)] + [(one, 4) for one in order.sample(ALL, early)]
    order.shuffle(ended)
    asked = [(one, after(TABLE[one.id], epochs)) for one in order.sample(ALL, 5) for epochs in (0, 3)]
    for number, (one, epochs) in enumerate(ended):
        lived.learn(number, record(one, after(TABLE[one.id], epochs), epochs))
        lived.decide(0, *asked[number % len(asked)])  # being asked changes nothing
    again = reach()
    for number, (one, epochs) in enumerate(ended):
        again.learn(number, record(one, after(TABLE[one.id], epochs), epochs))
    sent = pickle.loads(pickle.dumps(lived))  # as to a cluster
    for question in asked:
        assert again.decide(0, *question) == lived.decide(0, *question) == sent.decide(0, *question)


# --- through the front door ------------------------------------------------------------------------------------------

QUIET = Console(quiet=True)
SHORT: dict[str, Any] = {
    "objectives": ("accuracy", "macs"),
    "data": "digits",
    "settings": TrainSettings(epochs=2, warmup_epochs=0),
    "setup": Setup(time_limit_s=0.2),
    "sampler": "random",
}


def find(**options: Any) -> optuna.Study:
    return search(parse_space(MINI), **{"console": QUIET, **SHORT, **options})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        made = tmp_path_factory.mktemp("stopping")
        patch.setenv("VITSCAPE_LEASES", str(made / "leases"))
        patch.chdir(made)
        yield made


@pytest.fixture(scope="module")
def told(folder: Path) -> str:
    """What a search says of which trainings were ended early or not begun."""
    console = Console(record=True, width=200, file=io.StringIO())
    find(storage=str(folder / "a.db"), study="s", trials=26, console=console)
    return console.export_text()


@pytest.fixture
def study(folder: Path, told: str) -> optuna.Study:
    return load_study("s", str(folder / "a.db"))


def records(study: optuna.Study) -> dict[int, TrialRecord]:
    return {trial.number: TrialRecord.model_validate(trial.user_attrs[ATTRIBUTE]) for trial in study.trials}


def test_a_search_stops_some_trainings_does_not_begin_others_and_counts_them_all(study: optuna.Study) -> None:
    frame = results.frame(study)
    counts = frame["status"].value_counts()
    assert counts["complete"] + counts["stopped"] == 26
    assert counts["complete"] >= LEAST
    assert counts["stopped"] >= 3
    assert (frame["stopped_after"].notna() == (frame["status"] == "stopped")).all()
    assert set(results.front(frame, SHORT["objectives"])["status"]) == {"complete"}


def test_a_stopped_trial_says_what_was_expected_of_it_to_people_and_to_samplers(study: optuna.Study) -> None:
    kinds = set()
    for number, one in records(study).items():
        trial = study.trials[number]
        if one.status != "stopped":
            assert (one.stopped_after, one.expected_accuracy, one.reason) == (None, None, None)
            assert (EXPECTED in trial.user_attrs) == (one.status == "duplicate" and trial.state == TrialState.PRUNED)
            continue
        assert one.evaluation is not None
        curve = one.evaluation.accuracy_by_epoch
        assert trial.state == TrialState.PRUNED
        assert one.stopped_after == len(curve) < 2
        assert trial.user_attrs[EXPECTED] == [one.expected_accuracy, one.evaluation.macs]
        assert one.reason is not None
        assert one.reason.startswith("after epoch 1" if curve else "not trained")
        assert ("train" in one.evaluation.seconds) == bool(curve)
        kinds.add(bool(curve))
    assert False in kinds


def test_a_repeat_of_a_stopped_trial_is_told_as_it_was_and_not_as_a_result(study: optuna.Study) -> None:
    (number, first), *_ = [(n, one) for n, one in records(study).items() if one.status == "stopped"]
    before = len(study.trials)
    find(storage="a.db", study="s", trials=26).enqueue_trial(study.trials[number].params)
    repeat = find(storage="a.db", study="s", trials=27).trials[before]
    assert TrialRecord.model_validate(repeat.user_attrs[ATTRIBUTE]).duplicate_of == number
    assert repeat.state == TrialState.PRUNED
    assert repeat.user_attrs[EXPECTED][0] == first.expected_accuracy


def test_the_end_and_the_status_say_what_was_not_trained(
    told: str, study: optuna.Study, run: Run, folder: Path
) -> None:
    rows = results.frame(study)
    first = rows[rows["number"] < rows.loc[rows["status"].isin(["complete", "stopped"]), "number"].iloc[25] + 1]
    whole, stopped = (first["status"] == "complete").sum(), (first["stopped_after"] > 0).sum()
    unbegun = (first["stopped_after"] == 0).sum()
    assert "26 trials are done: study s" in told
    assert f"{whole} trained to the end, {stopped} stopped early, {unbegun} not trained: " in told
    assert "saved (" in told
    status, out, _ = run("status", "--study", "s", "--storage", str(folder / "a.db"))
    assert status == 0
    assert "trained to the end" in out


def test_what_was_saved_is_reckoned_by_each_ones_own_time_an_epoch(study: optuna.Study) -> None:
    frame = results.frame(study)
    found = saved(frame, study.user_attrs[ATTRIBUTE]).set_index("rule")
    own = frame[frame["status"] != "duplicate"]
    early = own[own["stopped_after"] > 0]
    trained = own[own["train_seconds"].notna()]
    each = trained["train_seconds"] / trained["stopped_after"].fillna(2).astype(float)
    assert found.loc[UNBEGUN, "seconds"] == pytest.approx(2 * each.mean() * (own["stopped_after"] == 0).sum())
    if len(early):
        assert found.loc[STOPPED, "seconds"] == pytest.approx(early["train_seconds"].sum())


def test_a_study_goes_on_by_the_rule_it_was_made_with(study: optuna.Study) -> None:
    with pytest.raises(StudyMismatch, match="stopping=front, now none"):
        find(storage="a.db", study="s", trials=27, stopping="none")
    with pytest.raises(StudyMismatch, match="gating=True, now False"):
        find(storage="a.db", study="s", trials=27, gating=False)


def test_a_study_from_before_there_were_rules_goes_on(folder: Path) -> None:
    old = find(storage="old.db", trials=1, stopping="none")
    kept = {key: value for key, value in old.user_attrs[ATTRIBUTE].items() if key not in ("stopping", "gating")}
    old.set_user_attr(ATTRIBUTE, kept)
    assert len(find(storage="old.db", trials=2).trials) >= 2


def test_one_objective_or_none_that_is_trained_has_no_rule_unless_it_is_asked_for(folder: Path) -> None:
    for name, options, rule in (
        ("one", {"objectives": ("accuracy",)}, ("none", False)),
        ("asked", {"objectives": ("accuracy",), "stopping": "front"}, ("front", True)),
        ("costs", {"objectives": ("macs", "params")}, ("none", False)),
        ("both", {}, ("front", True)),
        ("gates", {"stopping": "none", "gating": True}, ("none", True)),
    ):
        kept = find(storage="rules.db", study=name, trials=1, **options).user_attrs[ATTRIBUTE]
        assert (kept["stopping"], kept["gating"]) == rule, name


class AfterOne:
    """A rule of one's own."""

    def __init__(self) -> None:
        self.learnt: list[int] = []

    def goes_on(self, number: int, so_far: Evaluation) -> bool:
        assert so_far.accuracy_by_epoch
        return number != 1

    def learn(self, number: int, found: Evaluation) -> None:
        self.learnt.append(number)


def test_a_rule_of_ones_own_is_asked_after_epochs_alone_and_named_in_the_study(folder: Path) -> None:
    rule = AfterOne()
    made = find(storage="own.db", trials=3, stopping=rule)
    one = records(made)[1]
    assert (one.status, one.stopped_after, one.expected_accuracy) == ("stopped", 1, None)
    assert one.reason == "AfterOne ended it"
    assert EXPECTED not in made.trials[1].user_attrs
    assert [n for n in rule.learnt if n < 2] == [0, 1]
    assert made.user_attrs[ATTRIBUTE]["stopping"] == "AfterOne"


def test_what_is_expected_is_calculated_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    rule, one, seen, inverse = taught(reach(), 12), ALL[0], [], np.linalg.inv

    def threads() -> list[int]:
        return [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]

    def watched(matrix: Any) -> Any:
        seen.append(threads())
        return inverse(matrix)

    monkeypatch.setattr(np.linalg, "inv", watched)
    with threadpoolctl.threadpool_limits(2, "blas"):
        before = threads()
        rule.decide(0, one, after(TABLE[one.id], 3))
        assert threads() == before
    assert 1 in {many for pools in seen for many in pools}
    assert {tuple(pools) for pools in seen} == {(1,) * len(before)}


# --- when a search ends ----------------------------------------------------------------------------------------------


def spoken(**options: Any) -> str:
    console = Console(record=True, width=200, file=io.StringIO())
    find(console=console, **options)
    return console.export_text()


def test_the_seconds_of_training_are_of_the_whole_study_and_overrun_by_one_training(folder: Path) -> None:
    options: dict[str, Any] = {"storage": "seconds.db", "trials": None, "stopping": "none", "train_seconds": 1.5}
    text = spoken(**options)
    frame = results.frame(load_study("mini", "seconds.db"))
    spent = frame.loc[frame["status"] == "complete", "train_seconds"]
    assert spent.sum() >= 1.5 > spent.iloc[:-1].sum()
    assert "of 1.5 seconds of training are spent: study mini" in text
    spoken(**options)
    assert len(results.frame(load_study("mini", "seconds.db"))) == len(frame)


def test_patience_ends_a_search_once_its_hypervolume_has_not_grown_for_so_many_trials(folder: Path) -> None:
    options: dict[str, Any] = {"objectives": ("macs", "params"), "storage": "patience.db", "trials": None}
    text = spoken(**options, patience=6)
    assert "the hypervolume has not grown over 6 trials: study mini" in text
    frame = results.frame(load_study("mini", "patience.db"))
    counted = frame[frame["status"] == "complete"].reset_index(drop=True)

    def idle(many: int) -> bool:
        volumes = results.hypervolume(counted.iloc[:many], ("macs", "params")).to_numpy()
        return bool(volumes[-1] <= volumes[-7] * 1.001)

    assert [many for many in range(7, len(counted) + 1) if idle(many)] == [len(counted)]
    assert f"{len(counted)} trials" not in text


def test_patience_ends_a_search_in_which_nothing_becomes_complete(folder: Path) -> None:
    options: dict[str, Any] = {
        "storage": "none.db",
        "trials": None,
        "patience": 3,
        "limits": Limits.parse(latency="1us"),
    }
    for _ in range(2):
        assert "none of 3 trials is complete, with a patience of 3: study mini" in spoken(**options)
    assert "none of 5 trials is complete" in spoken(**{**options, "patience": 5})


def test_seconds_of_training_may_stand_beside_a_budget_that_ends_where_nothing_is_trained(folder: Path) -> None:
    options = {"objectives": ("macs", "params"), "storage": "counted.db", "trials": 3, "train_seconds": 5}
    assert "3 trials are done" in spoken(**options)


POINTS = st.lists(st.tuples(st.floats(1, 99), st.integers(1, 10**6)), min_size=1, max_size=30)


@given(POINTS, st.integers(1, 10))
@settings(max_examples=60, deadline=None)
def test_patience_counts_growth_as_results_does(points: list[tuple[float, int]], patience: int) -> None:
    account = Account(Budget(patience=patience), ("accuracy", "macs"))
    for place, (accuracy, macs) in enumerate(points):
        one = ALL[place]
        evaluation = count(one, Limits()).model_copy(update={"accuracy": accuracy, "macs": macs})
        assert account.add(record(one, evaluation))
    frame = _frame(points)
    volumes = results.hypervolume(frame, ("accuracy", "macs")).to_numpy()
    idle = len(points) > patience and volumes[-1] <= volumes[-1 - patience] * 1.001
    if abs(volumes[-1] - volumes[max(-1 - patience, -len(volumes))] * 1.001) > 1e-9 * volumes[-1]:
        assert (account.why_over() is not None) == idle


def _frame(points: list[tuple[float, int]]) -> Any:
    return table([{"accuracy": accuracy, "macs": macs} for accuracy, macs in points])


BAD = [
    ("--train-seconds 0", "train-seconds=0"),
    ("--patience 0", "patience=0"),
    ("--train-seconds 9 --objectives macs,params", "train-seconds=9: without accuracy among the objectives nothing is"),
    ("--stopping late", "stopping=late: not known; use one of front, none"),
]


@pytest.mark.parametrize(("words", "fragment"), BAD)
def test_a_bad_budget_or_rule_is_refused_in_one_line(run: Run, folder: Path, words: str, fragment: str) -> None:
    (folder / "mini.yaml").write_text(MINI)
    assert fragment in refuses(run, "search", str(folder / "mini.yaml"), *words.split())


def test_a_decision_is_to_go_on_unless_it_says_otherwise() -> None:
    assert Decision().goes_on
