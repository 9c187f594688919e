"""`python -m benchmarks.cost_speed`: architectures a second, closed-form cost on one core against fvcore's trace.

fvcore needs the network built, so that is part of its time; both are CPU seconds of this process, which neighbours on
the machine hardly disturb.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from collections.abc import Callable, Iterable

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.count_equality import SPACES
from explorer.profile.flops import count
from search_spaces import Architecture, build, cost, load_space

TARGET = 5_000  # architectures a second, closed form


def per_second(function: Callable[[Architecture], object], architectures: Iterable[Architecture]) -> float:
    """Calls a CPU second."""
    calls, start = 0, time.process_time()
    for architecture in architectures:
        function(architecture)
        calls += 1
    return calls / (time.process_time() - start)


def count_built(architecture: Architecture) -> int:
    """MACs as a counter finds them: build, then trace."""
    return count(build(architecture), architecture.image_size, architecture.in_channels).macs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=3000, help="architectures of each space, closed form")
    parser.add_argument("--traced", type=int, default=5, help="of these by fvcore")
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = Table(
        "space", "closed form, 1/s", "fvcore, 1/s", "ratio", f"{TARGET} a second", title="cost of architectures"
    )
    for name in SPACES:
        space, rng = load_space(name), random.Random(0)
        architectures = [space.sample(rng) for _ in range(options.number)]
        closed = max(per_second(cost, architectures) for _ in range(3))
        traced = per_second(count_built, architectures[: options.traced])
        reached = "yes" if closed >= TARGET else "no"
        table.add_row(name, f"{closed:,.0f}", f"{traced:.2f}", f"{closed / traced:,.0f}", reached)
    console = Console()
    console.print(table)
    console.print(f"1 thread, CPU seconds, best of 3 passes, {os.cpu_count()} cores, torch {torch.__version__}")


if __name__ == "__main__":
    main()
