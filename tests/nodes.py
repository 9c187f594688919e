"""A Ray cluster of several nodes on this machine, with GPUs that are not there, and searches on it as processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.minis import environment

STORE = 80 * 2**20  # bytes of each node's object store
AUTH = {"RAY_AUTH_MODE": "disabled"}  # nobody else reaches these ports for the minute that they are open


@contextmanager
def cluster(*nodes: dict[str, Any]) -> Iterator[Any]:
    """A Ray cluster whose head runs no trials; `nodes` are options of the others: num_cpus, num_gpus, resources."""
    before = os.environ.copy()
    os.environ.update(AUTH)
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": STORE})
    try:
        for node in nodes:
            made.add_node(object_store_memory=STORE, **node)
        yield made
    finally:
        made.shutdown()
        os.environ.clear()
        os.environ.update(before)


def on(made: Any, *words: str, cwd: Path) -> subprocess.Popen[str]:
    """`vitscape search ...` as a process, evaluating on a cluster."""
    command = [sys.executable, "-m", "explorer.cli", "search", *words, "--engine", "ray", "--address", made.address]
    command += ["--device", "cpu", "--time-limit", "0.2"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=cwd, env=environment(cwd) | AUTH, text=True, **pipes)


def ended(process: subprocess.Popen[str], seconds: float = 240) -> str:
    """What a process has printed, after it ended well."""
    out, err = process.communicate(timeout=seconds)
    assert process.returncode == 0, err
    return out + err


def until(holds: Any, process: subprocess.Popen[str], seconds: float = 120) -> None:
    """Waits for a condition while a process runs."""
    late = time.monotonic() + seconds
    while not holds():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < late, "it did not come to pass"
        time.sleep(0.1)


def logs(folder: Path) -> dict[int, list[str]]:
    """The lines of each trial's log."""
    return {int(file.stem): file.read_text().splitlines() for file in sorted(folder.glob("*.log"))}
