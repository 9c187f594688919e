"""From a study's trials, or an architecture with its weights, to files that work elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from explorer.export.choose import chosen, describe, safe_name, subject_of
from explorer.export.config import JSON, YAML
from explorer.export.errors import ExportError, ExportFailed
from explorer.export.huggingface import HUGGINGFACE
from explorer.export.onnx import ONNX
from explorer.export.python import PYTHON
from explorer.export.run import run
from explorer.export.subject import Subject
from explorer.export.target import Target
from explorer.export.timm import TIMM
from explorer.export.torch_export import TORCH_EXPORT
from search_spaces.architecture import Architecture

if TYPE_CHECKING:
    import optuna
    from rich.console import Console

    from explorer.setup import Setup

__all__ = [
    "TARGETS",
    "ExportError",
    "ExportFailed",
    "Target",
    "describe",
    "export",
    "export_architecture",
    "subject_of",
]

# a target is one small file and one line here
TARGETS: dict[str, Target] = {
    "yaml": YAML,
    "json": JSON,
    "python": PYTHON,
    "onnx": ONNX,
    "torch_export": TORCH_EXPORT,
    "timm": TIMM,
    "huggingface": HUGGINGFACE,
}


def export(
    study: optuna.Study,
    out: str | Path,
    *,
    trial: int | None = None,
    knee: bool = False,
    best_under: Mapping[str, float] | None = None,
    whole_front: bool = False,
    every: bool = False,
    objectives: Sequence[str] | None = None,
    to: Sequence[str] = ("yaml",),
    weights: str | Path | None = None,
    timed: Setup | None = None,
    console: Console | None = None,
) -> list[Path]:
    """Paths of the files written into the folder `out` for one choice of trials, each verified before it is put there.

    The choice is a trial by number, the knee, the most accurate within budgets in stored units, the whole front, or
    every complete trial, each architecture once. Front and knee are for `objectives`, the study's where None.
    A whole front replaces the study's earlier one in the folder: files of such an export whose architectures are no
    longer on it are removed, unless they were changed since.
    `weights` is a file of trained ones, of a single architecture; else files hold random weights, or none. `timed`
    tells where the files are timed that run here; None: not at all. `export.json` lists what was written.

    >>> export(study, "pareto", whole_front=True, to=("yaml", "onnx"))

    Raises:
        ExportError: no such choice or target, or what a target needs is not installed; one line.
        ExportFailed: a file does not compute what it should, or a network cannot be written so; the others are written.
    """
    if [trial is not None, knee, best_under is not None, whole_front, every].count(True) != 1:
        raise ExportError("choose one of: a trial, the knee, best-under, the front, all")
    if objectives is not None and not (knee or whole_front):
        raise ExportError("objectives: they are those of the front or its knee; choose one of the two")
    from explorer.frame import trial_record

    targets = targets_of(to)
    rows = chosen(study, trial, knee, best_under, every, objectives)
    trials = {trial.number: trial for trial in study.get_trials(deepcopy=False)}
    subjects = [subject_of(study, row, trial_record(trials[int(row["number"])])) for _, row in rows.iterrows()]
    if weights is not None and len(subjects) > 1:
        raise ExportError(f"weights={weights}: of one network, and {len(subjects)} are exported; choose one with trial")
    subjects = [subject.with_weights(weights) for subject in subjects]
    return run(subjects, targets, Path(out), study.study_name, front=whole_front, timed=timed, console=console)


def export_architecture(
    architecture: Architecture,
    out: str | Path,
    *,
    name: str | None = None,
    to: Sequence[str] = ("yaml",),
    weights: str | Path | None = None,
    timed: Setup | None = None,
    console: Console | None = None,
) -> list[Path]:
    """As `export`, of an architecture that need be in no study; its files are called `name`, else as itself.

    >>> export_architecture(preset("swin_t"), "swin", weights="swin_t.safetensors", to=("onnx", "timm"))
    """
    called = safe_name(name or architecture.name or architecture.id)
    subject = Subject(called, architecture.model_copy(update={"name": called})).with_weights(weights)
    return run([subject], targets_of(to), Path(out), None, front=False, timed=timed, console=console)


def targets_of(names: Sequence[str]) -> dict[str, Target]:
    """The targets of these names, each once.

    Raises:
        ExportError: one is not known.
    """
    for name in names:
        if name not in (*TARGETS, "all"):
            raise ExportError(f"to={name}: not known; use one of {', '.join(TARGETS)}, or all")
    return dict(TARGETS) if "all" in names else {name: TARGETS[name] for name in names}
