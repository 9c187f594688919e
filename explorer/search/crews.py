"""Who times and who trains in a cluster: what each crew is hired with, how many there may be, and who fits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import ray

from explorer.search.crew import Crew
from explorer.search.nodes import room, says_what_is_missing
from explorer.search.progress import SearchProgress
from explorer.search.resources import Cluster
from explorer.search.study import Plan
from explorer.search.worker import Hello

Evaluator = Callable[..., Any]  # the class of the workers


@contextmanager
def crews(
    plan: Plan, cluster: Cluster, desk: Any, stops: bool, worker: Evaluator, progress: SearchProgress
) -> Iterator[tuple[Crew | None, Crew]]:
    """Who times and who trains; None where the same workers do both. All are dismissed at the end."""
    work, device = plan.work, plan.work.setup.device
    separate = cluster.latency_resource is not None and work.profiled
    of_trial, of_timer = cluster.of_trial(device), cluster.of_timer(device)

    def hire(options: dict[str, Any]) -> Callable[[], Any]:
        actor: Any = ray.remote(worker).options(**options)
        return lambda: actor.remote(work, desk, stops)

    def fits(hello: Hello, measures: bool) -> str | None:
        return _difference(plan, hello, measures and work.profiled)

    def many() -> int:
        """Trainers: none where nothing is trained, and beside timers no more than have room, lest they take theirs."""
        if not separate:
            return room(of_trial) if cluster.workers is None else cluster.workers + len(trainers.unfit)
        most = room(of_trial, of_timer) if work.trained else 0
        return most if cluster.workers is None else min(most, cluster.workers)

    trainers = Crew(
        hire(of_trial),
        many,
        lambda hello: fits(hello, not separate),
        partial(says_what_is_missing, of_trial),
        progress.warn,
    )
    timers = None
    if separate:
        timers = Crew(
            hire(of_timer),
            partial(room, of_timer),
            lambda hello: fits(hello, True),
            partial(says_what_is_missing, of_timer),
            progress.warn,
        )
    try:
        yield timers, trainers
    finally:
        for crew in filter(None, (timers, trainers)):
            crew.dismiss()


def _difference(plan: Plan, hello: Hello, measures: bool) -> str | None:
    """Why what a worker finds would not compare with the study's."""
    if hello.place is None:
        return hello.reason
    names = ["training_precision"] if plan.work.trained else []
    if measures:
        names += ["device", "device_name", "torch", "libraries", "protocol"]
    for name in names:
        has, wants = getattr(hello.place, name), getattr(plan.place, name)
        if has != wants:
            return f"its {name.replace('_', ' ')} is {has}, the study's {wants}"
    return None
