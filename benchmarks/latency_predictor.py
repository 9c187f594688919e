"""How well latency is predicted of architectures that were not measured, beside plain alternatives.

    python -m benchmarks.latency_predictor [--space tiny_32 --space hybrid_224] [--number 200] [--data FILE]
        [--device cpu] [--precision fp32] [--runtime eager] [--time-limit 2]

Times random architectures of each space, folded, one image, and keeps each in FILE (JSON lines): the same command
continues, and prints the tables from the file alone once it is complete; what the file has of other devices, runtimes,
precisions or versions does not count. How many have a verdict against them is printed; they are left out.
Every latency is predicted from the other folds of ten; the learning curve is the mean of five random splits. Goals are
printed with the tables, and a miss as a miss. About 3 s an architecture; the tables take a minute a space on one core.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from explorer.profile.features import columns, features
from explorer.profile.predict import LatencyPredictor
from explorer.record import Conditions, Latency
from search_spaces import Architecture, load_space
from search_spaces.cost import cost

Floats = NDArray[np.float64]
Measured = tuple[Architecture, Latency]
Learner = Callable[[Sequence[Architecture], Floats, Sequence[Architecture]], Floats]  # (known, their ms, asked) -> ms

GOALS = {"mean error (%)": ("at most", 5.0), "within ±10 % (%)": ("at least", 95.0)}
SIZES = (25, 50, 100, 150)  # measurements learnt from
FOLDS, SPLITS = 10, 5

out = Console(width=150)


def ours(known: Sequence[Architecture], ms: Floats, asked: Sequence[Architecture]) -> Floats:
    """Predictions of explorer/profile/predict.py."""
    return LatencyPredictor.fit(known, ms).predict(asked).median_ms


def macs_alone(known: Sequence[Architecture], ms: Floats, asked: Sequence[Architecture]) -> Floats:
    """A power of the multiply-adds."""
    logs, others = (np.log([cost(a).macs for a in architectures]) for architectures in (known, asked))
    result: Floats = np.exp(np.polyval(np.polyfit(logs, np.log(ms), 1), others))
    return result


def forest(known: Sequence[Architecture], ms: Floats, asked: Sequence[Architecture]) -> Floats:
    """A random forest of 300 trees on the logarithms of our features."""
    from sklearn.ensemble import RandomForestRegressor

    table, other = _logs(known, asked)
    learnt = RandomForestRegressor(300, random_state=0).fit(table, np.log(ms)).predict(other)
    return np.asarray(np.exp(learnt), dtype=float)


def process(known: Sequence[Architecture], ms: Floats, asked: Sequence[Architecture]) -> Floats:
    """A Gaussian process on the logarithms of our features, without the sum of prices."""
    table, other = _logs(known, asked)
    mean = float(np.log(ms).mean())
    return np.exp(mean + _gaussian(table, np.log(ms) - mean, other))


def corrected(known: Sequence[Architecture], ms: Floats, asked: Sequence[Architecture]) -> Floats:
    """Ours, and a Gaussian process on what is left of the logarithm, by the shares of the kinds of operators."""
    predictor = LatencyPredictor.fit(known, ms)
    base, others = (predictor.predict(architectures).median_ms for architectures in (known, asked))
    table, other = (features(architectures, predictor.names) for architectures in (known, asked))
    shares, shares_of_others = table / base[:, None], other / others[:, None]
    scale = shares.mean(0) + np.finfo(float).tiny
    return others * np.exp(_gaussian(shares / scale, np.log(ms / base), shares_of_others / scale))


LEARNERS: dict[str, Learner] = {
    "ours": ours,
    "ours, residual by a Gaussian process": corrected,
    "Gaussian process on the same features": process,
    "random forest on the same features": forest,
    "a power of the MACs": macs_alone,
}


def _logs(known: Sequence[Architecture], asked: Sequence[Architecture]) -> tuple[Floats, Floats]:
    names = columns(known)
    return np.log1p(features(known, names)), np.log1p(features(asked, names))


def _gaussian(table: Floats, values: Floats, other: Floats) -> Floats:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(table)
    kernel = ConstantKernel(0.1, (1e-5, 1e2)) * RBF(5.0, (0.5, 1e2)) + WhiteKernel(1e-3, (1e-6, 1.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = GaussianProcessRegressor(kernel).fit(scaler.transform(table), values)
    return np.asarray(found.predict(scaler.transform(other)), dtype=float)


def measured(space: str, number: int, options: argparse.Namespace) -> list[Measured]:
    """Random architectures of a space with their latencies, read from the file and completed there.

    Rows of other conditions than these stay in the file and do not count.
    """
    rng, drawn = random.Random(11), load_space(space)
    wanted = {found.id: found for found in (drawn.sample(rng) for _ in range(number))}
    path = Path(options.data)
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    stored = [(row["id"], Latency.model_validate(row["latency"])) for row in rows if row["space"] == space]
    here = _conditions(options).comparable
    known = {name: latency for name, latency in stored if latency.comparable == here}  # none of an earlier protocol
    missing = [found for name, found in wanted.items() if name not in known]
    for i, architecture in enumerate(missing, 1):
        found = _time(architecture, options)
        known[architecture.id] = found
        row = {"space": space, "id": architecture.id, "latency": found.model_dump(mode="json")}
        with path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"\r{space}: {i} of {len(missing)} measured", end="", file=sys.stderr, flush=True)
    return [(found, known[name]) for name, found in wanted.items()]


def _conditions(options: argparse.Namespace) -> Conditions:
    """Under what this machine measures now."""
    import torch

    from explorer.profile.latency import device_name, resolve_device
    from explorer.profile.runtimes import require_runtime

    device = resolve_device(options.device)
    return Conditions(
        device=device.type,
        device_name=device_name(device),
        runtime=options.runtime,
        precision=options.precision,
        batch_size=1,
        image_size=1,  # each architecture's own
        threads=1 if device.type == "cpu" else None,
        torch=torch.__version__,
        libraries=require_runtime(options.runtime, device).libraries(device),
    )


def _time(architecture: Architecture, options: argparse.Namespace) -> Latency:
    from explorer.profile.latency import measure
    from search_spaces import build

    return measure(
        build(architecture).fuse(),
        image_size=architecture.image_size,
        in_channels=architecture.in_channels,
        device=options.device,
        precision=options.precision,
        runtime=options.runtime,
        time_limit_s=options.time_limit,
    )


def compare(architectures: list[Architecture], ms: Floats) -> list[list[str]]:
    """One row a learner: mean error, share within 10 %, Kendall's tau over held-out folds; then the learning curve."""
    from scipy.stats import kendalltau

    parts = np.random.default_rng(0).permutation(len(ms)) % FOLDS
    rows = []
    for name, learner in LEARNERS.items():
        predicted = np.empty(len(ms))
        for part in range(FOLDS):
            predicted[parts == part] = _held_out(learner, architectures, ms, parts != part)
        error = 100 * np.abs(predicted / ms - 1)
        tau = float(kendalltau(ms, predicted).statistic)
        cells = [f"{error.mean():.1f}", f"{(error <= 10).mean():.1%}"[:-1], f"{tau:.3f}"]
        for size in SIZES:
            if size > len(ms) - FOLDS:
                cells.append("")
                continue
            means = []
            for split in range(SPLITS):
                chosen = np.zeros(len(ms), dtype=bool)
                chosen[np.random.default_rng(split).permutation(len(ms))[:size]] = True
                predicted = _held_out(learner, architectures, ms, chosen)
                means.append(100 * np.abs(predicted / ms[~chosen] - 1).mean())
            cells.append(f"{np.mean(means):.1f}")
        rows.append([name, *cells])
    return rows


def _held_out(learner: Learner, architectures: list[Architecture], ms: Floats, known: NDArray[np.bool_]) -> Floats:
    first = [a for a, keep in zip(architectures, known, strict=True) if keep]
    return learner(first, ms[known], [a for a, keep in zip(architectures, known, strict=True) if not keep])


def report(space: str, rows: list[Measured]) -> None:
    """Print what is found for one space."""
    trusted = [(a, latency) for a, latency in rows if latency.verdict == "ok"]
    if not trusted:
        sys.exit(f"{space}: all {len(rows)} measurements have a verdict against them; nothing to learn from")
    architectures, ms = [a for a, _ in trusted], np.array([latency.median_ms for _, latency in trusted])
    noise = np.array([np.log(latency.ci95_ms[1] / latency.ci95_ms[0]) / 3.92 for _, latency in trusted])
    where = trusted[0][1].conditions
    doubts = ", ".join(
        f"{n} {verdict}" for verdict, n in Counter(one.verdict for _, one in rows).items() if verdict != "ok"
    )
    table = Table(
        title=f"{space}: {len(ms)} architectures of {ms.min():.2g} to {ms.max():.3g} ms, left out by their verdict:"
        f" {doubts or 'none'}; {where.device_name}, {where.runtime}, {where.precision}, batch {where.batch_size},"
        f" threads {where.threads}, torch {where.torch}",
        title_justify="left",
        box=None,
    )
    headings = ["mean error (%)", "within ±10 % (%)", "Kendall tau", *(f"from {size}: error (%)" for size in SIZES)]
    table.add_column("Predictor")
    for heading in headings:
        table.add_column(heading, justify="right")
    found = compare(architectures, ms)
    for row in found:
        table.add_row(*row)
    out.print(table)
    own = LatencyPredictor.fit(architectures, ms).validation
    out.print(
        f"ours: {own.coverage:.1f} % of held-out measurements inside the 95 % interval, {own.in_domain:.1f} % in domain"
    )
    explained = 100 * float(np.mean(noise) * np.sqrt(2 / np.pi))
    out.print(f"a perfect predictor's mean error would be about {explained:.1f} %, by the measurements' own intervals")
    for (name, (sense, goal)), text in zip(GOALS.items(), found[0][1:], strict=False):
        met = float(text) <= goal if sense == "at most" else float(text) >= goal
        out.print(f"goal: {name} {sense} {goal:g}: {text}, {'met' if met else 'MISSED'}")


def main() -> None:
    """Measure what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", action="append", default=[])
    parser.add_argument("--number", type=int, default=200)
    parser.add_argument("--data", default="runs/latency_predictor.jsonl")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--runtime", default="eager")
    parser.add_argument("--time-limit", type=float, default=2.0)
    options = parser.parse_args()
    Path(options.data).parent.mkdir(parents=True, exist_ok=True)
    for space in options.space or ["tiny_32", "hybrid_224"]:
        report(space, measured(space, options.number, options))


if __name__ == "__main__":
    main()
