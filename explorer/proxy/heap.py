"""Keeps the memory of one training step for the next, on a CPU.

A step frees its activations, and glibc gives what is free at the heap's top back to the kernel, which hands it out
again page by page, each cleared: an eighth of a small network's training, in a process where it happens so. On a GPU
torch keeps memory by itself.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3  # mallopt(3)
LARGEST = 32 * 2**20  # bytes of a block in the heap: glibc takes no more, and grows to it by itself
KEPT = {MMAP_THRESHOLD: LARGEST, TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 64 * 2**20}
AFTER = {MMAP_THRESHOLD: LARGEST, TRIM_THRESHOLD: 2 * LARGEST, TOP_PAD: 128 * 2**10}  # as after a training without this

_lock = threading.Lock()
_under_way = 0  # trainings of this process


@contextmanager
def kept_heap(device: torch.device) -> Iterator[None]:
    """Freed memory stays with the process until the last training in it ends; then all goes back to the kernel."""
    global _under_way
    library = _glibc()
    if device.type != "cpu" or library is None:
        yield
        return
    with _lock:
        _under_way += 1
        _set(library, KEPT)
    try:
        yield
    finally:
        with _lock:
            _under_way -= 1
            if not _under_way:
                _set(library, AFTER)
                library.malloc_trim(0)


def _set(library: ctypes.CDLL, values: dict[int, int]) -> None:
    for name, value in values.items():
        library.mallopt(name, value)


@lru_cache
def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") and hasattr(library, "mallopt") else None
