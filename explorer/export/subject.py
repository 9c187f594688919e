"""What is exported: an architecture with a network built of it, and what is known of it."""

from __future__ import annotations

import hashlib
import keyword
import math
import re
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces.architecture import Architecture

if TYPE_CHECKING:
    import torch

    from explorer.weights import Statistics
    from search_spaces.blocks.network import Network


OURS = ("dashboard", "explorer", "search_spaces")
THEIRS = (
    "fsspec",
    "jinja2",
    "mpmath",
    "networkx",
    "numpy",
    "onnx",
    "onnxruntime",
    "safetensors",
    "sympy",
    "timm",
    "torch",
)
TAKEN = sys.stdlib_module_names | {*OURS, *THEIRS, "torchvision", "transformers"}  # names that a file would hide


@dataclass(frozen=True)
class Subject:
    """One architecture on its way into files."""

    name: str  # of the files, without their suffix
    architecture: Architecture  # named and described
    weights: Path | None = None  # trained ones; None: random ones
    seen: Statistics | None = None  # how the images were normalised that it was trained on
    origin: Mapping[str, Any] = field(default_factory=dict)  # told in the manifest: study, trial, evaluation

    @cached_property
    def network(self) -> Network:
        """The network in eval mode, on the CPU, with its BatchNorms."""
        from search_spaces.blocks.network import build

        network = build(self.architecture)
        if self.weights is None:
            return randomised(network)
        from explorer.weights import load_file

        return load_file(network, self.weights).eval()

    @cached_property
    def weights_sha256(self) -> str:
        """Of the file of trained weights."""
        assert self.weights is not None
        return sha256_of(self.weights)

    def with_weights(self, path: str | Path | None) -> Subject:
        """The same with trained weights, read from a file that says what images they were trained on, or does not."""
        if path is None:
            return self
        from explorer.weights import statistics_of

        return replace(self, weights=Path(path), seen=statistics_of(path))

    def forget(self) -> None:
        """Free the memory of what was built."""
        for name in ("network", "folded"):
            self.__dict__.pop(name, None)

    @cached_property
    def folded(self) -> Network:
        """The network as it is deployed."""
        return self.network.fuse()

    def rounding(self, batches: Sequence[int]) -> float:
        """How far the network's logits in float32 are from those in float64, as a share of the largest."""
        import copy

        import torch

        exact, worst = copy.deepcopy(self.network).double(), 0.0
        with torch.no_grad():
            for count in batches:
                images = self.images(count, seed=count)
                logits = self.network(images)
                far = (logits.double() - exact(images.double())).abs().max() / logits.abs().max()
                worst = max(worst, far.item())
        return worst

    @property
    def statistics(self) -> Statistics:
        """How images are normalised: as in training, else ImageNet's numbers."""
        from explorer.weights import IMAGENET

        channels = self.architecture.in_channels
        return self.seen or (IMAGENET if channels == 3 else ((0.5,) * channels, (0.5,) * channels))

    def images(self, count: int, seed: int = 0) -> torch.Tensor:
        """(count, C, H, W) of noise."""
        import torch

        generator, size = torch.Generator().manual_seed(seed), self.architecture.image_size
        return torch.randn(count, self.architecture.in_channels, size, size, generator=generator)

    @property
    def identifier(self) -> str:
        """The name as Python takes it, of no package: "demo_0003", "_3x" for "3x", "torch_" for "torch"."""
        plain = re.sub(r"\W", "_", unicodedata.normalize("NFKC", self.name), flags=re.ASCII)
        plain = plain if plain.isidentifier() else f"_{plain}"
        return f"{plain}_" if keyword.iskeyword(plain) or plain in TAKEN else plain

    @property
    def weights_file(self) -> str:
        """Name of the file of trained weights beside those that load them."""
        return f"{self.name}.pt"


def sha256_of(path: Path) -> str:
    """The hash of a file, read piece by piece."""
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def randomised(network: Network, seed: int = 0) -> Network:
    """The network in eval mode, every weight, norm and table of it drawn at random, so that no mistake can hide.

    As initialised, residual branches that end in a BatchNorm are zero, and biases and tables next to it. Statistics are
    those of a batch of noise, so that maps stay of order 1 however many blocks there are.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    architecture = network.architecture
    size = architecture.image_size
    with torch.no_grad():
        for name, tensor in network.state_dict().items():  # shares memory with the network
            if tensor.is_floating_point():
                tensor.copy_(_drawn(name, tensor, generator))
        parts = [*network.eval().stem.modules(), *network.stages.modules()]  # the head's has too few values
        norms = [part for part in parts if isinstance(part, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = 1.0
            norm.train()
        network(torch.randn(2, architecture.in_channels, size, size, generator=generator))
        for norm in norms:
            norm.momentum = 0.1
    return network.eval()


def _drawn(name: str, tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    import torch

    values = torch.randn(tensor.shape, generator=generator)
    if name.endswith("running_var"):
        return torch.exp(0.3 * values)
    if name.endswith("running_mean"):
        return 0.2 * values
    if name.endswith("relative_position_bias_table"):
        return values
    if tensor.ndim == 1:
        return 1 + 0.2 * values if name.endswith("weight") else 0.1 * values
    return values / math.sqrt(max(1, math.prod(tensor.shape[1:])))  # of order 1 what is of order 1
