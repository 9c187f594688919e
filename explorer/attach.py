"""Measured latencies joined to a study that was searched elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from explorer.measurements import Measurement
from explorer.record import Latency

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Attached:
    """What became of measurements that were joined to a study."""

    architectures: int  # that have latencies now
    latencies: int  # kept for them
    replaced: int  # of these, in the place of older ones under the same conditions
    strangers: int  # measurements of architectures that no trial has
    failed: int  # rows with an error instead of a latency
    names: tuple[str, ...]  # of the latencies, as objectives: "latency@nvidia_h200/eager/fp16/b1"


def attach(study: optuna.Study, measurements: Iterable[Measurement]) -> Attached:
    """Keep measurements with the architectures of a study that they belong to, by id; `study` is open for writing.

    The study's frame has them as columns then, such as latency_ms@nvidia_h200/eager/fp16/b1. Attaching the same again
    changes nothing.

    >>> attach(writable_study("birds", "runs/birds.db"), read_measurements("gpu.parquet")).architectures
    200
    """
    from explorer.measured import add_latencies, added_latencies
    from explorer.metrics import LATENCY
    from explorer.results import frame

    rows = list(measurements)
    measured = [(row.id, row.latency) for row in rows if row.latency is not None]
    known = set(frame(study)["id"].dropna())
    joined = {(name, latency.conditions.full_key): latency for name, latency in measured if name in known}
    before = {(name, kept.conditions.full_key) for name, found in added_latencies(study).items() for kept in found}
    by_architecture: dict[str, list[Latency]] = {}
    for (name, _), latency in joined.items():
        by_architecture.setdefault(name, []).append(latency)
    for name, latencies in by_architecture.items():
        add_latencies(study, name, latencies)
    return Attached(
        architectures=len(by_architecture),
        latencies=len(joined),
        replaced=len(before & joined.keys()),
        strangers=sum(name not in known for name, _ in measured),
        failed=len(rows) - len(measured),
        names=tuple(sorted({LATENCY + key for _, key in joined})),
    )
