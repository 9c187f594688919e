"""Searching: evaluates architectures of a space into a study."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from explorer.last import remember
from explorer.limits import Limits
from explorer.options import (
    AcceleratorType,
    Address,
    Augment,
    BatchSizes,
    Classes,
    CpusPerTrial,
    Data,
    Device,
    Engine,
    EngineName,
    Epochs,
    Fidelity,
    Finalists,
    Gating,
    GpusPerTrial,
    Hours,
    LatencyResource,
    LogDir,
    MaxLatency,
    MaxMacs,
    MaxMemory,
    MaxParams,
    MaxRetries,
    Objectives,
    Patience,
    Precision,
    PrecisionName,
    Runtimes,
    Sampler,
    Screen,
    Seed,
    StopEpoch,
    StoppingRule,
    Storage,
    Strict,
    Study,
    Subset,
    Threads,
    TimeLimit,
    TrainSeconds,
    Trials,
    WithPresets,
    Workers,
    listed,
    sizes,
)
from explorer.show import print_front
from explorer.show_finalists import print_finalists
from search_spaces.errors import InputError


def search(
    space: Annotated[str, typer.Argument(help="A shipped space by name, or a YAML or JSON file.")],
    study: Study = None,
    storage: Storage = None,
    trials: Trials = None,
    hours: Hours = None,
    train_seconds: TrainSeconds = None,
    patience: Patience = None,
    data: Data = "cues",
    subset: Subset = None,
    classes: Classes = None,
    strict: Strict = False,
    device: Device = "auto",
    precision: Precision = PrecisionName.fp32,
    batch_sizes: BatchSizes = "1",
    runtime: Runtimes = "eager",
    threads: Threads = 1,
    time_limit: TimeLimit = 10.0,
    objectives: Objectives = "accuracy,latency",
    max_latency: MaxLatency = None,
    max_macs: MaxMacs = None,
    max_params: MaxParams = None,
    max_memory: MaxMemory = None,
    sampler: Sampler = "pareto",
    seed: Seed = 0,
    with_presets: WithPresets = False,
    stopping: StoppingRule = None,
    gating: Gating = None,
    screen: Screen = None,
    epochs: Epochs = 12,
    stop_epoch: StopEpoch = None,
    fidelity: Fidelity = None,
    augment: Augment = "none",
    finalists: Finalists = None,
    engine: Engine = EngineName.local,
    address: Address = None,
    workers: Workers = None,
    gpus_per_trial: GpusPerTrial = None,
    cpus_per_trial: CpusPerTrial = 1.0,
    latency_resource: LatencyResource = None,
    accelerator_type: AcceleratorType = None,
    max_retries: MaxRetries = 3,
    log_dir: LogDir = None,
) -> None:
    """Evaluate architectures of a space until the budget is spent; the same command continues a study."""
    from explorer.fidelity import train_settings
    from explorer.proxy.data import with_options
    from explorer.search import STORAGE
    from explorer.search import search as run
    from explorer.setup import Setup
    from search_spaces.space import load_space

    limits = Limits.parse(latency=max_latency, macs=max_macs, params=max_params, memory=max_memory)
    setup = Setup(device, precision.value, sizes(batch_sizes), listed(runtime), threads, time_limit)
    loaded = load_space(space)
    settings = train_settings(epochs, stop_epoch, fidelity, augment)
    cluster = None
    if engine is EngineName.ray:
        from explorer.search.resources import Cluster

        cluster = Cluster(
            address=address,
            workers=workers,
            gpus_per_trial=gpus_per_trial,
            cpus_per_trial=cpus_per_trial,
            latency_resource=latency_resource,
            accelerator_type=accelerator_type,
            max_retries=max_retries,
            log_dir=log_dir,
        )
    else:
        _refuse_without_cluster(
            address=address,
            workers=workers,
            gpus_per_trial=gpus_per_trial,
            latency_resource=latency_resource,
            accelerator_type=accelerator_type,
            log_dir=log_dir,
        )
    url = storage or os.environ.get("VITSCAPE_STORAGE") or STORAGE
    try:
        found = run(
            loaded,
            study=study,
            storage=url,
            trials=100 if all(limit is None for limit in (trials, hours, train_seconds, patience)) else trials,
            hours=hours,
            train_seconds=train_seconds,
            patience=patience,
            objectives=listed(objectives),
            data=with_options(data, subset, classes),
            strict=strict,
            setup=setup,
            settings=settings,
            limits=limits,
            sampler=sampler,
            seed=seed,
            with_presets=with_presets,
            stopping=stopping or "auto",
            gating=gating,
            screen=screen,
            finalists=finalists,
            cluster=cluster,
            on_open=lambda opened: remember(opened.study_name, url),
        )
    except KeyboardInterrupt:
        print("interrupted: what is finished is kept, the same command continues", file=sys.stderr)
        raise typer.Exit(130) from None
    if finalists is not None:
        print_finalists(found)
    print_front(found, as_json=False)


def _refuse_without_cluster(**options: object) -> None:
    """Raise InputError for an option that only a cluster has a use for."""
    for name, value in options.items():
        if value is not None:
            raise InputError(f"{name.replace('_', '-')}={value}: only of a cluster; give --engine ray with it")
