"""Files put in their place at once: who looks finds the old one or the new one, and nothing half-written stays."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """An empty file beside `path`, which takes its place when the block ends well, and else is removed.

    >>> with replacing(Path("table.csv")) as part:
    ...     part.write_text("a,b")

    Raises:
        OSError: no such folder, no permission, no room.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    part = Path(name)
    try:
        yield part
        mask = os.umask(0)
        os.umask(mask)
        part.chmod(0o666 & ~mask)  # as any file that is written; mkstemp's is for its owner alone
        os.replace(part, path)
    finally:
        with suppress(OSError):  # it has become the file, or its folder is gone
            part.unlink()
