"""Returns Optuna storages and studies, opened with care: nothing is created by reading, no password is ever shown.

A storage is given as a path ("runs/tiny.db"), a SQLite URL ("sqlite:///runs/tiny.db") or the URL of another database
("postgresql://host/studies"). All that goes wrong is a StorageError of one line.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import optuna
import sqlalchemy
import sqlalchemy.exc
from optuna.storages import RDBStorage
from sqlalchemy.pool import NullPool

from explorer.fidelity import in_words
from explorer.metrics import metrics
from explorer.patient_storage import PatientStorage
from explorer.profile.lease import exclusive
from explorer.storage_url import StorageError, connection, hide_password, malformed, passwords, reason, sqlite_path
from search_spaces.errors import InputError

__all__ = [  # with what callers need of the URL
    "ATTRIBUTE",
    "STUDY_FORMAT",
    "StorageError",
    "checked_record",
    "hide_password",
    "load_study",
    "open_engine",
    "open_storage",
    "recorded_data",
    "recorded_objectives",
    "sqlite_path",
    "storage_errors",
    "study_data",
    "study_key",
    "study_objectives",
    "study_record",
    "writable_study",
]

ATTRIBUTE = "vitscape"  # the one user attribute of ours, on studies and on trials
STUDY_FORMAT = "vitscape/study@1"
MALFORMED = "malformed URL; percent-encode @ : / ? in the password"
BUSY_SECONDS = 60.0  # how long SQLite waits for another connection's lock
DRIVER_PACKAGES = {"psycopg": "'vitscape[postgres]'", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}
NO_TABLE = "42P01"  # PostgreSQL's word for it
NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "beegfs", "gpfs", "ceph", "fuse.sshfs"}


class WalConnection(sqlite3.Connection):
    """A SQLite connection under which readers and the one writer do not wait for each other."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        try:
            (mode,) = self.execute("PRAGMA journal_mode=WAL").fetchone()
        except sqlite3.OperationalError:  # a file system without shared memory: the default journal works too
            return
        if mode == "wal":  # only there is NORMAL safe against corruption
            self.execute("PRAGMA synchronous=NORMAL")


def open_storage(url: str, *, must_exist: bool) -> RDBStorage:
    """The Optuna storage at a URL or path.

    must_exist=True is for readers: a SQLite file is opened read-only and has to be there. must_exist=False is for the
    writer: the file, its folder and Optuna's tables are made where missing, in WAL mode.
    """
    path = sqlite_path(url)
    if path is not None and path.is_dir():
        raise StorageError(f"{hide_password(url)} is a folder; give the file in it, such as runs/tiny.db")
    with storage_errors(url):
        if path is None:
            return _server(url, must_exist=must_exist)
        # The creator instead of the URL: a path with %, ? or # in it then needs no quoting rules.
        if must_exist:
            return _sqlite(path, _reader(path, url), skip_table_creation=True)
        with exclusive("storage-" + hashlib.sha256(str(path).encode()).hexdigest()[:16]):  # two would make the tables
            return _sqlite(path, _writer(path, url), skip_table_creation=False)


def open_engine(url: str) -> sqlalchemy.Engine:
    """What connects to the existing database at a URL or path, to read: each statement a transaction of its own.

    A SQLite file is opened read-only, and anew for each connection, so that a file which took its place is seen.
    """
    path = sqlite_path(url)
    with storage_errors(url):
        if path is None:
            bare, arguments = connection(url)
            return sqlalchemy.create_engine(
                bare, connect_args=arguments, isolation_level="AUTOCOMMIT", pool_pre_ping=True
            )
        connect = _reader(path, url)
        return sqlalchemy.create_engine(
            f"sqlite:///{path}", creator=connect, isolation_level="AUTOCOMMIT", poolclass=NullPool
        )


def _sqlite(path: Path, connect: partial[sqlite3.Connection], *, skip_table_creation: bool) -> RDBStorage:
    return RDBStorage(f"sqlite:///{path}", engine_kwargs={"creator": connect}, skip_table_creation=skip_table_creation)


def _server(url: str, *, must_exist: bool) -> RDBStorage:
    """The storage on a database server: a patient one for a writer, a plain one for a reader, who rather knows soon."""
    bare, arguments = connection(url)
    if must_exist:
        try:
            return RDBStorage(bare, engine_kwargs={"connect_args": arguments}, skip_table_creation=True)
        except optuna.exceptions.StorageInternalError as error:
            if getattr(getattr(error.__cause__, "orig", None), "sqlstate", None) != NO_TABLE:
                raise
            raise StorageError(f"{hide_password(url)} has no studies yet; vitscape search makes one") from None
    for tries_left in (2, 1, 0):
        try:
            return PatientStorage(bare, {"connect_args": arguments}, shown=hide_password(url))
        except (sqlalchemy.exc.IntegrityError, sqlalchemy.exc.ProgrammingError):
            if not tries_left:  # not another driver, which began at the same moment and made the tables first
                raise
    raise AssertionError


def load_study(name: str | None, url: str) -> optuna.Study:
    """The Vitscape study of this name, to read; the only study of the storage where name is None."""
    storage = open_storage(url, must_exist=True)
    with storage_errors(url):
        names = sorted(optuna.get_all_study_names(storage))
        listed = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
        if not names:
            raise StorageError(f"{hide_password(url)} has no studies yet; vitscape search makes one")
        if name is None and len(names) > 1:
            raise StorageError(f"{hide_password(url)} has {len(names)} studies; name one with --study: {listed}")
        if name is not None and name not in names:
            raise StorageError(f"no study {name!r} in {hide_password(url)}; there are: {listed}")
        study = optuna.load_study(study_name=name or names[0], storage=storage)
        study_record(study)
        return study


def writable_study(name: str | None, url: str) -> optuna.Study:
    """The Vitscape study of this name, which has to be there, to write to; as load_study otherwise."""
    name = load_study(name, url).study_name
    path = sqlite_path(url)
    if path is not None and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        raise StorageError(f"{hide_password(url)} cannot be written to; copy it to a folder of yours")
    storage = open_storage(url, must_exist=False)
    with storage_errors(url):
        return optuna.load_study(study_name=name, storage=storage)


def study_record(study: optuna.Study) -> dict[str, Any]:
    """What Vitscape keeps of a study: format, space, space_name, objectives, data, conditions, limits."""
    return checked_record(study.study_name, study.user_attrs.get(ATTRIBUTE))


def checked_record(name: str, stored: Any) -> dict[str, Any]:
    """The record that a study of this name has in its attribute; StorageError where that is none of ours."""
    if stored is None:
        raise StorageError(f"study {name!r} was not made by vitscape search: it has no record of its space")
    found = stored.get("format") if isinstance(stored, dict) else None
    if found != STUDY_FORMAT:
        raise StorageError(f"study {name!r} is {found}, this Vitscape reads {STUDY_FORMAT}")
    return dict(stored)


def study_objectives(study: optuna.Study) -> tuple[str, ...]:
    """Names of the study's objectives, in the order of its trials' values: ("accuracy", "latency")."""
    return recorded_objectives(study_record(study))


def recorded_objectives(record: Mapping[str, Any]) -> tuple[str, ...]:
    """As study_objectives, of a study's record."""
    return tuple(row.name for row in metrics(record["objectives"]))


def study_data(study: optuna.Study) -> str:
    """What the study's accuracies stand for, in words: "cues, 8 of 12 epochs"; "" where nothing is trained."""
    return recorded_data(study_record(study))


def recorded_data(record: Mapping[str, Any]) -> str:
    """As study_data, of a study's record."""
    if "accuracy" not in record["objectives"]:
        return ""
    return in_words(record["data"]["source"], record["proxy"])


def study_key(study: optuna.Study) -> str:
    """A name for the lock on a study: the same for every process of this machine that opens it."""
    url = getattr(study._storage, "url", None) or getattr(getattr(study._storage, "_backend", None), "url", "")
    return "study-" + hashlib.sha256(f"{url}\n{study.study_name}".encode()).hexdigest()[:16]


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Turns what the database, its driver or Optuna raises into one StorageError; for long reads as well."""
    try:
        yield
    except InputError:
        raise
    except ImportError as error:  # the driver's, or Optuna's own around it
        module = getattr(error.__cause__ or error, "name", None) or "of its database driver"
        package = DRIVER_PACKAGES.get(module, module)
        raise StorageError(f"{hide_password(url)} needs the package {module}: pip install {package}") from None
    except sqlalchemy.exc.NoSuchModuleError:
        raise StorageError(f"{hide_password(url)}: no such database; write sqlite:///..., postgresql://...") from None
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.OptunaError, sqlite3.Error, OSError, RuntimeError) as e:
        raise StorageError(f"cannot use {hide_password(url)}: {_reason(e, url)}") from None
    except ValueError as error:  # SQLAlchemy's parser, on a port that is no number
        raise StorageError(f"cannot use {hide_password(url)}: {_reason(error, url)}") from None


def _reason(error: BaseException, url: str) -> str:
    """What an error says in one line, unless it might quote a password."""
    return MALFORMED if malformed(url) else reason(error, passwords(url))


def _reader(path: Path, url: str) -> partial[sqlite3.Connection]:
    """What connects to an existing Optuna file without ever writing to it."""
    if not path.exists():
        raise StorageError(f"no storage at {hide_password(url)}: the file does not exist")
    if "studies" not in _tables(path):
        raise StorageError(f"{hide_password(url)} is a SQLite file, but not an Optuna storage")
    return partial(sqlite3.connect, _read_only(path), uri=True, timeout=BUSY_SECONDS, check_same_thread=False)


def _writer(path: Path, url: str) -> partial[sqlite3.Connection]:
    """What connects to a SQLite file that Optuna may create."""
    if path.exists() and path.stat().st_size and (tables := _tables(path)) and "studies" not in tables:
        listed = ", ".join(sorted(tables)[:3])
        raise StorageError(f"{hide_password(url)} is a SQLite file with other tables ({listed}); take a new file")
    path.parent.mkdir(parents=True, exist_ok=True)
    factory = sqlite3.Connection if _on_network(path) else WalConnection
    return partial(sqlite3.connect, str(path), timeout=BUSY_SECONDS, check_same_thread=False, factory=factory)


def _tables(path: Path) -> set[str]:
    """Names of the tables of a SQLite file; sqlite3.DatabaseError where it is not one."""
    connection = sqlite3.connect(_read_only(path), uri=True, timeout=BUSY_SECONDS)
    try:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    finally:
        connection.close()


def _read_only(path: Path) -> str:
    """The file as SQLite's read-only URI; immutable where SQLite could not put its -shm file beside a WAL file."""
    frozen = not os.access(path.parent, os.W_OK) and not Path(f"{path}-wal").exists()
    return f"file:{quote(str(path))}?mode=ro" + "&immutable=1" * frozen


def _on_network(path: Path) -> bool:
    """Whether the file lies on a network file system, where WAL's shared memory does not work (Linux; else False)."""
    mounts = Path("/proc/self/mounts")
    if not mounts.exists():
        return False
    kinds = {Path(target): kind for _, target, kind, *_ in map(str.split, mounts.read_text().splitlines())}
    return next((kinds[p] in NETWORK_FILE_SYSTEMS for p in path.parents if p in kinds), False)
