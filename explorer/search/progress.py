"""What a person sees of a running search: a bar with the step under way, and a line for each finished trial."""

from __future__ import annotations

import optuna
from rich.console import Console
from rich.markup import escape

from explorer.analysis.saved import trainings
from explorer.fidelity import in_words
from explorer.frame import frame
from explorer.metrics import metrics
from explorer.record import Evaluation, TrialRecord
from explorer.results import what
from explorer.search.study import Plan
from explorer.show import Display, short_count, trainings_said
from explorer.storage import ATTRIBUTE, hide_password

MARKS = {
    "complete": "[green]✓[/]",
    "infeasible": "[yellow]∅[/]",
    "stopped": "[yellow]■[/]",
    "failed": "[red]✗[/]",
    "interrupted": "[red]…[/]",
    "duplicate": "[dim]=[/]",
}


def announce(console: Console, study: optuna.Study, plan: Plan, storage: str, *more: str) -> None:
    """Say what is searched, under which conditions, where it is kept, and what more there is to say, a line each."""
    where = plan.record()["conditions"]
    size = short_count(plan.space.size)
    threads = "" if where["threads"] is None else f", threads {where['threads']}"
    batches = ", ".join(map(str, where["batch_sizes"]))
    begun = len(study.get_trials(deepcopy=False))
    lines = [
        f"[bold]{escape(study.study_name)}[/] in {escape(hide_password(storage))}"
        + (f", which has {begun} trials: continued" if begun else ""),
        f"[dim]space {escape(plan.space.name)}, {size} architectures; {' against '.join(plan.objectives)}[/]",
        f"[dim]{where['device_name']}, {', '.join(where['runtimes'])}, {where['precision']}"
        f", batch {batches}{threads}[/]",
    ]
    if "accuracy" in plan.objectives:
        classes = plan.space.root.leaf("classes").options[0]
        trained = in_words(plan.work.data, plan.work.settings.model_dump())
        lines.append(f"[dim]trained on {escape(trained)}; {classes} classes[/]")
    lines += [f"[dim]{escape(text)}[/]" for text in more if text]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def conclude(console: Console, study: optuna.Study, ended: str) -> None:
    """Say why the search has ended, and what was trained and what was not."""
    console.print(f"{ended}: study {study.study_name}", style="bold", highlight=False, markup=False)
    stored = study.user_attrs.get(ATTRIBUTE, {})
    if "accuracy" in stored.get("objectives", ()) and (told := trainings_said(trainings(frame(study), stored))):
        console.print(f"[dim]{escape(told)}[/]", highlight=False, soft_wrap=True)


def _stopped(record: TrialRecord) -> str:
    """What a rule did, in a few words; the record has the whole reason."""
    when = f"stopped after epoch {record.stopped_after}" if record.stopped_after else "not trained"
    expected = "" if record.expected_accuracy is None else f", {record.expected_accuracy:.1f} % expected"
    return f"[yellow]{when}{expected}[/]"


def doubts(evaluation: Evaluation) -> list[str]:
    """What is not to be trusted of the latencies: ["noisy", "cuda_graph/b1 throttled"]."""
    named = [("", evaluation.latency), *((f"{key} ", latency) for key, latency in evaluation.latencies.items())]
    return [f"{key}{one.verdict}" for key, one in named if one is not None and one.verdict not in ("ok", None)]


class SearchProgress(Display):
    """A live display; on a console that is no terminal only the lines of finished trials."""

    def __init__(self, console: Console, study: optuna.Study, objectives: tuple[str, ...], total: int | None) -> None:
        super().__init__(console, refresh_per_second=4)  # each refresh takes time from what is being timed
        self.study, self.objectives = study, metrics(objectives)
        self.task = self.bar.add_task(escape(study.study_name), total=total, step="")

    def already(self, done: int) -> None:
        """Trials that an earlier run of this search has finished."""
        self.bar.update(self.task, completed=done)

    def step(self, text: str) -> None:
        """What is being done now."""
        self.bar.update(self.task, step=escape(text))

    def gone(self, waited: float, why: str) -> None:
        """That the storage cannot be reached, for so many seconds by now."""
        if not waited:
            self.warn(f"the storage is gone, trying again: {why}")
        self.step(f"waiting for the storage, {waited:.0f} s")

    def warn(self, text: str) -> None:
        """A line that stays: something that a person should know of."""
        self.console.print(f"[yellow]![/] {escape(text)}", highlight=False, soft_wrap=True)

    def finished(self, number: int, record: TrialRecord, counted: bool, on_front: bool) -> None:
        """A line for a finished trial, and one step of the bar where it counts."""
        self.bar.update(self.task, advance=1 if counted else 0, step="")
        parts = [f"{MARKS[record.status]} [bold]{number:>4}[/]"]
        evaluation = record.evaluation
        if evaluation is not None:
            for metric in self.objectives:
                value = metric.read(evaluation)
                if value is not None:
                    parts.append(f"{metric.text(value):>10}")
            parts += [f"[yellow]{doubt}[/]" for doubt in doubts(evaluation)]
        if record.stopped_after is not None:
            parts.append(_stopped(record))
        if record.error is not None:
            parts.append(f"[red]{escape(record.error)}[/]")
        elif evaluation is not None and evaluation.infeasible is not None:
            parts.append(f"[yellow]{escape(evaluation.infeasible)}[/]")
        parts.append(f"[dim]{escape(record.preset or what(record.architecture))}[/]")
        if on_front:
            parts.append("[bold #0072B2]● front[/]")
        self.console.print("  ".join(parts), highlight=False, soft_wrap=True)
