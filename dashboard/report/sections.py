"""Returns the parts of a study's report, each a function of the study, or None where it has nothing to say.

`SECTIONS` lists them in their order on the page.
"""

from __future__ import annotations

import platform
import shlex
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from dashboard.canvas import ThemeName, called
from dashboard.drawing import drawing_alt, drawing_svg
from dashboard.figures.devices import rank_agreement, short
from dashboard.figures.edf import edf_curves
from dashboard.figures.front import front_of
from dashboard.figures.history import hypervolume_history, hypervolume_table
from dashboard.figures.importance import importance_dots
from dashboard.figures.landscape import Landscape
from dashboard.figures.learning import learning_curves
from dashboard.parts import decide
from dashboard.parts.latency_tables import agreement_table, measured_table, transfers_table
from dashboard.report.page import ROWS, Section, code, facts, folded, heading, picture, rows, text
from dashboard.report.study import Study
from explorer import results, structure
from explorer.analysis import agreement, convergence, distribution, faults, learning, saved, transfer
from explorer.analysis.importance import Importance, ImportanceError, importance
from explorer.analysis.strongest import strongest_split
from explorer.metrics import Metric, metric

VERSIONS = ("vitscape", "optuna", "pandas", "plotly")


def lead(study: Study) -> list[str]:
    """What the study is, in a few facts."""
    record, frame = study.reading.record, study.frame
    counts = frame["status"].astype("object").value_counts()
    limits = {name: value for name, value in (record.get("limits") or {}).items() if value is not None}
    timed = results.latencies(frame)
    bounds = [f"{metric(name).label} at most {metric(name).text(value)}" for name, value in limits.items()]
    values = {
        "Space": str(record.get("space_name", "")),
        "Objectives": ", ".join(study.metric(name).quantity for name in study.objectives),
        "Data": study.reading.data or "nothing was trained",
        "Latency": "; ".join(results.conditions(frame, name) for name in timed) or "none was measured",
        "Limits": ", ".join(bounds) or "none",
        "Trials": f"{len(frame):,}: " + (", ".join(f"{n:,} {name}" for name, n in counts.items()) or "none yet"),
    }
    return [facts(values)]


def _front(study: Study) -> Section | None:
    """The fronts, and the table of each."""
    if not study.scenes:
        said, next_step = decide.why_empty(study.frame) or (
            "No front yet.",
            "No complete trial has two of the objectives: let the search run on.",
        )
        return Section("Pareto front", [text(said), text(next_step)])
    parts = []
    for scene in study.scenes:
        draw = partial(_draw_front, scene, study.reading.data)
        parts.append(study.charts.chart(draw, decide.table(scene)))
        parts.append(text(decide.likely(scene), muted=True))
    rule = "The knee is the point of the front farthest from the line between its ends, costs on a logarithmic scale."
    return Section("Pareto front", [*parts, text(rule, muted=True)])


def _draw_front(scene: Landscape, data: str, theme: ThemeName, width: int | None) -> Any:
    return front_of(scene, data=data, theme=theme, width=width)


def _networks(study: Study) -> Section | None:
    """The members of the front to look at first, drawn, with the command that exports each."""
    if not study.scenes:
        return None
    scene = study.scenes[0]
    parts = []
    for name, row in decide.landmarks(scene).items():
        number = int(row["number"])
        record = study.storage.trial(study.reading.name, number)
        numbers = [decide.phrase(row, shown) for shown in (scene.y, scene.x)]
        sure = scene.probability.get(number)
        chance = [] if sure is None else [f"on the front with probability {sure:.2f}"]
        parts += [heading(f"{name}: trial {number}"), text(", ".join([*numbers, *chance]) + f". {row['what']}")]
        if record is not None:
            draw = partial(_draw_network, record.architecture)
            parts.append(picture(draw, drawing_alt(record.architecture)))
        parts.append(code(f"vitscape export {study.words} --trial {number} --out pareto"))
    return Section("Networks to choose from", parts)


def _draw_network(architecture: dict[str, Any], theme: ThemeName, width: int) -> str:
    return drawing_svg(architecture, theme=theme, width=width)


def _history(study: Study) -> Section | None:
    """Hypervolume after each trial, against the reference point of the dashboard."""
    if not study.scenes:
        return None
    names = [name for name in study.objectives if study.frame[study.metric(name).column].notna().any()]
    reference = convergence.common_reference([study.frame], names)
    steps = convergence.growth(study.frame, names, reference)
    shown = steps
    if len(steps) > ROWS:  # a page writes no more of a table: some all along it, and not the first ones
        shown = steps.iloc[np.linspace(0, len(steps) - 1, ROWS).round().astype(int)]
    table = hypervolume_table(shown, results.metrics_of(study.frame, names))

    def draw(theme: ThemeName, width: int | None) -> Any:
        return hypervolume_history(study.frame, names, reference=reference, theme=theme, width=width)

    parts = [study.charts.chart(draw, table)]
    if len(shown) < len(steps):
        parts.append(text(f"The table has {len(shown):,} of the {len(steps):,} steps, evenly chosen.", muted=True))
    return Section("Progress of the search", parts)


def _importance(study: Study) -> Section | None:
    """What each objective depends on."""
    parts = []
    for name in study.objectives if study.scenes else ():
        try:
            found = importance(study.frame, name)
        except ImportanceError as error:
            parts.append(text(str(error)))
            continue
        parts.append(study.charts.chart(partial(_draw_importance, found, study.metric(name)), found.table))
    return Section("What the objectives depend on", parts) if parts else None


def _draw_importance(found: Importance, metric: Metric, theme: ThemeName, width: int | None) -> Any:
    return importance_dots(found, metric, theme=theme, width=width)


def _learning(study: Study) -> Section | None:
    """Accuracy after each epoch, of the front's members and of a sample of the others."""
    proxy = study.reading.record.get("proxy") or {}
    front, others = learning.sample(study.frame, study.objectives)
    curves = study.storage.curves(study.reading.name, [*front, *others])
    if curves.empty:
        return None
    epochs = int(proxy.get("stop_epoch") or proxy.get("epochs") or curves["epoch"].max())
    trained = len(saved.trained(study.frame))
    last = curves.groupby("number", as_index=False).last()

    def draw(theme: ThemeName, width: int | None) -> Any:
        data = study.reading.data
        return learning_curves(curves, front, epochs=epochs, trained=trained, data=data, theme=theme, width=width)

    table = last.rename(columns={"number": "Trial", "epoch": "Epochs", "accuracy": "Last top-1 (proxy), %"})
    return Section("Learning curves", [study.charts.chart(draw, table)])


def _distributions(study: Study) -> Section | None:
    """How the first objective is distributed over the choice that tells most of it."""
    if not study.scenes:
        return None
    goal = study.scenes[0].y.name
    split = strongest_split(study.frame, goal)
    if split is None:
        return None
    found = distribution.edf(study.frame, goal, split)
    data = study.reading.data

    def draw(theme: ThemeName, width: int | None) -> Any:
        return edf_curves(found, data=data, theme=theme, width=width)

    metric = called(found.metric, data)
    table = found.levels.assign(
        **{name: found.levels[name] * metric.scale for name in ("median", "lo", "hi", "best") if name in found.levels}
    ).rename(
        columns={
            "level": structure.label(split),
            "trials": "Trials",
            "median": f"Median, {metric.unit}",
            "lo": "95 % from",
            "hi": "to",
            "best": f"Best, {metric.unit}",
            "drawn": "Drawn",
        }
    )
    note = (
        f"Of all choices, {structure.label(split)} tells most of {metric.label}. The trials are no unbiased sample of"
        " the space: the sampler follows the front."
    )
    return Section("Design space", [text(distribution.in_words(found)), study.charts.chart(draw, table), text(note)])


def _devices(study: Study) -> Section | None:
    """What was timed where, and how far it agrees."""
    frame = study.frame
    if not results.latencies(frame):
        return None
    parts = [rows(measured_table(frame))]
    table = agreement.agreement(frame)
    if len(table):

        def draw(theme: ThemeName, width: int | None) -> Any:
            return rank_agreement(table, frame, theme=theme, width=width)

        parts.append(study.charts.chart(draw, agreement_table(frame, table)))
        if study.scenes and len(every := transfer.transfers(frame, study.scenes[0].y.name)):
            goal = study.metric(study.scenes[0].y.name)
            parts.append(folded("What choosing by another device costs", rows(transfers_table(frame, every, goal))))
    if len(results.latencies(frame)) == 1:
        only = short(frame, results.latencies(frame)[0])
        parts.append(text(f"{only} is the only latency: vitscape measure and vitscape attach add other devices'."))
    return Section("Devices", parts)


def _failures(study: Study) -> Section | None:
    """Failed trials by reason, and what else is wrong."""
    frame = study.frame
    table = faults.failures(frame)
    doubtful = faults.doubtful(frame)
    parts = []
    if len(table):
        shown = table.assign(share=100 * table["share"])
        names = {"reason": "Reason", "trials": "Trials", "share": "of the failed, %", "example": "Example: trial"}
        parts.append(rows(shown.rename(columns=names)))
        parts.append(text("vitscape dashboard shows each with its traceback, on page Trials.", muted=True))
    if len(doubtful):
        shown = doubtful.assign(share=100 * doubtful["share"], latency=[short(frame, n) for n in doubtful["latency"]])
        names = {"latency": "Latency", "verdict": "Verdict", "trials": "Trials", "share": "of the measured, %"}
        parts += [heading("Latencies that are not trusted"), rows(shown.rename(columns=names))]
        parts.append(text(f"To time the front again: vitscape front {study.words} --remeasure", muted=True))
    return Section("What went wrong", parts) if parts else None


def _provenance(study: Study) -> Section | None:
    """Versions, settings, and the command that made the file."""
    record, frame = study.reading.record, study.frame
    conditions, proxy = record.get("conditions") or {}, record.get("proxy") or {}
    started, finished = frame["started"].min(), frame["finished"].max()
    values = {
        "Storage": study.storage.shown,
        "Study": study.reading.name,
        "First trial started": f"{started:%Y-%m-%d %H:%M} UTC" if pd.notna(started) else "not yet",
        "Last trial finished": f"{finished:%Y-%m-%d %H:%M} UTC" if pd.notna(finished) else "not yet",
        "Measured under": _listed(conditions),
        "Proxy training": _listed(proxy),
        "Seed": str(record.get("seed", "not recorded")),
        "Read": f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
        "Versions of the reader": ", ".join(
            [f"python {platform.python_version()}", *(f"{name} {version(name)}" for name in VERSIONS)]
        ),
    }
    chosen = f" --objectives {','.join(study.objectives)}" if study.objectives != study.reading.objectives else ""
    command = f"vitscape report {study.words.removeprefix('--study ')}{chosen} --out {shlex.quote(study.out.name)}"
    return Section("How it was made", [facts({k: v for k, v in values.items() if v}), code(command)])


def _listed(values: dict[str, Any]) -> str:
    """Settings in one line; those that are not set are left out."""
    said = []
    for name, value in values.items():
        if isinstance(value, dict):
            value = [f"{key} {one}" for key, one in value.items()]
        if value not in (None, []):
            words = " ".join(map(str, value)) if isinstance(value, list) else str(value)
            said.append(f"{name.replace('_', ' ')} {words}")
    return ", ".join(said)


SECTIONS: tuple[Callable[[Study], Section | None], ...] = (
    _front,
    _networks,
    _history,
    _distributions,
    _importance,
    _learning,
    _devices,
    _failures,
    _provenance,
)
