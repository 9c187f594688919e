"""What a calibration was asked for: which networks, how they are trained, on what, and under which conditions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from explorer.calibrate.journal import Journal
from explorer.calibrate.trainings import Training
from explorer.evaluate import training_precision
from explorer.fidelity import in_words
from explorer.limits import Limits
from explorer.metrics import METRICS
from explorer.profile.device import device_name
from explorer.proxy.train import TrainSettings
from search_spaces.architecture import Architecture
from search_spaces.errors import InputError
from search_spaces.space import SearchSpace

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
    limits: Limits | None = None  # that the sample keeps to

    def trainings(self, long: bool) -> list[Training]:
        """Those of the proxy, or the long ones: of each network all seeds."""
        return [one for network in self.sample for one in self.of(network, long)]

    def of(self, network: Architecture, long: bool) -> list[Training]:
        """The trainings of one network."""
        settings, first = (self.long, self.seed + LONG_SEEDS) if long else (self.short, self.seed)
        return [
            Training(network, settings, first + i, long, self.data, self.seed, str(self.device))
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

    def journal(self, folder: Path, long: bool) -> Journal:
        """The file of the proxy's trainings, or of the long ones, wherever their one schedule is left."""
        settings, kind = (self.long, "long") if long else (self.short, "proxy")
        conditions = self.conditions(settings)
        del conditions["training"]["stop_epoch"]
        return Journal(folder, f"calibrate-{self.space.name}-{kind}{settings.epochs}", conditions)

    @property
    def told(self) -> str:
        """The conditions in words."""
        short, long = (in_words(self.data, one.model_dump()) for one in (self.short, self.long))
        seeds = "one seed" if self.seeds == 1 else f"{self.seeds} seeds"
        threads = ", one thread" if self.device.type == "cpu" else ""
        precision = training_precision(str(self.device))
        where = f"{device_name(self.device)}{threads}, {precision}, torch {torch.__version__}"
        given = (self.limits or Limits()).given().items()
        limits = "".join(f"{name} of at most {METRICS[name].text(limit)}; " for name, limit in given)
        return f"{limits}proxy: {short}; long: {long}; {seeds} each; {where}"


def lengthened(short: TrainSettings, epochs: int) -> TrainSettings:
    """The training that the proxy is judged by: as the proxy's, longer, with nothing left out.

    Raises:
        InputError: it is no longer than the proxy's; one line.
    """
    try:
        long = TrainSettings(**{**short.in_full.model_dump(), "epochs": epochs})
    except ValidationError as error:
        raise InputError(f"long-epochs={epochs}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None
    if epochs < short.epochs_run or long == short:
        raise InputError(f"long-epochs={epochs}: no more than the proxy's {short.epochs_run} epochs; raise it")
    return long
