"""Memory that a training's step frees stays for the next, and goes back to the kernel in the end.

Each test has a process of its own: what is free in one that has run other tests is scattered.
"""

from __future__ import annotations

import ctypes
import resource
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from explorer.proxy.heap import kept_heap

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")
CPU = torch.device("cpu")
BLOCK = 2**24  # bytes: below LARGEST, so that it is of the heap
PAGES = 2**28 // resource.getpagesize()  # of one step
PR_SET_THP_DISABLE = 41  # prctl(2)


def alone(body: Callable[[], None]) -> None:
    """Runs a function in a process of its own, to which the kernel hands out single pages, not huge ones."""
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=single_pages) as process:
        process.submit(body).result()


def single_pages() -> None:
    assert ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0


def step() -> int:
    """Pages that the kernel handed out while 256 MB were taken, written to and freed.

    By glibc itself, and nothing else between: a small block of torch's or Python's that stays at the heap's top would
    keep all below it from the kernel, and whether there is one is chance.
    """
    glibc = ctypes.CDLL(None)
    glibc.malloc.restype = ctypes.c_void_p
    glibc.memset.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
    glibc.free.argtypes = (ctypes.c_void_p,)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [glibc.malloc(BLOCK) for _ in range(2**28 // BLOCK)]
    for block in blocks:
        glibc.memset(block, 1, BLOCK)
    for block in blocks:
        glibc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident() -> float:
    """MB of memory that the process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def first_step_takes_pages() -> None:
    with kept_heap(CPU):
        assert step() > PAGES / 2
        assert max(step() for _ in range(5)) < PAGES / 100


def last_of_two_gives_them_back() -> None:
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
    assert step() < PAGES / 100  # the other one still trains
    held = resident()
    last_ends.set()
    other.join()
    assert resident() < held - 200


def every_step_of_a_gpus_takes_pages() -> None:
    with kept_heap(CPU):
        pass
    with kept_heap(torch.device("cuda")):
        step()
        assert max(step() for _ in range(3)) > PAGES / 2


def test_pages_are_handed_out_once_and_not_in_every_step() -> None:
    alone(first_step_takes_pages)


def test_memory_goes_back_when_the_last_of_several_trainings_ends() -> None:
    alone(last_of_two_gives_them_back)


def test_a_gpus_training_changes_nothing_here() -> None:
    alone(every_step_of_a_gpus_takes_pages)
