"""From a study's trials to files of one's own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explorer.export.config import write_json, write_yaml
from search_spaces.architecture import Architecture
from search_spaces.errors import InputError

if TYPE_CHECKING:
    import optuna
    import pandas as pd

# a target is one small file and one line here
TARGETS: dict[str, Callable[[Architecture, Path], None]] = {"yaml": write_yaml, "json": write_json}
MANIFEST = "export.json"


class ExportError(InputError):
    """What was asked for is not in the study, or cannot be written; one line."""


def export(
    study: optuna.Study,
    out: str | Path,
    *,
    trial: int | None = None,
    knee: bool = False,
    best_under: Mapping[str, float] | None = None,
    whole_front: bool = False,
    every: bool = False,
    objectives: Sequence[str] | None = None,
    to: Sequence[str] = ("yaml",),
) -> list[Path]:
    """Paths of the files written into the folder `out` for one choice of trials.

    The choice is a trial by number, the knee, the most accurate within budgets in stored units, the whole front, or
    every complete trial, each architecture once. Front and knee are for `objectives`, the study's where None.
    A whole front replaces the study's earlier one in the folder: files that are no longer on it are removed
    (`export.json` lists what was written).

    >>> export(study, "pareto", whole_front=True, to=("yaml", "json"))

    Raises:
        ExportError: no such choice or target; one line.
    """
    if [trial is not None, knee, best_under is not None, whole_front, every].count(True) != 1:
        raise ExportError("choose one of: a trial, the knee, best-under, the front, all")
    if objectives is not None and not (knee or whole_front):
        raise ExportError("objectives: they are those of the front or its knee; choose one of the two")
    for target in to:
        if target not in TARGETS:
            raise ExportError(f"to={target}: not known; use one of {', '.join(TARGETS)}")
    rows = _chosen(study, trial, knee, best_under, every, objectives)
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = [path for _, row in rows.iterrows() for path in _write(study, row, folder, to)]
        _write_manifest(folder, study.study_name, written, replace=whole_front)
    except OSError as error:
        raise ExportError(f"out={out}: cannot be written ({error.strerror}); choose another folder") from None
    return written


def _chosen(
    study: optuna.Study,
    trial: int | None,
    knee: bool,
    best_under: Mapping[str, float] | None,
    every: bool,
    objectives: Sequence[str] | None,
) -> pd.DataFrame:
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


def _write(study: optuna.Study, row: pd.Series[Any], folder: Path, to: Sequence[str]) -> list[Path]:
    safe = re.sub(r"[^\w.+-]", "_", study.study_name).lstrip(".") or "study"
    stem = f"{safe}_{int(row['number']):04d}"
    architecture = Architecture.from_dict(row["architecture"], f"trial {row['number']}")
    architecture = architecture.model_copy(update={"name": stem, "description": describe(study, row)})
    written = []
    for target in to:
        path = folder / f"{stem}.{target}"
        TARGETS[target](architecture, path)
        written.append(path)
    return written


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


def _write_manifest(folder: Path, study: str, written: list[Path], replace: bool) -> None:
    """List what is in the folder; where a whole front is written, remove what was on the study's earlier one."""
    manifest = folder / MANIFEST
    names, before = [path.name for path in written], _read_manifest(manifest)
    earlier = before["files"] if before["study"] == study else []
    for name in earlier if replace else []:
        stale = folder / Path(name).name
        if stale.name not in names and stale.suffix.removeprefix(".") in TARGETS:
            stale.unlink(missing_ok=True)
    kept = [] if replace else [name for name in earlier if name not in names]
    manifest.write_text(json.dumps({"study": study, "files": kept + names}, indent=2) + "\n", encoding="utf-8")


def _read_manifest(manifest: Path) -> dict[str, Any]:
    try:
        found = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if isinstance(found, dict) and isinstance(found.get("files"), list) and "study" in found:
        return {"study": found["study"], "files": [name for name in found["files"] if isinstance(name, str)]}
    return {"study": None, "files": []}
