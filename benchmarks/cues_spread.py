"""How far `cues` spreads small networks apart, and how early in the schedule their order shows.

    python -m benchmarks.cues_spread                          # eleven networks, 12 epochs, 2 seeds
    python -m benchmarks.cues_spread --seeds 1 --only conv    # a quick look

Each network is an Architecture, trained by the search's own `train` on one thread from a seed of its own. Prints a line
per network (parameters, MACs, mean top-1, range between seeds, CPU seconds an epoch), then Kendall's tau of the mean
top-1 inside the schedule against that at its end. `--jobs 2` trains on two cores; accuracies do not depend on it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import torch

from explorer.proxy.data import load_data
from explorer.proxy.train import TrainResult, TrainSettings, train, train_seed
from search_spaces import Architecture, build
from search_spaces.cost import cost

PATCH = {"kind": "patch", "stride": 4}
CONV = {"kind": "conv", "stride": 4}
CONV_2 = {"kind": "conv", "stride": 2}
NONE = {"kind": "none"}
DEPTHWISE = {"kind": "conv", "kernel": 3}
SINGLE_HEAD = {"kind": "single_head"}


def stage(width: int, depth: int, mixer: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A stage with an FFN of twice its width."""
    return {"width": width, "depth": depth, "mixer": mixer, "ffn_ratio": 2.0, **more}


def window(size: int, heads: int) -> dict[str, Any]:
    """Window attention with shifted odd blocks."""
    return {"kind": "window", "size": size, "heads": heads}


def attention(heads: int) -> dict[str, Any]:
    """Attention over the whole map."""
    return {"kind": "global", "heads": heads}


MERGE = {"downsample": "patch_merging"}
BATCH: dict[str, Any] = {"norm": "batch", "activation": "relu"}
NETWORKS: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "none 24": (PATCH, [stage(24, 3, NONE)]),
    "none 24-48": (PATCH, [stage(24, 2, NONE), stage(48, 2, NONE, **MERGE)]),
    "window 2 24": (PATCH, [stage(24, 3, window(2, 2))]),
    "window 4 24": (PATCH, [stage(24, 3, window(4, 2))]),
    "global 24": (PATCH | {"position": "absolute"}, [stage(24, 3, attention(2))]),
    "conv 24": (PATCH, [stage(24, 3, DEPTHWISE)]),
    "conv 48": (PATCH, [stage(48, 3, DEPTHWISE)]),
    "window 4 24-48": (PATCH, [stage(24, 2, window(4, 2)), stage(48, 2, window(4, 4), **MERGE)]),
    "conv 24-48, conv stem": (CONV, [stage(24, 2, DEPTHWISE, **BATCH), stage(48, 2, DEPTHWISE, **BATCH, **MERGE)]),
    "single head 24-48, conv stem": (
        CONV,
        [
            stage(24, 2, NONE, local=True, **BATCH),
            stage(48, 2, SINGLE_HEAD, local=True, downsample="inverted_residual", **BATCH),
        ],
    ),
    "conv + global 24-32-48, stride 2": (
        CONV_2,
        [
            stage(24, 1, DEPTHWISE, **BATCH),
            stage(32, 1, DEPTHWISE, **BATCH, **MERGE),
            stage(48, 2, attention(4), **MERGE),
        ],
    ),
}


def architecture(name: str) -> Architecture:
    """The named network for 32 x 32 images of ten classes."""
    stem, stages = NETWORKS[name]
    bare = {"format": "vitscape/architecture@1", "image_size": 32, "classes": 10}
    return Architecture.from_dict(bare | {"name": name, "stem": stem, "stages": stages})


def train_once(name: str, seed: int, settings: TrainSettings) -> tuple[TrainResult, float]:
    """The result of one training and its CPU seconds an epoch."""
    torch.set_num_threads(1)
    network = architecture(name)
    own = train_seed(seed, network.id)
    torch.manual_seed(own)
    model = build(network)
    data = load_data("cues", network.image_size)
    started = time.process_time()
    result = train(model, data, settings, device="cpu", seed=own)
    return result, (time.process_time() - started) / len(result.accuracy_by_epoch)


def kendall(first: list[float], second: list[float]) -> float:
    """Kendall's tau-a: share of the pairs in the same order minus share in the opposite one."""
    pairs = [(i, j) for i in range(len(first)) for j in range(i)]
    agreement = [(first[i] - first[j]) * (second[i] - second[j]) for i, j in pairs]
    return sum((a > 0) - (a < 0) for a in agreement) / len(pairs)


def main() -> None:
    """Train, and print the table in Markdown."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, default=2)
    options.add_argument("--epochs", type=int, default=12)
    options.add_argument("--jobs", type=int, default=1)
    options.add_argument("--only", default="", help="networks whose name contains this")
    given = options.parse_args()
    names = [name for name in NETWORKS if given.only in name]
    settings = TrainSettings(epochs=given.epochs)
    load_data("cues")  # kept before the jobs start, so that they do not all draw it

    print("| network | parameters | MACs | top-1 after each seed, % | mean | range | CPU s an epoch |")
    print("|---|---|---|---|---|---|---|")
    curves: list[list[float]] = []  # (network, epoch) mean over the seeds, %
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn")) as pool:
        runs = {name: [pool.submit(train_once, name, seed, settings) for seed in range(given.seeds)] for name in names}
        for name, futures in runs.items():
            results, seconds = zip(*(future.result() for future in futures), strict=True)
            curves.append(
                [statistics.fmean(epoch) for epoch in zip(*(r.accuracy_by_epoch for r in results), strict=True)]
            )
            last = [result.accuracy for result in results]
            size = cost(architecture(name))
            print(
                f"| {name} | {size.params:,} | {size.macs:,} | {' '.join(f'{top1:.1f}' for top1 in last)}"
                f" | {curves[-1][-1]:.1f} | {max(last) - min(last):.1f} | {statistics.fmean(seconds):.1f} |",
                flush=True,
            )
    for epoch in range(1, given.epochs):
        tau = kendall([curve[epoch - 1] for curve in curves], [curve[-1] for curve in curves])
        spread = [curve[epoch - 1] for curve in curves]
        print(f"epoch {epoch}: {min(spread):.0f} to {max(spread):.0f} %, tau {tau:.2f} against epoch {given.epochs}")


if __name__ == "__main__":
    main()
