"""Latencies that a study holds beside its trials' records: of other devices, and measured again.

Each architecture has one user attribute of the study, since a finished trial's own attributes cannot change any more.
"""

from __future__ import annotations

from collections.abc import Iterable

import optuna

from explorer.record import Latency

PREFIX = "vitscape_latency:"  # followed by the architecture's id


def add_latencies(study: optuna.Study, architecture_id: str, found: Iterable[Latency]) -> None:
    """Keep latencies of an architecture; each replaces the one that was kept under the same conditions before."""
    kept = {latency.conditions.full_key: latency for latency in _read(study.user_attrs.get(PREFIX + architecture_id))}
    kept |= {latency.conditions.full_key: latency for latency in found}
    study.set_user_attr(PREFIX + architecture_id, [latency.model_dump(mode="json") for latency in kept.values()])


def added_latencies(study: optuna.Study) -> dict[str, tuple[Latency, ...]]:
    """The latencies kept so, by architecture id."""
    return {
        key.removeprefix(PREFIX): tuple(_read(value))
        for key, value in study.user_attrs.items()
        if key.startswith(PREFIX)
    }


def _read(stored: object) -> list[Latency]:
    return [Latency.model_validate(item) for item in stored] if isinstance(stored, list) else []
