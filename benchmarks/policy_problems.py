"""Search problems of which every point is known: `Problem.objective` is an Optuna objective, `Problem.points` are all.

    table      15,625 cells of six edges with five operations each, as in NAS-Bench-201: accuracy, latency
    stages     a vision transformer of up to three stages, 95,976 ways: mixers with choices of their own, a limit on
               parameters: accuracy, latency
    stages_3   the same with its parameters as the third objective, and a limit on latency
    tiny_32    240 networks of tiny_32, trained and timed (benchmarks/data/tiny_32_part.csv): accuracy, latency

The first three are formulas with interactions and a fixed disturbance of each point, so that nothing is quite smooth.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import moocore
import numpy as np
import optuna
import pandas as pd
from numpy.typing import NDArray

PART = Path(__file__).parent / "data" / "tiny_32_part.csv"
Direction = Literal["maximize", "minimize"]
Ask = Any  # optuna.Trial, or what enumerates in its place


class Every:
    """Stands for a trial and makes, one after the other, every decision that can be made."""

    def __init__(self) -> None:
        self.made: list[list[Any]] = []  # [name, options, which]
        self.depth = 0
        self.constraints: dict[str, float] = {}

    def suggest_categorical(self, name: str, options: Any) -> Any:
        if self.depth == len(self.made):
            self.made.append([name, list(options), 0])
        self.depth += 1
        return self.made[self.depth - 1][1][self.made[self.depth - 1][2]]

    def suggest_int(self, name: str, low: int, high: int) -> int:
        return int(self.suggest_categorical(name, range(low, high + 1)))

    def set_constraint(self, name: str, value: float) -> None:
        self.constraints[name] = value

    def advance(self) -> bool:
        """Whether there is another way; the next run takes it."""
        while self.made and self.made[-1][2] == len(self.made[-1][1]) - 1:
            self.made.pop()
        if self.made:
            self.made[-1][2] += 1
        self.depth, self.constraints = 0, {}
        return bool(self.made)


@dataclass(frozen=True)
class Problem:
    """A search problem; values come in the directions' own sense."""

    name: str
    directions: tuple[Direction, ...]
    objective: Callable[[Ask], tuple[float, ...]]

    @cached_property
    def points(self) -> NDArray[np.float64]:
        """(points, objectives) of every feasible point, to minimize."""
        return np.array([self.signed(values) for values, feasible in self._all() if feasible])

    @cached_property
    def size(self) -> int:
        """How many points there are, feasible or not."""
        return sum(1 for _ in self._all())

    @cached_property
    def reference(self) -> NDArray[np.float64]:
        """The worst feasible value of each objective, and a tenth of the range more."""
        low, high = self.points.min(axis=0), self.points.max(axis=0)
        return np.asarray(high + 0.1 * (high - low))

    @cached_property
    def best(self) -> float:
        """The hypervolume of the exact front."""
        return self.volume(self.points)

    def signed(self, values: tuple[float, ...]) -> tuple[float, ...]:
        """The values, to minimize."""
        return tuple(-v if d == "maximize" else v for v, d in zip(values, self.directions, strict=True))

    def volume(self, points: NDArray[np.float64]) -> float:
        """The hypervolume of points that are to be minimized."""
        front = points[moocore.is_nondominated(points)]
        return float(moocore.hypervolume(front, ref=self.reference))

    def _all(self) -> Iterator[tuple[tuple[float, ...], bool]]:
        every, more = Every(), True
        while more:
            values = self.objective(every)
            yield values, all(v <= 0 for v in every.constraints.values())
            more = every.advance()


def disturbance(*what: Any) -> float:
    """A number from -1 to 1 that is always the same for the same arguments."""
    digest = hashlib.blake2b(repr(what).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**63 - 1


OPERATIONS = ("none", "skip", "conv1", "conv3", "pool")
GAIN = {"none": 0.0, "skip": 0.35, "conv1": 0.75, "conv3": 1.0, "pool": 0.3}
TIME = {"none": 0.0, "skip": 0.05, "conv1": 0.9, "conv3": 1.7, "pool": 0.5}
PATHS = ((0, 1, 2), (0, 4), (3, 2), (5,))  # edges from input to output: 0>1 1>2 2>3 0>2 1>3 0>3


def table(trial: Ask) -> tuple[float, float]:
    """A path is as good as its weakest edge lets it be; without any path a cell only guesses."""
    edges = [trial.suggest_categorical(f"edge_{i}", OPERATIONS) for i in range(6)]
    paths = [math.prod(GAIN[edges[i]] for i in path) ** (1 / len(path)) for path in PATHS]
    depth = max(len(p) for p, quality in zip(PATHS, paths, strict=True) if quality > 0) if any(paths) else 0
    strength = sum(paths)
    accuracy = 10.0 if not strength else 40 + 33 * (1 - math.exp(-1.1 * strength)) + 1.6 * depth
    accuracy += 0.9 * disturbance("accuracy", edges) * (strength > 0)
    on_paths = {i for p, quality in zip(PATHS, paths, strict=True) if quality > 0 for i in p}
    time = 1.2 + sum(TIME[e] * (1.0 if i in on_paths else 0.35) for i, e in enumerate(edges))
    return accuracy, time * (1 + 0.04 * disturbance("time", edges))


def stage(trial: Ask, i: int, side: int) -> tuple[float, float, float]:
    """(quality, milliseconds, million parameters) of a stage on a map of side x side."""
    width = trial.suggest_categorical(f"s{i}.width", (32, 48, 64) if i < 2 else (64, 96, 128))
    depth = trial.suggest_int(f"s{i}.depth", 1, 2)
    mixer = trial.suggest_categorical(f"s{i}.mixer", ("window", "global", "single_head", "conv"))
    tokens, w = side * side, width / 32
    if mixer == "window":
        size = trial.suggest_categorical(f"s{i}.window", (2, 4))
        quality, cost = 0.8 + 0.25 * math.log2(size) * (side > size), w * w * 4 + 0.3 * size * w
    elif mixer == "global":
        quality, cost = 1.25 + 0.15 * (side <= 8), w * w * 4 + tokens / 40 * w
    elif mixer == "single_head":
        ratio = trial.suggest_categorical(f"s{i}.ratio", (0.25, 0.5))
        quality, cost = 0.95 + 0.5 * ratio * (side <= 8), w * w * (1 + 2 * ratio) + tokens / 160
    else:
        quality, cost = 0.9 + 0.2 * (side > 8), 0.4 * w + w * w
    ffn = 2
    quality *= (1 + 0.25 * math.log2(w)) * depth**0.6
    cost = depth * tokens * (cost + 2 * ffn * w * w) / 2500
    return quality, cost * (1.15 if mixer == "window" else 1.0), depth * (4 + 2 * ffn) * (width / 100) ** 2 / 10


def network(trial: Ask) -> tuple[float, float, float]:
    """(accuracy, milliseconds, million parameters) of a network."""
    stride = trial.suggest_categorical("stride", (2, 4))
    side, gain, time, size = 32 // stride, 0.25 * (stride == 2), 0.08, 0.01
    stages = trial.suggest_int("stages", 1, 3)
    shape: list[Any] = [stride, stages]
    for i in range(stages):
        quality, cost, params = stage(trial, i, side)
        gain, time, size = gain + quality * (0.7 + 0.25 * i), time + cost, size + params
        shape += [round(quality, 6), round(cost, 6)]
        side //= 2
    accuracy = 35 + 60 * (1 - math.exp(-0.38 * gain)) + 0.8 * disturbance("accuracy", shape)
    return accuracy, time * (1 + 0.05 * disturbance("time", shape)), size


def stages(trial: Ask) -> tuple[float, float]:
    accuracy, time, size = network(trial)
    trial.set_constraint("params", size / 1.2 - 1)
    return accuracy, time


def stages_3(trial: Ask) -> tuple[float, float, float]:
    accuracy, time, size = network(trial)
    trial.set_constraint("latency", time / 3.0 - 1)
    return accuracy, time, size


def recorded(path: Path = PART) -> Callable[[Ask], tuple[float, float]]:
    """Accuracy and latency of the networks of a recorded table, asked for as `vitscape search` asks."""
    from search_spaces.space import load_space

    rows = pd.read_csv(path)
    space = load_space(path.with_suffix(".yaml"))
    known = {
        json.dumps(json.loads(choices), sort_keys=True): (float(accuracy), float(latency))
        for choices, accuracy, latency in zip(rows["choices"], rows["epoch_12"], rows["latency_ms"], strict=True)
    }

    def objective(trial: Ask) -> tuple[float, float]:
        asked: dict[str, Any] = {}

        def decide(name: str, options: Any, leaf: Any) -> Any:
            asked[name] = trial.suggest_categorical(name, options)
            return asked[name]

        space.compose(decide)
        return known[json.dumps(asked, sort_keys=True)]

    return objective


def problems() -> dict[str, Callable[[], Problem]]:
    """All of them, by name."""
    two: tuple[Direction, ...] = ("maximize", "minimize")
    three: tuple[Direction, ...] = ("maximize", "minimize", "minimize")
    return {
        "table": lambda: Problem("table", two, table),
        "stages": lambda: Problem("stages", two, stages),
        "stages_3": lambda: Problem("stages_3", three, stages_3),
        "tiny_32": lambda: Problem("tiny_32", two, recorded()),
    }


def volumes(problem: Problem, study: optuna.Study) -> list[float]:
    """The share of the exact hypervolume after each trial."""
    found: list[float] = []
    front = np.empty((0, len(problem.directions)))
    for trial in study.get_trials(deepcopy=False):
        if trial.values is not None and all(v <= 0 for v in trial.constraints.values()):
            point = np.array([problem.signed(tuple(trial.values))])
            if not (front <= point).all(axis=1).any():
                front = np.concatenate([front[~(point <= front).all(axis=1)], point])
        found.append(problem.volume(front) / problem.best if len(front) else 0.0)
    return found
