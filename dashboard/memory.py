"""How the server holds memory: reading a large study takes several times what is kept of it, and gives that back.

The C library keeps freed memory for later, and Arrow's own allocator does so too; a server that reads a large study
once would hold it for good. Where the C library is not glibc nothing is changed.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any

import pyarrow as pa

MMAP_THRESHOLD, LARGE = -3, 256 * 1024  # glibc's option, and bytes: blocks from this size on are returned when freed


def hold_little() -> None:
    """Lets large blocks be returned to the system as soon as they are freed, for all of this process."""
    if (libc := _glibc()) is not None:
        pa.set_memory_pool(pa.system_memory_pool())
        libc.mallopt(MMAP_THRESHOLD, LARGE)


def give_back() -> None:
    """Returns to the system what was freed and kept for later."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


@cache
def _glibc() -> Any:
    """The C library of this process, where it is glibc."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None
