"""The processes that train one network together, as torchrun starts them; a single one where it does not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import torch
from torch import distributed, nn

from explorer.profile.device import resolve_device
from search_spaces.blocks.network import Network
from search_spaces.errors import InputError


@dataclass(frozen=True)
class Processes:
    """Which of how many this process is, and what they tell each other."""

    device: torch.device
    rank: int = 0
    count: int = 1
    local_rank: int = 0  # on this machine
    words: Any = None  # the group that talks by way of the CPU

    @property
    def main(self) -> bool:
        """Whether this is the one process that writes and tells."""
        return self.rank == 0

    def total(self, value: float) -> float:
        """The sum over the processes."""
        if self.count == 1:
            return value
        summed = torch.tensor([value], dtype=torch.float64)
        distributed.all_reduce(summed, group=self.words)
        return float(summed.item())

    def told(self, value: Any) -> Any:
        """The main process's value, in all of them."""
        if self.count == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0, group=self.words)
        return box[0]

    def joined(self, network: nn.Module, sync_bn: bool) -> nn.Module:
        """The network that averages its gradients over the processes; BatchNorm's statistics too, with `sync_bn`."""
        if self.count == 1:
            return network
        cuda = self.device.type == "cuda"
        if cuda and sync_bn:
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return nn.parallel.DistributedDataParallel(network, device_ids=[self.device.index] if cuda else None)

    def agree_on_statistics(self, network: nn.Module) -> None:
        """Give every process the main one's BatchNorm statistics."""
        if self.count > 1:
            for buffer in network.buffers():
                distributed.broadcast(buffer, src=0)


def bare(model: nn.Module) -> Network:
    """The network itself, that `joined` may have wrapped."""
    network = model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
    return cast(Network, network)


def without_sync(network: nn.Module, last: bool) -> AbstractContextManager[object]:
    """In which gradients are only added up, unless it is the `last` part of a batch."""
    if last or not isinstance(network, nn.parallel.DistributedDataParallel):
        return nullcontext()
    return network.no_sync()


@contextmanager
def processes(device: str) -> Iterator[Processes]:
    """This process among those that torchrun started, by RANK, WORLD_SIZE and LOCAL_RANK; alone without them."""
    count = _number("WORLD_SIZE", 1)
    if count == 1:
        yield Processes(resolve_device(device))
        return
    rank, local = _number("RANK", 0), _number("LOCAL_RANK", 0)
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"device={device}: each process of torchrun takes a GPU of its own; give auto, cuda or cpu")
    cuda = device != "cpu" and torch.cuda.is_available()
    here = resolve_device(f"cuda:{local}" if cuda else "cpu" if device == "auto" else device)
    if cuda:
        torch.cuda.set_device(here)
    distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        # the main process may decode images for hours meanwhile; one that has died is noticed at once all the same
        words = distributed.new_group(backend="gloo", timeout=timedelta(days=1))
        yield Processes(here, rank, count, local, words)
    finally:
        distributed.destroy_process_group()


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    if text and not text.isdecimal():
        raise InputError(f"{name}={text}: not a whole number; torchrun sets it")
    return int(text or default)
