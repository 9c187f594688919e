"""Training in earnest, through the command line and `train`: it learns, goes on exactly, and says what is wrong."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from rich.console import Console
from torch import nn

from explorer import cli, proxy
from explorer.evaluate import build_seeded
from explorer.profile.lease import device_lease
from explorer.proxy.data import Dataset, load_data
from explorer.proxy.train import TrainSettings, evaluate_accuracy
from explorer.train import checkpoint, train
from explorer.train.batches import resident
from explorer.train.clip import clip_adaptive
from explorer.train.ema import Average
from explorer.train.loop import slice_of
from explorer.train.loss import distillation
from explorer.train.recipe import Recipe, load_recipe, recipes
from explorer.train.schedule import ema_decay, learning_rate
from explorer.weights import load_file, statistics_of
from search_spaces.blocks.network import build
from search_spaces.errors import InputError
from tests.minis import Run, environment, refuses
from tests.training import BATCH_NORM, EVERYTHING, LAYER_NORM, architecture, farthest, metrics, trained, weights

pytestmark = pytest.mark.xdist_group("train")  # what several of them look at is made once

CURVE = ("epoch", "step", "loss", "lr", "top1", "ema_top1")
SHORTLY = ("--data", "digits", "--epochs", "2", "--batch-size", "128", "--set", "warmup_epochs=0.5")  # as `trained`
MIXED = {"mixup": 0.2, "cutmix": 1.0, "erase": 0.25, "randaugment_ops": 1}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load_data("digits", 16, cache_dir=tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def _own_leases(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VITSCAPE_LEASES", str(tmp_path / "leases"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, digits: Dataset) -> Path:
    """The folder of a training that is over, not to be written to."""
    out = tmp_path_factory.mktemp("finished") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VITSCAPE_LEASES", str(out.parent / "leases"))
        trained(out, data=digits)
    return out


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(finished, tmp_path / "out"))


def write(folder: Path, text: str = LAYER_NORM) -> Path:
    path = folder / "net.yaml"
    path.write_text(text)
    return path


# --- learning, and what is left of it ---


def test_it_learns_more_than_the_proxy_does_in_three_epochs(run: Run, digits: Dataset, tmp_path: Path) -> None:
    network = architecture(BATCH_NORM)
    short = proxy.train.train(
        build_seeded(network, 0), digits, TrainSettings(epochs=12, stop_epoch=3), device="cpu", seed=0
    )
    path, out = write(tmp_path, BATCH_NORM), tmp_path / "out"
    status, printed, err = run("train", str(path), "--data", "digits", "--epochs", "10", "--out", str(out))
    assert status == 0, err
    assert printed == f"{out}\n"
    summary = json.loads((out / "train.json").read_text())
    assert summary["accuracy"]["best"] > short.accuracy + 3
    assert summary["accuracy"]["best"] > 80
    assert f"vitscape export {out / 'architecture.yaml'} --weights {out / 'best.safetensors'} --to onnx" in err
    assert err.count(" images/s") == 10

    best = load_file(build(out / "architecture.yaml"), out / "best.safetensors")
    assert evaluate_accuracy(best, digits) == pytest.approx(summary["accuracy"]["best"])
    assert statistics_of(out / "best.safetensors") == (tuple(digits.mean.tolist()), tuple(digits.std.tolist()))
    assert [row[0] for row in metrics(out, "epoch")] == [str(epoch) for epoch in range(1, 11)]
    curve = [max(float(own), float(average)) for own, average in metrics(out, "top1", "ema_top1")]
    assert max(curve) == summary["accuracy"]["best"]
    last = load_file(build(out / "architecture.yaml"), out / "last.safetensors")
    assert evaluate_accuracy(last, digits) == pytest.approx(curve[-1])
    assert load_recipe(out / "recipe.yaml") == load_recipe("small", {"epochs": 10})
    assert list((out / "tensorboard").glob("events*"))


def test_every_augmentation_clipping_and_averaging_train_together(digits: Dataset, tmp_path: Path) -> None:
    found = trained(
        tmp_path, BATCH_NORM, {**EVERYTHING, "clip_norm": 0, "clip_adaptive": 0.02, "repeats": 3}, data=digits
    )
    assert 5 < found.accuracy <= 100
    assert farthest(weights(tmp_path), found.network.state_dict()) == 0


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_on_a_cpu_too(precision: Any, digits: Dataset, finished: Path, tmp_path: Path) -> None:
    half, full = trained(tmp_path / "half", precision=precision, data=digits), metrics(finished, "loss")
    assert half.rows[-1]["loss"] == pytest.approx(float(full[-1][0]), abs=0.05)
    assert half.rows[-1]["loss"] != float(full[-1][0])


def test_a_finished_training_is_told_again_and_not_done_again(run: Run, out: Path, tmp_path: Path) -> None:
    before = (tmp_path / "out" / "checkpoint.pt").stat().st_mtime_ns
    words = (*SHORTLY, "--out", str(tmp_path / "out"))
    status, printed, err = run("train", str(write(tmp_path)), *words)
    assert (status, printed) == (0, f"{tmp_path / 'out'}\n"), err
    assert "top-1" in err
    assert "images/s" not in err
    assert (tmp_path / "out" / "checkpoint.pt").stat().st_mtime_ns == before


# --- going on ---


def process(words: list[str], folder: Path, **variables: str) -> subprocess.Popen[str]:
    """The command line in a process of its own, on one thread as the tests are."""
    command = [sys.executable, "-m", "explorer.cli", *words]
    own = environment(folder) | {"OMP_NUM_THREADS": "1"} | variables
    return subprocess.Popen(command, env=own, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_killed_in_the_middle_of_an_epoch_it_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    changes = {"epochs": 3, "mixup": 0.2}
    trained(whole, BATCH_NORM, changes)
    words = [str(write(tmp_path, BATCH_NORM)), *SHORTLY, "--epochs", "3", "--set", "mixup=0.2", "--out", str(cut)]
    running = process(["train", *words, "--save-minutes", "0"], tmp_path)  # a checkpoint after every step
    at = (0, 0)
    while not (1, 2) < at < (1, 8):
        assert running.poll() is None, running.communicate()[1]
        time.sleep(0.005)
        if (cut / "metrics.csv").exists() and len(metrics(cut, "epoch")) == 1:
            state, _ = checkpoint.load(cut)
            at = (state["epoch"], state["step"]) if state else at
    running.kill()
    running.communicate()
    trained(cut, BATCH_NORM, changes, save_minutes=30.0)
    assert metrics(cut, *CURVE) == metrics(whole, *CURVE)
    for name in ("last.safetensors", "best.safetensors"):
        assert farthest(weights(cut, name), weights(whole, name)) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_end_it_saves_and_goes_on_to_the_same_weights(number: int, run: Run, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    trained(whole, changes={"epochs": 4})
    words = ("train", str(write(tmp_path)), *SHORTLY, "--epochs", "4")

    def ask() -> None:
        while not (cut / "metrics.csv").exists() or len(metrics(cut, "epoch")) < 1:
            time.sleep(0.005)
        os.kill(os.getpid(), number)

    asking = threading.Thread(target=ask)
    asking.start()
    status, _, err = run(*words, "--out", str(cut))
    asking.join()
    assert status == 130
    assert "interrupted: the same command goes on" in err
    assert 1 <= len(metrics(cut, "epoch")) < 4
    status, _, err = run(*words, "--out", str(cut))
    assert status == 0
    assert "continued" in err
    assert metrics(cut, *CURVE) == metrics(whole, *CURVE)
    assert farthest(weights(cut), weights(whole)) == 0


def interrupted(out: Path) -> None:
    """Make of a finished training what a kill after its first epoch would have left."""
    shutil.copy(out / "checkpoint.previous.pt", out / "checkpoint.pt")


def test_a_torn_checkpoint_is_told_and_the_one_before_it_taken(
    run: Run, finished: Path, out: Path, tmp_path: Path
) -> None:
    whole = (tmp_path / "out" / "checkpoint.pt").read_bytes()
    (tmp_path / "out" / "checkpoint.pt").write_bytes(whole[: len(whole) // 2])
    words = (*SHORTLY, "--out", str(tmp_path / "out"))
    status, _, err = run("train", str(write(tmp_path)), *words)
    assert status == 0
    assert "checkpoint.pt: damaged" in err
    assert metrics(tmp_path / "out", *CURVE) == metrics(finished, *CURVE)


@pytest.mark.parametrize("fault", ["torn", "flipped", "another", "pickle"])
def test_checkpoints_that_cannot_be_read_are_refused(fault: str, run: Run, out: Path, tmp_path: Path) -> None:
    (out / "checkpoint.previous.pt").unlink()
    path, bad = out / "checkpoint.pt", out / "executed"
    content = bytearray(path.read_bytes())
    if fault == "torn":
        path.write_bytes(content[:5000])
    elif fault == "flipped":
        state = torch.load(path, weights_only=True)
        values = state["network"]["head.fc.weight"].numpy().tobytes()
        where = bytes(content).index(values)
        content[where] ^= 1
        path.write_bytes(content)
    elif fault == "another":
        torch.save({"weights": torch.zeros(3)}, path)
    else:
        path.write_bytes(pickle.dumps(Touch(str(bad))))
    words = ("train", str(write(tmp_path)), "--data", "digits", "--out", str(out))
    told = refuses(run, *words)
    assert "checkpoint.pt" in told
    assert "--fresh" in told
    assert not bad.exists()


class Touch:
    """What would write a file, were it unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (["--seed", "1"], "seed=1, not 0"),
        (["--lr", "0.01"], "lr=0.01, not 0.003"),
        (["--set", "mixup=0.5"], "mixup=0.5, not 0.0"),
        (["--precision", "bf16"], "precision=bf16, not fp32"),
        (["--epochs", "7"], "epochs=7, not 2"),
        (["--data", "cues"], "data="),
    ],
)
def test_another_training_in_the_folder_is_refused_and_the_difference_named(
    option: list[str], told: str, run: Run, out: Path, tmp_path: Path
) -> None:
    words = (*SHORTLY, "--out", str(tmp_path / "out"))
    refused = refuses(run, "train", str(write(tmp_path)), *words, *option)
    assert told in refused
    assert "another --out, or --fresh" in refused


def test_another_architecture_is_refused_and_fresh_begins_anew(run: Run, out: Path, tmp_path: Path) -> None:
    words = (*SHORTLY, "--out", str(out))
    path = str(write(tmp_path, BATCH_NORM))
    assert "architecture=" in refuses(run, "train", path, *words)
    status, _, err = run("train", path, *words, "--fresh")
    assert status == 0, err
    assert yaml.safe_load((out / "architecture.yaml").read_text())["drop_path"] == 0.1
    assert len(metrics(out, "epoch")) == 2


def test_going_on_with_another_number_of_parts_is_warned_of(run: Run, out: Path, tmp_path: Path) -> None:
    interrupted(out)
    words = (*SHORTLY, "--out", str(tmp_path / "out"))
    status, _, err = run("train", str(write(tmp_path)), *words, "--accumulate", "2")
    assert status == 0, err
    assert "accumulate=2, not 1" in err


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_one_line_and_the_earlier_checkpoint_is_intact(run: Run, out: Path, tmp_path: Path) -> None:
    interrupted(out)
    held = (out / "checkpoint.pt").read_bytes()
    words = (*SHORTLY, "--out", str(out))
    with files_at_most(len(held) // 2):
        status, printed, err = run("train", str(write(tmp_path)), *words)
    assert (status, printed) == (1, "")
    assert err.strip().splitlines()[-1].startswith(f"error: {out}/checkpoint.pt: the checkpoint cannot be written")
    assert (out / "checkpoint.pt").read_bytes() == held
    assert not list(out.glob("*.part"))
    status, _, err = run("train", str(write(tmp_path)), *words)
    assert status == 0, err


def test_a_loss_that_is_no_number_ends_it_with_one_line(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("--data", "digits", "--lr", "1e38", "--set", "warmup_epochs=0", "--set", "clip_norm=0", "--out", str(out))
    status, printed, err = run("train", str(write(tmp_path)), *words)
    assert (status, printed) == (1, "")
    last = err.strip().splitlines()[-1]
    assert last.startswith("error: epoch 1, step")
    assert "lower lr" in last
    assert "Traceback" not in err


def test_it_gives_way_to_a_timing_and_goes_on_after_it(digits: Dataset, tmp_path: Path) -> None:
    seen: list[int] = []

    def time_it() -> None:
        while not (tmp_path / "metrics.csv").exists() or not metrics(tmp_path, "epoch"):
            time.sleep(0.005)
        with device_lease("cpu"):
            for _ in range(2):
                seen.append((tmp_path / "checkpoint.pt").stat().st_mtime_ns)
                time.sleep(0.4)  # several steps long

    timing = threading.Thread(target=time_it)
    timing.start()
    found = trained(tmp_path, changes={"epochs": 12}, data=digits, save_minutes=0.0)  # a checkpoint after every step
    timing.join()
    assert seen[0] == seen[1]
    assert len(found.rows) == 12
    assert (tmp_path / "checkpoint.pt").stat().st_mtime_ns > seen[1]


# --- several processes, and parts ---


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_two_processes_train_as_one(digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    trained(alone, changes=MIXED, data=digits)
    settings = [f"--set={name}={value}" for name, value in MIXED.items()]
    words = ["train", str(write(tmp_path)), *SHORTLY, *settings, "--device=cpu", "--accumulate=2", f"--out={together}"]
    for name, value in {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}.items():
        monkeypatch.setenv(name, value)  # as torchrun does
    second = process([*words], tmp_path, RANK="1", LOCAL_RANK="1")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("LOCAL_RANK", "0")
    shown = io.StringIO()
    trained(together, changes=MIXED, accumulate=2, console=Console(file=shown))
    assert second.communicate(timeout=200) == ("", "")  # the first alone speaks
    assert second.returncode == 0
    assert "2 processes" in shown.getvalue()
    for ours, theirs in zip(metrics(together, *CURVE), metrics(alone, *CURVE), strict=True):
        assert [float(value) for value in ours] == pytest.approx([float(value) for value in theirs], abs=1e-5)
    assert farthest(weights(together), weights(alone)) < 1e-5


def test_two_parts_train_as_the_whole_batch(digits: Dataset, tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", changes=MIXED, data=digits)
    parts = trained(tmp_path / "parts", changes=MIXED, data=digits, accumulate=2)
    assert parts.rows[-1]["loss"] == pytest.approx(whole.rows[-1]["loss"], abs=1e-5)
    assert farthest(weights(tmp_path / "parts"), weights(tmp_path / "whole")) < 1e-5


def test_the_slices_of_all_processes_and_parts_are_the_batch() -> None:
    slices = [slice_of(24, part, rank, 2, 3) for part in range(2) for rank in range(3)]
    taken = [index for one in slices for index in range(24)[one]]
    assert sorted(taken) == list(range(24))


def test_an_epoch_shows_every_image_once_and_repeats_show_each_as_often(digits: Dataset) -> None:
    numbered = replace(digits, train_labels=torch.arange(len(digits.train_labels)))
    once = resident(numbered, 32, 1, seed=0)
    seen = torch.cat([once.read(0, step, slice(0, 32))[1] for step in range(once.steps)])
    assert len(seen.unique()) == len(seen) == once.steps * 32
    assert not torch.equal(seen[:32], once.read(1, 0, slice(0, 32))[1])
    images, labels = once.read(0, 3, slice(4, 8))
    assert torch.equal(images, digits.train_images[labels])
    _, thrice = resident(numbered, 32, 3, seed=0).read(0, 0, slice(0, 32))
    assert thrice.unique(return_counts=True)[1].sort().values.tolist() == [2, *[3] * 10]
    assert (thrice[0::2] != thrice[1::2]).all()  # what is mixed are different images


# --- schedule, clipping, averaging ---


def test_the_rate_warms_up_peaks_and_ends_where_the_recipe_says() -> None:
    recipe = load_recipe("swin")
    assert learning_rate(recipe, 0) == pytest.approx(1e-6)
    assert learning_rate(recipe, 10) == pytest.approx((1e-6 + 1e-3) / 2)
    assert learning_rate(recipe, 20) == pytest.approx(1e-3)
    assert learning_rate(recipe, 160) == pytest.approx((1e-3 + 1e-5) / 2)
    assert learning_rate(recipe, 300) == pytest.approx(1e-5)


def test_the_rate_is_proportional_to_the_batch_where_the_recipe_says_so() -> None:
    assert load_recipe("deit").peak_lr() == pytest.approx(1e-3)
    assert load_recipe("shvit").peak_lr() == pytest.approx(4e-3)
    assert load_recipe("deit", {"batch_size": 128}).peak_lr() == pytest.approx(1.25e-4)
    assert load_recipe("deit", {"batch_size": 128, "lr_batch_size": 0}).peak_lr() == pytest.approx(5e-4)


def test_adaptive_clipping_bounds_each_units_gradient_by_its_weights() -> None:
    layer = nn.Linear(3, 2)
    layer.weight.data = torch.tensor([[3.0, 4.0, 0.0], [0.3, 0.4, 0.0]])  # norms 5 and .5
    layer.weight.grad = torch.tensor([[0.0, 0.05, 0.0], [0.0, 0.05, 0.0]])
    layer.bias.data, layer.bias.grad = torch.zeros(2), torch.tensor([3.0, 4.0])
    clip_adaptive(layer.parameters(), 0.02)
    assert layer.weight.grad[0].tolist() == pytest.approx([0, 0.05, 0])  # below .1
    assert layer.weight.grad[1].tolist() == pytest.approx([0, 0.01, 0])  # at most .01
    assert float(layer.bias.grad.norm()) == pytest.approx(0.02 * 1e-3)


def test_the_average_follows_the_weights_and_is_itself_in_the_end() -> None:
    recipe = load_recipe("small")
    assert ema_decay(recipe, 0) == 0
    assert ema_decay(recipe, 7) == pytest.approx(0.75)
    assert ema_decay(recipe, 10**6) == recipe.ema_decay
    network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    average = Average(network)
    network[0].weight.data.fill_(1.0)
    average.update(recipe, 0)
    assert average.network.state_dict()["0.weight"].item() == 1
    network[0].weight.data.fill_(2.0)
    network(torch.randn(4, 1))
    average.update(recipe, 7)
    assert average.network.state_dict()["0.weight"].item() == pytest.approx(1.25)
    assert average.network.state_dict()["1.num_batches_tracked"].item() == 1


# --- distillation and initial weights ---


def test_a_teacher_with_the_same_logits_teaches_nothing() -> None:
    logits = torch.randn(8, 10)
    assert float(distillation(logits, logits, hard=False, temperature=3)) == pytest.approx(0, abs=1e-6)
    assert float(distillation(logits, torch.randn(8, 10), hard=False, temperature=3)) > 0.1
    expected = nn.functional.cross_entropy(logits, logits.argmax(1))
    assert torch.equal(distillation(logits, logits, hard=True), expected)


def test_a_network_that_starts_as_its_teacher_has_no_loss(digits: Dataset, finished: Path, tmp_path: Path) -> None:
    file = finished / "last.safetensors"
    changes = {"distill": "soft", "distill_weight": 1.0, "lr": 1e-12, "temperature": 2.0}
    found = trained(tmp_path, changes=changes, init=file, teacher=file, data=digits)
    assert found.rows[-1]["loss"] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_a_teacher_is_named_on_the_command_line(kind: str, run: Run, finished: Path, tmp_path: Path) -> None:
    (tmp_path / "teacher.yaml").write_text(LAYER_NORM)
    file = str(finished / "best.safetensors")
    words = [*SHORTLY, "--out", str(tmp_path / kind)]
    words += ["--distill", kind, "--teacher", file, "--teacher-arch", str(tmp_path / "teacher.yaml")]
    status, _, err = run("train", str(write(tmp_path, BATCH_NORM)), *words)
    assert status == 0, err
    assert json.loads((tmp_path / kind / "train.json").read_text())["recipe"]["distill"] == kind


def test_initial_weights_of_other_classes_begin_with_a_fresh_classifier(
    run: Run, finished: Path, tmp_path: Path
) -> None:
    path = write(tmp_path, LAYER_NORM.replace("classes: 10", "classes: 3"))
    for name in ("a", "b", "c"):
        for part in ("train", "val"):
            folder = tmp_path / "data" / part / name
            folder.mkdir(parents=True)
            for index in range(8):
                picture = torch.randint(0, 255, (16, 16, 3), dtype=torch.uint8).numpy()
                Image.fromarray(picture).save(folder / f"{index}.png")
    file = finished / "last.safetensors"
    words = ["--data", f"folder:{tmp_path / 'data'}", "--batch-size", "8", "--lr", "1e-12", "--epochs", "1"]
    words += ["--set", "warmup_epochs=0", "--ema", "0", "--out", str(tmp_path / "out"), "--init", str(file)]
    status, _, err = run("train", str(path), *words)
    assert status == 0, err
    assert "has 10 classes, this network 3: the classifier begins afresh" in err
    before, after = weights(finished), weights(tmp_path / "out")
    assert after["head.fc.weight"].shape[0] == 3
    same = {name: value for name, value in after.items() if not name.startswith("head.fc")}
    assert farthest(same, {name: before[name] for name in same}) < 1e-6


# --- recipes and refusals ---


@pytest.mark.parametrize("name", recipes())
def test_shipped_recipes_are_read_and_written_alike(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    (tmp_path / "again.yaml").write_text(recipe.to_yaml())
    assert load_recipe(tmp_path / "again.yaml") == recipe
    assert len(Recipe.model_fields) > 25
    head = (Path(cli.__file__).parent / "train" / "recipes" / f"{name}.yaml").read_text().splitlines()
    assert head[0].startswith(f"# {name}: ")
    assert any(line.startswith("# Source: ") for line in head)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--set", "mixupp=1"], "did you mean mixup?"),
        (["--set", "mixup=-1"], "mixup: -1 is not allowed"),
        (["--set", "mixup"], "NAME=VALUE"),
        (["--set", "resized_crop=[0.9, 0.1]"], "resized_crop"),
        (["--set", "clip_adaptive=0.1"], "clip_norm and clip_adaptive are both set"),
        (["--recipe", "swinn"], "did you mean swin?"),
        (["--recipe", "missing.yaml"], "missing.yaml: no such file"),
        (["--epochs", "1"], "warmup_epochs=2"),
        (["--batch-size", "5000"], "more than the 1258 training images"),
        (["--batch-size", "63", "--set", "mixup=1"], "give a multiple of 2"),
        (["--batch-size", "64", "--accumulate", "3"], "give a multiple of 3"),
        (["--classes", "7"], "give --classes 10"),
        (["--distill", "soft"], "give --teacher"),
        (["--teacher", "x.pt"], "x.pt"),
        (["--init", "x.pt"], "x.pt"),
        (["--save-minutes", "-1"], "save-minutes"),
        (["--device", "cuda:99"], "cuda:99"),
        (["--lr", "nan"], "lr"),
    ],
)
def test_bad_input_is_one_line(words: list[str], told: str, run: Run, tmp_path: Path) -> None:
    refused = refuses(run, "train", str(write(tmp_path)), "--data", "digits", *words)
    assert told in refused
    assert not (tmp_path / "runs").exists()


def test_a_recipe_file_names_the_line_that_is_wrong(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("format: vitscape/recipe@1\nepochs: 3\nwarmup: 1\n")
    refused = refuses(run, "train", str(write(tmp_path)), "--recipe", str(path))
    assert "mine.yaml, line 3: warmup: is not known here; did you mean warmup_lr?" in refused
    path.write_text("epochs: 3\n")
    assert "begin the file with `format: vitscape/recipe@1`" in refuses(
        run, "train", str(tmp_path / "net.yaml"), "--recipe", str(path)
    )


def test_classes_replace_the_architectures(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path, LAYER_NORM.replace("classes: 10", "classes: 1000"))
    words = ["--data", "digits", "--epochs", "1", "--set", "warmup_epochs=0", "--out", str(tmp_path / "out")]
    assert "give --classes 10" in refuses(run, "train", str(path), *words)
    status, _, err = run("train", str(path), *words, "--classes", "10")
    assert status == 0, err
    assert yaml.safe_load((tmp_path / "out" / "architecture.yaml").read_text())["classes"] == 10


def test_the_python_verb_refuses_what_does_not_fit(digits: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="image_size=32 does not fit"):
        train(architecture(image_size=32), data=digits, out=tmp_path, device="cpu")
    with pytest.raises(InputError, match="seed=-1"):
        train(architecture(), data=digits, out=tmp_path, device="cpu", seed=-1)


def test_metrics_are_one_row_an_epoch_with_all_columns(digits: Dataset, tmp_path: Path) -> None:
    trained(tmp_path, changes={"ema_decay": 0}, data=digits)
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "step", "loss", "lr", "top1", "ema_top1", "images_per_s", "seconds"]
    assert [row["step"] for row in rows] == ["9", "18"]
    assert {row["ema_top1"] for row in rows} == {""}
    assert float(rows[1]["seconds"]) > float(rows[0]["seconds"]) > 0
