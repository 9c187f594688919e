"""Hypervolume against evaluations: our sampler, Optuna's and a plain local search, on problems known in every point.

    python -m benchmarks.search_policy                                  # 10 seeds, everything; about 2 hours of CPU
    python -m benchmarks.search_policy --seeds 3 --only stages --samplers pareto,random

The problems are those of benchmarks/policy_problems.py. Prints, for each problem and sampler, the median and the
quartiles over the seeds of the share of the exact front's hypervolume after so many evaluations, the evaluations that
were repeats, and the median CPU time of a proposal; then after how many evaluations ours has reached, in the median,
the best final hypervolume of any other. Each evaluation counts, repeats too: an objective function has to be run again
for them. GPSampler is given up after `--gp` evaluations, for its proposals take long. What is done is kept in
runs/search_policy.jsonl.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.samplers import (
    BaseSampler,
    GPSampler,
    NSGAIIISampler,
    NSGAIISampler,
    RandomSampler,
    TPESampler,
)

from benchmarks.local_search import proposal
from benchmarks.policy_problems import Problem, problems, volumes
from explorer.search.pareto import ParetoSampler

NOTES = Path("runs/search_policy.jsonl")
TRIALS = {"table": 200, "stages": 200, "stages_3": 200, "tiny_32": 100}
MARKS = (25, 50, 100, 200)
OURS, LOCAL = "pareto", "local search"
SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    OURS: lambda seed: ParetoSampler(seed=seed),
    "random": lambda seed: RandomSampler(seed=seed),
    LOCAL: lambda seed: RandomSampler(seed=seed),  # of points that are enqueued
    "tpe": lambda seed: TPESampler(seed=seed),
    "tpe multivariate": lambda seed: TPESampler(seed=seed, multivariate=True),
    "tpe multivariate group": lambda seed: TPESampler(seed=seed, multivariate=True, group=True),
    "nsga2": lambda seed: NSGAIISampler(seed=seed),
    "nsga2 population 20": lambda seed: NSGAIISampler(seed=seed, population_size=20),
    "nsga3": lambda seed: NSGAIIISampler(seed=seed),
    "nsga3 population 20": lambda seed: NSGAIIISampler(seed=seed, population_size=20),
    "gp": lambda seed: GPSampler(seed=seed, warn_independent_sampling=False),
}

Run = dict[str, Any]


@cache
def made(problem: str) -> Problem:
    """The problem of this name, enumerated once in a process."""
    return problems()[problem]()


def run(problem: str, sampler: str, seed: int, trials: int) -> Run:
    """The shares of the exact hypervolume after each evaluation, the repeats, and the CPU time of the proposals."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    import torch

    torch.set_num_threads(1)  # GPSampler's; on two busy cores its threads wait for each other
    known = made(problem)
    study = optuna.create_study(directions=known.directions, sampler=SAMPLERS[sampler](seed))
    rng, seconds = np.random.default_rng(seed), []
    for _ in range(trials):
        began = time.process_time()
        if sampler == LOCAL:
            study.enqueue_trial(proposal(known, study, rng))
        trial = study.ask()
        values = known.objective(trial)  # parameters are asked for in it; itself it takes microseconds
        seconds.append(time.process_time() - began)
        study.tell(trial, values)
    distinct = len({tuple(trial.params.items()) for trial in study.get_trials(deepcopy=False)})
    shares = [round(share, 5) for share in volumes(known, study)]
    about = {"problem": problem, "sampler": sampler, "seed": seed, "trials": trials}
    return {
        **about,
        "shares": shares,
        "repeats": trials - distinct,
        "ask_ms": round(1e3 * float(np.median(seconds)), 2),
    }


def report(runs: list[Run]) -> None:
    """The tables, in Markdown."""
    for problem in dict.fromkeys(one["problem"] for one in runs):
        known = made(problem)
        print(f"\n### {problem}: {known.size:,} points, {len(known.directions)} objectives\n")
        here = [one for one in runs if one["problem"] == problem]
        marks = [mark for mark in MARKS if mark <= TRIALS[problem]]
        print("| sampler | seeds | " + " | ".join(f"after {m}" for m in marks) + " | repeats | ms a proposal |")
        print("|---|" + "---|" * (len(marks) + 3))
        finals = {}
        for sampler in SAMPLERS:
            mine = [one for one in here if one["sampler"] == sampler]
            if not mine:
                continue
            shares = np.array([one["shares"] for one in mine])  # (seeds, trials)
            cells = []
            for mark in marks:
                if mark > shares.shape[1]:
                    cells.append("-")
                    continue
                low, middle, high = np.quantile(shares[:, mark - 1], (0.25, 0.5, 0.75))
                cells.append(f"{100 * middle:.1f} ({100 * low:.1f} - {100 * high:.1f})")
            finals[sampler] = float(np.median(shares[:, -1])), shares.shape[1]
            repeats = f"{np.mean([one['repeats'] for one in mine]):.0f} of {shares.shape[1]}"
            ask = f"{np.median([one['ask_ms'] for one in mine]):.1f}"
            print(f"| {sampler} | {len(mine)} | {' | '.join(cells)} | {repeats} | {ask} |")
        others = {name: final for name, final in finals.items() if name != OURS}
        if OURS in finals and others:
            best = max(others, key=lambda name: others[name][0])
            medians = np.median([one["shares"] for one in here if one["sampler"] == OURS], axis=0)
            reached = np.flatnonzero(medians >= others[best][0])
            when = f"after {reached[0] + 1} evaluations" if len(reached) else "never"
            final, trials = others[best]
            print(f"\nThe best final of the others, {100 * final:.1f} % by {best} after {trials}: ours has it {when}.")


def at_many_trials(problem: str, trials: int = 2000, asked: int = 30) -> str:
    """The CPU time of our proposals in a study that has so many trials, in words."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    known = made(problem)
    study = optuna.create_study(directions=known.directions, sampler=RandomSampler(seed=0))
    study.optimize(known.objective, n_trials=trials)
    study.sampler = ParetoSampler()
    seconds = []
    for _ in range(asked + 1):
        began = time.process_time()
        trial = study.ask()
        values = known.objective(trial)
        seconds.append(time.process_time() - began)
        study.tell(trial, values)
    first, *others = (1e3 * one for one in seconds)
    return (
        f"{problem}: {np.median(others):.0f} ms in the median of {asked}, {max(others):.0f} ms at most;"
        f" {first:.0f} ms for the first, which reads all {trials:,} trials"
    )


def main() -> None:
    """Run what is missing, then print the tables."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, default=10)
    options.add_argument("--jobs", type=int, default=1)
    options.add_argument("--only", default=",".join(TRIALS), help="problems, by commas")
    options.add_argument("--samplers", default=",".join(SAMPLERS), help="by commas")
    options.add_argument("--gp", type=int, default=100, help="evaluations of GPSampler, at most")
    options.add_argument("--fresh", action="store_true", help="forget what is done")
    given = options.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    NOTES.parent.mkdir(exist_ok=True)
    if given.fresh:
        NOTES.unlink(missing_ok=True)
    done = [json.loads(line) for line in NOTES.read_text().splitlines()] if NOTES.exists() else []
    known = {(one["problem"], one["sampler"], one["seed"], one["trials"]) for one in done}
    wanted = [
        (problem, sampler, seed, min(TRIALS[problem], given.gp) if sampler == "gp" else TRIALS[problem])
        for sampler in given.samplers.split(",")
        for problem in given.only.split(",")
        for seed in range(given.seeds)
    ]
    with (
        ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn")) as pool,
        NOTES.open("a", buffering=1) as file,
    ):
        for future in as_completed([pool.submit(run, *one) for one in wanted if one not in known]):
            done.append(future.result())
            print(json.dumps(done[-1]), file=file)
    print("A proposal of ours in a study of 2,000 trials, in memory, CPU time:")
    for problem in ("table", "stages", "stages_3"):
        print(f"- {at_many_trials(problem)}")
    report([one for one in done if (one["problem"], one["sampler"], one["seed"], one["trials"]) in set(wanted)])


if __name__ == "__main__":
    main()
