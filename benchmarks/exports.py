"""Every export target for random architectures of a space and all presets, each verified in fresh processes.

    python -m benchmarks.exports  # 50 of hybrid_224 and the presets: about 40 minutes on two cores
    python -m benchmarks.exports --architectures 5 --to python,onnx

Prints, for each target, how many files were verified and the largest difference of a logit from our network's, as a
share of its largest logit; and whatever failed. Weights, norms, statistics and tables are random (`randomised`).
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console

from explorer.export import TARGETS
from explorer.export.subject import Subject
from explorer.export.verify import Checker
from explorer.export.write import Written, write
from explorer.show import print_rows
from search_spaces import load_space, preset
from search_spaces.shipped import names


def subjects(space: str, count: int, seed: int) -> list[Subject]:
    """All presets, and random architectures of a space."""
    loaded, rng = load_space(space), random.Random(seed)
    drawn = [loaded.sample(rng) for _ in range(count)]
    named = [preset(name) for name in names("presets")]
    named += [one.model_copy(update={"name": f"{space}_{i}"}) for i, one in enumerate(drawn)]
    return [Subject(str(one.name), one) for one in named]


def main() -> None:
    """Export, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="hybrid_224")
    parser.add_argument("--architectures", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--to", default=",".join(TARGETS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    targets = {name: TARGETS[name] for name in options.to.split(",")}
    chosen = subjects(options.space, options.architectures, options.seed)
    found: dict[str, list[float]] = {name: [] for name in targets}
    failures: list[str] = []
    magnified: list[str] = []  # files allowed more than their target's tolerance, since float32 itself is that far off
    started = time.monotonic()
    console = Console(stderr=True)
    with Checker() as checker:
        for i, subject in enumerate(chosen, 1):
            with tempfile.TemporaryDirectory() as folder:  # one at a time: all of them would fill a disk
                written: list[Written] = []
                failed = write(subject, targets, Path(folder), checker, lambda step: None, written.append)
            for one in written:
                assert one.agreement is not None
                found[one.target].append(one.agreement.difference / one.agreement.scale)
                if one.agreement.rounding is not None:
                    magnified.append(f"{one.path.name}: float32 is {one.agreement.rounding:.1e} from float64")
            failures += [f"{subject.name} {subject.architecture.id}: {error}" for error in failed]
            subject.forget()
            said = (
                f"{i}/{len(chosen)} {subject.name}: {len(written)} files, {(time.monotonic() - started) / 60:.1f} min"
            )
            console.print(said, highlight=False)
    rows = [
        [name, f"{len(one)} of {len(chosen)}", f"{max(one):.1e}" if one else "", f"{targets[name].tolerance:g}"]
        for name, one in found.items()
    ]
    minutes = (time.monotonic() - started) / 60
    title = f"presets and {options.architectures} random architectures of {options.space}, seed {options.seed}"
    footer = [f"torch {torch.__version__}, one thread; {minutes:.0f} min", *magnified, *failures]
    print_rows(title, ["Target", ">Verified", ">Largest difference", ">Allowed"], rows, footer)


if __name__ == "__main__":
    main()
