"""How far `train` goes beyond the proxy: small networks of tiny_32 by the proxy's accuracy and trained in earnest.

    python -m benchmarks.train_beyond_proxy                        # three networks, 60 epochs, on cues
    python -m benchmarks.train_beyond_proxy --networks 1 --epochs 30 --set mixup=0.2

Prints top-1 in % of one training each: the proxy's schedule of 12 epochs left after 3, the same run to its end, and
`train` with the recipe `small`, whose own weights and whose moving average are both shown, the last and the best epoch.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

import torch

from explorer.evaluate import build_seeded
from explorer.proxy.data import load_data
from explorer.proxy.train import TrainSettings, train_seed
from explorer.proxy.train import train as proxy_train
from explorer.results import what
from explorer.train import train
from explorer.train.recipe import load_recipe, parse_changes
from search_spaces.architecture import Architecture
from search_spaces.cost import cost
from search_spaces.space import load_space

MOST_MACS = 2_500_000  # as in `make search`: seconds an epoch on a CPU


def networks(count: int, seed: int) -> list[Architecture]:
    """Random architectures of tiny_32 that are small enough, in the order drawn."""
    space, rng, found = load_space("tiny_32"), random.Random(seed), list[Architecture]()
    while len(found) < count:
        drawn = space.sample(rng)
        if cost(drawn).macs <= MOST_MACS and drawn.id not in [one.id for one in found]:
            found.append(drawn)
    return found


def main() -> None:
    """Train, and print the table in Markdown."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--networks", type=int, default=3)
    options.add_argument("--epochs", type=int, default=60)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--data", default="cues")
    options.add_argument("--set", dest="settings", action="append", default=[], metavar="NAME=VALUE")
    given = options.parse_args()
    torch.set_num_threads(1)
    data, changes = load_data(given.data), {**parse_changes(given.settings), "epochs": given.epochs}
    recipe = load_recipe("small", changes)
    print(
        f"recipe small, {', '.join(f'{name}={value}' for name, value in changes.items())}; {data.name}, fp32, 1 thread"
    )
    print(
        "| network | MACs | parameters | proxy, 3 of 12 | proxy, 12 | train, last | its average | best | epoch | min |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for network in networks(given.networks, given.seed):
        own, size, started = train_seed(given.seed, network.id), cost(network), time.monotonic()
        model = build_seeded(network, own)
        curve = proxy_train(model, data, TrainSettings(epochs=12), device="cpu", seed=own).accuracy_by_epoch
        with tempfile.TemporaryDirectory() as folder:
            found = train(network, data=data, recipe=recipe, out=Path(folder), device="cpu", seed=own % 2**31)
        last, best = found.rows[-1], found.best
        judged = "top1" if last["ema_top1"] is None else "ema_top1"
        at = next(row["epoch"] for row in found.rows if row[judged] == best)
        average = "" if last["ema_top1"] is None else f"{last['ema_top1']:.1f}"
        print(
            f"| {what(network.to_dict())} | {size.macs:,} | {size.params:,} | {curve[2]:.1f} | {curve[-1]:.1f}"
            f" | {last['top1']:.1f} | {average} | {best:.1f} | {at} | {(time.monotonic() - started) / 60:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
