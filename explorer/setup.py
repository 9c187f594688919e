"""Where and how a search measures latency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, get_args

from explorer.metrics import FINAL, LATENCY, MetricError, metric
from explorer.record import Precision
from search_spaces.errors import InputError


class Target(NamedTuple):
    """One of the ways in which a search times every candidate."""

    runtime: str
    batch_size: int

    @property
    def key(self) -> str:
        """As in a latency's conditions: "cuda_graph/b1"."""
        return f"{self.runtime}/b{self.batch_size}"


@dataclass(frozen=True)
class Setup:
    """Where and how latency is measured; training runs on the same device."""

    device: str = "auto"
    precision: Precision = "fp32"
    batch_sizes: tuple[int, ...] = (1,)
    runtimes: tuple[str, ...] = ("eager",)
    threads: int = 1  # intra-op threads while timing on a CPU
    time_limit_s: float = 10.0  # of each latency; where it ends a measurement, the interval is wider

    def __post_init__(self) -> None:
        for name, value in (*(("batch_size", size) for size in self.batch_sizes), ("threads", self.threads)):
            if not 1 <= value <= 65536:
                raise InputError(f"{name}={value}: give a whole number from 1 to 65536")
        if not 0 < self.time_limit_s < 1e6:
            raise InputError(f"time-limit={self.time_limit_s}: give seconds above 0")
        if self.precision not in get_args(Precision):
            raise InputError(f"precision={self.precision}: not known; use one of {', '.join(get_args(Precision))}")
        for name, words in (("batch_sizes", [str(size) for size in self.batch_sizes]), ("runtimes", self.runtimes)):
            if not words or len(set(words)) < len(words):
                raise InputError(f"{name}={','.join(words) or 'none'}: give one or more, each once")

    @property
    def targets(self) -> tuple[Target, ...]:
        """Every runtime with every batch size, in their order; the first one's latency is "latency"."""
        return tuple(Target(runtime, size) for runtime in self.runtimes for size in self.batch_sizes)

    def recorded(self, name: str) -> str:
        """The name under which a metric is recorded: the latency of the first target is "latency".

        >>> Setup(runtimes=("eager", "cuda_graph")).recorded("latency@eager/b1")
        'latency'

        Raises:
            MetricError: no such metric, or a latency that is not measured.
        """
        if name == FINAL.name:
            raise MetricError(f"{name}: known after a search, of its --finalists alone; search by accuracy")
        keys = [target.key for target in self.targets]
        key = metric(name).name.removeprefix(LATENCY)
        if key == name or key in keys:
            return "latency" if key == keys[0] else name
        runtime, _, size = key.rpartition("/b")
        if "/" in runtime:  # a device's name is in it
            raise MetricError(f"{name}: a search measures on its own device alone: {', '.join(keys)}")
        runtimes, sizes = dict.fromkeys((*self.runtimes, runtime)), dict.fromkeys((*map(str, self.batch_sizes), size))
        more = [f"--runtime {','.join(runtimes)}"] * (len(runtimes) > len(self.runtimes))
        more += [f"--batch-sizes {','.join(sizes)}"] * (len(sizes) > len(self.batch_sizes))
        raise MetricError(f"{name}: not measured, only {', '.join(keys)}; add {' '.join(more)}")
