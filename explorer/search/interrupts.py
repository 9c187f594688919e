"""Ctrl-C and SIGTERM in a search: neither lost nor in the middle of what has to be whole."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import sqlalchemy

from explorer.signals import handled

_in_use = set[int]()  # of the main thread: connections to databases, each by the id of what the pool keeps of it


@contextmanager
def interrupts() -> Iterator[Callable[[], None]]:
    """A check that raises KeyboardInterrupt after a Ctrl-C which was not raised; a SIGTERM is as a Ctrl-C.

    Python drops an exception that a signal raises inside a destructor or a callback of C code, and there are many of
    both under a training step; the check is made between steps. What Python prints of it is not printed then. In the
    middle of a database's transaction (`end_transactions`) only a second Ctrl-C is raised at once.
    """
    asked, print_dropped = threading.Event(), sys.unraisablehook

    def remember(number: int, where: FrameType | None) -> None:
        first = not asked.is_set()
        asked.set()
        if not (first and _in_use):
            raise KeyboardInterrupt

    def check() -> None:
        if asked.is_set():
            raise KeyboardInterrupt

    def dropped(what: sys.UnraisableHookArgs) -> None:
        if not (asked.is_set() and isinstance(what.exc_value, KeyboardInterrupt)):
            print_dropped(what)

    sys.unraisablehook = dropped
    try:
        with handled(remember):
            yield check
    finally:
        sys.unraisablehook = print_dropped


def end_transactions(engine: sqlalchemy.Engine) -> None:
    """Lets a transaction under way end before a Ctrl-C is heard.

    One that is left in the middle keeps its locks for as long as anything refers to it, and all that an interrupted
    search has still to write would find the database locked.
    """

    def taken(connection: Any, record: Any, proxy: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            _in_use.add(id(record))

    def given_back(connection: Any, record: Any) -> None:
        _in_use.discard(id(record))

    sqlalchemy.event.listen(engine, "checkout", taken)
    sqlalchemy.event.listen(engine, "checkin", given_back)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Holds Ctrl-C and SIGTERM back while trials are closed, in the main thread; else one may be left half closed."""
    with handled(signal.SIG_IGN):
        yield
