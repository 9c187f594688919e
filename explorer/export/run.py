"""An export from beginning to end: progress, verification, manifest, timing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress, TaskID

from explorer.export.errors import ExportError, ExportFailed
from explorer.export.manifest import Manifest, require_folder
from explorer.export.subject import Subject
from explorer.export.target import Target
from explorer.export.verify import Checker
from explorer.export.write import Written, require, write
from explorer.show import progress_bar

if TYPE_CHECKING:
    from explorer.setup import Setup

PLAIN = ("yaml", "json")  # architecture files: where there is nothing else, no network is built to check them


def run(
    subjects: Sequence[Subject],
    targets: Mapping[str, Target],
    folder: Path,
    study: str | None,
    *,
    replace: bool,
    timed: Setup | None,
    console: Console | None,
) -> list[Path]:
    """Paths of all files of all subjects; what fails does not keep the others from being written.

    Raises:
        ExportFailed: after all others are written, of the first that could not be.
    """
    require(targets)
    require_folder(folder)
    console = console or Console(stderr=True)
    manifest, done = Manifest(folder, study), list[Written]()
    failed: list[ExportFailed] = []
    plain = all(name in PLAIN for name in targets) and not any(subject.weights for subject in subjects)
    bar = progress_bar(console, disable=plain or not console.is_terminal)
    try:
        with nullcontext() if plain else Checker() as checker, bar:
            task = bar.add_task("exporting", total=len(subjects), step="")
            for subject in subjects:
                bar.update(task, step=subject.name)
                written, failures = write(subject, targets, folder, checker, partial(_step, bar, task))
                failed += failures
                if written:
                    manifest.add(subject, targets, written)
                    done += written
                    _tell(console, written)
                if timed is not None:
                    bar.stop()  # the timing has its own
                    _time(subject, written, targets, manifest, timed, console)
                    bar.start()
                subject.forget()
                bar.update(task, advance=1)
        manifest.write(replace=replace and not failed)
    except OSError as error:
        raise ExportError(f"out={folder}: cannot be written ({error.strerror}); choose another folder") from None
    if failed:
        others = f"; the other {len(done)} files are in {folder}" if done else ""
        raise ExportFailed(f"{failed[0]}{f', and {len(failed) - 1} more' if failed[1:] else ''}{others}") from failed[0]
    return [one.path for one in done]


def _step(bar: Progress, task: TaskID, step: str) -> None:
    bar.update(task, step=step)


def _tell(console: Console, written: Sequence[Written]) -> None:
    """A line for each file that was compared with the network."""
    for one in written:
        if (found := one.agreement) is not None:
            share = found.difference / found.scale if found.scale else 0.0
            line = f"{one.path}: verified, logits within {share:.1e} of the largest (allowed: {found.tolerance:g})"
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def _time(
    subject: Subject,
    written: Sequence[Written],
    targets: Mapping[str, Target],
    manifest: Manifest,
    how: Setup,
    console: Console,
) -> None:
    """Time the files that run here in turns, tell it, and note it in the manifest."""
    from explorer.bench import bench

    files = {str(one.path): one.path.name for one in written if one.target in targets and targets[one.target].timed}
    if not files:
        return
    rows = bench(
        list(files),
        batch_sizes=how.batch_sizes,
        device=how.device,
        threads=how.threads,
        time_limit_s=how.time_limit_s,
        console=console,
    )
    for name, file in files.items():
        found = [row.model_dump(mode="json", include={"latency", "error"}) for row in rows if row.name == name]
        manifest.tell(subject, file, found)
