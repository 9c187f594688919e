"""What a trial costs beyond profiling and training: proposing, checking, recording, telling.

    python -m benchmarks.trial_overhead [--trials 200] [--space tiny_32]

Searches on closed-form objectives alone, so that nothing is built, timed or trained: what is left is the overhead.
A SQLite file in a temporary folder, one process; wall time and CPU time per trial, by sampler.
"""

from __future__ import annotations

import argparse
import tempfile
import time

from rich.console import Console
from rich.table import Table

from explorer import results, search


def main() -> None:
    """Print one row per sampler."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--space", default="tiny_32")
    parser.add_argument("--samplers", default="random,nsga2,tpe")
    options = parser.parse_args()
    title = f"Overhead of a trial: {options.space}, {options.trials} trials, objectives macs and params, SQLite"
    table = Table(title=title, title_justify="left", box=None)
    for heading in ("Sampler", "wall (ms)", "CPU (ms)", "last tenth, wall (ms)", "repeats answered"):
        table.add_column(heading, justify="left" if heading == "Sampler" else "right")
    for sampler in options.samplers.split(","):
        with tempfile.TemporaryDirectory() as folder:
            wall, cpu = time.perf_counter(), time.process_time()
            study = search(
                options.space,
                storage=f"{folder}/a.db",
                trials=options.trials,
                objectives=("macs", "params"),
                sampler=sampler,
                console=Console(quiet=True),
            )
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            trials = study.get_trials(deepcopy=False)
            tail = trials[-max(2, len(trials) // 10) :]
            starts = [trial.datetime_start for trial in tail if trial.datetime_start is not None]
            last = (starts[-1] - starts[0]).total_seconds() / (len(starts) - 1)
            repeats = int((results.frame(study)["status"] == "duplicate").sum())
        table.add_row(
            sampler,
            f"{1e3 * wall / len(trials):.1f}",
            f"{1e3 * cpu / len(trials):.1f}",
            f"{1e3 * last:.1f}",
            str(repeats),
        )
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
