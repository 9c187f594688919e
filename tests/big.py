"""Made-up studies of any size for tests, written once and kept in the temporary folder for later runs."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import optuna

from benchmarks import made_up
from explorer.profile.lease import exclusive


def made_up_study(
    trials: int,
    objectives: Sequence[str] = ("accuracy", "latency"),
    failed: bool = False,
    seed: int = 0,
    name: str = "made_up",
    space: str = "tiny_32",
) -> Path:
    """A SQLite file with a study of so many trials (benchmarks/made_up.py), to read; copy it to write to it."""
    key = repr((trials, tuple(objectives), failed, seed, name, space)) + Path(made_up.__file__).read_text("utf-8")
    folder = Path(tempfile.gettempdir()) / f"vitscape-made-up-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{name}_{trials}_{hashlib.sha256(key.encode()).hexdigest()[:12]}.db"
    with exclusive(path.stem):  # the workers of one test run would all write it
        if not path.exists():
            optuna.logging.set_verbosity(optuna.logging.WARNING)
            part = path.with_suffix(".part")
            part.unlink(missing_ok=True)
            made_up.write_study(part, trials, objectives, failed, seed, name, space)
            part.rename(path)
    return path
