"""Tables and JSON of what the verbs find; every listing prints as either."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    import optuna
    import pandas as pd

    from explorer.analysis.saved import Trainings
    from explorer.metrics import Metric

Shown = TypeVar("Shown", bound="Display")
WIDE = 180  # columns, where the output is no terminal and nothing should wrap
NARROWEST = 24  # columns that are kept for the architecture, which wraps


def console() -> Console:
    """Standard output."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=WIDE)


def progress_bar(console: Console, **how: Any) -> Progress:
    """A bar with what is done and what is left, in count and in time, and the step under way (field `step`)."""
    return Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("[dim]{task.fields[step]}"),
        console=console,
        transient=True,
        **how,
    )


class Display:
    """A bar on a console for as long as a `with` block lasts."""

    def __init__(self, console: Console, **how: Any) -> None:
        self.console = console
        self.bar = progress_bar(console, **how)

    def __enter__(self: Shown) -> Shown:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()


def print_json(data: Any) -> None:
    """Data as JSON on standard output."""
    print(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False))


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A results frame as plain rows for JSON."""
    rows: list[dict[str, Any]] = json.loads(frame.to_json(orient="records", date_format="iso", double_precision=15))
    return rows


def print_rows(
    title: str, headings: Sequence[str], rows: Iterable[Sequence[str | Text]], footer: Sequence[str] = ()
) -> None:
    """A table of plain strings and styled Text; a leading `>` aligns a column to the right."""
    table = Table(
        title=escape(title), title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim"
    )
    for heading in headings:
        right = heading.startswith(">")
        table.add_column(heading.removeprefix(">"), justify="right" if right else "left", no_wrap=right)
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    out = console()
    out.print(table)
    for line in footer:
        out.print(line, style="dim", markup=False)


def print_trials(
    title: str,
    frame: pd.DataFrame,
    objectives: Sequence[str] = (),
    knee: int | None = None,
    footer: Sequence[str] = (),
    beside: Mapping[str, Mapping[int, str]] | None = None,
) -> None:
    """Trials with the metrics that were measured, latencies with spread and verdict, and what each architecture is.

    Metrics that are no objectives are left out, the last first, where the terminal is too narrow for them. `beside` are
    further columns by their heading: texts by the trial's number.
    """
    import pandas as pd

    from explorer.metrics import FINAL, METRICS
    from explorer.results import latencies, metrics_of

    names = [name for name in METRICS if name != "latency" and frame[METRICS[name].column].notna().any()]
    at = names.index("accuracy") + 1 if "accuracy" in names else 0
    final = [FINAL.name] if frame[FINAL.column].notna().any() else []
    order = names[:at] + final + latencies(frame) + names[at:]
    numbers = [int(number) for number in frame["number"]]
    before = {">Trial": [str(number) for number in numbers]}
    if (frame["status"] != "complete").any():
        before["Status"] = [str(status) for status in frame["status"]]
    after = {heading: [texts.get(number, "") for number in numbers] for heading, texts in (beside or {}).items()}
    measured = {
        metric.column: (f">{_quantity(metric, frame)}", [_measured(metric, row) for _, row in frame.iterrows()])
        for metric in (metrics_of(frame, order) if order else ())
    }
    needed = {metric.column for metric in metrics_of(frame, objectives)} if objectives else set()
    room = console().width - NARROWEST - sum(_width(*column) for column in (before | after).items())
    for name in [name for name in reversed(measured) if name not in needed]:
        if sum(_width(*column) for column in measured.values()) > room:
            del measured[name]
    columns = before | dict(measured.values()) | after
    rows: list[list[str | Text]] = []
    for (_, row), *cells in zip(frame.iterrows(), *columns.values(), strict=True):
        note = row["error"] if not pd.isna(row["error"]) else row["infeasible"]
        name = "" if pd.isna(row["preset"]) else f"{row['preset']}: "
        text = escape(name + ("" if pd.isna(row["what"]) else row["what"]))
        text += "" if pd.isna(note) else f"  [yellow]{escape(note)}[/]"
        text += "  [bold #D55E00]◆ knee[/]" if row["number"] == knee else ""
        rows.append([*cells, Text.from_markup(text)])
    print_rows(title, [*columns, "Architecture"], rows, footer)


def _measured(metric: Metric, row: pd.Series[Any]) -> str:
    """A trial's value: "2.31 ± 0.04 noisy" of a latency; "" where it was not measured."""
    import pandas as pd

    from explorer.results import interval_columns, verdict_column

    if pd.isna(row[metric.column]):
        return ""
    text, ends = metric.number(float(row[metric.column])), interval_columns(metric)
    if ends is None:
        return text
    verdict = row[verdict_column(metric)]
    return f"{text} ± {(row[ends[1]] - row[ends[0]]) / 2:.2g}" + (
        "" if pd.isna(verdict) or verdict == "ok" else f" {verdict}"
    )


def _quantity(metric: Metric, frame: pd.DataFrame) -> str:
    """A metric's heading in short lines; where there are several latencies it says what each is of."""
    name, _, of = metric.label.partition(" ")
    first = frame.attrs.get("latency")
    if metric.name == "latency" and first is not None and any("@" in str(column) for column in frame.columns):
        of = first
    lines = [""]
    for part in re.findall("[^/_]+[/_]?", of):
        if len(lines[-1] + part) > 12:
            lines.append("")
        lines[-1] += part
    return "\n".join(filter(None, [name, *lines, metric.unit]))


def _width(heading: str, cells: Iterable[str]) -> int:
    """Columns of the terminal that a column of a table takes, with the two spaces after it."""
    lines = [line for text in (heading.removeprefix(">"), *cells) for line in text.split("\n")]
    return 2 + max(map(cell_len, lines))


def front_rows(study: optuna.Study, objectives: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """The front as plain rows for JSON, then the candidates off it that cannot be told from it; see print_front."""
    from explorer import results
    from explorer.storage import study_objectives
    from explorer.ties import almost_on_front, front_probability, ties

    frame, objectives = results.frame(study), objectives or study_objectives(study)
    knee, tied, sure = results.knee(frame, objectives), ties(frame, objectives), front_probability(frame, objectives)
    found = []
    members, others = results.front(frame, objectives), almost_on_front(frame, objectives, sure)
    for rows, on_front in ((rows_of(members), True), (rows_of(others), False)):
        for row in rows:
            number = row["number"]
            added = {"on_front": on_front, "probability": float(sure[number]), "ties": list(tied.get(number, ()))}
            found.append({**row, "knee": knee is not None and number == int(knee["number"]), **added})
    return found


def print_front(study: optuna.Study, as_json: bool, objectives: Sequence[str] | None = None) -> None:
    """A study's front with its knee, how sure it is, the latency's conditions and the hypervolume.

    Below it are the candidates off the front that cannot be told from it. `objectives` are the study's where None.
    """
    from explorer import results
    from explorer.storage import study_objectives
    from explorer.ties import almost_on_front, front_probability, ties

    if as_json:
        print_json(front_rows(study, objectives))
        return
    frame, objectives = results.frame(study), objectives or study_objectives(study)
    members, knee = results.front(frame, objectives), results.knee(frame, objectives)
    if members.empty:
        console().print(f"study {study.study_name}: no complete trial yet, so no front", markup=False)
        return
    volume = results.hypervolume(frame, objectives)
    reference = ", ".join(f"{name} {value:.4g}" for name, value in volume.attrs["reference"].items())
    timed = [name for name in objectives if name.partition("@")[0] == "latency"] or ["latency"]
    known = ((results.conditions(frame, name), results.coverage(frame, name)) for name in timed)
    footer = [f"{where} · {measured}" for where, measured in known if where]
    footer.append(f"hypervolume {volume.iloc[-1]:.4g} to the reference {reference}")
    sure, tied = front_probability(frame, objectives), ties(frame, objectives)
    beside = {">On\nfront": {int(trial): f"{sure[trial]:.2f}" for trial in sure.index}}
    if tied:
        beside["Ties"] = {trial: "≈ " + ", ".join(map(str, with_whom)) for trial, with_whom in tied.items()}
        footer.append("On front: its probability, as latencies vary in their intervals; ≈: these overlap")
    title = f"Pareto front of {study.study_name}: {' against '.join(objectives)}"
    print_trials(title, members, objectives, None if knee is None else int(knee["number"]), footer, beside)
    others = almost_on_front(frame, objectives, sure)
    if not others.empty:
        console().print()
        print_trials("Off the front, and cannot be told from it", others, objectives, beside=beside)


def short_count(number: int) -> str:
    """A number of architectures: all its digits, or four of them where it has more than twelve."""
    return f"{number:,}" if number < 10**12 else f"{number:.3e}"


def span(seconds: float) -> str:
    """A stretch of time in the largest unit that it has twice: "2.5 h"."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.0f} s"


def trainings_said(found: Trainings) -> str:
    """What was trained and what was not, in words; empty where every training ran to its end."""
    if not found.stopped + found.unbegun:
        return ""
    whole = f"{found.whole} trained to the end, {found.stopped} stopped early, {found.unbegun} not trained"
    if not found.saved > 0:
        return whole
    share = 100 * found.saved / (found.saved + found.seconds)
    return f"{whole}: {span(found.seconds)} of training, about {span(found.saved)} saved ({share:.0f} %)"
