"""How a search uses a Ray cluster: as a person says it, and as Ray is told it. No Ray is needed for saying it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces.errors import InputError

KIND = "accelerator_type:"  # Ray's own resource of a node with such a GPU
RETRIES = 3


@dataclass(frozen=True)
class Cluster:
    """How a search uses a Ray cluster."""

    address: str | None = None  # "auto", "host:port"; None: $RAY_ADDRESS, else a Ray of its own on this machine
    workers: int | None = None  # trials at a time; None: as many as have room
    gpus_per_trial: float | None = None  # None: one where the search is for GPUs, else none
    cpus_per_trial: float = 1.0
    latency_resource: str | None = None  # Ray resource of the nodes that time; None: a trial times where it trains
    accelerator_type: str | None = None  # Ray's word for the kind of GPU that trials run on: "H200"
    max_retries: int = RETRIES  # of a trial whose worker died
    log_dir: Path | None = None  # None: beside the storage

    def __post_init__(self) -> None:
        gpus, cpus = self.gpus_per_trial, self.cpus_per_trial
        if self.workers is not None and self.workers < 1:
            raise InputError(f"workers={self.workers}: give at least 1, or leave it out for as many as have room")
        if gpus is not None and (gpus < 0 or (gpus > 1 and gpus != int(gpus))):
            raise InputError(f"gpus-per-trial={gpus:g}: give a share of one below 1, or a whole number")
        if cpus <= 0 or (cpus > 1 and cpus != int(cpus)):
            raise InputError(f"cpus-per-trial={cpus:g}: give a share of one below 1, or a whole number")
        if self.max_retries < 0:
            raise InputError(f"max-retries={self.max_retries}: give 0 or more")
        if self.address is not None and self.address.startswith("ray://"):
            raise InputError(
                f"address={self.address}: a Ray client cannot search; run this on a node, or `ray job submit`"
            )

    def of_trial(self, device: str) -> dict[str, Any]:
        """Ray's options of a worker that trains, and times where nobody else does, by torch's word for its device."""
        gpus = float(device == "cuda") if self.gpus_per_trial is None else self.gpus_per_trial
        kind = {} if self.accelerator_type is None else {"accelerator_type": self.accelerator_type}
        return {"num_cpus": self.cpus_per_trial, "num_gpus": gpus, "runtime_env": _environment(gpus)} | kind

    def of_timer(self, device: str) -> dict[str, Any]:
        """Ray's options of a worker that times alone on a device of the nodes with the latency resource."""
        gpus = float(device == "cuda")
        resources = {str(self.latency_resource): 1.0}
        return {"num_cpus": 1, "num_gpus": gpus, "resources": resources, "runtime_env": _environment(gpus)}


def _environment(gpus: float) -> dict[str, Any]:
    """Of a worker's process: this process's settings of threads; no GPU to be seen where it has none."""
    kept = {name: os.environ[name] for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY") if name in os.environ}
    hidden = {} if gpus else {"CUDA_VISIBLE_DEVICES": ""}  # Ray leaves them visible
    return {"env_vars": kept | hidden}
