"""Returns what a front says to someone who has to choose, in words and tables: pure, of a landscape and a frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dashboard.figures.landscape import Landscape
from explorer import results
from explorer.metrics import METRICS, Metric
from explorer.published import RECIPE, published
from explorer.ties import WORTH_TELLING

NOUNS = {"macs": "MACs", "params": "parameters", "memory": "peak memory"}
NOTHING_FINISHED = ("running", "waiting")


def why_empty(frame: pd.DataFrame) -> tuple[str, str] | None:
    """Why there is no front at all, and what to do next, in plain text; None where some trial is complete."""
    status = frame["status"].astype("object").value_counts()
    if status.get("complete", 0):
        return None
    total = len(frame)
    if not total:
        return "No trials yet.", "The search has not recorded one: start it with vitscape search, or let it run on."
    if set(status.index) <= set(NOTHING_FINISHED):
        return f"No trial is finished yet: {total:,} begun.", "The first one shows here when it is done: let it run on."
    failed = int(status.get("failed", 0))
    if failed:
        first = frame.loc[frame["status"] == "failed", "error"].dropna()
        reason = f" The most frequent reason: {first.value_counts().index[0]}." if len(first) else ""
        said = f"No trial is complete: {failed:,} of {total:,} failed.{reason}"
        return said, "Page Trials has each with its traceback; mend the cause and run vitscape search again."
    if status.get("infeasible", 0):
        said = f"No trial is complete: {int(status['infeasible']):,} of {total:,} are over a limit of the search."
        limits = frame["infeasible"].dropna()
        example = f" (such as {limits.iloc[0]})" if len(limits) else ""
        return said, f"Make the limits looser{example}, or let the search run on."
    return f"No trial is complete: {total:,} were interrupted.", "Run vitscape search again: it repeats them."


def costs(frame: pd.DataFrame) -> list[str]:
    """The kinds of cost that complete trials have: latency, macs, params, memory."""
    found = ["latency"] if timed(frame) else []
    return found + [name for name in ("macs", "params", "memory") if _measured(frame, METRICS[name])]


def timed(frame: pd.DataFrame) -> list[str]:
    """The latencies that complete trials have."""
    complete = (frame["status"] == "complete").to_numpy(dtype=bool)
    return [
        row.name
        for row in results.metrics_of(frame, results.latencies(frame) or ["macs"])
        if row.column.startswith("latency_ms") and frame[row.column].notna().to_numpy()[complete].any()
    ]


def heights(frame: pd.DataFrame, cost: str) -> list[str]:
    """What can stand against a cost: accuracy first where it was measured, then other costs."""
    names = ["accuracy", *timed(frame), "macs", "params", "memory"]
    return [name for name in names if name != cost and _measured(frame, results.metrics_of(frame, [name])[0])]


def default_cost(frame: pd.DataFrame, objectives: Sequence[str]) -> str:
    """The kind of cost to begin with: the study's first objective of one that was measured, else the first measured."""
    known = costs(frame)
    kinds = [name.partition("@")[0] for name in objectives]
    wanted = [kind for kind in kinds if kind in known]
    if len(objectives) == 1 and wanted:  # it stands on y, against another
        wanted = [kind for kind in known if kind != wanted[0]]
    return (wanted or known)[0]


def _measured(frame: pd.DataFrame, metric: Metric) -> bool:
    complete = (frame["status"] == "complete").to_numpy(dtype=bool)
    return bool(frame[metric.column].notna().to_numpy()[complete].any())


def under(scene: Landscape, budget: float) -> pd.Series[Any] | None:
    """The best trial that costs at most the budget (stored unit), as results.best_under; None where there is none."""
    within = scene.best[scene.best[scene.x.column].to_numpy(dtype=float) <= budget]
    return None if within.empty else within.iloc[-1]


def phrase(row: pd.Series[Any], metric: Metric) -> str:
    """A number as in a sentence: "93.1 % top-1 (proxy, 8 epochs)", "1.84 ms [1.80, 1.88]", "1.31 M MACs".

    A latency whose verdict is not ok says it: "1.84 ms [1.80, 1.88] (verdict: shared)".
    """
    said = metric.text(float(row[metric.column]))
    if metric.name == "accuracy":
        return f"{said} {metric.label[0].lower()}{metric.label[1:]}"
    ends = results.interval_columns(metric)
    if ends is not None:
        known = all(not pd.isna(row[end]) for end in ends)
        between = f" [{', '.join(metric.number(float(row[end])) for end in ends)}]" if known else ""
        called = "" if metric.name == "latency" else f" {metric.label[0].lower()}{metric.label[1:]}"
        doubt = _verdict(row.get(results.verdict_column(metric)))
        return f"{said}{between}{called}{f' (verdict: {doubt})' if doubt not in ('', 'ok') else ''}"
    return f"{said} {NOUNS.get(metric.name, metric.label)}"


def _verdict(value: Any) -> str:
    """A verdict as the frame has it in a word; "" where none was given."""
    return "" if value is None or pd.isna(value) else str(value)


def headline(scene: Landscape, budget: float) -> str:
    """What is the best under a budget (stored unit), in a sentence."""
    x, y = scene.x, scene.y
    limit = f"{budget * x.scale:,.6g} {x.unit}{f' {NOUNS[x.name]}' if x.name in NOUNS else ''}"
    found = under(scene, budget)
    if found is None:
        cheapest = scene.best.iloc[0]
        return f"Nothing under {limit}: the cheapest is trial {cheapest['number']} with {phrase(cheapest, x)}."
    said = f"Best under {limit}: trial {found['number']}, {phrase(found, y)}, {phrase(found, x)}."
    ends = results.interval_columns(x)
    if ends is not None and not pd.isna(found[ends[1]]) and found[ends[1]] > budget:
        said += " Its interval reaches beyond the budget."
    return said


def landmarks(scene: Landscape) -> dict[str, pd.Series[Any]]:
    """The members of the front to look at first, by what they are: the cheapest, the knee, the best."""
    found = {"Cheapest": scene.best.iloc[0]}
    if scene.knee is not None:
        found["Knee"] = scene.knee
    if len(scene.best) > 1:
        found["Most accurate" if scene.y.name == "accuracy" else f"Best {scene.y.label.lower()}"] = scene.best.iloc[-1]
    return found


def table(scene: Landscape, budget: float | None = None) -> pd.DataFrame:
    """The front and what ties with it: one row a trial by rising cost, headings with units."""
    tied = scene.tied
    rows = pd.concat([scene.best, tied]).sort_values(scene.x.column, kind="stable") if len(tied) else scene.best
    roles = {int(row["number"]): name.lower() for name, row in landmarks(scene).items()}
    if budget is not None and (best := under(scene, budget)) is not None:
        number = int(best["number"])
        roles[number] = ", ".join(filter(None, [roles.get(number), "best under the budget"]))
    members = set(scene.best["number"])
    numbers = [int(number) for number in rows["number"]]
    columns: dict[str, object] = {
        "Trial": numbers,
        "Front": ["on it" if number in members else "ties with it" for number in numbers],
        "Of note": [roles.get(number, "") for number in numbers],
    }
    for metric in (scene.y, scene.x):
        columns[metric.quantity] = rows[metric.column].to_numpy(dtype=float) * metric.scale
        for end, name in zip(results.interval_columns(metric) or (), ("from", "to"), strict=False):
            columns[f"{metric.label} {name}, {metric.unit} (95 %)"] = rows[end].to_numpy(dtype=float) * metric.scale
        if results.interval_columns(metric) is not None and results.verdict_column(metric) in rows.columns:
            heading = "Verdict" if "Verdict" not in columns else f"Verdict on {metric.label}"
            columns[heading] = [_verdict(value) for value in rows[results.verdict_column(metric)]]
    if len(scene.probability):
        columns["Probability of being on the front"] = [scene.probability.get(number, 0.0) for number in numbers]
        columns["Cannot be told from"] = [", ".join(map(str, scene.ties.get(number, ()))) for number in numbers]
    columns["Architecture"] = rows["what"].astype("object").to_numpy()
    return pd.DataFrame(columns)


def likely(scene: Landscape) -> str:
    """How sure the front is, in a sentence; "" where that was not computed."""
    if scene.probability.empty:
        return ""
    members = scene.probability.reindex(scene.best["number"]).fillna(0)
    others = int((scene.probability >= WORTH_TELLING).sum() - (members >= WORTH_TELLING).sum())
    sure = int((members >= 0.95).sum())
    said = f"{sure} of {len(members)} members are on the front in at least 95 % of draws of the latencies"
    return f"{said}; {others} off it cannot be told from it." if others else f"{said}."


def references(scene: Landscape, frame: pd.DataFrame, image_sizes: Sequence[int] | None) -> pd.DataFrame:
    """Published models to mark on the cost axis: name, value (stored unit) and text; of all image sizes where None.

    MACs and parameters are known of every model in closed form; latency and memory only of those that this study
    measured, which have no accuracy of its proxy.
    """
    x = scene.x
    if x.name in ("macs", "params"):
        models = published()
        if image_sizes is not None:
            models = models[models["image_size"].isin(list(image_sizes))]
        texts = [
            f"<b>{escape(row['name'])}</b> ({row['image_size']} px)<br>{row['top1']:.1f} % top-1<br>({RECIPE})"
            f"<br>{x.text(row[x.column])} {NOUNS[x.name]}, closed form<br>{escape(row['source'])}"
            for row in models.to_dict("records")
        ]
        return pd.DataFrame({"name": models["name"], "value": models[x.column], "text": texts})
    lost = frame["preset"].notna() & frame[x.column].notna() & frame[scene.y.column].isna()
    rows = frame[lost.to_numpy(dtype=bool)].drop_duplicates("preset")
    top1 = published().set_index("name")["top1"]
    names = [str(name) for name in rows["preset"]]
    texts = [
        f"<b>{escape(name)}</b>"
        + (f"<br>{top1[name]:.1f} % top-1<br>({RECIPE})" if name in top1.index else "")
        + f"<br>{escape(phrase(row, x))}, measured in this study"
        for name, (_, row) in zip(names, rows.iterrows(), strict=True)
    ]
    return pd.DataFrame({"name": names, "value": rows[x.column].to_numpy(dtype=float), "text": texts})


def in_box(
    scene: Landscape,
    frame: pd.DataFrame,
    box: Mapping[str, tuple[float, float]],
    among: NDArray[np.bool_] | None = None,
    most: int = 1000,
) -> tuple[int, pd.DataFrame]:
    """How many complete trials lie in a box of displayed numbers, each architecture once, and the best `most` of them.

    `among` is True for the rows to look at, where not all are meant.
    """
    inside = (frame["status"] == "complete").to_numpy(dtype=bool) & ~frame["duplicate"].to_numpy(dtype=bool)
    if among is not None:
        inside &= among
    for metric, (low, high) in ((scene.x, box["x"]), (scene.y, box["y"])):
        shown = frame[metric.column].to_numpy(dtype=float, na_value=np.nan) * metric.scale
        inside &= (shown >= low) & (shown <= high)
    found = np.flatnonzero(inside)
    height = frame[scene.y.column].to_numpy(dtype=float, na_value=np.nan)[found]
    order = np.argsort(-height if scene.y.maximize else height, kind="stable")
    return len(found), frame.iloc[found[order[:most]]]
