"""Whole training steps as one CUDA graph, for networks so small that the GPU waits for the host's launches."""

from __future__ import annotations

import torch
from torch import Tensor

from explorer.proxy.step import Step
from explorer.proxy.stream import free_memory


def has_room_for_graph(device: torch.device) -> bool:
    """Whether a GPU has room for a second step's memory, which a graph keeps for itself; a step was run already."""
    if device.type != "cuda":
        return False
    return torch.cuda.max_memory_allocated(device) < free_memory(device)


class Graphed:
    """Whole steps replayed as one CUDA graph: forward, backward, clipping, optimizer.

    The first calls are steps aside, on the stream that is captured: libraries take their workspaces there. In the last
    of them a read from the device is an error, found so before a capture breaks on it; that holds for the whole
    process, whose one training this is. Dropout and drop path draw from the default generator, which a graph moves on
    with each replay.
    """

    ASIDE = 3

    def __init__(self, step: Step) -> None:
        self.step, self.done = step, 0
        self.stream = torch.cuda.Stream(step.device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.images = self.targets = self.loss = torch.empty(0)
        step.hold_rate()

    def __call__(self, images: Tensor, targets: Tensor) -> Tensor:
        """The loss, which the next call overwrites."""
        if self.step.parts > 1:
            raise RuntimeError("the memory does not hold a whole batch beside the graph's")
        self.done += 1
        if self.done <= self.ASIDE:
            return self._aside(images, targets)
        if self.graph is None:
            self._capture(images, targets)
        assert self.graph is not None
        self.images.copy_(images)
        self.targets.copy_(targets)
        self.graph.replay()
        return self.loss

    def _aside(self, images: Tensor, targets: Tensor) -> Tensor:
        now = torch.cuda.current_stream(self.step.device)
        self.stream.wait_stream(now)
        with torch.cuda.stream(self.stream):
            loss = self.step(images, targets, reads=self.done < self.ASIDE)
        now.wait_stream(self.stream)
        loss.record_stream(now)
        return loss

    def _capture(self, images: Tensor, targets: Tensor) -> None:
        step, now = self.step, torch.cuda.current_stream(self.step.device)
        self.images, self.targets = images.clone(), targets.clone()
        for group in step.optimizer.param_groups:
            group["capturable"] = True
        graph = torch.cuda.CUDAGraph()
        # Only this thread's calls are checked: that of streamed images goes on meanwhile. A capture that breaks leaves
        # its stream as the current one, so the one now is entered around it.
        with (
            torch.cuda.stream(now),
            torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"),
        ):
            self.loss = step.gradients(self.images, self.targets)
            step.update()
        self.graph = graph

    def leave(self) -> None:
        """Let go of the graph's memory, and let the optimizer be as it was."""
        torch.cuda.synchronize(self.step.device)  # a replay may be under way
        for group in self.step.optimizer.param_groups:
            group["capturable"] = False
        self.step.optimizer.zero_grad(set_to_none=True)
        self.step.let_rate_go()
        self.graph, self.images, self.targets, self.loss = None, *[torch.empty(0)] * 3
