"""Latency of the shipped presets in ONNX Runtime, interleaved, and its ratio to shvit_s4's.

    pip install 'vitscape[search,onnx]'
    python -m benchmarks.onnx_presets [--batch 16] [--device cpu] [--presets shvit_s1,shvit_s4] [--time-limit 30]

One thread on a CPU, float32, BatchNorm folded, each network at its own image size. The blocks of all networks are timed
in turns, so that what slows the machine down slows all. Beside it stands what is published of SHViT (Yun & Ro, CVPR
2024): the throughput on an A100 at batch 256, here as time relative to s4's. From fastest to slowest: s1, s2, s3, s4.
"""

from __future__ import annotations

import argparse

import torch
from rich.console import Console
from rich.table import Table

from explorer.profile.latency import Subject, measure_together
from explorer.record import Latency
from search_spaces import build, cost, preset
from search_spaces.shipped import names

BASE = "shvit_s4"
PUBLISHED = {"shvit_s1": 33489, "shvit_s2": 26878, "shvit_s3": 20522, "shvit_s4": 14283}  # images/s, A100, batch 256


def measured(presets: list[str], batch: int, device: str, time_limit_s: float) -> dict[str, Latency]:
    """The latency of each preset with random weights, fastest first."""
    torch.manual_seed(0)
    subjects = [Subject(build(preset(name)).fuse(), preset(name).image_size) for name in presets]
    found = measure_together(
        subjects,
        device=device,
        batch_size=batch,
        runtime="onnxruntime",
        time_limit_s=time_limit_s,
    )
    return dict(sorted(zip(presets, found, strict=True), key=lambda pair: pair[1].median_ms))


def main() -> None:
    """Print one row per preset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--presets", default=",".join(names("presets")))
    parser.add_argument("--time-limit", type=float, default=30.0, help="seconds for each preset")
    options = parser.parse_args()
    found = measured(options.presets.split(","), options.batch, options.device, options.time_limit)

    conditions = next(iter(found.values())).conditions
    libraries = ", ".join(f"{name} {version}" for name, version in conditions.libraries.items())
    threads = f", {conditions.threads} thread" if conditions.threads else ""
    title = f"Batch {options.batch}, fp32, {conditions.device_name}{threads}; {libraries}, torch {conditions.torch}"
    table = Table(title=title, title_justify="left", box=None)
    for heading in ("Preset", "px", "GMACs", "median (ms)", "± (ms)", "verdict", f"to {BASE}", "published, A100"):
        table.add_column(heading, justify="left" if heading in ("Preset", "verdict") else "right")
    for name, latency in found.items():
        low, high = latency.ci95_ms
        table.add_row(
            name,
            str(preset(name).image_size),
            f"{cost(preset(name)).macs / 1e9:.2f}",
            f"{latency.median_ms:.1f}",
            f"{(high - low) / 2:.1f}",
            ": ".join(filter(None, (latency.verdict, latency.reason))),
            f"{latency.median_ms / found[BASE].median_ms:.2f}" if BASE in found else "-",
            f"{PUBLISHED[BASE] / PUBLISHED[name]:.2f}" if name in PUBLISHED else "-",
        )
    Console(width=150).print(table)
    shvit = [name for name in found if name in PUBLISHED]
    says = "as published" if shvit == sorted(shvit) else "not as published"
    print(f"SHViT from fastest to slowest: {', '.join(shvit)}; {says}")


if __name__ == "__main__":
    main()
