"""Made-up studies of any size for tests, written once and kept in the temporary folder for later runs."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import optuna

from benchmarks import made_up
from explorer.profile.lease import exclusive


def made_up_study(trials: int, *given: Any, **named: Any) -> Path:
    """A SQLite file with a study of so many trials, to read; copy it to write to it.

    What else is given goes to benchmarks.made_up.write_study.
    """
    key = repr((trials, given, sorted(named.items()))) + Path(made_up.__file__).read_text("utf-8")
    folder = Path(tempfile.gettempdir()) / f"vitscape-made-up-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"made_up_{trials}_{hashlib.sha256(key.encode()).hexdigest()[:12]}.db"
    with exclusive(path.stem):  # the workers of one test run would all write it
        if not path.exists():
            optuna.logging.set_verbosity(optuna.logging.WARNING)
            part = path.with_suffix(".part")
            part.unlink(missing_ok=True)
            made_up.write_study(part, trials, *given, **named)
            part.rename(path)
    return path
