"""What becomes of Ctrl-C and SIGTERM (Slurm's notice before it takes the node) while something must end in order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ENDINGS = (signal.SIGINT, signal.SIGTERM)
Handler = Callable[[int, FrameType | None], object]


@contextmanager
def handled(handler: Handler | signal.Handlers, numbers: tuple[signal.Signals, ...] = ENDINGS) -> Iterator[None]:
    """Within it signals go to `handler`; in other threads than the main one, where none arrive, nothing is changed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
