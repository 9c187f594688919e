"""The process made quiet for the time of a measurement."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from explorer.profile.cores import bound_to, choose_cores


@contextmanager
def undisturbed(device: torch.device, threads: int) -> Iterator[tuple[int, ...]]:
    """No garbage collection; on a CPU so many threads, bound to the least busy cores, whose numbers it yields.

    There are no numbers on other devices, nor where a system does not bind. A GPU is made torch's current one.
    """
    before, collecting = torch.get_num_threads(), gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        if device.type == "cuda":
            with torch.cuda.device(device):
                yield ()
        elif device.type == "cpu":
            torch.set_num_threads(threads)
            if not hasattr(os, "sched_setaffinity"):
                yield ()
                return
            cores = choose_cores(threads)
            with bound_to(cores, whole_process=threads > 1):
                yield cores
        else:
            yield ()
    finally:
        torch.set_num_threads(before)
        if collecting:
            gc.enable()
