"""Trainings kept as soon as they end, a line each, so that a kill costs those that were running."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import ValidationError

from explorer.record import Record
from search_spaces.errors import InputError

FORMAT = "vitscape/calibration@1"


class Curve(Record):
    """One training: its architecture's id, its seed, the accuracy after each epoch, and why there are no more."""

    id: str
    seed: int
    accuracy_by_epoch: tuple[float, ...] = ()  # %
    seconds: float = 0.0  # wall time
    error: str | None = None  # that ended it after these epochs


class Journal:
    """The trainings made under one set of conditions: a file of JSON lines, the first of which are the conditions.

    What the conditions leave open changes nothing: a larger sample finds what a smaller one trained, and a schedule
    that is left after fewer epochs what was trained for more, since it is the same up to there.

    >>> with Journal(Path("runs"), "calibrate-tiny_32-proxy12", conditions) as journal:
    ...     journal.add(Curve(id="...", seed=0, accuracy_by_epoch=(31.2, 40.1), seconds=12.0))

    Raises:
        InputError: the file cannot be written, or is damaged other than by a kill; one line.
    """

    def __init__(self, folder: Path, name: str, conditions: dict[str, Any]) -> None:
        self.conditions = {"format": FORMAT, **conditions}
        canonical = json.dumps(self.conditions, sort_keys=True)
        digest = hashlib.blake2b(canonical.encode(), digest_size=4).hexdigest()
        self.path = folder / f"{name}-{digest}.jsonl"
        self.kept: dict[tuple[str, int], Curve] = {}  # by architecture and seed

    def __enter__(self) -> Journal:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.file = self.path.open("a+b")
        except OSError as error:
            raise InputError(f"{self.path}: {error.strerror or error}; work in a folder that can be written") from None
        self.file.seek(0)
        try:
            whole = self._read(self.file.read())
        except InputError:
            self.file.close()
            raise
        self.file.truncate(whole)  # what a kill left of a line would spoil the next one
        if not whole:
            self._write(self.conditions)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()

    def add(self, curve: Curve) -> None:
        """Keeps a training; it is on the disk when this returns."""
        self._note(curve)
        self._write(curve.model_dump(mode="json"))

    def curve(self, key: tuple[str, int], epochs: int) -> Curve | None:
        """The training of an architecture's id and a seed, left after so many epochs; with its error if it failed.

        None where it has not been made for so long.
        """
        known = self.kept.get(key)
        if known is None or len(known.accuracy_by_epoch) < epochs:
            return None if known is None or known.error is None else known
        return known.model_copy(update={"accuracy_by_epoch": known.accuracy_by_epoch[:epochs], "error": None})

    def _note(self, curve: Curve) -> None:
        key = (curve.id, curve.seed)
        longest = max(self.kept.get(key, curve).accuracy_by_epoch, curve.accuracy_by_epoch, key=len)
        self.kept[key] = curve.model_copy(
            update={"accuracy_by_epoch": longest}
        )  # one that was to go on may have failed

    def _write(self, line: dict[str, Any]) -> None:
        self.file.write(json.dumps(line).encode() + b"\n")
        self.file.flush()
        os.fsync(self.file.fileno())

    def _read(self, content: bytes) -> int:
        """Bytes of whole lines in a file's content, after taking note of what they hold."""
        whole = content.rfind(b"\n") + 1
        for number, line in enumerate(content[:whole].splitlines(), 1):
            try:
                if number == 1:
                    if json.loads(line) != self.conditions:
                        raise ValueError("made under other conditions")
                else:
                    self._note(Curve.model_validate_json(line))
            except (ValidationError, ValueError, UnicodeDecodeError):
                raise InputError(f"{self.path}:{number}: damaged, or made otherwise; move the file away") from None
        return whole
