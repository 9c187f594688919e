"""What one evaluation finds, whatever happens in it: in the search's own process, or in a worker of a cluster."""

from __future__ import annotations

import time
import traceback
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from explorer.evaluate import OnStep, evaluate
from explorer.limits import Limits
from explorer.proxy.data import Dataset
from explorer.proxy.progress import load_said
from explorer.proxy.train import TrainSettings
from explorer.record import Evaluation
from explorer.search.stopping import Decision
from explorer.setup import Setup
from search_spaces.architecture import Architecture
from search_spaces.errors import InputError

SIZES_KEPT = 2  # image sizes whose data stays in memory

Found = dict[str, Any]  # fields of a TrialRecord: status, evaluation, seconds, error, traceback, why it was stopped
Decide = Callable[[Evaluation], Decision]  # of what is known before training, and after each epoch


@dataclass(frozen=True)
class Work:
    """How candidates of a search are evaluated."""

    objectives: tuple[str, ...]
    data: str
    setup: Setup
    settings: TrainSettings
    limits: Limits
    seed: int
    screen: str | None = None  # zero-cost score that is taken before training

    @property
    def trained(self) -> bool:
        """Whether candidates are trained."""
        return "accuracy" in self.objectives

    def image_size(self, architecture: Architecture) -> int:
        """Pixels of the images that an architecture is trained with."""
        return self.settings.image_size or architecture.image_size

    @property
    def profiled(self) -> bool:
        """Whether candidates are timed, or their memory is measured."""
        names = {name.partition("@")[0] for name in self.objectives} | set(self.limits.given())
        return bool(names & {"latency", "memory"})


class Images:
    """The data set at the image sizes lately asked for, each loaded once while it stays among the last ones used."""

    def __init__(self, load: Callable[[int], Dataset]) -> None:
        self.load = load
        self.kept: OrderedDict[int, Dataset] = OrderedDict()

    @classmethod
    def of(cls, work: Work, say: OnStep = lambda text: None) -> Images:
        """The images that a search trains with: the same part of them for all. `say` is told of their decoding."""
        share, seed = work.settings.data_share, work.seed
        return cls(lambda image_size: load_said(work.data, image_size, say).at_share(share, seed))

    def at(self, image_size: int) -> Dataset:
        """The data set at an image size."""
        if image_size not in self.kept:
            self.kept[image_size] = self.load(image_size)
        self.kept.move_to_end(image_size)
        while len(self.kept) > SIZES_KEPT:
            self.kept.popitem(last=False)
        return self.kept[image_size]


def attempt(
    architecture: Architecture,
    work: Work,
    images: Images,
    *,
    profile_only: bool = False,
    known: Evaluation | None = None,
    on_step: OnStep | None = None,
    decide: Decide | None = None,
) -> Found:
    """What the evaluation of an architecture found, or how it failed.

    `profile_only` ends before training; `known` is what such an attempt found before. `decide` is asked before training
    and after each epoch but the last.

    Raises:
        InputError: of the set-up, so that every other candidate would meet it, too.
        KeyboardInterrupt: as it came.
    """
    started, decision = time.monotonic(), Decision()
    epochs = work.settings.epochs_run

    def goes_on(so_far: Evaluation) -> bool:
        nonlocal decision
        if decide is not None and len(so_far.accuracy_by_epoch) < epochs:
            decision = decide(so_far)
        return decision.goes_on

    objectives = [name for name in work.objectives if name != "accuracy" or not profile_only]
    try:
        evaluation = evaluate(
            architecture,
            data=images.at(work.image_size(architecture)) if "accuracy" in objectives else work.data,
            setup=work.setup,
            settings=work.settings,
            limits=work.limits,
            seed=work.seed,
            measure=objectives,
            known=known,
            score=work.screen,
            on_step=on_step,
            before_training=goes_on,
            on_epoch=goes_on,
        )
    except InputError:
        raise
    except Exception as error:  # the one broad catch: a candidate may fail in any way, and the search goes on
        line = " ".join(str(error).split())[:300]
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return {
            "status": "failed",
            "seconds": time.monotonic() - started,
            "error": f"{type(error).__name__}: {line}",
            "traceback": traceback.format_exc(limit=-8),
        }
    found = {"evaluation": evaluation, "seconds": time.monotonic() - started}
    if not decision.goes_on:
        why = {"expected_accuracy": decision.expected, "reason": decision.reason}
        return found | why | {"status": "stopped", "stopped_after": len(evaluation.accuracy_by_epoch)}
    return found | {"status": "infeasible" if evaluation.infeasible else "complete"}
