"""What a person sees of images being decoded: a bar with the speed and the time left, and a line when it is done."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from explorer.proxy.data import load_data, parse_source
from explorer.proxy.dataset import Dataset
from explorer.show import progress_bar, span

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

AFTER_S = 0.5  # what takes no longer is not shown
REFRESH_S = 0.25
LINES, APART_S = 10, 1.0  # on a console that is no terminal: at most so many, at least so far apart


def load_shown(source: str, image_size: int, console: Console, *, strict: bool = False) -> Dataset:
    """As `load_data`, and shows the decoding where that takes long."""
    with Decoding(console, source, image_size) as shown:
        return load_data(source, image_size, progress=shown, on_wait=shown.waits, strict=strict)


def load_said(source: str, image_size: int, say: Callable[[str], None]) -> Dataset:
    """As `load_data`, and says now and then how far the decoding is: within a trial, which has its display already."""
    look = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal look
        now = time.monotonic()
        if now >= look:
            look = now + REFRESH_S
            say(f"decoding {done:,} of {total:,} images at {image_size} px")

    return load_data(source, image_size, progress=progress, on_wait=lambda pid: say(_waits(pid)))


def _waits(pid: int | None) -> str:
    """What is waited for, in words."""
    return f"waiting for process {pid or 'unknown'}, which decodes the same images"


class Decoding:
    """A progress for `load_data`: a bar, gone when all is decoded, and then a line; lines alone where is no terminal.

    Any thread may call it. A call costs a look at the clock, but for four a second.

    >>> with Decoding(Console(stderr=True), "folder:/data/birds", 64) as shown:
    ...     data = load_data("folder:/data/birds", 64, progress=shown, on_wait=shown.waits)
    """

    def __init__(self, console: Console, source: str, image_size: int) -> None:
        self.console = console
        self.what = f"{escape(parse_source(source).kind)} at {image_size} px"
        self._bar: Bar | None = None
        self._lock = threading.Lock()
        self._began: float | None = None  # when the first image was there
        self._look = 0.0  # when to look next
        self._total = 0
        self._told, self._told_at = 0, 0.0  # images at the last line, and when that was

    def __enter__(self) -> Decoding:
        return self

    def __call__(self, done: int, total: int) -> None:
        """So many images of all are done."""
        now = time.monotonic()
        if now < self._look:
            return
        with self._lock:
            if now < self._look:  # another thread has looked meanwhile
                return
            if self._began is None:
                self._began, self._total, self._look = now, total, now + AFTER_S
                return
            self._look = now + REFRESH_S
            speed = done / max(now - self._began, 1e-9)
            if self.console.is_terminal:
                self._draw(done, total, speed)
            elif (done - self._told) * LINES >= total > done and now - self._told_at >= APART_S:
                self._told, self._told_at = done, now
                left = span((total - done) / speed)
                self._line(f"decoding {self.what}: {done:,} of {total:,} images, {speed:,.0f} a second, {left} left")

    def waits(self, pid: int | None) -> None:
        """Another process decodes the same images."""
        self._line(_waits(pid))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        took = 0.0 if self._began is None else time.monotonic() - self._began
        if error is None and took >= AFTER_S:
            told = f"{took:.1f} s" if took < 60 else span(took)
            self._line(f"{self._total:,} images of {self.what} decoded in {told}, and kept for the next time")

    def _draw(self, done: int, total: int, speed: float) -> None:
        if self._bar is None:
            self._bar = progress_bar(self.console, refresh_per_second=4)
            self._bar.add_task(f"decoding {self.what}", total=total, step="")
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=done, step=f"{speed:,.0f} images/s")

    def _line(self, text: str) -> None:
        self.console.print(f"[dim]{text}[/]", highlight=False, soft_wrap=True)
