"""Where the time goes: parts timed in place, the least bytes that they move, the roofline, and how all that is told."""

import gc
import json
import random
import time
from itertools import pairwise

import pytest
import torch
from torch import nn

from explorer.profile import Profile, profile
from explorer.profile.breakdown import Breakdown, PartTime, break_down
from explorer.profile.roofline import Peaks, elements_moved, measure_peaks
from explorer.record import Latency
from explorer.show_profile import dominant, print_profile
from search_spaces import build, cost
from search_spaces.architecture import Architecture
from search_spaces.errors import InputError
from tests.minis import ARCHITECTURE, vitscape
from tests.studies import CONDITIONS

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

LAYER, BATCH = {"local": False, "norm": "layer"}, {"local": True, "norm": "batch"}
MIXED = Architecture.model_validate(
    {
        "format": "vitscape/architecture@1",
        "name": "mixed",
        "image_size": 32,
        "classes": 10,
        "stem": {"kind": "conv", "stride": 4},
        "stages": [
            {"width": 16, "depth": 1, "mixer": {"kind": "global", "heads": 2}} | LAYER,
            {"width": 24, "depth": 2, "mixer": {"kind": "window", "size": 2, "heads": 3}, "downsample": "patch_merging"}
            | LAYER,
            {"width": 32, "depth": 1, "mixer": {"kind": "single_head", "partial_channels": 8, "qk_dim": 4}}
            | {"downsample": "inverted_residual"}
            | BATCH,
        ],
    }
)
PARTS = {
    "stage": ["stem", "stages.0", "stages.1", "stages.2", "head"],
    "block": [
        "stem",
        "stages.0.blocks.0",
        "stages.1.downsample",
        "stages.1.blocks.0",
        "stages.1.blocks.1",
        "stages.2.downsample",
        "stages.2.blocks.0",
        "head",
    ],
    "layer": [layer.name for layer in cost(MIXED).layers],
}


@pytest.fixture(autouse=True)
def leases(tmp_path, monkeypatch):
    """Lock files of this test's own, so that nobody who really measures here is waited for."""
    monkeypatch.setenv("VITSCAPE_LEASES", str(tmp_path))


class Spin(nn.Module):
    """Computes for `seconds` before `body`; in a share of the passes it sleeps for 5 ms more, as if others computed."""

    draw = random.Random(0)  # of the class, since copies of the module are what runs

    def __init__(self, body: nn.Module, seconds: float, asleep: float = 0.0):
        super().__init__()
        self.body, self.seconds, self.asleep = body, seconds, asleep

    def forward(self, x):
        if Spin.draw.random() < self.asleep:
            time.sleep(0.005)
        end = time.thread_time() + self.seconds
        while time.thread_time() < end:
            pass
        return self.body(x)


def with_slow_block(seconds: float = 0.004, asleep: float = 0.0):
    """MIXED's folded network, in which block 1 of stage 1 computes for 4 ms more."""
    network = build(MIXED).fuse()
    blocks = network.get_submodule("stages.1.blocks")
    blocks[1].mixer = Spin(blocks[1].mixer, seconds, asleep)
    return network


# --- times


@pytest.mark.parametrize(("by", "slow"), [("stage", 2), ("block", 4), ("layer", 6)])
def test_the_slow_part_is_found_in_place_and_the_parts_add_up_to_the_whole(by, slow):
    found = break_down(with_slow_block(), by=by, time_limit_s=0.3)
    assert [part.name for part in found.parts] == PARTS[by]
    slowest = found.parts[slow]
    assert slowest is max(found.parts, key=lambda part: part.median_ms)
    assert "stages.1" in slowest.name
    assert 4 <= slowest.median_ms < 40
    assert 4 <= slowest.ci95_ms[0] <= slowest.median_ms <= slowest.ci95_ms[1]
    assert found.parts_ms == pytest.approx(found.whole_ms, rel=0.5)
    assert found.stamped_ms >= slowest.median_ms
    assert found.rounds >= 6
    assert sum(part.macs for part in found.parts) == cost(MIXED).macs


def test_time_in_which_the_core_was_taken_does_not_count():
    found = break_down(with_slow_block(0.001, asleep=0.6), time_limit_s=1.5)
    assert found.interrupted > 0.3
    assert 1 <= found.parts[2].median_ms < 5  # more than half of the passes took over 6 ms


def test_a_slow_network_gets_the_six_rounds_that_an_interval_needs():
    assert break_down(with_slow_block(), time_limit_s=0.001).rounds == 6


def test_the_network_and_the_process_are_left_as_they_were():
    network, before = with_slow_block(), torch.get_num_threads()
    names = [name for name, _ in network.named_modules()]
    break_down(network, by="layer", precision="bf16", time_limit_s=0.05)
    assert [name for name, _ in network.named_modules()] == names
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert all(weight.dtype is torch.float32 for weight in network.parameters())
    assert torch.get_num_threads() == before
    assert gc.isenabled()


def test_a_batch_has_that_many_times_the_macs_and_reads_the_weights_once():
    one, four = (break_down(build(MIXED).fuse(), batch_size=size, time_limit_s=0.05) for size in (1, 4))
    moved, layers = elements_moved(MIXED), cost(MIXED).layers
    for a, b in zip(one.parts, four.parts, strict=True):
        assert b.macs == 4 * a.macs
        inside = [layer for layer in layers if f"{layer.name}.".startswith(f"{a.name}.")]
        assert a.moved_bytes == 4 * sum(moved[layer.name] + layer.params_folded for layer in inside)
        assert b.moved_bytes == 4 * sum(4 * moved[layer.name] + layer.params_folded for layer in inside)


def test_how_parts_can_be_told_apart_is_said_where_it_cannot():
    with pytest.raises(InputError, match="by='width': choose stage, block, layer"):
        profile(MIXED, latency=False, by="width")


# --- bytes


def counted(network: nn.Module, part: str) -> int:
    """Elements that the convolutions and linear layers of a part read and write in one pass."""
    found = []
    module = network.get_submodule(part)
    handles = [
        leaf.register_forward_hook(lambda _, inputs, output: found.append(inputs[0].numel() + output.numel()))
        for leaf in module.modules()
        if isinstance(leaf, nn.Conv2d | nn.Linear)
    ]
    with torch.inference_mode():
        network(torch.zeros(1, 3, 32, 32))
    for handle in handles:
        handle.remove()
    return sum(found)


def test_elements_moved_are_those_that_the_operators_read_and_write():
    network, moved = build(MIXED).fuse(), elements_moved(MIXED)
    attention = {
        "stages.0.blocks.0.mixer": 4 * 16 * 8**2,  # reads q, k and v, writes their result
        "stages.1.blocks.0.mixer": 4 * 24 * 4**2,
        "stages.1.blocks.1.mixer": 4 * 24 * 4**2,
        "stages.2.blocks.0.mixer": (4 + 4 + 8 + 8) * 2**2,
    }
    head = 32 * 2**2 - 32  # the whole map is read, not the mean alone
    for name, elements in moved.items():
        assert elements == counted(network, name) + attention.get(name, 0) + (head if name == "head" else 0), name


def test_a_part_takes_at_least_its_macs_and_its_bytes_at_the_peaks():
    found = break_down(build(MIXED).fuse(), by="layer", precision="bf16", time_limit_s=0.05)
    for part in found.parts:
        compute_ms = part.macs / (found.peaks.gmacs_per_s * 1e9) * 1e3
        memory_ms = part.moved_bytes / (found.peaks.gb_per_s * 1e9) * 1e3
        assert part.floor_ms == pytest.approx(max(compute_ms, memory_ms))
        assert part.bound == ("compute" if compute_ms >= memory_ms else "memory")
        assert part.roofline == pytest.approx(part.floor_ms / part.median_ms)
        assert part.gmacs_per_s == pytest.approx(part.macs / part.median_ms / 1e6)


def test_the_peaks_are_measured_once_and_no_large_product_is_far_above_them():
    start = time.perf_counter()
    peaks = measure_peaks(torch.device("cpu"), "fp32")
    middle = time.perf_counter()
    assert measure_peaks(torch.device("cpu"), "fp32") == peaks
    assert time.perf_counter() - middle < 0.05
    assert middle - start < 20
    a = torch.randn(768, 768)
    times = []
    for _ in range(5):
        times.append(time.perf_counter())
        a @ a
    fastest = min(b - a for a, b in pairwise(times))
    assert 768**3 / fastest / 1e9 < 3 * peaks.gmacs_per_s
    assert peaks.gb_per_s > 0.1


# --- how it is told


def part(name: str, ms: float, floor_ms: float, bound: str, mixer: str | None = None) -> PartTime:
    return PartTime(
        name=name,
        mixer=mixer,
        median_ms=ms,
        ci95_ms=(ms, ms),
        macs=int(ms * 1e6),
        moved_bytes=1000,
        floor_ms=floor_ms,
        bound=bound,
    )


def breakdown(by: str, *parts: PartTime) -> Breakdown:
    peaks = Peaks(gmacs_per_s=50, by="convolution", gb_per_s=20)
    whole = sum(part.median_ms for part in parts)
    return Breakdown(by=by, parts=parts, whole_ms=whole, stamped_ms=whole, rounds=9, interrupted=0, peaks=peaks)


def test_one_sentence_says_which_stage_dominates():
    found = breakdown(
        "stage",
        part("stem", 1, 1, "compute"),
        part("stages.0", 3, 0.1, "memory", "none"),
        part("stages.1", 6, 0.48, "memory", "single_head"),
    )
    assert dominant(found) == (
        "60 % of the time is in stages.1 (single-head attention), at 8 % of the roofline (bound by memory)"
    )


def test_by_layer_the_sentence_says_what_in_the_stage_does():
    found = breakdown(
        "layer",
        part("stem", 2, 1, "compute"),
        part("stages.0.blocks.0.mixer", 2.5, 0.3, "memory", "window"),
        part("stages.0.blocks.0.ffn", 1.0, 0.9, "compute"),
        part("stages.0.blocks.1.mixer", 1.5, 0.5, "compute", "window"),
        part("stages.0.blocks.1.ffn", 1.0, 0.9, "compute"),
        part("head", 2, 1, "compute"),
    )
    assert dominant(found) == (
        "60 % of the time is in stages.0, 40 % in its 2 mixers (window attention),"
        " at 20 % of the roofline (bound by compute)"
    )


def test_by_block_a_single_part_of_a_stage_is_named():
    found = breakdown(
        "block",
        part("stem", 2, 1, "compute"),
        part("stages.1.downsample", 6, 3, "compute"),
        part("stages.1.blocks.0", 2, 1, "compute", "conv"),
    )
    assert dominant(found) == (
        "80 % of the time is in stages.1, 60 % in its downsample, at 50 % of the roofline (bound by compute)"
    )


def profiled(latency: Latency | None, times: Breakdown | None) -> Profile:
    found = profile(MIXED, latency=False)
    return found.model_copy(update={"latency": latency, "breakdown": times})


def latency(**changes) -> Latency:
    known = {"median_ms": 2.0, "ci95_ms": (1.9, 2.1), "samples": 40, "stop": "converged", "conditions": CONDITIONS}
    return Latency.model_validate(known | changes)


def test_a_latency_comes_with_its_verdict_its_reason_and_its_conditions(capsys):
    told = latency(verdict="shared", reason="others took half of the core", drift=0.07, cores=(1,))
    print_profile(profiled(told, None), "stage")
    out = capsys.readouterr().out
    assert "verdict      shared, others took half of the core, sentinel +7.0 %" in out
    for word in ("AMD EPYC", "eager", "fp32", "batch 1", "threads 1", "core 1", "torch 2.13.0", "1.9 to 2.1 ms"):
        assert word in out
    print_profile(profiled(latency(verdict="ok"), None), "stage")
    assert "verdict      ok\n" in capsys.readouterr().out
    print_profile(profiled(latency(), None), "stage")
    assert "verdict" not in capsys.readouterr().out


def test_more_than_the_roofline_and_another_runtime_are_said(capsys):
    names = PARTS["stage"]
    fast = breakdown("stage", *(part(name, 1, 1.2 if name == "head" else 0.5, "memory") for name in names))
    other = latency(conditions=CONDITIONS.model_copy(update={"runtime": "onnxruntime"}))
    print_profile(profiled(other, fast), "stage")
    out = capsys.readouterr().out
    assert " 120 " in out
    assert "Over 100 %" in out
    assert "onnxruntime's" in out
    slow = breakdown("stage", *(part(name, 1, 0.5, "memory") for name in names))
    print_profile(profiled(latency(), slow), "stage")
    out = capsys.readouterr().out
    assert "Over 100 %" not in out
    assert "The latency is" not in out


def test_times_are_shown_beside_counts_and_the_slowest_part_is_marked(capsys):
    print_profile(profiled(latency(), break_down(with_slow_block(), by="block", time_limit_s=0.05)), "block")
    out = capsys.readouterr().out
    for word in ("Time, ms", "MACs, M", "Activations", "GMAC/s", "Roofline (%)", "Bound by", "left over", "GB/s"):
        assert word in out
    (slowest,) = (line for line in out.splitlines() if "◀ slowest" in line)
    assert slowest.startswith("stages.1.blocks.1 ")
    assert "% of the time is in stages.1, " in out.splitlines()[-1]


def test_json_has_the_times_with_their_units_and_none_without_latency(tmp_path):
    (tmp_path / "a.yaml").write_text(ARCHITECTURE)
    words = ("profile", "a.yaml", "--device", "cpu", "--json", "--by", "layer")
    found = json.loads(vitscape(*words, cwd=tmp_path, check=True).stdout)
    rows = found["by_layer"]
    assert [row["name"] for row in rows][1:3] == ["stages.0.blocks.0.mixer", "stages.0.blocks.0.ffn"]
    assert sum(row["time_percent"] for row in rows) == pytest.approx(100)
    assert sum(row["macs"] for row in rows) == found["macs"]
    for row in rows:
        assert row["time_ci95_ms"][0] <= row["time_ms"] <= row["time_ci95_ms"][1]
        assert row["roofline_percent"] == pytest.approx(100 * row["floor_ms"] / row["time_ms"])
        assert row["bound"] in ("compute", "memory")
    assert found["breakdown"]["runtime"] == "eager"
    assert found["breakdown"]["peaks"]["gmacs_per_s"] > 0
    counts = json.loads(vitscape(*words, "--no-latency", cwd=tmp_path, check=True).stdout)
    assert counts["breakdown"] is None
    assert set(counts["by_layer"][0]) == {"name", "macs", "params", "activations"}


# --- on a GPU


@on_gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_parts_of_a_gpu_s_passes_add_up_by_its_own_clock(precision):
    found = break_down(build(MIXED).fuse(), by="block", device="cuda", precision=precision, batch_size=64)
    assert [part.name for part in found.parts] == PARTS["block"]
    assert found.parts_ms == pytest.approx(found.stamped_ms, rel=0.3)
    assert found.peaks.gb_per_s > 100
    assert found.interrupted == 0
