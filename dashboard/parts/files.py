"""The files that rebuild networks, as `vitscape export` writes them: one architecture's, or several in one archive."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence

from dashboard.data import View
from dashboard.parts import panel
from dashboard.parts.comparison import Candidate
from search_spaces import preset


def yaml_file(view: View, label: str, number: int | None) -> tuple[str, bytes]:
    """Name and content of a trial's architecture file; of the published model `label` where there is no number.

    Raises:
        InputError: the trial has no architecture.
    """
    if number is None:
        return f"{label}.yaml", preset(label).to_yaml().encode()
    return panel.exported(view, number, panel.rows_of(view.frame, [number]))["yaml"]


def archive(view: View, candidates: Sequence[Candidate]) -> bytes:
    """A zip, made in memory, of the architecture file of each."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as zipped:
        for one in candidates:
            number = None if one.row.empty else int(one.row["number"].iloc[0])
            name, content = yaml_file(view, one.label, number)
            zipped.writestr(name, content)
    return buffer.getvalue()
