"""The command line: verbs, JSON, and bad input, which is one line and exit status 2."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from explorer import cli
from search_spaces.shipped import names
from tests.malformed import MALFORMED_ARCHITECTURES, MALFORMED_SPACES, Malformed
from tests.minis import ARCHITECTURE, MINI, Run, environment, refuses, vitscape
from tests.published import PUBLISHED

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_profile_counts_every_preset_as_published(run: Run, name: str) -> None:
    status, out, _ = run("profile", name, "--json", "--no-latency")
    found = json.loads(out)
    assert status == 0
    assert (found["params"], found["params_folded"], found["macs"]) == PUBLISHED[name]
    assert found["latency"] is None
    assert sum(row["macs"] for row in found["by_stage"]) == found["macs"]


def test_every_preset_has_golden_counts() -> None:
    assert set(names("presets")) == set(PUBLISHED)


def test_profile_measures_latency_with_interval_and_conditions(run: Run) -> None:
    status, out, _ = run("profile", "shvit_s1", "--json", "--device", "cpu", "--batch-size", "2", "--verify")
    found = json.loads(out)
    assert status == 0
    low, high = found["latency"]["ci95_ms"]
    assert 0 < low <= found["latency"]["median_ms"] <= high
    conditions = found["latency"]["conditions"]
    assert conditions["batch_size"] == 2
    assert conditions["precision"] == "fp32"
    assert conditions["runtime"] == "eager"
    assert conditions["image_size"] == 224
    assert conditions["device_name"]
    assert found["peak_memory_mb"] > 4 * found["params_folded"] / 2**20


def test_profile_reads_an_architecture_file_and_tells_people_by_layer(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(ARCHITECTURE)
    status, out, _ = run("profile", "a.yaml", "--no-latency", "--by", "layer")
    assert status == 0
    assert "stages.0.blocks.1.mixer" in out


def test_spaces_and_presets_list_what_is_shipped(run: Run) -> None:
    assert {row["name"] for row in json.loads(run("spaces", "--json")[1])} == set(names("spaces"))
    rows = {row["name"]: row for row in json.loads(run("presets", "--json")[1])}
    assert set(rows) == set(names("presets"))
    assert rows["swin_t"]["published_top1"] == 81.2
    assert "swin_t" in run("presets")[1]
    assert "hybrid_224" in run("spaces")[1]


def test_count_tells_a_space_s_exact_size_and_spread(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mini.yaml").write_text(MINI)
    found = json.loads(run("count", "mini.yaml", "--samples", "50", "--json")[1])
    # depth 1: none, 2 global, window 2 (no shift); depth 2 also with shift. Heads 1 and 2 divide every width.
    assert found["size"] == 3 * 2 * (4 + 5)
    assert found["macs"]["min"] <= found["macs"]["median"] <= found["macs"]["max"]
    assert json.loads(run("count", "swin_t", "--json")[1])["macs"]["min"] == PUBLISHED["swin_t"][2]


def test_a_whole_session_from_search_to_an_exported_file(tmp_path: Path) -> None:
    (tmp_path / "mini.yaml").write_text(MINI)
    words = "search mini.yaml --storage runs/a.db --study s --trials 3 --data digits --epochs 1 --max-latency 1s"
    searched = vitscape(*words.split(), cwd=tmp_path, check=True)
    assert "Pareto front of s" in searched.stdout
    assert "±" in searched.stdout
    assert "3 trials are done" in searched.stderr
    front = json.loads(vitscape("front", "--json", cwd=tmp_path, check=True).stdout)
    assert {"accuracy", "latency_ms", "macs", "params", "what", "latency_lo_ms"} <= front[0].keys()
    trials = json.loads(vitscape("trials", "--json", cwd=tmp_path, check=True).stdout)
    assert [row["status"] for row in trials] == ["complete"] * 3
    number = str(front[0]["number"])
    profiled = json.loads(vitscape("profile", number, "--no-latency", "--json", cwd=tmp_path, check=True).stdout)
    assert profiled["id"] == front[0]["id"]
    out = vitscape("export", "--best-under", "latency=1s", "--to", "yaml,json", cwd=tmp_path, check=True).stdout
    assert [Path(line).suffix for line in out.split()] == [".yaml", ".json"]


@pytest.mark.parametrize("case", MALFORMED_SPACES, ids=lambda case: case.id)
def test_a_malformed_space_is_refused(run: Run, tmp_path: Path, case: Malformed) -> None:
    error = refuses(run, "count", str(case.write(tmp_path)))
    for fragment in case.fragments:
        assert fragment in error


@pytest.mark.parametrize("case", MALFORMED_ARCHITECTURES, ids=lambda case: case.id)
def test_a_malformed_architecture_is_refused(run: Run, tmp_path: Path, case: Malformed) -> None:
    error = refuses(run, "profile", str(case.write(tmp_path)), "--no-latency")
    for fragment in case.fragments:
        assert fragment in error


BAD_WORDS: list[tuple[str, str]] = [
    ("search nosuch_space", "nosuch_space"),
    ("search tiny_23", "did you mean tiny_32?"),
    ("search mini.yaml --trials 0", "trials=0"),
    ("search mini.yaml --trials many", "many"),
    ("search mini.yaml --hours -1", "hours=-1"),
    ("search mini.yaml --sampler annealing", "sampler=annealing"),
    ("search mini.yaml --objectives accuracy,beauty", "beauty"),
    ("search mini.yaml --objectives accuracy,accuracy", "accuracy"),
    ("search mini.yaml --data imagenet", "imagenet"),
    ("search mini.yaml --data folder", "folder"),
    ("search mini.yaml --data folder:/nowhere", "/nowhere"),
    ("search mini.yaml --data folder:empty", "empty"),
    ("search mini.yaml --data folder:corrupt", "corrupt"),
    ("search mini.yaml --data folder:single", "single"),
    ("search mini.yaml --device gpu", "gpu"),
    ("search mini.yaml --device cuda:7", "cuda:7"),
    ("search mini.yaml --precision int8", "int8"),
    ("search mini.yaml --batch-size 0", "batch_size=0"),
    ("search mini.yaml --batch-sizes 1,x", "batch-sizes=1,x"),
    ("search mini.yaml --batch-sizes 1,32,1", "batch_sizes=1,32,1"),
    ("search mini.yaml --runtime eager,eager", "runtimes=eager,eager"),
    ("search mini.yaml --runtime eager,nosuch", "runtime=nosuch"),
    ("search mini.yaml --objectives accuracy,latency@eager/b8", "add --batch-sizes 1,8"),
    ("search mini.yaml --objectives accuracy,latency@quick", "latency@quick"),
    ("search mini.yaml --objectives latency,latency@eager/b1", "latency, latency"),
    ("search mini.yaml --threads 0", "threads=0"),
    ("search mini.yaml --device cpu --threads 65536", "threads=65536: this process may use 1 to"),
    ("search mini.yaml --runtime tensorrt", "tensorrt"),
    ("search mini.yaml --max-latency fast", "latency=fast"),
    ("search mini.yaml --max-latency 2GB", "latency=2GB"),
    ("search mini.yaml --max-latency 0ms", "max-latency=0ms"),
    ("search mini.yaml --max-macs -1G", "macs=-1G"),
    ("search mini.yaml --max-params 1e400", "params=1e400"),
    ("search mini.yaml --epochs 0", "epochs=0"),
    ("search mini.yaml --epochs 3 --stop-epoch 5", "stop_epoch=5"),
    ("search mini.yaml --seed -1", "seed=-1"),
    ("search mini.yaml --storage nosuch://host/db", "nosuch://host/db"),
    ("search mini.yaml --storage postgresql://ann:secret@localhost:1/db", "postgresql://ann:***@localhost:1/db"),
    ("search mini.yaml --storage postgresql://ann:secret@localhost:port/db", "postgresql"),
    ("search mini.yaml --storage .", "folder"),
    ("search mini.yaml --storage noise.png", "noise.png"),
    ("search mini.yaml --nosuch-option", "--nosuch-option"),
    ("search", "space"),
    ("front", "no study was used in this folder yet"),
    ("front --storage nowhere.db", "nowhere.db"),
    ("front --storage mini.yaml", "mini.yaml"),
    ("trials --storage mysql://ann:secret@localhost/db", "mysql://ann:***@localhost/db"),
    ("export --front --storage nowhere.db", "nowhere.db"),
    ("export --storage nowhere.db --best-under speed=1", "speed=1"),
    ("export --storage nowhere.db --best-under latency", "latency"),
    ("export --storage nowhere.db --best-under latency@quick=1ms", "latency@quick"),
    ("export --storage nowhere.db --best-under latency@eager/b1=quick", "latency@eager/b1=quick"),
    ("export --storage nowhere.db --best-under latency=quick", "latency=quick"),
    ("profile nosuch_preset", "nosuch_preset"),
    ("profile swin_x", "did you mean"),
    ("profile swin_t --by width", "width"),
    ("profile swin_t --device cuda:9", "cuda:9"),
    ("profile a.yaml --runtime nosuch", "nosuch"),
    ("profile a.yaml --batch-size -3", "-3"),
    ("profile 5", "no study was used in this folder yet"),
    ("profile missing.yaml", "missing.yaml: no such file"),
    ("count mini.yaml --samples 0", "0"),
    ("paint", "paint"),
]


@pytest.mark.parametrize(("words", "fragment"), BAD_WORDS, ids=[words for words, _ in BAD_WORDS])
def test_a_bad_word_is_refused(run: Run, tmp_path: Path, words: str, fragment: str) -> None:
    (tmp_path / "mini.yaml").write_text(MINI)
    (tmp_path / "a.yaml").write_text(ARCHITECTURE)
    for folder in ("empty", "corrupt/a", "corrupt/b", "single/a"):
        (tmp_path / folder).mkdir(parents=True)
    for path in ("corrupt/a/1.png", "corrupt/b/1.jpg"):
        (tmp_path / path).write_bytes(b"no picture")
    Image.new("RGB", (8, 8)).save(tmp_path / "single/a/1.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "noise.png")
    error = refuses(run, *words.split())
    assert fragment in error
    assert "secret" not in error
    assert not list(tmp_path.glob("**/*.db"))


REFUSED = "--runtime onnxruntime --precision bf16 --device cpu"  # whose CPU provider has no convolution of that type


def test_a_network_that_a_runtime_cannot_run_is_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(ARCHITECTURE)
    status, out, err = run("profile", "a.yaml", *REFUSED.split())
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("error: runtime=onnxruntime, precision='bf16'")


def test_a_search_that_stops_for_failures_is_the_study_last_used(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mini.yaml").write_text(MINI)
    monkeypatch.setattr("explorer.search.session.MOST_FAILURES", 1)
    status, _, err = run("search", "mini.yaml", "--objectives", "latency", "--storage", "a.db", *REFUSED.split())
    assert status == 1
    assert "error: 1 trials failed in a row, the last with NetworkRefused: runtime=onnxruntime" in err
    status, out, _ = run("front")
    assert (status, out) == (0, "study mini: no complete trial yet, so no front\n")


def test_no_room_in_memory_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "large.yaml").write_text(ARCHITECTURE.replace("image_size: 16", "image_size: 8192"))
    code = (
        "import resource, sys\nfrom explorer.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**35, 2**35))\n"
        "sys.argv = 'vitscape profile large.yaml --device cpu --batch-size 64'.split()\nmain()"  # 51 GB of images
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    assert done.stderr.startswith("error: out of memory: ")


def test_a_password_is_neither_kept_nor_shown(run: Run, tmp_path: Path) -> None:
    from explorer.last import remember

    run("presets")  # enters the folder
    remember("s", "postgresql://ann:secret@localhost/db")
    assert "secret" not in (tmp_path / ".vitscape/last.json").read_text()
    assert "give --storage" in refuses(run, "front")


def documented() -> str:
    return (ROOT / "README.md").read_text() + (ROOT / "docs" / "commands.md").read_text()


def test_every_verb_and_option_is_documented() -> None:
    import typer

    text, command = documented(), typer.main.get_command(cli.app)
    verbs: dict[str, Any] = command.commands  # type: ignore[attr-defined]
    assert verbs
    for name, verb in verbs.items():
        assert f"vitscape {name}" in text, name
        for parameter in verb.params:
            for option in parameter.opts:
                if option.startswith("--"):
                    assert re.search(rf"`?{option}\b", text), f"{name} {option}"
