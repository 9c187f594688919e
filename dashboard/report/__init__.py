"""Writes a study as one HTML file that opens offline: its front, how it was found, and what was measured how."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dashboard.report.page import page
from dashboard.report.sections import SECTIONS, lead
from dashboard.report.study import Study
from explorer import reader, results
from explorer.storage import StorageError, load_study
from explorer.whole import replacing


def write_report(storage: str, study: str | None, out: Path, objectives: Sequence[str] | None = None) -> Path:
    """Writes the report and returns its path; a file that is there is replaced, its folder is made where missing.

    Raises:
        StorageError: a storage or study that cannot be read, or a file that cannot be written; one line.
        MetricError: objectives that are none; one line.
    """
    name = load_study(study, storage).study_name
    opened = reader.Storage(storage)
    reading = opened.read(name)
    found = Study(reading, opened, tuple(objectives or reading.objectives), out)
    results.metrics_of(reading.frame, found.objectives)  # refused before anything is drawn
    sections = [section for make in SECTIONS if (section := make(found)) is not None]
    html = page(f"Vitscape study {name}", lead(found), sections)
    try:
        _replace(out, html)
    except OSError as error:
        raise StorageError(f"cannot write {out}: {error.strerror or error}") from None
    return out


def _replace(out: Path, html: str) -> None:
    """Writes beside the file first, so that a reader never finds half of it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as part:
        part.write_text(html, encoding="utf-8")
