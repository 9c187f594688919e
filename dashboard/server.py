"""Serves the dashboard: the app under Streamlit, to this machine alone unless asked otherwise."""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
import webbrowser
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import plotly  # noqa: F401  # part of the same extra: missing, it is told before anything starts
import streamlit as st
import uvicorn.config
from starlette.middleware import Middleware
from streamlit.logger import set_log_level

from dashboard import assets
from dashboard.canvas import THEMES, ThemeName
from dashboard.guard import EVERYWHERE, LOCAL, Guard, content_policy, is_address, names_of
from dashboard.memory import hold_little
from explorer.last import remember
from explorer.storage import StorageError
from search_spaces.errors import InputError

APP = Path(__file__).parent / "app.py"
HOST, PORT = "127.0.0.1", 8501
PORTS_TRIED = 100
SWITCH_SECONDS = 0.0005  # a tenth of Python's own: a page's hundred small files are sent while a study is being read
PRIMARY: dict[ThemeName, str] = {"light": THEMES["light"].front, "dark": "#1C7ABD"}  # white on it is readable
FONT = "Inter, 'Helvetica Neue', Helvetica, Arial, sans-serif"
CODE_FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'Liberation Mono', monospace"


class ServerError(InputError):
    """An address that cannot be served; one line."""


def serve(
    storage: str,
    study: str | None = None,
    host: str = HOST,
    port: int | None = None,
    *,
    open_browser: bool = False,
) -> None:
    """Serves the studies of a storage until interrupted; `study` is the one shown first.

    Without a port the first free one from 8501 on is taken; port 0 is any free one.

    Raises:
        StorageError: the storage cannot be read, has no studies, or not this one.
        ServerError: the address is not of this machine, or its port is taken.
    """
    set_log_level("error")
    hold_little()
    sys.setswitchinterval(SWITCH_SECONDS)
    from dashboard import data  # makes caches, of which Streamlit warns while it does not serve yet

    data.configure(storage, study)
    names = _readable(data.studies(), study, data.source().storage.shown)
    address = _address(host)
    port = _free_port(address, host, port)
    if study is not None or len(names) == 1:
        remember(study or names[0], storage)
        # read while the server starts and the browser loads the page's frame
        threading.Thread(target=data.read_ahead, args=(study or names[0],), daemon=True).start()
    url = f"http://{_shown(host)}:{port}"
    if host not in LOCAL and address not in LOCAL:
        print(f"warning: whoever reaches port {port} of this machine sees these studies", file=sys.stderr)

    @asynccontextmanager
    async def announce(_app: st.App) -> AsyncIterator[None]:
        print(f"{url}  (Ctrl-C ends it)", flush=True)
        if open_browser and has_desktop():
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        yield

    uvicorn.config.LOGGING_CONFIG["loggers"]["uvicorn"]["level"] = "WARNING"
    guard = Middleware(
        Guard,
        names=names_of(host),
        any_address=address in EVERYWHERE,
        policy=content_policy(assets.page()),
    )
    st.App(APP, routes=assets.routes(), middleware=[guard], lifespan=announce, on_script_error=_failed).run(
        config=options(host, address, port)
    )


def options(host: str, address: str, port: int) -> dict[str, Any]:
    """Streamlit's options; they stand above its configuration files and environment variables."""
    chosen: dict[str, Any] = {
        "server.address": address,
        "server.port": port,
        "server.headless": True,  # we open the browser, once the server answers
        "server.allowedHosts": ["*"] if address in EVERYWHERE else sorted(names_of(host)),
        "server.enableCORS": True,
        "server.enableXsrfProtection": True,
        "server.corsAllowedOrigins": [],
        "server.trustedUserHeaders": {},
        "server.enableAgentApi": False,
        "server.enableStaticServing": False,
        "server.scriptHealthCheckEnabled": False,
        "server.baseUrlPath": "",
        "server.fileWatcherType": "none",
        "server.runOnSave": False,
        "server.allowRunOnSave": False,
        "server.showEmailPrompt": False,
        "server.maxUploadSize": 1,
        "browser.gatherUsageStats": False,
        "browser.serverAddress": host,
        "browser.serverPort": port,
        "client.allowedOrigins": [],
        "client.showErrorDetails": "none",  # a message may quote what a page must not show; the log has it
        "client.showErrorLinks": "false",
        "client.toolbarMode": "minimal",
        "global.developmentMode": False,
        "logger.level": "error",
        "logger.enableRich": False,
        "logger.hideWelcomeMessage": True,  # printing it asks the internet for this machine's address
        "runner.magicEnabled": False,
    }
    sections: tuple[ThemeName, ThemeName] = ("light", "dark")
    for name in sections:
        look = THEMES[name]
        colours = {
            "primaryColor": PRIMARY[name],
            "backgroundColor": look.paper,
            "secondaryBackgroundColor": look.grid,
            "textColor": look.ink,
            "linkColor": look.front,
            "font": FONT,
            "headingFont": FONT,
            "codeFont": CODE_FONT,
        }
        chosen |= {f"theme.{name}.{option}": value for option, value in colours.items()}
    return chosen


def has_desktop() -> bool:
    """Whether a browser opened here would appear before whoever started the server."""
    if not sys.stdout.isatty() or "SSH_CONNECTION" in os.environ:
        return False
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _readable(table: pd.DataFrame, study: str | None, shown: str) -> list[str]:
    """The names of a storage's studies, after asserting that there is something to show."""
    if table.empty:
        raise StorageError(f"{shown} has no studies yet; vitscape search makes one")
    names = [str(name) for name in table.loc[table["readable"], "name"]]
    if not names:
        raise StorageError(f"no study in {shown} was made by this version of vitscape search")
    if study is not None and study not in names:
        listed = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
        raise StorageError(f"no study {study!r} in {shown}; there are: {listed}")
    return names


def _address(host: str) -> str:
    """The IP address of this machine that `host` means."""
    if is_address(host):
        return host
    try:
        return str(socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        raise ServerError(f"host={host}: {error.strerror}; give an address of this machine, such as {HOST}") from None


def _free_port(address: str, host: str, port: int | None) -> int:
    """The port asked for, which has to be free; the first free one where none was."""
    if port is not None and not 0 <= port <= 65535:
        raise ServerError(f"port={port}: give 1 to 65535")
    candidates = range(PORT, PORT + PORTS_TRIED) if port is None else [port]
    for candidate in candidates:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            if os.name != "nt":  # as the server binds it
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, candidate))
                probe.listen()
            except OSError as error:
                reason = error
            else:
                return int(probe.getsockname()[1])
        if reason.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise ServerError(f"host={host}: {reason.strerror}; give an address of this machine, such as {HOST}")
    if port is None:
        raise ServerError(f"ports {PORT} to {PORT + PORTS_TRIED - 1} are taken; give one with --port")
    if reason.errno == errno.EACCES:
        raise ServerError(f"port={port}: {reason.strerror}; one above 1023 needs no rights")
    raise ServerError(f"port={port}: taken by another program; without --port the next free one is chosen")


def _shown(host: str) -> str:
    """The host as it stands in a URL."""
    if host in EVERYWHERE:
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def _failed(_error: Exception) -> bool:
    """Says that a page failed, without what the exception says; True: Streamlit adds nothing to it."""
    st.error("This page failed. The reason is in the terminal where `vitscape dashboard` runs; other pages go on.")
    return True
