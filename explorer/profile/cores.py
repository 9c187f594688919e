"""The CPU cores of a measurement: which are least busy, bound to for its time, and what others do on them meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from search_spaces.errors import InputError

LOOK_S = 0.1  # how long the cores are looked at before some are chosen; the kernel counts in hundredths
STAT = Path("/proc/stat")
CGROUPS = Path("/sys/fs/cgroup")
CPUS = Path("/sys/devices/system/cpu")


def allowed_cores() -> tuple[int, ...]:
    """Cores this process may run on, by number."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def require_cores(threads: int) -> None:
    """Nothing where so many threads have a core each.

    Raises:
        InputError: they have not; one line.
    """
    cores = len(allowed_cores())
    if not 1 <= threads <= cores:
        raise InputError(f"threads={threads}: this process may use 1 to {cores} cores")


def choose_cores(number: int) -> tuple[int, ...]:
    """The least busy `number` of the cores allowed; of different physical cores and the fastest kind where possible."""
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

        def disturbed(core: int, beside: set[int] = beside) -> tuple[bool, int, float, float, int]:
            around = sum(load.get(other, 0.0) for other in siblings(core))
            # of equals the last: interrupts tend to be served by the first
            return core in beside, -highest_khz(core), around, load[core], -core

        taken.append(min(free, key=disturbed))
    return tuple(sorted(taken))


def highest_khz(core: int) -> int:
    """The highest clock of a core, which tells the kinds of a hybrid processor apart; 0 where it is not told."""
    try:
        return int((CPUS / f"cpu{core}/cpufreq/cpuinfo_max_freq").read_text())
    except (OSError, ValueError):
        return 0


def siblings(core: int) -> tuple[int, ...]:
    """The hardware threads of a core's physical core, itself among them."""
    listed = CPUS / f"cpu{core}/topology/thread_siblings_list"
    try:
        parts = [part.partition("-") for part in listed.read_text().strip().split(",")]
        return tuple(n for first, _, last in parts for n in range(int(first), int(last or first) + 1))
    except (OSError, ValueError):
        return (core,)


@contextmanager
def bound_to(cores: Collection[int], whole_process: bool) -> Iterator[None]:
    """Bind this thread to some cores, or every thread of this process, and give back what they had."""
    own = set(allowed_cores())
    before: dict[int, set[int]] = {}
    try:
        for task in _tasks() if whole_process else [0]:
            with suppress(OSError):  # a thread that has ended meanwhile, or a system that does not let us
                before[task] = os.sched_getaffinity(task)
                os.sched_setaffinity(task, cores)
        yield
    finally:
        for task in {*before, *(_tasks() if whole_process else ())}:
            with suppress(OSError):
                os.sched_setaffinity(task, before.get(task, own))  # threads begun meanwhile inherited the binding


def _tasks() -> list[int]:
    return [int(task) for task in os.listdir("/proc/self/task")]


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


def quota_stops() -> tuple[int, int]:
    """(periods, periods in which this container was stopped for having used up its CPU quota) so far; 0 without one."""
    for folder in _own_cgroups():
        try:
            words = dict(line.split() for line in (folder / "cpu.stat").read_text().splitlines())
            return int(words["nr_periods"]), int(words["nr_throttled"])
        except (OSError, ValueError, KeyError):
            continue
    return 0, 0


def _own_cgroups() -> list[Path]:
    """Folders of this process's control group (cgroup v2 and v1), and the root, which a container sees as its own."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            found.append(CGROUPS / path.lstrip("/"))
        elif "cpu" in controllers.split(","):
            found.append(CGROUPS / controllers / path.lstrip("/"))
    return [*found, CGROUPS]
