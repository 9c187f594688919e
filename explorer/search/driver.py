"""The one process that searches a study, as the study's storage knows it: so that a second one, anywhere, can tell.

The claim is a system attribute of the study, written again every ten seconds. Clocks of two machines differ, so whether
a claim lives is told by whether it changes, not by its time. A claim of a process of this machine that has ended is
taken over at once.
"""

from __future__ import annotations

import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy.exc

CLAIM = "vitscape_driver"  # system attribute of the study
BEAT_SECONDS = 10.0  # between two writings of a claim
DEAD_BEATS = 2.5  # a claim that has not changed for so many is of a process that ended without a word
SETTLE_SECONDS = 0.5  # two that claim a study at the same moment see who was the later one
UNREACHABLE = (optuna.exceptions.OptunaError, sqlalchemy.exc.SQLAlchemyError, OSError, KeyError)  # or deleted


class Driver:
    """This process's claim on a study."""

    def __init__(self, study: optuna.Study, about: Mapping[str, Any]) -> None:
        self._storage, self._study_id = study._storage, study._study_id
        self.own = uuid.uuid4().hex
        own = {"host": platform.node(), "machine": _machine(), "pid": os.getpid(), "began": time.time()}
        self.about = dict(about) | own
        self.running: dict[int, dict[str, Any]] = {}  # by trial: "step" and "where", for whoever asks for the status
        self.taken_by: str | None = None  # who has taken the study over, in words
        self._beats, self._ended = 0, False

    def beat(self) -> None:
        """Writes the claim again, unless another process has taken the study over."""
        if self._ended:
            return
        found = claim(self._storage, self._study_id)
        if self._beats and found is not None and found["owner"] != self.own:
            self.taken_by = who(found)
            return
        self._write()

    def end(self) -> None:
        """Lets the study go."""
        self._ended = True
        found = claim(self._storage, self._study_id)
        if found is not None and found["owner"] == self.own:
            self.running = {}
            self._write(ended=time.time())

    def _write(self, **more: Any) -> None:
        self._beats += 1
        running = {str(number): dict(told) for number, told in self.running.copy().items()}
        told = {"owner": self.own, "beat": self._beats, "at": time.time(), "running": running}
        self._storage.set_study_system_attr(self._study_id, CLAIM, self.about | told | more)


@contextmanager
def driving(study: optuna.Study, about: Mapping[str, Any], refusal: type[Exception]) -> Iterator[Driver]:
    """Holds a study for this process; raises `refusal`, saying who holds it, where another process does.

    `about` is told to whoever asks who searches: engine, trials asked for, hours.
    """
    driver = Driver(study, about)
    found = claim(study._storage, study._study_id)
    if found is not None and _lives(study, found):
        raise refusal(f"{who(found)} is searching study {study.study_name!r} already: wait for it, or end it")
    driver.beat()
    if not _is_sqlite(study):  # a file has one driver by its lock
        time.sleep(SETTLE_SECONDS)
        found = claim(study._storage, study._study_id)
        if found is not None and found["owner"] != driver.own:
            raise refusal(
                f"{who(found)} has begun to search study {study.study_name!r} just now: wait for it, or end it"
            )
    ended = threading.Event()
    heart = threading.Thread(target=_keep_beating, args=(driver, ended), daemon=True)
    heart.start()
    try:
        yield driver
    finally:
        ended.set()
        heart.join(timeout=BEAT_SECONDS / 2)  # it may be waiting for a server that is gone
        with suppress(*UNREACHABLE):  # a claim that is left behind is told from a living one
            driver.end()


def claim(storage: optuna.storages.BaseStorage, study_id: int) -> dict[str, Any] | None:
    """The claim of whoever searches a study, or searched it last; None where nobody has."""
    found = storage.get_study_system_attrs(study_id).get(CLAIM)
    return found if isinstance(found, dict) and {"owner", "host", "pid", "beat"} <= found.keys() else None


def has_ended(found: Mapping[str, Any]) -> bool:
    """Whether a claim's process let the study go, or is known to have died: one of this machine."""
    if found.get("ended") is not None:
        return True
    here = found.get("machine", found["host"]) in (_machine(), platform.node())
    return here and not _is_process(int(found["pid"]))


def who(found: Mapping[str, Any]) -> str:
    """A claim's process in words: "process 12 on node-3"."""
    return f"process {found['pid']} on {found['host']}"


def _lives(study: optuna.Study, found: Mapping[str, Any]) -> bool:
    """Whether the process of a claim lives, looking for as long as it takes to see its next beat."""
    if has_ended(found) or (found.get("machine") == _machine() and found["pid"] == os.getpid()):
        return False
    until = time.monotonic() + DEAD_BEATS * BEAT_SECONDS
    while time.monotonic() < until:
        time.sleep(min(0.5, BEAT_SECONDS / 10))
        now = claim(study._storage, study._study_id)
        if now is None or has_ended(now):
            return False
        if (now["owner"], now["beat"]) != (found["owner"], found["beat"]):
            return True
    return False


def _keep_beating(driver: Driver, ended: threading.Event) -> None:
    while not ended.wait(BEAT_SECONDS):
        with suppress(*UNREACHABLE):  # the search itself waits for the storage, and says so
            driver.beat()


@cache
def _machine() -> str:
    """What tells where a process id is one: host, boot, and namespace of processes (two containers share a host)."""
    found = [platform.node()]
    with suppress(OSError):  # Linux has these
        found += [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), os.readlink("/proc/self/ns/pid")]
    return "/".join(found)


def _is_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _is_sqlite(study: optuna.Study) -> bool:
    backend = getattr(study._storage, "_backend", study._storage)
    return str(getattr(backend, "url", "sqlite")).startswith("sqlite")
