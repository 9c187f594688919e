"""The dashboard's server: started and ended by the command line, open to this machine's own browser alone."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from dashboard import assets, guard, server
from explorer.storage import open_storage
from tests.browser import Served, serve
from tests.minis import environment
from tests.studies import add, evaluation, new_study

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("storage") / "tiny.db"
    study = new_study(path)
    for accuracy, latency_ms in ((61.0, 1.0), (72.5, 2.0), (70.0, 3.0)):
        add(study, "complete", evaluation(accuracy, latency_ms))
    return path


@pytest.fixture(scope="module")
def served(storage: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(storage, None, tmp_path_factory.mktemp("served")) as running:
        yield running


def get(served: Served, path: str = "/", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """(status, headers, body) of one request; a header is named with _ for -."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def upgrade(served: Served, **headers: str) -> int:
    """The status that the app's WebSocket is answered with; 101 where it is opened."""
    asked = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": "13"}
    asked |= {"Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec_WebSocket_Protocol": "streamlit"}
    return get(served, "/_stcore/stream", **(asked | headers))[0]


def vitscape(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command that is expected to end by itself."""
    command = [sys.executable, "-m", "explorer.cli", *words]
    variables = {**environment(cwd), "PYTHONPATH": str(ROOT)}
    variables.pop("VITSCAPE_STORAGE", None)
    return subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=60)


def refuses(*words: str, cwd: Path) -> str:
    """The error's one line, after asserting that the command is refused and has made no file."""
    before = files(cwd)
    done = vitscape(*words, cwd=cwd)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert files(cwd) == before
    return done.stderr


def files(folder: Path) -> list[Path]:
    """The files of a folder, without those that SQLite keeps beside a file in WAL mode while it is read."""
    return [path for path in sorted(folder.rglob("*")) if not path.name.endswith(("-shm", "-wal"))]


def test_the_server_listens_on_this_machine_alone(served: Served) -> None:
    listening = [
        line.split()[1]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
        if line.split()[3] == "0A" and int(line.split()[1].split(":")[1], 16) == served.port
    ]
    assert [address.split(":")[0] for address in listening] == ["0100007F"]


def test_a_request_by_this_machines_names_is_answered(served: Served) -> None:
    for host in ("127.0.0.1", f"localhost:{served.port}", "LOCALHOST", "[::1]:8501", "localhost."):
        assert get(served, Host=host)[0] == 200, host


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8501", "localhost@evil.example", "10.0.0.1", ""]
)
def test_a_foreign_host_is_refused_everywhere(served: Served, host: str) -> None:
    for path in ("/", "/_stcore/health", "/_stcore/metrics", "/vitscape/plotly.min.js", "/overview"):
        status, headers, body = get(served, path, Host=host)
        assert status in (400, 403), (path, status)
        assert b"127.0.0.1" in body or status == 400
        assert "access-control-allow-origin" not in headers
    assert upgrade(served, Host=host) in (400, 403)


def test_a_request_without_or_with_two_hosts_is_refused(served: Served) -> None:
    for hosts in ("", "Host: localhost\r\nHost: evil.example\r\n"):
        with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
            connection.sendall(f"GET / HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n".encode())
            assert re.match(rb"HTTP/1.1 40[03]", connection.recv(4096))


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://share.streamlit.io", "http://localhost"]
)
def test_a_page_of_another_origin_can_neither_read_nor_connect(served: Served, origin: str) -> None:
    assert get(served, Origin=origin)[0] == 403
    assert get(served, "/_stcore/host-config", Origin=origin)[0] == 403
    assert upgrade(served, Origin=origin) == 403


def test_its_own_page_connects(served: Served) -> None:
    assert upgrade(served, Origin=served.url) == 101
    assert get(served, Origin=served.url)[0] == 200


@pytest.mark.parametrize("path", ["/", "/overview", "/_stcore/health", "/_stcore/nothing", "/vitscape/plotly.min.js"])
def test_every_answer_says_what_a_browser_may_do_with_it(served: Served, path: str) -> None:
    _, headers, _ = get(served, path)
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    rules = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["frame-ancestors"] == "'none'"
    assert rules["connect-src"] == "'self'"
    sources = {source for rule in rules.values() for source in rule.split()}
    assert not [source for source in sources if "//" in source or "*" in source or source.startswith("http")]
    assert "'unsafe-inline'" not in rules["script-src"]


def test_the_pages_own_inline_script_may_run_and_no_other() -> None:
    policy = guard.content_policy("<script src='x.js'></script><script>alert(1)</script>")
    assert "'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='" in policy
    assert policy.count("sha256-") == 1


@pytest.mark.parametrize("path", ["/", "/compare", "/overview?study=other"])
def test_every_page_asks_for_plotly_at_once(served: Served, path: str) -> None:
    status, _, body = get(served, path)
    (asked,) = re.findall(r'<script async src="\./(vitscape/[^"]+)"', body.decode())
    assert status == 200
    assert get(served, f"/{asked}")[0] == 200


def test_plotly_comes_from_the_installed_package_once(served: Served) -> None:
    status, headers, body = get(served, "/vitscape/plotly.min.js")
    assert status == 200
    assert body == assets.plotly()
    assert headers["content-type"].startswith("text/javascript")
    assert get(served, "/vitscape/plotly.min.js", If_None_Match=headers["etag"])[0] == 304
    assert headers["cache-control"] == "no-cache"
    named = get(served, f"/vitscape/plotly.min.js?v={version('plotly')}")[1]
    assert "immutable" in named["cache-control"]
    zipped = get(served, "/vitscape/plotly.min.js", Accept_Encoding="gzip")
    assert zipped[1]["content-encoding"] == "gzip"
    assert len(zipped[2]) < 0.5 * len(body)


def test_the_agent_interface_and_the_apps_own_files_are_closed(served: Served) -> None:
    for path in (
        "/app/static/../server.py",
        "/vitscape/..%2fserver.py",
        "/static/../../server.py",
        "/%2e%2e/etc/passwd",
    ):
        assert b"import" not in get(served, path)[2], path
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
    connection.request("POST", "/_stcore/agent/interact", body="{}", headers={"Content-Type": "application/json"})
    assert connection.getresponse().status in (403, 404, 405, 503)
    connection.close()


def test_the_server_process_never_loads_torch(served: Served) -> None:
    assert get(served)[0] == 200
    mapped = Path(f"/proc/{served.process.pid}/maps").read_text()
    assert "numpy" in mapped
    assert "libtorch" not in mapped


def test_nothing_is_written_into_the_home_folder(served: Served) -> None:
    assert get(served)[0] == 200
    assert list(served.home.rglob("*")) == []


def test_neither_the_storage_nor_a_password_is_in_a_childs_command_line(served: Served) -> None:
    pid = served.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert not [child for child in children if b"tiny.db" in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_the_log_is_the_address_alone(storage: Path, tmp_path: Path) -> None:
    with serve(storage, None, tmp_path) as running:
        assert get(running)[0] == 200
        assert running.log.read_text() == f"{running.url}  (Ctrl-C ends it)\n"


@pytest.mark.parametrize(("how", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_signal_ends_it_at_once_without_a_traceback(
    storage: Path, tmp_path: Path, how: signal.Signals, status: int
) -> None:
    with serve(storage, None, tmp_path) as running:
        kept = socket.create_connection(("127.0.0.1", running.port), timeout=20)  # a browser that stays connected
        assert upgrade(running) == 101
        assert running.stop(how) == status
        kept.close()
        assert "Traceback" not in running.log.read_text()


def test_without_a_port_the_next_free_one_is_taken_and_a_given_one_is_not_changed(
    storage: Path, tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        told = refuses("dashboard", str(storage), "--port", str(port), "--no-browser", cwd=tmp_path)
    assert f"port={port}: taken by another program" in told
    first = server._free_port("127.0.0.1", "127.0.0.1", None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first))
        taken.listen()
        assert first < server._free_port("127.0.0.1", "127.0.0.1", None) <= server.PORT + server.PORTS_TRIED


def test_the_last_study_is_shown_without_any_words(storage: Path, tmp_path: Path) -> None:
    with serve(storage, "tiny", tmp_path / "first"):
        pass
    kept = json.loads((tmp_path / "first" / ".vitscape" / "last.json").read_text())
    assert kept == {"study": "tiny", "storage": str(storage), "complete": True}


def test_what_cannot_be_shown_is_one_line_and_makes_no_file(storage: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.db"
    empty.touch()
    open_storage(str(tmp_path / "bare.db"), must_exist=False).engine.dispose()
    for words, fragment in (
        (["dashboard"], "no study was used in this folder yet"),
        (["dashboard", "typo.db"], "no storage at typo.db: the file does not exist"),
        (["dashboard", "--storage", str(tmp_path)], "is a folder"),
        (["dashboard", "empty.db"], "not an Optuna storage"),
        (["dashboard", "bare.db"], "has no studies yet; vitscape search makes one"),
        (["dashboard", "other", "--storage", str(storage)], "no study 'other'"),
        (["dashboard", str(storage), "--port", "70000"], "port=70000"),
        (["dashboard", str(storage), "--host", "192.0.2.1"], "host=192.0.2.1"),
        (["dashboard", str(storage), "--host", "nowhere.invalid"], "host=nowhere.invalid"),
        (["report", "--storage", str(storage), "--out", "report.pdf"], "name it report.html"),
    ):
        assert fragment in refuses(*words, cwd=tmp_path), words


def test_passwords_are_never_shown(tmp_path: Path) -> None:
    for url in (
        "postgresql://ann:secret@127.0.0.1:1/studies",
        "postgresql://127.0.0.1:1/studies?user=ann&password=secret",
        "mysql://ann:se?cret@127.0.0.1:1/studies",
    ):
        assert "cret" not in refuses("dashboard", url, cwd=tmp_path)


def test_without_streamlit_it_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules['streamlit'] = sys.modules['plotly'] = None\n"
        "sys.argv = ['vitscape', 'dashboard', 'x.db']\n"
        "from explorer.cli import main\nmain()"
    )
    command = [sys.executable, "-c", code]
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.endswith("is not installed; pip install 'vitscape[dashboard]'\n")


def test_on_all_addresses_it_warns_and_answers_to_addresses_but_no_foreign_names(storage: Path, tmp_path: Path) -> None:
    with serve(storage, None, tmp_path, "--host", "0.0.0.0") as running:
        assert "whoever reaches port" in running.log.read_text()
        for host in ("10.1.2.3:8501", "localhost", socket.gethostname(), "[fe80::1]"):
            assert get(running, Host=host)[0] == 200, host
        for host in ("evil.example", "10.1.2.3.evil.example", "[fe80::1%evil]"):
            assert get(running, Host=host)[0] == 403, host
            assert upgrade(running, Host=host) == 403


def test_every_option_exists_and_both_themes_have_their_colours() -> None:
    from streamlit import config

    chosen = server.options("127.0.0.1", "127.0.0.1", 8501)
    assert set(chosen) <= set(config._config_options_template)
    assert chosen["theme.light.primaryColor"] == "#0072B2"
    assert chosen["theme.dark.backgroundColor"] == "#0d1117"
    assert chosen["server.address"] == "127.0.0.1"
    assert not [name for name, value in chosen.items() if "://" in str(value)]
