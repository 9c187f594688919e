"""Returns Optuna storages and studies, opened with care: nothing is created by reading, no password is ever shown.

A storage is given as a path ("runs/tiny.db"), a SQLite URL ("sqlite:///runs/tiny.db") or the URL of another database
("postgresql://host/studies"). All that goes wrong is a StorageError of one line.
"""

from __future__ import annotations

import hashlib
import os
import re
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
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from explorer.metrics import metrics
from explorer.profile.lease import exclusive
from search_spaces.errors import InputError

ATTRIBUTE = "vitscape"  # the one user attribute of ours, on studies and on trials
STUDY_FORMAT = "vitscape/study@1"
BUSY_SECONDS = 60.0  # how long SQLite waits for another connection's lock
CONNECT_SECONDS = 10  # how long a database server may take to answer
DRIVER_PACKAGES = {"psycopg": "'psycopg[binary]'", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}
NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "beegfs", "gpfs", "ceph", "fuse.sshfs"}


class StorageError(InputError):
    """A storage or study that cannot be used; one line, without passwords."""


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
            return RDBStorage(url, engine_kwargs={"connect_args": _connect_args(url)}, skip_table_creation=must_exist)
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
            arguments = _connect_args(url)
            return sqlalchemy.create_engine(
                url, connect_args=arguments, isolation_level="AUTOCOMMIT", pool_pre_ping=True
            )
        connect = _reader(path, url)
        return sqlalchemy.create_engine(
            f"sqlite:///{path}", creator=connect, isolation_level="AUTOCOMMIT", poolclass=NullPool
        )


def _sqlite(path: Path, connect: partial[sqlite3.Connection], *, skip_table_creation: bool) -> RDBStorage:
    return RDBStorage(f"sqlite:///{path}", engine_kwargs={"creator": connect}, skip_table_creation=skip_table_creation)


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
    epochs, stop = record["proxy"]["epochs"], record["proxy"]["stop_epoch"]
    return f"{record['data']['source']}, {epochs if stop in (None, epochs) else f'{stop} of {epochs}'} epochs"


def study_key(study: optuna.Study) -> str:
    """A name for the lock on a study: the same for every process of this machine that opens it."""
    url = getattr(study._storage, "url", None) or getattr(getattr(study._storage, "_backend", None), "url", "")
    return "study-" + hashlib.sha256(f"{url}\n{study.study_name}".encode()).hexdigest()[:16]


def hide_password(url: str) -> str:
    """The URL to show: the password as ***, the query dropped (drivers take passwords there too).

    >>> hide_password("postgresql://ann:secret@db.lab/studies?sslpassword=x")
    'postgresql://ann:***@db.lab/studies'
    """
    scheme, slashes, rest = url.partition("://")
    if not slashes:
        scheme, rest = "", url
    before, _, query = rest.partition("?")
    if "@" in query:  # a "?" inside the password, or an "@" inside the query: the parts cannot be told apart
        return f"{scheme}{slashes}***"
    user, at, host = before.rpartition("@")
    return f"{scheme}{slashes}" + (re.sub(":.*", ":***", user, flags=re.DOTALL) + at) * bool(at) + host


def sqlite_path(url: str) -> Path | None:
    """The absolute path of a SQLite storage, given as a URL or as a bare path; None for another database."""
    if "://" not in url:
        if not url.strip() or url == ":memory:" or "@" in url:
            raise StorageError(f"not a storage: {hide_password(url)!r}; give a path such as runs/tiny.db or a URL")
        return Path(url).expanduser().absolute()
    scheme, _, rest = url.partition("://")
    if scheme not in ("sqlite", "sqlite+pysqlite"):
        return None
    if not rest.startswith("/") or rest in ("/", "/:memory:") or rest.startswith("/file:") or "?" in rest:
        raise StorageError(f"not a SQLite file: {hide_password(url)}; write sqlite:///runs/tiny.db or the path alone")
    return Path(rest[1:]).expanduser().absolute()


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Turns what the database, its driver or Optuna raises into one StorageError; for long reads as well."""
    try:
        yield
    except ImportError as error:  # the driver's, or Optuna's own around it
        module = getattr(error.__cause__ or error, "name", None) or "of its database driver"
        package = DRIVER_PACKAGES.get(module, module)
        raise StorageError(f"{hide_password(url)} needs the package {module}: pip install {package}") from None
    except sqlalchemy.exc.NoSuchModuleError:
        raise StorageError(f"{hide_password(url)}: no such database; write sqlite:///..., postgresql://...") from None
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.OptunaError, sqlite3.Error, OSError, RuntimeError) as e:
        raise StorageError(f"cannot use {hide_password(url)}: {_reason(e, url)}") from None
    except InputError:
        raise
    except ValueError as error:  # SQLAlchemy's parser, on a port that is no number
        raise StorageError(f"cannot use {hide_password(url)}: {_reason(error, url)}") from None


def _reason(error: BaseException, url: str) -> str:
    """The first line of the innermost message, unless it might quote a password."""
    if isinstance(error, optuna.exceptions.StorageInternalError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig is not None:
        error = error.orig
    user, at, _ = url.partition("://")[2].rpartition("@")
    if at and (":" not in user or re.search("[@:/?]", user.partition(":")[2])):
        return "malformed URL; percent-encode @ : / ? in the password"
    secrets = [user.partition(":")[2], *re.findall("=([^&]+)", url.partition("?")[2])]
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return type(error).__name__ if any(secret and secret in line for secret in secrets) else line


def _connect_args(url: str) -> dict[str, Any]:
    """A time limit for connecting, where the driver knows one by this name."""
    parsed = make_url(url)
    known = parsed.get_dialect().driver in ("psycopg", "psycopg2", "pymysql", "mysqldb")
    return {"connect_timeout": CONNECT_SECONDS} if known and "connect_timeout" not in parsed.query else {}


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
