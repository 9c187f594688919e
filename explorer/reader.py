"""Reads a storage for looking, also while a search writes to it: its studies, and a study as one frame.

    storage = Storage("runs/tiny.db")
    reading = storage.read("tiny")
    reading = storage.read("tiny", before=reading)  # reads what is new alone

Nothing is ever written, and no file is made. A trial whose record cannot be read is a failed one that says so; all
else stays readable.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd

from explorer.columns.arrays import Columns, concatenated, utc
from explorer.columns.columnar import Head, columns_of_texts
from explorer.columns.gather import measured_targets
from explorer.columns.parse import Parser, readable_record
from explorer.columns.tables import Rows, Source, Summary, Tables, ThroughOptuna, has_known_tables
from explorer.finals import final_accuracies
from explorer.measured import latencies_in
from explorer.reading import UNFINISHED, Counts, Made, Reading, frame_of, in_order, made_of, states_of, with_trials
from explorer.record import TrialRecord
from explorer.storage import (
    ATTRIBUTE,
    StorageError,
    checked_record,
    hide_password,
    open_engine,
    open_storage,
    recorded_data,
    recorded_objectives,
    sqlite_path,
    storage_errors,
)

__all__ = ["STUDIES", "Counts", "Reading", "Storage"]

STUDIES = {  # column -> dtype, of the table of studies
    "name": "str",
    "trials": "int64",
    "complete": "int64",
    "running": "int64",
    "failed": "int64",
    "first": "datetime64[us, UTC]",  # start
    "last": "datetime64[us, UTC]",  # end
    "readable": "bool",
    "reason": "str",  # why it is not
}


class Storage:
    """An Optuna storage to look at, given as a path or a URL.

    Raises:
        StorageError: it cannot be read; one line, without passwords.
    """

    def __init__(self, url: str) -> None:
        self.url, self.shown = url, hide_password(url)
        through = open_storage(url, must_exist=True)
        engine = open_engine(url)
        with storage_errors(url):
            self.source: Source = Tables(engine) if has_known_tables(engine) else ThroughOptuna(through)
        self._known: dict[str, Columns] = {}  # the trials read last, by study

    def studies(self) -> pd.DataFrame:
        """One row a study, in the order of making, with the columns of STUDIES."""
        with storage_errors(self.url):
            summaries = self.source.summaries()
            studies = self.source.studies().items()
            rows = [self._summary(study_id, name, summaries) for name, study_id in studies]
        table = pd.DataFrame(rows, columns=list(STUDIES))
        return table.assign(**{name: utc([row[name] for row in rows]) for name in ("first", "last")}).astype(STUDIES)

    def counts(self, name: str) -> Counts:
        """How many trials a study has now: cheap enough to be asked every few seconds."""
        with storage_errors(self.url):
            study_id = self._study_id(name)
            ends = self.source.first_and_last(study_id)
            made = Made(study_id, None, None)
            if ends.trial_ids:
                (started,) = utc(ends.started[:1])
                made = Made(study_id, ends.trial_ids[0], None if pd.isna(started) else started)
            last = max(ends.trial_ids, default=0)
            return Counts.of(self._states(name, study_id), last, made, self.source.attributes(study_id))

    def read(self, name: str, before: Reading | None = None) -> Reading:
        """A study as it is now.

        Where `before` is of the same study, only what is new since then, or was unfinished, is read; where nothing has
        changed it is `before` itself.
        """
        with storage_errors(self.url):
            study_id = self._study_id(name)
            attributes = self.source.attributes(study_id)
            record = checked_record(name, _plain(attributes.get(ATTRIBUTE)))
            own = None if before is None else self._continued(before.own, study_id)
            if own is None:
                own = in_order(concatenated(_parts(self.source.trials(study_id, after=0)) or [_columns(NOTHING)]))
            last = int(own["trial_id"].max(initial=0))
            counts = Counts.of(states_of(own), last, made_of(own, study_id), attributes)
            if before is not None and counts.attributes == before.counts.attributes:
                if own is before.own:
                    return before
                added, finals = before.added, before.finals
            else:
                beside = {key: _plain(text) for key, text in attributes.items() if key != ATTRIBUTE}
                added, finals = latencies_in(beside), final_accuracies(beside)
        self._known[name] = own
        frame = frame_of(own, measured_targets(record), added, finals)
        if sqlite_path(self.url) is None:
            frame.attrs["remote"] = True  # its writers may keep another time zone than this reader
        told = (recorded_objectives(record), recorded_data(record))
        return Reading(name, record, *told, counts, frame, own, added, finals)

    def trial(self, name: str, number: int) -> TrialRecord | None:
        """The whole record of a trial; None where there is none.

        Raises:
            StorageError: it has one that cannot be read; one line.
        """
        try:
            return readable_record(_plain(self._texts(name, [number]).get(number)))
        except ValueError as error:
            raise StorageError(f"trial {number}: its record cannot be read: {error}") from None

    def trials(self, name: str, numbers: Sequence[int]) -> dict[int, TrialRecord]:
        """The whole records of several trials, by number; without those that have none, or none that can be read."""
        found = {}
        for number, text in self._texts(name, numbers).items():
            with suppress(ValueError):
                record = readable_record(_plain(text))
                if record is not None:
                    found[number] = record
        return found

    def curves(self, name: str, numbers: Sequence[int]) -> pd.DataFrame:
        """The accuracies after each epoch, in the order of the numbers: number, epoch (from 1), accuracy in %."""
        evaluations = {number: record.evaluation for number, record in self.trials(name, numbers).items()}
        found = {number: one.accuracy_by_epoch for number, one in evaluations.items() if one is not None}
        lengths = [len(curve) for curve in found.values()]
        epochs = [np.arange(1, length + 1, dtype=np.int64) for length in lengths]
        return pd.DataFrame(
            {
                "number": np.repeat(np.array(list(found), dtype=np.int64), lengths),
                "epoch": np.concatenate([*epochs, np.zeros(0, dtype=np.int64)]),
                "accuracy": np.array([value for curve in found.values() for value in curve], dtype=np.float64),
            }
        )

    def _study_id(self, name: str) -> int:
        studies = self.source.studies()
        if name not in studies:
            raise StorageError(f"no study {name!r} in {self.shown}; there are: {', '.join([*studies][:20]) or 'none'}")
        return studies[name]

    def _summary(self, study_id: int, name: str, summaries: Sequence[Summary]) -> dict[str, Any]:
        """A row of the table of studies, its times local."""
        own = [summary for summary in summaries if summary.study_id == study_id]
        trials = Counter({summary.state: summary.trials for summary in own})
        reason = ""
        try:
            checked_record(name, _plain(self.source.attributes(study_id, only=ATTRIBUTE).get(ATTRIBUTE)))
        except StorageError as error:
            reason = str(error)
        return {
            "name": name,
            "trials": trials.total(),
            "complete": trials["COMPLETE"],
            "running": trials["RUNNING"],
            "failed": trials["FAIL"],
            "first": min((summary.first for summary in own if summary.first is not None), default=None),
            "last": max((summary.last for summary in own if summary.last is not None), default=None),
            "readable": not reason,
            "reason": reason,
        }

    def _states(self, name: str, study_id: int) -> dict[str, int]:
        """How many trials are in which state, of those that were read counted from memory: a finished one stays so."""
        own = self._known.get(name)
        again = None if own is None else self._under_way(own, study_id)
        if own is None or again is None:
            return self.source.states(study_id)
        last = int(own["trial_id"].max(initial=0))
        if self.source.count(study_id, up_to=last) != len(own["trial_id"]):
            return self.source.states(study_id)
        finished = {state: trials for state, trials in states_of(own).items() if state not in UNFINISHED}
        return dict(Counter(finished) + Counter(again.head.states) + Counter(self.source.states(study_id, after=last)))

    def _under_way(self, own: Columns, study_id: int) -> Rows | None:
        """The trials that had not finished, read again; None where the study was deleted, and perhaps made anew."""
        ids = own["trial_id"]
        if not len(ids):
            return NOTHING
        open_ones, first = own["state"].isin(UNFINISHED), int(ids.argmin())
        wanted = {*ids[open_ones].tolist(), int(ids[first])}
        rows = self.source.trials_by_id(study_id, list(wanted))
        if {*rows.head.trial_ids} != wanted:
            return None
        if open_ones[first]:
            return rows
        at = rows.head.trial_ids.index(ids[first])
        same = utc(rows.head.started[at : at + 1])[0] == own["started"][first]
        return rows.among([place != at for place in range(len(wanted))]) if same else None

    def _continued(self, own: Columns, study_id: int) -> Columns | None:
        """What the trials say now, from what they said before; None where it has to be read from the beginning."""
        again = self._under_way(own, study_id)
        if again is None:
            return None
        news = _parts(self.source.trials(study_id, after=int(own["trial_id"].max(initial=0))))
        last = max(int(part["trial_id"].max(initial=0)) for part in [own, *news])
        if self.source.count(study_id, up_to=last) != sum(len(part["trial_id"]) for part in [own, *news]):
            return None  # trials came to light in another order than that of their ids
        open_ones = own["state"].isin(UNFINISHED)
        before = dict(zip(own["trial_id"][open_ones].tolist(), own["state"][open_ones], strict=True))
        told = zip(again.head.trial_ids, again.head.states, again.records, strict=True)
        changed = [record is not None or state != before[trial_id] for trial_id, state, record in told]
        if not news and not any(changed):
            return own
        return with_trials(own, [*([_columns(again.among(changed))] if any(changed) else []), *news])

    def _texts(self, name: str, numbers: Sequence[int]) -> dict[int, str | None]:
        """Records of trials by number: by their ids where those were read before, which is fast, else looked for."""
        wanted, found = list(dict.fromkeys(map(int, numbers))), dict[int, str | None]()
        with storage_errors(self.url):
            study_id, own = self._study_id(name), self._known.get(name)
            if own is not None:
                places = np.searchsorted(own["number"], wanted)
                rows = self.source.trials_by_id(study_id, own["trial_id"][places[places < len(own["number"])]].tolist())
                found |= zip(rows.head.numbers, rows.records, strict=True)
            if missing := [number for number in wanted if number not in found]:
                rows = self.source.trials_by_number(study_id, missing)
                found |= zip(rows.head.numbers, rows.records, strict=True)
        return {number: found[number] for number in wanted if number in found}


NOTHING = Rows(Head((), (), (), (), ()), ())


def _parts(several: Iterable[Rows]) -> list[Columns]:
    parser = Parser()
    return [columns_of_texts(*rows, parser) for rows in several]


def _columns(rows: Rows) -> Columns:
    return columns_of_texts(*rows, Parser())


def _plain(text: str | None) -> Any:
    """What a JSON text says; None where there is none, or where it is none."""
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return None
