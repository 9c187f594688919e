"""A lock on a file: held by one alone or shared by many, whichever threads and processes they are.

The kernel keeps it (flock) and takes it back when its holder ends in whatever way, `kill -9` too. Linux lets those who
wait in the order in which they came. Windows has no shared locks: there every lock is held alone, and who waits asks
again every few milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path

from search_spaces.errors import InputError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_open: set[FileLock] = set()  # all of this process


class FileLock:
    """A lock that every holder opens for itself, so that threads of one process exclude each other like processes.

    >>> with FileLock("cpu.lock") as lock:
    ...     lock.take()
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._descriptor = -1  # not open

    def __enter__(self) -> FileLock:
        try:
            # The file stays for ever: were it removed, two processes could hold two files of one name
            self._descriptor = os.open(_folder() / self.name, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            where = f"VITSCAPE_LEASES={os.environ.get('VITSCAPE_LEASES', '')}"
            raise InputError(
                f"{where}: no folder for locks ({error}); set it to a folder that you can write to"
            ) from None
        _open.add(self)
        return self

    def __exit__(self, *exception: object) -> None:
        if self not in _open:  # a forked child holds nothing
            return
        _open.discard(self)
        descriptor, self._descriptor = self._descriptor, -1
        _unlock(descriptor)  # closing alone would not, while a child that is just being started has it open, too
        os.close(descriptor)

    def take(self, *, shared: bool = False) -> None:
        """Wait for the lock. Whoever holds it frees it before taking it in the other way."""
        _lock(self._descriptor, shared, wait=True)

    def try_take(self, *, shared: bool = False) -> bool:
        """Whether the lock was there to take."""
        return _lock(self._descriptor, shared, wait=False)

    def free(self) -> None:
        """Give the lock back, and keep the file open."""
        if self in _open:
            _unlock(self._descriptor)

    def sign(self, pid: int | None) -> None:
        """Write down who holds the lock alone."""
        if self in _open:
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.write(self._descriptor, b"" if pid is None else str(pid).encode())

    def signed(self) -> int | None:
        """Process id of the holder; None in the moment before it is written, and where nobody signed."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        text = os.read(self._descriptor, 32)
        return int(text) if text.isdigit() else None


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
        raise PermissionError(f"{folder} is not yours")
    return folder


if sys.platform == "win32":

    def _lock(descriptor: int, shared: bool, wait: bool) -> bool:
        while True:
            # Far behind the process id, since a byte locked here cannot be read by the others
            os.lseek(descriptor, 1 << 20, os.SEEK_SET)
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
                return True
            except OSError:
                if not wait:
                    return False
                time.sleep(0.005)

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, 1 << 20, os.SEEK_SET)
        with contextlib.suppress(OSError):  # was not locked; flock is content with that
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:

    def _lock(descriptor: int, shared: bool, wait: bool) -> bool:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)

    def _forget_in_child() -> None:
        """Without this a forked child, such as a data loader's worker, would keep the lock of a killed holder."""
        for lock in _open:
            os.close(lock._descriptor)
            lock._descriptor = -1
        _open.clear()

    os.register_at_fork(after_in_child=_forget_in_child)
