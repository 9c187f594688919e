"""How architectures are searched: the study, its sampler, the engines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces.errors import InputError
from search_spaces.shipped import names, preset
from search_spaces.space import SearchSpace, load_space

if TYPE_CHECKING:
    import optuna
    from optuna.samplers import BaseSampler
    from rich.console import Console

    from explorer.limits import Limits
    from explorer.proxy.train import TrainSettings
    from explorer.search.resources import Cluster
    from explorer.search.stopping import Rule, Stopping
    from explorer.setup import Setup

STORAGE = "runs/vitscape.db"  # a SQLite file in the current folder


def default_sampler(seed: int = 0) -> BaseSampler:
    """The sampler that a search uses where none is named; works in any Optuna study."""
    from explorer.search.sampler import DEFAULT, make_sampler

    return make_sampler(DEFAULT, seed)


def search(
    space: str | Path | SearchSpace,
    *,
    study: str | None = None,
    storage: str = STORAGE,
    trials: int | None = 100,
    hours: float | None = None,
    train_seconds: float | None = None,
    patience: int | None = None,
    objectives: Sequence[str] = ("accuracy", "latency"),
    data: str = "cues",
    strict: bool = False,
    setup: Setup | None = None,
    settings: TrainSettings | None = None,
    limits: Limits | None = None,
    sampler: str = "pareto",
    seed: int = 0,
    with_presets: bool = False,
    stopping: Stopping | str | None = "auto",
    gating: bool | None = None,
    screen: str | None = None,
    finalists: int | None = None,
    cluster: Cluster | None = None,
    console: Console | None = None,
    on_open: Callable[[optuna.Study], None] | None = None,
) -> optuna.Study:
    """The Optuna study of a search, after evaluating candidates until `trials` are in it or another budget is spent.

    A study that exists is continued: its trials count, none is repeated. Interrupting (Ctrl-C) keeps what is finished.
    The space's number of classes follows the data. With a `cluster` the workers of a Ray cluster evaluate, several at a
    time; without, this process does. `on_open` is called with the study before anything is evaluated.

    Budgets, the first of which ends the search: `trials` in the study, `hours` of this call, `train_seconds` of
    training in the study, `patience` trials over which the hypervolume grows by no more than 0.1 %.

    `stopping` ends trainings early: "front" those that cannot reach the front, "none", or an object of one's own
    (explorer/search/stopping.py); "auto" is "front" where accuracy is one of several objectives. With `gating`, on
    where `stopping` is "front", what is not expected to reach the front is not trained at all. `screen` names a
    zero-cost score (explorer/scores): the lowest 30 % by it of the candidates of like MACs are not trained either.

    With `finalists` so many of the front, and of what comes next to it, are trained in full afterwards: the whole
    schedule, all images, at their own size. The search then leaves the schedule at 40 %, where the settings do not say.

    >>> study = search("tiny_32", study="first", trials=20, data="cues", limits=Limits.parse(latency="2ms"))

    `strict` refuses images that cannot be read, which are otherwise left out with a warning.

    Raises:
        InputError: of an option, the space, the data, the storage or the cluster; one line. Of a study made by other
            options, too.
        SearchStopped: ten trials failed in a row, another process searches the study, or no worker can be started.
    """
    from dataclasses import replace

    import optuna
    from rich.console import Console

    from explorer.fidelity import final_stage_told, fitted, left_early, require_data
    from explorer.limits import Limits
    from explorer.metrics import metrics
    from explorer.patient_storage import show_waits
    from explorer.proxy.data import with_options
    from explorer.proxy.progress import load_shown
    from explorer.proxy.train import TrainSettings
    from explorer.search.attempt import Work
    from explorer.search.beforehand import SpaceDomain
    from explorer.search.budget import Budget
    from explorer.search.engines import engine
    from explorer.search.finalists import train_finalists, unfinished
    from explorer.search.progress import SearchProgress, announce, conclude
    from explorer.search.reach import chosen
    from explorer.search.sampler import make_sampler
    from explorer.search.study import Plan, is_before_rules, keep_rules, open_study
    from explorer.setup import Setup

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # the progress display says it better
    setup = setup or Setup()
    objectives = tuple(row.name for row in metrics(setup.recorded(name) for name in objectives))
    budget = Budget(trials, hours, train_seconds, patience)
    budget.check(objectives)
    if not 0 <= seed < 2**31:
        raise InputError(f"seed={seed}: give a whole number from 0 to {2**31 - 1}")
    space = space if isinstance(space, SearchSpace) else load_space(space)
    data = with_options(data, None, None)  # in the one spelling that is kept
    settings, limits = fitted(settings or TrainSettings(), space), limits or Limits()
    after = ""
    if finalists is not None:
        _check_finalists(finalists, objectives)
        asked, settings = settings, left_early(settings)
        after = final_stage_told(finalists, asked, settings)
    name = study or space.name
    rule, stopped_by, gates = chosen(stopping, gating, objectives, settings.stop_epoch or settings.epochs)
    if screen is not None:
        rule = _screened(screen, rule, objectives)
    console = console or Console(stderr=True)
    with engine(setup, cluster, storage, name, console.print) as (place, setup, run):
        fingerprint = None
        if "accuracy" in objectives:
            smallest = settings.image_size or min(space.image_sizes)
            dataset = load_shown(data, smallest, console, strict=strict)
            require_data(space, dataset, data, settings, seed)
            space, fingerprint = space.with_classes(dataset.classes), dataset.fingerprint
        work = Work(objectives, data, setup, settings, limits, seed, screen)
        plan = Plan(space, work, fingerprint, place, stopped_by, gates)
        opened = open_study(name, storage, plan, make_sampler(sampler, seed))
        early = ""
        if stopping == "auto" and gating is None and plan.stopping != "none" and is_before_rules(opened):
            early = "no training is ended early: the study is from before that; --stopping front does from now on"
            plan = replace(plan, stopping="none", gating=False)
            rule = None if screen is None else _screened(screen, None, objectives)
        keep_rules(opened, plan)
        if on_open is not None:
            on_open(opened)
        domain = SpaceDomain(space, objectives, limits)
        opened.sampler = make_sampler(sampler, seed, domain=domain, begun=len(opened.get_trials(deepcopy=False)))
        presets: list[Any] = []
        if with_presets:
            classes = space.root.leaf("classes").options[0]
            presets = [preset(one).model_copy(update={"classes": classes}) for one in names("presets")]
        announce(console, opened, plan, storage, early, after)
        if finalists is None or not unfinished(opened, finalists, budget):
            with SearchProgress(console, opened, plan.objectives, trials) as progress:
                show_waits(opened, progress.gone)
                ended = run(opened, plan, budget, presets, progress, rule)
            conclude(console, opened, ended)
        if finalists is not None:
            train_finalists(opened, plan, finalists, budget, run, console)
    return opened


def _check_finalists(finalists: int, objectives: Sequence[str]) -> None:
    if finalists < 1:
        raise InputError(f"finalists={finalists}: give at least 1")
    if "accuracy" not in objectives:
        raise InputError(f"finalists={finalists}: nothing is trained without accuracy among the objectives; add it")


def _screened(screen: str, rule: Rule | None, objectives: Sequence[str]) -> Rule:
    from explorer.scores import require_score
    from explorer.search.screening import Screened

    if "accuracy" not in objectives:
        raise InputError(f"screen={screen}: nothing is trained without accuracy among the objectives; add it")
    return Screened(require_score(screen), rule)


__all__ = ["STORAGE", "default_sampler", "search"]
