"""The kernels of an eager forward pass, recorded once and launched together: no Python, no launches one by one.

At batch 1 most small networks are bound by launches; what remains here is the work of the GPU itself.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from explorer.profile.runtimes.runtime import Forward, NetworkRefused, place
from explorer.record import Precision

WARM_UP_PASSES = 3  # libraries choose kernels and take workspaces, which must not happen while capturing


def prepare_cuda_graph(model: nn.Module, example: Tensor, precision: Precision) -> Forward:
    """A forward pass that replays a CUDA graph; it returns the same logits' memory each time.

    Raises:
        NetworkRefused: a pass cannot be captured, since it synchronises or depends on values; one line.
    """
    placed, images = place(model, example, precision)
    with torch.cuda.device(example.device), torch.inference_mode():
        # Not on the default stream, since a capture cannot be there, and kernels are chosen for a stream
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP_PASSES):
                placed(images)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=aside):
                logits = placed(images)
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise NetworkRefused(f"runtime=cuda_graph: this network cannot be captured: {reason}; use eager") from error

    def forward(read_by_address: tuple[nn.Module, Tensor] = (placed, images)) -> Tensor:
        graph.replay()
        return logits

    return forward
