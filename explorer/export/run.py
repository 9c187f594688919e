"""An export from beginning to end: progress, verification, manifest, timing."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
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
from explorer.signals import handled

if TYPE_CHECKING:
    from explorer.setup import Setup

PLAIN = ("yaml", "json")  # architecture files: where there is nothing else, no network is built to check them


def run(
    subjects: Sequence[Subject],
    targets: Mapping[str, Target],
    folder: Path,
    study: str | None,
    *,
    front: bool,
    timed: Setup | None,
    console: Console | None,
) -> list[Path]:
    """Paths of all files of all subjects; what fails does not keep the others from being written.

    Where they are the study's whole `front`, files that an earlier one left in the folder are removed.

    Raises:
        ExportFailed: after all others are written, of the first that could not be.
    """
    timed = timed if any(target.timed for target in targets.values()) else None
    if timed is not None:
        _require_device(timed)
    require_folder(folder)
    require(subjects, targets, folder)
    manifest = Manifest(folder, study, front=front)
    manifest.require(subjects, targets)
    console = console or Console(stderr=True)
    plain = all(name in PLAIN for name in targets) and not any(subject.weights for subject in subjects)
    bar = progress_bar(console, disable=plain or not console.is_terminal)
    done: list[Written] = []
    failed: list[ExportFailed] = []
    try:
        with terminable(), nullcontext() if plain else Checker() as checker, bar:
            task = bar.add_task("exporting", total=len(subjects), step="")
            for subject in subjects:
                written: list[Written] = []
                placed = partial(_placed, subject, targets, manifest, written, console)
                failed += write(subject, targets, folder, checker, partial(_step, bar, task), placed)
                done += written
                if timed is not None:
                    bar.stop()  # the timing has its own
                    _time(subject, written, targets, manifest, timed, console)
                    bar.start()
                subject.forget()
                bar.update(task, advance=1)
        for path in manifest.leave(subjects) if front and not failed else ():
            _say(console, f"{path}: removed, no longer on the front")
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        raise ExportError(
            f"out={folder}:{where} cannot be written ({error.strerror}); make room, or choose another"
        ) from None
    if failed:
        others = f"; what else was written is in {folder}" if done else ""
        raise ExportFailed(f"{failed[0]}{f', and {len(failed) - 1} more' if failed[1:] else ''}{others}") from failed[0]
    return [one.path for one in done]


def _require_device(timed: Setup) -> None:
    from explorer.profile.cores import require_cores
    from explorer.profile.device import resolve_device

    if resolve_device(timed.device).type == "cpu":
        require_cores(timed.threads)


@contextmanager
def terminable() -> Iterator[None]:
    """Within it SIGTERM ends the process as Ctrl-C does: child processes are ended, what lies aside is removed."""
    with handled(lambda number, where: sys.exit(128 + number), (signal.SIGTERM,)):
        yield


def _step(bar: Progress, task: TaskID, step: str) -> None:
    bar.update(task, step=step)


def _placed(
    subject: Subject,
    targets: Mapping[str, Target],
    manifest: Manifest,
    written: list[Written],
    console: Console,
    one: Written,
) -> None:
    """Note a file that is in its place, and say how it compared with the network."""
    manifest.add(subject, targets, one)
    written.append(one)
    if (found := one.agreement) is not None:
        share = found.difference / found.scale if found.scale else 0.0
        _say(console, f"{one.path}: verified, logits within {share:.1e} of the largest (allowed: {found.tolerance:g})")


def _say(console: Console, line: str) -> None:
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
