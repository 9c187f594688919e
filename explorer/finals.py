"""Trainings in full of some of a study's architectures, which the study holds beside its trials' records.

Each architecture has one user attribute of the study, since a finished trial's own attributes cannot change any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import optuna
from pydantic import Field, ValidationError

from explorer.record import Record
from explorer.storage import StorageError

PREFIX = "vitscape_final:"  # followed by the architecture's id


class Final(Record):
    """What the training in full of an architecture found."""

    format: Literal["vitscape/final@1"] = "vitscape/final@1"
    id: str  # of the architecture
    number: int  # of the trial that it was chosen by
    status: Literal["complete", "failed"]
    accuracy: float | None = None  # top-1 on the validation images, %
    accuracy_by_epoch: tuple[float, ...] = ()  # %
    seconds: float = 0.0  # wall time
    tries: int = 1  # trainings of it that have ended so far
    settings: dict[str, Any] = Field(default_factory=dict)  # of the training
    precision: str = ""  # that it was calculated in
    error: str | None = None  # one line
    traceback: str | None = None


def add_final(study: optuna.Study, final: Final) -> None:
    """Keep what a training in full found, in the place of an earlier one."""
    study.set_user_attr(PREFIX + final.id, final.model_dump(mode="json"))


def finals(study: optuna.Study) -> dict[str, Final]:
    """What was kept so, by architecture id."""
    return finals_in(study.user_attrs)


def finals_in(attributes: Mapping[str, object]) -> dict[str, Final]:
    """As finals, of a study's user attributes."""
    return {key.removeprefix(PREFIX): _read(key, value) for key, value in attributes.items() if key.startswith(PREFIX)}


def final_accuracies(attributes: Mapping[str, object]) -> dict[str, float]:
    """The accuracies of those that did not fail, in %, by architecture id, of a study's user attributes."""
    return {name: one.accuracy for name, one in finals_in(attributes).items() if one.accuracy is not None}


def _read(key: str, stored: object) -> Final:
    try:
        return Final.model_validate(stored)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise StorageError(f"{key}: this training of the study cannot be read: {where}: {first['msg']}") from None
