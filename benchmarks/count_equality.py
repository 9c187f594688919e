"""`python -m benchmarks.count_equality --number 300`: the closed-form cost against both counters, to the last integer.

Random architectures of every shipped space, built and counted: MACs by fvcore's trace and by torch's counter (also of
the folded network), activations, parameters before and after folding, MACs and activations of every layer.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time

import torch
from rich.console import Console
from rich.table import Table

from explorer.profile.flops import count, count_with_torch
from search_spaces import Architecture, build, cost, load_space

SPACES = ("tiny_32", "shvit_224", "swin_224", "hybrid_224")


def differences(architecture: Architecture) -> list[str]:
    """Every integer on which the closed form and the built network do not agree, in words; none where all is well."""
    closed, network = cost(architecture), build(architecture)
    shape = (architecture.image_size, architecture.in_channels)
    counted, folded = count(network, *shape), network.fuse()
    pairs: list[tuple[str, int, int | None]] = [
        ("macs, fvcore", closed.macs, counted.macs),
        ("macs, torch", closed.macs, count_with_torch(network, *shape)),
        ("macs, torch, folded", closed.macs, count_with_torch(folded, *shape)),
        ("activations, fvcore", closed.activations, counted.activations),
        ("params", closed.params, _params(network)),
        ("params folded", closed.params_folded, _params(folded)),
        ("macs, sum of layers", closed.macs, sum(layer.macs for layer in closed.layers)),
    ]
    named = dict(network.named_modules())
    for layer in closed.layers:
        pairs += [
            (f"{layer.name}: macs", layer.macs, counted.macs_by_module.get(layer.name)),
            (f"{layer.name}: activations", layer.activations, counted.activations_by_module.get(layer.name)),
            (f"{layer.name}: params", layer.params, _params(named[layer.name])),
        ]
    return [f"{name}: closed form {mine}, counted {theirs}" for name, mine, theirs in pairs if mine != theirs]


def _params(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=300, help="random architectures of each space")
    parser.add_argument("--spaces", nargs="+", default=SPACES)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    console = Console()
    table = Table(
        "space", "architectures", "integers unequal", "GMACs", "seconds", title="closed form against counters"
    )
    wrong = 0
    for name in options.spaces:
        space, rng, start = load_space(name), random.Random(options.seed), time.monotonic()
        unequal, macs = 0, []
        for i in range(options.number):
            architecture = space.sample(rng)
            macs.append(cost(architecture).macs)
            for line in differences(architecture):
                unequal += 1
                console.print(f"{name} {i} {architecture.id}: {line}")
        wrong += unequal
        spread = f"{min(macs) / 1e9:.3f} to {max(macs) / 1e9:.3f}"
        table.add_row(name, f"{options.number}", f"{unequal}", spread, f"{time.monotonic() - start:.0f}")
        console.print(f"{name}: {options.number} done, {unequal} unequal, {time.monotonic() - start:.0f} s")
    console.print(table)
    console.print(f"1 thread, {os.cpu_count()} cores, torch {torch.__version__}, seed {options.seed}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
