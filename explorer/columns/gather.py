"""One frame of many trials: what follows from several of them together, and from what their study keeps beside them.

Which trial is a duplicate, whose values it shows, what each latency's columns are called, and which of two latencies
is kept. Both ways of reading a study (explorer/frame.py, explorer/reader.py) go through here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from explorer.columns.arrays import LATENCY, SEPARATOR, Columns, categorical, latency_column, latency_keys
from explorer.record import TRUST, Latency
from explorer.setup import Setup

LATENCY_COLUMNS = ("latency_ms", "latency_lo_ms", "latency_hi_ms", "verdict")
EVALUATED = (  # columns that come from an evaluation, without its latencies
    *("macs", "params", "params_folded", "activations", "accuracy", "memory_mb", "infeasible", "train_seconds"),
    *("device", "device_name", "runtime", "precision", "batch_size", "threads"),
)
Comparable = tuple[str, ...]


class Gathered(NamedTuple):
    columns: Columns
    keys: list[str]  # of the further latencies, in order
    attrs: dict[str, Any]  # of the frame


def gathered(
    own: Columns,
    targets: Sequence[str],
    added: Mapping[str, Sequence[Latency]],
    finals: Mapping[str, float] | None = None,
) -> Gathered:
    """All columns of trials in order of number.

    `targets` are the keys of the latencies that the search measures, the first one's first; `added` are those that the
    study keeps beside its trials, by architecture, and `finals` likewise the accuracies of trainings in full, in %.
    Arrays that stay as they are are shared with `own`.
    """
    found = {name: array for name, array in own.items() if name.partition("@")[0] not in LATENCY}
    found["duplicate"] = duplicates(own)
    source = replayed(own)
    if source is not None:
        found |= {name: own[name].take(source) for name in EVALUATED}
    found["final_accuracy"] = np.full(len(own["number"]), np.nan)
    for row, name in _rows(own, list(finals or ())):
        found["final_accuracy"][row] = (finals or {})[name]
    keys = names(own, added)
    further = list(dict.fromkeys([*targets[1:], *filter(None, keys.values())]))
    latencies = {key: _Latency.of(own, key, source) for key in ["", *further]}
    _put(latencies, own, added, keys)
    for key, latency in latencies.items():
        found |= {latency_column(name, key): array for name, array in latency.columns().items()}
    return Gathered(found, further, {"latency": targets[0] if targets else None, "versions": versions(keys)})


def measured_targets(stored: Mapping[str, Any] | None) -> list[str]:
    """Keys of the latencies that a search measures, by the study's record, the first one's first: ["eager/b1"]."""
    conditions = (stored or {}).get("conditions")
    if conditions is None:
        return []
    if "runtime" in conditions:  # a study from before a search could measure several
        conditions = {"runtimes": [conditions["runtime"]], "batch_sizes": [conditions["batch_size"]]}
    setup = Setup(runtimes=conditions["runtimes"], batch_sizes=conditions["batch_sizes"])
    return [target.key for target in setup.targets]


def duplicates(own: Columns) -> Any:
    """Whether an earlier complete trial has the architecture, or the record says so: (trials,) booleans."""
    status, keys = own["status"], own["key"]
    complete = np.asarray(status == "complete")
    found = np.asarray(status == "duplicate")
    found[complete] = pd.Series(keys[complete]).duplicated()
    others = np.flatnonzero(~complete & ~found & ~np.asarray(own["id"].isna()))
    if others.size:  # infeasible, failed or interrupted, and complete at another time
        known, first = np.unique(keys[complete], return_index=True)
        place = np.searchsorted(known, keys[others])
        place[place == len(known)] = 0
        same = known[place] == keys[others] if len(known) else np.zeros(len(others), dtype=bool)
        found[others[same]] = np.flatnonzero(complete)[first[place[same]]] < others[same]
    return found


def replayed(own: Columns) -> Any:
    """Row from which each trial's evaluation is: its own, or that of the trial it answers; None where all have theirs.

    (trials,) integers. A trial without either keeps its own row, which is empty.
    """
    asked = ~np.asarray(own["duplicate_of"].isna()) & ~own["evaluated"]
    if not asked.any():
        return None
    numbers, rows = own["number"], np.flatnonzero(asked)
    wanted = own["duplicate_of"][rows].astype("int64")
    target = np.searchsorted(numbers, wanted)
    target[target == len(numbers)] = 0
    known = (numbers[target] == wanted) & (target < rows)
    source, has = np.arange(len(numbers)), own["evaluated"].copy()
    rows, target = rows[known], target[known]
    while (ready := has[target]).any():  # an answer may answer an answer
        source[rows[ready]] = source[target[ready]]
        has[rows[ready]] = True
        rows, target = rows[~ready], target[~ready]
    return source


def names(own: Columns, added: Mapping[str, Sequence[Latency]]) -> dict[Comparable, str]:
    """What the columns of each kind of latency end in after their "@", by what it compares with: the study's own first.

    Of others it is their conditions. Where these differ in versions alone, the kind that most architectures have keeps
    the name, and the next one's device is called "nvidia_h200-2".
    """
    found = _own_names(own)
    kinds = [comparable for several in added.values() for comparable in {one.comparable for one in several}]
    counts = Counter(comparable for comparable in kinds if comparable not in found)
    taken: Counter[str] = Counter()
    others: dict[Comparable, str] = {}
    for comparable in sorted(counts, key=lambda one: (counts[one], one), reverse=True):
        name = comparable[0]
        taken[name] += 1
        device, _, rest = name.partition("/")
        others[comparable] = name if taken[name] == 1 else f"{device}-{taken[name]}/{rest}"
    return found | dict(sorted(others.items(), key=lambda item: item[1]))


def versions(keys: Mapping[Comparable, str]) -> dict[str, str]:
    """By what latencies were measured whose conditions alone are the same, by key: "torch 2.13.0, cudnn 91900"."""
    of_name = Counter(comparable[0] for comparable, key in keys.items() if key.count("/") > 1)
    return {
        key: ", ".join([f"torch {comparable[1]}", *comparable[2:]])
        for comparable, key in keys.items()
        if of_name[comparable[0]] > 1 and key.count("/") > 1
    }


def _own_names(own: Columns) -> dict[Comparable, str]:
    """Keys of the latencies that the trials measured, by what they compare with, in the order in which they came."""
    seen: list[tuple[int, int, str]] = []  # first row, place within it, what it compares with
    last: dict[str, tuple[int, int, str]] = {}
    for place, key in enumerate(latency_keys(own)):
        comparable = own[latency_column("comparable", key)]
        for code, kind in enumerate(comparable.categories):
            rows = np.flatnonzero(comparable.codes == code)
            if rows.size:
                seen.append((int(rows[0]), place, kind))
                last[kind] = max(last.get(kind, (-1, -1, "")), (int(rows[-1]), place, key))
    return {tuple(kind.split(SEPARATOR)): last[kind][2] for _, _, kind in sorted(seen)}


class _Latency:
    """The values of one latency over all trials; `measured` where there is one."""

    def __init__(self, numbers: list[Any], verdict: Any, measured: Any) -> None:
        self.numbers, self.verdict, self.measured = numbers, verdict, measured  # verdict: place in TRUST, -1: none
        self.shared = True  # with the arrays that it was made of

    @classmethod
    def of(cls, own: Columns, key: str, source: Any) -> _Latency:
        """What the trials, or those whose values they show, measured themselves."""
        rows = len(own["number"])
        if latency_column("comparable", key) not in own:
            numbers = [np.full(rows, np.nan) for _ in range(3)]
            return cls(numbers, np.full(rows, -1, dtype=np.int8), np.zeros(rows, dtype=bool))
        *numbers, verdicts = (own[latency_column(name, key)] for name in LATENCY_COLUMNS)
        places = np.array([TRUST.index(one) for one in verdicts.categories] + [-1], dtype=np.int8)
        verdict = places[verdicts.codes]
        measured = np.asarray(own[latency_column("comparable", key)].codes) >= 0
        if source is None:
            return cls(numbers, verdict, measured)
        return cls([one[source] for one in numbers], verdict[source], measured[source])

    def set(self, row: int, latency: Latency) -> None:
        """Puts a latency in the place of what is there."""
        if self.shared:
            self.numbers = [one.copy() for one in self.numbers]
            self.shared = False
        for column, value in zip(self.numbers, (latency.median_ms, *latency.ci95_ms), strict=True):
            column[row] = value
        self.verdict[row] = -1 if latency.verdict is None else TRUST.index(latency.verdict)
        self.measured[row] = True

    def columns(self) -> Columns:
        """The four columns."""
        verdict = categorical("verdict", self.verdict, TRUST)
        return dict(zip(LATENCY_COLUMNS, (*self.numbers, verdict), strict=True))


def _put(
    latencies: Mapping[str, _Latency],
    own: Columns,
    added: Mapping[str, Sequence[Latency]],
    keys: Mapping[Comparable, str],
) -> None:
    """Puts what was added into the rows of its architecture.

    It takes the place of what compares with it, unless it is doubtful and that is not.
    """
    for row, name in _rows(own, list(added)):
        for latency in added[name]:
            column = latencies[keys[latency.comparable]]
            if latency.verdict == "ok" or not column.measured[row] or column.verdict[row] != TRUST.index("ok"):
                column.set(row, latency)


def _rows(own: Columns, ids: Sequence[str]) -> Iterator[tuple[int, str]]:
    """The rows of these architectures, each with which it is."""
    if not ids:
        return
    hashes = pd.Index(pd.util.hash_array(np.array(ids, dtype=object)))
    place = hashes.get_indexer(pd.Index(own["key"]))
    for row in np.flatnonzero((place >= 0) & ~np.asarray(own["id"].isna())).tolist():
        yield row, ids[place[row]]
