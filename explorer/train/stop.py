"""Ctrl-C and SIGTERM while training: heeded between two steps, when a checkpoint can be written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from explorer.signals import handled


class Stop:
    """Whether the training was asked to end; a second request ends it at once, without a checkpoint."""

    def __init__(self) -> None:
        self.asked = False
        self.free = True  # nothing is lost by ending at once: before the first step, or waiting between two
        self.held = False  # a file is being written, and nothing may end that

    def __call__(self, number: int, where: FrameType | None) -> None:
        """The signals' handler."""
        again, self.asked = self.asked, True
        if (again or self.free) and not self.held:
            raise KeyboardInterrupt


@contextmanager
def stopping() -> Iterator[Stop]:
    """Ctrl-C and SIGTERM (Slurm's notice before it takes the node) are noted; in other threads they never arrive."""
    stop = Stop()
    with handled(stop):
        yield stop
