"""Returns how the URL of a storage is read, opened and shown: its driver, and its password, which is never shown.

A password that is not in the URL comes from $VITSCAPE_STORAGE_PASSWORD, else from the file that
$VITSCAPE_STORAGE_PASSWORD_FILE names, else from where the driver looks by itself ($PGPASSWORD, ~/.pgpass).
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import sqlalchemy.exc
from optuna.exceptions import StorageInternalError
from sqlalchemy.engine import URL, make_url

from search_spaces.errors import InputError

PASSWORD, PASSWORD_FILE = "VITSCAPE_STORAGE_PASSWORD", "VITSCAPE_STORAGE_PASSWORD_FILE"
CONNECT_SECONDS = 10  # how long a database server may take to answer
LIBPQ = {  # without these a connection that was cut without a word would be waited on for a quarter of an hour, or two
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": 30,  # seconds
    "keepalives_interval": 10,  # seconds
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # ms
}
LIMITS: dict[str, dict[str, int]] = {  # driver -> the limits of time that it knows
    "psycopg": LIBPQ,
    "psycopg2": LIBPQ,
    "pymysql": {"connect_timeout": CONNECT_SECONDS},
    "mysqldb": {"connect_timeout": CONNECT_SECONDS},
}


class StorageError(InputError):
    """A storage or study that cannot be used; one line, without passwords."""


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


def connection(url: str) -> tuple[str, dict[str, Any]]:
    """(URL without its password, arguments for the driver): what opens the database at a URL, which is not SQLite.

    The password is among the arguments, so that whatever shows or keeps the URL of an engine has none to show, and so
    that a study has one URL wherever the password came from.

    Raises:
        StorageError: the file of the password cannot be read; one line.
    """
    parsed = _with_driver(make_url(url))
    password = parsed.password or parsed.query.get("password") or kept_password(url)
    arguments: dict[str, Any] = {"password": password} if password else {}
    limits = LIMITS.get(parsed.get_dialect().driver, {})
    arguments |= {name: value for name, value in limits.items() if name not in parsed.query}
    query = parsed.difference_update_query(["password"]).query
    place = (parsed.host, parsed.port, parsed.database)
    bare = URL.create(parsed.drivername, parsed.username, None, *place, query)
    return bare.render_as_string(hide_password=False), arguments


def kept_password(url: str) -> str | None:
    """The password that the environment keeps for storages, itself or in a file; None where it keeps none."""
    password, name = os.environ.get(PASSWORD), os.environ.get(PASSWORD_FILE)
    if password or not name:
        return password or None
    try:  # the file is not named in an error: some write the password where its file should be
        password = Path(name).expanduser().read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except (OSError, ValueError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise StorageError(f"{hide_password(url)}: the file that {PASSWORD_FILE} names cannot be read: {why}") from None
    if not password:
        raise StorageError(f"{hide_password(url)}: the file that {PASSWORD_FILE} names is empty")
    return password


def passwords(url: str) -> set[str]:
    """All that must not be shown of a URL and of the environment: the password, and every value of the query."""
    user = url.partition("://")[2].rpartition("@")[0]
    found = {user.partition(":")[2], *re.findall("=([^&]+)", url.partition("?")[2]), os.environ.get("PGPASSWORD")}
    with suppress(StorageError):  # then nothing was read that could be shown
        found.add(kept_password(url))
    return {text for secret in found if secret for text in (secret, unquote(secret))}


def reason(error: BaseException, secrets: Collection[str]) -> str:
    """The first line of the innermost message, unless it quotes a password: then what kind of error it is."""
    if isinstance(error, StorageInternalError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, sqlalchemy.exc.PendingRollbackError) and error.__context__ is not None:
        error = error.__context__  # what broke the connection
    if isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig is not None:
        error = error.orig
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return type(error).__name__ if any(secret in line for secret in secrets) else line


def malformed(url: str) -> bool:
    """Whether the parts of a URL cannot be told apart, so that an error might quote half of a password."""
    user, at, _ = url.partition("://")[2].rpartition("@")
    return bool(at) and re.search("[@:/?]", user.replace(":", "", 1)) is not None


def _with_driver(parsed: URL) -> URL:
    """The URL with the driver of PostgreSQL that is there; which one SQLAlchemy takes depends on its version."""
    if parsed.drivername != "postgresql":
        return parsed
    there = [driver for driver in ("psycopg", "psycopg2") if find_spec(driver) is not None]
    return parsed.set(drivername=f"postgresql+{(there or ['psycopg'])[0]}")
