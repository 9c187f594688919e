"""What a person sees of a final stage: a bar, and a line for each finalist that was trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import optuna
from rich.console import Console
from rich.markup import escape

from explorer.finals import Final
from explorer.frame import trial_record
from explorer.metrics import METRICS
from explorer.results import what
from explorer.search.progress import MARKS, SearchProgress

if TYPE_CHECKING:
    from explorer.search.finalists import Finalist


class FinalProgress(SearchProgress):
    """As a search's, of finalists instead of trials."""

    def __init__(self, console: Console, study: optuna.Study, objectives: tuple[str, ...], total: int) -> None:
        super().__init__(console, study, objectives, total)
        self.bar.update(self.task, description="in full")

    def trained(self, finalist: Finalist, final: Final) -> None:
        """A line for a finalist, its accuracy in the search and in full, and one step of the bar."""
        self.bar.update(self.task, advance=1, step="")
        parts = [f"{MARKS[final.status]} [bold]{final.number:>4}[/]"]
        record = trial_record(finalist.trial)
        before = None if record is None or record.evaluation is None else record.evaluation.accuracy
        if final.accuracy is not None and before is not None:
            metric = METRICS["accuracy"]
            parts.append(f"{metric.text(before)} → {metric.text(final.accuracy)}")
        if final.error is not None:
            parts.append(f"[red]{escape(final.error)}[/]")
        parts.append(f"[dim]{escape(what(finalist.architecture.canonical.to_dict()))}[/]")
        self.console.print("  ".join(parts), highlight=False, soft_wrap=True)
