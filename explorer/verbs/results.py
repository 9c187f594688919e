"""Looking at a study: its front and its trials."""

from __future__ import annotations

from explorer.options import Json, Storage, Study
from explorer.show import print_front, print_json, print_trials, rows_of
from explorer.verbs.of_study import load


def front(study: Study = None, storage: Storage = None, json: Json = False) -> None:
    """The Pareto front of a study: accuracy, latency with its spread, MACs, parameters, architecture."""
    print_front(load(study, storage), as_json=json)


def trials(study: Study = None, storage: Storage = None, json: Json = False) -> None:
    """Every trial of a study."""
    from explorer import results

    loaded = load(study, storage)
    frame = results.frame(loaded)
    if json:
        print_json(rows_of(frame))
    else:
        counts = ", ".join(f"{n} {status}" for status, n in frame["status"].value_counts().items())
        print_trials(f"{loaded.study_name}: {counts or 'no trials yet'}", frame)
