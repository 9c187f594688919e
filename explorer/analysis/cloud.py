"""The architectures of a search space seen by their closed-form cost: a sample of it, and what the search took.

python -m explorer.analysis.cloud samples in a process of its own, at low priority, for whoever must not wait:
Sampling starts it. A finished sample is kept in the user's cache.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explorer import structure
from explorer.analysis.distribution import levels
from explorer.folders import cache_folder
from search_spaces.cost import cost
from search_spaces.document import Document
from search_spaces.space import SearchSpace

NUMBER = 100_000  # architectures of a whole cloud
FIRST = 5_000  # of one that is there at once: seconds
CHUNK = 500  # each is drawn from a seed of its own: a cloud begins as a smaller one does
VERSION = 1  # of the kept files: costs and columns as they are made here
COUNTS = ("macs", "params", "activations")
KEPT = ("stem", "stem_kind", "stem_stride", "image_size", "stage_count", "depth")
KEPT_OF_STAGE = ("width", "depth", "mixer", "window")
Counted = NDArray[np.int64]


def space_of(record: Mapping[str, Any]) -> SearchSpace:
    """The search space that a study keeps in its record.

    Raises:
        SpecError: the record has none, or one that this version cannot read; one line.
    """
    return SearchSpace(Document(str(record["space_name"]), record["space"]))


def cloud(
    space: SearchSpace, number: int = NUMBER, seed: int = 0, progress: Callable[[int], None] | None = None
) -> pd.DataFrame:
    """Architectures drawn from a space, every choice uniform among what is possible, with their closed-form costs.

    Columns: key (the architecture's id as a number), macs, params, activations of one image, and the structure columns
    that vary: stem, depth, and of each stage width, depth, mixer and window. The same seed draws the same, and more of
    them begin with the fewer. `progress` is told now and then how many there are; what it raises ends the sampling.
    """
    parts: list[pd.DataFrame] = []
    for start in range(0, number, CHUNK):
        parts.append(_chunk(space, f"{seed}:{start}", min(CHUNK, number - start)))
        if progress is not None:
            progress(min(start + CHUNK, number))
    table = pd.concat(parts, ignore_index=True)
    kinds = structure.columns(_stages(space))
    table = table.astype({name: kinds[name] for name in table.columns if name in kinds})
    varying = [name for name in structure.splits(table) if name in kinds]
    return table[["key", *COUNTS, *varying]]


def stamp(space: SearchSpace, number: int = NUMBER, seed: int = 0) -> str:
    """A name for a cloud, the same for the same choices."""
    text = json.dumps([VERSION, space.data, number, seed], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def kept(space: SearchSpace, number: int = NUMBER, seed: int = 0) -> pd.DataFrame | None:
    """The cloud that was sampled before; None where there is none in the cache."""
    path = _path(space, number, seed)
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError):  # missing, or no Parquet file
        return None
    return table if len(table) == number and {"key", *COUNTS} <= set(table.columns) else None


def keep(table: pd.DataFrame, space: SearchSpace, seed: int = 0) -> None:
    """Puts a cloud into the cache, whole or not at all."""
    path = _path(space, len(table), seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        table.to_parquet(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


class Sampling:
    """A cloud that is being sampled by another process, at low priority; that ends with this one."""

    def __init__(self, space: SearchSpace, number: int = NUMBER, seed: int = 0) -> None:
        self.number = number
        self.sampled = 0
        self.error: str | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-m", "explorer.analysis.cloud"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        asked = json.dumps({"name": space.name, "space": space.data, "number": number, "seed": seed})
        self._reader = threading.Thread(target=self._follow, args=(asked,), daemon=True)
        self._reader.start()

    @property
    def running(self) -> bool:
        return self._reader.is_alive()

    def stop(self) -> None:
        """Ends the sampling; what was sampled is lost."""
        self._process.terminate()
        self.wait()
        self.error = "stopped"

    def wait(self, seconds: float | None = None) -> None:
        """Returns when the sampling has ended, or after so many seconds."""
        self._reader.join(seconds)

    def _follow(self, asked: str) -> None:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        with process:
            try:
                process.stdin.write(asked)
                process.stdin.close()
            except BrokenPipeError:  # it ended before it read: its last words say why
                pass
            for line in process.stdout:
                self.sampled = int(line)
            said = process.stderr.read().strip().splitlines()
        if process.returncode:
            self.error = said[-1] if said else f"the process ended with {process.returncode}"


def shares(found: pd.DataFrame, trials: pd.DataFrame, best: pd.DataFrame, column: str) -> pd.DataFrame:
    """How often each level of a structure column is in the space, among the trials and on the front, 0 to 1.

    Columns: level, space, trials, lo, hi (Wilson's 95 % interval of the trials' share, were they drawn at random),
    front, and the counts trials_count, front_count. Networks without that choice are left out on every side.
    """
    names = levels(found[column])
    of_space = _counted(found[column], found[column], names)
    of_trials, of_front = (_counted(rows[column], found[column], names) for rows in (trials, best))
    total = max(int(of_trials.sum()), 1)
    share = of_trials / total
    z2 = 1.96**2
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    reach = 1.96 * np.sqrt(share * (1 - share) / total + z2 / (4 * total**2)) / (1 + z2 / total)
    return pd.DataFrame(
        {
            "level": [str(name) for name in names.cat.categories],
            "space": of_space / of_space.sum(),
            "trials": share,
            "lo": np.clip(middle - reach, 0, 1),
            "hi": np.clip(middle + reach, 0, 1),
            "front": of_front / max(int(of_front.sum()), 1),
            "trials_count": of_trials,
            "front_count": of_front,
        }
    )


def coverage(found: pd.DataFrame, trials: pd.DataFrame, column: str) -> pd.DataFrame:
    """Where a cost lies in the space and among the trials: of, count, least, 5 %, median, 95 %, most; stored units."""
    rows = []
    for of, values in (("space", found[column]), ("trials", trials[column])):
        numbers = values.dropna().to_numpy(dtype=float)
        if len(numbers):
            rows.append((of, len(numbers), *np.quantile(numbers, (0, 0.05, 0.5, 0.95, 1))))
    return pd.DataFrame(rows, columns=["of", "count", "least", "5 %", "median", "95 %", "most"])


def _chunk(space: SearchSpace, seed: str, number: int) -> pd.DataFrame:
    generator = random.Random(seed)
    of_stage = {f"{name}@{k}" for name in KEPT_OF_STAGE for k in range(1, _stages(space) + 1)}
    rows = []
    for _ in range(number):
        architecture = space.sample(generator)
        counted = cost(architecture)
        found = structure.columns_of(architecture.canonical.to_dict())
        row = {name: value for name, value in found.items() if name in KEPT or name in of_stage}
        row |= {"key": int(architecture.id, 16)} | {name: getattr(counted, name) for name in COUNTS}
        rows.append(row)
    kinds = structure.columns(_stages(space))
    names = ["key", *COUNTS, *(name for name in kinds if name in KEPT or name in of_stage)]
    dtypes = {"key": "uint64", **dict.fromkeys(COUNTS, "int64")}
    # categories would differ from chunk to chunk
    plain = {name: "object" if kind == "category" else kind for name, kind in kinds.items()}
    return pd.DataFrame(rows, columns=names).astype({name: (dtypes | plain)[name] for name in names})


def _stages(space: SearchSpace) -> int:
    stages = space.root.fields["stages"]
    assert isinstance(stages, tuple)
    return len(stages)


def _counted(values: pd.Series[Any], of_space: pd.Series[Any], names: pd.Series[Any]) -> Counted:
    """How many of the values lie in each level that the space's values have; those that it has not lie in none."""
    pairs = pd.DataFrame({"value": of_space.astype("object"), "level": names}).drop_duplicates().dropna()
    level_of = dict(zip(pairs["value"], pairs["level"].cat.codes, strict=True))
    found = values.astype("object").map(level_of).dropna().to_numpy(dtype=int)
    return np.bincount(found, minlength=len(names.cat.categories))


def _path(space: SearchSpace, number: int, seed: int) -> Path:
    return cache_folder() / "clouds" / f"{stamp(space, number, seed)}.parquet"


def main() -> None:
    """Samples and keeps the cloud that standard input asks for; says on standard output how many there are."""
    os.nice(10)
    asked = json.load(sys.stdin)
    space = SearchSpace(Document(asked["name"], asked["space"]))
    table = cloud(space, asked["number"], asked["seed"], lambda sampled: print(sampled, flush=True))
    keep(table, space, asked["seed"])


if __name__ == "__main__":
    main()
