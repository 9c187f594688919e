"""The right to time on a device, held by one thread of one process at a time.

A lock on an open file (flock), so that the kernel gives it back when its holder ends in whatever way, `kill -9` too.
Covers this user's processes on this machine; `VITSCAPE_LEASES` names another folder for the lock files.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from search_spaces.errors import InputError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

OnWait = Callable[[int | None], None]  # called once with the holder's pid (None: not known) before waiting for it

_turns: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)  # key -> one thread of this process at a time
_turns_guard = threading.Lock()
_held: dict[str, int] = {}  # key -> descriptor of the locked file; touched in that key's turn only


@contextmanager
def device_lease(device: str | torch.device, on_wait: OnWait | None = None) -> Iterator[None]:
    """Hold `device` alone: waits until no other thread or process times on it.

    The whole CPU is one device, since its cores share caches, memory and power. A thread may take a lease that it
    holds already.

    >>> with device_lease("cpu", on_wait=lambda pid: print(f"waiting for process {pid}, which times on cpu")):
    ...     pass
    """
    with exclusive(lease_key(torch.device(device)), on_wait):
        yield


@contextmanager
def exclusive(key: str, on_wait: OnWait | None = None) -> Iterator[None]:
    """Hold what a key names alone on this machine; an exception from `on_wait` ends the waiting."""
    with _turn(key, on_wait):
        if key in _held:
            yield
            return
        try:
            folder = _folder()
        except OSError as error:
            where = f"VITSCAPE_LEASES={os.environ.get('VITSCAPE_LEASES', '')}"
            raise InputError(
                f"{where}: no folder for locks ({error}); set it to a folder that you can write to"
            ) from None
        descriptor = _lock(folder / f"{key}.lock", on_wait)
        _held[key] = descriptor
        try:
            yield
        finally:
            if _held.pop(key, None) is not None:  # None in a child forked meanwhile, which holds nothing
                os.ftruncate(descriptor, 0)
                os.close(descriptor)  # which unlocks


def lease_key(device: torch.device) -> str:
    """Name of a device that is the same for every process: "cpu", "mps", or a GPU's UUID.

    The index of a GPU is not: CUDA_VISIBLE_DEVICES numbers them anew in every process.
    """
    if device.type != "cuda":
        return device.type
    uuid = torch.cuda.get_device_properties(device).uuid
    return "cuda-" + re.sub(r"[^0-9a-zA-Z-]", "", str(uuid))


@contextmanager
def _turn(key: str, on_wait: OnWait | None) -> Iterator[None]:
    with _turns_guard:
        lock = _turns[key]
    if not lock.acquire(blocking=False):
        if on_wait is not None:
            on_wait(os.getpid())
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _folder() -> Path:
    """Folder of the lock files, private to the user, made where it is not there."""
    chosen = os.environ.get("VITSCAPE_LEASES")
    if chosen:
        folder = Path(chosen)
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    if sys.platform == "win32":
        folder = Path(tempfile.gettempdir()) / "vitscape"
        folder.mkdir(exist_ok=True)
        return folder
    # Not $TMPDIR and not $XDG_RUNTIME_DIR: two sessions of one user may differ in them, and must still meet here.
    folder = Path("/tmp") / f"vitscape-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} is not yours; set VITSCAPE_LEASES to a folder that is")
    return folder


def _lock(path: Path, on_wait: OnWait | None) -> int:
    """Descriptor of `path`, locked, with this process's id written in it."""
    # The file stays when the lease ends: were it removed, two processes could hold two files of one name.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not _locked(descriptor, wait=False):
            if on_wait is not None:
                on_wait(_holder(descriptor))
            _locked(descriptor, wait=True)
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, str(os.getpid()).encode())
    except BaseException:  # Ctrl-C while waiting, too
        os.close(descriptor)
        raise
    return descriptor


def _holder(descriptor: int) -> int | None:
    """Process id written in a locked file; None in the moment before it is written."""
    text = os.read(descriptor, 32)
    return int(text) if text.isdigit() else None


if sys.platform == "win32":

    def _locked(descriptor: int, wait: bool) -> bool:
        while True:
            # Far behind the process id, since a byte locked here cannot be read by the others
            os.lseek(descriptor, 1 << 20, os.SEEK_SET)
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
                return True
            except OSError:
                if not wait:
                    os.lseek(descriptor, 0, os.SEEK_SET)
                    return False
                time.sleep(0.05)

else:

    def _locked(descriptor: int, wait: bool) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True

    def _forget_in_child() -> None:
        """Without this a forked child, such as a data loader's worker, would keep the lock of a killed holder."""
        for descriptor in _held.values():
            os.close(descriptor)
        _held.clear()
        _turns.clear()

    os.register_at_fork(after_in_child=_forget_in_child)
