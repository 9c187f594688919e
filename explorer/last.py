"""The study last used in this folder, so that `vitscape front` needs no options after `vitscape search`."""

from __future__ import annotations

import json
import os
from pathlib import Path

from search_spaces.errors import InputError

FILE = Path(".vitscape/last.json")


def remember(study: str, storage: str) -> None:
    """Keep a study as the last one used here; a storage with a password in it is kept without it, to be given anew."""
    from explorer.storage import hide_password

    shown = hide_password(storage)
    try:
        FILE.parent.mkdir(exist_ok=True)
        FILE.write_text(json.dumps({"study": study, "storage": shown, "complete": shown == storage}), encoding="utf-8")
    except OSError:  # a folder that cannot be written to: the options must be given
        return


def recall(study: str | None, storage: str | None) -> tuple[str | None, str]:
    """(study, storage) as given, completed by $VITSCAPE_STORAGE and by the last study used in this folder.

    Raises:
        InputError: no storage is given, and none was used here.
    """
    if storage is None:
        storage = os.environ.get("VITSCAPE_STORAGE") or None
    if storage is not None:
        return study, storage
    try:
        last = json.loads(FILE.read_text(encoding="utf-8"))
        known, url, complete = last["study"], last["storage"], last["complete"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            "storage: no study was used in this folder yet; give --storage, or run vitscape search"
        ) from None
    if not complete:
        raise InputError(
            f"storage: {url} had a password or options, which are not kept; give --storage or set VITSCAPE_STORAGE"
        )
    return study or known, url
