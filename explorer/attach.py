"""Measured latencies joined to a study that was searched elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from explorer.measurements import Measurement
from explorer.record import Latency
from search_spaces.errors import InputError

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Attached:
    """What became of measurements that were joined to a study."""

    architectures: int  # that have latencies now
    latencies: int  # joined to them
    replaced: int  # of these, in the place of older ones that they compare with
    doubtful: int  # of these, with a verdict that is not ok: shown only where there is none that is
    strangers: int  # measurements of architectures that no trial has
    failed: int  # rows with an error instead of a latency
    names: tuple[str, ...]  # of the latencies in the study's frame: "latency@nvidia_h200/eager/fp16/b1"


def attach(study: optuna.Study, measurements: Iterable[Measurement]) -> Attached:
    """Keep measurements with the architectures of a study that they belong to, by id; `study` is open for writing.

    The study's frame has them as columns then, such as latency_ms@nvidia_h200/eager/fp16/b1. Attaching the same again
    changes nothing.

    >>> attach(writable_study("birds", "runs/birds.db"), read_measurements("gpu.parquet")).architectures
    200

    Raises:
        InputError: none of the measurements belongs to the study.
    """
    from explorer.frame import frame, latency_names
    from explorer.measured import add_latencies

    rows = list(measurements)
    measured = [(row.id, row.latency) for row in rows if row.latency is not None]
    known = set(frame(study)["id"].dropna())
    by_architecture: dict[str, list[Latency]] = {}
    for name, latency in measured:
        if name in known:
            by_architecture.setdefault(name, []).append(latency)
    if not by_architecture:
        raise InputError(
            f"attach: nothing to join to study {study.study_name}: of {len(rows)} rows {len(rows) - len(measured)} have"
            f" no latency, {len(measured)} are of architectures that no trial has; measure what vitscape export wrote"
        )
    replaced = sum(add_latencies(study, name, latencies) for name, latencies in by_architecture.items())
    names, joined = latency_names(study), [one for latencies in by_architecture.values() for one in latencies]
    return Attached(
        architectures=len(by_architecture),
        latencies=len(joined),
        replaced=replaced,
        doubtful=sum(one.verdict not in ("ok", None) for one in joined),
        strangers=sum(name not in known for name, _ in measured),
        failed=len(rows) - len(measured),
        names=tuple(sorted({names[one.comparable] for one in joined})),
    )
