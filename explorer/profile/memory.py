"""Peak memory of one forward pass."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from explorer.profile.device import resolve_device
from explorer.profile.lease import training_lease
from explorer.profile.runtimes import example_images, on_unsupported_precision, place, prepare_eager
from explorer.record import Precision

MIB = 2**20


def peak_memory_mb(
    model: nn.Module,
    *,
    image_size: int,
    in_channels: int = 3,
    device: str | torch.device = "cpu",
    precision: Precision = "fp32",
    batch_size: int = 1,
) -> float:
    """Peak memory in MiB of one eager forward pass of a (batch_size, in_channels, image_size, image_size) batch.

    Weights, buffers, input and whatever lives at once. On a GPU: what torch's allocator held at most, scratch of the
    kernels included. On a CPU: the bytes of all tensors that operators read or return, from the moment they are made
    until the last reference to them goes; scratch inside an operator is not seen, and so the figure is the same on
    every machine and in every run.
    """
    where = resolve_device(str(device))
    with training_lease(where), on_unsupported_precision(precision, where):  # another's timing goes first
        if where.type == "cuda":
            return _peak_on_cuda(model, batch_size, in_channels, image_size, where, precision) / MIB
        # Also for mps, whose allocator keeps no peak
        cpu = torch.device("cpu")
        return (
            _peak_of_tensors(*place(model, example_images(batch_size, in_channels, image_size, cpu), precision)) / MIB
        )


def _peak_on_cuda(
    model: nn.Module, batch_size: int, in_channels: int, image_size: int, device: torch.device, precision: Precision
) -> int:
    with torch.cuda.device(device):
        # cuBLAS takes its workspace with the first product of a process and keeps it: outside of the count, or the
        # first network measured would seem bigger than the others
        probe = torch.ones(16, 16, device=device, dtype=torch.float32)
        nn.functional.linear(probe, probe, probe[0])
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        forward = prepare_eager(model, example_images(batch_size, in_channels, image_size, device), precision)
        forward()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        forward()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before


def _peak_of_tensors(model: nn.Module, example: Tensor) -> int:
    """Most bytes alive at once while `model` runs on `example`, both among them."""
    # no_grad, not inference_mode: only there are composite operators (linear, matmul) taken apart, and their parts seen
    with torch.no_grad(), _LiveStorages([*model.parameters(), *model.buffers(), example]) as live:
        model(example)
    return live.peak


class _LiveStorages(TorchDispatchMode):
    """Follows the bytes of every storage that an operator reads or returns; `peak` is the most at one time.

    What is read without having been returned was there before the pass, and counts from its start.
    """

    def __init__(self, resident: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.resident: dict[int, tuple[StorageWeakRef, int]] = {}
        self.live: dict[int, tuple[StorageWeakRef, int]] = {}  # address of the storage's object -> (reference, bytes)
        self.now = self.peak = self._meet(resident)
        # These outlive the pass: kept apart, since looking through all weights at every operator takes long
        self.resident, self.live = self.live, {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._part()
        met = self._meet(tree_leaves((args, kwargs)))
        self.now += met
        self.peak += met
        result = func(*args, **(kwargs or {}))
        self.now += self._meet(tree_leaves(result))
        self.peak = max(self.peak, self.now)
        return result

    def _meet(self, leaves: Iterable[Any]) -> int:
        """Bytes of those storages that were not known yet."""
        met = 0
        for leaf in leaves:
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                # Keeps the address from being used again, not the bytes alive
                reference = StorageWeakRef(storage)
                if reference.cdata not in self.live and reference.cdata not in self.resident:
                    self.live[reference.cdata] = reference, storage.nbytes()
                    met += storage.nbytes()
        return met

    def _part(self) -> None:
        """Drop the storages that nobody refers to any more."""
        for address, (reference, size) in list(self.live.items()):
            if reference.expired():
                del self.live[address]
                self.now -= size
