"""What a training leaves beside its weights: a row an epoch, TensorBoard's events, a summary."""

from __future__ import annotations

import csv
import importlib
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from explorer.whole import replacing

COLUMNS = ("epoch", "step", "loss", "lr", "top1", "ema_top1", "images_per_s", "seconds")

Row = dict[str, float | int | None]  # of COLUMNS; accuracies in %, seconds of the whole training so far


def reached(row: Row) -> tuple[float, bool]:
    """The higher top-1 of an epoch in %, of the weights or of their moving average, and whether it is the average's.

    An average lags where a training is short or its rate falls fast.
    """
    own, average = float(row["top1"] or 0.0), row["ema_top1"]
    return (own, False) if average is None or average < own else (float(average), True)


def write_text(path: Path, text: str) -> None:
    """Write a small file, whole or not at all."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_metrics(path: Path, rows: Sequence[Row]) -> None:
    """metrics.csv anew, from the rows that the checkpoint keeps: what it does not know of is cut off."""
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows({name: "" if value is None else repr(value) for name, value in row.items()} for row in rows)
    write_text(path, text.getvalue())


def write_summary(path: Path, summary: Mapping[str, Any]) -> None:
    """train.json."""
    write_text(path, json.dumps(summary, indent=2, allow_nan=False) + "\n")


class Events:
    """TensorBoard's events in a folder; nothing where neither tensorboard nor tensorboardX is installed."""

    def __init__(self, folder: Path, rows: Sequence[Row]) -> None:
        self.writer = _writer(folder)
        if self.writer is not None:  # anew: what is after the checkpoint is told again
            shutil.rmtree(folder, ignore_errors=True)
            self.writer = _writer(folder)
            for row in rows:
                self.add(row)

    def add(self, row: Row) -> None:
        """One epoch's row."""
        if self.writer is not None:
            for name, value in row.items():
                if name not in ("epoch", "step") and value is not None:
                    self.writer.add_scalar(name, value, row["step"])
            self.writer.flush()

    def close(self) -> None:
        """End the file."""
        if self.writer is not None:
            self.writer.close()


def _writer(folder: Path) -> Any | None:
    try:
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(folder))
    except ModuleNotFoundError:
        pass
    try:
        return importlib.import_module("tensorboardX").SummaryWriter(str(folder))
    except ModuleNotFoundError:
        return None
