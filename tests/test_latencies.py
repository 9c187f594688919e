"""Several latencies in one search: timed, told apart, and used as objectives, budgets and axes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from rich.cells import cell_len
from rich.console import Console

from dashboard.figures import pareto_front
from explorer import Limits, Setup, evaluate, export, results, search
from explorer.failure import status_of
from explorer.measured import add_latencies
from explorer.metrics import MetricError
from explorer.profile.latency import PROTOCOL, device_name
from explorer.record import Conditions, Evaluation, Latency, TrialRecord
from explorer.remeasure import remeasure
from explorer.search.study import StudyMismatch
from explorer.show import print_trials
from explorer.storage import load_study
from explorer.verbs.results import front as show_front
from explorer.verbs.results import trials as show_trials
from search_spaces import Architecture
from search_spaces.architecture import parse_architecture
from search_spaces.document import parse_yaml
from search_spaces.errors import InputError
from search_spaces.space import parse_space
from tests.minis import ARCHITECTURE, MINI, vitscape
from tests.studies import CONDITIONS, add, evaluation, new_study, table

TWO = Setup(device="cpu", batch_sizes=(1, 32), time_limit_s=0.2)
H200: dict[str, Any] = {"device": "cuda", "device_name": "NVIDIA H200", "precision": "fp16", "threads": None}
HERE: dict[str, Any] = {"device_name": device_name(torch.device("cpu")), "torch": torch.__version__}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VITSCAPE_LEASES", str(tmp_path / "leases"))


@pytest.fixture
def architecture() -> Architecture:
    return parse_architecture(parse_yaml(ARCHITECTURE, "a.yaml"))


def latency(ms: float, verdict: str | None = "ok", spread: float = 0.02, **where: Any) -> Latency:
    """A latency of `ms` under the conditions of the made-up studies, changed by `where`."""
    ends = (ms * (1 - spread), ms * (1 + spread))
    conditions = Conditions.model_validate(CONDITIONS.model_dump() | where)
    reason = {"verdict": verdict, "reason": "" if verdict == "ok" else "neighbours"}
    return Latency(median_ms=ms, ci95_ms=ends, samples=30, stop="converged", conditions=conditions, **reason)


Timer = Callable[[dict[str, list[Latency]]], None]


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Timer:
    """Puts a device of known times in the place of this machine: by target the answers it will give, in order."""
    answers: dict[str, list[Latency]] = {}

    def measure(model: object, *, runtime: str, batch_size: int, **how: object) -> Latency:
        return answers[f"{runtime}/b{batch_size}"].pop(0)

    monkeypatch.setattr("explorer.profile.latency.measure", measure)
    return answers.update


# --- what is measured ------------------------------------------------------------------------------------------------


def test_every_runtime_is_measured_with_every_batch_size_in_their_order() -> None:
    setup = Setup(runtimes=("eager", "cuda_graph"), batch_sizes=(1, 32))
    keys = [target.key for target in setup.targets]
    assert keys == ["eager/b1", "eager/b32", "cuda_graph/b1", "cuda_graph/b32"]
    assert setup.recorded("latency@eager/b1") == "latency"
    assert setup.recorded("latency@cuda_graph/b32") == "latency@cuda_graph/b32"
    assert setup.recorded("macs") == "macs"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_sizes": ()}, "batch_sizes=none: give one or more, each once"),
        ({"batch_sizes": (1, 1)}, "batch_sizes=1,1: give one or more, each once"),
        ({"batch_sizes": (1, 0)}, "batch_size=0: give a whole number"),
        ({"runtimes": ("eager", "eager")}, "runtimes=eager,eager: give one or more, each once"),
    ],
)
def test_a_setup_with_none_or_repeated_ways_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Setup(**options)


@pytest.mark.parametrize(
    ("name", "way_out"),
    [
        ("latency@eager/b8", "not measured, only eager/b1, eager/b32; add --batch-sizes 1,32,8"),
        ("latency@compile/b1", "add --runtime eager,compile"),
        ("latency@compile/b8", "add --runtime eager,compile --batch-sizes 1,32,8"),
        ("latency@nvidia_h200/eager/fp16/b1", "a search measures on its own device alone"),
        ("latency@fast", "unknown metric 'latency@fast'"),
    ],
)
def test_an_objective_that_is_not_measured_is_refused_with_the_option_to_add(name: str, way_out: str) -> None:
    with pytest.raises(MetricError) as caught:
        search(parse_space(MINI), storage="a.db", objectives=("accuracy", name), setup=TWO)
    assert way_out in str(caught.value)
    assert not Path("a.db").exists()


def test_the_help_names_every_runtime() -> None:
    from explorer.options import RUNTIMES
    from explorer.profile import runtimes

    assert ", ".join(runtimes.RUNTIMES) == RUNTIMES


def test_a_runtime_that_does_not_run_here_is_refused_before_the_search() -> None:
    setup = Setup(device="cpu", runtimes=("eager", "cuda_graph"))
    with pytest.raises(InputError, match="runtime=cuda_graph"):
        search(parse_space(MINI), storage="a.db", objectives=("macs",), setup=setup)
    assert not Path("a.db").exists()


def test_where_any_latency_is_wanted_all_are_measured_and_the_first_is_the_latency(
    architecture: Architecture, device: Timer
) -> None:
    device({"eager/b1": [latency(1.0)], "eager/b32": [latency(9.0, batch_size=32)]})
    steps: list[str] = []
    found = evaluate(architecture, setup=TWO, measure=("latency@eager/b32",), on_step=steps.append)
    assert found.latency is not None
    assert found.latency.median_ms == 1.0
    assert {key: one.median_ms for key, one in found.latencies.items()} == {"eager/b32": 9.0}
    assert steps == ["timing eager/b1", "timing eager/b32"]


def test_over_a_limit_the_further_latencies_are_not_measured(architecture: Architecture, device: Timer) -> None:
    device({"eager/b1": [latency(3.0)]})
    slow = evaluate(architecture, setup=TWO, measure=("latency",), limits=Limits.parse(latency="2ms"))
    assert slow.infeasible == "latency 3.00 ms > 2.00 ms"
    assert slow.latency is not None
    assert slow.latencies == {}
    large = evaluate(architecture, setup=TWO, measure=("latency",), limits=Limits.parse(memory=1e-6))
    assert large.infeasible is not None
    assert large.infeasible.startswith("memory")
    assert large.latency is None


# --- what cannot be trusted ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        (latency(2.0, "noisy"), latency(1.0), (1.0, "ok", "")),
        (latency(2.0, "shared"), latency(1.0, "noisy"), (1.0, "noisy", "neighbours; the better of two measurements")),
        (latency(2.0, "noisy"), latency(1.0, "shared"), (2.0, "noisy", "neighbours; the better of two measurements")),
        (
            latency(2.0, "throttled", 0.1),
            latency(1.0, "throttled", 0.2),
            (2.0, "throttled", "neighbours; the better of two measurements"),
        ),
    ],
)
def test_a_doubtful_latency_is_measured_once_more_and_the_better_is_kept(
    architecture: Architecture, device: Timer, first: Latency, second: Latency, kept: tuple[float, str, str]
) -> None:
    device({"eager/b1": [first, second], "eager/b32": [latency(9.0)]})
    steps: list[str] = []
    found = evaluate(architecture, setup=TWO, measure=("latency",), on_step=steps.append).latency
    assert found is not None
    assert (found.median_ms, found.verdict, found.reason) == kept
    assert steps == ["timing eager/b1", "timing eager/b32", f"timing eager/b1 again: {first.verdict}"]


def test_a_latency_without_a_verdict_is_not_measured_again(architecture: Architecture, device: Timer) -> None:
    device({"eager/b1": [latency(1.0, None)], "eager/b32": [latency(9.0, None)]})
    assert evaluate(architecture, setup=TWO, measure=("latency",)).latency is not None


def test_a_disturbance_rejects_no_architecture(architecture: Architecture, device: Timer) -> None:
    device({"eager/b1": [latency(3.0, "shared"), latency(1.0, "noisy")], "eager/b32": [latency(9.0)]})
    found = evaluate(architecture, setup=TWO, measure=("latency",), limits=Limits.parse(latency="2ms"))
    assert found.infeasible is None
    assert found.latency is not None
    assert found.latency.median_ms == 1.0
    assert list(found.latencies) == ["eager/b32"]


def test_a_doubtful_latency_is_told_in_the_line_of_its_trial_and_in_the_tables(
    device: Timer, capsys: pytest.CaptureFixture[str]
) -> None:
    noisy = {"eager/b1": [latency(1.0)], "eager/b32": [latency(9.0, "noisy", batch_size=32)] * 2}
    device(noisy)
    console = Console(file=io.StringIO(), record=True, width=200)
    study = search(
        parse_space(MINI),
        storage="a.db",
        trials=1,
        objectives=("latency@eager/b1", "latency@eager/b32"),
        setup=TWO,
        console=console,
    )
    assert "eager/b32 noisy" in console.export_text()
    print_trials("", results.frame(study))
    out = capsys.readouterr().out
    assert "9.00 ± 0.18 noisy" in out
    assert "1.00 ± 0.02 " in out
    for heading in ("eager/b1 ", "eager/b32 "):
        assert heading in out
    assert "noisy" in export(study, "out", trial=0)[0].read_text()


# --- a search, its columns, its files --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study of two trials, timed on this machine with two batch sizes."""
    folder = tmp_path_factory.mktemp("searched")
    (folder / "mini.yaml").write_text(MINI)
    words = "search mini.yaml --storage a.db --trials 2 --device cpu --batch-sizes 2,1 --max-latency 10s"
    vitscape(*words.split(), "--objectives", "latency@eager/b1,latency@eager/b2", cwd=folder, check=True)
    return folder


def test_each_latency_of_a_search_is_a_column_an_objective_and_a_budget(searched: Path) -> None:
    study = load_study(None, str(searched / "a.db"))
    frame = results.frame(study)
    assert study.user_attrs["vitscape"]["objectives"] == ["latency@eager/b1", "latency"]
    assert list(frame["status"]) == ["complete", "complete"]
    assert results.latencies(frame) == ["latency", "latency@eager/b1"]
    for trial, (_, row) in zip(study.trials, frame.iterrows(), strict=True):
        record = TrialRecord.model_validate(trial.user_attrs["vitscape"])
        assert record.evaluation is not None
        (single,) = record.evaluation.latencies.values()
        assert single.conditions.batch_size == 1
        assert record.evaluation.latency is not None
        assert record.evaluation.latency.conditions.batch_size == 2
        assert trial.values == [single.median_ms, record.evaluation.latency.median_ms]
        assert trial.values == [row["latency_ms@eager/b1"], row["latency_ms"]]
        assert (row["latency_lo_ms@eager/b1"], row["latency_hi_ms@eager/b1"]) == single.ci95_ms
        assert row["verdict@eager/b1"] == single.verdict
    for name in ("latency@eager/b1", "latency@eager/b2"):  # the second is the search's first, by its own name
        best = results.best_under(frame, name, **{name: 1e6})
        assert best is not None
        assert best["number"] == results.front(frame, (name,))["number"][0]
    assert results.conditions(frame).endswith("eager · fp32 · batch 2")
    assert results.conditions(frame, "latency@eager/b1").endswith("eager · fp32 · batch 1")


def test_the_command_line_knows_each_latency_of_a_study(searched: Path) -> None:
    rows = json.loads(vitscape("trials", "--storage", "a.db", "--json", cwd=searched, check=True).stdout)
    assert all(row["latency_ms@eager/b1"] > 0 for row in rows)
    out = vitscape("export", "--storage", "a.db", "--best-under", "latency@eager/b1=1ks", cwd=searched)
    assert out.returncode == 2
    out = vitscape("export", "--storage", "a.db", "--best-under", "latency@eager/b1=1000s", cwd=searched, check=True)
    (path,) = out.stdout.split()
    assert "Latency eager/b1" in (searched / path).read_text()


def test_a_study_is_continued_only_with_the_same_latencies(searched: Path) -> None:
    setup = Setup(device="cpu", batch_sizes=(2,), time_limit_s=0.2)
    options: dict[str, Any] = {"trials": 2, "limits": Limits.parse(latency="10s"), "console": Console(quiet=True)}
    with pytest.raises(StudyMismatch, match=r"conditions.batch_sizes=\[2, 1\], now \[2\]"):
        search(parse_space(MINI), storage=str(searched / "a.db"), objectives=("latency",), setup=setup, **options)


def test_a_study_of_another_protocol_is_refused_in_one_line_and_still_read(device: Timer) -> None:
    device({"eager/b1": [latency(1.0)]})
    options: dict[str, Any] = {"storage": "a.db", "objectives": ("latency",), "console": Console(quiet=True)}
    study = search(parse_space(MINI), trials=1, setup=Setup(device="cpu", time_limit_s=0.2), **options)
    stored = study.user_attrs["vitscape"]
    before = {key: value for key, value in stored["conditions"].items() if key not in ("runtimes", "batch_sizes")}
    before = {key: value for key, value in before.items() if key not in ("protocol", "libraries")}
    study.set_user_attr("vitscape", stored | {"conditions": before | {"runtime": "eager", "batch_size": 1}})
    with pytest.raises(StudyMismatch, match="was measured by protocol 1") as caught:
        search(parse_space(MINI), trials=2, setup=Setup(device="cpu", time_limit_s=0.2), **options)
    assert "\n" not in str(caught.value)
    frame = results.frame(load_study(None, "a.db"))
    assert len(results.front(frame, ("latency@eager/b1",))) == 1


BEFORE_THERE_WERE_VERDICTS = """
{"format": "vitscape/trial@1", "id": "d8d6bf0f9a3a8b6c", "status": "complete",
 "architecture": {"image_size": 16, "stem": {"kind": "patch", "stride": 4}, "stages": [
  {"width": 8, "depth": 1, "mixer": {"kind": "global", "heads": 1}, "local": false, "norm": "layer"}]},
 "evaluation": {"macs": 23312, "params": 1402, "activations": 2058, "params_folded": 1402,
  "latency": {"median_ms": 0.153, "ci95_ms": [0.15, 0.16], "samples": 500, "stop": "converged", "conditions":
   {"device": "cpu", "device_name": "AMD EPYC", "runtime": "eager", "precision": "fp32", "batch_size": 1,
    "image_size": 16, "threads": 1, "torch": "2.13.0+cpu"}},
  "peak_memory_mb": 0.03, "accuracy": 31.4, "accuracy_by_epoch": [31.4], "infeasible": null,
  "seconds": {"profile": 0.4, "train": 1.2}},
 "seconds": 1.7, "error": null, "traceback": null, "preset": null, "duplicate_of": null, "retry_of": null, "retries": 0}
"""


def test_a_trial_recorded_before_there_were_verdicts_is_read(tmp_path: Path) -> None:
    study = new_study(tmp_path / "x.db")
    trial = study.ask()
    trial.set_user_attr("vitscape", json.loads(BEFORE_THERE_WERE_VERDICTS))
    study.tell(trial, [31.4, 0.153])
    frame = results.frame(study)
    (row,) = frame.to_dict("records")
    assert (row["latency_ms"], row["latency_lo_ms"], row["latency_hi_ms"]) == (0.153, 0.15, 0.16)
    assert frame["verdict"].isna().all()
    assert results.latencies(frame) == ["latency"]
    assert len(results.front(frame)) == 1


# --- latencies that a study keeps beside its trials ------------------------------------------------------------------


def with_two(path: Path) -> optuna.Study:
    """A study of trials a0 (60 %, 1 ms, 20 ms at batch 32) and a1 (70 %, 2 ms, 10 ms)."""
    study = new_study(path)
    for accuracy, one, many in ((60.0, 1.0, 20.0), (70.0, 2.0, 10.0)):
        measured = evaluation(accuracy, None).model_copy(
            update={"latency": latency(one), "latencies": {"eager/b32": latency(many, batch_size=32)}}
        )
        add(study, "complete", Evaluation.model_validate(measured.model_dump()))
    return study


def test_a_latency_measured_again_under_the_same_conditions_takes_the_place_of_the_first(tmp_path: Path) -> None:
    study = with_two(tmp_path / "x.db")
    add_latencies(study, "a1", [latency(0.5), latency(5.0, batch_size=32)])
    frame = results.frame(study)
    assert list(frame["latency_ms"]) == [1.0, 0.5]
    assert frame["latency_hi_ms"][1] == pytest.approx(0.51)
    assert list(frame["latency_ms@eager/b32"]) == [20.0, 5.0]
    assert list(results.front(frame)["number"]) == [1]
    assert not [column for column in frame.columns if "amd_epyc" in column]


@pytest.mark.parametrize(
    "other",
    [{"torch": "2.14.0"}, {"libraries": {"cuda": "14"}}, {"verdict": None}],
    ids=["torch", "library", "protocol"],
)
def test_what_does_not_compare_is_put_beside_and_never_mixed(tmp_path: Path, other: dict[str, Any]) -> None:
    study = with_two(tmp_path / "x.db")
    add_latencies(study, "a1", [latency(0.5, **other)])
    frame = results.frame(study)
    assert list(frame["latency_ms"]) == [1.0, 2.0]
    assert frame["latency_ms@amd_epyc/eager/fp32/b1/t1"][1] == 0.5


def test_the_driver_and_the_image_size_do_not_tell_latencies_apart(tmp_path: Path) -> None:
    study = with_two(tmp_path / "x.db")
    add_latencies(study, "a1", [latency(0.5, driver="600.1", image_size=64)])
    assert list(results.frame(study)["latency_ms"]) == [1.0, 0.5]


def test_latencies_of_another_device_are_columns_objectives_and_axes(tmp_path: Path) -> None:
    study = with_two(tmp_path / "x.db")
    add_latencies(study, "a0", [latency(0.2, **H200), latency(0.1, **H200, runtime="cuda_graph")])
    add_latencies(study, "a1", [latency(0.3, "throttled", **H200)])
    frame = results.frame(study)
    gpu = "latency@nvidia_h200/eager/fp16/b1"
    assert results.latencies(frame) == [
        "latency",
        "latency@eager/b32",
        "latency@nvidia_h200/cuda_graph/fp16/b1",
        gpu,
    ]
    assert list(frame["latency_ms@nvidia_h200/eager/fp16/b1"]) == [0.2, 0.3]
    assert list(frame["verdict@nvidia_h200/eager/fp16/b1"]) == ["ok", "throttled"]
    assert frame["latency_ms@nvidia_h200/cuda_graph/fp16/b1"].isna().tolist() == [False, True]
    assert {str(dtype) for name, dtype in frame.dtypes.items() if "_ms@" in str(name)} == {"float64"}
    assert str(frame["verdict@nvidia_h200/eager/fp16/b1"].dtype) == "string"
    assert list(results.front(frame, ("accuracy", gpu))["number"]) == [0, 1]
    assert list(results.front(frame, ("accuracy", "latency@eager/b32"))["number"]) == [1]
    best = results.best_under(frame, "accuracy", **{gpu: 0.25})
    assert best is not None
    assert best["number"] == 0
    assert results.reference_point(frame, (gpu,)) == {gpu: pytest.approx(0.33)}
    assert results.hypervolume(frame, (gpu,)).iloc[-1] == pytest.approx(0.13)
    knee = results.knee(frame, ("accuracy", gpu))
    assert knee is not None
    assert knee["number"] == 0
    assert results.conditions(frame, gpu) == "nvidia_h200 · eager · fp16 · batch 1"
    figure = pareto_front(frame, ("accuracy", gpu))
    (dots,) = [trace for trace in figure.data if trace.name == "Pareto front"]
    assert list(dots.x) == [0.2, 0.3]
    assert list(dots.error_x.array) == pytest.approx([0.004, 0.006])
    assert "Latency eager/b32: 20.0 ms [19.6, 20.4]" in dots.hovertext[0]


def test_a_latency_that_a_study_has_not_is_refused_with_those_that_it_has(tmp_path: Path) -> None:
    frame = results.frame(with_two(tmp_path / "x.db"))
    with pytest.raises(MetricError) as caught:
        results.best_under(frame, "accuracy", **{"latency@cuda_graph/b1": 2.0})
    assert str(caught.value) == (
        "latency@cuda_graph/b1: not measured in this study; there are latency, accuracy, macs, params, memory,"
        " latency@eager/b32"
    )
    with pytest.raises(MetricError, match="not measured in this study"):
        pareto_front(table([]), ("accuracy", "latency@eager/b1"))


def test_a_study_without_trials_has_the_columns_of_its_latencies(device: Timer) -> None:
    device({"eager/b1": [latency(1.0)], "eager/b32": [latency(9.0, batch_size=32)]})
    options: dict[str, Any] = {"storage": "a.db", "setup": TWO, "console": Console(quiet=True)}
    study = search(parse_space(MINI), trials=1, objectives=("latency", "latency@eager/b32"), **options)
    empty = new_study(Path("b.db"))
    empty.set_user_attr("vitscape", study.user_attrs["vitscape"])
    assert results.frame(empty).dtypes.equals(results.frame(study).dtypes)
    assert results.front(results.frame(empty), ("latency@eager/b1", "latency@eager/b32")).empty


# --- the front measured again, and shown -----------------------------------------------------------------------------


@pytest.fixture
def measured_here(tmp_path: Path, architecture: Architecture) -> optuna.Study:
    """A study of this machine, with batches of 1 and 32, and with an H200's latencies attached to it."""
    study = new_study(tmp_path / "x.db")
    targets: dict[str, Any] = {"runtimes": ["eager"], "batch_sizes": [1, 32]}
    conditions = HERE | targets | {"device": "cpu", "precision": "fp32", "threads": 1, "protocol": PROTOCOL}
    study.set_user_attr("vitscape", study.user_attrs["vitscape"] | {"conditions": conditions})
    for number, (accuracy, one, many) in enumerate(((60.0, 1.0, 20.0), (70.0, 2.0, 30.0), (80.0, 3.0, None))):
        times: dict[str, Any] = {"latency": latency(one, **HERE)}
        if many is not None:
            times["latencies"] = {"eager/b32": latency(many, **HERE, batch_size=32)}
        measured = evaluation(accuracy, None, peak_memory_mb=12.5).model_copy(update=times)
        add(study, "complete", measured, architecture=architecture.canonical.to_dict())
        add_latencies(study, f"a{number}", [latency(one / 10, **H200, runtime="cuda_graph")])
    return study


def now() -> dict[str, list[float]]:
    """The latencies of the study's first two trials, as they are kept."""
    frame = results.frame(load_study(None, "x.db"))
    return {column: list(frame[column][:2]) for column in ("latency_ms", "latency_ms@eager/b32")}


def five_ms(then: BaseException | None = None) -> Callable[..., list[Latency]]:
    """A device in the place of this machine, to which something may happen at a batch of 32."""

    def measure_together(subjects: list[object], *, batch_size: int, **how: object) -> list[Latency]:
        if batch_size == 32 and then is not None:
            raise then
        return [latency(5.0, **HERE, batch_size=batch_size) for _ in subjects]

    return measure_together


def test_what_was_measured_again_before_an_interruption_is_kept(
    measured_here: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("explorer.profile.latency.measure_together", five_ms(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        remeasure(measured_here, [0, 1])
    assert now() == {"latency_ms": [5.0, 5.0], "latency_ms@eager/b32": [20.0, 30.0]}


def test_networks_without_room_side_by_side_are_told_in_one_line(
    measured_here: optuna.Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = RuntimeError("DefaultCPUAllocator: can't allocate memory\nand more")
    monkeypatch.setattr("explorer.profile.latency.measure_together", five_ms(full))
    with pytest.raises(MemoryError) as caught:
        remeasure(measured_here, [0, 1])
    assert status_of(caught.value) == 1
    line = "error: out of memory: 2 networks, prepared at once for eager/b32, have no room; "
    assert capsys.readouterr().err.startswith(line)


def test_an_attached_latency_is_not_measured_again_here(measured_here: optuna.Study) -> None:
    before = now()
    with pytest.raises(InputError, match="latency@nvidia_h200/cuda_graph/fp16/b1: attached to the study"):
        show_front(storage="x.db", objectives="accuracy,latency@nvidia_h200/cuda_graph/fp16/b1", remeasure=True)
    assert now() == before


def test_a_latency_that_a_trial_had_not_is_measured_all_the_same(
    measured_here: optuna.Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("explorer.profile.latency.measure_together", five_ms())
    show_front(storage="x.db", remeasure=True)
    (*_, new) = [line for line in capsys.readouterr().out.splitlines() if line.strip().startswith("2  eager/b32")]
    assert new.split()[:5] == ["2", "eager/b32", "5", "±", "0.1"]
    assert list(results.frame(load_study(None, "x.db"))["latency_ms@eager/b32"]) == [5.0, 5.0, 5.0]


@pytest.mark.parametrize("columns", [80, 180])
@pytest.mark.parametrize("gpu", [False, True])
def test_a_front_is_readable_on_a_terminal_of_any_width(
    measured_here: optuna.Study,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    columns: int,
    gpu: bool,
) -> None:
    monkeypatch.setattr("explorer.show.WIDE", columns)
    further = "latency@nvidia_h200/cuda_graph/fp16/b1" if gpu else "latency@eager/b32"
    show_front(storage="x.db", objectives=f"accuracy,latency,{further}")
    show_trials(storage="x.db")
    out = capsys.readouterr().out
    assert "…" not in out
    assert max(map(cell_len, out.splitlines())) <= columns
    for needed in ("Trial", "Top-1", "front", "60.0", "1.00 ± 0.02", "0.100 ± 0.002" if gpu else "20.0 ± 0.4"):
        assert needed in out
    assert ("memory" in out) == (columns > 80)
