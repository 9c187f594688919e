"""What else happens on a device while something is timed there, block by block and over the whole measurement.

`WATCHES[device type](device, cores)` returns a Watch.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch

from explorer.profile.cores import busy_seconds, quota_stops, siblings
from explorer.record import DeviceState

LEAST_SHARE = 0.97  # of a block's wall time that the timing thread must have been running
QUOTA = "quota"  # of a container's CPU time
MOST_STOPPED = 0.1  # of the quota's periods
SAMPLE_S = 1.0  # of use of the multiprocessors, which NVML gives the mean of at its end

# NVML's reasons for which a clock is lower than it could be. A power cap is where a heavy network belongs on a loaded
# card, and is told but does not count against a block.
THROTTLES = {0x08: "hardware slowdown", 0x20: "heat", 0x40: "heat (hardware)", 0x80: "power brake"}
POWER_CAP = "power cap"
CAPPED = {0x04: POWER_CAP}


class Watch:
    """What can be said on any device: nothing. The base of the others."""

    def begin_block(self) -> None:
        """Called before each block."""

    def end_block(self) -> str | None:
        """What disturbed the block, in a word; None if nothing is known to have."""
        return None

    def state(self) -> DeviceState:
        """What was seen since the watch was made."""
        return DeviceState()

    def close(self) -> None:
        """Give back what the watch holds."""


class CpuWatch(Watch):
    """Others on the bound cores (the kernel's accounts), and blocks in which the timing thread had to wait."""

    def __init__(self, device: torch.device, cores: tuple[int, ...]) -> None:
        self.cores, self.alone = cores, torch.get_num_threads() == 1
        self.beside = {other for core in cores for other in siblings(core)} - {*cores}
        self.started, self.busy, self.stops = time.perf_counter(), busy_seconds(), quota_stops()
        self.own, self.own_here = time.process_time(), self._here()
        self.block = self.cpu = 0

    def begin_block(self) -> None:
        self.block, self.cpu = time.perf_counter_ns(), time.thread_time_ns()

    def end_block(self) -> str | None:
        if not self.alone:  # of several threads the processor time says little: they wait for each other, spinning
            return None
        cpu, wall = time.thread_time_ns() - self.cpu, time.perf_counter_ns() - self.block
        return "interrupted" if cpu < LEAST_SHARE * wall else None

    def state(self) -> DeviceState:
        periods, stopped = (now - before for now, before in zip(quota_stops(), self.stops, strict=True))
        throttled = (QUOTA,) if stopped > MOST_STOPPED * periods else ()
        now = busy_seconds()
        if not now or not self.cores:
            return DeviceState(throttled_by=throttled)
        elapsed = time.perf_counter() - self.started
        taken = {core: seconds - self.busy.get(core, 0.0) for core, seconds in now.items()}
        own_here = self._here() - self.own_here
        own_elsewhere = time.process_time() - self.own - own_here
        here = sum(taken.get(core, 0.0) for core in self.cores) - own_here
        beside = sum(taken.get(core, 0.0) for core in self.beside)  # a hardware thread takes from its sibling
        others = taken.keys() - self.cores - self.beside
        elsewhere = sum(taken[core] for core in others) - own_elsewhere
        return DeviceState(
            load=_share(max(here, 0.0) + beside, elapsed * len(self.cores)),
            load_elsewhere=_share(elsewhere, elapsed * len(others)) if others else None,
            throttled_by=throttled,
        )

    def _here(self) -> float:
        """Processor seconds of ours on the bound cores: one core runs this thread alone, several the whole process."""
        return time.thread_time() if self.alone else time.process_time()


def _share(part: float, whole: float) -> float:
    return round(min(1.0, max(0.0, part / whole)), 3) if whole > 0 else 0.0


class NvidiaWatch(Watch):
    """Clocks, temperature, throttling and other processes, by NVML; what a driver does not tell stays None."""

    def __init__(self, nvml: ModuleType, handle: Any) -> None:
        self.nvml, self.handle = nvml, handle
        self.clocks: list[int] = []
        self.temperatures: list[int] = []
        self.reasons: set[str] = set()
        # NVML stamps its samples in microseconds; one may tell of a training that has just given way
        self.since = int((time.time() + SAMPLE_S) * 1e6)
        self._look()

    def end_block(self) -> str | None:
        reasons = self._look()
        found = [name for bit, name in THROTTLES.items() if reasons & bit]
        return found[0] if found else None

    def state(self) -> DeviceState:
        self._look()
        return DeviceState(
            clock_mhz=(min(self.clocks), max(self.clocks)) if self.clocks else None,
            clock_max_mhz=self._ask(lambda n, h: int(n.nvmlDeviceGetMaxClockInfo(h, n.NVML_CLOCK_SM))),
            temperature_c=max(self.temperatures, default=None),
            throttled_by=tuple(sorted(self.reasons)),
            processes=self._others(),
        )

    def close(self) -> None:
        self.nvml.nvmlShutdown()

    def _look(self) -> int:
        clock = self._ask(lambda n, h: int(n.nvmlDeviceGetClockInfo(h, n.NVML_CLOCK_SM)))
        heat = self._ask(lambda n, h: int(n.nvmlDeviceGetTemperature(h, n.NVML_TEMPERATURE_GPU)))
        reasons = self._ask(lambda n, h: int(n.nvmlDeviceGetCurrentClocksEventReasons(h))) or 0
        self.clocks += [] if clock is None else [clock]
        self.temperatures += [] if heat is None else [heat]
        self.reasons |= {name for bit, name in (THROTTLES | CAPPED).items() if reasons & bit}
        return reasons

    def _others(self) -> int | None:
        """Other processes that computed on the device since the watch began; those present where that is not told."""
        running = self._ask(lambda n, h: {process.pid for process in n.nvmlDeviceGetComputeRunningProcesses(h)})
        if not running:  # not even this process: the driver tells nothing here
            return None
        active = self._active()
        computing = running if active is None else running & active
        # in a container, process ids are the host's: then one of them is this process, which has just computed
        return len(computing - {os.getpid()}) if os.getpid() in running else max(0, len(computing) - 1)

    def _active(self) -> set[int] | None:
        """Processes that used the multiprocessors since the watch began; None where that is not told."""
        n = self.nvml
        try:
            samples = n.nvmlDeviceGetProcessUtilization(self.handle, self.since)
        except n.NVMLError as error:  # NVML says "not found", and its binding "success", of an empty list
            return set() if error.value in (n.NVML_ERROR_NOT_FOUND, n.NVML_SUCCESS) else None
        return {sample.pid for sample in samples if sample.smUtil > 0}

    def _ask(self, question: Callable[[ModuleType, Any], Any]) -> Any:
        try:
            return question(self.nvml, self.handle)
        except self.nvml.NVMLError:  # not told on this card, this driver, or this slice of a card
            return None


def watch_nvidia(device: torch.device, cores: tuple[int, ...]) -> Watch:
    """A watch by NVML; one that says nothing where nvidia-ml-py or the driver's library is missing."""
    try:
        import pynvml
    except ImportError:
        return Watch()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return Watch()
    uuid = str(torch.cuda.get_device_properties(device).uuid)
    for name in (uuid, f"GPU-{uuid}", f"MIG-{uuid}"):
        try:
            return NvidiaWatch(pynvml, pynvml.nvmlDeviceGetHandleByUUID(name))
        except pynvml.NVMLError:
            continue
    pynvml.nvmlShutdown()
    return Watch()


def nvidia_driver() -> str | None:
    """Version of NVIDIA's driver; None where NVML does not tell."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except ImportError:
        return None
    except pynvml.NVMLError:
        return None
    try:
        version = pynvml.nvmlSystemGetDriverVersion()
        return version.decode() if isinstance(version, bytes) else str(version)
    finally:
        pynvml.nvmlShutdown()


WATCHES: dict[str, Callable[[torch.device, tuple[int, ...]], Watch]] = {
    "cpu": CpuWatch,
    "cuda": watch_nvidia,
    "mps": lambda device, cores: Watch(),
}
