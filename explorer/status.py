"""What a study's search is at, from its storage alone: from any machine, also while it runs, at any size.

    look = Look(study, "runs/tiny.db")
    look.status().evaluated

Who searches is told by the claim that the searching process writes every ten seconds (explorer/search/driver.py), and
so is the step of each running trial; all else is told by the trials.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import pandas as pd

from explorer import results
from explorer.analysis import faults
from explorer.analysis.pace import evaluated, hours_left, pace
from explorer.analysis.saved import Trainings, trainings
from explorer.limits import Limits
from explorer.metrics import metric
from explorer.reader import Reading, Storage
from explorer.record import Status as TrialStatus
from explorer.search.driver import BEAT_SECONDS, DEAD_BEATS, claim, has_ended
from explorer.storage import storage_errors

if TYPE_CHECKING:
    import optuna

STATUSES = (*get_args(TrialStatus), "running", "waiting")
QUIET_SECONDS = DEAD_BEATS * BEAT_SECONDS  # a claim that is older is not of a process that goes on as it should
Life = Literal[
    "running",
    "quiet",  # a process of its number is on this machine, but has not written for a while
    "elsewhere",  # of another machine, at one look: only its claim's time tells, by a clock that may differ
    "ended",
    "dead",  # it ended without a word
]


@dataclass(frozen=True)
class Searcher:
    """The process that searches a study, or searched it last. Times are by that process's clock."""

    life: Life
    engine: str | None
    host: str
    pid: int
    began_at: datetime | None
    heard_at: datetime | None  # when it wrote its claim last
    heard_seconds_ago: float | None  # by this machine's clock: negative where that is behind
    ended_at: datetime | None


@dataclass(frozen=True)
class Running:
    """A trial under way, or left behind by a process that died."""

    number: int
    step: str | None  # what the searching process said last
    where: str | None  # node and process; None: the searching process itself
    seconds: float | None  # since its start; None where its writer may keep another time zone


@dataclass(frozen=True)
class Failure:
    """Failed trials of one reason, numbers in it left out."""

    reason: str
    trials: int
    last_trial: int  # number


@dataclass(frozen=True)
class Front:
    """The study's front. Points have number, what, and the objectives by column: accuracy (%), latency_ms."""

    size: int
    hypervolume: float  # in the product of the objectives' units
    reference: dict[str, float]  # of the hypervolume, by column
    knee: dict[str, Any]
    limit: dict[str, float]  # the study's first, by column; empty where it has none
    best_under_limit: dict[str, Any] | None


@dataclass(frozen=True)
class Status:
    """What a search is at."""

    study: str
    storage: str  # without its password
    space: str
    objectives: tuple[str, ...]
    data: str  # what the accuracies stand for
    searcher: Searcher | None  # None: nobody has searched it, or an early Vitscape, which left no claim
    trials: dict[str, int]  # by status
    evaluated: int  # of them, those that count towards the trials asked for
    trials_asked: int | None
    hours_asked: float | None  # of the last run
    train_seconds_asked: float | None  # of training in the study
    patience: int | None  # trials of the last run over which the hypervolume has to grow
    trials_per_hour: float | None  # evaluated ones
    recent_trials_per_hour: float | None  # over the last 30
    hours_searched: float  # pauses left out
    device_hours: float
    hours_left_for_trials: float | None  # at the recent rate
    hours_left_of_run: float | None  # of the hours asked for; None where it does not run
    hours_left: float | None  # the shorter of the two
    trainings: Trainings | None  # what ran, was ended early or not begun; None where nothing is trained
    front: Front | None
    running: tuple[Running, ...]
    failures: tuple[Failure, ...]  # by reason, the last one first

    @property
    def over(self) -> bool:
        """Whether no process searches the study, as far as can be told."""
        return self.searcher is None or self.searcher.life in ("ended", "dead")

    def plain(self) -> dict[str, Any]:
        """The same as plain data for JSON, times in UTC."""
        found = asdict(self)
        found["trainings"] = None if self.trainings is None else self.trainings._asdict()
        if self.searcher is not None:
            times = {name: value for name, value in found["searcher"].items() if isinstance(value, datetime)}
            found["searcher"] |= {name: value.isoformat(timespec="seconds") for name, value in times.items()}
        return found


class Watched(NamedTuple):
    """What several looks tell of a claim: clocks of two machines differ, one look cannot tell whether it changes."""

    since: float  # when its present beat was seen first, by this machine's monotonic clock
    changed: bool  # whether an earlier beat was seen

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.since


class Look:
    """Looks at a study, again and again: each look reads only what is new. Nothing is ever written."""

    def __init__(self, study: optuna.Study, url: str) -> None:
        self.name, self._through, self._storage = study.study_name, study._storage, Storage(url)
        self._reading: Reading | None = None
        self._beat: Any = None
        self._watched: Watched | None = None

    def status(self) -> Status:
        """What the search is at now; StorageError of one line where that cannot be read."""
        with storage_errors(self._storage.url):  # before the trials: where a search has ended these are then the last
            names = self._storage.source.studies()
            found = claim(self._through, names[self.name]) if self.name in names else None
        self._reading = self._storage.read(self.name, self._reading)
        return status_of(self._reading, self._storage.shown, found, time.time(), self._watch(found))

    def _watch(self, found: Mapping[str, Any] | None) -> Watched | None:
        beat = None if found is None else (found["owner"], found["beat"])
        if beat is None:
            self._watched = None
        elif self._watched is None or beat != self._beat:
            self._watched = Watched(time.monotonic(), changed=self._watched is not None)
        self._beat = beat
        return self._watched


def status_of(
    reading: Reading, shown: str, found: Mapping[str, Any] | None, now: float, watched: Watched | None = None
) -> Status:
    """What a search is at, of what was read of its study and its claim; `now` in seconds since 1970."""
    frame, told = reading.frame, dict(found or {})
    searcher = None if found is None else _searcher(told, now, watched)
    over = searcher is None or searcher.life in ("ended", "dead")
    speed, asked = pace(frame), told.get("trials")
    for_trials = None if asked is None else hours_left(speed, asked)
    of_run = None if over else _hours_of_run(told)
    return Status(
        study=reading.name,
        storage=shown,
        space=reading.record["space_name"],
        objectives=reading.objectives,
        data=reading.data,
        searcher=searcher,
        trials={status: int(frame["status"].isin([status]).sum()) for status in STATUSES},
        evaluated=int(evaluated(frame).sum()),
        trials_asked=asked,
        hours_asked=told.get("hours"),
        train_seconds_asked=told.get("train_seconds"),
        patience=told.get("patience"),
        trials_per_hour=speed.per_hour,
        recent_trials_per_hour=speed.recent_per_hour,
        hours_searched=speed.hours,
        device_hours=speed.device_hours,
        hours_left_for_trials=for_trials,
        hours_left_of_run=of_run,
        hours_left=min((left for left in (for_trials, of_run) if left is not None), default=None),
        trainings=trainings(frame, reading.record) if "accuracy" in reading.objectives else None,
        front=_front(reading),
        running=(*_running(frame, told.get("running", {}), now), *_in_full(told)),
        failures=_failures(frame),
    )


def life(found: Mapping[str, Any], now: float, watched: Watched | None = None) -> Life:
    """Whether the process of a claim lives, as far as that can be told."""
    if has_ended(found):
        return "dead" if found.get("ended") is None else "ended"
    if found["host"] == platform.node():
        return "running" if now - found.get("at", now) <= QUIET_SECONDS else "quiet"
    if watched is not None and watched.seconds > QUIET_SECONDS:
        return "dead"
    return "running" if watched is not None and watched.changed else "elsewhere"


def _searcher(found: Mapping[str, Any], now: float, watched: Watched | None) -> Searcher:
    heard, lives = found.get("at"), life(found, now, watched)
    ago = None if heard is None else now - heard
    if lives == "running" and watched is not None and watched.changed:  # by this clock alone
        ago = watched.seconds
    return Searcher(
        life=lives,
        engine=found.get("engine"),
        host=found["host"],
        pid=found["pid"],
        began_at=_time(found.get("began")),
        heard_at=_time(heard),
        heard_seconds_ago=None if ago is None else round(ago, 1),
        ended_at=_time(found.get("ended")),
    )


def _hours_of_run(found: Mapping[str, Any]) -> float | None:
    """What is left of the hours asked for, by the claim's own clock alone, as of its last beat."""
    if found.get("hours") is None or not {"at", "began"} <= found.keys():
        return None
    return float(max(found["hours"] - (found["at"] - found["began"]) / 3600, 0.0))


def _front(reading: Reading) -> Front | None:
    """The study's front; None where no trial is complete."""
    frame, objectives = reading.frame, reading.objectives
    knee = results.knee(frame, objectives)
    if knee is None:
        return None
    volume = results.hypervolume(frame, objectives)
    reference = {metric(name).column: value for name, value in volume.attrs["reference"].items()}
    limits = Limits(**reading.record.get("limits", {})).given()
    first = dict(list(limits.items())[:1])
    goal = "accuracy" if "accuracy" in objectives else objectives[0]
    best = results.best_under(frame, goal, **first) if first else None
    return Front(
        size=len(results.front(frame, objectives)),
        hypervolume=float(volume.iloc[-1]),
        reference=reference,
        knee=_point(knee, objectives, frame),
        limit={metric(name).column: value for name, value in first.items()},
        best_under_limit=None if best is None else _point(best, objectives, frame),
    )


def _point(row: pd.Series[Any], objectives: tuple[str, ...], frame: pd.DataFrame) -> dict[str, Any]:
    """A row of the front; the objectives have the columns that their names say, also where the frame's is another."""
    columns = zip(objectives, results.metrics_of(frame, objectives), strict=True)
    values = {metric(name).column: None if pd.isna(row[of.column]) else float(row[of.column]) for name, of in columns}
    return {"number": int(row["number"]), "what": str(row["what"])} | values


def _running(frame: pd.DataFrame, told: Mapping[str, Any], now: float) -> tuple[Running, ...]:
    rows = frame.loc[frame["status"].isin(["running"]), ["number", "started"]]
    found = []
    for number, started in zip(rows["number"], rows["started"], strict=True):
        step = told.get(str(number), {})
        unknown = pd.isna(started) or frame.attrs.get("remote", False)
        seconds = None if unknown else round(max(now - started.timestamp(), 0.0), 1)
        found.append(Running(int(number), step.get("step") or None, step.get("where") or None, seconds))
    return tuple(found)


def _in_full(told: Mapping[str, Any]) -> list[Running]:
    """Finalists that are trained now: trials that have ended, and so are not under way to Optuna."""
    among = told.get("running", {}) if told.get("finalists") else {}
    return [Running(int(number), step.get("step"), step.get("where") or None, None) for number, step in among.items()]


def _failures(frame: pd.DataFrame) -> tuple[Failure, ...]:
    rows = faults.failures(frame).sort_values("example", ascending=False)
    columns = zip(rows["reason"], rows["trials"], rows["example"], strict=True)
    return tuple(Failure(str(reason), int(trials), int(last)) for reason, trials, last in columns)


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)
