"""A study as it was read: its frame, and what lets it be brought up to date without reading it all again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from explorer.columns.arrays import Columns, concatenated, latency_column
from explorer.columns.gather import LATENCY_COLUMNS, gathered
from explorer.frame import COLUMNS
from explorer.record import Latency
from explorer.structure import is_structure

UNFINISHED = ("RUNNING", "WAITING")  # states that change


class Made(NamedTuple):
    """What tells a study from another that was made anew under its name."""

    study_id: int
    trial_id: int | None  # of its first trial
    started: pd.Timestamp | None  # that trial; None before it did

    def is_other(self, later: Made) -> bool:
        """Whether a later look saw another study."""
        pairs = zip(self, later, strict=True)
        return any(before is not None and before != now for before, now in pairs)


@dataclass(frozen=True)
class Counts:
    """How many trials a study has; equal where nothing has changed."""

    last_id: int  # of its trials, in the storage
    total: int
    finished: int
    by_state: tuple[tuple[str, int], ...]  # ("COMPLETE", 12), ("RUNNING", 2): Optuna's words
    attributes: str  # a stamp of the study's user attributes
    made: Made

    @classmethod
    def of(cls, states: Mapping[str, int], last_id: int, made: Made, attributes: Mapping[str, str]) -> Counts:
        """Of the number of trials by state, and the study's attributes as JSON texts."""
        stamp = hashlib.blake2b(digest_size=8)
        for key, text in attributes.items():
            stamp.update(f"{key}\n{text}\n".encode())
        return cls(
            last_id=last_id,
            total=sum(states.values()),
            finished=sum(trials for state, trials in states.items() if state not in UNFINISHED),
            by_state=tuple(sorted((state, trials) for state, trials in states.items() if trials)),
            attributes=stamp.hexdigest(),
            made=made,
        )

    @property
    def running(self) -> int:
        """Trials under way."""
        return dict(self.by_state).get("RUNNING", 0)


@dataclass(frozen=True)
class Reading:
    """A study as it was read; the frame is shared and never modified."""

    name: str
    record: dict[str, Any] = field(repr=False)  # explorer.storage.study_record
    objectives: tuple[str, ...]
    data: str  # what the accuracies stand for: "cues, 8 of 12 epochs"
    counts: Counts
    frame: pd.DataFrame = field(repr=False, compare=False)
    own: Columns = field(repr=False, compare=False)  # what the trials say by themselves
    added: Mapping[str, Sequence[Latency]] = field(repr=False, compare=False)  # latencies beside them, by architecture
    finals: Mapping[str, float] = field(repr=False, compare=False)  # accuracies in full beside them, by architecture

    def behind(self, counts: Counts) -> int:
        """How many trials have finished since; all of them where the study was made anew."""
        anew = self.counts.made.is_other(counts.made)
        return counts.finished if anew else max(counts.finished - self.counts.finished, 0)


def frame_of(
    own: Columns, targets: Sequence[str], added: Mapping[str, Sequence[Latency]], finals: Mapping[str, float]
) -> pd.DataFrame:
    """The columns of explorer/frame.py without `architecture`, then `finished`, structure, and further latencies."""
    found = gathered(own, targets, added, finals)
    names = [name for name in COLUMNS if name != "architecture"] + ["finished"]
    names += [name for name in found.columns if is_structure(name)]
    names += [latency_column(name, key) for key in found.keys for name in LATENCY_COLUMNS]
    table = pd.DataFrame({name: found.columns[name] for name in names}, copy=False)
    table.attrs |= found.attrs
    return table


def states_of(own: Columns) -> dict[str, int]:
    """How many of the trials are in which state."""
    states = own["state"].categories
    trials = np.bincount(own["state"].codes, minlength=len(states))
    return dict(zip(states, trials.tolist(), strict=True))


def made_of(own: Columns, study_id: int) -> Made:
    """What tells the study of these trials from another of its name."""
    if not len(own["trial_id"]):
        return Made(study_id, None, None)
    first = int(own["trial_id"].argmin())
    started = own["started"][first]
    return Made(study_id, int(own["trial_id"][first]), None if pd.isna(started) else started)


def in_order(own: Columns) -> Columns:
    """The columns by rising number."""
    numbers = own["number"]
    if (numbers[1:] > numbers[:-1]).all():
        return own
    order = np.argsort(numbers, kind="stable")
    return {name: array.take(order) for name, array in own.items()}


def with_trials(own: Columns, parts: Sequence[Columns]) -> Columns:
    """The columns with trials read later, in the place of their own where there are; all before these is kept."""
    later = np.concatenate([part["trial_id"] for part in parts])
    gone = np.isin(own["trial_id"], later) if later.min() <= own["trial_id"].max(initial=0) else None
    if gone is None:
        return in_order(concatenated([dict(own), *parts]))
    start = int(gone.argmax())
    kept = np.flatnonzero(~gone[start:]) + start
    tail = in_order(concatenated([{name: array[kept] for name, array in own.items()}, *parts]))
    return in_order(concatenated([{name: array[:start] for name, array in own.items()}, tail]))
