"""What a person sees of a training: a bar with the step under way, and a line an epoch."""

from __future__ import annotations

import time

import torch
from rich.console import Console
from rich.markup import escape
from torch import Tensor

from explorer.show import Display
from explorer.train.logs import Row, reached

INTERVAL_S = 0.5  # between two looks at the loss


class TrainProgress(Display):
    """A live display; on a console that is no terminal only the lines. Silent unless `shown`."""

    def __init__(self, console: Console, name: str, steps: int, epochs: int, shown: bool) -> None:
        super().__init__(console, refresh_per_second=4, disable=not (shown and console.is_terminal))
        self.epochs, self.steps, self.shown = epochs, steps, shown
        self.task = self.bar.add_task(escape(name), total=steps * epochs, step="")
        self.top1: float | None = None
        self._loss, self._looked = "", 0.0
        self._copy: Tensor | None = None  # a loss on its way from the device
        self._arrived: torch.cuda.Event | None = None

    def begins(self, done: int) -> None:
        """Where the training begins, in steps."""
        self.bar.reset(self.task, completed=done)

    def step(self, epoch: int, step: int, loss: Tensor) -> None:
        """A step is done; its loss is looked at now and then, without waiting for the device."""
        now = time.monotonic()
        if now - self._looked > INTERVAL_S:
            self._looked = now
            self._look(loss)
        accuracy = "" if self.top1 is None else f" · top-1 {self.top1:.2f} %"
        text = f"epoch {epoch + 1}/{self.epochs}{self._loss}{accuracy}"
        self.bar.update(self.task, completed=epoch * self.steps + step, step=text)

    def says(self, text: str) -> None:
        """What is being done now."""
        self.bar.update(self.task, step=escape(text))

    def tell(self, text: str, style: str = "dim") -> None:
        """A line that stays."""
        if self.shown:
            self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """A line that stays: something that a person should know of."""
        if self.shown:
            self.console.print(f"[yellow]![/] {escape(text)}", highlight=False, soft_wrap=True)

    def epoch(self, row: Row, best: bool) -> None:
        """An epoch is done."""
        self.top1, _ = reached(row)
        speed = "" if row["images_per_s"] is None else f"  {row['images_per_s']:,.0f} images/s"
        average = "" if row["ema_top1"] is None else f"  average's {row['ema_top1']:6.2f} %"
        if self.shown:
            self.console.print(
                f"[bold]{row['epoch']:>4}[/]/{self.epochs}  loss {row['loss']:.4f}  top-1 {row['top1']:6.2f} %{average}"
                f"  [dim]lr {row['lr']:.2e}{speed}[/]" + ("  [#0072B2]● best[/]" if best else ""),
                highlight=False,
                soft_wrap=True,
            )

    def _look(self, loss: Tensor) -> None:
        if self._copy is not None and (self._arrived is None or self._arrived.query()):
            self._loss, self._copy = f" · loss {self._copy.item():.3f}", None
        if self._copy is None:
            self._copy = loss.detach().to("cpu", non_blocking=True)
            if loss.is_cuda:
                self._arrived = torch.cuda.Event()
                self._arrived.record()
