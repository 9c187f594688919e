"""The CPU cores of a measurement: which are least busy, bound to for its time, and what others do on them meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

LOOK_S = 0.1  # how long the cores are looked at before some are chosen; the kernel counts in hundredths
STAT = Path("/proc/stat")
QUOTA = Path("/sys/fs/cgroup/cpu.stat")


def allowed_cores() -> tuple[int, ...]:
    """Cores this process may run on, by number."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def choose_cores(number: int) -> tuple[int, ...]:
    """The least busy `number` of the cores allowed, of different physical cores where there are enough."""
    cores = allowed_cores()
    before = busy_seconds()
    if number >= len(cores) or not before:
        return cores[:number]
    time.sleep(LOOK_S)
    after = busy_seconds()
    load = {core: after.get(core, 0.0) - before.get(core, 0.0) for core in cores}
    taken: list[int] = []
    while len(taken) < number:
        beside = {sibling for core in taken for sibling in siblings(core)}
        free = [core for core in cores if core not in taken]

        def disturbed(core: int, beside: set[int] = beside) -> tuple[bool, float, float, int]:
            # of equals the last: interrupts tend to be served by the first
            return core in beside, sum(load.get(other, 0.0) for other in siblings(core)), load[core], -core

        taken.append(min(free, key=disturbed))
    return tuple(sorted(taken))


def siblings(core: int) -> tuple[int, ...]:
    """The hardware threads of a core's physical core, itself among them."""
    listed = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    try:
        parts = [part.partition("-") for part in listed.read_text().strip().split(",")]
        return tuple(n for first, _, last in parts for n in range(int(first), int(last or first) + 1))
    except (OSError, ValueError):
        return (core,)


@contextmanager
def bound_to(cores: Collection[int], whole_process: bool) -> Iterator[None]:
    """Bind this thread to some cores, or every thread of this process, and give back what they had."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    tasks = [int(task) for task in os.listdir("/proc/self/task")] if whole_process else [0]
    before = {task: mask for task in tasks if (mask := _affinity(task)) is not None}
    for task in before:
        _bind(task, cores)
    try:
        yield
    finally:
        for task, mask in before.items():
            _bind(task, mask)


def _affinity(task: int) -> set[int] | None:
    try:
        return os.sched_getaffinity(task)
    except ProcessLookupError:  # a thread that has ended meanwhile
        return None


def _bind(task: int, cores: Collection[int]) -> None:
    try:
        os.sched_setaffinity(task, cores)
    except ProcessLookupError:
        return


def busy_seconds() -> dict[int, float]:
    """Seconds that each core of this machine has been busy since its start, time stolen by a hypervisor included.

    Empty where the system does not tell (not Linux).
    """
    if not STAT.is_file():
        return {}
    tick = os.sysconf("SC_CLK_TCK")
    found = {}
    for line in STAT.read_text().splitlines():
        name, *counts = line.split()
        if name.startswith("cpu") and name != "cpu":
            user, nice, system, _idle, _iowait, irq, softirq, steal = (int(count) for count in counts[:8])
            found[int(name[3:])] = (user + nice + system + irq + softirq + steal) / tick
    return found


def quota_stops() -> int:
    """How often this container was stopped so far for having used up its CPU quota; 0 where there is none."""
    try:
        lines = QUOTA.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("nr_throttled ")), 0)
