"""Latencies that a study holds beside its trials' records: of other devices, and measured again.

Each architecture has one user attribute of the study, since a finished trial's own attributes cannot change any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import optuna
from pydantic import TypeAdapter, ValidationError

from explorer.profile.lease import exclusive
from explorer.record import Latency
from explorer.storage import StorageError, study_key

PREFIX = "vitscape_latency:"  # followed by the architecture's id
STORED = TypeAdapter(tuple[Latency, ...])


def add_latencies(study: optuna.Study, architecture_id: str, found: Iterable[Latency]) -> int:
    """Keep latencies of an architecture; the number of those that took the place of earlier ones.

    Each replaces the one kept before that it compares with; one whose verdict is not ok replaces none whose verdict is.
    """
    key = PREFIX + architecture_id
    with exclusive(f"{study_key(study)}-latencies"):  # another key than a search's, which holds that for hours
        kept = {_key(latency): latency for latency in _read(key, study.user_attrs.get(key, []))}
        new = {_key(latency): latency for latency in found}
        study.set_user_attr(key, [latency.model_dump(mode="json") for latency in (kept | new).values()])
    return len(kept.keys() & new.keys())


def added_latencies(study: optuna.Study) -> dict[str, tuple[Latency, ...]]:
    """The latencies kept so, by architecture id."""
    return latencies_in(study.user_attrs)


def latencies_in(attributes: Mapping[str, object]) -> dict[str, tuple[Latency, ...]]:
    """As added_latencies, of a study's user attributes."""
    return {key.removeprefix(PREFIX): _read(key, value) for key, value in attributes.items() if key.startswith(PREFIX)}


def _key(latency: Latency) -> tuple[object, ...]:
    return *latency.comparable, latency.verdict == "ok"


def _read(key: str, stored: object) -> tuple[Latency, ...]:
    try:
        return STORED.validate_python(stored)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise StorageError(f"{key}: these latencies of the study cannot be read: {where}: {first['msg']}") from None
