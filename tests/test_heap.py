"""Memory that a training's step frees stays for the next, and goes back to the kernel in the end."""

from __future__ import annotations

import resource
import sys
import threading
from pathlib import Path

import pytest
import torch

from explorer.proxy.heap import kept_heap

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")
CPU = torch.device("cpu")


def step() -> int:
    """Pages that the kernel handed out while 256 MB were taken, written to and freed."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.zeros(2**18) for _ in range(256)]
    del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident() -> float:
    """MB of memory that the process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def test_pages_are_handed_out_once_and_not_in_every_step() -> None:
    with kept_heap(CPU):
        step()
        assert max(step() for _ in range(5)) < 2**16 / 100  # of 65,536 pages


def test_memory_goes_back_when_the_last_of_several_trainings_ends() -> None:
    began, last_ends = threading.Event(), threading.Event()

    def train() -> None:
        with kept_heap(CPU):
            began.set()
            last_ends.wait(60)

    other = threading.Thread(target=train)
    with kept_heap(CPU):
        other.start()
        began.wait(60)
        step()
    step()
    assert step() < 2**16 / 100  # the other one still trains
    held = resident()
    last_ends.set()
    other.join()
    assert resident() < held - 200


def test_a_gpus_training_changes_nothing_here() -> None:
    with kept_heap(CPU):
        pass
    with kept_heap(torch.device("cuda")):
        step()
        assert max(step() for _ in range(3)) > 2**16 / 2
