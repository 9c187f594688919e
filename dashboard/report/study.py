"""What a report is made of: a study as it was read, its fronts, and how it is named on a command line."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from dashboard.canvas import called
from dashboard.figures.landscape import Landscape, landscape
from dashboard.parts import decide
from dashboard.report.page import Charts
from explorer import reader, results
from explorer.metrics import Metric
from explorer.reader import Reading


@dataclass
class Study:
    """What the sections are made of."""

    reading: Reading
    storage: reader.Storage
    objectives: tuple[str, ...]
    out: Path
    charts: Charts = field(default_factory=Charts)

    @property
    def frame(self) -> pd.DataFrame:
        return self.reading.frame

    @cached_property
    def scenes(self) -> list[Landscape]:
        """The front of the first objective that is maximized against each of the others; empty where there is none."""
        if decide.why_empty(self.frame) is not None:
            return []
        known = [m.name for m in results.metrics_of(self.frame, self.objectives) if self.frame[m.column].notna().any()]
        if not known:
            return []
        goal = next((row.name for row in results.metrics_of(self.frame, known) if row.maximize), known[0])
        others = [name for name in known if name != goal] or [decide.default_cost(self.frame, [goal])]
        pairs = [(goal, other) for other in others if other != goal]
        return [
            scene
            for pair in pairs
            if len((scene := landscape(self.frame, pair, data=self.reading.data, sure=True)).best)
        ]

    def metric(self, name: str) -> Metric:
        """A metric as it is called beside this study's data."""
        (row,) = results.metrics_of(self.frame, [name])
        return called(row, self.reading.data)

    @property
    def words(self) -> str:
        """The options that name the study on a command line; without the storage where that has a password."""
        shown = self.storage.shown
        storage = "" if "***" in shown else f" --storage {shlex.quote(shown)}"
        return f"--study {shlex.quote(self.reading.name)}{storage}"
