"""Returns the tables under the charts of a design space, with headings that have units."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from dashboard.canvas import called
from dashboard.figures.cloud import histogram
from dashboard.figures.parallel import Dimension
from explorer import structure
from explorer.analysis.cloud import coverage
from explorer.analysis.distribution import Distributions
from explorer.metrics import Metric

INTERVAL = ("95 % from", "to")


def levels_table(found: Distributions, data: str) -> pd.DataFrame:
    """A row a level: trials, median with its interval, best."""
    metric, table = called(found.metric, data), found.levels
    shown = pd.DataFrame({_name(found): table["level"], "Trials": table["trials"]})
    for heading, column in (("Median", "median"), *zip(INTERVAL, ("lo", "hi"), strict=True), ("Best", "best")):
        title = f"{heading} {metric.quantity}" if heading in ("Median", "Best") else f"median, {heading}"
        shown[title] = table[column].astype(float) * metric.scale
    return shown


def pairs_table(found: Distributions, data: str) -> pd.DataFrame:
    """A row a pair of levels: by how much their medians differ, and whether 0 is possible."""
    metric, table = called(found.metric, data), found.differences
    unit = "points" if metric.unit == "%" else metric.unit
    sides = {"Better": table["better"], "Other": table["other"]}
    ends = [f"Difference of median {metric.label}, {unit}", *INTERVAL]
    numbers = {
        heading: table[column].astype(float) * metric.scale
        for heading, column in zip(ends, ("difference", "lo", "hi"), strict=True)
    }
    told = table["clear"].map({True: "yes", False: "no"})
    return pd.DataFrame({**sides, **numbers, "Told apart": told})


def curves_table(found: Distributions, data: str) -> pd.DataFrame:
    """The points of the curves."""
    metric, table = called(found.metric, data), found.curves
    shown = pd.DataFrame({_name(found): table["level"], metric.quantity: table["value"] * metric.scale})
    for heading, column in (("Share at least so good, %", "share"), *zip(INTERVAL, ("lo", "hi"), strict=True)):
        shown[heading] = table[column] * 100
    return shown


def trend_table(trend: pd.DataFrame, x: Metric, y: Metric, split: str | None, data: str) -> pd.DataFrame:
    """The points of the running medians."""
    y = called(y, data)
    return pd.DataFrame(
        {
            structure.label(split) if split else "Trials": trend["level"],
            x.quantity: trend["x"] * x.scale,
            f"Median {y.quantity}": trend["median"] * y.scale,
            "lower quartile": trend["lo"] * y.scale,
            "upper quartile": trend["hi"] * y.scale,
            "Trials in the window": trend["trials"],
        }
    )


def coverage_table(cloud: pd.DataFrame, trials: pd.DataFrame, metrics: Sequence[Metric]) -> pd.DataFrame:
    """Where costs lie in the space and among the trials."""
    tables = []
    for metric in metrics:
        table = coverage(cloud, trials, metric.column)
        numbers = table.columns.drop(["of", "count"])
        table[numbers] *= metric.scale
        tables.append(table.rename(columns={"of": "Of", "count": "Architectures"}).assign(Cost=metric.quantity))
    return pd.concat(tables, ignore_index=True)


def histogram_table(cloud: pd.DataFrame, trials: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """The bins of a histogram."""
    table = histogram(cloud, trials, metric)
    return pd.DataFrame(
        {
            f"{metric.quantity}, from": table["from"],
            "to": table["to"],
            "Share of the space, %": table["the space"] * 100,
            "Share of the trials, %": table["trials"] * 100,
        }
    )


def shares_table(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """How often each level is taken."""
    return pd.DataFrame(
        {
            structure.label(column): table["level"],
            "Share of the space, %": table["space"] * 100,
            "Share of the trials, %": table["trials"] * 100,
            "95 % from": table["lo"] * 100,
            "to": table["hi"] * 100,
            "Share of the front, %": table["front"] * 100,
            "Trials": table["trials_count"],
            "On the front": table["front_count"],
        }
    )


def trials_table(rows: pd.DataFrame, axes: Sequence[Dimension]) -> pd.DataFrame:
    """The trials of parallel coordinates."""
    shown = pd.DataFrame({"Trial": rows["number"]})
    for axis in axes:
        shown[axis.label] = rows[axis.column] if axis.names is not None else rows[axis.column] * axis.scale
    return shown.assign(Architecture=rows["what"])


def _name(found: Distributions) -> str:
    return structure.label(found.split) if found.split else "Level"
