"""A worker that sleeps instead of measuring and training: what a search costs beyond its trials."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any

import ray

from explorer.evaluate import count
from explorer.record import Evaluation
from explorer.search.attempt import Found, Work
from explorer.search.place import Place
from explorer.search.worker import Hello
from search_spaces.architecture import Architecture

# environment variables: how long a trial takes; how many workers there are to be, and a folder where they meet
SECONDS, WORKERS, FOLDER = "VITSCAPE_SLEEP_SECONDS", "VITSCAPE_SLEEP_WORKERS", "VITSCAPE_SLEEP_FOLDER"


class Sleeper:
    """As explorer.search.worker.Worker; what it finds is the closed-form cost."""

    def __init__(self, work: Work, desk: Any, stops: bool) -> None:
        self.work, self.seconds = work, float(os.environ.get(SECONDS, "0"))

    def hello(self) -> Hello:
        """Waits for all others: 64 processes take minutes to start on two cores, which is not what is measured."""
        folder, workers = Path(os.environ[FOLDER]), int(os.environ[WORKERS])
        (folder / str(os.getpid())).touch()
        while len(list(folder.iterdir())) < workers:
            time.sleep(0.2)
        node = ray.get_runtime_context().get_node_id()
        return Hello(f"{platform.node()}, process {os.getpid()}", node, Place.here(self.work.setup), "")

    def run(
        self, number: int, architecture: Architecture, known: Evaluation | None, profile_only: bool, parcels: Any
    ) -> Found:
        time.sleep(self.seconds)
        return {
            "status": "complete",
            "evaluation": count(architecture, self.work.limits),
            "seconds": self.seconds,
        }
