"""Trains and times every network of a space once, so that searches can be tried on it with every answer known.

    python -m benchmarks.record_curves benchmarks/data/tiny_32_part.yaml --jobs 2     # trains; goes on where it was
    python -m benchmarks.record_curves benchmarks/data/tiny_32_part.yaml --time       # times; on a quiet machine

The table is written beside the space, a CSV: the network's id and its choices, MACs, parameters, latency, the thread's
CPU seconds an epoch (eight times those of an eighth of the images, on the quiet machine), and top-1 after each epoch of
the search's own proxy training. Each network is trained from a seed of its own, so that accuracies depend neither on
the order nor on `--jobs`.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from explorer.evaluate import build_seeded
from explorer.profile.latency import measure
from explorer.proxy.data import load_data
from explorer.proxy.train import TrainSettings, train, train_seed
from search_spaces.architecture import Architecture
from search_spaces.cost import cost
from search_spaces.space import SearchSpace, load_space

DATA, SEED = "cues", 0
SECONDS = 2.0  # of timing a network, at most
SHARE = 0.125  # of the images, in the training whose seconds are taken


def every(space: SearchSpace) -> list[Architecture]:
    """All architectures of a small space, in an order of their own."""
    found: dict[str, Architecture] = {}
    rng = random.Random(0)
    while len(found) < space.size:
        architecture = space.sample(rng)
        found[architecture.id] = architecture
    return list(found.values())


def train_once(architecture: Architecture, settings: TrainSettings) -> tuple[str, tuple[float, ...]]:
    """(id, top-1 after each epoch) of one training on one thread."""
    torch.set_num_threads(1)
    own = train_seed(SEED, architecture.id)
    model, data = build_seeded(architecture, own), load_data(DATA, architecture.image_size)
    return architecture.id, train(model, data, settings, device="cpu", seed=own).accuracy_by_epoch


def time_once(architecture: Architecture) -> dict[str, Any]:
    """Latency of the folded network as a search times it, one thread, batch 1; and CPU seconds of an epoch."""
    torch.set_num_threads(1)
    model = build_seeded(architecture, 0)
    how: dict[str, Any] = {"image_size": architecture.image_size, "device": "cpu", "batch_size": 1}
    found = measure(model.fuse(), **how, time_limit_s=SECONDS)
    data = load_data(DATA, architecture.image_size).at_share(SHARE, SEED)
    part = int(SHARE * len(data.val_images))
    data = replace(data, val_images=data.val_images[:part], val_labels=data.val_labels[:part])
    settings = TrainSettings(epochs=1, data_share=SHARE)
    started = time.process_time()
    train(model, data, settings, device="cpu", seed=0)
    seconds = (time.process_time() - started) / SHARE
    return {"latency_ms": found.median_ms, "verdict": found.verdict, "seconds": seconds}


def table(space: SearchSpace, rows: list[Architecture], trained: dict[str, Any], timed: dict[str, Any]) -> pd.DataFrame:
    """A row a network that has been both trained and timed."""
    found = []
    for one in sorted(rows, key=lambda one: one.id):
        if one.id in trained and one.id in timed:
            counts, times = cost(one), timed[one.id]
            found.append(
                {"id": one.id, "choices": json.dumps(space.params(one)), "macs": counts.macs, "params": counts.params}
                | {"latency_ms": round(times["latency_ms"], 4), "verdict": times["verdict"]}
                | {"seconds_an_epoch": round(times["seconds"], 2)}
                | {f"epoch_{i}": round(top1, 4) for i, top1 in enumerate(trained[one.id], 1)}
            )
    return pd.DataFrame(found)


def main() -> None:
    """Train or time what has not been, then write the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("space", type=Path)
    options.add_argument("--jobs", type=int, default=1)
    options.add_argument("--time", action="store_true", help="time instead of training")
    given = options.parse_args()
    classes = load_data(DATA).classes  # kept before the jobs start, so that they do not all draw it
    space = load_space(given.space).with_classes(classes)
    rows = every(space)
    notes = Path("runs") / f"{given.space.stem}.jsonl"  # one line for whatever was found, as soon as it is
    notes.parent.mkdir(exist_ok=True)
    lines = [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []
    trained = {line["id"]: line["curve"] for line in lines if "curve" in line}
    timed = {line["id"]: line for line in lines if "latency_ms" in line}
    with notes.open("a", buffering=1) as file:
        if given.time:
            time_once(rows[0])  # what a process does once is not the network's
            for one in (one for one in rows if one.id not in timed):
                timed[one.id] = time_once(one)
                print(json.dumps({"id": one.id, **timed[one.id]}), file=file)
        else:
            with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn")) as pool:
                missing = [one for one in rows if one.id not in trained]
                for future in as_completed([pool.submit(train_once, one, TrainSettings()) for one in missing]):
                    name, trained[name] = future.result()
                    print(json.dumps({"id": name, "curve": trained[name]}), file=file)
                    print(f"{len(trained)} of {len(rows)}: {trained[name][-1]:.1f} %", flush=True)
    done = table(space, rows, trained, timed)
    done.to_csv(given.space.with_suffix(".csv"), index=False)
    print(f"{len(done)} of {len(rows)} networks trained and timed -> {given.space.with_suffix('.csv')}")


if __name__ == "__main__":
    main()
