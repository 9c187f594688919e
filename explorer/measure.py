"""Latencies of a list of architectures on this machine, kept in a file (explorer/measurements.py) as they come.

What is needed for it is torch, and none of Optuna, pandas or Ray: it is made for the device, not for the study.
"""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from explorer.failure import out_of_memory
from explorer.measurements import Measurement, read_measurements, write_measurements
from explorer.record import Conditions
from explorer.setup import Setup, Target
from explorer.show import Display
from search_spaces.architecture import Architecture
from search_spaces.errors import InputError
from search_spaces.shipped import find

if TYPE_CHECKING:
    import torch

    from explorer.profile.lease import OnWait


def measure(
    architectures: Sequence[str | Path],
    out: str | Path,
    *,
    setup: Setup | None = None,
    console: Console | None = None,
) -> list[Measurement]:
    """Latencies of architecture files and presets, each with every runtime and batch size, kept in a file as they come.

    The file (.csv, .jsonl or .parquet) is written after each latency. What is in it already under the same conditions
    and versions is not measured again, apart from errors and from what has a verdict against it, of which the better
    measurement is kept; its other rows stay. A network that fails gets an error in its row, and so do options that
    cannot be had for it after something was measured.

    >>> measure(["swin_t", "mine.yaml"], "gpu.csv", setup=Setup(device="cuda", batch_sizes=(1, 32)))

    Raises:
        InputError: of the options, an architecture, or a file that holds something else; before anything is timed.
    """
    from explorer.profile.cores import require_cores
    from explorer.profile.device import resolve_device
    from explorer.profile.lease import exclusive
    from explorer.profile.runtimes import require_runtime

    setup, path = setup or Setup(), Path(out)
    where = resolve_device(setup.device)
    libraries = {runtime: require_runtime(runtime, where).libraries(where) for runtime in setup.runtimes}
    if where.type == "cpu":
        require_cores(setup.threads)
    wanted = _load(architectures)
    lock = "measurements-" + hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]

    def keep(new: list[Measurement]) -> dict[tuple[str, ...], Measurement]:
        """All rows of the file, the new ones among them; several processes may be writing to it."""
        with exclusive(lock):
            rows = {row.key: row for row in (read_measurements(path) if path.exists() else [])}
            rows |= {row.key: row for row in new}
            write_measurements(path, list(rows.values()))
        return rows

    planned = [
        (architecture, target, _row(name, architecture, _conditions(architecture, target, setup, where, libraries)))
        for name, architecture in wanted.items()
        for target in setup.targets
    ]
    known = keep([])
    open_rows = [p for p in planned if not _done(known.get(p[2].key))]
    measured = False  # something, by this run
    with _Progress(console, len(planned), len(planned) - len(open_rows)) as progress:
        for architecture, target, row in open_rows:
            progress.begin(row)
            before = known.get(row.key)
            try:
                row = _timed(row, architecture, target, setup, where, progress.waiting)
                measured = True
            except Exception as error:  # a network may fail in any way: its row keeps the reason, the others go on
                if isinstance(error, InputError) and not measured and before is None:  # it is the options' fault
                    raise
                row = row.model_copy(update={"error": _reason(error)})
            known = keep([_better(row, before)])
            progress.end(row)
            _free(where)
    return [known[row.key] for _, _, row in planned]


def _done(row: Measurement | None) -> bool:
    return row is not None and row.latency is not None and row.latency.verdict == "ok"


def _better(row: Measurement, before: Measurement | None) -> Measurement:
    """Of two measurements under the same conditions the one to be trusted more; the first protocol's is not."""
    if before is None or before.latency is None:
        return row
    if row.latency is None:
        return before
    return before if before.latency.verdict is not None and before.latency.doubt < row.latency.doubt else row


def _reason(error: Exception) -> str:
    """An exception as a row's error, in one line."""
    if out_of_memory(error):
        return "out of memory"
    line = " ".join(str(error).split())[:300]
    return line if isinstance(error, InputError) else f"{type(error).__name__}: {line}"


def _load(names: Sequence[str | Path]) -> dict[str, Architecture]:
    """The architectures by the name or path given, each once, and each of which can be built."""
    found: dict[str, Architecture] = {}
    ids: dict[str, str] = {}
    for name in map(str, names):
        try:
            name.encode()
        except UnicodeEncodeError:  # nor could it be written into the results, after the timing
            raise InputError(f"{name!r}: the file's name is not UTF-8; rename it") from None
        architecture = buildable(name)
        if architecture.id in ids:
            raise InputError(f"{name}: the same architecture as {ids[architecture.id]}; leave one of them out")
        found[name] = architecture
        ids[architecture.id] = name
    if not found:
        raise InputError("architectures: none given; name presets or architecture files")
    return found


def buildable(name: str) -> Architecture:
    """The architecture of that name or in that file, of which a network can be built.

    Raises:
        InputError: there is none, or it cannot; one line.
    """
    import torch

    from search_spaces.blocks.network import build

    architecture = Architecture.load(find(name, "presets"))
    try:
        with torch.device("meta"), torch.no_grad():  # shapes alone: takes no memory and next to no time
            size = architecture.image_size
            build(architecture).eval()(torch.empty(1, architecture.in_channels, size, size))
    except RuntimeError as error:
        raise InputError(f"{name}: cannot be built: {str(error).splitlines()[0]}") from None
    return architecture


def _conditions(
    architecture: Architecture,
    target: Target,
    setup: Setup,
    device: torch.device,
    libraries: dict[str, dict[str, str]],
) -> Conditions:
    """What can be said of the conditions before measuring: all that tells rows apart."""
    import torch

    from explorer.profile.latency import device_name

    return Conditions(
        device=device.type,
        device_name=device_name(device),
        runtime=target.runtime,
        precision=setup.precision,
        batch_size=target.batch_size,
        image_size=architecture.image_size,
        threads=setup.threads if device.type == "cpu" else None,
        torch=torch.__version__,
        libraries=libraries[target.runtime],
    )


def _row(source: str, architecture: Architecture, conditions: Conditions) -> Measurement:
    """A row whose latency is yet to be measured."""
    return Measurement(
        id=architecture.id,
        name=architecture.name,
        source=source,
        architecture=architecture.canonical.to_dict(),
        conditions=conditions,
        latency=None,
    )


def _timed(
    row: Measurement,
    architecture: Architecture,
    target: Target,
    setup: Setup,
    device: torch.device,
    on_wait: OnWait,
) -> Measurement:
    from explorer.profile.latency import measure as time_network
    from search_spaces.blocks.network import build

    latency = time_network(
        build(architecture).eval().fuse(),
        image_size=architecture.image_size,
        in_channels=architecture.in_channels,
        device=str(device),
        precision=setup.precision,
        batch_size=target.batch_size,
        runtime=target.runtime,
        threads=setup.threads,
        time_limit_s=setup.time_limit_s,
        on_wait=on_wait,
    )
    return row.model_copy(update={"latency": latency, "conditions": latency.conditions})


def _free(device: torch.device) -> None:
    """Give back the memory of a network that was timed: the next one may need all of it."""
    import torch

    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


class _Progress(Display):
    """A line for each row, on a terminal a bar with the time left; drawn between measurements, never during one."""

    def __init__(self, console: Console | None, total: int, done: int) -> None:
        console = console or Console(stderr=True)
        super().__init__(console, auto_refresh=False, disable=not console.is_terminal)
        self.total, self.done = total, done
        self.task = self.bar.add_task("measuring", total=total, completed=done, step="")

    def __enter__(self) -> _Progress:
        if self.done:
            self.console.print(f"{self.done} of {self.total} latencies are in the file already", style="dim")
        return super().__enter__()

    def begin(self, row: Measurement) -> None:
        """Say what is timed now."""
        self.bar.update(self.task, step=escape(f"{row.source} {row.conditions.key}"), refresh=True)

    def waiting(self, pid: int | None) -> None:
        """Say what the timing waits for."""
        from explorer.profile.lease import waits_for

        self.console.print(waits_for(pid, "this device"), style="yellow")

    def end(self, row: Measurement) -> None:
        """A line for a row that is finished."""
        self.console.print(
            f"{row.source}  {row.conditions.key}  {told(row)}", highlight=False, markup=False, soft_wrap=True
        )
        self.bar.update(self.task, advance=1, step="", refresh=True)


def told(row: Measurement) -> str:
    """What became of a row, for a person: "2.31 ± 0.04 ms", "3.02 ± 0.40 ms, noisy: ...", or the error."""
    if row.latency is None:
        return f"error: {row.error}"
    low, high = row.latency.ci95_ms
    doubt = "" if row.latency.verdict in ("ok", None) else f", {row.latency.verdict}: {row.latency.reason}"
    return f"{row.latency.median_ms:.4g} ± {(high - low) / 2:.2g} ms{doubt}"
