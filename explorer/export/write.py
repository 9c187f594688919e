"""A subject's files written into a folder: first aside, then verified, then put in their place, one after the other."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from explorer.export.errors import ExportError, ExportFailed
from explorer.export.huggingface import CODE
from explorer.export.subject import Subject
from explorer.export.target import Target
from explorer.export.verify import Agreement, Checker
from search_spaces.architecture import Architecture


@dataclass(frozen=True)
class Written:
    """A file, or folder, that is in its place."""

    path: Path
    target: str  # its name; "weights" for the weights beside the files that load them
    told: Mapping[str, Any]  # what its target says of it
    agreement: Agreement | None  # None: no network was needed to check it


def require(subjects: Sequence[Subject], targets: Mapping[str, Target], folder: Path) -> None:
    """Nothing where all targets can be written: what they need is installed, and nothing else is in their place.

    Raises:
        ExportError: it is not so; one line.
    """
    for name, target in targets.items():
        missing = [package for package in target.needs if find_spec(package) is None]
        if missing:
            sources = " ".join(sorted({f"'{target.needs[package]}'" for package in missing}))
            raise ExportError(
                f"to={name}: {', '.join(missing)} is not installed, which loads the file again; pip install {sources}"
            )
        for subject in subjects:
            path = target.path(folder, subject)
            if path.is_dir() and (path.is_symlink() or not (path / CODE).is_file()):
                raise ExportError(f"{path}: a folder that no export wrote; choose another --out")


def write(
    subject: Subject,
    targets: Mapping[str, Target],
    folder: Path,
    checker: Checker | None,
    on_step: Callable[[str], None],
    on_done: Callable[[Written], None],
) -> list[ExportFailed]:
    """What failed of a subject's files; the others are each put in their place once verified, which is told `on_done`.

    By `checker` they are loaded in fresh processes and their logits compared; without one, of architecture files alone,
    what they say is read again. Trained weights come before the first file that loads them.
    """
    failed: list[ExportFailed] = []
    weights = subject.weights_file
    with _aside(folder) as aside, ExitStack() as stack:
        if checker is not None:
            on_step("its logits")
            stack.enter_context(checker.cases(subject))
            if any(target.takes_weights for target in targets.values()):
                _write_weights(subject, aside / weights)
        placed = subject.weights is None  # the weights, where there are any to place
        for name, target in targets.items():
            try:
                told, agreement = _verified(target, subject, aside, checker, on_step)
            except ExportFailed as error:
                failed.append(error)
                continue
            if target.takes_weights and not placed:
                shutil.copyfile(aside / weights, aside / f"{weights}.copy")  # others are checked with the first
                os.replace(aside / f"{weights}.copy", folder / weights)
                on_done(Written(folder / weights, "weights", {}, None))
                placed = True
            path = target.path(folder, subject)
            if path.is_dir():
                shutil.rmtree(path)
            os.replace(target.path(aside, subject), path)
            on_done(Written(path, name, told, agreement))
    return failed


def _verified(
    target: Target, subject: Subject, aside: Path, checker: Checker | None, on_step: Callable[[str], None]
) -> tuple[Mapping[str, Any], Agreement | None]:
    path = target.path(aside, subject)
    on_step(path.name)
    try:
        told = target.write(subject, path)
    except (RuntimeError, ValueError) as error:  # torch's exporters raise either of a network that they refuse
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ExportFailed(f"{path.name}: cannot be written: {lines[0]}") from error
    if checker is None:
        if (found := Architecture.load(path).id) != subject.architecture.id:
            raise ExportFailed(f"{path.name}: read again it is architecture {found}, not {subject.architecture.id}")
        return told, None
    on_step(f"{path.name} in a fresh process")
    return told, checker.check(target, subject, aside)


@contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    aside = Path(tempfile.mkdtemp(dir=folder, prefix=".export-"))
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write_weights(subject: Subject, path: Path) -> None:
    import torch

    content = io.BytesIO()  # torch itself does not survive a full disk
    torch.save(subject.network.state_dict(), content)
    path.write_bytes(content.getbuffer())
