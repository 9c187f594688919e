"""What may exist: architectures and search spaces as files, their closed-form cost, and the networks they build."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from search_spaces.architecture import Architecture
from search_spaces.cost import Cost, cost
from search_spaces.document import SpecError
from search_spaces.shipped import preset
from search_spaces.space import SearchSpace, load_space

if TYPE_CHECKING:
    from search_spaces.blocks.network import build
    from search_spaces.blocks.weights import load_weights

__all__ = [
    "Architecture",
    "Cost",
    "SearchSpace",
    "SpecError",
    "build",
    "cost",
    "load_space",
    "load_weights",
    "preset",
]


def __getattr__(name: str) -> Any:
    # these two need torch, which reading and counting must not load
    if name == "build":
        from search_spaces.blocks.network import build

        return build
    if name == "load_weights":
        from search_spaces.blocks.weights import load_weights

        return load_weights
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
