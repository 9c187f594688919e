"""Any device: architectures timed into a file, files joined to a study, and a study's front measured again."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from explorer import results
from explorer.attach import attach
from explorer.measured import added_latencies
from explorer.measurements import COLUMNS, FORMATS, Measurement, read_measurements, write_measurements
from explorer.profile.latency import PROTOCOL, device_name
from explorer.profile.lease import exclusive
from explorer.profile.runtimes import RUNTIMES, Forward, NetworkRefused
from explorer.record import Conditions, DeviceState, Latency, Precision
from explorer.storage import load_study, study_key, study_record, writable_study
from search_spaces.architecture import Architecture
from search_spaces.errors import InputError
from tests.minis import ARCHITECTURE, Run, environment, refuses, vitscape
from tests.studies import add, evaluation, new_study

ROOT = Path(__file__).parent.parent
QUICK = ("--device", "cpu", "--time-limit", "0.05")
HERE = Conditions(
    device="cpu",
    device_name=device_name(torch.device("cpu")),
    runtime="eager",
    precision="fp32",
    batch_size=1,
    image_size=16,
    threads=1,
    torch=torch.__version__,
)
GPU = HERE.model_copy(update={"device": "cuda", "device_name": "NVIDIA H200", "precision": "fp16", "threads": None})
GPU_NAME = "latency@nvidia_h200/eager/fp16/b1"
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VITSCAPE_CACHE", str(tmp_path / "cache"))


def architecture(width: int = 8) -> Architecture:
    data = {"format": "vitscape/architecture@1", "image_size": 16, "classes": 10}
    stages = [{"width": width, "depth": 1, "mixer": {"kind": "none"}}]
    return Architecture.from_dict(data | {"stem": {"kind": "patch", "stride": 4}, "stages": stages})


def files(folder: Path, *widths: int) -> list[str]:
    for width in widths:
        (folder / f"w{width}.yaml").write_text(architecture(width).to_yaml())
    return [f"w{width}.yaml" for width in widths]


def latency(ms: float, conditions: Conditions = GPU, **changes: Any) -> Latency:
    values: dict[str, Any] = {"ci95_ms": (0.98 * ms, 1.03 * ms), "samples": 30, "stop": "converged", "verdict": "ok"}
    return Latency(median_ms=ms, conditions=conditions, **(values | changes))


def measurement(width: int, ms: float, conditions: Conditions = GPU, **changes: Any) -> Measurement:
    made, timed = architecture(width), latency(ms, conditions)
    values: dict[str, Any] = {"id": made.id, "architecture": made.canonical.to_dict(), "latency": timed}
    values |= {"name": None, "source": f"w{width}.yaml", "conditions": conditions}
    return Measurement(**(values | changes))


def trusted(row: Measurement) -> Measurement:
    """A row whose latency nobody doubts, however busy this machine is."""
    assert row.latency is not None
    return row.model_copy(update={"latency": row.latency.model_copy(update={"verdict": "ok", "reason": ""})})


# --- measuring -------------------------------------------------------------------------------------------------------


def test_measure_times_every_batch_size_and_goes_on_where_it_was(run: Run, tmp_path: Path) -> None:
    words = ["measure", *files(tmp_path, 8, 12), "--out", "deep/gpu.parquet", *QUICK, "--batch-sizes", "1,3"]
    status, out, err = run(*words, "--json")
    rows = json.loads(out)
    assert status == 0
    assert [(row["source"], row["conditions"]["batch_size"]) for row in rows] == [
        ("w8.yaml", 1),
        ("w8.yaml", 3),
        ("w12.yaml", 1),
        ("w12.yaml", 3),
    ]
    assert all(row["latency"]["median_ms"] > 0 and row["error"] is None for row in rows)
    assert rows[0]["id"] == architecture(8).id
    path = tmp_path / "deep/gpu.parquet"
    assert [row.model_dump(mode="json") for row in read_measurements(path)] == rows
    assert [p.name for p in path.parent.iterdir()] == [path.name]

    write_measurements(path, [trusted(row) for row in read_measurements(path)])
    before = path.read_bytes()
    status, out, err = run(*words)
    assert status == 0
    assert path.read_bytes() == before
    assert "4 of 4 latencies are in the file already" in err
    assert "w12.yaml" in out
    assert run("measure", *files(tmp_path, 16), "--out", str(path), *QUICK)[0] == 0  # the other rows stay
    assert len(read_measurements(path)) == 5


def test_presets_are_measured_by_their_names(run: Run, tmp_path: Path) -> None:
    status, out, _ = run("measure", "shvit_s1", "--out", "a.csv", *QUICK)
    assert status == 0
    assert "shvit_s1" in out
    with (tmp_path / "a.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert list(row) == list(COLUMNS)
    assert float(row["lo_ms"]) <= float(row["median_ms"]) <= float(row["hi_ms"])
    assert (row["name"], row["image_size"]) == ("shvit_s1", "224")


def test_killing_it_loses_at_most_the_latency_under_way(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "explorer.cli", "measure", *files(tmp_path, 8), "--out", "a.jsonl", *QUICK]
    command += ["--batch-sizes", ",".join(map(str, range(1, 41)))]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    path = tmp_path / "a.jsonl"
    while not (path.exists() and read_measurements(path)) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = [trusted(row) for row in read_measurements(path)]
    assert 1 <= len(before) < 40
    write_measurements(path, before)
    vitscape(*command[3:-1], f"{len(before)},{len(before) + 1}", cwd=tmp_path, check=True)
    after = read_measurements(path)
    assert after[:-1] == before
    assert after[-1].conditions.batch_size == len(before) + 1


def test_what_cannot_be_measured_is_refused_before_anything_is_timed(run: Run, tmp_path: Path) -> None:
    (good,) = files(tmp_path, 8)
    (tmp_path / "again.yaml").write_text(architecture(8).to_yaml() + "name: other\n")
    (tmp_path / "bad.yaml").write_text(ARCHITECTURE.replace("heads: 2", "heads: 3"))
    (tmp_path / "huge.yaml").write_text(architecture(8).to_yaml().replace("width: 8", f"width: {2**40}"))
    (tmp_path / "text.yaml").write_text("hello")
    for name, fragment in (
        ("again.yaml", "the same architecture as w8.yaml"),
        ("bad.yaml", "heads"),
        ("huge.yaml", ""),
        ("text.yaml", "mapping"),
        ("missing.yaml", "missing.yaml"),
        ("swin_x", "did you mean"),
    ):
        line = refuses(run, "measure", good, name, "--out", "a.csv", *QUICK)
        assert name in line
        assert fragment in line
    for options, fragment in (
        (["--out", "a.txt"], ".csv, .jsonl, .parquet"),
        (["--out", "a.csv", "--time-limit", "0"], "time-limit=0"),
        (["--out", "a.csv", "--batch-sizes", "1,0"], "batch_size=0"),
        (["--out", "a.csv", "--runtime", "abacus"], "abacus"),
        (["--out", "a.csv", "--device", "tpu"], "tpu"),
        (["--out", "a.csv", "--threads", "5000"], "threads=5000"),
    ):
        assert fragment in refuses(run, "measure", good, *QUICK, *options)
    assert not (tmp_path / "a.csv").exists() or read_measurements(tmp_path / "a.csv") == []
    os.rename(good, b"w\xff.yaml")
    assert "not UTF-8" in refuses(run, "measure", os.fsdecode(b"w\xff.yaml"), "--out", "a.csv", *QUICK)


@pytest.fixture
def fails_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Exception], None]:
    """Makes the runtime eager raise an error for networks of this width."""

    def install(width: int, error: Exception) -> None:
        eager = RUNTIMES["eager"]

        def prepare(model: torch.nn.Module, example: torch.Tensor, precision: Precision) -> Forward:
            if any(parameter.shape[0] == width for parameter in model.parameters()):
                raise error
            return eager.prepare(model, example, precision)

        monkeypatch.setitem(RUNTIMES, "eager", replace(eager, prepare=prepare))

    return install


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (NetworkRefused("this network cannot be captured"), "this network cannot be captured"),
        (Exception("[ONNXRuntimeError] : 1 : FAIL\nnode 3"), "Exception: [ONNXRuntimeError] : 1 : FAIL node 3"),
        (RuntimeError("shape mismatch"), "RuntimeError: shape mismatch"),
    ],
)
def test_a_network_that_fails_ends_nothing(
    run: Run, tmp_path: Path, fails_at: Callable[[int, Exception], None], error: Exception, told: str
) -> None:
    words = ["measure", *files(tmp_path, 12, 8), "--out", "a.csv", *QUICK]
    fails_at(12, error)
    for _ in range(2):  # the same command goes on as it did
        assert run(*words)[0] == 0
        failed, good = read_measurements(tmp_path / "a.csv")
        assert told in (failed.error or "")
        assert failed.latency is None
        assert good.latency is not None
    noisy = latency(2.0, HERE, verdict=None)
    write_measurements(tmp_path / "a.csv", [measurement(12, 2.0, HERE, latency=noisy)])
    assert run(*words)[0] == 0
    assert read_measurements(tmp_path / "a.csv")[0].latency == noisy  # finished work is kept


def test_options_that_cannot_be_had_leave_no_rows(
    run: Run, tmp_path: Path, fails_at: Callable[[int, Exception], None]
) -> None:
    (good,) = files(tmp_path, 8)
    path = tmp_path / "a.csv"
    write_measurements(path, [measurement(8, 2.0)])
    before = path.read_bytes()
    assert "threads=5000" in refuses(run, "measure", good, "--out", "a.csv", *QUICK, "--threads", "5000")
    fails_at(8, InputError("precision=bf16 does not run on cpu; use fp32"))
    assert "use fp32" in refuses(run, "measure", good, "--out", "a.csv", *QUICK, "--precision", "bf16")
    assert path.read_bytes() == before


def test_what_is_doubtful_or_of_other_versions_is_measured_again(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    doubtful = latency(2.0, HERE, verdict="throttled", ci95_ms=(0.1, 100.0))
    other = HERE.model_copy(update={"libraries": {"onnxruntime": "1.0"}})
    rows = [
        measurement(8, 2.0, HERE, latency=doubtful),
        measurement(12, 2.0, other),
        measurement(16, 2.0, HERE, latency=latency(2.0, HERE, verdict="noisy", ci95_ms=(2.0, 2.0))),
    ]
    write_measurements(path, rows)
    assert run("measure", *files(tmp_path, 8, 12, 16), "--out", "a.jsonl", *QUICK)[0] == 0
    found = read_measurements(path)
    assert len(found) == 4
    again, beside, best = ([row for row in found if row.id == architecture(width).id] for width in (8, 12, 16))
    assert again[0].latency != doubtful
    assert [row.conditions.libraries for row in beside] == [{"onnxruntime": "1.0"}, {}]
    assert best[0].latency is not None
    assert best[0] == rows[2] or best[0].latency.verdict == "ok"  # the better of the two


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "name,score\nann,3\n"),
        ("a.csv", "name,score\n"),
        ("a.csv", "dear diary\n"),
        ("a.jsonl", '{"name": "ann"}\n'),
        ("a.jsonl", "[1]\n"),
        ("a.parquet", "PAR1 is how it begins"),
        ("a.csv", b"\xff\xfe\x00"),
    ],
)
def test_a_file_of_another_kind_is_never_overwritten(run: Run, tmp_path: Path, name: str, content: str | bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = path.read_bytes()
    assert name in refuses(run, "measure", *files(tmp_path, 8), "--out", name, *QUICK)
    assert path.read_bytes() == before


def test_a_network_without_room_in_memory_gets_an_error_in_its_row(tmp_path: Path) -> None:
    (tmp_path / "large.yaml").write_text(architecture(8).to_yaml().replace("image_size: 16", "image_size: 8192"))
    words = ["measure", *files(tmp_path, 8), "large.yaml", "w12.yaml", "--out", "a.csv", *QUICK]
    words += ["--batch-sizes", "64", "--json"]  # of the large one 51 GB of images
    files(tmp_path, 12)
    code = (
        "import resource, sys\nfrom explorer.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**35, 2**35))\n"
        f"sys.argv = ['vitscape', *{words!r}]\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    rows = {row["source"]: row for row in json.loads(done.stdout)}
    assert rows["large.yaml"]["error"] == "out of memory"
    assert rows["large.yaml"]["latency"] is None
    assert rows["w8.yaml"]["latency"] is not None
    assert rows["w12.yaml"]["latency"] is not None
    assert [row.error for row in read_measurements(tmp_path / "a.csv")] == [None, "out of memory", None]


def test_measuring_needs_neither_optuna_nor_pandas(tmp_path: Path) -> None:
    files(tmp_path, 8)
    absent = ("optuna", "pandas", "ray", "sklearn", "moocore", "fvcore", "scipy", "sqlalchemy", "pyarrow", "streamlit")
    words = ["vitscape", "measure", "w8.yaml", *QUICK, "--out"]
    code = (
        f"import sys\nfor name in {absent!r}: sys.modules[name] = None\nfrom explorer.cli import main\n"
        f"for out in ('a.csv', 'a.jsonl', 'a.parquet'):\n    sys.argv = [*{words!r}, out]\n"
        "    try: main()\n    except SystemExit as ended: print(out, ended.code)\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True)
    for expected in ("a.csv 0", "a.jsonl 0", "a.parquet 2"):
        assert expected in done.stdout.splitlines(), done.stderr
    assert "pyarrow" in done.stderr
    assert ".csv" in done.stderr
    for name in ("a.csv", "a.jsonl"):
        assert len(read_measurements(tmp_path / name)) == 1


@on_gpu
def test_a_gpu_is_measured_and_runs_out_of_memory_in_a_row(run: Run, tmp_path: Path) -> None:
    words = ["measure", "swin_t", "--out", "a.parquet", "--device", "cuda", "--time-limit", "1", "--json"]
    status, out, _ = run(*words, "--precision", "fp16", "--batch-sizes", "1,65536", "--runtime", "eager,cuda_graph")
    rows = json.loads(out)
    assert status == 0
    assert [row["error"] for row in rows] == [None, "out of memory", None, "out of memory"]
    assert rows[0]["conditions"]["driver"]


# --- the file --------------------------------------------------------------------------------------------------------

texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=12)


@st.composite
def rows_of_files(draw: st.DrawFn) -> Measurement:
    conditions = GPU.model_copy(
        update={
            "device_name": draw(st.sampled_from(["NVIDIA H200", 'Quoted "Chip", 4 cores', "AMD EPYC"])),
            "runtime": draw(st.sampled_from(["eager", "cuda_graph"])),
            "batch_size": draw(st.integers(1, 512)),
            "threads": draw(st.none() | st.integers(1, 8)),
        }
    )
    width, ms, source = draw(st.sampled_from([8, 12])), draw(st.floats(1e-3, 1e4)), draw(texts)
    if draw(st.booleans()):
        return measurement(width, ms, conditions, source=source, latency=None, error=draw(texts))
    libraries = draw(st.dictionaries(st.sampled_from(["cuda", "cudnn"]), texts, max_size=2))
    conditions = conditions.model_copy(update={"libraries": libraries})
    timed = latency(ms, conditions, reason=draw(texts), state=DeviceState(clock_mhz=(100, 1980)))
    return measurement(width, ms, conditions, source=source, latency=timed)


@pytest.mark.parametrize("suffix", sorted(FORMATS))
@given(rows=st.lists(rows_of_files(), max_size=4, unique_by=lambda row: row.key))
def test_what_is_written_is_read_again(rows: list[Measurement], suffix: str, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.getbasetemp() / f"rows{suffix}"
    write_measurements(path, rows)
    assert read_measurements(path) == rows


def cells_of(row: Measurement) -> dict[str, Any]:
    return {name: "" if value is None else value for name, value in row.cells().items()}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("format", "other/format@1"),
        ("format", ""),
        ("id", ""),
        ("id", "0123456789abcdef"),
        ("architecture", "{"),
        ("architecture", "[" * 5000),
        ("architecture", '{"format": "vitscape/architecture@1"}'),
        ("latency", "{}"),
        ("latency", '{"median_ms": NaN}'),
        ("latency", ""),
        ("latency", lambda text: text.replace('"median_ms":2.0', '"median_ms":-2.0')),
        ("latency", lambda text: text.replace('"ci95_ms":[1.96', '"ci95_ms":[-1.96')),
        ("latency", lambda text: text.replace('"ci95_ms":[1.96', '"ci95_ms":[2.5')),
        ("latency", lambda text: text.replace('"samples":30', '"samples":"many"')),
        ("architecture", ""),
        ("latency", lambda text: text.replace("{", '{"extra":1,', 1)),
        ("median_ms", "1.5"),
        ("hi_ms", "fast"),
        ("batch_size", "32"),
        ("device_name", "NVIDIA B200"),
        ("verdict", "noisy"),
    ],
)
def test_a_row_that_is_wrong_is_told_by_file_row_and_column(tmp_path: Path, column: str, value: Any) -> None:
    rows = [cells_of(measurement(width, 2.0)) for width in (8, 12)]
    rows[1][column] = value(rows[1][column]) if callable(value) else value
    path = tmp_path / "gpu.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(InputError) as error:
        read_measurements(path)
    assert str(error.value).startswith(f"{path}, row 2, column {column}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("column", "number"), [("image_size", 32), ("batch_size", 10**400), ("threads", 10**400)])
def test_conditions_that_cannot_be_are_told_by_row_and_column(tmp_path: Path, column: str, number: int) -> None:
    timed = latency(2.0, GPU.model_copy(update={column: number}))
    rows = [measurement(8, 2.0), measurement(8, 2.0, timed.conditions)]
    write_measurements(tmp_path / "a.jsonl", rows)
    with pytest.raises(InputError, match=f"row 2, column {column}: ") as error:
        read_measurements(tmp_path / "a.jsonl")
    assert "\n" not in str(error.value)
    cells = measurement(8, 2.0).cells() | {"batch_size": 10**400}
    (tmp_path / "a.jsonl").write_text(json.dumps(cells))
    with pytest.raises(InputError, match="row 1, column batch_size: "):
        read_measurements(tmp_path / "a.jsonl")


def test_a_damaged_parquet_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_measurements(path, [measurement(8, 2.0)])
    whole, told = path.read_bytes(), []
    for position in range(len(whole) - 1300, len(whole) - 1100):  # pyarrow's NotImplementedError among what it raises
        damaged = bytearray(whole)
        damaged[position] ^= 16
        path.write_bytes(damaged)
        try:
            read_measurements(path)
        except InputError as error:
            told.append(str(error))
    assert len(told) > 20
    assert not any("\n" in line for line in told)


def test_ids_are_text_in_parquet_too(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    row = measurement(8, 2.0).cells() | {"id": 1234567890123456}
    parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "gpu.parquet")
    with pytest.raises(InputError, match="row 1, column id: 1234567890123456"):
        read_measurements(tmp_path / "gpu.parquet")


# --- attaching -------------------------------------------------------------------------------------------------------


def study_here(path: Path, *points: tuple[int, float, float], verdict: str = "ok") -> optuna.Study:
    """A study of (width, accuracy, ms), measured on this machine."""
    study = new_study(path, "s")
    own = HERE.model_dump(include={"device", "device_name", "precision", "threads", "torch"})
    conditions = own | {"runtimes": ["eager"], "batch_sizes": [1], "protocol": PROTOCOL}
    study.set_user_attr("vitscape", study_record(study) | {"conditions": conditions})
    for width, accuracy, ms in points:
        made = architecture(width)
        known = evaluation(accuracy, ms).model_copy(update={"latency": latency(ms, HERE, verdict=verdict)})
        add(study, "complete", known, id=made.id, architecture=made.canonical.to_dict())
    return study


def test_attached_latencies_are_a_front_of_their_own(run: Run, tmp_path: Path) -> None:
    study_here(tmp_path / "s.db", (8, 50, 1.0), (12, 60, 2.0), (16, 70, 3.0))
    write_measurements(tmp_path / "a.csv", [measurement(8, 9.0), measurement(12, 2.0), measurement(99, 1.0)])
    rows = [measurement(16, 5.0), measurement(8, 1.0, latency=None, error="out of memory")]
    write_measurements(tmp_path / "b.parquet", rows)
    status, out, _ = run("attach", "a.csv", "b.parquet", "--storage", "s.db", "--json")
    assert status == 0
    assert json.loads(out) == {
        "architectures": 3,
        "latencies": 3,
        "replaced": 0,
        "doubtful": 0,
        "strangers": 1,
        "failed": 1,
        "names": [GPU_NAME],
    }
    front = json.loads(run("front", "--objectives", f"accuracy,{GPU_NAME}", "--json")[1])
    assert [(row["number"], row[GPU_NAME.replace("latency", "latency_ms")]) for row in front] == [(1, 2.0), (2, 5.0)]
    assert [row["number"] for row in json.loads(run("front", "--json")[1])] == [0, 1, 2]  # the study's own, as before
    assert "nvidia_h200" in run("front", "--objectives", f"accuracy,{GPU_NAME}")[1]
    assert "not measured" in refuses(run, "front", "--objectives", "accuracy,latency@nvidia_b200/eager/fp16/b1")

    write_measurements(tmp_path / "c.jsonl", [measurement(8, 0.5)])
    status, out, _ = run("attach", "c.jsonl")
    assert "1 of them in the place of older ones" in out
    front = json.loads(run("front", "--objectives", f"accuracy,{GPU_NAME}", "--json")[1])
    assert [row["number"] for row in front] == [0, 1, 2]


def test_attaching_the_same_again_changes_nothing(tmp_path: Path) -> None:
    study, rows = study_here(tmp_path / "s.db", (8, 50, 1.0)), [measurement(8, 9.0), measurement(8, 8.0, HERE)]
    attach(study, rows)
    first = added_latencies(study)
    assert attach(study, rows).replaced == 2
    assert added_latencies(study) == first
    assert results.frame(study)["latency_ms"].tolist() == [8.0]  # measured again under the study's own conditions


def test_nothing_is_attached_where_one_row_is_wrong(run: Run, tmp_path: Path) -> None:
    study_here(tmp_path / "s.db", (8, 50, 1.0))
    write_measurements(tmp_path / "good.csv", [measurement(8, 9.0)])
    (tmp_path / "bad.csv").write_text((tmp_path / "good.csv").read_text().replace(architecture(8).id, "x"))
    assert "bad.csv, row 1, column id" in refuses(run, "attach", "good.csv", "bad.csv", "--storage", "s.db")
    assert "no such file" in refuses(run, "attach", "none.csv", "--storage", "s.db")
    assert added_latencies(load_study("s", str(tmp_path / "s.db"))) == {}


def test_latencies_of_different_versions_never_share_a_column(run: Run, tmp_path: Path) -> None:
    study = study_here(tmp_path / "s.db", (8, 50, 1.0), (12, 60, 2.0), (16, 70, 3.0))
    old, new = (GPU.model_copy(update={"torch": version}) for version in ("2.12.0", "2.13.0"))
    write_measurements(tmp_path / "old.csv", [measurement(8, 9.0, old)])
    write_measurements(tmp_path / "new.csv", [measurement(8, 4.0, new), measurement(12, 5.0, new)])
    run("attach", "old.csv", "--storage", "s.db")
    attach(study, [measurement(8, 7.0, HERE)])  # measured again, under the study's own conditions
    attach(study, [measurement(8, 6.0, HERE.model_copy(update={"torch": "1.0"}))])  # the same key, another torch
    assert json.loads(run("attach", "new.csv", "--json")[1])["names"] == [GPU_NAME]
    table = results.frame(load_study("s", str(tmp_path / "s.db")))
    other = GPU_NAME.replace("h200", "h200-2")
    column = GPU_NAME.replace("latency", "latency_ms")
    assert table[column].tolist()[:2] == [4.0, 5.0]
    assert table[column.replace("h200", "h200-2")].dropna().tolist() == [9.0]
    assert table["latency_ms"].tolist() == [7.0, 2.0, 3.0]
    assert results.conditions(table, other) == "nvidia_h200-2 · eager · fp16 · batch 1 · torch 2.12.0"
    assert results.coverage(table, GPU_NAME) == "measured: 2 of 3 complete trials"
    assert [row["number"] for row in json.loads(run("front", "--objectives", f"accuracy,{other}", "--json")[1])] == [0]


def test_attach_tells_the_names_that_front_takes(run: Run, tmp_path: Path) -> None:
    study_here(tmp_path / "s.db", (8, 50, 1.0), (12, 60, 2.0))
    write_measurements(tmp_path / "a.csv", [measurement(8, 0.5, HERE), measurement(8, 3.0)])
    out = run("attach", "a.csv", "--storage", "s.db")[1]
    commands = [line.partition("; see vitscape ")[2] for line in out.splitlines() if "; see vitscape " in line]
    assert commands == ["front --objectives accuracy,latency", f"front --objectives accuracy,{GPU_NAME}"]
    assert "measured: 1 of 2 complete trials" in out
    for command in commands:
        assert run(*command.split())[0] == 0


def test_a_doubtful_latency_displaces_none_that_is_not(run: Run, tmp_path: Path) -> None:
    study = study_here(tmp_path / "s.db", (8, 50, 1.0))
    doubtful = [
        measurement(8, ms, where, latency=latency(ms, where, verdict="noisy")) for ms, where in ((9, HERE), (9, GPU))
    ]
    write_measurements(tmp_path / "a.csv", doubtful)
    for _ in range(2):
        assert "2 are doubtful" in run("attach", "a.csv", "--storage", "s.db")[1]
        assert results.frame(study)["latency_ms"].tolist() == [1.0]
    column = GPU_NAME.replace("latency", "latency_ms")
    assert results.frame(study)[column].tolist() == [9.0]
    attach(study, [measurement(8, 4.0), *doubtful])
    assert results.frame(study)[column].tolist() == [4.0]
    attach(study, [measurement(8, 5.0, HERE)])
    assert results.frame(study)["latency_ms"].tolist() == [5.0]


def test_measurements_of_other_architectures_alone_are_refused(run: Run, tmp_path: Path) -> None:
    study_here(tmp_path / "s.db", (8, 50, 1.0))
    write_measurements(tmp_path / "a.csv", [measurement(99, 1.0)])
    assert "of architectures that no trial has" in refuses(run, "attach", "a.csv", "--storage", "s.db")


def test_a_kept_latency_that_cannot_be_read_is_one_line(run: Run, tmp_path: Path) -> None:
    study = study_here(tmp_path / "s.db", (8, 50, 1.0))
    attach(study, [measurement(8, 9.0)])
    name = f"vitscape_latency:{architecture(8).id}"
    for broken in ([{**study.user_attrs[name][0], "colour": "red"}], 5, "text"):
        study.set_user_attr(name, broken)
        assert name in refuses(run, "trials", "--storage", "s.db")


def test_two_that_attach_at_once_lose_nothing_and_a_search_hinders_neither(tmp_path: Path) -> None:
    study_here(tmp_path / "s.db", (8, 50, 1.0))
    url = str(tmp_path / "s.db")

    def attach_some(start: int) -> None:
        study = writable_study("s", url)
        for size in range(start, 20, 2):
            attach(study, [measurement(8, 9.0, GPU.model_copy(update={"batch_size": size}))])

    with exclusive(study_key(load_study("s", url))), ThreadPoolExecutor() as pool:
        for done in [pool.submit(attach_some, start) for start in (1, 2)]:
            done.result(timeout=60)
    (kept,) = added_latencies(load_study("s", url)).values()
    assert sorted(one.conditions.batch_size for one in kept) == list(range(1, 20))


def test_attaching_needs_a_study_that_is_there(run: Run, tmp_path: Path) -> None:
    write_measurements(tmp_path / "a.csv", [measurement(8, 9.0)])
    assert "does not exist" in refuses(run, "attach", "a.csv", "--storage", "none.db")
    assert not (tmp_path / "none.db").exists()
    study_here(tmp_path / "s.db", (8, 50, 1.0))
    assert "no study 'other'" in refuses(run, "attach", "a.csv", "--storage", "s.db", "--study", "other")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_storage_that_cannot_be_written_to_is_refused(run: Run, tmp_path: Path) -> None:
    study_here(tmp_path / "s.db", (8, 50, 1.0))
    (tmp_path / "s.db").chmod(0o444)
    write_measurements(tmp_path / "a.csv", [measurement(8, 9.0)])
    assert "cannot be written to" in refuses(run, "attach", "a.csv", "--storage", "s.db")


# --- the front, and measuring it again -------------------------------------------------------------------------------


def test_the_front_tells_how_sure_it_is_and_what_ties_with_it(run: Run, tmp_path: Path) -> None:
    study_here(tmp_path / "s.db", (8, 50, 1.0), (12, 50, 1.02), (16, 70, 3.0), (20, 60, 5.0))
    rows = json.loads(run("front", "--storage", "s.db", "--json")[1])
    told = [(row["number"], row["on_front"], row["ties"]) for row in rows]
    assert told == [(0, True, []), (2, True, []), (1, False, [0])]
    assert rows[0]["probability"] + rows[2]["probability"] == pytest.approx(1)
    assert rows[0]["probability"] > 0.6
    assert rows[1]["probability"] == 1
    out = run("front")[1]
    assert "On front" in out
    assert "cannot be told from it" in out
    assert "≈ 0" in out


@pytest.mark.parametrize("before", ["ok", "noisy"])
def test_a_front_measured_again_is_kept_and_told(run: Run, tmp_path: Path, before: str) -> None:
    study_here(tmp_path / "s.db", (8, 50, 2000.0), (12, 60, 1000.0), (16, 40, 3000.0), verdict=before)
    words = ("front", "--storage", "s.db", "--remeasure", "--time-limit", "0.2")
    status, out, _ = run(*words, "--json")
    found = json.loads(out)
    assert status == 0
    assert [(one["number"], one["key"], one["before_ms"]) for one in found["again"]] == [(1, "eager/b1", 1000.0)]
    (again,) = found["again"]
    assert again["latency"]["median_ms"] < 100
    assert again["kept"] == (again["latency"]["verdict"] == "ok" or before == "noisy")
    shown = results.frame(load_study("s", str(tmp_path / "s.db"))).set_index("number")["latency_ms"]
    assert shown[1] == (again["latency"]["median_ms"] if again["kept"] else 1000.0)
    assert found["front"][0]["latency_ms"] == pytest.approx(shown[1])
    assert shown[0] == 2000.0
    status, out, _ = run(*words)
    assert status == 0
    assert "Measured again" in out
    assert "Pareto front of s" in out


def test_only_what_measured_the_study_measures_its_front_again(run: Run, tmp_path: Path) -> None:
    study = study_here(tmp_path / "s.db", (8, 50, 2.0))
    record = study_record(study)
    for change, fragment in (
        ({"device_name": "Other CPU"}, "device Other CPU"),
        ({"torch": "1.0"}, "torch 1.0"),
        ({"protocol": 1}, "another protocol"),
    ):
        study.set_user_attr("vitscape", record | {"conditions": record["conditions"] | change})
        line = refuses(run, "front", "--remeasure", "--storage", "s.db")
        assert fragment in line
        assert "vitscape attach" in line
    study.set_user_attr("vitscape", record)
    assert "no latency among them" in refuses(run, "front", "--remeasure", "--objectives", "accuracy,macs")
    assert "time-limit=0" in refuses(run, "front", "--remeasure", "--time-limit", "0")
    assert added_latencies(study) == {}
