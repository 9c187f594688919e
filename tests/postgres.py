"""A PostgreSQL server of the tests' own, which they may take away and bring back."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

USER, PASSWORD = "ann", "s3cret of ann"  # of the one role that needs a password
HBA = f"host all {USER} 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\nlocal all all trust\n"


def binaries() -> Path | None:
    """The folder of PostgreSQL's programs, of the latest version; None where it is not installed."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    found = debian[-1] if debian else shutil.which("initdb")
    return None if found is None else Path(found).resolve().parent


class Server:
    """A server on a port of 127.0.0.1 whose files lie in a folder."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs, self.folder = programs, folder
        self.port = free_port()
        # the server refuses to run as root
        self.owner: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
        if self.owner:
            shutil.chown(folder, **self.owner)
        self._do("initdb", "-D", str(self.data), "-A", "trust", "-U", "postgres", "--no-sync")
        (self.data / "pg_hba.conf").write_text(HBA)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        """Returns when the server answers; at once where it runs."""
        if self._do("pg_ctl", "-D", str(self.data), "status", check=False):
            options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
            log = str(self.folder / "log")
            self._do("pg_ctl", "-D", str(self.data), "-l", log, "-o", options, "-w", "-t", "30", "start")

    def stop(self) -> None:
        """Ends the server as a power cut would: nothing is told to those who are connected."""
        self._do("pg_ctl", "-D", str(self.data), "-m", "immediate", "-w", "stop", check=False)

    def kill(self) -> None:
        """Kills the server's first process; returns when those that it began are gone, too."""
        os.kill(int((self.data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        time.sleep(1)

    def url(self, user: str = "postgres") -> str:
        """The URL of a new, empty database that belongs to a role, without a password."""
        name = f"d{uuid.uuid4().hex}"
        self.run(f"CREATE DATABASE {name} OWNER {user}")
        return f"postgresql://{user}@127.0.0.1:{self.port}/{name}"

    def run(self, statement: str) -> None:
        """Has the server do a statement."""
        import psycopg

        place = f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"
        with psycopg.connect(place, autocommit=True) as connection:
            connection.execute(statement)

    def _do(self, program: str, *words: str, check: bool = True) -> int:
        """The exit status of one of PostgreSQL's programs; without output: the server would keep a pipe of it."""
        command = [str(self.programs / program), *words]
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.run(command, cwd=self.folder, timeout=60, check=check, **quiet, **self.owner).returncode


@contextmanager
def launched(programs: Path) -> Iterator[Server]:
    """A server that runs, in a temporary folder, with a role that needs a password."""
    folder = Path(tempfile.mkdtemp(prefix="vitscape-postgres-"))
    server = Server(programs, folder)
    try:
        server.start()
        server.run(f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'")
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])
