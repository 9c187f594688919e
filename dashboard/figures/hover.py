"""Returns what a trial is as the text that shows beside its point: number, numbers with intervals, what is wrong."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from html import escape
from typing import Any

import pandas as pd

from explorer import results
from explorer.metrics import METRICS, Metric
from explorer.published import RECIPE, published


def texts(several: Sequence[pd.DataFrame], named: Sequence[Metric], probability: pd.Series[Any]) -> dict[int, str]:
    """What each row of several frames is, in lines, by trial number; `named` are metrics as they are to be called."""
    found: dict[int, str] = {}
    for rows in several:
        found |= zip(map(int, rows["number"]), _texts(rows, named, probability), strict=True)
    return found


def _texts(rows: pd.DataFrame, named: Sequence[Metric], probability: pd.Series[Any]) -> list[str]:
    """The same of one frame."""
    shown = results.metrics_of(rows, dict.fromkeys([*METRICS, *results.latencies(rows)]))
    names = {metric.column: metric for metric in named}
    shown = tuple(names.get(metric.column, metric) for metric in shown)
    columns = ["number", "preset", "what", "infeasible", "error"]  # without the others, of which there may be 60
    for metric in shown:
        ends = results.interval_columns(metric)
        columns += [metric.column, *(ends or ()), *([results.verdict_column(metric)] if ends else [])]
    slim = rows[[column for column in dict.fromkeys(columns) if column in rows.columns]].astype("object")
    slim = slim.where(slim.notna(), None)
    near = probability[probability.index.isin(rows["number"])]
    chances = dict(zip(near.index, near, strict=True))
    return [_lines(row, shown, chances.get(row["number"])) for row in slim.to_dict("records")]


def share_text(share: float) -> str:
    """A share in whole percent, with nothing and everything told from what is near to them: "<1 %", "87 %", ">99 %"."""
    percent = 100 * share
    if 0 < percent < 0.5:
        return "<1 %"
    return ">99 %" if 99.5 <= percent < 100 else f"{percent:.0f} %"


def _lines(row: dict[Hashable, Any], shown: Sequence[Metric], chance: float | None) -> str:
    preset = f" · {escape(row['preset'])}" if row.get("preset") else ""
    lines = [f"<b>trial {row['number']}</b>{preset}"]
    if row.get("what"):
        lines.append(escape(row["what"]))
    for metric in shown:
        if row.get(metric.column) is not None:
            lines.append(f"{escape(metric.label)}: {metric.text(row[metric.column])}{_interval_text(row, metric)}")
    if chance is not None:
        lines.append(f"on the front: {share_text(chance)} of draws")
    if row.get("infeasible"):
        lines.append(f"not trained: {escape(row['infeasible'])}")
    if row.get("error"):
        lines.append(f"failed: {escape(row['error'][:120])}")
    if row.get("preset") in (models := _top1()):
        lines.append(f"{models[row['preset']]:.1f} % top-1 ({RECIPE})")
    return "<br>".join(lines)


def _interval_text(row: Mapping[Hashable, Any], metric: Metric) -> str:
    """The ends of a latency's interval, and its verdict where that is not ok."""
    ends = results.interval_columns(metric)
    if ends is None or any(row.get(end) is None for end in ends):
        return ""
    verdict = row.get(results.verdict_column(metric))
    doubt = f" {escape(verdict)}" if verdict not in (None, "ok") else ""
    return f" [{', '.join(f'{row[end]:.3g}' for end in ends)}]{doubt}"


@cache
def _top1() -> dict[str, float]:
    """Published accuracies by the model's name, %."""
    models = published()
    return dict(zip(models["name"], models["top1"], strict=True))
