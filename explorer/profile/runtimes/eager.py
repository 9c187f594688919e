"""PyTorch as it is written, operator by operator."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from explorer.profile.runtimes.runtime import Forward, place
from explorer.record import Precision


def prepare_eager(model: nn.Module, example: Tensor, precision: Precision) -> Forward:
    """A forward pass that returns the logits, each operator launched in its turn."""
    placed, resident = place(model, example, precision)

    def forward() -> Tensor:
        with torch.inference_mode():
            return placed(resident)

    return forward


def torch_libraries(device: torch.device) -> dict[str, str]:
    """Versions of what torch's own operators call on a GPU: {"cuda": "13.0", "cudnn": "91900"}; none on a CPU."""
    if device.type != "cuda":
        return {}
    found = {"cuda": torch.version.cuda, "hip": torch.version.hip, "cudnn": torch.backends.cudnn.version()}
    return {name: str(version) for name, version in found.items() if version is not None}
