"""One thread (two busy cores make OpenMP threads wait for each other), and the same hypothesis examples on every run.

HYPOTHESIS_PROFILE=explore draws new examples each time, and more of them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import HealthCheck, Phase, settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

torch.set_num_threads(1)
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


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium, one for all: two cannot be driven from one process. Its tests are of the group "browser"."""
    from tests.browser import launched

    with launched() as opened:
        yield opened
