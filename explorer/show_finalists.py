"""The table of a final stage: accuracies in the search and in full, how ranks moved, and what became of the front."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from explorer.show import console, print_rows

if TYPE_CHECKING:
    import optuna
    import pandas as pd

LEAST = 5  # networks, below which the rank correlation says nothing
NEWS = {  # (on the front by the search, on it in full) -> in words
    (True, True): "stays on the front",
    (True, False): "leaves the front",
    (False, True): "comes to the front",
    (False, False): "stays off the front",
}


def print_finalists(study: optuna.Study) -> None:
    """What the last final stage of a study found, the most accurate first."""
    from explorer import results
    from explorer.analysis.moves import moves
    from explorer.finals import finals
    from explorer.metrics import FINAL
    from explorer.search.finalists import chosen
    from explorer.storage import study_data, study_objectives

    frame, numbers, objectives = results.frame(study), chosen(study), study_objectives(study)
    found = moves(frame, numbers, objectives)
    failed = {one.number: one for one in finals(study).values() if one.status == "failed" and one.number in numbers}
    if found.empty and not failed:
        return
    costs = [metric for metric in results.metrics_of(frame, objectives) if metric.name != "accuracy"]

    def line(number: int, final: str, ranks: str, news: str) -> list[str]:
        trial = results.find_trial(frame, number)
        assert trial is not None
        spent = [metric.number(float(trial[metric.column])) for metric in costs]
        return [str(number), FINAL.number(float(trial["accuracy"])), final, ranks, *spent, news, str(trial["what"])]

    rows = []
    for row in found.to_dict("records"):
        news = NEWS[row["on_front"], row["final_front"]]
        news += "" if row["final_front"] else f", dominated by {row['dominated_by']}"
        ranks = " → ".join(dict.fromkeys([str(row["rank"]), str(row["final_rank"])]))
        rows.append(line(row["number"], FINAL.number(row["final_accuracy"]), ranks, news))
    rows += [line(number, "", "", f"failed: {one.error}") for number, one in sorted(failed.items())]
    headings = [">Trial", ">Search,\n%", ">In full,\n%", ">Rank", *(f">{m.label},\n{m.unit}" for m in costs)]
    title = f"Finalists of {study.study_name}: top-1 in the search ({study_data(study)}) and in full"
    print_rows(title, [*headings, "Front", "Architecture"], rows, _summary(found))
    console().print()


def _summary(found: pd.DataFrame) -> list[str]:
    """Rank correlation, and how many stay on the front, in words."""
    n, tau = found.attrs["n"], found.attrs["tau"]
    lines = []
    if math.isfinite(tau):
        told = "" if n >= LEAST else ", too few to tell"
        lines.append(f"Kendall's tau {tau:.2f} between search and full training ({n} networks{told})")
    before, after = found["on_front"], found["final_front"]
    came = int((after & ~before).sum())
    lines.append(f"front: {(before & after).sum()} of {before.sum()} stay on it" + f", {came} come to it" * bool(came))
    return lines
