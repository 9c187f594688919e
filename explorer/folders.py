"""Folders of the user's that Vitscape keeps things in."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """$VITSCAPE_CACHE, or ~/.cache/vitscape."""
    return Path(os.environ.get("VITSCAPE_CACHE") or Path.home() / ".cache" / "vitscape").expanduser()


def state_folder() -> Path:
    """$VITSCAPE_STATE, or ~/.local/state/vitscape: what was learned of this machine."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(os.environ.get("VITSCAPE_STATE") or Path(home) / "vitscape").expanduser()
