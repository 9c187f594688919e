"""Looking at a study in a browser, and at its report in one file."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from explorer.last import recall, remember
from explorer.options import Storage, listed, whole_option
from search_spaces.errors import InputError

SQLITE_SUFFIXES = (".db", ".sqlite", ".sqlite3")


def dashboard(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[STUDY|STORAGE]",
            help="A study's name, or a storage: file or URL.",
            show_default="the last used",
        ),
    ] = None,
    storage: Storage = None,
    host: Annotated[str, typer.Option(help="Address of this machine to serve on.")] = "127.0.0.1",
    port: Annotated[int | None, whole_option("Port to serve on.", "the first free one from 8501")] = None,
    browser: Annotated[bool, typer.Option(help="Open a browser, where there is a desktop.")] = True,
) -> None:
    """The studies of a storage as a dashboard in the browser, also while a search writes to it; Ctrl-C ends it."""
    study = what
    if what is not None and storage is None and is_storage(what):
        study, storage = None, what
    study, url = recall(study, storage)
    floor_above("server").serve(url, study, host, port, open_browser=browser)


def report(
    study: Annotated[str | None, typer.Argument(help="The study.", show_default="the last used here")] = None,
    storage: Storage = None,
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("report.html"),
    objectives: Annotated[
        str | None,
        typer.Option(help="Of the front: accuracy,latency@...", metavar="LIST", show_default="the study's"),
    ] = None,
) -> None:
    """The main figures and tables of a study in one HTML file, which opens without a network."""
    if out.suffix not in (".html", ".htm"):
        raise InputError(f"out={out}: a report is HTML; name it {out.with_suffix('.html')}")
    if study is not None and storage is None and is_storage(study):
        study, storage = None, study
    name, url = recall(study, storage)
    chosen = None if objectives is None else listed(objectives)
    print(floor_above("report").write_report(url, name, out, chosen))
    if name is not None:
        remember(name, url)


def is_storage(what: str) -> bool:
    """Whether a word means a storage, not a study: a URL, a file that is there, or a file by its ending."""
    return "://" in what or what.endswith(SQLITE_SUFFIXES) or Path(what).exists()


def floor_above(module: str) -> Any:
    """A module of `dashboard`, found when its verb is called: nothing in explorer imports it or needs it."""
    return import_module(f"dashboard.{module}")
