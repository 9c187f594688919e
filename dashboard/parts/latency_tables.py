"""Returns the tables of how latencies agree, with headings that have units, as the pages and the report show them."""

from __future__ import annotations

import pandas as pd

from dashboard.figures.devices import short
from explorer import results
from explorer.analysis import agreement
from explorer.analysis.agreement import quantity
from explorer.metrics import Metric


def measured_table(frame: pd.DataFrame) -> pd.DataFrame:
    """What was measured of the complete architectures, a row a latency."""
    complete = frame[(frame["status"] == "complete") & ~frame["duplicate"]]
    rows = []
    for name in results.latencies(frame):
        metric = quantity(frame, name)
        verdicts = complete[results.verdict_column(metric)]
        rows.append(
            {
                "Latency": short(frame, name),
                "Conditions": results.conditions(frame, name),
                f"Measured, of {len(complete):,} complete": int(complete[metric.column].notna().sum()),
                "Noisy": int((verdicts == "noisy").sum()),
                "Left out (shared, throttled)": int(verdicts.isin(agreement.DOUBTFUL).sum()),
            }
        )
    return pd.DataFrame(rows)


def agreement_table(frame: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """The numbers of explorer.analysis.agreement.agreement."""
    names = {name: short(frame, name) for name in {*table["first"], *table["second"]}}
    shown = table.assign(first=table["first"].map(names), second=table["second"].map(names))
    return shown.assign(told=100 * shown["told"], same=100 * shown["same"]).rename(
        columns={
            "first": "First",
            "second": "Second",
            "n": "Architectures",
            "tau": "Kendall's tau-b",
            "tau_lo": "tau, 95 % from",
            "tau_hi": "tau, to",
            "rho": "Spearman's rho",
            "rho_lo": "rho, 95 % from",
            "rho_hi": "rho, to",
            "told": "Pairs told apart by both, %",
            "same": "of those in the same order, %",
        }
    )


def movers_table(frame: pd.DataFrame, moved: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """The numbers of explorer.analysis.agreement.movers."""
    a, b, counted = short(frame, first), short(frame, second), quantity(frame, first)
    return moved.assign(first=moved["first"] * counted.scale).rename(
        columns={
            "number": "Trial",
            "what": "Architecture",
            "first": f"{a}, {counted.unit}",
            "second": f"{b}, ms",
            "rank_first_lo": f"Best rank by {a}",
            "rank_first_hi": f"Worst rank by {a}",
            "rank_second_lo": f"Best rank by {b}",
            "rank_second_hi": f"Worst rank by {b}",
            "moved": "Ranks moved for certain (more: slower)",
        }
    )


def transfer_table(frame: pd.DataFrame, table: pd.DataFrame, by: str, on: str, goal: Metric) -> pd.DataFrame:
    """The numbers of explorer.analysis.transfer.transfer; `goal` as it is to be called."""
    counted = quantity(frame, by)
    return table.assign(
        goal=table["goal"] * goal.scale, lost=table["lost"] * goal.scale, by=table["by"] * counted.scale
    ).rename(
        columns={
            "number": "Trial",
            "what": "Architecture",
            "goal": goal.quantity,
            "by": f"{short(frame, by)}, {counted.unit}",
            "on": f"{short(frame, on)}, ms",
            "stays": "Stays on the front",
            "better": "Best in its time: trial",
            "lost": f"Lost to it, {difference(goal)}",
            "faster": "Quickest as good: trial",
            "time_lost": "Longer than it, %",
        }
    )


def transfers_table(frame: pd.DataFrame, table: pd.DataFrame, goal: Metric) -> pd.DataFrame:
    """The numbers of explorer.analysis.transfer.transfers."""
    names = {name: short(frame, name) for name in {*table["by"], *table["on"]}}
    return table.assign(
        by=table["by"].map(names),
        on=table["on"].map(names),
        lost_mean=table["lost_mean"] * goal.scale,
        lost_most=table["lost_most"] * goal.scale,
    ).rename(
        columns={
            "by": "Chosen by",
            "on": "Used on",
            "n": "Architectures",
            "members": "On the front",
            "stay": "Stay",
            "open": "Cannot be told",
            "leave": "Leave",
            "lost_mean": f"Lost, mean, {difference(goal)}",
            "lost_most": f"Lost, most, {difference(goal)}",
            "time_lost_mean": "Longer, mean, %",
        }
    )


def predicted_table(table: pd.DataFrame) -> pd.DataFrame:
    """The numbers of explorer.analysis.held_out.held_out, the worst first."""
    return table.sort_values("error", key=lambda error: -error.abs(), kind="stable").rename(
        columns={
            "number": "Trial",
            "what": "Architecture",
            "measured": "Measured, ms",
            "lo": "95 % from, ms",
            "hi": "to, ms",
            "predicted": "Predicted, ms",
            "predicted_lo": "Predicted 95 % from, ms",
            "predicted_hi": "predicted to, ms",
            "error": "Error, %",
            "inside": "Measured inside of it",
            "in_domain": "In the domain",
            "why": "Why not",
        }
    )


def difference(metric: Metric) -> str:
    """The unit of a difference of two."""
    return "points" if metric.unit == "%" else metric.unit
