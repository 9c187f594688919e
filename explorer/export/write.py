"""Subjects written into a folder: first aside, then verified, then put in their place, one after the other."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from explorer.export.errors import ExportError, ExportFailed
from explorer.export.subject import Subject
from explorer.export.target import Target
from explorer.export.verify import Agreement, Checker
from search_spaces.architecture import Architecture

WEIGHTS = "{name}.pt"  # of a trained subject, beside the files that load them


@dataclass(frozen=True)
class Written:
    """A file, or folder, that is in its place."""

    path: Path
    target: str  # its name; "weights" for the weights beside the files that load them
    told: Mapping[str, Any]  # what its target says of it
    agreement: Agreement | None  # None: no network was needed to check it


def require(targets: Mapping[str, Target]) -> None:
    """Nothing where the packages are installed that targets need, to be written and to be loaded again.

    Raises:
        ExportError: one is not; one line.
    """
    for name, target in targets.items():
        missing = [package for package in target.needs if find_spec(package) is None]
        if missing:
            sources = " ".join(sorted({f"'{target.needs[package]}'" for package in missing}))
            raise ExportError(
                f"to={name}: {', '.join(missing)} is not installed, which loads the file again; pip install {sources}"
            )


def write(
    subject: Subject,
    targets: Mapping[str, Target],
    folder: Path,
    checker: Checker | None,
    on_step: Callable[[str], None],
) -> tuple[list[Written], list[ExportFailed]]:
    """The files of a subject in a folder, each put there, over what had its name, once it is verified; and what failed.

    By `checker` they are loaded in fresh processes and their logits compared; without one, of architecture files alone,
    what they say is read again. `on_step` is told what is done, for a person.
    """
    done: list[Written] = []
    failed: list[ExportFailed] = []
    loading = any(target.takes_weights for target in targets.values())
    weights = WEIGHTS.format(name=subject.name)
    with _aside(folder) as aside, ExitStack() as stack:
        if checker is not None:
            on_step("its logits")
            stack.enter_context(checker.cases(subject))
            if loading:
                _write_weights(subject, aside / weights)
        for name, target in targets.items():
            try:
                done.append(_verified(name, target, subject, folder, aside, checker, on_step))
            except ExportFailed as error:
                failed.append(error)
        if subject.weights and loading and done:
            os.replace(aside / weights, folder / weights)
            done.append(Written(folder / weights, "weights", {}, None))
    return done, failed


def _verified(
    name: str,
    target: Target,
    subject: Subject,
    folder: Path,
    aside: Path,
    checker: Checker | None,
    on_step: Callable[[str], None],
) -> Written:
    path = target.path(aside, subject)
    on_step(path.name)
    try:
        told = target.write(subject, path)
    except (RuntimeError, ValueError) as error:  # torch's exporters raise either of a network that they refuse
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ExportFailed(f"{path.name}: cannot be written: {lines[0]}") from error
    agreement = None
    if checker is None:
        _read_again(subject, path)
    else:
        on_step(f"{path.name} in a fresh process")
        agreement = checker.check(target, subject, aside)
    _place(path, folder / path.name)
    return Written(folder / path.name, name, told, agreement)


@contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    aside = Path(tempfile.mkdtemp(dir=folder, prefix=".export-"))
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write_weights(subject: Subject, path: Path) -> None:
    import torch

    torch.save(subject.network.state_dict(), path)


def _read_again(subject: Subject, path: Path) -> None:
    if (found := Architecture.load(path).id) != subject.architecture.id:
        raise ExportFailed(f"{path.name}: read again it is architecture {found}, not {subject.architecture.id}")


def _place(aside: Path, path: Path) -> None:
    if path.is_dir():
        remove(path)
    os.replace(aside, path)


def remove(path: Path) -> None:
    """Remove a file, or a folder that an export wrote; another folder is left alone."""
    if not path.is_dir():
        path.unlink(missing_ok=True)
    elif (path / "modeling_vitscape.py").is_file():
        shutil.rmtree(path)
    else:
        raise ExportError(f"{path}: a folder that no export wrote; choose another --out")
