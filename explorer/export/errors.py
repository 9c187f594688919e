"""What can go wrong with an export."""

from __future__ import annotations

from search_spaces.errors import InputError


class ExportError(InputError):
    """What was asked for is not in the study, or cannot be written; one line."""


class ExportFailed(RuntimeError):
    """A file could not be written, or does not compute what it should; one line."""
