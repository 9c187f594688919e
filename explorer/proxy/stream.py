"""Images that stay on the host, because the device has no room for them, brought to it just ahead of their use.

A thread gathers the rows of the batches to come into a few pinned buffers and copies them on a stream of its own, so
that training waits neither for the gathering nor for the copy.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from queue import SimpleQueue
from types import TracebackType

import torch
from torch import Tensor

RING = 3  # batches under way: one in use, one copied, one being gathered
FREE_SHARE = 4  # images that need more than one part in this many of a device's free memory are streamed


def has_room(device: torch.device, size: int) -> bool:
    """Whether `size` bytes of images may lie on a device beside a training. On a CPU they lie already."""
    if device.type != "cuda":
        return True
    return size * FREE_SHARE <= free_memory(device)


def free_memory(device: torch.device) -> int:
    """Bytes of a GPU that a training may still take: free ones, and those that torch holds and does not use."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def is_on(images: Tensor, device: torch.device) -> bool:
    """Whether images lie on the device, so that they need not be streamed to it."""
    return images.device == device


@dataclass(frozen=True)
class _Slot:
    """A buffer on the host and, on a GPU, the event that its copy has passed."""

    buffer: Tensor
    copied: torch.cuda.Event | None


class Stream:
    """Batches of `images` (N, ...) on `device`, in order; each of `batches` (B,) holds the rows of one.

    >>> with Stream(images, order.split(64), device) as batches:
    ...     for batch in batches:  # (64, ...)

    An error of the thread is raised where its batch is asked for. Leaving ends the thread, whenever it is.
    """

    def __init__(self, images: Tensor, batches: Sequence[Tensor], device: torch.device) -> None:
        self._images, self._batches, self._device = images, batches, device
        self._free: SimpleQueue[_Slot | None] = SimpleQueue()
        self._ready: SimpleQueue[tuple[Tensor, _Slot] | BaseException] = SimpleQueue()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._fill, name="vitscape-images", daemon=True)
        largest, on_gpu = max(map(len, batches), default=0), device.type == "cuda"
        for _ in range(min(RING, len(batches))):
            buffer = torch.empty((largest, *images.shape[1:]), dtype=images.dtype, pin_memory=on_gpu)
            # an event that blocks lets the thread sleep where it waits for a copy
            self._free.put(_Slot(buffer, torch.cuda.Event(blocking=True) if on_gpu else None))

    def __enter__(self) -> Stream:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ends.set()
        self._free.put(None)  # it may wait for a buffer
        self._thread.join()

    def __iter__(self) -> Iterator[Tensor]:
        for _ in range(len(self._batches)):
            found = self._ready.get()
            if isinstance(found, BaseException):
                raise found
            batch, slot = found
            if slot.copied is not None:
                now = torch.cuda.current_stream(self._device)
                now.wait_event(slot.copied)  # the device waits, not we
                batch.record_stream(now)  # its memory is not given away before what uses it here is done
            self._free.put(slot)
            yield batch

    def _fill(self) -> None:
        try:
            for rows in self._batches:
                slot = self._free.get()
                if slot is None or self._ends.is_set():
                    return
                if slot.copied is not None:
                    slot.copied.synchronize()  # the copy before may be on its way still
                part = torch.index_select(self._images, 0, rows, out=slot.buffer[: len(rows)])
                self._ready.put((self._sent(part, slot.copied), slot))
        except BaseException as error:
            self._ready.put(error)

    def _sent(self, part: Tensor, copied: torch.cuda.Event | None) -> Tensor:
        """A copy of the buffer on the device; on a GPU it is complete once `copied` has passed."""
        if copied is None:
            return part.to(self._device, copy=True)
        side = _side_stream(self._device)
        with torch.cuda.device(self._device), torch.cuda.stream(side):
            batch = part.to(self._device, non_blocking=True)
            copied.record(side)
        return batch


@lru_cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """One for all of a device's batches: torch keeps freed memory for the stream that it was taken on."""
    return torch.cuda.Stream(device)
