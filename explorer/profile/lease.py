"""The right to use a device: a timing holds it alone, trainings share it and give way to a timing between two steps.

Two locks a device. Whoever times takes the turnstile, then the device, and keeps both. Whoever trains goes through the
turnstile, which it holds for a moment only, and shares the device; before each step it looks whether the turnstile is
taken, and if so lets the device go and queues at the turnstile. So trainings, however many, cannot keep a timing
waiting for longer than a step; and timings, however many, cannot shut a training out: the kernel keeps the queue.
Covers this user's processes on this machine; `VITSCAPE_LEASES` names another folder for the lock files.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from explorer.profile.file_lock import FileLock
from search_spaces.errors import InputError

if TYPE_CHECKING:
    import torch

OnWait = Callable[[int | None], None]
"""Called before each wait with the process id of the one that holds the lock alone. None: it is not known, or those
that hold it share it: a timing that waits for trainings."""


class _Mine(threading.local):
    """What this thread holds."""

    def __init__(self) -> None:
        self.alone: set[str] = set()  # keys
        self.shared: dict[str, _Training] = {}  # device's key -> its training there


_mine = _Mine()


@contextmanager
def device_lease(device: str | torch.device, on_wait: OnWait | None = None) -> Iterator[None]:
    """Hold `device` alone, for timing: nobody else times or trains on it.

    The whole CPU is one device, since its cores share caches, memory and power. A thread may take a lease that it
    holds already; one that trains on the device pauses its training meanwhile.

    >>> with device_lease("cpu", on_wait=lambda pid: print(waits_for(pid, "cpu"))):
    ...     pass
    """
    key = lease_key(device)
    if _turnstile(key) in _mine.alone:
        yield
        return
    training = _mine.shared.get(key)
    if training is not None:
        training.pause()
    with exclusive(_turnstile(key), on_wait), FileLock(f"{key}.lock") as lock:
        if not lock.try_take():
            if on_wait is not None:
                on_wait(None)
            lock.take()
        yield
    if training is not None:  # after an exception, such as Ctrl-C, its next give_way() resumes it, or its end frees all
        training.resume()


@contextmanager
def training_lease(device: str | torch.device, on_wait: OnWait | None = None) -> Iterator[Callable[[], bool]]:
    """Share `device` with other trainings; yields `give_way()`, to be called between steps.

    `give_way()` costs microseconds where nobody wants to time on the device. Else it waits for the device to finish its
    work, lets it go, takes it again after the timing, and returns True. A thread may take a lease within its own.

    >>> with training_lease("cpu") as give_way:
    ...     for step in range(10):
    ...         give_way()
    """
    key = lease_key(device)
    if _turnstile(key) in _mine.alone:  # what trains within a timing is part of it
        yield lambda: False
    elif key in _mine.shared:
        yield _mine.shared[key].give_way
    else:
        with FileLock(f"{key}.lock") as lock, FileLock(f"{_turnstile(key)}.lock") as turnstile:
            training = _Training(key, str(device), lock, turnstile, on_wait)
            training.resume()
            _mine.shared[key] = training
            try:
                yield training.give_way
            finally:
                _mine.shared.pop(key, None)  # not there in a child forked meanwhile
                training.pause()


class _Training:
    """A thread's share in a device."""

    def __init__(self, key: str, device: str, lock: FileLock, turnstile: FileLock, on_wait: OnWait | None) -> None:
        self.key, self.device, self.lock, self.turnstile, self.on_wait = key, device, lock, turnstile, on_wait
        self.runs = False

    def resume(self) -> None:
        try:
            if not self.turnstile.try_take(shared=True):
                if self.on_wait is not None:
                    self.on_wait(self.turnstile.signed())
                self.turnstile.take(shared=True)
            self.lock.take(shared=True)  # at once: nobody times, who would hold the turnstile, too
            self.runs = True
        finally:
            self.turnstile.free()

    def pause(self) -> None:
        try:
            if self.runs:
                _finish_work(self.device)
        finally:
            self.runs = False
            self.lock.free()

    def give_way(self) -> bool:
        """Whether a timing was waited for."""
        # By taking it and giving it back: a count kept in a file would be wrong after a kill
        if self.runs and self.turnstile.try_take(shared=True):
            self.turnstile.free()
            return False
        if _turnstile(self.key) in _mine.alone:  # the timing is this thread's own
            return False
        self.pause()
        self.resume()
        return True


@contextmanager
def exclusive(key: str, on_wait: OnWait | None = None) -> Iterator[None]:
    """Hold what a key names alone on this machine; an exception from `on_wait` ends the waiting."""
    if key in _mine.alone:
        yield
        return
    with FileLock(f"{key}.lock") as lock:
        while not lock.try_take():
            if lock.try_take(shared=True):  # nobody holds it alone: a training just looked at it
                lock.free()
                continue
            if on_wait is not None:
                on_wait(lock.signed())
            lock.take()
            break
        lock.sign(os.getpid())
        _mine.alone.add(key)
        try:
            yield
        finally:
            _mine.alone.discard(key)
            lock.sign(None)


def waits_for(pid: int | None, device: object) -> str:
    """What a timing waits for, in words: "waiting for process 12, which times on cpu", or for trainings there."""
    if pid is None:
        return f"waiting for the trainings on {device} to end a step"
    return f"waiting for process {pid}, which times on {device}"


def lease_key(device: str | torch.device) -> str:
    """Name of a device that is the same for every process: "cpu", "mps", or a GPU's UUID.

    The index of a GPU is not: CUDA_VISIBLE_DEVICES numbers them anew in every process.
    """
    kind = str(device).partition(":")[0]
    if kind in ("cpu", "mps"):
        return kind
    if kind != "cuda":
        raise InputError(f"device={str(device)!r} has no lease; give cpu, mps, cuda or cuda:N")
    import torch

    uuid = torch.cuda.get_device_properties(device).uuid
    return "cuda-" + re.sub(r"[^0-9a-zA-Z-]", "", str(uuid))


def _turnstile(key: str) -> str:
    return f"{key}-turnstile"


def _finish_work(device: str) -> None:
    """Wait until a GPU has done what it was given; a CPU has."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)
    elif device.startswith("mps"):
        import torch

        torch.mps.synchronize()


def _forget_in_child() -> None:
    for training in _mine.shared.values():
        training.runs = False
    _mine.alone.clear()
    _mine.shared.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
