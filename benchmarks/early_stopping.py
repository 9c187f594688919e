"""What early stopping and gating save of a search's training, and what they lose of its front, on recorded curves.

    python -m benchmarks.early_stopping [--seeds 10] [--budgets 60,120] [--samplers random,pareto] [--workers 1]

Searches are run again on a table of networks whose whole learning curves are known (benchmarks/record_curves.py): the
search's own proposals, records and rules, without training. Each rule's search is compared with the one of the same
seed and sampler that trains everything: the training seconds it did not spend (CPU seconds of the table), and the
hypervolume of its complete trials that it lacks (reference: accuracy 0, 1.1 times the largest latency of the table).
With `--workers` several train at a time, asynchronously, and know of each other what has ended by then.
"""

from __future__ import annotations

import argparse
import heapq
import json
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import moocore
import numpy as np
import optuna
import pandas as pd
from rich.console import Console
from rich.table import Table

from explorer.evaluate import count
from explorer.limits import Limits
from explorer.record import Conditions, Evaluation, Latency, TrialRecord
from explorer.search.beforehand import SpaceDomain
from explorer.search.propose import Candidate, NothingLeft, Proposals
from explorer.search.reach import Reach
from explorer.search.sampler import make_sampler
from explorer.search.stopping import Decision, Rule
from explorer.search.study import close_trial
from search_spaces.architecture import Architecture
from search_spaces.space import SearchSpace, load_space

SPACE = Path(__file__).parent / "data" / "tiny_32_part.yaml"
OBJECTIVES = ("accuracy", "latency")
WHERE: dict[str, Any] = {
    "device": "cpu",
    "device_name": "CPU",
    "runtime": "eager",
    "precision": "fp32",
    "batch_size": 1,
}


class Known(NamedTuple):
    """A network of the table: what is known of it before it is trained, its curve in %, its seconds an epoch."""

    before: Evaluation
    curve: tuple[float, ...]
    seconds: float


class Outcome(NamedTuple):
    """What a search has spent and found."""

    seconds: float  # of training
    hypervolume: float  # %·ms
    ended: Counter[str]  # trials: complete, stopped, not trained


def read_table(space: SearchSpace, path: Path) -> dict[str, Known]:
    """The table's networks, by id."""
    found = {}
    rows = pd.read_csv(path)
    epochs = [name for name in rows.columns if name.startswith("epoch_")]
    for row in rows.to_dict("records"):
        architecture = space.suggest(optuna.trial.FixedTrial(json.loads(row["choices"])))  # type: ignore[arg-type]
        ms = float(row["latency_ms"])
        where = Conditions(image_size=architecture.image_size, threads=1, torch="", **WHERE)
        latency = Latency(median_ms=ms, ci95_ms=(ms, ms), samples=1, stop="converged", conditions=where)
        before = count(architecture, Limits()).model_copy(update={"latency": latency, "seconds": {"profile": 1.0}})
        found[architecture.id] = Known(before, tuple(row[name] for name in epochs), float(row["seconds_an_epoch"]))
    return found


# --- rules to compare with -------------------------------------------------------------------------------------------


@dataclass
class Halving:
    """Asynchronous successive halving (Li et al. 2020) on accuracy alone: at a rung the best third goes on."""

    rungs: tuple[int, ...] = (1, 3, 9)
    eta: int = 3
    seen: dict[int, list[tuple[float, ...]]] = field(default_factory=dict)

    def decide(self, number: int, architecture: Architecture, so_far: Evaluation) -> Decision:
        epoch = len(so_far.accuracy_by_epoch)
        if epoch not in self.rungs:
            return Decision()
        here = self.seen.setdefault(epoch, [])
        here.append(self.point(so_far))
        return Decision(len(here) < self.eta or self.rank(here) < len(here) / self.eta)

    def learn(self, number: int, record: TrialRecord) -> None:
        """Knows of the rungs alone."""

    def point(self, so_far: Evaluation) -> tuple[float, ...]:
        return (-(so_far.accuracy or 0.0),)

    def rank(self, here: list[tuple[float, ...]]) -> float:
        """How many are better than the last one."""
        return float(sum(one < here[-1] for one in here))


class ParetoHalving(Halving):
    """Successive halving by non-dominated rank in accuracy and latency (Schmucker et al. 2021)."""

    def point(self, so_far: Evaluation) -> tuple[float, ...]:
        return (-(so_far.accuracy or 0.0), so_far.latency.median_ms if so_far.latency else 0.0)

    def rank(self, here: list[tuple[float, ...]]) -> float:
        ranks = moocore.pareto_rank(np.array(here))
        return float((ranks < ranks[-1]).sum())


class LikeHalving(ParetoHalving):
    """Successive halving among candidates of like latency: the nearest third of them, seven at least."""

    def rank(self, here: list[tuple[float, ...]]) -> float:
        points = np.array(here)
        near = np.argsort(np.abs(np.log(points[:, 1] / points[-1, 1])), kind="stable")[: max(7, len(here) // 3)]
        return float((points[near, 0] < points[-1, 0]).mean() * len(here))


RULES: dict[str, Callable[[int], Rule | None]] = {
    "none": lambda epochs: None,
    "stopping": lambda epochs: Reach(OBJECTIVES, epochs, gates=False),
    "gating": lambda epochs: Reach(OBJECTIVES, epochs, stops=False),
    "stopping and gating": lambda epochs: Reach(OBJECTIVES, epochs),
    "halving, accuracy alone": lambda epochs: Halving(),
    "halving, late rungs": lambda epochs: Halving((4, 8), 2),
    "halving by Pareto rank": lambda epochs: ParetoHalving(),
    "halving by Pareto rank, late rungs": lambda epochs: ParetoHalving((4, 8), 2),
    "halving among like latency": lambda epochs: LikeHalving(),
    "halving among like latency, late rungs": lambda epochs: LikeHalving((4, 8), 2),
}


# --- a search again --------------------------------------------------------------------------------------------------


@dataclass
class Training:
    """A candidate in training."""

    candidate: Candidate
    known: Known
    epochs: int = 0

    @property
    def so_far(self) -> Evaluation:
        if not self.epochs:
            return self.known.before
        curve, took = self.known.curve[: self.epochs], {"train": self.known.seconds * self.epochs}
        update = {"accuracy": curve[-1], "accuracy_by_epoch": curve, "seconds": self.known.before.seconds | took}
        return self.known.before.model_copy(update=update)


def replay(
    space: SearchSpace, table: dict[str, Known], rule: Rule | None, sampler: str, seed: int, budget: int, workers: int
) -> Outcome:
    """What a search finds that trains by a rule, so many candidates in all and so many at a time."""
    chosen = make_sampler(sampler, seed, domain=SpaceDomain(space, OBJECTIVES, Limits()))
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=chosen)
    proposals = Proposals(study, space, OBJECTIVES, Limits(), seed, {})
    spent, points, ended, begun = 0.0, [], Counter[str](), 0
    under_way: list[tuple[float, int, Training]] = []  # by the time at which the epoch ends

    def decide(one: Training) -> Decision:
        number, architecture = one.candidate.trial.number, one.candidate.architecture
        return Decision() if rule is None else rule.decide(number, architecture, one.so_far)

    def close(one: Training, decision: Decision) -> None:
        found, whole = one.so_far, one.epochs == len(one.known.curve)
        record = one.candidate.record(
            status="complete" if whole else "stopped",
            evaluation=found,
            seconds=1.0,
            expected_accuracy=decision.expected,
            stopped_after=None if whole else one.epochs,
        )
        number = one.candidate.trial.number
        close_trial(study, one.candidate.trial, record, OBJECTIVES, Limits())
        proposals.remember(number, record)
        if rule is not None:
            rule.learn(number, record)
        ended["complete" if whole else "stopped" if one.epochs else "not trained"] += 1
        if whole and found.accuracy is not None and found.latency is not None:
            points.append((-found.accuracy, found.latency.median_ms))

    clock = 0.0
    while True:
        while len(under_way) < workers and begun < budget:
            try:
                candidate = proposals.next()
            except NothingLeft:
                budget = begun
                break
            if candidate.architecture.id not in table:  # a table that is not complete yet
                record = candidate.record(status="failed")
                close_trial(study, candidate.trial, record, OBJECTIVES, Limits())
                proposals.remember(candidate.trial.number, record)
                continue
            begun += 1
            one = Training(candidate, table[candidate.architecture.id])
            decision = decide(one)
            if decision.goes_on:
                heapq.heappush(under_way, (clock + one.known.seconds, candidate.trial.number, one))
            else:
                close(one, decision)
        if not under_way:
            break
        clock, number, one = heapq.heappop(under_way)
        one.epochs += 1
        spent += one.known.seconds
        whole = one.epochs == len(one.known.curve)
        decision = Decision() if whole else decide(one)
        if whole or not decision.goes_on:
            close(one, decision)
        else:
            heapq.heappush(under_way, (clock + one.known.seconds, number, one))
    worst = max(one.before.latency.median_ms for one in table.values() if one.before.latency is not None)
    return Outcome(spent, float(moocore.hypervolume(np.array(points), ref=[0.0, 1.1 * worst])), ended)


def compared(
    space: SearchSpace, table: dict[str, Known], samplers: list[str], budgets: list[int], seeds: int, workers: int
) -> Iterator[dict[str, Any]]:
    """A row for each sampler, budget and rule: median and quartiles over the seeds."""
    epochs = len(next(iter(table.values())).curve)
    for sampler in samplers:
        for budget in budgets:
            runs: dict[str, list[Outcome]] = {
                name: [replay(space, table, make(epochs), sampler, seed, budget, workers) for seed in range(seeds)]
                for name, make in RULES.items()
            }
            for name, outcomes in runs.items():
                pairs = list(zip(outcomes, runs["none"], strict=True))
                saved = [100 * (1 - one.seconds / all_.seconds) for one, all_ in pairs]
                lost = [100 * (1 - one.hypervolume / all_.hypervolume) for one, all_ in pairs]
                ended = {kind: float(np.mean([one.ended[kind] for one in outcomes])) for kind in ENDS}
                yield {"sampler": sampler, "candidates": budget, "rule": name, "saved": saved, "lost": lost} | ended


ENDS = ("complete", "stopped", "not trained")


def quartiles(values: list[float], digits: int) -> str:
    """ "62 (60-65)": the median and the quartiles."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def main() -> None:
    """Run the searches again and print a table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--table", type=Path, default=SPACE.with_suffix(".csv"))
    options.add_argument("--seeds", type=int, default=10)
    options.add_argument("--budgets", default="60,120")
    options.add_argument("--samplers", default="random,pareto")
    options.add_argument("--workers", type=int, default=1)
    given = options.parse_args()
    optuna.logging.set_verbosity(logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    space = load_space(SPACE).with_classes(10)
    table = read_table(space, given.table)
    console = Console(width=150)
    console.print(f"{len(table)} networks, {given.seeds} seeds, {given.workers} at a time")
    shown = Table("sampler", "candidates", "rule", "% of training saved", "% of hypervolume lost", "worst", *ENDS)
    budgets = [int(word) for word in given.budgets.split(",")]
    for row in compared(space, table, given.samplers.split(","), budgets, given.seeds, given.workers):
        counts = [f"{row[kind]:.0f}" for kind in ENDS]
        saved, lost = quartiles(row["saved"], 0), quartiles(row["lost"], 2)
        worst = f"{max(row['lost']):.2f}"
        shown.add_row(row["sampler"], str(row["candidates"]), row["rule"], saved, lost, worst, *counts)
    console.print(shown)


if __name__ == "__main__":
    main()
