"""An architecture file, YAML or JSON, with where it comes from in its description."""

from __future__ import annotations

import json
from pathlib import Path

from search_spaces.architecture import Architecture


def write_yaml(architecture: Architecture, path: Path) -> None:
    """Write the architecture as YAML under a comment that says how to use it."""
    comment = "# Rebuild: from search_spaces import build; network = build(__FILE__)".replace(
        "__FILE__", repr(path.name)
    )
    path.write_text(f"{comment}\n{architecture.to_yaml()}", encoding="utf-8")


def write_json(architecture: Architecture, path: Path) -> None:
    """Write the architecture as JSON."""
    path.write_text(json.dumps(architecture.to_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
