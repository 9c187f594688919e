"""Small spaces that search in seconds, and ways to run the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

Run = Callable[..., tuple[int, str, str]]  # the fixture `run`: words of a command line -> status, output, error
MINI = """\
format: vitscape/space@1
name: mini
image_size: 16
classes: 10
stem: {kind: patch, stride: 4}
stages:
  - width: [8, 12, 16]
    depth: [1, 2]
    mixer:
      - {kind: none}
      - {kind: global, heads: [1, 2]}
      - {kind: window, size: 2, shift: [0, 1], heads: 1}
    ffn_ratio: [1, 2]
"""
ARCHITECTURE = """\
format: vitscape/architecture@1
image_size: 16
classes: 10
stem: {kind: patch, stride: 4}
stages:
  - width: 8
    depth: 2
    mixer: {kind: global, heads: 2}
"""


def environment(folder: Path) -> dict[str, str]:
    """A process environment whose caches and locks lie in a folder of the test's own."""
    shared = os.environ.get("VITSCAPE_CACHE", str(folder / "cache"))
    return {**os.environ, "VITSCAPE_CACHE": shared, "VITSCAPE_LEASES": str(folder / "leases"), "COLUMNS": "200"}


def vitscape(*words: str, cwd: Path, check: bool = False) -> subprocess.CompletedProcess[str]:
    """The command line run in a process of its own; what it times, it times shortly."""
    shortly = ["--time-limit", "0.2"] if words[0] in ("search", "profile", "measure") else []
    command = [sys.executable, "-m", "explorer.cli", *words, *shortly]
    done = subprocess.run(command, cwd=cwd, env=environment(cwd), capture_output=True, text=True, timeout=300)
    if check:
        assert done.returncode == 0, done.stderr
    return done


def refuses(run: Run, *words: str) -> str:
    """The error's one line, after asserting that the input is refused as bad input has to be."""
    status, out, err = run(*words)
    assert (status, out) == (2, ""), (status, out, err)
    assert err.startswith("error: ")
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    return err


def refuses_search(run: Run, folder: Path, words: str) -> str:
    """As `refuses`, of a search of MINI on digits with these options; none of them may leave a study behind."""
    (folder / "mini.yaml").write_text(MINI)
    command = "search mini.yaml --data digits --trials 1 --storage none.db --device cpu"
    told = refuses(run, *command.split(), *words.split())
    assert not (folder / "none.db").exists()
    return told
