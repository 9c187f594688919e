"""Writes a made-up study of any size in minutes: what 100,000 trials of a search look like, without running them.

    python -m benchmarks.made_up runs/made_up.db --trials 100000

Architectures are sampled from a shipped space and their costs are the closed forms; accuracies and times are drawn
around a plausible model. Records, parameters and values are written as a search writes them, into tables that Optuna
made, so that everything that reads a study reads this one. The same arguments make the same study.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sqlite3
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution, distribution_to_json

from explorer.limits import Limits
from explorer.measured import add_latencies
from explorer.metrics import metric, metrics
from explorer.record import Conditions, Evaluation, Latency, TrialRecord, Verdict
from explorer.storage import ATTRIBUTE, STUDY_FORMAT, open_storage
from search_spaces.architecture import Architecture
from search_spaces.cost import cost
from search_spaces.nodes import Leaf, Value
from search_spaces.shipped import names, preset
from search_spaces.space import SearchSpace, load_space

STARTED = datetime(2026, 10, 1, 8, 0)  # local time, as Optuna stores it
EPOCHS, STOP_EPOCH = 12, 8
ROWS_AT_ONCE = 2000  # trials a transaction
ATTACHED = 400  # architectures that were measured on a second device as well
FAILURES = (  # (type and message, share of the failed)
    ("OutOfMemoryError: CUDA out of memory. Tried to allocate 3.00 GiB", 0.5),
    ("TrainingDiverged: the loss became nan in epoch 2", 0.3),
    ("NetworkRefused: onnxruntime: no kernel for this operator", 0.2),
)
VERDICTS: dict[Verdict, float] = {"ok": 0.94, "noisy": 0.04, "shared": 0.015, "throttled": 0.005}
GPU: dict[str, Any] = {"device": "cuda", "device_name": "NVIDIA H200", "driver": "580.95.05", "precision": "fp16"}
CPU: dict[str, Any] = {"device": "cpu", "device_name": "AMD EPYC", "precision": "fp32", "threads": 1}
MADE: dict[str, dict[str, Any]] = {  # how each space is searched
    "tiny_32": {"where": CPU, "runtimes": ("eager", "onnxruntime"), "macs": 12e6, "data": "cues"},
    "hybrid_224": {"where": GPU, "runtimes": ("eager", "cuda_graph"), "macs": 8e9, "data": "folder:/data/imagenet"},
}


@dataclass
class Drawn:
    """A sampled architecture with the choices that led to it: (name, index or number, distribution as JSON)."""

    architecture: Architecture
    params: list[tuple[str, float, str]]


@dataclass
class Rows:
    """What goes into Optuna's tables, each a list of rows."""

    trials: list[tuple[Any, ...]] = field(default_factory=list)
    records: list[tuple[Any, ...]] = field(default_factory=list)
    system: list[tuple[Any, ...]] = field(default_factory=list)
    params: list[tuple[Any, ...]] = field(default_factory=list)
    values: list[tuple[Any, ...]] = field(default_factory=list)


def write_study(
    path: str | Path,
    trials: int,
    objectives: Sequence[str] = ("accuracy", "latency"),
    failed: bool = False,
    seed: int = 0,
    name: str = "made_up",
    space: str = "tiny_32",
) -> None:
    """Writes a study of so many trials into a SQLite file, which is made where missing; `failed`: every trial is.

    Raises:
        optuna.exceptions.DuplicatedStudyError: the file has a study of this name.
    """
    storage = open_storage(str(path), must_exist=False)
    directions = [row.direction for row in metrics(objectives)]
    study = optuna.create_study(study_name=name, storage=storage, directions=directions)
    searched = Searched(load_space(space), tuple(objectives), seed, failed)
    study.set_user_attr(ATTRIBUTE, searched.record())
    connection = sqlite3.connect(path, timeout=60)
    try:
        for rows in searched.run(trials, study._study_id, _next_id(connection)):
            with connection:
                _insert(connection, rows)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()
    for architecture, latency in searched.attached.values():
        add_latencies(study, architecture, [latency])
    storage.engine.dispose()


class Searched:
    """A made-up search, trial by trial."""

    def __init__(self, space: SearchSpace, objectives: tuple[str, ...], seed: int, failed: bool) -> None:
        self.space, self.objectives, self.failed = space, objectives, failed
        self.made = MADE[space.name]
        self.limits = Limits(macs=self.made["macs"])
        self.rng = random.Random(seed)
        self.seed = seed
        self.known: list[tuple[int, TrialRecord, Drawn]] = []  # a sample of the complete ones
        self.attached: dict[str, tuple[str, Latency]] = {}
        self.again: list[tuple[int, Drawn]] = []  # interrupted, to be repeated
        self.distributions: dict[tuple[str, tuple[Value, ...]], str] = {}
        models = (self._preset(preset(model)) for model in names("presets"))
        self.presets = [drawn for drawn in models if drawn is not None]

    def record(self) -> dict[str, Any]:
        """The plan as a search keeps it in its study."""
        where, made = self.made["where"], self.made
        conditions = {"precision": where["precision"], "runtimes": list(made["runtimes"]), "batch_sizes": [1]}
        conditions |= {"protocol": 2, "device": where["device"], "device_name": where["device_name"]}
        conditions |= {"threads": where.get("threads"), "torch": "2.13.0", "libraries": {}}
        proxy: dict[str, Any] = {"epochs": EPOCHS, "stop_epoch": STOP_EPOCH, "batch_size": 64, "lr": 0.003}
        proxy |= {"weight_decay": 0.05, "warmup_epochs": 1.0, "label_smoothing": 0.1, "crop_padding": None}
        return {
            "format": STUDY_FORMAT,
            "space_name": self.space.name,
            "space": self.space.data,
            "objectives": list(self.objectives),
            "data": {"source": made["data"], "fingerprint": "14570e4d1678b9a5"},
            "proxy": proxy | {"flip": None, "precision": "fp32"},
            "conditions": conditions,
            "limits": self.limits.model_dump(),
            "seed": self.seed,
        }

    def run(self, trials: int, study_id: int, first_id: int) -> Iterator[Rows]:
        """The rows of so many trials, some thousands at a time; the last ones still run or wait."""
        clock, rows = STARTED, Rows()
        open_ones = min(3, trials // 10)
        for number in range(trials):
            trial_id = first_id + number
            if number >= trials - open_ones:
                running = number < trials - 1
                started = clock.isoformat(" ") if running else None
                rows.trials.append((trial_id, number, study_id, "RUNNING" if running else "WAITING", started, None))
                continue
            drawn, record, state = self.trial(number)
            began, clock = clock, clock + timedelta(seconds=record.seconds + 0.02 + 0.05 * self.rng.random())
            times = (_stored(began), _stored(clock))
            rows.trials.append((trial_id, number, study_id, state, *times))
            rows.records.append((trial_id, ATTRIBUTE, json.dumps(record.model_dump(mode="json"))))
            self._put(rows, trial_id, drawn, record, state)
            clock += timedelta(seconds=0.01)
            if len(rows.trials) >= ROWS_AT_ONCE:
                yield rows
                rows = Rows()
        yield rows

    def trial(self, number: int) -> tuple[Drawn, TrialRecord, str]:
        """One trial: what was drawn, its record, and its state in Optuna's word."""
        rng = self.rng
        origin: dict[str, Any] = {}
        if number < len(self.presets):
            drawn = self.presets[number]
            origin = {"preset": drawn.architecture.name}
        elif self.again and rng.random() < 0.2:
            interrupted, drawn = self.again.pop()
            origin = {"retry_of": interrupted, "retries": 1}
        elif self.known and rng.random() < 0.04 and not self.failed:
            return self._duplicate()
        else:
            drawn = self._drawn()
        counts = cost(drawn.architecture)
        known: dict[str, Any] = {"macs": counts.macs, "params": counts.params, "activations": counts.activations}
        known["params_folded"] = counts.params_folded
        about: dict[str, Any] = {"id": drawn.architecture.id, "architecture": drawn.architecture.canonical.to_dict()}
        about |= origin
        dice = rng.random()
        if self.failed or (dice < 0.02 and not origin):
            return drawn, self._failed(about), "FAIL"
        if dice < 0.023 and not origin:
            self.again.append((number, drawn))
            return drawn, TrialRecord(status="interrupted", seconds=9 * rng.random(), **about), "FAIL"
        over = None if origin else self.limits.exceeded(counts)
        if over is not None:
            evaluation = Evaluation(infeasible=over, **known)
            return drawn, TrialRecord(status="infeasible", evaluation=evaluation, **about), "PRUNED"
        evaluation = self._evaluation(drawn.architecture, known)
        seconds = sum(evaluation.seconds.values()) + 0.2
        record = TrialRecord(status="complete", evaluation=evaluation, seconds=seconds, **about)
        self._remember(number, record, drawn)
        return drawn, record, "COMPLETE"

    def _duplicate(self) -> tuple[Drawn, TrialRecord, str]:
        number, first, drawn = self.rng.choice(self.known)
        about = {"id": first.id, "architecture": first.architecture}
        return drawn, TrialRecord(status="duplicate", duplicate_of=number, **about), "COMPLETE"

    def _failed(self, about: dict[str, Any]) -> TrialRecord:
        (line,) = self.rng.choices([line for line, _ in FAILURES], [share for _, share in FAILURES])
        kind, _, message = line.partition(": ")
        try:
            raise RuntimeError(message)
        except RuntimeError:
            text = traceback.format_exc().replace("RuntimeError", kind)
        seconds = 12 * self.rng.random()
        return TrialRecord(status="failed", error=line, traceback=text, seconds=seconds, **about)

    def _evaluation(self, architecture: Architecture, known: dict[str, Any]) -> Evaluation:
        """Costs as they are; times, memory and accuracies as they might be."""
        rng = self.rng
        quality = _quality(architecture, known["macs"], known["params"])
        accuracy = min(max(quality + rng.gauss(0, 1.6), 11.0), 97.0)
        share = [1 - math.exp(-2.6 * (epoch + 1) / STOP_EPOCH) for epoch in range(STOP_EPOCH)]
        curve = [10 + (accuracy - 10) * (part / share[-1]) + rng.gauss(0, 0.8) for part in share[:-1]]
        rounded = [round(value * 40.96) / 40.96 for value in [*curve, accuracy]]
        seconds = {"profile": 1.2 + 2 * rng.random(), "train": 4 + known["macs"] / 6e5 * (0.9 + 0.2 * rng.random())}
        if self.made["where"] is GPU:
            seconds["train"] = 60 + known["macs"] / 2e7
        trained: dict[str, Any] = {"accuracy": rounded[-1], "accuracy_by_epoch": tuple(rounded)}
        if "accuracy" not in self.objectives:
            trained, seconds = {}, {"profile": seconds["profile"]}
        first, *others = self.made["runtimes"]
        latencies = {f"{runtime}/b1": self._latency(architecture, known, runtime) for runtime in others}
        latency = self._latency(architecture, known, first)
        memory = (4 * known["params"] + 9 * known["activations"]) / 2**20
        times = {"latency": latency, "latencies": latencies, "peak_memory_mb": memory}
        return Evaluation(**known, **times, **trained, seconds=seconds)

    def _latency(self, architecture: Architecture, known: dict[str, Any], runtime: str, other: bool = False) -> Latency:
        """A time of one runtime here, or on the second device, with a verdict."""
        rng, gpu = self.rng, other or self.made["where"] is GPU
        blocks = sum(stage.depth * (1.6 if stage.mixer.kind == "window" else 1) for stage in architecture.stages)
        overhead = {"eager": 0.09, "onnxruntime": 0.03, "cuda_graph": 0.008}[runtime] * (0.7 if gpu else 1) * blocks
        speed = {"eager": 6e6, "onnxruntime": 9e6, "cuda_graph": 9e6}[runtime] * (400 if gpu else 1)  # MACs a ms
        median = (overhead + known["macs"] / speed + known["activations"] / (40 * speed)) * math.exp(rng.gauss(0, 0.06))
        found: Verdict
        (found,) = rng.choices(list(VERDICTS), list(VERDICTS.values()))
        width = median * (0.006 + 0.012 * rng.random()) * (4 if found == "noisy" else 1)
        where = {"threads": None} | (GPU if other else self.made["where"])
        libraries = {"onnxruntime": "1.31.1"} if runtime == "onnxruntime" else {}
        where |= {"runtime": runtime, "batch_size": 1, "image_size": architecture.image_size, "torch": "2.13.0"}
        conditions = Conditions(**where, libraries=libraries)
        reason = {"ok": "", "noisy": "the blocks differ by 9 %", "shared": "others took 31 % of the core"}
        return Latency(
            median_ms=median,
            ci95_ms=(median - width, median + width * (0.8 + 0.6 * rng.random())),
            samples=rng.randint(60, 900),
            stop="converged" if found != "noisy" else "time_limit",
            conditions=conditions,
            verdict=found,
            reason=reason.get(found, "the clock fell by 15 %"),
            drift=rng.gauss(0, 0.01),
            correction=None if gpu else 1 + abs(rng.gauss(0, 0.01)),
            dropped=rng.randint(0, 2),
            cores=None if gpu else (3,),
        )

    def _remember(self, number: int, record: TrialRecord, drawn: Drawn) -> None:
        """Keeps some complete trials, to be proposed again, and measures some on the second device."""
        if self.rng.random() < max(0.02, min(1.0, 200 / (number + 1))):
            self.known.append((number, record, drawn))
        if len(self.attached) < ATTACHED and self.rng.random() < 0.5 and self.made["where"] is CPU:
            assert record.evaluation is not None
            known = record.evaluation.model_dump(include={"macs", "activations"})
            self.attached[record.id] = (record.id, self._latency(drawn.architecture, known, "eager", other=True))

    def _drawn(self) -> Drawn:
        """A random architecture, with the choices as Optuna stores them."""
        params: list[tuple[str, float, str]] = []

        def decide(name: str, options: tuple[Value, ...], leaf: Leaf | None) -> Value:
            index = self.rng.randrange(len(options))
            params.append(self._param(name, options, leaf, index))
            return options[index]

        return Drawn(self.space.compose(decide), params)

    def _preset(self, model: Architecture) -> Drawn | None:
        """A published model with the choices that lead to it; None where the space has it not."""
        if not self.space.contains(model):
            return None
        chosen = self.space.params(model)
        params: list[tuple[str, float, str]] = []

        def decide(name: str, options: tuple[Value, ...], leaf: Leaf | None) -> Value:
            index = options.index(chosen[name])
            params.append(self._param(name, options, leaf, index))
            return options[index]

        self.space.compose(decide)
        return Drawn(model, params)

    def _param(self, name: str, options: tuple[Value, ...], leaf: Leaf | None, index: int) -> tuple[str, float, str]:
        whole = leaf is not None and leaf.step is not None and options == leaf.options
        key = (name, options)
        if key not in self.distributions:
            assert leaf is not None
            distribution: BaseDistribution = CategoricalDistribution(options)
            if whole:
                low, high, step = options[0], options[-1], leaf.step
                assert isinstance(low, int)
                assert isinstance(high, int)
                assert step is not None
                distribution = IntDistribution(low, high, step=step)
            self.distributions[key] = distribution_to_json(distribution)
        value = options[index] if whole else index
        assert isinstance(value, int | float)
        return name, float(value), self.distributions[key]

    def _put(self, rows: Rows, trial_id: int, drawn: Drawn, record: TrialRecord, state: str) -> None:
        """Adds a trial's parameters, constraints and values."""
        rows.params += [(trial_id, *param) for param in drawn.params]
        evaluation = record.evaluation
        if record.duplicate_of is not None:
            evaluation = next(first.evaluation for number, first, _ in self.known if number == record.duplicate_of)
        for limit, value in self.limits.constraints(evaluation).items():
            rows.system.append((trial_id, f"constraints:{limit}", json.dumps(value)))
        if state == "COMPLETE":
            assert evaluation is not None
            for objective, name in enumerate(self.objectives):
                rows.values.append((trial_id, objective, metric(name).read(evaluation), "FINITE"))


def _quality(architecture: Architecture, macs: int, params: int) -> float:
    """A plausible top-1, %: it rises with size and saturates, and what mixes tokens well is worth points."""
    scale = (architecture.image_size / 32) ** 2.6  # MACs at which it saturates, over those of small images
    size = math.log10(macs / scale / 2e5) + 0.15 * math.log10(params / 2e4)
    points = {"window": 3.0, "global": 1.5, "single_head": 3.5, "conv": 5.0, "none": -6.0}
    stages = architecture.stages
    mixed = sum(points[stage.mixer.kind] + 1.5 * stage.local for stage in stages) / len(stages)
    early = 2.0 if stages[0].mixer.kind == "conv" else 0.0
    patches = -3.0 * math.log2(architecture.stem.stride / 2)
    return 92 - 62 * math.exp(-1.1 * max(size, 0.05)) + mixed + early + patches * 0.6


def _stored(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S.%f")


def _next_id(connection: sqlite3.Connection) -> int:
    (last,) = connection.execute("SELECT max(trial_id) FROM trials").fetchone()
    return (last or 0) + 1


def _insert(connection: sqlite3.Connection, rows: Rows) -> None:
    for table, columns, found in (
        ("trials", "trial_id, number, study_id, state, datetime_start, datetime_complete", rows.trials),
        ("trial_user_attributes", "trial_id, key, value_json", rows.records),
        ("trial_system_attributes", "trial_id, key, value_json", rows.system),
        ("trial_params", "trial_id, param_name, param_value, distribution_json", rows.params),
        ("trial_values", "trial_id, objective, value, value_type", rows.values),
    ):
        places = ", ".join("?" for _ in columns.split(", "))
        connection.executemany(f"INSERT INTO {table} ({columns}) VALUES ({places})", found)


def main(arguments: list[str] | None = None) -> int:
    """Exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.made_up", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("path", type=Path, help="SQLite file, made where missing")
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--objectives", default="accuracy,latency", type=lambda text: tuple(text.split(",")))
    parser.add_argument("--failed", action="store_true", help="every trial fails")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="made_up", help="of the study")
    parser.add_argument("--space", default="tiny_32", choices=tuple(MADE))
    given = parser.parse_args(arguments)
    write_study(**vars(given))
    print(f"wrote {given.trials} trials to {given.path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
