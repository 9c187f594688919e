"""One thread (two busy cores make OpenMP threads wait for each other), and the same hypothesis examples on every run.

HYPOTHESIS_PROFILE=explore draws new examples each time, and more of them.
"""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import HealthCheck, Phase, settings

from explorer import cli
from tests.minis import Run

if TYPE_CHECKING:
    from playwright.sync_api import Browser

torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background: tests of Ctrl-C would wait for ever
    signal.signal(signal.SIGINT, signal.default_int_handler)
# what tests learn of a machine that is busy with tests is not for its user
STATE = tempfile.TemporaryDirectory()
os.environ["VITSCAPE_STATE"] = STATE.name

COMMON = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow],
    "print_blob": True,
    "phases": [phase for phase in Phase if phase != Phase.explain],  # it runs a slow failure many times more
}
settings.register_profile("fixed", derandomize=True, database=None, max_examples=50, **COMMON)
settings.register_profile("explore", max_examples=300, **COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """(exit status, standard output, standard error) of the command line, in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VITSCAPE_LEASES", str(tmp_path / "leases"))
    monkeypatch.delenv("VITSCAPE_STORAGE", raising=False)

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["vitscape", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium, one for all: two cannot be driven from one process. Its tests are of the group "browser"."""
    from tests.browser import launched

    with launched() as opened:
        yield opened
