"""An Optuna storage on a database server that waits while the server is gone, instead of ending the search.

A server that restarts, or a network that is down for a minute, then costs a search that minute and nothing else.
"""

from __future__ import annotations

import functools
import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import optuna
import sqlalchemy
import sqlalchemy.exc
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState

from explorer.storage_url import StorageError, passwords, reason

PATIENCE_SECONDS = 600.0  # how long a server may be gone before the search ends
LEAVING_SECONDS = 5.0  # the same while a search ends after Ctrl-C: then somebody waits for it
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds between two tries; each pause is twice the one before
CLOCK_STEP = timedelta(seconds=1)  # the coarsest that a database keeps times
# A server that was not told of a cut would keep the rows of a half-done transaction locked, for hours.
HALF_DONE = "SET idle_in_transaction_session_timeout = '30s'"
# All that Optuna calls to reach the database, but for heartbeats, which ask and tell do not have; other calls are made
# of these.
PATIENT = (
    "delete_study",  # one that is gone already is a KeyError, as ever
    "set_study_user_attr",
    "set_study_system_attr",
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_directions",
    "get_study_user_attrs",
    "get_study_system_attrs",
    "get_all_studies",
    # A trial that was made without an answer is made again. The first one stays RUNNING, or WAITING with the same
    # values: close_interrupted closes the one at the next start, and the other is answered from the record.
    "_create_new_trial",
    "_set_trial_param",  # one that is there already Optuna leaves as it is
    "get_trial_param",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
    "set_trial_system_attr",
    "get_trial",
    "get_trial_user_attrs",
    "get_trial_system_attrs",
    "get_trial_id_from_study_id_trial_number",
    "_get_trials",
    "_get_best_trial_id",
)

OnWait = Callable[[float, str], None]  # (seconds since it is gone, why), before each pause
T = TypeVar("T")
_logger = logging.getLogger(__name__)
# Optuna takes a connection that broke for a statement that was too long, prints it, and goes on to the same error.
_RETRIED = "Falling back to a slower"
logging.getLogger("optuna.storages._rdb.storage").addFilter(lambda line: _RETRIED not in str(line.msg))


class StorageGone(StorageError, StorageInternalError):
    """The server has been gone for too long; one of Optuna's errors as well, for those who expect them."""


class PatientStorage(RDBStorage):
    """Optuna's storage at a URL without a password, each call of which is tried again while the server is gone.

    Making one is not patient: a wrong URL or password shows at once. `shown` is the storage's name in errors.

    Raises:
        StorageGone: of any call, when the server was gone for `patience_seconds`.
    """

    def __init__(self, url: str, engine_kwargs: dict[str, Any], *, shown: str) -> None:
        self.shown = shown
        self.patience_seconds = PATIENCE_SECONDS
        self._heeds_interrupts = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN  # background jobs do not
        self._begin()
        super().__init__(url, {"pool_pre_ping": True, **engine_kwargs})
        self._end_half_done()

    def __getstate__(self) -> dict[Any, Any]:
        ours = ("on_wait", "_leaving", "_given_up", "_gone_since")
        return {name: value for name, value in super().__getstate__().items() if name not in ours}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        self._begin()
        super().__setstate__(state)
        self._end_half_done()

    def _begin(self) -> None:
        self.on_wait: OnWait = _log
        self._leaving = threading.Event()  # a Ctrl-C came: no wait may be long any more
        self._given_up = set[int]()  # threads that have waited in vain: they hear at once that it is still gone
        self._gone_since: float | None = None

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        create = partial(super().create_new_study, directions, study_name)
        return self._patiently(create, partial(self._study_made, directions, study_name))

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        tell = partial(super().set_trial_state_values, trial_id, state, values)
        return self._patiently(tell, partial(self._told, trial_id, state, values, datetime.now() - CLOCK_STEP))

    def _patiently(self, call: Callable[[], T], done: Callable[[], T | None] = lambda: None) -> T:
        """What a call returns in the end; `done`, asked before a repeat, what an unheard try returned."""
        began, pause = None, FIRST_PAUSE
        while True:
            try:
                result = None if began is None else done()
                result = call() if result is None else result
            except (optuna.exceptions.OptunaError, sqlalchemy.exc.SQLAlchemyError) as error:
                if not is_gone(error):
                    raise
                began = began or time.monotonic()
                self._wait(error, began, pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                self._gone_since = None
                self._leaving.clear()
                self._given_up.discard(threading.get_ident())
                return result

    def _wait(self, error: Exception, began: float, pause: float) -> None:
        """Returns after a pause, of a wait that began then; StorageGone where there is no patience left."""
        now = time.monotonic()
        self._gone_since = self._gone_since or now
        kept = filter(None, [self.engine_kwargs.get("connect_args", {}).get("password")])
        why = reason(error, {*passwords(self.url), *kept})
        left = began + self._patience() - now
        if left <= 0:
            self._given_up.add(threading.get_ident())
            raise StorageGone(f"cannot use {self.shown}: {why}; gone for {now - self._gone_since:.0f} s") from None
        try:
            self.on_wait(now - self._gone_since, why)
            (time.sleep if self._leaving.is_set() else self._leaving.wait)(min(pause, left))
            self.remove_session()  # the broken connection's
        except KeyboardInterrupt:
            self._leaving.set()
            raise

    def _patience(self) -> float:
        """How many seconds the server may be gone now."""
        if threading.get_ident() in self._given_up:
            return 0
        if self._heeds_interrupts and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            self._leaving.set()  # a search holds Ctrl-C back while it ends after one, and nobody could end the wait
        return min(self.patience_seconds, LEAVING_SECONDS) if self._leaving.is_set() else self.patience_seconds

    def _study_made(self, directions: Sequence[StudyDirection], name: str | None) -> int | None:
        """The id of the study of this name, if it is as was asked for."""
        made = (study for study in super().get_all_studies() if study.study_name == name)
        return next((study._study_id for study in made if study.directions == list(directions)), None)

    def _told(self, trial_id: int, state: TrialState, values: Sequence[float] | None, asked: datetime) -> bool | None:
        """True where a try has told the trial's state and values already."""
        trial = super().get_trial(trial_id)
        if trial.state != state or (values is not None and trial.values != list(values)):
            return None
        # a trial from the queue that runs is ours if it was begun since; another driver's it was before
        began = trial.datetime_start
        return True if state.is_finished() or (began is not None and began >= asked) else None

    def _end_half_done(self) -> None:
        """Has the server end transactions that nobody goes on with."""
        if self.engine.name == "postgresql":
            sqlalchemy.event.listen(self.engine, "connect", _limit_half_done)
            self.engine.dispose()  # the connections that were made before


def _patient(name: str) -> Callable[..., Any]:
    plain = getattr(RDBStorage, name)

    @functools.wraps(plain)
    def call(self: PatientStorage, *args: Any, **kwargs: Any) -> Any:
        return self._patiently(partial(plain, self, *args, **kwargs))

    return call


for _name in PATIENT:
    setattr(PatientStorage, _name, _patient(_name))


def is_gone(error: BaseException) -> bool:
    """Whether an error says that the server cannot be reached, or does not serve now: then a later try may do."""
    if isinstance(error, StorageInternalError) and error.__cause__ is not None:
        error = error.__cause__
    gone = (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError, sqlalchemy.exc.PendingRollbackError)
    return isinstance(error, gone) or (isinstance(error, sqlalchemy.exc.DBAPIError) and error.connection_invalidated)


def show_waits(study: optuna.Study, on_wait: OnWait) -> None:
    """Has waits for the study's server told to `on_wait`, in any thread, not to the log; a study in a file has none."""
    storage = getattr(study._storage, "_backend", study._storage)
    if isinstance(storage, PatientStorage):
        storage.on_wait = on_wait


def _log(waited: float, why: str) -> None:
    if not waited:
        _logger.warning("the storage is gone, trying again for %.0f minutes: %s", PATIENCE_SECONDS / 60, why)


def _limit_half_done(connection: Any, record: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(HALF_DONE)
    connection.commit()
