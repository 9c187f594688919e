"""What evaluates the candidates of a search: this process, or the workers of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from explorer.search.place import Place
from explorer.setup import Setup

if TYPE_CHECKING:
    from explorer.search.resources import Cluster


class Engine(NamedTuple):
    """An engine that is ready: where it measures, and what runs a search with it (as explorer.search.local.run)."""

    place: Place
    setup: Setup
    run: Callable[..., str]


@contextmanager
def engine(
    setup: Setup, cluster: Cluster | None, storage: str, study: str, say: Callable[[str], None]
) -> Iterator[Engine]:
    """The engine of a search; the connection to a cluster lasts as long. `say` is told what is waited for.

    Raises:
        InputError: the setup cannot be used here, or there; the cluster cannot be reached; one line.
    """
    if cluster is None:
        from explorer.search import local

        yield Engine(Place.here(setup), setup, local.run)
        return
    from explorer.search import cluster as ray_engine
    from explorer.search.logs import log_folder
    from explorer.search.nodes import ask_place, connected, refuse_mixed_kinds, torch_device

    folder = log_folder(cluster.log_dir, storage, study)
    with connected(cluster):
        setup = replace(setup, device=torch_device(setup, cluster))
        refuse_mixed_kinds(cluster, setup.device)
        place = ask_place(setup, cluster.of_trial(setup.device), say)
        if cluster.latency_resource is not None:
            timing = ask_place(setup, cluster.of_timer(setup.device), say)
            place = replace(timing, training_precision=place.training_precision)
        yield Engine(place, setup, partial(ray_engine.run, cluster=cluster, log_dir=folder))
