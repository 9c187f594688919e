"""A calibration from its options to its report."""

from __future__ import annotations

import hashlib
import random
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape

from explorer.calibrate import FEWEST
from explorer.calibrate.asked import Asked, lengthened
from explorer.calibrate.card import Network, report_card
from explorer.calibrate.journal import Curve, Journal
from explorer.calibrate.sample import stratified
from explorer.calibrate.show import Report
from explorer.calibrate.trainings import CalibrationStopped, Training, train_all
from explorer.calibrate.words import advice, warning
from explorer.fidelity import fitted, require_data
from explorer.frame import what
from explorer.limits import Limits
from explorer.profile.device import resolve_device
from explorer.profile.lease import exclusive
from explorer.proxy.data import Dataset, with_options
from explorer.proxy.progress import load_shown
from explorer.proxy.train import TrainSettings
from explorer.scores import scores
from search_spaces.cost import cost
from search_spaces.space import SearchSpace, load_space


def run(
    space: str | Path | SearchSpace,
    *,
    networks: int,
    seeds: int,
    data: str,
    strict: bool,
    device: str,
    settings: TrainSettings | None,
    long_epochs: int,
    limits: Limits | None,
    seed: int,
    jobs: int,
    folder: Path,
    console: Console | None,
) -> Report:
    """The report of a calibration; see explorer.calibrate.calibrate."""
    space = space if isinstance(space, SearchSpace) else load_space(space)
    console = console or Console(stderr=True)
    where = resolve_device(device)
    short = fitted(settings or TrainSettings(), space)
    long = lengthened(short, long_epochs)
    data = with_options(data, None, None)  # in the one spelling that journals keep
    dataset = load_shown(data, min(space.image_sizes), console, strict=strict)
    require_data(space, dataset, data, short, seed)
    space = space.with_classes(dataset.classes)
    sample = tuple(stratified(space, networks, seed=seed, limits=limits))
    asked = Asked(space, sample, data, dataset.fingerprint, where, short, long, seeds, seed, limits)
    datasets = {dataset.image_size: dataset}  # all that is trained on, decoded before processes would each begin to
    for size in {short.image_size or dataset.image_size, *(one.image_size for one in sample)} - set(datasets):
        datasets[size] = load_shown(data, size, console, strict=strict)
    with ExitStack() as files:
        of_proxy, of_long = asked.journal(folder, long=False), asked.journal(folder, long=True)
        for one in (of_proxy, of_long):
            files.enter_context(exclusive(_lock(one.path), _refuse_second))
            files.enter_context(one)
        trainings = [*asked.trainings(long=False), *asked.trainings(long=True)]
        random.Random(seed).shuffle(trainings)  # so that what is done tells how long the rest will take
        _announce(console, asked, trainings, of_proxy, of_long)
        train_all(trainings, lambda one: of_long if one.long else of_proxy, jobs, console)
    return _report(asked, datasets, of_proxy, of_long, console)


def _curve(training: Training, of_proxy: Journal, of_long: Journal) -> Curve | None:
    return training.curve(of_long if training.long else of_proxy)


def _lock(path: Path) -> str:
    return "calibrate-" + hashlib.blake2b(str(path.resolve()).encode(), digest_size=8).hexdigest()


def _refuse_second(pid: int | None) -> None:
    raise CalibrationStopped(f"process {pid or 'unknown'} makes the same trainings already: wait for it, or end it")


def _announce(console: Console, asked: Asked, trainings: list[Training], of_proxy: Journal, of_long: Journal) -> None:
    epochs = sum(one.settings.epochs_run for one in trainings)
    done = sum(_curve(one, of_proxy, of_long) is not None for one in trainings)
    lines = [
        f"[bold]{len(asked.sample)} networks of {escape(asked.space.name)}[/], {len(trainings)} trainings of {epochs}"
        " epochs in all" + (f"; {done} trainings are done: continued" if done else ""),
        f"[dim]{escape(asked.told)}[/]",
        f"[dim]kept in {escape(str(of_proxy.path))} and {escape(of_long.path.name)}[/]",
    ]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def _report(
    asked: Asked, datasets: dict[int, Dataset], of_proxy: Journal, of_long: Journal, console: Console
) -> Report:
    found, failed = [], []
    with console.status("scoring untrained networks"):
        for one in asked.sample:
            made = [_curve(training, of_proxy, of_long) for late in (False, True) for training in asked.of(one, late)]
            curves = [curve for curve in made if curve is not None]  # all, since they have been made
            errors = [curve.error for curve in curves if curve.error is not None]
            words, counts = what(one.canonical.to_dict()), cost(one)
            if not errors:
                try:
                    each = [
                        scores(one, datasets[one.image_size], seed=asked.seed + i, device=str(asked.device))
                        for i in range(asked.seeds)
                    ]
                except (RuntimeError, MemoryError) as error:  # no room for it, or a matrix that does not converge
                    errors = [f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"]
            if errors:
                failed.append(f"left out: {words}: {errors[0]}")
                continue
            proxies, longs = curves[: asked.seeds], curves[asked.seeds :]
            found.append(
                Network(
                    id=one.id,
                    what=words,
                    macs=counts.macs,
                    params=counts.params,
                    proxies=tuple(curve.accuracy_by_epoch for curve in proxies),
                    longs=tuple(curve.accuracy_by_epoch[-1] for curve in longs),
                    scores={name: float(np.mean([single[name] for single in each])) for name in each[0]},
                )
            )
    if len(found) < FEWEST:
        raise CalibrationStopped(
            f"{len(failed)} of {len(asked.sample)} networks could not be trained; {failed[0]}; to try again remove the"
            f" lines with an error from {of_proxy.path} and {of_long.path.name}"
        )
    card = report_card(found, seed=asked.seed)
    run, epochs = asked.short.epochs_run, asked.short.epochs
    trained = f"{epochs} epochs" if run == epochs else f"{run} of {epochs} epochs"
    conditions = {
        "space": asked.space.name,
        "networks": len(found),
        "seeds": asked.seeds,
        "seed": asked.seed,
        **asked.conditions(asked.short),
        "long": asked.conditions(asked.long)["training"],
    }
    return Report(
        card=card,
        conditions=conditions,
        title=f"How {trained} rank {len(found)} networks of {asked.space.name}",
        told=asked.told,
        warning=warning(card),
        advice=tuple(advice(card, epochs)),
        failed=tuple(failed),
    )
