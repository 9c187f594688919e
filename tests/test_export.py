"""Exported files rebuild their networks, without the rest of the product."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
import torch
from rich.console import Console

from explorer import Limits, export, results, search
from explorer.export import ExportError, export_architecture
from explorer.weights import save_weights
from search_spaces import Architecture, build, preset
from search_spaces.space import parse_space
from tests.minis import MINI, environment, vitscape

BLOCKED = (
    "optuna",
    "ray",
    "fvcore",
    "streamlit",
    "plotly",
    "pandas",
    "explorer",
    "dashboard",
    "typer",
    "rich",
    "sklearn",
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> optuna.Study:
    storage = str(tmp_path_factory.mktemp("export") / "a.db")
    return search(
        parse_space(MINI),
        storage=storage,
        trials=12,
        objectives=("macs", "params"),
        sampler="random",  # a good one finds the few members of the front, and little else
        console=Console(quiet=True),
    )


def test_every_member_of_the_front_is_written_and_is_the_trial_s_architecture(
    study: optuna.Study, tmp_path: Path
) -> None:
    paths = export(study, tmp_path, whole_front=True, to=("yaml", "json"))
    members = results.front(results.frame(study), ("macs", "params"))
    assert {Architecture.load(path).id for path in paths} == set(members["id"])
    assert len(paths) == 2 * len(members)


def test_an_exported_file_gives_the_same_logits_where_the_product_is_not_installed(
    study: optuna.Study, tmp_path: Path
) -> None:
    (path,) = export(study, tmp_path, trial=3)
    torch.manual_seed(5)
    images = torch.randn(2, 3, 16, 16)
    torch.manual_seed(6)
    expected = build(Architecture.from_dict(results.frame(study)["architecture"][3])).eval()(images)
    code = f"""
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED!r}:
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
import torch
from search_spaces import build
torch.manual_seed(5)
images = torch.randn(2, 3, 16, 16)
torch.manual_seed(6)
logits = build({str(path)!r}).eval()(images)
torch.save(logits, {str(tmp_path / "logits.pt")!r})
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert torch.equal(torch.load(tmp_path / "logits.pt", weights_only=True), expected)


def off_the_front(study: optuna.Study) -> int:
    frame = results.frame(study)
    members = set(results.front(frame, ("macs", "params"))["number"])
    return next(int(number) for number in frame["number"] if number not in members)


def test_a_front_replaces_the_study_s_earlier_one_and_nothing_else(study: optuna.Study, tmp_path: Path) -> None:
    single = export(study, tmp_path, trial=off_the_front(study))
    first = export(study, tmp_path, whole_front=True, to=("yaml", "json"))
    edited = next(path for path in first if path.suffix == ".json" and path.stem != first[0].stem)
    edited.write_text(edited.read_text() + "\n")
    others = export_architecture(preset("swin_t"), tmp_path)
    last = export(study, tmp_path, whole_front=True, objectives=("params",))
    stays = [path for path in first if path.stem == last[0].stem]  # also what is not written this time
    assert {path for path in tmp_path.iterdir() if path.name != "export.json"} == {*single, *others, *stays, edited}
    listed = json.loads((tmp_path / "export.json").read_text())["exports"]
    assert {file for entry in listed.values() for file in entry["files"]} == {
        path.name for path in (*single, *others, *stays, edited)
    }


def test_trained_weights_outlive_the_front_that_wrote_them(study: optuna.Study, tmp_path: Path) -> None:
    (path,) = export(study, tmp_path / "net", trial=off_the_front(study))
    network = build(path)
    save_weights(tmp_path / "w.pt", network.state_dict(), architecture=network.architecture)
    out = tmp_path / "out"
    written = export(study, out, trial=off_the_front(study), to=("python",), weights=tmp_path / "w.pt")
    export(study, out, whole_front=True)
    assert len(written) == 2
    assert all(path.exists() for path in written)


def test_each_file_says_whether_its_weights_are_trained(study: optuna.Study, tmp_path: Path) -> None:
    (path,) = export(study, tmp_path / "net", trial=0)
    network = build(path)
    save_weights(tmp_path / "w.pt", network.state_dict(), architecture=network.architecture)
    export(study, tmp_path / "out", trial=0, to=("torch_export",))
    export(study, tmp_path / "out", trial=0, to=("python",), weights=tmp_path / "w.pt")
    (entry,) = json.loads((tmp_path / "out" / "export.json").read_text())["exports"].values()
    assert {name.partition(".")[2]: file["weights"]["trained"] for name, file in entry["files"].items()} == {
        "pt2": False,
        "pt": True,
        "py": True,
    }
    assert entry["evaluation"]["macs"] == int(results.frame(study)["macs"][0])


def test_a_single_export_leaves_earlier_files_alone(study: optuna.Study, tmp_path: Path) -> None:
    front = export(study, tmp_path, whole_front=True)
    export(study, tmp_path, trial=off_the_front(study))
    assert all(path.exists() for path in front)


def test_a_study_s_name_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    study = search(
        parse_space(MINI),
        study="../evil/[x]",
        storage=str(tmp_path / "a.db"),
        trials=2,
        objectives=("macs", "params"),
        console=Console(quiet=True),
    )
    out = tmp_path / "out"
    paths = export(study, out, whole_front=True)
    assert all(path.exists() and path.parent == out for path in paths)


@pytest.mark.parametrize("name", ["../victim.yaml", "..", ".", "", "victim\0.yaml", "x" * 300, "{victim}"])
def test_a_manifest_cannot_make_the_export_remove_files_elsewhere(
    study: optuna.Study, tmp_path: Path, name: str
) -> None:
    victim, out = tmp_path / "victim.yaml", tmp_path / "out"
    victim.write_text("x")
    (tmp_path / "modeling_vitscape.py").write_text("")  # as if the folder above were one of an export
    out.mkdir()
    told = {"target": "yaml", "front": True, "sha256": hashlib.sha256(b"x").hexdigest()}
    files = {name.replace("{victim}", str(victim)): told}
    entry = {"study": study.study_name, "id": "0", "files": files}
    (out / "export.json").write_text(json.dumps({"format": "vitscape/export@1", "exports": {"mini_0099": entry}}))
    export(study, out, whole_front=True)
    assert victim.exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "mine"}', "[" * 100_000, '{"format": "vitscape/export@1"}'])
def test_a_list_that_no_export_wrote_is_not_written_over(study: optuna.Study, tmp_path: Path, text: str) -> None:
    (tmp_path / "export.json").write_text(text)
    with pytest.raises(ExportError, match="not the list that an export writes"):
        export(study, tmp_path, trial=0)
    assert (tmp_path / "export.json").read_text() == text
    assert len(list(tmp_path.iterdir())) == 1


def test_two_exports_into_one_folder_at_once_are_both_listed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "explorer.cli", "export", "--no-timing", "--out", str(tmp_path / "out")]
    names = ("swin_t", "swin_s", "shvit_s1", "deit_ti")
    running = [subprocess.Popen([*command, name], cwd=tmp_path, env=environment(tmp_path)) for name in names]
    assert [process.wait(timeout=120) for process in running] == [0] * 4
    listed = json.loads((tmp_path / "out" / "export.json").read_text())["exports"]
    assert listed.keys() == set(names)


def test_every_complete_architecture_is_written_once(tmp_path: Path) -> None:
    study = search(
        parse_space(MINI),
        storage=str(tmp_path / "a.db"),
        trials=12,
        limits=Limits.parse(params="4K"),
        objectives=("macs", "params"),
        sampler="random",  # which proposes what is over the limit, too
        console=Console(quiet=True),
    )
    frame = results.frame(study)
    complete = frame[(frame["status"] == "complete") & ~frame["duplicate"]]
    paths = export(study, tmp_path / "out", every=True)
    assert [Architecture.load(path).id for path in paths] == list(complete["id"])
    assert len(results.front(frame, ("macs", "params"))) < len(paths) < len(frame)


def test_front_and_knee_are_those_of_the_objectives_given(study: optuna.Study, tmp_path: Path) -> None:
    frame = results.frame(study)
    paths = export(study, tmp_path, whole_front=True, objectives=("params",))
    assert [Architecture.load(path).id for path in paths] == list(results.front(frame, ("params",))["id"])


def test_best_under_and_knee_choose_one_trial(study: optuna.Study, tmp_path: Path) -> None:
    frame = results.frame(study)
    budget = float(frame["params"].median())
    (path,) = export(study, tmp_path / "b", best_under={"params": budget})
    row = results.best_under(frame, "macs", params=budget)
    assert row is not None
    assert Architecture.load(path).id == row["id"]
    (path,) = export(study, tmp_path / "k", knee=True)
    knee = results.knee(frame, ("macs", "params"))
    assert knee is not None
    assert Architecture.load(path).id == knee["id"]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({}, "choose one of"),
        ({"knee": True, "trial": 1}, "choose one of"),
        ({"knee": True, "every": True}, "choose one of"),
        ({"every": True, "objectives": ("macs",)}, "objectives: they are those of the front"),
        ({"whole_front": True, "objectives": ("accuracy",)}, "no complete trial with accuracy yet"),
        ({"trial": 99}, "trial=99"),
        ({"best_under": {"params": 1.0}}, "no trial of study mini is within it"),
        ({"knee": True, "to": ("pickle",)}, "to=pickle: not known; use one of yaml, json"),
    ],
)
def test_an_impossible_choice_is_one_line(
    study: optuna.Study, tmp_path: Path, choice: dict[str, object], message: str
) -> None:
    with pytest.raises(ExportError) as caught:
        export(study, tmp_path / "out", **choice)  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_trial_s_numbers_and_conditions_stand_in_the_exported_file(tmp_path: Path) -> None:
    (tmp_path / "mini.yaml").write_text(MINI)
    words = "search mini.yaml --storage a.db --trials 2 --data digits --epochs 1"
    vitscape(*words.split(), cwd=tmp_path, check=True)
    vitscape("export", "--trial", "1", "--out", "one", cwd=tmp_path, check=True)
    architecture = Architecture.load(tmp_path / "one" / "mini_0001.yaml")
    assert architecture.description is not None
    for words in ("Trial 1 of study mini", "% on digits", "95 % interval", "eager, fp32, batch 1"):
        assert words in architecture.description
