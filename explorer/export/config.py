"""An architecture file, YAML or JSON, with where it comes from in its description."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from explorer.export.subject import Subject
from explorer.export.target import Target
from search_spaces.architecture import Architecture


def write_yaml(subject: Subject, path: Path) -> dict[str, Any]:
    """Write the architecture as YAML under a comment that says how to use it."""
    path.write_text(rebuildable(subject.architecture, path.name), encoding="utf-8")
    return {}


def rebuildable(architecture: Architecture, file: str) -> str:
    """The text of an architecture file of that name, under a comment that says how to use it."""
    return f"# Rebuild: from search_spaces import build; network = build({file!r})\n{architecture.to_yaml()}"


def write_json(subject: Subject, path: Path) -> dict[str, Any]:
    """Write the architecture as JSON."""
    path.write_text(json.dumps(subject.architecture.to_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return {}


LOAD = """
import torch
from search_spaces import build, load_weights

model = build("{{name}}.{suffix}")
load_weights(model, torch.load("{{weights}}", weights_only=True))
model = model.eval()
"""
YAML = Target("{name}.yaml", write_yaml, LOAD.format(suffix="yaml"), takes_weights=True, ours=True)
JSON = Target("{name}.json", write_json, LOAD.format(suffix="json"), takes_weights=True, ours=True)
