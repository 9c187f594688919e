"""The proxy's report card: `calibrate(space)` tells how far a short training ranks networks as a long one does.

asked (what, how, on what), sample (which networks), trainings (in one process or several), journal (each kept as it
ends), correlation (bootstrap), card (what is reckoned), words (what it means), show (tables, Markdown).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from search_spaces.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from explorer.calibrate.show import Report
    from explorer.limits import Limits
    from explorer.proxy.train import TrainSettings
    from search_spaces.space import SearchSpace

FEWEST = 5  # networks, below which no rank correlation says anything


def calibrate(
    space: str | Path | SearchSpace,
    *,
    networks: int = 24,
    seeds: int = 2,
    data: str = "cues",
    strict: bool = False,
    device: str = "auto",
    settings: TrainSettings | None = None,
    long_epochs: int = 36,
    limits: Limits | None = None,
    seed: int = 0,
    jobs: int = 1,
    folder: str | Path = "runs",
    console: Console | None = None,
) -> Report:
    """How well the training that `settings` describe ranks a sample of a space, against a training of `long_epochs`.

    Each network is trained by the proxy and long, from `seeds` seeds each, none of them the same; the proxy's first is
    that of `search(seed=seed)`. The sample spreads over MACs; what exceeds `limits` is not in it. Each training is kept
    in `folder` as it ends: the same call goes on where an earlier one was interrupted; one with more networks or seeds
    trains what is missing, and one with a lower stop_epoch nothing. `jobs` processes train side by side, on a CPU with
    one thread each. `strict` refuses images that cannot be read, which are otherwise left out with a warning.

    >>> report = calibrate("tiny_32", networks=24, settings=TrainSettings(epochs=12, stop_epoch=5))
    >>> report.card.single.tau, report.warning

    Raises:
        InputError: of an option, the space, the data, or a file of earlier trainings; one line.
        CalibrationStopped: a process died, ten trainings failed in a row, or fewer than 5 networks could be trained.
        KeyboardInterrupt: after Ctrl-C or SIGTERM; what is finished is kept.
    """
    from explorer.calibrate.run import run

    for name, value, least in (
        ("networks", networks, FEWEST),
        ("seeds", seeds, 1),
        ("jobs", jobs, 1),
        ("seed", seed, 0),
    ):
        if not least <= value < 2**31:
            raise InputError(f"{name}={value}: give a whole number of at least {least}")
    return run(
        space,
        networks=networks,
        seeds=seeds,
        data=data,
        strict=strict,
        device=device,
        settings=settings,
        long_epochs=long_epochs,
        limits=limits,
        seed=seed,
        jobs=jobs,
        folder=Path(folder),
        console=console,
    )


__all__ = ["calibrate"]
