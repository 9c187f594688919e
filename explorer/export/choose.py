"""Which of a study's trials are exported, and what is said of each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from explorer.export.errors import ExportError
from explorer.export.subject import Subject
from search_spaces.architecture import Architecture

if TYPE_CHECKING:
    import optuna
    import pandas as pd

    from explorer.record import TrialRecord


def chosen(
    study: optuna.Study,
    trial: int | None,
    knee: bool,
    best_under: Mapping[str, float] | None,
    every: bool,
    objectives: Sequence[str] | None,
) -> pd.DataFrame:
    """The rows of the study's frame that are meant; the front where nothing else is.

    Raises:
        ExportError: there is none; one line.
    """
    from explorer import results
    from explorer.metrics import metric
    from explorer.storage import study_objectives

    frame, objectives = results.frame(study), objectives or study_objectives(study)
    if trial is not None:
        row = results.find_trial(frame, trial)
        if row is None:
            raise ExportError(
                f"trial={trial}: study {study.study_name} has {len(frame)} trials, none such with a record"
            )
        return row.to_frame().T
    if best_under is not None:
        goal = "accuracy" if "accuracy" in objectives else objectives[0]
        row = results.best_under(frame, goal, **best_under)
        if row is None:
            asked = ", ".join(f"{name}={metric(name).text(value)}" for name, value in best_under.items())
            raise ExportError(f"best-under {asked}: no trial of study {study.study_name} is within it; allow more")
        return row.to_frame().T
    if every:
        rows = frame[(frame["status"] == "complete") & ~frame["duplicate"]]
    elif knee:
        row = results.knee(frame, objectives)
        rows = frame.head(0) if row is None else row.to_frame().T
    else:
        rows = results.front(frame, objectives)
    if rows.empty:
        raise ExportError(f"study {study.study_name} has no complete trial with {', '.join(objectives)} yet")
    return rows


def subject_of(study: optuna.Study, row: pd.Series[Any], record: TrialRecord | None = None) -> Subject:
    """A row's architecture, named after study and trial, and described by its numbers; `record` is for the manifest."""
    number = int(row["number"])
    name = f"{safe_name(study.study_name)}_{number:04d}"
    architecture = Architecture.from_dict(row["architecture"], f"trial {number}")
    architecture = architecture.model_copy(update={"name": name, "description": describe(study, row)})
    origin: dict[str, Any] = {"trial": number}
    if record is not None and record.evaluation is not None:
        origin["evaluation"] = record.evaluation.model_dump(mode="json")
    return Subject(name, architecture, origin=origin)


def safe_name(text: str) -> str:
    """Words as a file may be called, which lead out of no folder and are no option; "export" is the manifest's."""
    plain = re.sub(r"[^\w.+-]", "_", text).lstrip(".-")
    while len(plain.encode()) > 200:  # file systems take 255 bytes, and endings follow
        plain = plain[:-1]
    return "export_" if plain == "export" else plain or "study"


def describe(study: optuna.Study, row: pd.Series[Any]) -> str:
    """A trial's numbers with their conditions, in one line."""
    import pandas as pd

    from explorer.metrics import METRICS, metric
    from explorer.results import interval_columns, latencies, verdict_column
    from explorer.storage import study_record

    names = dict.fromkeys([*METRICS, *latencies(row.to_frame().T)])
    known = [one for one in map(metric, names) if not pd.isna(row[one.column])]
    numbers = {one.name: f"{one.label} {one.text(float(row[one.column]))}" for one in known}
    if "accuracy" in numbers:
        numbers["accuracy"] += f" on {study_record(study)['data']['source']}"
    for one in known:
        if (ends := interval_columns(one)) is not None:
            low, high = (row[end] for end in ends)
            said = [f"95 % interval {low:.3g} to {high:.3g} ms"]
            if one.name == "latency":
                said += [f"{row['device_name']}, {row['runtime']}, {row['precision']}, batch {row['batch_size']}"]
            if not pd.isna(row[verdict_column(one)]) and row[verdict_column(one)] != "ok":
                said += [row[verdict_column(one)]]
            numbers[one.name] += f" ({'; '.join(said)})"
    return f"Trial {row['number']} of study {study.study_name}: {', '.join(numbers.values())}"
