"""Architectures and exported files side by side: one table, all of a batch size timed in turns."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from onnx import TensorProto

from explorer.bench import bench
from explorer.profile.latency import Contender, measure_in_turns
from explorer.profile.runtimes import RUNTIMES, Forward
from search_spaces.architecture import Architecture
from search_spaces.cost import cost
from tests.minis import ARCHITECTURE, Run, refuses
from tests.test_artefacts import SOURCE, exported, write_onnx

__all__ = ["exported"]  # the fixture

QUICK = ("--device", "cpu", "--time-limit", "0.05")
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an architecture file in the folder in which the command line runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(ARCHITECTURE)
    return "small.yaml"


def rows_of(run: Run, *words: str, status: int = 0) -> list[dict[str, Any]]:
    """The rows that are printed as JSON."""
    ended, out, err = run("bench", *words, *QUICK, "--json")
    assert ended == status, err
    found: list[dict[str, Any]] = json.loads(out)
    return found


def source(path: Path, forward: str, before: str = "") -> str:
    """Write a file of code whose network begins its forward pass with these lines; returns its name."""
    text = SOURCE.replace("import torch\n", f"import torch\n{before}\n", 1)
    lines = "".join(f"        {line}\n" for line in forward.splitlines())
    path.write_text(text.replace("forward(self, images):\n", f"forward(self, images):\n{lines}"))
    return path.name


def test_an_architecture_and_its_exported_files_stand_in_one_table(run: Run, small: str, exported: Path) -> None:
    files = [str(exported / f"net{suffix}") for suffix in (".onnx", ".pt2", ".py")]
    rows = rows_of(run, small, *files, "--batch-sizes", "1,3", "--out", "deep/rows.csv")
    once = [(small, "eager"), *zip(files, ("onnxruntime", "torch_export", "eager"), strict=True)]
    assert [(row["name"], row["runtime"]) for row in rows] == 2 * once
    assert [row["batch_size"] for row in rows] == [1] * 4 + [3] * 4
    assert [row["image_size"] for row in rows] == 2 * [16, 8, 8, 8]
    for row in rows:
        assert (row["error"], row["precision"], row["threads"], row["torch"]) == (None, "fp32", 1, torch.__version__)
        assert set(row["libraries"]) == ({"onnxruntime"} if row["runtime"] == "onnxruntime" else set())
        assert 0 < row["lo_ms"] <= row["median_ms"] <= row["hi_ms"]
        assert row["images_per_s"] == pytest.approx(row["batch_size"] / row["median_ms"] * 1000)
        reference = rows[0] if row["batch_size"] == 1 else rows[4]
        assert row["ratio"] == pytest.approx(row["median_ms"] / reference["median_ms"])
        assert row["ratio_lo"] <= row["ratio"] <= row["ratio_hi"]
        assert row["ratio_to"] == "small.yaml@eager"
    counts = cost(Architecture.load(Path(small)))
    assert (rows[0]["params"], rows[0]["macs"], rows[0]["file_bytes"]) == (counts.params_folded, counts.macs, None)
    assert [(row["macs"], row["file_bytes"]) for row in rows[1:4]] == [
        (None, Path(name).stat().st_size) for name in files
    ]

    with Path("deep/rows.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    assert [path.name for path in Path("deep").iterdir()] == ["rows.csv"]
    assert len(written) == len(rows)
    for cells, row in zip(written, rows, strict=True):
        assert list(cells) == list(row)
        assert json.loads(cells.pop("libraries")) == row.pop("libraries")
        assert cells == {name: "" if value is None else str(value) for name, value in row.items()}


def test_the_table_says_what_differs_and_under_what_it_was_measured(run: Run, small: str, tmp_path: Path) -> None:
    half = write_onnx(tmp_path / "half.onnx", kind=TensorProto.FLOAT16)
    status, out, err = run("bench", small, half, *QUICK, "--against", half, "--out", "a.csv")
    assert status == 0, err
    heading = " ".join(out.splitlines()[:2])
    for word in ("Network", "Precision", "Image", "Batch", "Latency", "Images/s", "ratio", "MACs", "File", "Verdict"):
        assert word in heading
    first, second = out.splitlines()[2:4]
    assert first.split()[:5] == [small, "eager", "fp32", "16", "1"]
    assert second.split()[:5] == [half, "onnxruntime", "fp16", "8", "1"]
    for words in ("of half.onnx@onnxruntime", "Images differ in size", "1 thread", "torch 2", "onnxruntime 1", "a.csv"):
        assert words in out
    assert "onnxruntime/b1" in err  # progress

    status, out, _ = run("bench", small, *QUICK)
    assert status == 0
    for word in ("Precision", "Image\n", "ratio", "File"):  # nothing differs, nothing to compare with
        assert word not in out
    assert "fp32 · 16 px" in out


def test_a_file_keeps_its_precision_and_code_takes_the_asked_one(run: Run, small: str, tmp_path: Path) -> None:
    net, half = source(tmp_path / "net.py", ""), write_onnx(tmp_path / "half.onnx", kind=TensorProto.FLOAT16)
    rows = rows_of(run, small, net, half, write_onnx(tmp_path / "single.onnx"), "--precision", "bf16")
    assert [row["precision"] for row in rows] == ["bf16", "bf16", "fp16", "fp32"]
    assert all(row["median_ms"] for row in rows)


def test_an_architecture_has_a_row_for_each_runtime_and_any_may_be_the_reference(run: Run, small: str) -> None:
    against = "small.yaml@onnxruntime"
    rows = rows_of(run, small, "--runtime", "eager,onnxruntime", "--against", against)
    assert [(row["runtime"], row["ratio"] == 1, row["ratio_to"]) for row in rows] == [
        ("eager", False, against),
        ("onnxruntime", True, against),
    ]


def test_what_cannot_run_keeps_its_row_and_the_others_go_on(run: Run, small: str, tmp_path: Path) -> None:
    two, picky = write_onnx(tmp_path / "two.onnx", (2, 3, 8, 8)), "assert len(images) < 3, 'two\\nat most'"
    names = [small, two, source(tmp_path / "picky.py", picky)]
    rows = rows_of(run, *names, "--batch-sizes", "2,3")
    assert [row["median_ms"] is not None for row in rows] == [True, True, True, True, False, False]
    assert [row["error"] is None for row in rows] == [row["median_ms"] is not None for row in rows]
    assert rows[4]["error"].startswith("batch-size=3: two.onnx takes batches of 2 alone")
    assert rows[5]["error"] == "AssertionError: two at most"
    assert [row["ratio_lo"] is None for row in rows] == [row["error"] is not None for row in rows]  # timed in turns


def test_without_the_reference_there_are_latencies_and_no_ratios(run: Run, small: str, tmp_path: Path) -> None:
    two = write_onnx(tmp_path / "two.onnx", (2, 3, 8, 8))
    rows = rows_of(run, two, small)
    assert [row["median_ms"] is not None for row in rows] == [False, True]
    assert [row["ratio"] for row in rows] == [None, None]


def test_where_nothing_can_run_the_status_is_1(run: Run, tmp_path: Path) -> None:
    two = write_onnx(tmp_path / "two.onnx", (2, 3, 8, 8))
    (row,) = rows_of(run, two, status=1)
    assert "batches of 2 alone" in row["error"]
    status, out, _ = run("bench", two, *QUICK)
    assert (status, "takes batches of 2 alone" in out) == (1, True)


def test_what_has_no_room_gets_a_row_that_says_so(run: Run, small: str, tmp_path: Path) -> None:
    forward = "if len(images) > 1:\n    torch.empty(2**60)"
    rows = rows_of(run, small, source(tmp_path / "large.py", forward), "--batch-size", "2")
    assert [row["error"] for row in rows] == [None, "out of memory"]


def test_what_has_no_room_beside_the_others_is_timed_by_itself(run: Run, small: str, tmp_path: Path) -> None:
    forward = "times.append(len(images))\nif times.count(2) == 1:\n    raise MemoryError"
    name = source(tmp_path / "tight.py", forward, "times = []")
    rows = rows_of(run, small, name, "--batch-size", "2")
    assert [row["error"] for row in rows] == [None, None]
    assert rows[1]["ratio"] == pytest.approx(rows[1]["median_ms"] / rows[0]["median_ms"])
    assert rows[1]["ratio_lo"] is None  # not in turns with its reference


def test_what_fails_while_it_is_timed_takes_no_other_with_it(run: Run, small: str, tmp_path: Path) -> None:
    forward = "times.append(1)\nif len(times) > 20:\n    raise RuntimeError('worn out')"
    rows = rows_of(run, small, source(tmp_path / "worn.py", forward, "times = []"))
    assert [row["error"] for row in rows] == [None, "RuntimeError: worn out"]
    assert rows[0]["median_ms"] > 0


def test_an_interruption_ends_with_130_and_keeps_what_is_finished(run: Run, small: str, tmp_path: Path) -> None:
    name = source(tmp_path / "stop.py", "if len(images) == 2:\n    raise KeyboardInterrupt")
    status, out, err = run("bench", small, name, *QUICK, "--batch-sizes", "1,2", "--out", "a.csv")
    assert (status, out) == (130, "")
    assert "interrupted: the batch sizes that are finished are in a.csv" in err
    with Path("a.csv").open(newline="") as file:
        assert [row["batch_size"] for row in csv.DictReader(file)] == ["1", "1"]


def test_bad_input_is_refused_before_anything_is_timed(
    run: Run, small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> Forward:
        raise AssertionError("something was prepared")

    for name in ("eager", "onnxruntime"):
        monkeypatch.setitem(RUNTIMES, name, RUNTIMES[name].__class__(never, RUNTIMES[name].libraries, {"cpu": {}}))
    (tmp_path / "broken.onnx").write_text("junk")
    (tmp_path / "none.py").write_text("x = 1")
    (tmp_path / "net.tflite").write_text("x")
    (tmp_path / "huge.yaml").write_text(ARCHITECTURE.replace("width: 8", f"width: {2**40}"))
    (tmp_path / "other.csv").write_text("name,score\nann,3\n")
    write_onnx(tmp_path / "pair.onnx", inputs=("left", "right"))
    for words, told in (
        (["broken.onnx"], "broken.onnx: cannot be read as ONNX"),
        (["pair.onnx"], "it takes left, right and gives scores"),
        (["none.py"], "must define `class Network"),
        (["gone.pt2"], "gone.pt2: there is no such file"),
        (["net.tflite"], ".yaml, .yml, .json, .onnx, .pt2, .py"),
        (["swin_x"], "did you mean"),
        (["huge.yaml"], "huge.yaml"),
        ([small], "small.yaml: given twice"),
        (["--against", "swin_t"], "against=swin_t: not among what is timed; use one of small.yaml@eager"),
        (["--out", "rows.parquet"], "must end in .csv"),
        (["--out", "other.csv"], "other.csv: holds something else"),
        (["--runtime", "abacus"], "abacus"),
        (["--batch-sizes", "1,0"], "batch_size=0"),
        (["--threads", "5000"], "threads=5000"),
        (["--device", "tpu"], "tpu"),
    ):
        assert told in refuses(run, "bench", small, *QUICK, *words)
    assert (tmp_path / "other.csv").read_text() == "name,score\nann,3\n"


def test_contenders_are_timed_in_turns_each_under_conditions_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITSCAPE_LEASES", str(Path.cwd() / "leases"))

    def adding(times: int) -> Callable[[torch.Tensor], Forward]:
        return lambda example: lambda: [example + 1 for _ in range(times)]

    plain = Contender(adding(3), 4, 2, "eager", "fp32", {})
    other = Contender(adding(30), 6, 1, "abacus", "fp16", {"beads": "2"})
    first, second = measure_in_turns([plain, other], batch_size=2, time_limit_s=0.1)
    assert first is not None
    assert second is not None
    conditions = [timed.latency.conditions for timed in (first, second)]
    assert [(c.runtime, c.precision, c.image_size, c.libraries) for c in conditions] == [
        ("eager", "fp32", 4, {}),
        ("abacus", "fp16", 6, {"beads": "2"}),
    ]
    rounds = list(zip(first.blocks, second.blocks, strict=False))
    assert len(rounds) >= 6
    assert all(one.at + 1 == two.at for one, two in rounds)  # the sentinel's block alone is between them


def test_in_python_it_is_the_same_function(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITSCAPE_LEASES", str(Path.cwd() / "leases"))
    (row,) = bench([Path(small)], batch_sizes=[2], device="cpu", time_limit_s=0.05)
    assert row.full_name == "small.yaml@eager"
    assert row.latency is not None
    assert row.latency.conditions.batch_size == 2


@on_gpu
def test_a_gpu_runs_architectures_and_exported_files(run: Run, small: str, exported: Path) -> None:
    files = [str(exported / f"net{suffix}") for suffix in (".onnx", ".pt2", ".py")]
    words = (small, *files, "--runtime", "eager,cuda_graph", "--batch-sizes", "1,32", "--device", "cuda", "--json")
    status, out, err = run("bench", *words, "--time-limit", "1")
    assert status == 0, err
    assert [row["error"] for row in json.loads(out)] == [None] * 10
