"""Latencies of some of a study's trials, measured again side by side, under the study's own conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from explorer.setup import Setup
from search_spaces.architecture import Architecture
from search_spaces.errors import InputError

if TYPE_CHECKING:
    import optuna

    from explorer.profile.latency import Subject
    from explorer.profile.lease import OnWait
    from explorer.record import Latency


@dataclass(frozen=True)
class Again:
    """One latency of one trial, before and after."""

    number: int  # of the trial
    key: str  # of the runtime and batch size: "eager/b1"
    before_ms: float | None  # None where the study had none
    latency: Latency
    kept: bool  # false where it cannot be trusted and the one before could

    @property
    def after_ms(self) -> float:
        """What the study has now."""
        return self.latency.median_ms if self.kept or self.before_ms is None else self.before_ms


def remeasure(
    study: optuna.Study,
    numbers: Sequence[int],
    *,
    time_limit_s: float = 10.0,
    on_wait: OnWait | None = None,
) -> list[Again]:
    """Latencies of these trials, by every runtime and batch size of the study, kept with it; open it for writing.

    The networks are timed in turns (measure_together), so that whatever the device does befalls all alike; for
    `time_limit_s` each at most. What is not trusted replaces nothing that was. Each runtime and batch size is kept as
    it comes.

    Raises:
        InputError: this machine, or what measures here, is not what the study was measured with.
        MemoryError: there is no room for all networks at once; one line.
    """
    import pandas as pd

    from explorer.failure import out_of_memory
    from explorer.measured import add_latencies
    from explorer.profile.latency import measure_together
    from explorer.results import find_trial, frame, metrics_of, verdict_column

    if not 0 < time_limit_s < float("inf"):
        raise InputError(f"time-limit={time_limit_s}: give seconds above 0")
    setup, rows = _own_setup(study), frame(study)
    chosen = {number: row for number in numbers if (row := find_trial(rows, number)) is not None}
    subjects = [_subject(number, row["architecture"]) for number, row in chosen.items()]
    found: list[Again] = []
    for target in setup.targets if subjects else ():
        (metric,) = metrics_of(rows, [f"latency@{target.key}"])
        try:
            latencies = measure_together(
                subjects,
                device=setup.device,
                precision=setup.precision,
                batch_size=target.batch_size,
                runtime=target.runtime,
                threads=setup.threads,
                time_limit_s=time_limit_s,
                on_wait=on_wait,
            )
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise MemoryError(f"{len(subjects)} networks, prepared at once for {target.key}, have no room") from error
        for (number, row), latency in zip(chosen.items(), latencies, strict=True):
            before, verdict = row[metric.column], row[verdict_column(metric)]
            trusted = not pd.isna(verdict) and verdict == "ok"
            again = Again(
                number=number,
                key=target.key,
                before_ms=None if pd.isna(before) else float(before),
                latency=latency,
                kept=latency.verdict == "ok" or not trusted,
            )
            if again.kept:
                add_latencies(study, row["id"], [latency])
            found.append(again)
    return found


def _own_setup(study: optuna.Study) -> Setup:
    """How the study was measured, after making sure that this machine measures alike."""
    import torch

    from explorer.profile.latency import PROTOCOL, device_name, resolve_device
    from explorer.profile.runtimes import require_runtime
    from explorer.storage import study_record

    conditions: dict[str, Any] = study_record(study)["conditions"]
    elsewhere = "run vitscape measure and vitscape attach: then both are kept side by side"
    if conditions.get("protocol") != PROTOCOL:  # studies from before there were protocols have none
        raise InputError(
            f"remeasure: study {study.study_name} was measured by another protocol than this Vitscape's; {elsewhere}"
        )
    device = resolve_device(conditions["device"])
    for what, there, here in (
        ("device", conditions["device_name"], device_name(device)),
        ("torch", conditions["torch"], torch.__version__),
    ):
        if there != here:
            raise InputError(
                f"remeasure: study {study.study_name} was measured with {what} {there}, here is {here}; {elsewhere}"
            )
    for runtime in conditions["runtimes"]:
        require_runtime(runtime, device)
    return Setup(
        device=str(device),
        precision=conditions["precision"],
        batch_sizes=tuple(conditions["batch_sizes"]),
        runtimes=tuple(conditions["runtimes"]),
        threads=conditions["threads"] or 1,  # None on a GPU, where it means nothing
    )


def _subject(number: int, data: dict[str, Any]) -> Subject:
    from explorer.profile.latency import Subject
    from search_spaces.blocks.network import build

    architecture = Architecture.from_dict(data, f"trial {number}")
    return Subject(build(architecture).fuse(), architecture.image_size, architecture.in_channels)
