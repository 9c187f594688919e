"""What is wrong in a study, told to a person with the next step. No streamlit: the Overview draws it.

Titles, texts and commands are plain text, whatever a trial or a device calls itself; steps are markdown of our own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pandas as pd

from explorer import results
from explorer.analysis import faults, pace
from explorer.record import TrialRecord

MANY_REPEATS = 0.25  # of the ended trials
DOUBTED = 0.05  # share of a latency's values whose verdict is not ok, above which it is a warning

Lookup = Callable[[int], TrialRecord | None]


class Finding(NamedTuple):
    """Something that a person should know, and what to do."""

    title: str
    text: str
    step: str  # markdown
    command: str = ""
    grave: bool = False


def findings(
    frame: pd.DataFrame, objectives: tuple[str, ...], data: str, option: str, now: pd.Timestamp, lookup: Lookup
) -> list[Finding]:
    """What is to be told, the gravest first; failures are told by their reasons elsewhere.

    `option` names the study on a command line: " --study tiny --storage runs/x.db"; `lookup` gives a trial's record.
    """
    found = [
        *_nothing_complete(frame),
        *_unfinished(frame, now),
        *_latencies(frame, objectives, option),
        *_drivers(frame, option, lookup),
        *_repeats(frame),
        *_proxy(frame, data, option),
    ]
    return sorted(found, key=lambda one: not one.grave)


def _nothing_complete(frame: pd.DataFrame) -> Iterator[Finding]:
    counts = frame["status"].astype("object").value_counts()
    ended = sum(int(counts.get(status, 0)) for status in pace.ENDED)
    if ended == 0 or counts.get("complete", 0):
        return
    most = max(pace.ENDED, key=lambda status: int(counts.get(status, 0)))
    steps = {
        "failed": "Read the reasons below, mend what they name, run the same `vitscape search` again: it continues.",
        "infeasible": "Raise the limit (`--max-macs`, `--max-params`, `--max-latency`, `--max-memory`) in a new study.",
    }
    step = steps.get(most, "Run the same `vitscape search` again: it continues.")
    yield Finding("No complete trial", f"{ended:,} trials ended, {counts[most]:,} of them {most}.", step, grave=True)


def _unfinished(frame: pd.DataFrame, now: pd.Timestamp) -> Iterator[Finding]:
    old = pace.stale(frame, now)
    if len(old):
        longest = old.sort_values("hours").iloc[-1]
        text = f"{_trials(len(old))} running for long, trial {longest['number']:.0f} for {_hours(longest['hours'])}:"
        yield Finding(
            "A search that died",
            f"{text} over ten minutes and twenty times the median trial. Its process was probably killed.",
            "Run the same `vitscape search` again: it closes them, repeats what they tried, and continues.",
            grave=True,
        )
    cut, open_ones = faults.interrupted(frame)
    if open_ones:
        yield Finding(
            "Interrupted trials",
            f"{_trials(cut)} interrupted, {open_ones:,} of them not repeated yet.",
            "The same `vitscape search` takes them up first.",
        )


def _latencies(frame: pd.DataFrame, objectives: tuple[str, ...], option: str) -> Iterator[Finding]:
    if not results.latencies(frame):
        if (frame["status"] == "complete").any():
            yield Finding(
                "No latency in this study",
                f"Its objectives are {', '.join(objectives)}.",
                "Run `vitscape measure` on the device, and attach what it writes:",
                _measure(option),
                grave=True,
            )
        return
    partly = faults.partly_measured(frame)
    if len(partly):
        lines = [f"{r['latency']}: {r['measured']:,} of {r['complete']:,}" for r in partly.to_dict("records")]
        yield Finding(
            "Latencies that some complete architectures have not",
            "\n".join([*lines, "Each architecture is counted once."]),
            "Measure the rest where the device is, and attach it; or `vitscape predict` it.",
            _measure(option),
        )
    doubtful = faults.doubtful(frame)
    if len(doubtful):
        shares = doubtful.groupby("latency", sort=False)["share"].sum()
        lines = []
        for name, rows in doubtful.groupby("latency", sort=False):
            words = ", ".join(f"{r['trials']:,} {_verdict(r['verdict'])}" for r in rows.to_dict("records"))
            lines.append(f"{name}: {shares[name]:.1%} of the times measured ({words})")
        yield Finding(
            "Times in doubt",
            "\n".join([*lines, "Noise widens the interval; a shared or throttled device shifts the time."]),
            "Time the front again, side by side, on the device:",
            f"vitscape front{option} --remeasure",
            grave=bool((shares > DOUBTED).any()),
        )


def _drivers(frame: pd.DataFrame, option: str, lookup: Lookup) -> Iterator[Finding]:
    """Looks at the first and the last timed trial alone: a record is read for each."""
    timed = frame.loc[frame["latency_ms"].notna() & ~frame["status"].isin(["duplicate"]), "number"]
    if len(timed) < 2:
        return
    drivers = [_driver(lookup(int(number))) for number in (timed.iloc[0], timed.iloc[-1])]
    if drivers[0] != drivers[1]:
        yield Finding(
            "The device's driver changed",
            f"Trial {timed.iloc[0]} was timed with driver {drivers[0] or 'unknown'}, trial {timed.iloc[-1]} with"
            f" {drivers[1] or 'unknown'}.",
            "Times before and after may not compare. Time the front again, side by side:",
            f"vitscape front{option} --remeasure",
            grave=True,
        )


def _driver(record: TrialRecord | None) -> str | None:
    latency = None if record is None or record.evaluation is None else record.evaluation.latency
    return None if latency is None else latency.conditions.driver


def _repeats(frame: pd.DataFrame) -> Iterator[Finding]:
    repeated, ended = faults.repeats(frame)
    if ended and repeated / ended > MANY_REPEATS:
        yield Finding(
            f"{repeated / ended:.0%} repeats",
            f"{repeated:,} of {ended:,} ended trials proposed an architecture that was known; each was answered from"
            " the record and cost no training.",
            "The sampler has closed in on a part of the space: a larger space, or `--sampler nsga2` in a new study, "
            "looks elsewhere.",
        )


def _proxy(frame: pd.DataFrame, data: str, option: str) -> Iterator[Finding]:
    known = frame[frame["accuracy"].notna() & ~frame["status"].isin(["duplicate"])]
    if len(known):
        yield Finding(
            "Accuracy of the proxy alone",
            f"All {len(known):,} accuracies are of the short training ({data}). None is of a full training.",
            "They rank candidates. Train what you choose in full; this writes the front as files that rebuild it:",
            f"vitscape export{option} --out pareto",
        )


def _measure(option: str) -> str:
    return (
        f"vitscape export --all{option} --out archs\n"
        "vitscape measure archs/*.yaml --out times.parquet\n"
        f"vitscape attach times.parquet{option}"
    )


def _trials(n: int) -> str:
    return f"{n:,} trial{'s' * (n != 1)}"


def _verdict(verdict: Any) -> str:
    return "without a verdict (early protocol)" if verdict == "none" else str(verdict)


def _hours(hours: float) -> str:
    return f"{hours * 60:.0f} min" if hours < 1 else f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.0f} days"
