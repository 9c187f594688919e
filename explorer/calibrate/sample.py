"""Architectures that stand for a space, evenly over its sizes."""

from __future__ import annotations

import random

from explorer.limits import Limits
from search_spaces.architecture import Architecture
from search_spaces.cost import cost
from search_spaces.errors import InputError
from search_spaces.space import SearchSpace

DRAWS = 2000  # random architectures, at least, from which the strata are made
PER_NETWORK = 50  # and so many for each that is wanted


def stratified(space: SearchSpace, networks: int, *, seed: int = 0, limits: Limits | None = None) -> list[Architecture]:
    """So many different architectures of a space, by MACs: one from each stratum of equally many random ones.

    The strata are quantiles of MACs, and so of their logarithm: the sample spreads over sizes as the space does, only
    more evenly than chance would have it. What exceeds the limits is not drawn.

    Raises:
        InputError: the space, or what was drawn of it, has not as many within the limits; one line.
    """
    rng = random.Random(seed)
    drawn: dict[str, tuple[int, Architecture]] = {}
    for _ in range(max(DRAWS, PER_NETWORK * networks)):
        architecture = space.sample(rng)
        counts = cost(architecture)
        if limits is None or limits.exceeded(counts) is None:
            drawn.setdefault(architecture.id, (counts.macs, architecture))
    if len(drawn) < networks:
        within = " within the limits" if limits is not None and limits.given() else ""
        raise InputError(f"networks={networks}: space {space.name} gave {len(drawn)}{within}; give at most that")
    by_macs = [architecture for _, (_, architecture) in sorted(drawn.items(), key=lambda item: (item[1][0], item[0]))]
    ends = [len(by_macs) * i // networks for i in range(networks + 1)]
    return [rng.choice(by_macs[ends[i] : ends[i + 1]]) for i in range(networks)]
