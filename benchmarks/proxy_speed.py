"""How near the proxy's training comes to what the device computes at all, beside usual ways of loading images.

    python -m benchmarks.proxy_speed [--device cpu] [--rounds 7] [--steps 20] [--threads 1] [--networks cheap,swin_t]

For each network, with random images in memory: `train` as a search calls it; the limit, which is forward, backward,
clipping and optimizer on one batch that is on the device, normalised, before the clock starts; a plain loop with
torch's DataLoader, each image cropped and mirrored by itself; and timm's loader. Only steps count: the first few of
each run are not timed, and neither are set-up and evaluation. In a round each way runs once, in an order that rotates.
The ratio is the median over rounds of two speeds of the same round, so that what slows the machine down slows both.
CPU time is of the process and its workers, from /proc, in which a tick is 10 ms.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from statistics import median, quantiles

import torch

from benchmarks.proxy_ways import WAYS, Case, Speed, timm_loader
from explorer.profile.device import device_name
from explorer.proxy.dataset import Dataset
from explorer.proxy.faster import TIMED, UNTIMED
from search_spaces import load_space, preset
from search_spaces.architecture import Architecture
from search_spaces.cost import cost

SAMPLED = 64  # networks of tiny_32, of which the cheapest and the most expensive one are taken


def measured(case: Case, rounds: int) -> tuple[dict[str, list[Speed]], dict[str, str]]:
    """The speeds of each way in each round, and why others were not measured."""
    speeds: dict[str, list[Speed]] = {name: [] for name in WAYS}
    missing: dict[str, str] = {}
    for number in range(rounds):
        names = [name for name in WAYS if name not in missing]
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            try:
                speeds[name].append(WAYS[name](case))
            except Exception as error:  # timm asks for libraries that need not be here, and fit
                if WAYS[name] is not timm_loader:
                    raise
                missing[name] = f"{type(error).__name__}: {error}".splitlines()[0]
                del speeds[name]
    return speeds, missing


def row(name: str, way: str, speeds: dict[str, list[Speed]]) -> str:
    """A line of the table; how much faster `train` is than this way, in images a second and in CPU time."""
    own, others = speeds["train"], speeds[way]
    faster = [one.images / other.images for one, other in zip(own, others, strict=True)]
    cheaper = [other.cpu_ms / max(one.cpu_ms, 1e-9) for one, other in zip(own, others, strict=True)]
    low, _, high = quantiles(faster, n=4) if len(faster) > 1 else faster * 3
    images, cpu = median(one.images for one in others), median(one.cpu_ms for one in others)
    ratios = f"{median(faster):.3f} | {low:.3f} - {high:.3f} | {median(cheaper):.3f}"
    return f"| {name} | {way} | {images:.4g} | {cpu:.3g} | {ratios} |"


def cases(options: argparse.Namespace) -> Iterator[tuple[str, Case]]:
    """Of each network asked for its name and the case."""
    rng, space, device = random.Random(0), load_space("tiny_32"), torch.device(options.device)
    sampled = sorted((space.sample(rng) for _ in range(SAMPLED)), key=lambda one: cost(one).macs)
    known = {"cheap": sampled[0], "expensive": sampled[-1], "swin_t": preset("swin_t")}
    for name in options.networks.split(","):
        architecture = known[name]
        few = architecture.image_size > 64 and device.type == "cpu"
        size, steps, warm = options.batch or (4 if few else 64), options.steps, 1 if few else 5
        if few:
            steps = max(2, steps // 10)
        if options.faster in ("compile", "graph"):
            warm = 3 * (UNTIMED + TIMED)  # by then it is settled how steps are run
        data = made_up(architecture, (warm + steps) * size)
        yield name, Case(architecture, data, size, steps, warm, device, options.precision, options.faster)


def made_up(architecture: Architecture, count: int) -> Dataset:
    """Random images, as in a set that is mapped into memory."""
    generator, size, classes = torch.Generator().manual_seed(0), architecture.image_size, architecture.classes
    images = torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, classes, (count,), generator=generator)
    mean = torch.full((3,), 0.5)
    return Dataset(
        name="random",
        train_images=images.permute(0, 3, 1, 2),
        train_labels=labels,
        val_images=images[:2].permute(0, 3, 1, 2),
        val_labels=labels[:2],
        classes=classes,
        mean=mean,
        std=mean / 2,
        fingerprint="random",
        mirror=True,
    )


def main() -> None:
    """Print one Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20, help="timed in each run; a tenth at 224 pixels on a CPU")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, help="images; 64, and 4 at 224 pixels on a CPU")
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp16"))
    parser.add_argument("--networks", default="cheap,expensive,swin_t")
    parser.add_argument("--faster", choices=("off", "compile", "graph"), default="off", help="how `train` runs steps")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    gpu = torch.device(options.device).type == "cuda"
    options.precision = options.precision or ("bf16" if gpu else "fp32")
    where = device_name(torch.device(options.device)) + ("" if gpu else f", {options.threads} threads")
    print(
        f"{where}, {options.precision}, faster {options.faster}, torch {torch.__version__}, {options.rounds} rounds\n"
    )
    print("| network | way | images/s | CPU ms an image | `train` is faster by | quartiles | CPU time, by |")
    print("|---|---|---|---|---|---|---|")
    notes = []
    for name, case in cases(options):
        speeds, missing = measured(case, options.rounds)
        about = f"{name}, {cost(case.architecture).macs / 1e6:.3g} M MACs, {case.steps} x {case.batch}"
        for way in speeds:
            print(row(about, way, speeds), flush=True)
        notes += [f"{name}: {way} was not measured: {why}" for way, why in missing.items()]
    print("\n" + "\n".join(notes))


if __name__ == "__main__":
    main()
