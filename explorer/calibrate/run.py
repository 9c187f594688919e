"""A calibration from its options to its report."""

from __future__ import annotations

import hashlib
import random
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from explorer.calibrate import FEWEST
from explorer.calibrate.card import Network, report_card
from explorer.calibrate.journal import Journal
from explorer.calibrate.sample import stratified
from explorer.calibrate.show import Report
from explorer.calibrate.trainings import CalibrationStopped, Training, train_all
from explorer.calibrate.words import advice, warning
from explorer.evaluate import training_precision
from explorer.fidelity import fitted, in_words
from explorer.frame import what
from explorer.limits import Limits
from explorer.profile.device import device_name, resolve_device
from explorer.profile.lease import exclusive
from explorer.proxy.data import load_data
from explorer.proxy.train import TrainSettings
from explorer.scores import scores
from search_spaces.architecture import Architecture
from search_spaces.cost import cost
from search_spaces.errors import InputError
from search_spaces.space import SearchSpace, load_space

LONG_SEEDS = 2**31  # and up: no search has them, so that no long training begins as a proxy did


@dataclass(frozen=True)
class Asked:
    """What is trained, how, on what."""

    space: SearchSpace
    sample: tuple[Architecture, ...]
    data: str
    fingerprint: str
    device: torch.device
    short: TrainSettings
    long: TrainSettings
    seeds: int
    seed: int

    def trainings(self, long: bool) -> list[Training]:
        """Those of the proxy, or the long ones: of each network all seeds."""
        settings, first = (self.long, self.seed + LONG_SEEDS) if long else (self.short, self.seed)
        return [
            Training(one, settings, first + i, long, self.data, self.seed, str(self.device))
            for one in self.sample
            for i in range(self.seeds)
        ]

    def conditions(self, settings: TrainSettings) -> dict[str, Any]:
        """Under which trainings compare, as plain data."""
        seed = self.seed if settings.data_share != 1 else None
        return {
            "data": {"source": self.data, "fingerprint": self.fingerprint, "seed": seed},
            "training": {**settings.model_dump(mode="json"), "precision": training_precision(str(self.device))},
            "device": self.device.type,
            "device_name": device_name(self.device),
            "threads": 1 if self.device.type == "cpu" else None,
            "torch": torch.__version__,
        }

    def journal(self, folder: Path, settings: TrainSettings) -> Journal:
        """The file of the trainings by these settings."""
        name = f"calibrate-{self.space.name}-{settings.epochs_run}of{settings.epochs}"
        return Journal(folder, name, self.conditions(settings))

    @property
    def told(self) -> str:
        """The conditions in words."""
        short, long = (in_words(self.data, one.model_dump()) for one in (self.short, self.long))
        seeds = "one seed" if self.seeds == 1 else f"{self.seeds} seeds"
        threads = ", one thread" if self.device.type == "cpu" else ""
        precision = training_precision(str(self.device))
        where = f"{device_name(self.device)}{threads}, {precision}, torch {torch.__version__}"
        return f"proxy: {short}; long: {long}; {seeds} each; {where}"


def run(
    space: str | Path | SearchSpace,
    *,
    networks: int,
    seeds: int,
    data: str,
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
    dataset = load_data(data, min(space.image_sizes))
    space = space.with_classes(dataset.classes)
    short = fitted(settings or TrainSettings(), space)
    long = _long(short, long_epochs)
    sample = tuple(stratified(space, networks, seed=seed, limits=limits))
    asked = Asked(space, sample, data, dataset.fingerprint, where, short, long, seeds, seed)
    with ExitStack() as files:
        of_proxy, of_long = (asked.journal(folder, one) for one in (short, long))
        for one in (of_proxy, of_long):
            files.enter_context(exclusive(_lock(one.path), _refuse_second))
            files.enter_context(one)
        _announce(console, asked, of_proxy, of_long)
        trainings = [*asked.trainings(long=False), *asked.trainings(long=True)]
        random.Random(seed).shuffle(trainings)  # so that what is done tells how long the rest will take
        train_all(trainings, lambda one: of_long if one.long else of_proxy, jobs, console)
    return _report(asked, of_proxy, of_long, console)


def _long(short: TrainSettings, epochs: int) -> TrainSettings:
    """The training that the proxy is judged by: as the proxy's, longer, with nothing left out."""
    try:
        long = TrainSettings(**{**short.in_full.model_dump(), "epochs": epochs})
    except ValidationError as error:
        raise InputError(f"long-epochs={epochs}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None
    if epochs < short.epochs_run or long == short:
        raise InputError(f"long-epochs={epochs}: no more than the proxy's {short.epochs_run} epochs; raise it")
    return long


def _lock(path: Path) -> str:
    return "calibrate-" + hashlib.blake2b(str(path.resolve()).encode(), digest_size=8).hexdigest()


def _refuse_second(pid: int | None) -> None:
    raise CalibrationStopped(f"process {pid or 'unknown'} makes the same trainings already: wait for it, or end it")


def _announce(console: Console, asked: Asked, of_proxy: Journal, of_long: Journal) -> None:
    trainings = [*asked.trainings(long=False), *asked.trainings(long=True)]
    epochs = sum(one.settings.epochs_run for one in trainings)
    done = sum(one.key in (of_long if one.long else of_proxy).kept for one in trainings)
    lines = [
        f"[bold]{len(asked.sample)} networks of {escape(asked.space.name)}[/], {len(trainings)} trainings of {epochs}"
        " epochs in all" + (f"; {done} trainings are done: continued" if done else ""),
        f"[dim]{escape(asked.told)}[/]",
        f"[dim]kept in {escape(str(of_proxy.path))} and {escape(of_long.path.name)}[/]",
    ]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def _report(asked: Asked, of_proxy: Journal, of_long: Journal, console: Console) -> Report:
    found, failed = [], []
    sizes = {size: load_data(asked.data, size) for size in {one.image_size for one in asked.sample}}
    with console.status("scoring untrained networks"):
        for one in asked.sample:
            proxies = [of_proxy.kept[one.id, asked.seed + i] for i in range(asked.seeds)]
            longs = [of_long.kept[one.id, asked.seed + LONG_SEEDS + i] for i in range(asked.seeds)]
            errors = [curve.error for curve in (*proxies, *longs) if curve.error is not None]
            words, counts = what(one.canonical.to_dict()), cost(one)
            if errors:
                failed.append(f"left out: {words}: {errors[0]}")
                continue
            each = [
                scores(one, sizes[one.image_size], seed=asked.seed + i, device=str(asked.device))
                for i in range(asked.seeds)
            ]
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
        raise CalibrationStopped(f"{len(failed)} of {len(asked.sample)} networks could not be trained; {failed[0]}")
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
