"""Throughput and latency of architectures and exported files side by side: all of one batch size timed in turns."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from explorer.bench_entries import Entry, open_entries, reference_among
from explorer.bench_rows import BenchRow, told, writable, write_bench
from explorer.failure import out_of_memory
from explorer.record import Precision
from explorer.setup import Setup
from explorer.show import Display
from search_spaces.errors import InputError

if TYPE_CHECKING:
    import torch

    from explorer.profile.latency import Timed


def bench(
    what: Sequence[str | Path],
    *,
    runtimes: Sequence[str] = ("eager",),
    batch_sizes: Sequence[int] = (1,),
    device: str = "auto",
    precision: Precision = "fp32",
    threads: int = 1,
    time_limit_s: float = 10.0,
    against: str | None = None,
    out: str | Path | None = None,
    console: Console | None = None,
) -> list[BenchRow]:
    """Rows of presets and architecture files by every runtime, and of exported files by their own; by batch size.

    All of one batch size are timed in turns, so that whatever the device does befalls all alike; for `time_limit_s`
    each. Ratios are to `against`, a name as given or NAME@RUNTIME, else to the first. Architectures and .py files are
    timed in `precision`, .onnx and .pt2 files in their own. A .pt2 file is unpickled and a .py file executed: name only
    what is trusted. What cannot run, or has no room in memory, has the reason in its row; the others go on. `out` is a
    CSV file, written anew after each batch size.

    >>> bench(["swin_t", "swin_t.onnx"], runtimes=["eager", "onnxruntime"], batch_sizes=[1, 32], threads=2)

    Raises:
        InputError: of the options, an architecture or a file; before anything is timed.
    """
    from explorer.profile.cores import require_cores
    from explorer.profile.device import resolve_device

    setup = Setup(device, precision, tuple(batch_sizes), tuple(runtimes), threads, time_limit_s)
    where = resolve_device(setup.device)
    if where.type == "cpu":
        require_cores(threads)
    path = None if out is None else writable(Path(out))
    entries = open_entries(what, setup, where)
    reference = reference_among(entries, against)
    rows: list[BenchRow] = []
    with _Progress(console, len(entries) * len(setup.batch_sizes)) as progress:
        for batch_size in setup.batch_sizes:
            rows += _timed(entries, reference, batch_size, setup, where, progress)
            if path is not None:
                write_bench(path, rows)
    return rows


@dataclass(frozen=True)
class Outcome:
    """What became of an entry: its times, else the reason in one line."""

    timed: Timed | None
    error: str | None
    alone: bool = False  # timed by itself; or, with an error, might be


def _timed(
    entries: Sequence[Entry], reference: int, batch_size: int, setup: Setup, device: torch.device, progress: _Progress
) -> list[BenchRow]:
    """The rows of one batch size, in turns; what has no room beside the others is timed again by itself."""
    found = _in_turns(entries, range(len(entries)), batch_size, setup, device, progress)
    for index in [index for index, outcome in found.items() if outcome.alone and len(entries) > 1]:
        (again,) = _in_turns(entries, [index], batch_size, setup, device, progress).values()
        found[index] = replace(again, alone=True)
    against, rows = found[reference], []
    for index, outcome in found.items():
        row = entries[index].row(batch_size, device, setup.threads)
        known: dict[str, Any] = {"error": outcome.error}
        if outcome.timed is not None:
            latency = outcome.timed.latency
            known |= {"latency": latency, "conditions": latency.conditions}
            known["images_per_s"] = batch_size / latency.median_ms * 1e3
        if outcome.timed is not None and against.timed is not None:
            ratio = outcome.timed.latency.median_ms / against.timed.latency.median_ms
            apart = outcome.alone or against.alone
            interval = None if apart else _ratio_interval(outcome.timed, against.timed, ratio)
            name = f"{entries[reference].name}@{entries[reference].runtime}"
            known |= {"ratio": ratio, "ratio_ci95": interval, "ratio_to": name}
        rows.append(row.model_copy(update=known))
        progress.end(rows[-1])
    return rows


def _in_turns(
    entries: Sequence[Entry],
    chosen: Sequence[int],
    batch_size: int,
    setup: Setup,
    device: torch.device,
    progress: _Progress,
) -> dict[int, Outcome]:
    """What became of the chosen entries, by index."""
    from explorer.profile.latency import measure_in_turns

    failures: dict[int, Outcome] = {}

    def failed(at: int, error: Exception) -> None:
        failures[chosen[at]] = Outcome(None, _reason(error), alone=out_of_memory(error))
        _free(device)

    progress.begin(batch_size, len(chosen))
    timed: Sequence[Timed | None] = [None] * len(chosen)
    try:
        timed = measure_in_turns(
            [entries[index].contender for index in chosen],
            device=device,
            batch_size=batch_size,
            threads=setup.threads,
            time_limit_s=setup.time_limit_s,
            on_wait=progress.waiting,
            on_progress=progress.converged,
            on_failure=failed,
        )
    except InputError:
        raise
    except Exception as error:  # one of them failed while it was timed, in any way, and which one cannot be told
        whatever = Outcome(None, _reason(error), alone=True)
        failures = {index: failures.get(index, whatever) for index in chosen}
    _free(device)
    return {
        index: Outcome(one, None) if one is not None else failures[index]
        for index, one in zip(chosen, timed, strict=True)
    }


def _ratio_interval(timed: Timed, against: Timed, ratio: float) -> tuple[float, float]:
    """The interval that holds the ratio of a repeat in 95 % of cases, and `ratio`, that of the medians.

    From the ratios of the blocks of each round: what the device does from one round to the next befalls both alike.
    """
    from explorer.profile.sampling import FEWEST_BLOCKS
    from explorer.profile.statistics import repeat_interval

    if timed is against:
        return 1.0, 1.0
    pairs = list(zip(timed.blocks, against.blocks, strict=False))  # rounds in which both were still timed
    calm = [(one, other) for one, other in pairs if one.disturbed is None and other.disturbed is None]
    kept = calm if len(calm) >= FEWEST_BLOCKS else pairs
    ratios = [one.median_ms / other.median_ms for one, other in kept]
    _, low, high = repeat_interval(ratios) or (ratio, min(ratios), max(ratios))
    return min(low, ratio), max(high, ratio)


def _reason(error: Exception) -> str:
    """An exception as a row's error, in one line."""
    if out_of_memory(error):
        return "out of memory"
    line = " ".join(str(error).split())[:300]
    expected = isinstance(error, InputError) or type(error).__name__ == "NetworkRefused"
    return line if expected else f"{type(error).__name__}: {line}"


def _free(device: torch.device) -> None:
    """Give back the memory of networks that are gone: others may need all of it."""
    import torch

    if device.type == "cuda":  # elsewhere nothing keeps it, and the next timing begins with a collection
        gc.collect()
        torch.cuda.empty_cache()


class _Progress(Display):
    """A line for each row that is finished, on a terminal a bar with the time left; drawn between rounds alone."""

    def __init__(self, console: Console | None, total: int) -> None:
        console = console or Console(stderr=True)
        super().__init__(console, auto_refresh=False, disable=not console.is_terminal)
        self.task = self.bar.add_task("timing", total=total, step="")
        self.done = 0  # rows

    def begin(self, batch_size: int, networks: int) -> None:
        """Say what is prepared now."""
        self.bar.update(self.task, step=f"preparing {networks} for batches of {batch_size}", refresh=True)

    def converged(self, networks: int, of: int) -> None:
        """Say how many of those timed in turns are done."""
        shown, step = self.bar.tasks[self.task], f"{of} in turns" if of > 1 else "by itself"
        completed = max(int(shown.completed), self.done + networks)
        if (completed, step) != (shown.completed, shown.fields["step"]):
            self.bar.update(self.task, completed=completed, step=step, refresh=True)

    def waiting(self, pid: int | None) -> None:
        """Say what the timing waits for."""
        from explorer.profile.lease import waits_for

        self.console.print(waits_for(pid, "this device"), style="yellow")

    def end(self, row: BenchRow) -> None:
        """A line for a row that is finished."""
        self.console.print(
            f"{row.name}  {row.conditions.key}  {told(row)}", highlight=False, markup=False, soft_wrap=True
        )
        self.done += 1
        completed = max(int(self.bar.tasks[self.task].completed), self.done)
        self.bar.update(self.task, completed=completed, step="", refresh=True)
