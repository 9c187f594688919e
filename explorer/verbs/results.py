"""Looking at a study: its front and its trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from explorer.options import Json, Storage, Study, TimeLimit, listed
from explorer.show import console, front_rows, print_front, print_json, print_rows, print_trials, rows_of
from explorer.verbs.of_study import load
from search_spaces.errors import InputError

if TYPE_CHECKING:
    import optuna

    from explorer.remeasure import Again


def front(
    study: Study = None,
    storage: Storage = None,
    objectives: Annotated[
        str | None,
        typer.Option(help="Such as accuracy,latency@cuda_graph/b1.", metavar="LIST", show_default="the study's"),
    ] = None,
    remeasure: Annotated[
        bool, typer.Option("--remeasure", help="Time the front, and what ties with it, again and side by side.")
    ] = False,
    time_limit: TimeLimit = 10.0,
    json: Json = False,
) -> None:
    """The Pareto front of a study: accuracy, latency with its spread, how sure it is, architecture."""
    from explorer.finals import final_accuracies
    from explorer.metrics import FINAL

    loaded = load(study, storage, writable=remeasure)
    names = listed(objectives) if objectives is not None else None
    if FINAL.name in (names or ()) and not final_accuracies(loaded.user_attrs):
        raise InputError(f"objectives={objectives}: no finalist was trained in full; vitscape search --finalists does")
    if not remeasure:
        print_front(loaded, as_json=json, objectives=names)
        return
    before = _on_front(loaded, names)
    again = _measure_again(loaded, names, time_limit)
    after = _on_front(loaded, names)
    if json:
        moves = [
            {"number": one.number, "key": one.key, "before_ms": one.before_ms, "kept": one.kept}
            | {"latency": one.latency.model_dump(mode="json")}
            for one in again
        ]
        print_json({"again": moves, "front": front_rows(loaded, names)})
        return
    _print_moves(again, before, after)
    print_front(loaded, as_json=False, objectives=names)


def trials(study: Study = None, storage: Storage = None, json: Json = False) -> None:
    """Every trial of a study."""
    from explorer import results
    from explorer.storage import study_objectives

    loaded = load(study, storage)
    frame = results.frame(loaded)
    if json:
        print_json(rows_of(frame))
    else:
        counts = ", ".join(f"{n} {status}" for status, n in frame["status"].value_counts().items())
        print_trials(f"{loaded.study_name}: {counts or 'no trials yet'}", frame, study_objectives(loaded))


def _on_front(study: optuna.Study, objectives: Sequence[str] | None) -> list[int]:
    """Numbers of the front's members."""
    from explorer import results
    from explorer.storage import study_objectives

    return [int(n) for n in results.front(results.frame(study), objectives or study_objectives(study))["number"]]


def _measure_again(study: optuna.Study, objectives: Sequence[str] | None, time_limit_s: float) -> list[Again]:
    """New latencies of the front's members and of those that cannot be told from it."""
    from rich.console import Console

    from explorer import results
    from explorer.profile.lease import waits_for
    from explorer.remeasure import remeasure
    from explorer.storage import study_objectives
    from explorer.ties import almost_on_front, front_probability

    frame, names = results.frame(study), objectives or study_objectives(study)
    timed = [row for row in results.metrics_of(frame, names) if row.column.partition("@")[0] == "latency_ms"]
    if not timed:
        raise InputError(f"objectives={','.join(names)}: there is no latency among them to measure again")
    for name in (row.name for row in timed if row.column.count("/") > 1):  # named by all of its conditions
        raise InputError(
            f"{name}: attached to the study, not measured by it; to measure it again run vitscape measure there,"
            " and vitscape attach"
        )
    others = almost_on_front(frame, names, front_probability(frame, names))
    numbers = [*results.front(frame, names)["number"], *others["number"]]
    err = Console(stderr=True)
    with err.status(f"measuring {len(numbers)} architectures again, side by side", refresh_per_second=1):
        return remeasure(
            study,
            [int(number) for number in numbers],
            time_limit_s=time_limit_s,
            on_wait=lambda pid: err.print(waits_for(pid, "this device")),
        )


def _print_moves(again: Sequence[Again], before: Sequence[int], after: Sequence[int]) -> None:
    """How each latency moved, how the ranks changed, and who came to the front or left it."""
    rows = []
    for key in dict.fromkeys(one.key for one in again):
        old = sorted((one for one in again if one.key == key), key=lambda one: one.before_ms or one.after_ms)
        new = sorted(old, key=lambda one: one.after_ms)
        for one in old:
            low, high = one.latency.ci95_ms
            now = f"{one.latency.median_ms:.4g} ± {(high - low) / 2:.2g}"
            before_ms = "" if one.before_ms is None else f"{one.before_ms:.4g}"
            change = "" if one.before_ms is None else f"{100 * (one.latency.median_ms / one.before_ms - 1):+.1f}"
            ranks = " → ".join(dict.fromkeys(str(order.index(one) + 1) for order in (old, new)))
            here, there = one.number in before, one.number in after
            news = [{(True, False): "leaves the front", (False, True): "comes to the front"}.get((here, there), "")]
            if one.latency.verdict != "ok":
                news.append(f"{'' if one.kept else 'not kept, '}{one.latency.verdict}: {one.latency.reason}")
            rows.append([str(one.number), key, before_ms, now, change, ranks, "; ".join(filter(None, news))])
    headings = [">Trial", "Runtime,\nbatch", ">Before,\nms", ">Again,\nms", ">Change,\n%", ">Rank", ""]
    if rows:
        print_rows("Measured again, side by side", headings, rows)
        console().print()
