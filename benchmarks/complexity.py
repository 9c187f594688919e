"""Global, window, shifted-window and single-head attention over map sizes: counted, timed, and beside published claims.

    python -m benchmarks.complexity --out docs/complexity.md [--device auto] [--precision fp32] [--threads 1] [--quick]

Multiply-adds (MACs) are written down as a law and counted by fvcore on the built block; the command ends with status 1
where the two differ. Times are those of `explorer.profile.latency`: blocks of one comparison are timed in turns, so
that what slows the machine slows all of them, and ratios, taken in each of several rounds, can be trusted where times
cannot. The page and its figures
(light and dark, drawn by headless Chromium) are written at the end. `--quick` takes small sizes and draws no figures.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal, NamedTuple

import torch
from rich.console import Console
from torch import nn

from explorer.evaluate import build_seeded
from explorer.profile.device import resolve_device
from explorer.profile.flops import count
from explorer.profile.latency import Subject, measure_together
from explorer.profile.memory import peak_memory_mb
from explorer.record import Latency, Precision
from explorer.show import progress_bar
from search_spaces import Architecture, preset
from search_spaces.architecture import SingleHeadMixer
from search_spaces.blocks.global_attention import GlobalAttention
from search_spaces.blocks.network import fold
from search_spaces.blocks.single_head import SingleHeadAttention
from search_spaces.blocks.window import WindowAttention
from search_spaces.errors import InputError

OnStep = Callable[[str], None]  # what is being done
Kind = Literal["global", "window", "shifted window", "single-head"]
KINDS: tuple[Kind, ...] = ("global", "window", "shifted window", "single-head")
HEAD_DIM, QK_DIM = 32, 16  # of Swin's heads, and of SHViT's one


@dataclass(frozen=True)
class Case:
    """One attention block on one map; `window` is of no effect on global and single-head attention."""

    kind: Kind
    side: int  # tokens
    width: int  # channels
    window: int  # tokens

    @property
    def partial(self) -> int:
        """Channels that attend in single-head attention, SHViT's choice."""
        return 3 * self.width // 14

    @property
    def attending_macs(self) -> int:
        """MACs of q k^T and of attention times v."""
        n = self.side**2
        if self.kind == "global":
            return 2 * n * n * self.width
        if self.kind == "single-head":
            return n * n * (QK_DIM + self.partial)
        return 2 * self._padded**2 * self.window**2 * self.width

    @property
    def macs(self) -> int:
        """All of them: attention, and the linear maps before and after it (Liu et al. 2021, equations 1 and 2)."""
        n, p = self.side**2, self.partial
        if self.kind == "single-head":
            return self.attending_macs + p * (2 * QK_DIM + p) * n + self.width**2 * n
        return self.attending_macs + 4 * (n if self.kind == "global" else self._padded**2) * self.width**2

    @property
    def scores(self) -> int:
        """Elements of the attention matrix, all heads."""
        n = self.side**2
        if self.kind == "single-head":
            return n * n
        heads = self.width // HEAD_DIM
        return heads * (n * n if self.kind == "global" else self._padded**2 * self.window**2)

    @property
    def _padded(self) -> int:
        return -(-self.side // self.window) * self.window

    def build(self) -> nn.Module:
        """The block's token mixer as it is deployed: eval mode, BatchNorm and bias tables folded."""
        heads = self.width // HEAD_DIM
        mixer: nn.Sequential
        if self.kind == "global":
            mixer = nn.Sequential(GlobalAttention(self.width, heads, "layer"))
        elif self.kind == "single-head":
            mixer = nn.Sequential(SingleHeadAttention(self.width, self.partial, QK_DIM, "batch", "relu"))
        else:
            shift = self.window // 2 if self.kind == "shifted window" else 0
            mixer = nn.Sequential(WindowAttention(self.width, heads, self.window, shift, self.side, "layer", True))
        mixer.eval()
        fold(mixer)
        return mixer


class Row(NamedTuple):
    """A case with what was counted and measured."""

    case: Case
    counted: int  # MACs, by fvcore
    rounds: tuple[Latency, ...]
    memory_mb: float  # MiB, peak of one pass

    @property
    def latency(self) -> Latency:
        """That of the first round."""
        return self.rounds[0]


class Timed(NamedTuple):
    """A whole network with its time."""

    name: str
    architecture: Architecture
    rounds: tuple[Latency, ...]

    @property
    def latency(self) -> Latency:
        """That of the first round."""
        return self.rounds[0]


@dataclass(frozen=True)
class Plan:
    """What is measured, as groups that are timed in turns."""

    by_side: list[list[Case]]
    by_window: list[list[Case]]
    by_width: list[list[Case]]
    stems: dict[str, Architecture]
    published: dict[str, Architecture]
    quick: bool


@dataclass(frozen=True)
class Found:
    """Everything that the page tells."""

    plan: Plan
    by_side: list[list[Row]]
    by_window: list[list[Row]]
    by_width: list[list[Row]]
    stems: list[Timed]
    published: list[Timed]


def plan(quick: bool) -> Plan:
    """The sizes of the page, or small ones that take half a minute."""
    sides, width, window = ((14, 28, 56, 112), 96, 7) if not quick else ((7, 14), 32, 7)
    windows = (4, 7, 8, 14) if not quick else (4, 7)
    widths = (96, 128, 256) if not quick else (64,)
    where, at = (56, 28) if not quick else (14, 7)
    size = 64 if quick else None
    return Plan(
        by_side=[[Case(kind, side, width, window) for kind in KINDS] for side in sides],
        by_window=[[Case(kind, where, width, one) for one in windows for kind in ("window", "shifted window")]],
        by_width=[[Case(kind, at, one, window) for kind in KINDS] for one in widths],
        stems={name: _sized(network, size) for name, network in stem_networks().items()},
        published={name: _sized(preset(name), size) for name in ("swin_t", "shvit_s4")},
        quick=quick,
    )


def stem_networks() -> dict[str, Architecture]:
    """SHViT-S1, the same stages behind a 4x4 stem, and four stages behind a 4x4 stem of about its MACs."""
    s1 = preset("shvit_s1")
    fine = s1.model_copy(update={"name": "s1_stem4", "stem": s1.stem.model_copy(update={"stride": 4})})
    none, *attending = s1.stages
    # as SHViT: no attention in the early stages; widths double, as in the four-stage networks that it argues against
    four = [
        none.model_copy(update={"width": 28, "depth": 2}),
        none.model_copy(update={"width": 56, "depth": 2, "downsample": "inverted_residual"}),
        attending[0].model_copy(update={"width": 112, "depth": 3, "mixer": _single_head(112)}),
        attending[1].model_copy(update={"width": 224, "depth": 3, "mixer": _single_head(224)}),
    ]
    equal = fine.model_copy(update={"name": "four_stages", "stages": tuple(four)})
    return {
        "16x16 stem, 3 stages (SHViT-S1)": s1,
        "4x4 stem, the same 3 stages": _checked(fine),
        "4x4 stem, 4 stages, narrower": _checked(equal),
    }


def _single_head(width: int) -> SingleHeadMixer:
    return SingleHeadMixer(partial_channels=3 * width // 14, qk_dim=QK_DIM)


def _checked(architecture: Architecture) -> Architecture:
    return Architecture.from_dict(architecture.to_dict(), architecture.name or "network")  # copies are not validated


def _sized(architecture: Architecture, size: int | None) -> Architecture:
    """The architecture; for a quick run on smaller images, and with one block a stage."""
    if size is None:
        return architecture
    stages = tuple(stage.model_copy(update={"depth": 1}) for stage in architecture.stages)
    return architecture.model_copy(update={"image_size": size, "stages": stages})


class Bench:
    """How things are measured, and the progress that is shown."""

    def __init__(
        self, device: str, precision: Precision, threads: int, rounds: int, time_limit_s: float, step: OnStep
    ) -> None:
        self.device, self.precision, self.threads = device, precision, threads
        self.rounds, self.time_limit_s, self.step = rounds, time_limit_s, step

    def rows(self, cases: list[Case]) -> list[Row]:
        """The cases counted, timed in turns, and their memory."""
        networks = [case.build() for case in cases]
        counted = []
        for case, network in zip(cases, networks, strict=True):
            self.step(f"counting {case.kind}, {case.side} x {case.side} x {case.width}")
            counted.append(count(network, case.side, case.width).macs)
            if counted[-1] != case.macs:
                raise SystemExit(f"error: {case}: the law gives {case.macs} MACs, fvcore counts {counted[-1]}")
        self.step(f"timing {len(cases)} blocks at {cases[0].side} x {cases[0].side} x {cases[0].width}")
        subjects = [Subject(net, case.side, case.width) for net, case in zip(networks, cases, strict=True)]
        latencies = self._time(subjects)
        memory = [
            peak_memory_mb(
                net, image_size=case.side, in_channels=case.width, device=self.device, precision=self.precision
            )
            for net, case in zip(networks, cases, strict=True)
        ]
        return [Row(*row) for row in zip(cases, counted, latencies, memory, strict=True)]

    def networks(self, named: dict[str, Architecture], batch_size: int = 1) -> list[Timed]:
        """Whole networks, folded, timed in turns."""
        self.step(f"timing {', '.join(named)}")
        subjects = [Subject(build_seeded(net, 0).fuse(), net.image_size, net.in_channels) for net in named.values()]
        latencies = self._time(subjects, batch_size)
        return [Timed(*one) for one in zip(named, named.values(), latencies, strict=True)]

    def _time(self, subjects: list[Subject], batch_size: int = 1) -> list[tuple[Latency, ...]]:
        """Of each subject its latency in each round, the round that is most to be trusted first."""
        rounds = [
            measure_together(
                subjects,
                device=self.device,
                precision=self.precision,
                threads=self.threads,
                batch_size=batch_size,
                time_limit_s=self.time_limit_s,
            )
            for _ in range(self.rounds)
        ]
        rounds.sort(key=lambda latencies: max(one.doubt for one in latencies))
        return list(zip(*rounds, strict=True))


def ratio(slow: Row | Timed, fast: Row | Timed) -> tuple[float, float, float]:
    """(median, least, most) over the rounds of how many times as long, in each round by the medians of its own."""
    ratios = [a.median_ms / b.median_ms for a, b in zip(slow.rounds, fast.rounds, strict=True)]
    return median(ratios), min(ratios), max(ratios)


def run(measured: Plan, bench: Bench) -> Found:
    """All groups of a plan, one after the other."""

    def each(groups: Iterable[list[Case]]) -> list[list[Row]]:
        return [bench.rows(group) for group in groups]

    batch = 256 if resolve_device(bench.device).type == "cuda" and not measured.quick else 1
    return Found(
        measured,
        each(measured.by_side),
        each(measured.by_window),
        each(measured.by_width),
        bench.networks(measured.stems, batch),
        bench.networks(measured.published, batch),
    )


def main() -> int:
    """Exit status: 0, or 1 where law and counter differ."""
    from benchmarks.complexity_figures import write_figures
    from benchmarks.complexity_page import write_page

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/complexity.md"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=("fp32", "fp16", "bf16"), default="fp32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=4, help="times that each group is timed, for its ratios' spread")
    parser.add_argument("--time-limit", type=float, default=1.5, help="seconds for each block or network in a round")
    parser.add_argument("--quick", action="store_true", help="small sizes, no figures: to see that it works")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    chosen = plan(options.quick)
    groups = chosen.by_side + chosen.by_window + chosen.by_width
    steps = sum(map(len, groups)) + len(groups) + 2
    errors = Console(stderr=True)
    with progress_bar(errors, disable=not errors.is_terminal) as bar:
        task = bar.add_task("complexity", total=steps, step="")

        def step(what: str) -> None:
            bar.update(task, advance=1, step=what)
            if not errors.is_terminal:
                print(what, file=sys.stderr, flush=True)

        rounds, limit = (1, 0.1) if options.quick else (options.rounds, options.time_limit)
        device = str(resolve_device(options.device))
        found = run(chosen, Bench(device, options.precision, options.threads, rounds, limit, step))
    command = "python -m benchmarks.complexity " + " ".join(sys.argv[1:])
    if not chosen.quick:
        write_figures(found, options.out)
    write_page(found, options.out, command.strip())
    print(f"wrote {options.out}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as wrong:
        sys.exit(f"error: {wrong}")
    except KeyboardInterrupt:
        sys.exit(130)
