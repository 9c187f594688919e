"""What the pages show: the studies of one storage, read once for all sessions, and one study as a view.

The storage is set by whoever starts the server and never by a browser. A session keeps the reading that it drew, so
that nothing moves under its user's hands; newer trials come when they are asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import pandas as pd
import streamlit as st

from dashboard import state
from dashboard.memory import give_back
from dashboard.text import plain
from explorer import reader
from explorer.columns.arrays import latency_column
from explorer.columns.gather import LATENCY_COLUMNS
from explorer.frame import COLUMNS, metrics_of
from explorer.metrics import LATENCY, METRICS, MetricError
from explorer.reader import Counts, Reading
from explorer.record import TrialRecord
from search_spaces.errors import InputError

POLL_SECONDS = 3.0  # between two looks at how many trials there are
PINNED = "_reading"  # in the session's state: what it draws
FOLLOW = "follow"


@dataclass(frozen=True)
class Source:
    """Where the server reads from."""

    url: str
    study: str | None  # shown first
    storage: reader.Storage


@dataclass(frozen=True)
class View:
    """One study as it was read; its frame is shared by all sessions and never modified."""

    reading: Reading
    source: Source

    @property
    def name(self) -> str:
        return self.reading.name

    @property
    def frame(self) -> pd.DataFrame:
        return self.reading.frame

    @property
    def objectives(self) -> tuple[str, ...]:
        return self.reading.objectives

    @property
    def data(self) -> str:
        """What the accuracies stand for: "cues, 8 of 12 epochs"."""
        return self.reading.data

    @property
    def record(self) -> dict[str, Any]:
        """What the study says of itself (explorer.storage.study_record)."""
        return self.reading.record

    @property
    def storage(self) -> str:
        """The storage to show, without password."""
        return self.source.storage.shown

    @property
    def key(self) -> Hashable:
        """Changes with the data: what caches of results are keyed by."""
        return self.source.url, self.name, self.reading.counts

    def trial_record(self, number: int) -> TrialRecord | None:
        """The whole record of a trial; None where there is none."""
        return _record(self.key, number, self)

    def architecture(self, number: int) -> dict[str, Any]:
        """The canonical form of a trial's architecture.

        Raises:
            InputError: the study has no such trial with an architecture.
        """
        record = self.trial_record(number)
        if record is None:
            raise InputError(f"trial={number}: study {self.name} has {len(self.frame)} trials, none such with a record")
        return record.architecture

    def architectures(self, numbers: Iterable[int]) -> dict[int, dict[str, Any]]:
        """The canonical forms of several, by number; without those that have none."""
        records = self.source.storage.trials(self.name, [int(number) for number in numbers])
        return {number: record.architecture for number, record in records.items()}

    def curves(self, numbers: Sequence[int]) -> pd.DataFrame:
        """The accuracies after each epoch: number, epoch (1 is the first), accuracy in %."""
        return self.source.storage.curves(self.name, [int(number) for number in numbers])


_source: Source | None = None
_latest: dict[str, Reading] = {}
_reading_lock = threading.Lock()


def configure(storage: str, study: str | None = None) -> None:
    """Sets what this process shows; the study is the one shown first.

    Raises:
        StorageError: no such storage; one line.
    """
    global _source
    opened = Source(storage, study, reader.Storage(storage))
    with _reading_lock:
        _source = opened
        _latest.clear()
    _record.clear()
    _studies.clear()


def source() -> Source:
    """Where the server reads from."""
    if _source is None:
        stop("No storage to show.", "Start the dashboard with `vitscape dashboard`, which tells it the storage.")
    return _source


def studies() -> pd.DataFrame:
    """The studies of the storage (explorer.reader.Storage.studies), not older than a poll."""
    return _studies(source().url)


def counts(name: str) -> Counts:
    """How many trials a study has just now."""
    return source().storage.counts(name)


def view(name: str) -> View:
    """A study of the storage as it was read last."""
    found = _latest.get(name)
    return View(found if found is not None else _read(name), source())


def read_ahead(name: str) -> None:
    """Reads a study before anybody asks for it; what is wrong with it is said by the page that does."""
    with suppress(InputError):
        view(name)


def current() -> View:
    """The chosen study as this session draws it; where there is none, says why and ends the page."""
    try:
        name = chosen_study()
        pinned: Reading | None = st.session_state.get(PINNED)
        if pinned is None or pinned.name != name:
            pinned = view(name).reading
            st.session_state[PINNED] = pinned
        return View(pinned, source())
    except InputError as error:
        stop("This study cannot be read.", plain(error))


def refresh() -> None:
    """Lets the session draw the newest trials from its next run on."""
    name = st.session_state.get(state.STUDY)
    if name is not None:
        st.session_state[PINNED] = _read(name)


def behind() -> int:
    """How many trials have finished since the session's reading."""
    pinned: Reading | None = st.session_state.get(PINNED)
    return 0 if pinned is None else pinned.behind(counts(pinned.name))


def waiting() -> bool:
    """Whether the session draws a study without any trial."""
    pinned: Reading | None = st.session_state.get(PINNED)
    return pinned is not None and pinned.frame.empty


def chosen_study() -> str:
    """The name that the sidebar's chooser has; ends the page where there is nothing to choose."""
    name = st.session_state.get(state.STUDY)
    if name is None:
        shown = plain(source().storage.shown)
        stop("No studies yet.", f"`vitscape search SPACE --storage ...` makes one in {shown}; this page waits for it.")
    return str(name)


def stop(what: str, next_step: str) -> NoReturn:
    """Says why a page has nothing to show, and what to do next, in markdown of our own; ends the page."""
    with st.container(border=True):
        st.markdown(f"#### {what}")
        st.markdown(next_step)
    st.stop()


def _read(name: str) -> Reading:
    with _reading_lock:  # two sessions that open at once read once
        before = _latest.get(name)
        found = source().storage.read(name, before)
        if found is not before:
            found = replace(found, frame=_with_objectives(found.frame, found.objectives))
        _latest[name] = found
    if found is not before:
        give_back()
    return found


def _with_objectives(frame: pd.DataFrame, objectives: Sequence[str]) -> pd.DataFrame:
    """The frame with empty columns for the objectives that no trial has: latencies that are still to be attached."""
    unmeasured = [name for name in objectives if name not in METRICS and not _has(frame, name)]
    keys = [name.removeprefix(LATENCY) for name in unmeasured]
    names = {latency_column(name, key): COLUMNS[name] for key in keys for name in LATENCY_COLUMNS}
    empty = {column: pd.Series(index=frame.index, dtype=dtype) for column, dtype in names.items()}
    return frame.assign(**empty) if empty else frame


def _has(frame: pd.DataFrame, name: str) -> bool:
    try:
        return bool(metrics_of(frame, [name]))
    except MetricError:
        return False


@st.cache_data(ttl=POLL_SECONDS, show_spinner=False)
def _studies(url: str) -> pd.DataFrame:
    return source().storage.studies()


@st.cache_resource(max_entries=4096, show_spinner=False)
def _record(key: Hashable, number: int, _view: View) -> TrialRecord | None:
    return _view.source.storage.trial(_view.name, number)
