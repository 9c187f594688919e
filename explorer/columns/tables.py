"""What a storage holds, as rows to look at: read by SQL from Optuna's tables, or through Optuna where those are others.

Optuna's own get_all_trials makes an object of each parameter of each trial: minutes and gigabytes for 100,000 trials.
Here only what a frame needs is read, some thousand trials a statement, so that on a SQLite file without WAL a writer
waits for a moment at most.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import compress
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial

from explorer.columns.columnar import Head
from explorer.storage import ATTRIBUTE

SCHEMA_VERSION = 12  # of Optuna's tables, as read here
AT_ONCE = 5000  # trials a statement: some 10 MB
IDS_AT_ONCE = 500  # ids in one statement: databases have limits from a thousand on

TRIALS = sa.table(
    "trials",
    *map(sa.column, ("trial_id", "number", "study_id", "state")),
    sa.column("datetime_start", sa.DateTime),
    sa.column("datetime_complete", sa.DateTime),
)
RECORDS = sa.table("trial_user_attributes", *map(sa.column, ("trial_id", "key", "value_json")))
STUDIES = sa.table("studies", *map(sa.column, ("study_id", "study_name")))
ATTRIBUTES = sa.table(
    "study_user_attributes", *map(sa.column, ("study_user_attribute_id", "study_id", "key", "value_json"))
)
VERSION = sa.table("version_info", sa.column("schema_version"))


class Rows(NamedTuple):
    """Some trials: what Optuna says of each, and its record as JSON text, None where it has none."""

    head: Head
    records: Sequence[str | None]

    def among(self, chosen: Sequence[bool]) -> Rows:
        """Those of the trials that are chosen."""
        columns: list[Any] = [list(compress(column, chosen)) for column in (*self.head, self.records)]
        return Rows(Head(*columns[:-1]), columns[-1])


class Summary(NamedTuple):
    """The trials of a study that are in one state, in Optuna's word; times are local."""

    study_id: int
    state: str
    trials: int
    first: datetime | None  # start
    last: datetime | None  # end


class Source(Protocol):
    """Where rows come from."""

    def studies(self) -> dict[str, int]:
        """Ids of the studies by name, in the order in which they were made."""

    def summaries(self) -> list[Summary]:
        """How many trials of each study are in which state."""

    def attributes(self, study_id: int, *, only: str | None = None) -> dict[str, str]:
        """User attributes of a study, or one of them, as JSON text."""

    def states(self, study_id: int, after: int = 0) -> dict[str, int]:
        """How many trials of a study, with larger ids, are in which state."""

    def first_and_last(self, study_id: int) -> Head:
        """The trials with the smallest and the largest id; none of a study without trials."""

    def count(self, study_id: int, up_to: int) -> int:
        """How many trials a study has, up to an id."""

    def trials(self, study_id: int, after: int) -> Iterator[Rows]:
        """The trials with larger ids, by id, some thousands at a time."""

    def trials_by_id(self, study_id: int, trial_ids: Sequence[int]) -> Rows:
        """Those trials of a study that have these ids."""

    def trials_by_number(self, study_id: int, numbers: Sequence[int]) -> Rows:
        """The trials of these numbers."""


def has_known_tables(engine: sa.Engine) -> bool:
    """Whether Optuna's tables are of the version read here."""
    with engine.connect() as connection:
        return bool(connection.execute(sa.select(VERSION.c.schema_version)).scalar() == SCHEMA_VERSION)


class Tables:
    """The rows read by SQL; raises what SQLAlchemy raises."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine

    def studies(self) -> dict[str, int]:
        found = sa.select(STUDIES.c.study_name, STUDIES.c.study_id).order_by(STUDIES.c.study_id)
        return {row[0]: row[1] for row in self._all(found)}

    def summaries(self) -> list[Summary]:
        place = (TRIALS.c.study_id, TRIALS.c.state)
        times = (sa.func.min(TRIALS.c.datetime_start), sa.func.max(TRIALS.c.datetime_complete))
        return [Summary(*row) for row in self._all(sa.select(*place, sa.func.count(), *times).group_by(*place))]

    def attributes(self, study_id: int, *, only: str | None = None) -> dict[str, str]:
        found = sa.select(ATTRIBUTES.c.key, ATTRIBUTES.c.value_json).where(ATTRIBUTES.c.study_id == study_id)
        if only is not None:
            found = found.where(ATTRIBUTES.c.key == only)
        return {row[0]: row[1] for row in self._all(found.order_by(ATTRIBUTES.c.study_user_attribute_id))}

    def states(self, study_id: int, after: int = 0) -> dict[str, int]:
        among = (TRIALS.c.study_id == study_id, TRIALS.c.trial_id > after)
        found = sa.select(TRIALS.c.state, sa.func.count()).where(*among)
        return {row[0]: row[1] for row in self._all(found.group_by(TRIALS.c.state))}

    def first_and_last(self, study_id: int) -> Head:
        found = self._rows().where(TRIALS.c.study_id == study_id).limit(1)
        ends = (self._all(found.order_by(order)) for order in (TRIALS.c.trial_id.asc(), TRIALS.c.trial_id.desc()))
        return _made([row for rows in ends for row in rows]).head

    def count(self, study_id: int, up_to: int) -> int:
        among = (TRIALS.c.study_id == study_id, TRIALS.c.trial_id <= up_to)
        (row,) = self._all(sa.select(sa.func.count()).select_from(TRIALS).where(*among))
        return int(row[0])

    def trials(self, study_id: int, after: int) -> Iterator[Rows]:
        found = self._rows().where(TRIALS.c.study_id == study_id, TRIALS.c.trial_id > sa.bindparam("after"))
        found = found.order_by(TRIALS.c.trial_id).limit(AT_ONCE)
        while rows := self._all(found, {"after": after}):
            after = rows[-1][0]
            yield _made(rows)
            if len(rows) < AT_ONCE:
                return

    def trials_by_id(self, study_id: int, trial_ids: Sequence[int]) -> Rows:
        return self._among(study_id, TRIALS.c.trial_id, trial_ids)

    def trials_by_number(self, study_id: int, numbers: Sequence[int]) -> Rows:
        return self._among(study_id, TRIALS.c.number, numbers)

    def _among(self, study_id: int, column: sa.ColumnClause[Any], values: Sequence[int]) -> Rows:
        found: list[Any] = []
        for start in range(0, len(values), IDS_AT_ONCE):
            among = column.in_([int(value) for value in values[start : start + IDS_AT_ONCE]])
            found += self._all(self._rows().where(TRIALS.c.study_id == study_id, among))
        return _made(found)

    def _rows(self) -> sa.Select[Any]:
        """Trials beside their records, the columns as in Head."""
        ours = sa.and_(RECORDS.c.trial_id == TRIALS.c.trial_id, RECORDS.c.key == ATTRIBUTE)
        heads = (TRIALS.c.trial_id, TRIALS.c.number, TRIALS.c.state, TRIALS.c.datetime_start)
        both = TRIALS.outerjoin(RECORDS, ours)
        return sa.select(*heads, TRIALS.c.datetime_complete, RECORDS.c.value_json).select_from(both)

    def _all(self, statement: sa.Select[Any], values: Mapping[str, Any] | None = None) -> Sequence[Any]:
        with self.engine.connect() as connection:  # given back before anything is done with the rows
            return connection.execute(statement, values).all()


class ThroughOptuna:
    """The same rows through Optuna's own calls: slow at thousands of trials, right for tables of any version."""

    def __init__(self, storage: RDBStorage) -> None:
        self.storage = storage

    def studies(self) -> dict[str, int]:
        return {study.study_name: study._study_id for study in self.storage.get_all_studies()}

    def summaries(self) -> list[Summary]:
        found = []
        for study_id in self.studies().values():
            trials = self._trials(study_id)
            for state in sorted({trial.state for trial in trials}):
                among = [trial for trial in trials if trial.state == state]
                first = min((t.datetime_start for t in among if t.datetime_start is not None), default=None)
                last = max((t.datetime_complete for t in among if t.datetime_complete is not None), default=None)
                found.append(Summary(study_id, state.name, len(among), first, last))
        return found

    def attributes(self, study_id: int, *, only: str | None = None) -> dict[str, str]:
        found = self.storage.get_study_user_attrs(study_id)
        return {key: json.dumps(value) for key, value in found.items() if only in (None, key)}

    def states(self, study_id: int, after: int = 0) -> dict[str, int]:
        return dict(Counter(trial.state.name for trial in self._trials(study_id) if trial._trial_id > after))

    def first_and_last(self, study_id: int) -> Head:
        trials = self._trials(study_id)
        return _rows(trials[:1] + trials[-1:]).head

    def count(self, study_id: int, up_to: int) -> int:
        return sum(trial._trial_id <= up_to for trial in self._trials(study_id))

    def trials(self, study_id: int, after: int) -> Iterator[Rows]:
        if trials := [trial for trial in self._trials(study_id) if trial._trial_id > after]:
            yield _rows(trials)

    def trials_by_id(self, study_id: int, trial_ids: Sequence[int]) -> Rows:
        wanted = set(trial_ids)
        return _rows([trial for trial in self._trials(study_id) if trial._trial_id in wanted])

    def trials_by_number(self, study_id: int, numbers: Sequence[int]) -> Rows:
        wanted = set(numbers)
        return _rows([trial for trial in self._trials(study_id) if trial.number in wanted])

    def _trials(self, study_id: int) -> list[FrozenTrial]:
        return sorted(self.storage.get_all_trials(study_id, deepcopy=False), key=lambda trial: trial._trial_id)


def _made(rows: Sequence[Any]) -> Rows:
    *head, records = zip(*rows, strict=True) if rows else ((),) * 6
    return Rows(Head(*head), records)


def _rows(trials: Sequence[FrozenTrial]) -> Rows:
    stored = [trial.user_attrs.get(ATTRIBUTE) for trial in trials]
    return Rows(Head.of(trials), [None if record is None else json.dumps(record) for record in stored])
