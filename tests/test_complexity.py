"""`python -m benchmarks.complexity` writes a page whose multiply-adds are the law's, and says what it compared."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks import complexity
from benchmarks.complexity import KINDS, Bench, Case, Row, plan, ratio
from benchmarks.complexity_figures import figure_of
from benchmarks.complexity_page import write_page
from explorer.profile.flops import count
from explorer.record import Conditions, Latency
from search_spaces import cost
from tests.minis import environment

pytestmark = pytest.mark.xdist_group("complexity")  # what several of them look at is made once

ROOT = Path(__file__).parent.parent


def closed_form(kind: str, side: int, width: int, window: int) -> int:
    """MACs of an attention block, written down anew: every product of matrices by its three sizes."""
    if kind == "single-head":
        n, p = side * side, 3 * width // 14
        return n * p * (16 + 16 + p) + n * n * 16 + n * n * p + n * width * width
    if kind == "global":
        n, windows = side * side, 1
    else:
        n, windows = window * window, (-(-side // window)) ** 2
    return windows * (n * width * 3 * width + n * n * width + n * n * width + n * width * width)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a quick run in a process of its own."""
    folder = tmp_path_factory.mktemp("complexity")
    command = [sys.executable, "-m", "benchmarks.complexity", "--quick", "--device", "cpu", "--out", "page.md"]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**environment(folder), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in folder.iterdir() if path.suffix == ".svg"] == []
    return (folder / "page.md").read_text(encoding="utf-8")


def test_the_macs_on_the_page_are_those_of_the_closed_form(page: str) -> None:
    seen = 0
    for side, width, body in re.findall(r"^\| (\d+) x \1 x (\d+) \| MACs .*\n.*\n((?:\|.*\n)+)", page, re.M):
        for line in body.splitlines():
            kind, macs, *_ = (cell.strip() for cell in line.strip("|").split("|"))
            assert int(macs) == closed_form(kind, int(side), int(width), 7), line
            seen += 1
    assert seen == 3 * len(KINDS)
    for kind, window, macs in re.findall(r"^\| ([a-z ]+), M = (\d+) \| (\d+) \|", page, re.M):
        assert int(macs) == closed_form(kind, 14, 32, int(window))
        seen += 1
    assert seen == 3 * len(KINDS) + 4


def test_the_claims_follow_from_the_closed_form(page: str) -> None:
    whole, windows = closed_form("global", 56, 96, 7), closed_form("window", 56, 96, 7)
    assert f"| {whole / windows:.1f}x | {whole} against {windows} MACs" in page
    linear = 4 * 56 * 56 * 96 * 96
    attention = whole - linear, windows - linear
    assert attention == (1888223232, 29503488)
    assert f"| {attention[0] / attention[1]:.0f}x | {attention[0]} against {attention[1]} MACs" in page
    saved = closed_form("global", 112, 128, 7) - closed_form("window", 112, 128, 7)
    assert f"| {saved} | MACs" in page
    assert saved == 40124743680


def test_the_claims_are_computed_and_not_written_down(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Case, "macs", property(lambda case: closed_form(case.kind, case.side, 2 * case.width, 7)))
    write_page(found(), tmp_path / "page.md", "a test")
    text = (tmp_path / "page.md").read_text()
    assert "13.8x" not in text
    expected = closed_form("global", 56, 192, 7) / closed_form("window", 56, 192, 7)
    assert f"{expected:.1f}x" in text


def test_the_page_says_what_it_is_and_under_which_conditions(page: str) -> None:
    assert "--quick --device cpu" in page
    assert "This is a quick run" in page
    for words in ("1 thread", "torch 2.", "fp32", "eager", "batch 1"):
        assert words in page
    assert "the paper has 2.8x on a CPU" in page
    assert "14283 on an A100" in page
    assert max(map(len, page.splitlines())) < 700


@pytest.mark.parametrize("case", [Case("shifted window", 9, 64, 4), Case("single-head", 5, 33, 7)])
def test_law_and_counter_agree_on_padded_maps_and_odd_widths(case: Case) -> None:
    assert case.macs == closed_form(case.kind, case.side, case.width, case.window)
    assert count(case.build(), case.side, case.width).macs == case.macs


def test_a_law_that_the_counter_contradicts_ends_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Case, "macs", property(lambda case: 1))
    with pytest.raises(SystemExit, match="the law gives 1 MACs, fvcore counts"):
        Bench("cpu", "fp32", 1, 1, 0.1, lambda step: None).rows([Case("global", 4, 32, 4)])


def test_ratios_are_taken_within_rounds() -> None:
    slow, fast = row("global", (10.0, 30.0, 11.0)), row("window", (5.0, 15.0, 5.0))  # all slower in the second round
    assert ratio(slow, fast) == (2.0, 2.0, 2.2)


def test_the_networks_compared_differ_in_their_stem_and_not_in_macs() -> None:
    first, stem, equal = plan(quick=False).stems.values()
    assert (first.stem.stride, stem.stem.stride, equal.stem.stride) == (16, 4, 4)
    assert stem.stages == first.stages
    assert len(equal.stages) == 4
    assert cost(equal).macs == pytest.approx(cost(first).macs, rel=0.05)


@pytest.mark.parametrize("timed", [False, True])
def test_names_in_the_figures_do_not_cover_each_other(timed: bool) -> None:
    figure = figure_of(found(), "dark", "title", "below", timed)
    heights = sorted(note.y for note in figure.layout.annotations if note.text in (*KINDS, "window, shifted or not"))
    assert len(heights) == (4 if timed else 3)
    low, high = figure.layout.yaxis.range
    assert min(b - a for a, b in pairwise(heights)) > (high - low) * 14 / figure.layout.height


def row(kind: str, times: tuple[float, ...], side: int = 14) -> Row:
    """A case as if it had been timed."""
    conditions = Conditions(
        device="cpu",
        device_name="a CPU",
        runtime="eager",
        precision="fp32",
        batch_size=1,
        image_size=side,
        threads=1,
        torch="2.13.0",
        libraries={},
    )
    latencies = tuple(
        Latency(
            median_ms=t, ci95_ms=(0.9 * t, 1.1 * t), samples=30, stop="converged", conditions=conditions, verdict="ok"
        )
        for t in times
    )
    case = Case(kind, side, 96, 7)  # type: ignore[arg-type]
    return Row(case, closed_form(kind, side, 96, 7), latencies, 1.0)


def found() -> complexity.Found:
    """A quick run's shape, made up."""
    chosen = plan(quick=True)
    by_side = [[row(kind, (1.0 + 0.001 * i,), side) for i, kind in enumerate(KINDS)] for side in (14, 28)]
    rounds = by_side[0][0].rounds
    stems, published = (
        [complexity.Timed(name, network, rounds) for name, network in named.items()]
        for named in (chosen.stems, chosen.published)
    )
    return complexity.Found(replace(chosen, quick=True), by_side, [by_side[0]], [by_side[0]], stems, published)
