"""A log a trial, written by the search's own process: what its workers were at, when, on which node."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from explorer.storage import sqlite_path
from search_spaces.errors import InputError


class TrialLogs:
    """Files NUMBER.log in a folder, made where it is missing; a line is there once it is written.

    Raises:
        InputError: the folder cannot be made.
    """

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        self.folder, self.warn, self.broken = folder, warn, False
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"log-dir={folder}: {error.strerror}; give a folder that can be written to") from None

    def write(self, number: int, text: str, where: str = "", at: float | None = None) -> None:
        """Adds lines to a trial's log, with the time and who says it; a disk that is full ends no search."""
        when = datetime.fromtimestamp(time.time() if at is None else at).isoformat(" ", "milliseconds")
        lines = [f"{when}  {where or 'search'}  {line}\n" for line in text.splitlines()]
        try:
            with (self.folder / f"{number:04d}.log").open("a", encoding="utf-8") as file:
                file.writelines(lines)
        except OSError as error:
            if not self.broken:
                self.warn(f"log-dir={self.folder}: {error.strerror}; lines of logs are lost")
            self.broken = True


def log_folder(chosen: Path | None, storage: str, study: str) -> Path:
    """Where a study's logs go: the folder chosen, else logs/STUDY beside a SQLite file, or in runs/ here.

    Raises:
        InputError: what is written would lie in the working directory of a Ray job, a copy that goes with it.
    """
    beside = sqlite_path(storage)
    if beside is not None and in_job_copy() and beside.is_relative_to(os.getcwd()):
        raise InputError(f"storage={storage}: a Ray job runs in a temporary copy of its folder; give an absolute path")
    base = Path("runs") if beside is None else beside.parent
    folder = chosen or base / "logs" / study.replace("/", "_")
    if in_job_copy() and folder.absolute().is_relative_to(os.getcwd()):
        raise InputError(f"log-dir={folder}: a Ray job runs in a temporary copy of its folder; give an absolute path")
    return folder.absolute()


def in_job_copy() -> bool:
    """Whether this process runs in the copy of a working directory that Ray makes for a job, and removes after it."""
    return "runtime_resources" in Path(os.getcwd()).parts
