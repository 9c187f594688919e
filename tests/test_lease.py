"""Who may use a device: a timing alone, trainings together, and none kept out for ever; with real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from explorer import Setup, evaluate, results
from explorer.profile.latency import measure, resolve_device
from explorer.profile.lease import device_lease, exclusive, lease_key, training_lease, waits_for
from explorer.proxy.train import TrainSettings
from explorer.storage import load_study
from search_spaces.architecture import parse_architecture
from search_spaces.document import parse_yaml
from search_spaces.errors import InputError
from tests.minis import ARCHITECTURE, MINI, environment

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
ROOT = Path(__file__).parent.parent

Span = tuple[float, float]  # (began, ended) by the clock that all processes of the machine share, s

START = """
import json, os, sys, time
from explorer.profile.lease import device_lease, training_lease

def tell(*words):
    print(json.dumps(words), flush=True)
"""
HOLD = """
def waiting(pid):
    tell("waits", os.getpid(), pid)
    time.sleep(120)

with LEASE("cpu"):
    if os.fork() == 0:  # a worker, as a data loader has
        if "LEASE" == "training_lease":
            waiting(None)
        with device_lease("cpu", waiting):
            tell("has it", os.getpid(), None)
    time.sleep(120)
"""
WAIT = """
try:
    with LEASE("cpu", lambda pid: tell("waits", pid)):
        tell("has it")
except KeyboardInterrupt:
    tell("interrupted")
time.sleep(120)
"""
TRAIN = """
steps, seconds = int(sys.argv[1]), float(sys.argv[2])
with training_lease("cpu") as give_way:
    for step in range(steps):
        began = time.monotonic()
        time.sleep(seconds)
        tell("step", began, time.monotonic())
        give_way()
"""
TIME = """
rounds, seconds, stop = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
while rounds and not os.path.exists(stop):
    at_turnstile = []
    with device_lease("cpu", on_wait=lambda pid: at_turnstile.append(time.monotonic())):
        began = time.monotonic()
        time.sleep(seconds)
        tell("timing", began, time.monotonic(), at_turnstile[-1] if at_turnstile else began)
    rounds -= 1
"""


@pytest.fixture(autouse=True)
def leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lock files of this test's own, so that nobody who really measures here is waited for."""
    monkeypatch.setenv("VITSCAPE_LEASES", str(tmp_path / "leases"))
    return tmp_path / "leases"


@pytest.fixture(autouse=True)
def _limit() -> Iterator[None]:
    """A test that waits for ever fails."""

    def fail(number: int, where: object) -> None:
        raise TimeoutError("waits for ever")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(100)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


class Processes:
    """Python processes that run a script, killed at the end of the test."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[str]] = []

    def start(self, script: str, *words: object, lease: str = "device_lease") -> subprocess.Popen[str]:
        command = [sys.executable, "-c", START + script.replace("LEASE", lease), *map(str, words)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self.started.append(process)
        return process


@pytest.fixture
def processes() -> Iterator[Processes]:
    these = Processes()
    yield these
    for process in these.started:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> list[Any]:
    """The next thing that a process tells."""
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def all_said(process: subprocess.Popen[str]) -> list[Any]:
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return [json.loads(line) for line in told.splitlines()]


def spans(told: list[Any]) -> list[Span]:
    return [(line[1], line[2]) for line in told]


def overlapping(some: list[Span], others: list[Span]) -> list[tuple[Span, Span]]:
    return [(a, b) for a in some for b in others if a is not b and a[0] < b[1] and b[0] < a[1]]


def never(pid: int | None) -> None:
    pytest.fail(f"waits for {pid}")


# --- what is left behind: nothing


@pytest.mark.parametrize("lease", ["device_lease", "training_lease"])
def test_a_killed_holder_frees_the_device_though_its_workers_live_on(lease: str, processes: Processes) -> None:
    holder = processes.start(HOLD, lease=lease)
    word, worker, waits_for_pid = said(holder)
    assert word == "waits"  # the lease is not the worker's
    assert waits_for_pid == (holder.pid if lease == "device_lease" else None)
    named: list[int | None] = []

    def kill(pid: int | None) -> None:
        named.append(pid)
        holder.kill()

    try:
        with device_lease("cpu", on_wait=kill):
            os.kill(worker, 0)  # alive
            assert holder.wait(10) == -signal.SIGKILL
    finally:
        os.kill(worker, signal.SIGKILL)
    assert named == [waits_for_pid]


def test_timings_killed_while_they_wait_do_not_keep_a_training_waiting(processes: Processes) -> None:
    with training_lease("cpu", never) as give_way:
        first = processes.start(WAIT)
        assert said(first) == ["waits", None]  # for this training, at the turnstile
        second = processes.start(WAIT)
        assert said(second) == ["waits", first.pid]
        for process in (second, first):
            process.kill()
            process.wait()
        assert give_way() is False


@pytest.mark.parametrize("lease", ["device_lease", "training_lease"])
def test_ctrl_c_while_waiting_leaves_nothing_behind(lease: str, processes: Processes) -> None:
    with device_lease("cpu"):
        process = processes.start(WAIT, lease=lease)
        assert said(process) == ["waits", os.getpid()]
        process.send_signal(signal.SIGINT)
        assert said(process) == ["interrupted"]
    with device_lease("cpu", never):
        pass
    assert process.poll() is None


def test_a_timing_interrupted_within_a_training_leaves_the_training_to_go_on(processes: Processes) -> None:
    with training_lease("cpu") as give_way:
        with pytest.raises(KeyboardInterrupt), device_lease("cpu"):
            raise KeyboardInterrupt
        with device_lease("cpu", never):  # nothing is kept
            pass
        give_way()
        process = processes.start(WAIT)
        assert said(process) == ["waits", None]  # the training has its share again


# --- timing and training


def test_a_timing_gets_its_turn_after_the_running_step_and_no_step_is_made_meanwhile(
    processes: Processes, tmp_path: Path
) -> None:
    trainer = processes.start(TRAIN, 200, 0.02)
    first = said(trainer)
    timer = processes.start(TIME, 5, 0.05, tmp_path / "stop")
    timings, steps = all_said(timer), [first, *all_said(trainer)]
    assert (len(timings), len(steps)) == (5, 200)
    assert overlapping(spans(timings), spans(steps)) == []
    for _, began, _, at_turnstile in timings:
        assert sum(at_turnstile <= step[1] < began for step in steps) <= 1
    last_step = max(step[2] for step in steps)
    assert sum(timing[1] < last_step for timing in timings) >= 2  # they did meet


def test_of_two_trainings_and_two_timings_without_pause_none_starves(processes: Processes, tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    timers = [processes.start(TIME, 100_000, 0.004, stop) for _ in range(2)]
    told = [[said(timer)] for timer in timers]  # both are at it
    trainers = [processes.start(TRAIN, 25, 0.004) for _ in range(2)]
    steps = [all_said(trainer) for trainer in trainers]
    stop.touch()
    timings = [told[i] + all_said(timer) for i, timer in enumerate(timers)]
    assert [len(one) for one in steps] == [25, 25]
    began, ended = min(one[0][1] for one in steps), max(one[-1][2] for one in steps)
    for one in timings:
        assert sum(began < timing[1] < ended for timing in one) >= 5
    both = spans(timings[0] + timings[1])
    assert overlapping(both, both) == []
    assert overlapping(both, spans(steps[0] + steps[1])) == []


def test_trainings_share_a_device_and_a_timing_waits_for_all_of_them() -> None:
    together, leave = threading.Barrier(3), threading.Event()

    def train() -> None:
        with training_lease("cpu", never):
            together.wait(10)  # broken unless all are inside at once
            leave.wait(10)

    threads = [threading.Thread(target=train) for _ in range(2)]
    for thread in threads:
        thread.start()
    together.wait(10)
    waited: list[int | None] = []

    def let_go(pid: int | None) -> None:
        waited.append(pid)
        leave.set()

    with device_lease("cpu", let_go):
        assert not any(thread.is_alive() and not leave.is_set() for thread in threads)
    assert waited == [None]
    for thread in threads:
        thread.join()


def test_a_timing_waits_for_trainings_or_for_a_process_that_it_names() -> None:
    assert waits_for(12, "cuda:0") == "waiting for process 12, which times on cuda:0"
    assert waits_for(None, "cpu") == "waiting for the trainings on cpu to end a step"


def test_threads_that_time_exclude_each_other() -> None:
    inside: list[int] = []
    most: list[int] = []

    def hold() -> None:
        with device_lease("cpu"):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.02)
            inside.pop()

    threads = [threading.Thread(target=hold) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 6


# --- one thread in two roles


def test_a_thread_that_trains_may_time_and_pauses_its_training_meanwhile(processes: Processes) -> None:
    with training_lease("cpu") as give_way:
        with device_lease("cpu", never):
            assert give_way() is False  # its own timing
            other = processes.start(WAIT, lease="training_lease")
            assert said(other) == ["waits", os.getpid()]
        assert said(other) == ["has it"]
        assert said(processes.start(WAIT)) == ["waits", None]  # this training goes on
        assert give_way() is True


def test_a_training_within_a_timing_is_part_of_it(processes: Processes) -> None:
    with device_lease("cpu"):
        with training_lease("cpu", never) as give_way:
            assert give_way() is False
        assert said(processes.start(WAIT)) == ["waits", os.getpid()]


def test_a_training_within_a_training_holds_one_share(processes: Processes) -> None:
    with training_lease("cpu") as outer:
        with training_lease("cpu"):
            pass
        process = processes.start(WAIT)
        assert said(process) == ["waits", None]
        assert outer() is True
        assert said(process) == ["has it"]


def test_a_thread_may_measure_while_it_holds_the_lease(processes: Processes) -> None:
    with device_lease("cpu"):
        measure(nn.Conv2d(3, 4, 3), image_size=8, time_limit_s=0.1, on_wait=never)
        # the measurement has not given the outer lease away
        assert said(processes.start(WAIT)) == ["waits", os.getpid()]


def test_another_key_is_another_lock_and_on_wait_may_refuse_to_wait(processes: Processes) -> None:
    def refuse(pid: int | None) -> None:
        raise RuntimeError(f"held by {pid}")

    def second() -> None:
        with exclusive("study-1", refuse):
            pass

    failures: list[str] = []

    def try_it() -> None:
        try:
            second()
        except RuntimeError as error:
            failures.append(str(error))

    with exclusive("study-1"), exclusive("study-2", never):
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()
    assert failures == [f"held by {os.getpid()}"]
    with exclusive("study-1", never):
        pass


# --- through the front door


def test_measuring_waits_for_the_lease_and_tells_so() -> None:
    waited: list[int | None] = []
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with device_lease("cpu"):
            held.set()
            release.wait(10)

    other = threading.Thread(target=hold)
    other.start()
    held.wait(10)

    def on_wait(pid: int | None) -> None:
        waited.append(pid)
        release.set()

    measure(nn.Conv2d(3, 4, 3), image_size=8, time_limit_s=0.1, on_wait=on_wait)
    other.join()
    assert waited == [os.getpid()]


def test_an_evaluation_gives_way_tells_for_whom_and_trains_to_the_same_accuracy() -> None:
    architecture = parse_architecture(parse_yaml(ARCHITECTURE, "a.yaml"))
    steps: list[str] = []
    waited = threading.Event()

    def time_it() -> None:
        with device_lease("cpu"):
            waited.wait(20)

    timer = threading.Thread(target=time_it)

    def on_step(text: str) -> None:
        steps.append(text)
        if text == "epoch 1/2":
            if not timer.ident:
                timer.start()
        elif text.startswith("waiting"):
            waited.set()

    settings = TrainSettings(epochs=2)
    found = evaluate(
        architecture, data="digits", setup=Setup(device="cpu"), settings=settings, measure=["accuracy"], on_step=on_step
    )
    timer.join()
    waiting = f"waiting for process {os.getpid()}, which times on cpu"
    assert waiting in steps
    after = steps[steps.index(waiting) + 1]
    assert after.startswith("epoch")  # no longer waiting
    alone = evaluate(architecture, data="digits", setup=Setup(device="cpu"), settings=settings, measure=["accuracy"])
    assert found.accuracy_by_epoch == alone.accuracy_by_epoch


OBSERVED = """
import functools, json, sys, time
from contextlib import contextmanager
import torch
torch.set_num_threads(1)
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_post_hook
import explorer.profile.lease as lease

events, begun = {"timing": [], "step": []}, [0.0]
held_alone = lease.device_lease

@contextmanager
def observed(*args, **options):
    with held_alone(*args, **options):
        began = time.monotonic()
        yield
        events["timing"].append((began, time.monotonic()))

lease.device_lease = observed
from explorer.profile import latency

latency.measure = functools.partial(latency.measure, time_limit_s=0.2)
from search_spaces.blocks.network import Network

def before_forward(module, args):
    if isinstance(module, Network) and module.training and torch.is_grad_enabled():
        begun[0] = time.monotonic()

def after_step(optimizer, args, options):
    events["step"].append((begun[0], time.monotonic()))

register_module_forward_pre_hook(before_forward)
register_optimizer_step_post_hook(after_step)
from explorer.cli import main

try:
    main()
finally:
    with open(sys.argv[sys.argv.index("--study") + 1] + ".json", "w") as file:
        json.dump(events, file)
"""


def test_two_searches_on_one_device_never_time_while_the_other_times_or_trains(tmp_path: Path) -> None:
    (tmp_path / "mini.yaml").write_text(MINI)
    searches = []
    for name in ("a", "b"):
        words = ["search", "mini.yaml", "--study", name, "--storage", "both.db", "--trials", "2"]
        words += ["--data", "digits", "--epochs", "3", "--device", "cpu", "--time-limit", "2"]
        command = [sys.executable, "-c", OBSERVED, *words]
        env = environment(tmp_path) | {"PYTHONPATH": str(ROOT)}
        searches.append(subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True))
    for process in searches:
        _, told = process.communicate(timeout=120)
        assert process.returncode == 0, told
    for name in ("a", "b"):
        frame = results.frame(load_study(name, str(tmp_path / "both.db")))
        assert list(frame["status"]) == ["complete"] * 2
    a, b = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("a", "b"))
    assert min(len(a["timing"]), len(b["timing"])) >= 2
    assert min(len(a["step"]), len(b["step"])) > 2 * 3
    assert overlapping(a["timing"], b["timing"]) == []
    assert overlapping(a["timing"], b["step"]) == []
    assert overlapping(b["timing"], a["step"]) == []
    # They met: between the first and the last step of one the other timed
    assert any(x["step"][0][0] < t[0] < x["step"][-1][1] for x, y in ((a, b), (b, a)) for t in y["timing"])


@pytest.mark.parametrize("device", ["auto", "tpu:0"])
def test_what_is_no_device_has_no_lease(device: str) -> None:
    with pytest.raises(InputError, match=f"device='{device}'.*give cpu"), device_lease(device):
        pass


def test_a_folder_of_locks_that_cannot_be_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("VITSCAPE_LEASES", str(tmp_path / "file"))
    way_out = r"VITSCAPE_LEASES=.*set it to a folder that you can write to"
    with pytest.raises(InputError, match=way_out) as error, training_lease("cpu"):
        pass
    assert "\n" not in str(error.value)


# --- on a GPU


@on_gpu
def test_the_lease_of_a_gpu_is_named_by_its_uuid() -> None:
    assert len(lease_key(resolve_device("cuda"))) > 30


@on_gpu
def test_a_gpu_has_done_its_work_when_a_training_gives_it_up() -> None:
    done = torch.cuda.Event()
    idle: list[bool] = []
    asked = threading.Event()

    def time_it() -> None:
        with device_lease("cuda", lambda pid: asked.set()):
            idle.append(done.query())

    with training_lease("cuda") as give_way:
        timer = threading.Thread(target=time_it)
        timer.start()
        asked.wait(10)
        torch.cuda._sleep(2_000_000_000)  # cycles, about a second
        done.record()
        assert give_way() is True
        timer.join()
    assert idle == [True]
