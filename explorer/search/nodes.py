"""A Ray cluster as a search sees it: connected to or started here, what a trial takes of it, how many have room."""

from __future__ import annotations

import logging
import os
import platform
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray

from explorer.search.place import Place
from explorer.search.resources import KIND, Cluster
from explorer.setup import Setup
from search_spaces.errors import InputError

CONNECT_SECONDS = 10.0
SECRETS = ("VITSCAPE_STORAGE", "VITSCAPE_STORAGE_PASSWORD", "VITSCAPE_STORAGE_PASSWORD_FILE", "PGPASSWORD")


@contextmanager
def connected(cluster: Cluster) -> Iterator[None]:
    """A connection to the cluster, or to a Ray started for the time being; one that is there already is left open.

    Raises:
        InputError: no cluster at that address, or it does not let this process in; one line.
    """
    if ray.is_initialized():
        yield
        return
    address = cluster.address or os.environ.get("RAY_ADDRESS")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    try:
        if address is None:
            with _without_secrets():
                ray.init(address="local", include_dashboard=False, _temp_dir=_temp_dir(), **quiet)
        else:
            _require_answer(address)
            ray.init(address=address, **quiet)
    except Exception as error:  # Ray's ConnectionError, AuthenticationError, ValueError, by version
        line = " ".join(str(error).split())[:200]
        raise InputError(
            f"address={address or 'a Ray on this machine'}: cannot be used ({line}); start one with `ray start --head`,"
            " set RAY_AUTH_MODE and RAY_AUTH_TOKEN_PATH as there, or leave --address out"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def torch_device(setup: Setup, cluster: Cluster) -> str:
    """cpu or cuda: what the workers of a search use.

    Raises:
        InputError: the device is none that a worker can be given.
    """
    asked = setup.device
    if asked not in ("auto", "cpu", "cuda"):
        raise InputError(f"device={asked}: with --engine ray give auto, cpu or cuda; Ray hands out which GPU")
    gpus = sum(node["Resources"].get("GPU", 0) for node in alive())
    if asked == "cuda" and not gpus and cluster.workers is None:
        raise InputError("device=cuda: no node of the Ray cluster has a GPU; with --workers N nodes are waited for")
    if asked == "auto":
        return "cuda" if gpus and cluster.gpus_per_trial != 0 else "cpu"
    return asked


def refuse_mixed_kinds(cluster: Cluster, device: str) -> None:
    """Raise InputError where trials could be timed on GPUs of several kinds, whose latencies do not compare."""
    if device != "cuda" or cluster.accelerator_type or cluster.latency_resource:
        return
    found = kinds()
    if len(found) > 1:
        told = ", ".join(f"{kind} ({gpus:g})" for kind, gpus in sorted(found.items()))
        raise InputError(
            f"accelerator-type: the cluster has GPUs of {len(found)} kinds, {told}, whose latencies do not compare;"
            f" give one of them, or time on nodes of a --latency-resource"
        )


def kinds() -> dict[str, float]:
    """GPUs by Ray's word for their kind: {"H200": 16.0, "L4": 1.0}."""
    found: dict[str, float] = {}
    for node in alive():
        for name in node["Resources"]:
            if name.startswith(KIND):
                kind = name.removeprefix(KIND)
                found[kind] = found.get(kind, 0.0) + node["Resources"].get("GPU", 0.0)
    return found


def alive() -> list[dict[str, Any]]:
    """The nodes that are up."""
    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def room(options: Mapping[str, Any], taken: Mapping[str, Any] | None = None) -> int:
    """How many workers with these options the nodes have room for, were there nothing else on them.

    `taken` are options of workers that come first: one on each node for each unit of their own resource there.
    """
    return sum(_room_on(node["Resources"], _needs(options), _needs(taken or {})) for node in alive())


def ask_place(setup: Setup, options: Mapping[str, Any], say: Callable[[str], None]) -> Place:
    """The device that a worker with these options measures on; waits for a node, and says so.

    Raises:
        InputError: the setup cannot be used there; one line.
    """
    if not room(options):
        say(says_what_is_missing(options))
    asked = ray.remote(_place_or_reason).options(**options).remote(setup)
    found: Place | str = ray.get(asked)
    if isinstance(found, str):
        raise InputError(found)
    return found


def says_what_is_missing(options: Mapping[str, Any]) -> str:
    """What workers wait for, in words: "a node with CPU 1, GPU 1; the cluster has CPU 8"."""
    need = ", ".join(f"{name} {value:g}" for name, value in _needs(options).items())
    names = [*_needs(options)]
    total = {name: sum(node["Resources"].get(name, 0.0) for node in alive()) for name in names}
    has = ", ".join(f"{name} {value:g}" for name, value in total.items())
    return f"waiting for a node with {need}; the cluster's {len(alive())} nodes have {has}"


def _place_or_reason(setup: Setup) -> Place | str:
    try:
        return Place.here(setup)
    except InputError as error:
        return f"on node {platform.node()}: {error}"


def _needs(options: Mapping[str, Any]) -> dict[str, float]:
    """Ray's resources by name, of options."""
    found = {"CPU": options.get("num_cpus", 0.0), "GPU": options.get("num_gpus", 0.0), **options.get("resources", {})}
    if "accelerator_type" in options:
        found[f"{KIND}{options['accelerator_type']}"] = 0.001
    return {name: float(value) for name, value in found.items() if value}


def _room_on(has: Mapping[str, float], need: Mapping[str, float], first: Mapping[str, float]) -> int:
    own = [name for name in first if name not in ("CPU", "GPU")]
    timers = min((int(has.get(name, 0.0)) for name in own), default=0)
    left = {name: value - timers * first.get(name, 0.0) for name, value in has.items()}
    return max(min((int(left.get(name, 0.0) / value + 1e-6) for name, value in need.items()), default=0), 0)


@contextmanager
def _without_secrets() -> Iterator[None]:
    """Hides the storage and its password from the workers of a Ray that is started meanwhile."""
    kept = {name: os.environ.pop(name) for name in SECRETS if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def _require_answer(address: str) -> None:
    """Raise OSError where nobody listens at HOST:PORT: Ray would try for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()


def _temp_dir() -> str:
    """Where a Ray of our own writes: short, since sockets lie in it, and this user's alone."""
    return os.environ.get("RAY_TMPDIR") or f"/tmp/vitscape-{os.getuid()}/ray"
