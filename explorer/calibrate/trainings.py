"""Trains what a report card needs, in this process or in several, and keeps each training as it ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.markup import escape

from explorer.calibrate.journal import Curve, Journal
from explorer.frame import what
from explorer.limits import Limits
from explorer.proxy.data import load_data
from explorer.proxy.train import TrainSettings
from explorer.record import Evaluation
from explorer.search.attempt import Images, Work, attempt
from explorer.search.interrupts import interrupts
from explorer.search.session import MOST_FAILURES
from explorer.search.stopping import Decision
from explorer.setup import Setup
from explorer.show import Display
from search_spaces.architecture import Architecture

SPEED_OVER = 3600.0  # seconds over which the time left is reckoned: one network's epoch says little of another's

Kept = dict[tuple[str, float, int], Images]  # by what says which images


class CalibrationStopped(RuntimeError):
    """The trainings cannot go on; what is finished is kept. One line."""


@dataclass(frozen=True)
class Training:
    """One training to be made."""

    architecture: Architecture
    settings: TrainSettings
    seed: int
    long: bool  # one of those that the proxy is judged by
    source: str  # of the images
    data_seed: int  # that chooses a part of them
    device: str

    def curve(self, journal: Journal) -> Curve | None:
        """What the journal has of it; None where it is still to be made."""
        return journal.curve((self.architecture.id, self.seed), self.settings.epochs_run)

    @property
    def data(self) -> tuple[str, float, int]:
        """What says which images, beside their size."""
        return self.source, self.settings.data_share, self.data_seed


Made = Generator[tuple[Training, Curve], None, None]  # trainings as they end


def train_all(
    trainings: list[Training], journal_of: Callable[[Training], Journal], jobs: int, console: Console
) -> None:
    """Makes the trainings that their journals lack, `jobs` at a time, on a CPU by one thread each.

    Accuracies do not depend on the order or on `jobs`. One that fails is kept as failed, with the reason, unless so
    many fail in a row that the cause is elsewhere: those are made again by the next call.

    Raises:
        CalibrationStopped: a process died, or ten trainings failed in a row.
        InputError: of the set-up, so that every other training would meet it, too.
        KeyboardInterrupt: Ctrl-C or SIGTERM; those that were running are lost.
    """
    done: list[Training] = []
    missing: list[Training] = []
    for one in trainings:
        (missing if one.curve(journal_of(one)) is None else done).append(one)
    failed: list[tuple[Training, Curve]] = []  # in a row
    with (
        Trained(console, trainings) as progress,
        interrupts() as check,
        closing(_in_processes(missing, jobs) if jobs > 1 else _here(missing, progress, check)) as made,
    ):
        for one in done:
            progress.already(one)
        for one, curve in made:
            if curve.error is not None:
                failed.append((one, curve))
            else:
                _keep([*failed, (one, curve)], journal_of)
                failed.clear()
            progress.finished(one, curve)
            if len(failed) == MOST_FAILURES:
                raise CalibrationStopped(f"{len(failed)} trainings failed in a row, the last with {curve.error}")
    _keep(failed, journal_of)


def _keep(made: list[tuple[Training, Curve]], journal_of: Callable[[Training], Journal]) -> None:
    for one, curve in made:
        journal_of(one).add(curve)


def train_once(
    training: Training, images: Images, say: Callable[[str], None], on_epoch: Callable[[], None] = lambda: None
) -> Curve:
    """The curve of one training, or how far it came and why it failed; by the very function that a search's trial is.

    Raises:
        InputError: of the set-up, so that every other training would meet it, too.
        KeyboardInterrupt: as it came.
    """
    so_far: tuple[float, ...] = ()

    def after_epoch(found: Evaluation) -> Decision:
        nonlocal so_far
        if found.accuracy_by_epoch:
            so_far = found.accuracy_by_epoch
            on_epoch()
        return Decision()

    setup = Setup(device=training.device)
    work = Work(("accuracy",), training.source, setup, training.settings, Limits(), training.seed)
    found = attempt(training.architecture, work, images, on_step=say, decide=after_epoch)
    if found["status"] == "complete":
        so_far = found["evaluation"].accuracy_by_epoch
    return Curve(
        id=training.architecture.id,
        seed=training.seed,
        accuracy_by_epoch=so_far,
        seconds=found["seconds"],
        error=found.get("error"),
    )


def _here(trainings: list[Training], progress: Trained, check: Callable[[], None]) -> Made:
    kept: Kept = {}
    for one in trainings:

        def say(text: str, of: Training = one) -> None:
            check()
            progress.step(of, text)

        with _one_thread(one.device):
            curve = train_once(one, _images(one, kept), say, progress.epoch)
        yield one, curve


def _in_processes(trainings: list[Training], jobs: int) -> Made:
    pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_begin)
    before = set(multiprocessing.active_children())
    try:
        futures = {pool.submit(_train_there, one): one for one in trainings}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool:
        raise CalibrationStopped(
            "a process that trained has died, for lack of memory perhaps: the same command goes on, try fewer --jobs"
        ) from None
    except BaseException:
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


_kept: Kept = {}  # of a process that trains


def _train_there(training: Training) -> Curve:
    with _one_thread(training.device):
        return train_once(training, _images(training, _kept), lambda text: None)


def _images(training: Training, kept: Kept) -> Images:
    source, share, seed = training.data
    if training.data not in kept:
        kept[training.data] = Images(lambda size: load_data(source, size).at_share(share, seed))
    return kept[training.data]


def _begin() -> None:
    """Leaves Ctrl-C to the parent, and ends this process with it, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _one_thread(device: str) -> Iterator[None]:
    """Training on a CPU by one thread: the number of threads changes accuracies, and `jobs` must not."""
    threads = torch.get_num_threads()
    if not device.startswith("cpu"):
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Trained(Display):
    """A bar of epochs with the time left, and a line for each training that ends."""

    def __init__(self, console: Console, trainings: list[Training]) -> None:
        super().__init__(console, refresh_per_second=4, speed_estimate_period=SPEED_OVER)
        self.total, self.done = len(trainings), 0
        self.task = self.bar.add_task("epochs", total=sum(one.settings.epochs_run for one in trainings), step="")
        self.epochs = 0  # of the training under way

    def already(self, training: Training) -> None:
        """A training that an earlier run has made."""
        self.done += 1
        self.bar.advance(self.task, training.settings.epochs_run)

    def step(self, training: Training, text: str) -> None:
        """What is being done now."""
        kind = "long" if training.long else "proxy"
        self.bar.update(self.task, step=escape(f"training {self.done + 1} of {self.total}, {kind}, {text}"))

    def epoch(self) -> None:
        """One more epoch of the training under way."""
        self.epochs += 1
        self.bar.advance(self.task)

    def finished(self, training: Training, curve: Curve) -> None:
        """A line for a training that has ended."""
        self.done += 1
        self.bar.advance(self.task, training.settings.epochs_run - self.epochs)
        self.epochs = 0
        kind = "long " if training.long else "proxy"
        found = f"[red]✗ {escape(curve.error)}[/]" if curve.error else f"{curve.accuracy_by_epoch[-1]:5.1f} %"
        network = escape(what(training.architecture.canonical.to_dict()))
        line = f"[green]✓[/] [bold]{self.done:>4}[/]/{self.total}  {kind}  {found}  [dim]{network}[/]"
        self.console.print(line, highlight=False, soft_wrap=True)
