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
    from explorer.proxy.dataset import Dataset
    from explorer.proxy.train import TrainSettings
    from explorer.search.resources import Cluster
    from explorer.search.stopping import Stopping
    from explorer.setup import Setup

STORAGE = "runs/vitscape.db"  # a SQLite file in the current folder


def default_sampler(seed: int = 0) -> BaseSampler:
    """The sampler that a search uses where none is named; works in any Optuna study."""
    from explorer.search.sampler import make_sampler

    return make_sampler("tpe", seed)


def search(
    space: str | Path | SearchSpace,
    *,
    study: str | None = None,
    storage: str = STORAGE,
    trials: int | None = 100,
    hours: float | None = None,
    objectives: Sequence[str] = ("accuracy", "latency"),
    data: str = "cues",
    setup: Setup | None = None,
    settings: TrainSettings | None = None,
    limits: Limits | None = None,
    sampler: str = "tpe",
    seed: int = 0,
    with_presets: bool = False,
    stopping: Stopping | None = None,
    cluster: Cluster | None = None,
    console: Console | None = None,
    on_open: Callable[[optuna.Study], None] | None = None,
) -> optuna.Study:
    """The Optuna study of a search, after evaluating candidates until `trials` are in it or `hours` have passed.

    A study that exists is continued: its trials count, none is repeated. Interrupting (Ctrl-C) keeps what is finished.
    The space's number of classes follows the data. With a `cluster` the workers of a Ray cluster evaluate, several at a
    time; without, this process does. `on_open` is called with the study before anything is evaluated.

    >>> study = search("tiny_32", study="first", trials=20, data="cues", limits=Limits.parse(latency="2ms"))

    Raises:
        InputError: of an option, the space, the data, the storage or the cluster; one line. Of a study made by other
            options, too.
        SearchStopped: ten trials failed in a row, another process searches the study, or no worker can be started.
    """
    import optuna
    from rich.console import Console

    from explorer.limits import Limits
    from explorer.metrics import metrics
    from explorer.patient_storage import show_waits
    from explorer.proxy.data import load_data
    from explorer.proxy.train import TrainSettings
    from explorer.search.attempt import Work
    from explorer.search.engines import engine
    from explorer.search.progress import SearchProgress, announce
    from explorer.search.sampler import make_sampler
    from explorer.search.session import Budget
    from explorer.search.study import Plan, open_study
    from explorer.setup import Setup

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # the progress display says it better
    setup = setup or Setup()
    objectives = tuple(row.name for row in metrics(setup.recorded(name) for name in objectives))
    _check_budget(trials, hours)
    if not 0 <= seed < 2**31:
        raise InputError(f"seed={seed}: give a whole number from 0 to {2**31 - 1}")
    space = space if isinstance(space, SearchSpace) else load_space(space)
    settings, limits = settings or TrainSettings(), limits or Limits()
    name = study or space.name
    console = console or Console(stderr=True)
    with engine(setup, cluster, storage, name, console.print) as (place, setup, run):
        fingerprint = None
        if "accuracy" in objectives:
            dataset = load_data(data, min(space.image_sizes))
            space, fingerprint = space.with_classes(dataset.classes), dataset.fingerprint
            _check_data(space, dataset, settings)
        work = Work(objectives, data, setup, settings, limits, seed)
        plan = Plan(space=space, work=work, data_fingerprint=fingerprint, place=place)
        opened = open_study(name, storage, plan, make_sampler(sampler, seed))
        if on_open is not None:
            on_open(opened)
        # a sampler begun again from its seed would repeat its first proposals
        opened.sampler = make_sampler(sampler, (seed + 1_000_003 * len(opened.get_trials(deepcopy=False))) % 2**32)
        presets: list[Any] = []
        if with_presets:
            classes = space.root.leaf("classes").options[0]
            presets = [preset(one).model_copy(update={"classes": classes}) for one in names("presets")]
        announce(console, opened, plan, storage)
        with SearchProgress(console, opened, plan.objectives, trials) as progress:
            show_waits(opened, progress.gone)
            ended = run(opened, plan, Budget(trials, hours), presets, progress, stopping)
    console.print(f"{ended}: study {opened.study_name}", style="bold", highlight=False, markup=False)
    return opened


def _check_data(space: SearchSpace, dataset: Dataset, settings: TrainSettings) -> None:
    channels, images = dataset.train_images.shape[1], len(dataset.train_images)
    if space.root.leaf("in_channels").options != (channels,):
        raise InputError(f"in_channels: the data {dataset.name} has {channels} channels; set in_channels: {channels}")
    if images < settings.batch_size:
        raise InputError(
            f"data={dataset.name}: {images} training images are fewer than a batch of {settings.batch_size}"
        )


def _check_budget(trials: int | None, hours: float | None) -> None:
    if trials is None and hours is None:
        raise InputError("trials and hours are both open: the search would never end; give one of them")
    if trials is not None and trials < 1:
        raise InputError(f"trials={trials}: give at least 1")
    if hours is not None and not 0 < hours < 1e6:
        raise InputError(f"hours={hours}: give a number above 0")


__all__ = ["STORAGE", "default_sampler", "search"]
