"""What a measurement makes of its blocks: interval, drift, disturbances, verdict."""

import json
import math
import os
import random
import subprocess
import sys
import threading
import time
from statistics import median
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from explorer.profile import cores, sentinel
from explorer.profile.cores import allowed_cores, bound_to
from explorer.profile.latency import Subject, measure, measure_together
from explorer.profile.sampling import Block, Series, Speed, estimate
from explorer.profile.sentinel import KEPT, Yardstick
from explorer.profile.statistics import correction, correlation_time, median_ci, repeat_interval, smoothed
from explorer.profile.verdict import MOST_DRIFT
from explorer.profile.watch import WATCHES, NvidiaWatch, Watch

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="affinity and /proc/stat are Linux's")


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    """Locks and a yardstick of this test's own."""
    monkeypatch.setenv("VITSCAPE_LEASES", str(tmp_path / "leases"))
    monkeypatch.setenv("VITSCAPE_STATE", str(tmp_path / "state"))
    return tmp_path


class Work(nn.Module):
    """Keeps the processor busy for the milliseconds that `of_pass(n)` says of its n-th pass."""

    def __init__(self, of_pass, log=None):
        super().__init__()
        self.of_pass, self.log, self.passes = of_pass, log, [0]
        self.weight = nn.Parameter(torch.zeros(2, 3, 1, 1))

    def __deepcopy__(self, memo):
        return self

    def forward(self, x):
        self.passes[0] += 1
        if self.log is not None:
            self.log.append((id(self), tuple(sorted(os.sched_getaffinity(0)))))
        end = time.thread_time_ns() + self.of_pass(self.passes[0]) * 1e6
        while time.thread_time_ns() < end:
            pass
        return x


# --- statistics


def autocorrelated(draw, n, rho):
    """Times around 10 whose logarithms follow a stationary AR(1) process with deviation 5 %."""
    value, found = draw.gauss(0, 0.05), []
    for _ in range(n):
        value = rho * value + math.sqrt(1 - rho**2) * draw.gauss(0, 0.05)
        found.append(10 * math.exp(value))
    return found


@pytest.mark.parametrize("rho", [0.0, 0.6, 0.85])
def test_the_interval_holds_the_median_of_a_repeat_as_often_as_it_says(rho):
    draw = random.Random(1)
    held = held_by_plain = 0
    for _ in range(400):
        first, second = autocorrelated(draw, 120, rho), autocorrelated(draw, 120, rho)
        interval = repeat_interval(first)
        if interval is None:
            held += 1
            continue
        held += interval[1] <= median(second) <= interval[2]
        _, low, high = median_ci(first)
        held_by_plain += low <= median(second) <= high
    assert held / 400 >= 0.9
    assert held_by_plain / 400 < 0.9  # what the plain interval of the median misses


def test_alike_neighbours_are_worth_less_than_independent_ones():
    draw = random.Random(2)
    assert correlation_time([draw.random() for _ in range(200)]) < 2
    assert correlation_time(autocorrelated(draw, 400, 0.8)) > 4  # (1 + 0.8) / (1 - 0.8) = 9 in the long run
    assert correlation_time([5.0] * 10) == 1


def test_too_few_blocks_have_no_interval():
    assert repeat_interval([]) is None
    assert repeat_interval([1.0, 1.1, 0.9, 1.05]) is None


@given(st.lists(st.floats(0.1, 100), min_size=12, max_size=80))
def test_the_interval_of_a_repeat_lies_around_the_median_and_within_the_samples(samples):
    found = repeat_interval(samples)
    if found is not None:
        middle, low, high = found
        assert min(samples) <= low <= middle <= high <= max(samples)


@given(st.floats(-0.5, 3))
def test_a_correction_goes_towards_the_drift_and_never_beyond_it(drift):
    low, high = sorted((1.0, 1 + drift))
    assert low - 1e-12 <= correction(drift) <= high + 1e-12
    assert correction(drift) * correction(1 / (1 + drift) - 1) == pytest.approx(1)


def test_of_a_small_drift_little_is_corrected_and_of_a_large_one_nearly_all():
    assert correction(0.0) == 1
    assert correction(0.02) < 1.005
    assert correction(1.0) > 1.98


def test_a_running_median_steps_over_gaps():
    assert smoothed([1.0, None, 3.0, 100.0, 5.0]) == [2.0, 3.0, 4.0, 5.0, 5.0]
    assert smoothed([None, None]) == [None, None]


# --- the sentinel


def series_of(times, disturbed=()):
    blocks = [Block([value], at, "interrupted" if at in disturbed else None) for at, value in enumerate(times)]
    return Series(lambda: None, blocks=blocks)


def test_a_device_that_slows_down_in_mid_measurement_is_corrected_by_the_sentinel():
    draw = random.Random(3)
    speed = [1.0] * 15 + [1.4] * 26  # most of the time 40 % slower: the plain median is 40 % off
    network = series_of([10 * s * draw.uniform(0.995, 1.005) for s in speed[:40]])
    other = series_of([2 * s * draw.uniform(0.97, 1.03) for s in speed])
    found = estimate(network, Speed(other, lambda now: 2.0))
    assert found.median_ms == pytest.approx(10, rel=0.03)
    assert median(block.median_ms for block in network.blocks) > 13.5
    assert found.drift == pytest.approx(0.4, abs=0.05)


def test_noise_of_the_sentinel_alone_does_not_become_the_networks():
    draw = random.Random(4)
    network = series_of([10 * draw.uniform(0.998, 1.002) for _ in range(40)])
    other = series_of([2 * draw.uniform(0.9, 1.1) for _ in range(41)])
    found = estimate(network, Speed(other, lambda now: 2.0))
    assert found.median_ms == pytest.approx(10, rel=0.01)
    assert found.width < 0.01


def test_disturbed_blocks_count_neither_for_the_network_nor_for_the_sentinel():
    network = series_of([10.0] * 20 + [30.0] * 15, disturbed=range(20, 35))
    other = series_of([2.0] * 20 + [6.0] * 16, disturbed=range(20, 36))
    found = estimate(network, Speed(other, lambda now: 2.0))
    assert (found.median_ms, found.drift) == (10, 0)


def test_the_yardstick_remembers_and_takes_the_quick_quarter_for_rest():
    first = Yardstick("AMD EPYC", "cpu", 1)
    assert first.at_rest(2.0) == 2.0
    for time_ms in [2.0, 2.1, 1.9, 4.0, 4.0, 2.0, 2.0, 1.95]:
        first.keep(time_ms)
    again = Yardstick("AMD EPYC", "cpu", 1)
    assert again.times == first.times
    assert 1.9 <= again.at_rest(3.0) <= 2.0
    assert again.at_rest(1.5) == 1.5  # nothing is quicker than rest
    assert 0.01 < again.apart(0.0) < 0.2  # the busy moments do not count
    assert again.apart(0.3) > again.apart(0.1) > again.apart(0.0)  # a network may slow down unlike the sentinel
    assert Yardstick("AMD EPYC", "cpu", 2).times == []
    for _ in range(2 * KEPT):
        again.keep(3.0)
    assert 3.0 not in again.times  # a busy day does not become the yardstick
    for _ in range(2 * KEPT):
        again.keep(2.05)
    assert len(Yardstick("AMD EPYC", "cpu", 1).times) == KEPT


def test_a_change_that_lasts_becomes_the_yardstick(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(sentinel.time, "time", lambda: now[0])
    yardstick = Yardstick("AMD EPYC", "cpu", 1)
    for _ in range(KEPT):
        yardstick.keep(2.0)
    for _ in range(KEPT):
        now[0] += 3601
        yardstick.keep(3.0)
    assert yardstick.at_rest(3.0) == 3.0


@pytest.mark.parametrize("content", ["", "{", '{"times": ["x"]}', '{"times": [[0, -1], [0, 0], [0, 1e999]]}', "[]"])
def test_a_damaged_yardstick_is_begun_anew(content):
    yardstick = Yardstick("AMD EPYC", "cpu", 1)
    yardstick.keep(2.0)
    yardstick.path.write_text(content)
    assert Yardstick("AMD EPYC", "cpu", 1).times == []


def test_a_state_folder_that_cannot_be_written_to_costs_no_measurement(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VITSCAPE_STATE", str(tmp_path / "file"))
    assert measure(Work(lambda n: 1), image_size=8, time_limit_s=0.2).samples > 0


def test_a_measurement_leaves_the_sentinels_time_behind(own_state):
    latency = measure(Work(lambda n: 1), image_size=8, time_limit_s=0.2)
    (kept,) = (own_state / "state").rglob("*.json")
    ((_, time_ms),) = json.loads(kept.read_text())["times"]
    assert 0.1 < time_ms < 1000
    assert latency.drift == pytest.approx(0, abs=0.5)


# --- cores


@on_linux
def test_the_timed_network_runs_on_the_cores_that_are_recorded_and_gets_all_back():
    before, log = allowed_cores(), []
    latency = measure(Work(lambda n: 1, log), image_size=8, time_limit_s=0.2)
    assert latency.cores is not None
    assert len(latency.cores) == 1
    assert {bound for _, bound in log} == {latency.cores}
    assert allowed_cores() == before


@on_linux
def test_binding_gives_back_what_each_thread_had_even_after_an_error():
    before = allowed_cores()
    seen = []

    def fail():
        with bound_to(before[:1], whole_process=True):
            seen.append(allowed_cores())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert seen == [before[:1]]
    assert allowed_cores() == before


@on_linux
def test_threads_begun_while_bound_are_let_go_as_well():
    inherited, go = [], threading.Event()

    def look():
        inherited.append(os.sched_getaffinity(0))
        go.wait(10)
        inherited.append(os.sched_getaffinity(0))

    with bound_to(allowed_cores()[:1], whole_process=True):
        thread = threading.Thread(target=look)
        thread.start()
        while not inherited:
            time.sleep(0.001)
    go.set()
    thread.join()
    assert inherited == [set(allowed_cores()[:1]), set(allowed_cores())]


def test_the_least_busy_cores_of_different_physical_cores_are_chosen(monkeypatch):
    monkeypatch.setattr(cores, "allowed_cores", lambda: (0, 1, 2, 3))
    monkeypatch.setattr(cores, "siblings", lambda core: (core % 2, core % 2 + 2))  # 0 and 2 are one physical core
    monkeypatch.setattr(cores, "highest_khz", lambda core: 0)
    accounts = {0: 0.0, 1: 0.0, 2: 0.0, 3: 0.01}

    def chosen(number, **busy):
        readings = iter([accounts, {core: before + busy.get(f"core{core}", 0) for core, before in accounts.items()}])
        monkeypatch.setattr(cores, "busy_seconds", lambda: next(readings))
        return cores.choose_cores(number)

    assert chosen(1) == (3,)
    assert chosen(1, core3=0.1) == (2,)
    assert chosen(1, core1=0.1) == (2,)  # beside a busy sibling there is no quiet
    assert chosen(2) == (2, 3)
    assert chosen(2, core3=0.1) == (1, 2)
    assert chosen(3, core2=0.1, core0=0.05) == (0, 1, 3)
    assert chosen(4) == (0, 1, 2, 3)
    monkeypatch.setattr(cores, "highest_khz", lambda core: 5_000_000 if core in (0, 2) else 3_800_000)
    assert chosen(1, core2=0.05) == (0,)  # a core of the slower kind would be another device


class Load:
    """Processes that keep cores busy, one each."""

    def __init__(self, cores):
        self.cores = cores

    def __enter__(self):
        code = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nprint('on', flush=True)\nwhile True: pass"
        self.processes = [
            subprocess.Popen([sys.executable, "-c", code, str(core)], stdout=subprocess.PIPE) for core in self.cores
        ]
        for process in self.processes:
            process.stdout.readline()
        time.sleep(0.1)

    def __exit__(self, *error):
        for process in self.processes:
            process.kill()
            process.wait()
            process.stdout.close()


@on_linux
def test_beside_a_process_that_loads_the_machine_the_verdict_is_not_ok_or_the_figure_is_right():
    work = nn.Sequential(*(nn.Conv2d(32 if i else 3, 32, 3, padding=1) for i in range(6))).eval()
    quiet = [measure(work, image_size=48, time_limit_s=2) for _ in range(3)]
    with Load(allowed_cores()):
        loaded = [measure(work, image_size=48, time_limit_s=3) for _ in range(2)]
    usual = median(one.median_ms for one in quiet)
    for one in loaded:
        assert one.verdict != "ok" or abs(one.median_ms / usual - 1) <= 0.05, (usual, one)
        assert one.state is not None
        assert one.state.load > 0.2  # half of the core was taken


# --- other disturbances: a stand-in for the hardware that causes them


def beside(monkeypatch, watch):
    monkeypatch.setitem(WATCHES, "cpu", lambda device, cores: watch)


class Hot(Watch):
    """Finds every n-th block too hot."""

    def __init__(self, every):
        self.every, self.count = every, 0

    def end_block(self):
        self.count += 1
        return None if self.count % self.every else "heat"


def test_throttled_blocks_are_dropped_and_many_of_them_condemn(monkeypatch):
    beside(monkeypatch, Hot(every=8))  # every fourth block of the network, or of the sentinel
    some = measure(Work(lambda n: 1), image_size=8, time_limit_s=0.4)
    assert some.verdict != "throttled"
    beside(monkeypatch, Hot(every=1))
    all_of_them = measure(Work(lambda n: 1), image_size=8, time_limit_s=0.4)
    assert all_of_them.verdict == "throttled"
    assert "blocks were throttled (heat)" in all_of_them.reason


def test_what_a_throttled_block_took_does_not_count(monkeypatch):
    class Throttle(Watch):
        blocks = 0

        def begin_block(self):
            self.blocks += 1

        def end_block(self):
            return "power brake" if slow() else None

    watch = Throttle()

    def slow():
        return watch.blocks % 12 in (0, 1)  # one block of six of each, one after the other

    beside(monkeypatch, watch)
    latency = measure(Work(lambda n: 20 if slow() else 1), image_size=8, time_limit_s=1)
    assert latency.median_ms < 10
    assert latency.dropped > 0
    assert latency.verdict != "throttled"


class FakeNvml:
    """NVML as nvidia-ml-py gives it, of a card whose readings a test sets."""

    NVML_CLOCK_SM, NVML_TEMPERATURE_GPU, NVML_ERROR_NOT_FOUND, NVML_SUCCESS = 1, 0, 6, 0

    class NVMLError(Exception):
        value = 3

    def __init__(self, **readings):
        self.readings = {"reasons": 0, "running": [os.getpid()], "active": [os.getpid()]} | readings

    def nvmlDeviceGetMaxClockInfo(self, handle, kind):  # noqa: N802
        return 1980

    def nvmlDeviceGetClockInfo(self, handle, kind):  # noqa: N802
        return self.readings.get("clock", 1755)

    def nvmlDeviceGetTemperature(self, handle, kind):  # noqa: N802
        raise self.NVMLError

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle):  # noqa: N802
        return self.readings["reasons"]

    def nvmlDeviceGetComputeRunningProcesses(self, handle):  # noqa: N802
        return [SimpleNamespace(pid=pid) for pid in self.readings["running"]]

    def nvmlDeviceGetProcessUtilization(self, handle, since):  # noqa: N802
        if self.readings["active"] is None:
            raise self.NVMLError
        return [SimpleNamespace(pid=pid, smUtil=50) for pid in self.readings["active"]]

    def nvmlShutdown(self):  # noqa: N802
        pass


@pytest.mark.parametrize(
    ("readings", "others"),
    [
        ({}, 0),
        ({"running": [os.getpid(), 7]}, 0),  # present, and idle
        ({"running": [os.getpid(), 7], "active": [os.getpid(), 7]}, 1),
        ({"running": [os.getpid(), 7], "active": None}, 1),  # not told whether it computes
        ({"running": [100, 200], "active": [100]}, 0),  # in a container, 100 being this process
        ({"running": [100, 200], "active": [100, 200]}, 1),
        ({"running": [], "active": []}, None),  # not even this process: nothing is told
    ],
)
def test_other_processes_on_a_gpu_count_where_they_compute(readings, others):
    assert NvidiaWatch(FakeNvml(**readings), None).state().processes == others


def test_a_gpu_that_is_shared_or_hot_is_told_with_its_readings(monkeypatch):
    shared = FakeNvml(running=[os.getpid(), 7], active=[7], reasons=0x04)
    beside(monkeypatch, NvidiaWatch(shared, None))
    latency = measure(Work(lambda n: 1), image_size=8, time_limit_s=0.3)
    assert (latency.verdict, latency.dropped) == ("shared", 0)  # a power cap alone drops nothing
    assert latency.state.model_dump() == {
        "clock_mhz": (1755, 1755),
        "clock_max_mhz": 1980,
        "temperature_c": None,  # this card does not tell
        "throttled_by": ("power cap",),
        "processes": 1,
        "load": None,
        "load_elsewhere": None,
    }
    beside(monkeypatch, NvidiaWatch(FakeNvml(reasons=0x40), None))
    assert latency.correction == 1  # the network itself brought the card to its cap
    hot = measure(Work(lambda n: 1), image_size=8, time_limit_s=0.3)
    assert (hot.verdict, hot.state.throttled_by) == ("throttled", ("heat (hardware)",))


def test_a_wide_interval_is_told_as_noise(monkeypatch):
    beside(monkeypatch, Watch())
    draw = random.Random(0)
    wild = measure(Work(lambda n: draw.choice([1, 1, 4, 9])), image_size=8, time_limit_s=0.5)
    assert (wild.verdict, wild.stop) == ("noisy", "time_limit")
    drifted = abs(wild.drift) > MOST_DRIFT  # other tests make the machine faster and slower, which is told first
    assert wild.reason.startswith("the device was " if drifted else "a repeat may differ by ")


# --- several at once


def test_networks_measured_together_take_turns_and_keep_their_own_times():
    log: list = []
    one, two = Work(lambda n: 1, log), Work(lambda n: 4, log)
    quick, slow = measure_together([Subject(one, 8), Subject(two, 16)], time_limit_s=0.6)
    assert 2 < slow.median_ms / quick.median_ms < 8  # 4, where nobody else is busy
    assert (quick.conditions.image_size, slow.conditions.image_size) == (8, 16)
    turns = [name for i, (name, _) in enumerate(log) if i == 0 or log[i - 1][0] != name]
    assert len(turns) > 12
