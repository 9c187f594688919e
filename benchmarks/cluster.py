"""What a search on a cluster costs beyond its trials, and how its throughput grows with the workers.

    python -m benchmarks.cluster [--part overhead,throughput,size] [--workers 1,16,64] [--sampler tpe] [--seconds 10]

overhead    wall time a trial beyond evaluating: both engines, one trial at a time, in a SQLite file and in PostgreSQL
            (a server of the benchmark's own, where it is installed); closed-form objectives of tiny_32.
throughput  trials that sleep, on a Ray of this machine that is told it has as many cores as workers. Counted from the
            moment when all workers have begun a trial until the last trial is begun; ideal is workers / seconds.
size        a study of so many made-up trials in a SQLite file: time to resume it, and to list it.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import ray
from rich.console import Console
from rich.table import Table

from benchmarks.sleeper import FOLDER, SECONDS, WORKERS, Sleeper
from explorer import search
from explorer.limits import Limits
from explorer.proxy.train import TrainSettings
from explorer.reader import Storage
from explorer.search import cluster as ray_engine
from explorer.search.attempt import Work
from explorer.search.budget import Budget
from explorer.search.interrupted import close_interrupted
from explorer.search.place import Place
from explorer.search.progress import SearchProgress
from explorer.search.resources import Cluster
from explorer.search.sampler import make_sampler
from explorer.search.study import Plan, open_study, records
from explorer.setup import Setup
from search_spaces.space import load_space
from tests.big import made_up_study
from tests.postgres import binaries, launched

OBJECTIVES = ("macs", "params")
QUIET = Console(quiet=True)
PARTS = ("overhead", "throughput", "size")
ROUNDS = 6  # trials a worker


def main() -> None:
    """Print a table for each part."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", default=",".join(PARTS))
    parser.add_argument("--workers", default="1,16,64")
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--trials", type=int, default=50_000)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    console, load = Console(width=120), os.getloadavg()[0]
    for part in options.part.split(","):
        if part == "overhead":
            console.print(_table("Overhead of a trial beyond evaluating", _overheads()))
        elif part == "throughput":
            workers = [int(word) for word in options.workers.split(",")]
            title = f"Throughput with trials of {options.seconds:g} s"
            console.print(_table(title, [_throughput(many, options.seconds, options.sampler) for many in workers]))
        elif part == "size":
            console.print(_table(f"A study of {options.trials:,} trials", _sizes(options.trials)))
        else:
            parser.error(f"part={part}: choose {', '.join(PARTS)}")
    versions = f"optuna {optuna.__version__}, ray {ray.__version__}"
    console.print(f"{len(os.sched_getaffinity(0))} cores, load {load:.1f} before; {versions}")


def _table(title: str, rows: list[dict[str, str]]) -> Table:
    table = Table(title=title, title_justify="left", box=None)
    for heading in rows[0]:
        table.add_column(heading)
    for row in rows:
        table.add_row(*row.values())
    return table


def _overheads(trials: int = 100) -> list[dict[str, str]]:
    """Rows of engine and storage: wall time from one trial's start to the next one's."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        storages: dict[str, Callable[[str], str]] = {"SQLite": lambda name: f"{folder}/{name}.db"}
        programs = binaries()
        if programs is not None:
            server = stack.enter_context(launched(programs))
            storages["PostgreSQL"] = lambda name: server.url()
        for where, url in storages.items():
            for engine in ("local", "ray"):
                cluster = Cluster(workers=1, log_dir=Path(folder) / "logs") if engine == "ray" else None
                study = search(
                    "tiny_32",
                    storage=url(engine),
                    trials=trials,
                    objectives=OBJECTIVES,
                    setup=Setup("cpu"),
                    sampler="random",
                    cluster=cluster,
                    console=QUIET,
                )
                gaps = 1e3 * np.diff(_starts(study))
                rows.append(
                    {
                        "storage": where,
                        "engine": engine,
                        "median": f"{np.median(gaps):.1f} ms",
                        "quartiles": " to ".join(f"{q:.1f}" for q in np.percentile(gaps, (25, 75))),
                        "trials": str(len(gaps) + 1),
                    }
                )
    return rows


def _throughput(workers: int, seconds: float, sampler: str) -> dict[str, str]:
    """A row: trials a second with so many workers, and its share of the ideal."""
    with tempfile.TemporaryDirectory() as folder:
        meeting = Path(folder) / "meeting"
        meeting.mkdir()
        os.environ.update({SECONDS: str(seconds), WORKERS: str(workers), FOLDER: str(meeting)})
        with _own_ray(workers):
            work = Work(OBJECTIVES, "cues", Setup("cpu"), TrainSettings(), Limits(), 0)
            plan = Plan(load_space("tiny_32"), work, None, Place.here(work.setup))
            study = open_study("s", f"{folder}/a.db", plan, make_sampler(sampler, 0))
            budget, cluster = Budget(trials=ROUNDS * workers), Cluster()
            with SearchProgress(QUIET, study, OBJECTIVES, budget.trials) as progress:
                logs = Path(folder) / "logs"
                ray_engine.run(study, plan, budget, [], progress, cluster=cluster, log_dir=logs, worker=Sleeper)
        whole = {number for number, record in records(study).items() if record.status == "complete"}
        trials = [trial for trial in study.get_trials(deepcopy=False) if trial.number in whole]
    begun = np.sort([_time(trial.datetime_start) for trial in trials])
    ended = np.sort([_time(trial.datetime_complete) for trial in trials])
    first, last = begun[workers - 1], begun[-1]
    within = ended[(ended > first) & (ended <= last)]
    rate = len(within) / (last - first)
    return {
        "workers": str(workers),
        "sampler": sampler,
        "trials a second": f"{rate:.3f}",
        "ideal": f"{workers / seconds:.3f}",
        "share": f"{rate * seconds / workers:.1%}",
        "trials counted": str(len(within)),
        "all begun within": f"{first - begun[0]:.1f} s",
    }


def _sizes(trials: int) -> list[dict[str, str]]:
    """Rows of what is done with a large study, and how long it takes."""
    path = made_up_study(trials)
    rows = []

    def timed(name: str, act: Any) -> Any:
        before = time.perf_counter()
        found = act()
        rows.append({"what": name, "wall": f"{time.perf_counter() - before:.1f} s"})
        return found

    storage = timed("open to look at", lambda: Storage(str(path)))
    name = str(storage.studies()["name"][0])
    timed("list (as vitscape status and the dashboard read it)", lambda: storage.read(name))

    def resume() -> int:
        study = optuna.load_study(study_name=name, storage=f"sqlite:///{path}", sampler=make_sampler("tpe", 0))
        space = load_space("tiny_32")
        close_interrupted(study, space, OBJECTIVES, Limits())
        return len(records(study))

    timed("resume (read by Optuna, every record checked)", resume)
    return rows


@contextmanager
def _own_ray(cores: int) -> Iterator[None]:
    ray.init(
        address="local",
        num_cpus=cores,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=80 * 2**20,
    )
    try:
        yield
    finally:
        ray.shutdown()


def _starts(study: optuna.Study) -> list[float]:
    return sorted(_time(trial.datetime_start) for trial in study.get_trials(deepcopy=False) if trial.datetime_start)


def _time(moment: Any) -> float:
    return float(moment.timestamp())


if __name__ == "__main__":
    main()
