"""Forward time of our swin_t and shvit_s1 against timm's, interleaved in one run.

    pip install 'vitscape[export]'   # timm 1.0.31, beside torchvision 0.28.0 where torch is a CPU build
    python -m benchmarks.forward_time [--rounds 40] [--batch 1] [--device cpu]

Each round times one forward pass of every candidate, in an order that rotates. On a CPU with one thread the figure is
the thread's CPU time, on a GPU that of CUDA events. The ratio is the median over rounds of ours / theirs in the same
round, so that what slows the machine down slows both.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from statistics import median, quantiles

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from search_spaces import build, load_weights, preset

TIMM = {"swin_t": "swin_tiny_patch4_window7_224", "shvit_s1": "shvit_s1"}


def import_timm() -> tuple[object, object]:
    """timm, and what must live as long: the two operators of torchvision that it asks for and a CPU build lacks."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import timm

    return timm, library


def candidates(name: str) -> dict[str, nn.Module]:
    """The networks to compare, all with the same weights, in eval mode; timm's first."""
    from timm.layers.config import set_fused_attn
    from timm.models import create_model

    found: dict[str, nn.Module] = {}
    set_fused_attn(False)
    found["timm, as it comes"] = create_model(TIMM[name]).eval()
    weights = found["timm, as it comes"].state_dict()
    if name == "swin_t":
        set_fused_attn(True, experimental=True)
        found["timm, fused attention"] = create_model(TIMM[name]).eval()
        found["timm, fused attention"].load_state_dict(weights)
        set_fused_attn(False)
    else:
        fused = create_model(TIMM[name]).eval()
        fused.load_state_dict(weights)
        found["timm, BatchNorm folded"] = _folded(fused)
    ours = load_weights(build(preset(name)), weights).eval()
    found["ours, not folded"] = ours
    found["ours, folded"] = ours.fuse()
    return found


def _folded(model: nn.Module) -> nn.Module:
    for name, child in model.named_children():
        fuse = getattr(child, "fuse", None)
        if callable(fuse):
            setattr(model, name, fuse())
        else:
            _folded(child)
    return model


def compare(name: str, rounds: int, batch: int, device: str) -> tuple[dict[str, list[float]], float]:
    """Milliseconds of each candidate in each round, and the largest difference of logits from timm's."""
    torch.manual_seed(0)
    models = {key: model.to(device) for key, model in candidates(name).items()}
    images = torch.randn(batch, 3, 224, 224, device=device)
    with torch.inference_mode():
        logits = {key: model(images) for key, model in models.items()}
        reference = logits["timm, as it comes"]
        difference = max(float((value - reference).abs().max()) for value in logits.values())
        for _ in range(3):
            for model in models.values():
                model(images)
        times: dict[str, list[float]] = {key: [] for key in models}
        keys, rng = list(models), random.Random(0)
        for _ in range(rounds):
            rng.shuffle(keys)
            for key in keys:
                times[key].append(clock(lambda model=models[key]: model(images), device))  # type: ignore[misc]
    return times, difference


def clock(forward: Callable[[], Tensor], device: str) -> float:
    """Milliseconds of one forward pass."""
    if device.startswith("cuda"):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        forward()
        end.record()
        torch.cuda.synchronize()
        return float(begin.elapsed_time(end))
    started = time.thread_time_ns()
    forward()
    return (time.thread_time_ns() - started) / 1e6


def main() -> None:
    """Print one table per model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    held = import_timm()
    for name in TIMM:
        times, difference = compare(name, options.rounds, options.batch, options.device)
        base = times["timm, as it comes"]
        table = Table(
            title=f"{name}, batch {options.batch}, fp32, {options.device}, torch {torch.__version__}, one thread,"
            f" {options.rounds} interleaved rounds; largest difference of logits {difference:.1e}",
            title_justify="left",
            box=None,
        )
        for heading in ("Network", "median (ms)", "ratio to timm", "quartiles of the ratio"):
            table.add_column(heading, justify="left" if heading == "Network" else "right")
        for key, values in times.items():
            ratios = [a / b for a, b in zip(values, base, strict=True)]
            low, _, high = quantiles(ratios, n=4)
            table.add_row(key, f"{median(values):.2f}", f"{median(ratios):.3f}", f"{low:.3f} - {high:.3f}")
        Console(width=150).print(table)
    del held


if __name__ == "__main__":
    main()
