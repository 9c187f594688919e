"""Architectures that stand for a space, evenly over its sizes, and in an order: a larger sample holds the smaller."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count, islice

from explorer.limits import Limits
from search_spaces.architecture import Architecture
from search_spaces.cost import cost
from search_spaces.errors import InputError
from search_spaces.space import SearchSpace

POOL = 2000  # different random architectures, of which samples are taken: the most networks, too
DRAWS = 10_000  # at most, for that many: a small space or narrow limits have fewer


def stratified(space: SearchSpace, networks: int, *, seed: int = 0, limits: Limits | None = None) -> list[Architecture]:
    """So many different architectures of a space, spread evenly over MACs; those of n are the first n of any more.

    They are taken, at places that spread evenly over it however many there are, from a pool of random architectures
    in the order of their MACs, and so of the logarithm: sizes are as frequent as in the space, only more evenly so than
    chance would have it. What exceeds the limits is not drawn.

    Raises:
        InputError: the space, or what was drawn of it, has not as many within the limits; one line.
    """
    most = min(POOL, space.size)
    if networks > most:
        has = f"space {space.name} has {most}" if most < POOL else f"{POOL} of a space are drawn"
        raise InputError(f"networks={networks}: {has}; give at most that")
    rng = random.Random(seed)
    begin = rng.random()
    drawn: dict[str, tuple[int, Architecture]] = {}
    for _ in range(DRAWS):
        if len(drawn) == most:
            break
        architecture = space.sample(rng)
        counts = cost(architecture)
        if limits is None or limits.exceeded(counts) is None:
            drawn.setdefault(architecture.id, (counts.macs, architecture))
    if len(drawn) < networks:
        within = " within the limits" if limits is not None and limits.given() else ""
        raise InputError(f"networks={networks}: space {space.name} gave {len(drawn)}{within}; give at most that")
    by_macs = [architecture for _, (_, architecture) in sorted(drawn.items(), key=lambda item: (item[1][0], item[0]))]
    return [by_macs[place] for place in islice(even_places(len(by_macs), begin), networks)]


def even_places(places: int, begin: float) -> Iterator[int]:
    """Every place once, in an order whose beginnings all spread evenly: van der Corput's (1935), from `begin` on.

    Of the first n, up to half of all, two places in n hold at least one, and one in n at most two. `begin` is a part
    of the whole, from 0 to below 1.
    """
    taken: set[int] = set()
    for i in count():
        fraction = int(f"{i:b}"[::-1], 2) / 2 ** i.bit_length()  # i's binary digits, mirrored at the point
        place = int((begin + fraction) % 1 * places) % places
        if place not in taken:
            taken.add(place)
            yield place
        if len(taken) == places:
            return
