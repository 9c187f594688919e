"""How the steps of a training are run: eagerly, compiled, or as one CUDA graph, whichever pays by measurement.

On a GPU a few eager steps are timed. Where what is left of the training is expected to gain more than the cost of
preparing a faster way (explorer/proxy/experience.py), that one is prepared and timed, too, and kept if it is faster.
A CUDA graph is not chosen so, but when it is asked for.
On a CPU steps are eager unless it is asked otherwise, so that accuracies repeat digit for digit. Steps are timed on the
device, between events; but for three of them, once or twice in a training, nothing waits for it.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Literal, cast

import torch
from torch import Tensor

from explorer.proxy.experience import Expected, Experience, worth_trying
from explorer.proxy.graph import Graphed, has_room_for_graph
from explorer.proxy.step import Step
from search_spaces.errors import InputError

Faster = Literal["auto", "off", "compile", "graph"]
Run = Callable[[Tensor, Tensor], Tensor]  # (images, targets) -> loss, on the device, until the next step is run

UNTIMED, TIMED = 5, 10  # steps
ALONE = 3  # of those timed that begin on an idle device: the host's time is its own there, not that of a full queue
GAIN = 1.03  # speed-up from which a faster way is kept
HOST_BOUND = 0.9  # share of a step's time on the device that the host takes to issue it, from which the device waits
AUTO = ("compile",)  # what "auto" may choose; a graph has to be asked for while no GPU has shown that it trains alike
NAMES = {"graph": "CUDA graph", "compile": "compiled"}
_told: set[str] = set()  # ways that have failed in this process


@dataclass(frozen=True)
class Times:
    """Medians over some steps, in seconds."""

    device: float  # from a step's begin to its end on the device
    host: float  # until the step was issued

    @property
    def kind(self) -> str:
        """What the device waits for: the host's launches, or its own computing."""
        return "launch" if self.host >= HOST_BOUND * self.device else "compute"


class Watch:
    """Times steps without waiting for them: UNTIMED ones pass, TIMED ones are timed."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.untimed = device, list[float]()  # seconds on the host
        self.marks: list[tuple[float, torch.cuda.Event | float, torch.cuda.Event | float]] = []

    @property
    def warming(self) -> bool:
        """Whether the steps before those that are timed are not all done."""
        return len(self.untimed) < UNTIMED

    def step(self, run: Run, images: Tensor, targets: Tensor) -> Tensor:
        """Run a step and time it."""
        if not self.warming and len(self.marks) < ALONE and self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        began, first = self._mark()
        loss = run(images, targets)
        ended, last = self._mark()
        if self.warming:
            self.untimed.append(ended - began)
        elif len(self.marks) < TIMED:
            self.marks.append((ended - began, first, last))
        return loss

    def _mark(self) -> tuple[float, torch.cuda.Event | float]:
        now = time.perf_counter()
        if self.device.type != "cuda":
            return now, now
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return now, event

    def times(self) -> Times | None:
        """What was found; None while steps are missing, or the device has not come so far."""
        if len(self.marks) < TIMED:
            return None
        last = self.marks[-1][2]
        if isinstance(last, torch.cuda.Event) and not last.query():
            return None
        return Times(
            device=median(_between(first, last) for _, first, last in self.marks),
            host=median(host for host, _, _ in self.marks[:ALONE]),
        )


def _between(first: torch.cuda.Event | float, last: torch.cuda.Event | float) -> float:
    if isinstance(first, torch.cuda.Event) and isinstance(last, torch.cuda.Event):
        return first.elapsed_time(last) / 1e3
    assert isinstance(first, float)
    assert isinstance(last, float)
    return last - first


class Pace:
    """Runs the steps of a training, `steps` of them, and settles on how."""

    def __init__(self, step: Step, steps: int, faster: Faster, experience: Experience) -> None:
        if faster == "graph" and step.device.type != "cuda":
            raise InputError(f"faster=graph: a {step.device.type} device has no CUDA graphs; give auto, off or compile")
        self.step, self.left, self.faster, self.experience = step, steps, faster, experience
        self.way, self.run = "eager", cast(Run, step)
        self.ran = "eager"  # in words
        self.eager: Times | None = None
        settled = faster == "off" or (faster == "auto" and step.device.type != "cuda")
        self.watch = None if settled else Watch(step.device)
        if self.watch is not None and step.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(step.device)

    def __call__(self, images: Tensor, targets: Tensor) -> Tensor:
        """The loss after one step, until the next one."""
        self.left -= 1
        watch = self.watch
        if watch is None:
            return self.run(images, targets)
        if self.way != "eager" and watch.warming:
            loss = self._tried(watch, images, targets)
        else:
            loss = watch.step(self.run, images, targets)
        times = watch.times()
        if times is not None and self.watch is watch:
            self._settle(times)
        return loss

    def _tried(self, watch: Watch, images: Tensor, targets: Tensor) -> Tensor:
        """A step in the new way; eagerly, from the same state and ever after, where that fails."""
        self.step.note()
        began = time.perf_counter()
        try:
            return watch.step(self.run, images, targets)
        except Exception as error:  # compilers raise errors of any type; one of the network's own comes again eagerly
            reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        if self.way not in _told:
            _told.add(self.way)
            warnings.warn(f"{NAMES[self.way]}: {reason}; training goes on eagerly", RuntimeWarning, stacklevel=4)
        self._learn(sum(watch.untimed) + time.perf_counter() - began, 1.0)
        self._leave()
        self.step.undo()
        self.ran, self.watch = f"eager: {NAMES[self.way]} failed ({reason})", None
        self.way = "eager"
        return self.step(images, targets)

    def _settle(self, times: Times) -> None:
        """Choose, or judge what was chosen, by the times of the steps just run."""
        if self.way == "eager":
            self.eager, way = times, self._chosen(times)
            self.watch = None if way is None else Watch(self.step.device)
            if way is not None:
                self.way, self.ran = way, NAMES[way]
                self.run = Graphed(self.step) if way == "graph" else compiled(self.step)
            return
        assert self.eager is not None
        assert self.watch is not None
        speedup = self.eager.device / max(times.device, 1e-9)
        self._learn(max(0.0, sum(self.watch.untimed) - UNTIMED * self.eager.device), speedup)
        eager_ms, new_ms, name = f"{1e3 * self.eager.device:.2g}", f"{1e3 * times.device:.2g}", NAMES[self.way]
        self.watch = None
        if speedup >= GAIN or self.faster == self.way:
            self.ran = f"{name}: {new_ms} ms a step instead of {eager_ms}"
        else:
            self._leave()
            self.way, self.ran = "eager", f"eager: {eager_ms} ms a step, {new_ms} as {name}"

    def _chosen(self, times: Times) -> str | None:
        """The way to try, if any."""
        may = ["compile"]
        # a scaler has state of its own on the host, which a replay would not move on
        if self.step.parts == 1 and not self.step.scaler.is_enabled() and has_room_for_graph(self.step.device):
            may.append("graph")
        if self.faster != "auto":
            return self.faster if self.faster in may else None
        expected = {way: self.experience.expected(f"{way}/{times.kind}") for way in may if way in AUTO}
        return worth_trying(times.device, self.left, expected)

    def _learn(self, cost_s: float, speedup: float) -> None:
        if self.eager is not None and self.step.device.type == "cuda":
            self.experience.learn(f"{self.way}/{self.eager.kind}", Expected(cost_s, speedup))

    def _leave(self) -> None:
        """Go back to eager steps."""
        if isinstance(self.run, Graphed):
            self.run.leave()
        self.step.network = self.step.model
        self.run = self.step


def compiled(step: Step) -> Run:
    """The step with its network compiled, forward and backward, which happens in the first call."""
    torch.compiler.reset()  # what was compiled of other networks counts against a limit, beyond which none is
    step.network = torch.compile(step.model, dynamic=False)
    return step
