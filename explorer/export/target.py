"""What an export target is: how its file is called, written, loaded again, and how exactly it must agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from explorer.export.subject import Subject

SAME = 1e-5  # of the largest logit: the same operations in the same order
FOLDED = 1e-4  # of the largest logit: BatchNorm folded away, and another runtime's order of summation


@dataclass(frozen=True)
class Target:
    """One kind of file.

    `load` is Python that a person would write in the export's folder to get a callable `model`: images (B, C, H, W)
    -> logits (B, classes). It is told in the manifest, and the very lines are run in a fresh process, without Vitscape,
    to verify the file. `{name}`, `{identifier}` and `{weights}` in it are the subject's.
    """

    file: str  # "{name}.onnx"
    write: Callable[[Subject, Path], Mapping[str, Any]]  # returns what is to be told of the file: {"opset": 20}
    load: str
    tolerance: float = SAME  # largest difference of logits, as a share of the largest logit
    needs: Mapping[str, str] = field(default_factory=dict)  # package, here and where it is loaded -> what installs it
    takes_weights: bool = False  # loads NAME.pt beside it; else the weights are inside
    ours: bool = False  # loading it needs `search_spaces`, and nothing else of Vitscape
    timed: bool = False  # whether `explorer.profile.artefacts` can run it

    def path(self, folder: Path, subject: Subject) -> Path:
        """Where the file of a subject lies in a folder."""
        return folder / self.file.format(name=subject.name, identifier=subject.identifier)

    def code(self, subject: Subject, *, weights: bool) -> str:
        """The lines that load a subject's file; without `weights` beside it, those that load them are left out."""
        text = self.load.format(name=subject.name, identifier=subject.identifier, weights=subject.weights_file)
        lines = text.strip().splitlines()
        return "\n".join(line for line in lines if weights or subject.weights_file not in line) + "\n"
