"""Tables and JSON of what the verbs find; every listing prints as either."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    import optuna
    import pandas as pd

    from explorer.metrics import Metric

WIDE = 180  # columns, where the output is no terminal and nothing should wrap


def console() -> Console:
    """Standard output."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=WIDE)


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
    knee: int | None = None,
    footer: Sequence[str] = (),
    beside: Mapping[str, Mapping[int, str]] | None = None,
) -> None:
    """Trials with the metrics that were measured, latencies with spread and verdict, and what each architecture is.

    `beside` are further columns by their heading: texts by the trial's number.
    """
    import pandas as pd

    from explorer.metrics import METRICS
    from explorer.results import interval_columns, latencies, metrics_of, verdict_column

    names = [name for name in METRICS if name != "latency" and frame[METRICS[name].column].notna().any()]
    at = names.index("accuracy") + 1 if "accuracy" in names else 0
    order = names[:at] + latencies(frame) + names[at:]
    shown = metrics_of(frame, order) if order else ()
    mixed = bool((frame["status"] != "complete").any())
    quantities = [f">{_quantity(metric, frame)}" for metric in shown]
    headings = [">Trial", *(["Status"] if mixed else []), *quantities, *(beside or {}), "Architecture"]
    rows: list[list[str | Text]] = []
    for _, row in frame.iterrows():
        cells = [str(row["number"]), *([str(row["status"])] if mixed else [])]
        for metric in shown:
            value = row[metric.column]
            text = "" if pd.isna(value) else metric.number(float(value))
            if text and (ends := interval_columns(metric)) is not None:
                text += f" ± {(row[ends[1]] - row[ends[0]]) / 2:.2g}"
                verdict = row[verdict_column(metric)]
                text += "" if pd.isna(verdict) or verdict == "ok" else f" {verdict}"
            cells.append(text)
        cells += [texts.get(int(row["number"]), "") for texts in (beside or {}).values()]
        note = row["error"] if not pd.isna(row["error"]) else row["infeasible"]
        name = "" if pd.isna(row["preset"]) else f"{row['preset']}: "
        text = escape(name + ("" if pd.isna(row["what"]) else row["what"]))
        text += "" if pd.isna(note) else f"  [yellow]{escape(note)}[/]"
        text += "  [bold #D55E00]◆ knee[/]" if row["number"] == knee else ""
        rows.append([*cells, Text.from_markup(text)])
    print_rows(title, headings, rows, footer)


def _quantity(metric: Metric, frame: pd.DataFrame) -> str:
    """A metric's heading; where there are several latencies, what each is of stands in a line of its own."""
    first = frame.attrs.get("latency")
    if metric.name == "latency" and first is not None and any("@" in str(column) for column in frame.columns):
        return f"{metric.label}\n{first}, {metric.unit}"
    return metric.quantity.replace(" ", "\n", 1) if "@" in metric.name else metric.quantity


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
    footer = [results.conditions(frame, name) for name in timed]
    footer.append(f"hypervolume {volume.iloc[-1]:.4g} to the reference {reference}")
    sure, tied = front_probability(frame, objectives), ties(frame, objectives)
    beside = {">On front": {int(trial): f"{sure[trial]:.2f}" for trial in sure.index}}
    if tied:
        beside["Ties"] = {trial: "≈ " + ", ".join(map(str, with_whom)) for trial, with_whom in tied.items()}
        footer.append("on front: its probability, as latencies vary in their intervals; ≈: these overlap")
    title = f"Pareto front of {study.study_name}: {' against '.join(objectives)}"
    print_trials(title, members, None if knee is None else int(knee["number"]), footer, beside)
    others = almost_on_front(frame, objectives, sure)
    if not others.empty:
        console().print()
        print_trials("Off the front, and cannot be told from it", others, beside=beside)


def short_count(number: int) -> str:
    """A number of architectures: all its digits, or four of them where it has more than twelve."""
    return f"{number:,}" if number < 10**12 else f"{number:.3e}"
