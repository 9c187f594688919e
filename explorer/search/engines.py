"""What evaluates the candidates of a search: this process, or the workers of a Ray cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from explorer.search.place import Place
from explorer.setup import Setup
from explorer.storage_url import hide_password

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

    if (cluster.address or os.environ.get("RAY_ADDRESS")) and _in_command_line(storage):
        say("! the password in --storage is in the command line, which Ray keeps; better VITSCAPE_STORAGE_PASSWORD")
    folder = log_folder(cluster.log_dir, storage, study)
    with connected(cluster):
        setup = replace(setup, device=torch_device(setup, cluster))
        refuse_mixed_kinds(cluster, setup.device)
        place = ask_place(setup, cluster.of_trial(setup.device), say)
        if cluster.latency_resource is not None:
            timing = ask_place(setup, cluster.of_timer(setup.device), say)
            place = replace(timing, training_precision=place.training_precision)
        yield Engine(place, setup, partial(ray_engine.run, cluster=cluster, log_dir=folder))


def _in_command_line(storage: str) -> bool:
    """Whether a URL with a secret in it was given on the command line of this process."""
    return hide_password(storage) != storage and any(storage in word for word in sys.argv)
