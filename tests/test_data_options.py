"""The options of data in the commands, and what is seen of images being decoded."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import optuna
import pytest
from PIL import Image
from rich.console import Console

from explorer.evaluate import evaluate
from explorer.proxy.data import DataError, load_data
from explorer.proxy.progress import Decoding, load_shown
from explorer.proxy.train import TrainSettings
from explorer.search import search
from search_spaces.architecture import Architecture
from tests.minis import ARCHITECTURE, MINI, Run, environment, refuses

SEARCH = "search mini.yaml --storage a.db --study s --trials 1 --objectives accuracy,macs --epochs 1 --device cpu"
COMMANDS = {
    "search": SEARCH,
    "calibrate": "calibrate mini.yaml --networks 5 --seeds 1 --epochs 1 --long-epochs 2 --device cpu",
    "train": "train a.yaml --epochs 5 --device cpu --out trained",
}
CORES = os.cpu_count() or 1


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder to work in, with a space, an architecture and images/CLASS/*.png, 60 of each of three classes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VITSCAPE_CACHE", raising=False)
    monkeypatch.setenv("VITSCAPE_LEASES", str(tmp_path / "leases"))
    (tmp_path / "mini.yaml").write_text(MINI)
    (tmp_path / "a.yaml").write_text(ARCHITECTURE.replace("classes: 10", "classes: 3"))
    rng = np.random.default_rng(0)
    for name in ("ant", "bee", "cat"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(60):
            pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")
    return tmp_path


def slow_folder(root: Path) -> Path:
    """A folder that some seconds pass over: one large image under many names."""
    pixels = np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), dtype=np.uint8)
    for name in ("ant", "bee"):
        (root / name).mkdir(parents=True)
        for number in range(40 * CORES):
            file = root / name / f"{number}.png"
            if number:
                os.link(root / name / "0.png", file)
            else:
                Image.fromarray(pixels).save(file, compress_level=1)
    return root


def begun(root: Path) -> bool:
    """Whether somebody decodes the folder's images."""
    return any((root.parent / ".vitscape").glob(".folder-*"))


def wait_until_begun(root: Path, process: subprocess.Popen[str] | None = None) -> None:
    end = time.monotonic() + 120
    while not begun(root):
        assert time.monotonic() < end
        assert process is None or process.poll() is None, "it has ended by itself"
        time.sleep(0.01)


# --- which images ---


def test_a_study_keeps_one_spelling_of_its_data_and_the_same_command_goes_on(here: Path, run: Run) -> None:
    first = "--data folder:images --subset 0.8 --classes 2"
    status, _, err = run(*SEARCH.split(), *first.split())
    assert status == 0, err
    stored = optuna.load_study(study_name="s", storage="sqlite:///a.db").user_attrs["vitscape"]
    assert stored["data"]["source"] == "folder:images,subset=0.8,classes=2"
    assert stored["space"]["classes"] == 2
    for again in (
        first,
        "--data folder:images,classes=2,subset=0.80",
        "--data folder:images,subset=.8 --subset 0.8 --classes 2",
    ):
        status, _, err = run(*SEARCH.split(), *again.split())
        assert status == 0, err
        assert "which has 1 trials: continued" in err
    told = refuses(run, *SEARCH.split(), *first.replace("0.8", "0.7").split())
    assert "data.source=folder:images,subset=0.8,classes=2, now folder:images,subset=0.7,classes=2" in told


def test_a_search_from_python_keeps_the_same_spelling(here: Path) -> None:
    settings, quiet = TrainSettings(epochs=1), Console(file=io.StringIO())
    made = [
        search(
            "mini.yaml",
            data=data,
            storage="a.db",
            trials=1,
            objectives=("accuracy", "macs"),
            settings=settings,
            console=quiet,
        )
        for data in ("folder:images,classes=2,subset=0.80", "folder:images,subset=0.8,classes=2")
    ]
    assert [len(study.trials) for study in made] == [1, 1]
    assert made[0].user_attrs["vitscape"]["data"]["source"] == "folder:images,subset=0.8,classes=2"


@pytest.mark.usefixtures("here")
def test_an_augmentation_is_a_condition_of_a_study_and_changes_its_accuracies(run: Run) -> None:
    words = f"{SEARCH} --data digits --seed 3 --epochs 3".split()
    accuracies = {}
    for name in ("none", "light", "mix"):
        status, _, err = run(*words, "--study", name, "--augment", name)
        assert status == 0, err
        assert ("augmented" in err) == (name != "none")
        accuracies[name] = optuna.load_study(study_name=name, storage="sqlite:///a.db").trials[0].values[0]
    assert len(set(accuracies.values())) == 3
    assert run(*words, "--study", "light", "--augment", "light", "--trials", "2")[0] == 0
    assert "augmentation" in refuses(run, *words, "--study", "light", "--trials", "3")
    assert "augment=heavy: not known; give one of none, light, mix" in refuses(run, *words, "--augment", "heavy")


@pytest.mark.parametrize("verb", COMMANDS)
@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--subset 0", "subset='0': give a share above 0"),
        ("--subset 1.5", "subset='1.5': give a share above 0"),
        ("--subset nan", "subset='nan': give a share above 0"),
        ("--subset few", "'few' is not a number"),
        ("--data folder:images,subset=0.5 --subset 0.25", "subset=0.25: the data folder:images,subset=0.5 says"),
        ("--data folder:images,subset=0.5,subset=0.5", "subset is there twice"),
        ("--data folder:images,classes=1", "classes='1': give a whole number of at least 2"),
        ("--data folder:images,classes=4", "classes=4, it has 3; give 2 to 3"),
    ],
)
def test_a_choice_of_images_that_makes_no_sense_is_refused(
    here: Path, run: Run, verb: str, words: str, told: str
) -> None:
    assert told in refuses(run, *COMMANDS[verb].split(), *words.split())
    assert not any((here / left).exists() for left in ("a.db", "trained", "runs"))


@pytest.mark.parametrize("verb", ["search", "calibrate"])
@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--classes 1", "classes='1': give a whole number of at least 2"),
        ("--classes some", "'some' is not a whole number"),
        ("--data folder:images,classes=3 --classes 2", "classes=2: the data folder:images,classes=3 says classes=3"),
    ],
)
def test_a_choice_of_classes_that_makes_no_sense_is_refused(
    here: Path, run: Run, verb: str, words: str, told: str
) -> None:
    assert told in refuses(run, *COMMANDS[verb].split(), *words.split())


def test_a_training_takes_a_share_of_the_images_and_its_classes_from_the_data(here: Path, run: Run) -> None:
    words = f"{COMMANDS['train']} --classes 2 --batch-size 16 --subset 0.5".split()
    status, _, err = run(*words, "--data", "folder:images,classes=2")
    assert status == 0, err
    assert "5 epochs of 3 steps of 16 images of folder, 2 classes" in err  # half of 60, 80 % of these, of two classes
    told = refuses(run, *words, "--data", "folder:images")
    assert "classes=2 of the architecture do not fit the data folder, which has 3" in told


@pytest.mark.parametrize("verb", COMMANDS)
def test_strict_refuses_an_image_that_cannot_be_read_and_leaves_nothing(here: Path, run: Run, verb: str) -> None:
    (here / "images/bee/7.png").write_text("no image at all")
    for _ in range(2):  # also where the images are decoded already
        told = refuses(run, *COMMANDS[verb].split(), "--data", "folder:images", "--strict")
        assert "1 unreadable images: images/bee/7.png (no image)" in told
    assert not any((here / left).exists() for left in ("a.db", "trained", "runs"))
    with pytest.warns(UserWarning, match=r"1 unreadable images left out: images/bee/7\.png"):
        status, _, err = run(*SEARCH.split(), "--data", "folder:images")
    assert status == 0, err


# --- what is seen ---


def test_on_a_pipe_decoding_is_a_few_lines_and_nothing_where_it_is_quick() -> None:
    slow, quick = io.StringIO(), io.StringIO()
    with Decoding(Console(file=slow, width=200), "folder:images", 16) as shown:
        for done in range(1, 2001):
            shown(done, 2000)
            time.sleep(0.0015)
    first, *others, last = slow.getvalue().splitlines()
    assert first.startswith("decoding folder at 16 px: ")
    assert first.endswith(" s left")
    assert "of 2,000 images" in first
    assert len(others) <= 9
    assert last.startswith("2,000 images of folder at 16 px decoded in ")
    with Decoding(Console(file=quick), "folder:images", 16) as shown:
        for done in range(1, 2001):
            shown(done, 2000)
    assert quick.getvalue() == ""


def test_on_a_terminal_decoding_is_a_bar_and_ends_with_one_line() -> None:
    file = io.StringIO()
    with Decoding(Console(file=file, width=120, force_terminal=True), "cifar10:/data", 32) as shown:
        for done in range(1, 11):
            shown(done, 10)
            time.sleep(0.12)
    assert "images/s" in file.getvalue()
    assert "10 images of cifar10 at 32 px decoded in 1." in file.getvalue()


def test_decoding_that_fails_is_not_told_as_done() -> None:
    file = io.StringIO()

    def fail() -> None:
        with Decoding(Console(file=file, width=120, force_terminal=True), "folder:images", 32) as shown:
            for done in range(1, 6):
                shown(done, 10)
                time.sleep(0.2)
            raise DataError("torn")

    with pytest.raises(DataError, match="torn"):
        fail()
    assert "images/s" in file.getvalue()
    assert "decoded in" not in file.getvalue()


def test_any_thread_may_tell_of_decoding() -> None:
    file = io.StringIO()
    with Decoding(Console(file=file, width=120, force_terminal=True), "folder:images", 32) as shown:
        end = time.monotonic() + 1.2

        def tell() -> None:
            while time.monotonic() < end:
                shown(5, 10)

        threads = [threading.Thread(target=tell) for _ in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    assert file.getvalue().count("10 images of folder at 32 px decoded in") == 1


def test_whoever_waits_for_another_to_decode_the_same_images_says_so(here: Path) -> None:
    root = slow_folder(here / "large")
    other = threading.Thread(target=load_data, args=(f"folder:{root}", 16))
    other.start()
    wait_until_begun(root)
    file = io.StringIO()
    data = load_shown(f"folder:{root}", 16, Console(file=file, width=200))
    other.join()
    assert file.getvalue() == f"waiting for process {os.getpid()}, which decodes the same images\n"
    assert len(data.train_labels) + len(data.val_labels) == 80 * CORES


def test_an_evaluation_tells_of_decoding_as_a_step(here: Path) -> None:
    architecture, said = Architecture.load(here / "a.yaml"), list[str]()
    evaluate(
        architecture,
        data="folder:images",
        settings=TrainSettings(epochs=1),
        measure=("accuracy",),
        on_step=said.append,
    )
    assert said[0].startswith("decoding 1 of 180 images at 16 px")


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGINT to send")
def test_ctrl_c_while_images_are_decoded_leaves_nothing_and_the_next_run_is_clean(here: Path) -> None:
    root = slow_folder(here / "large")
    command = [sys.executable, "-m", "explorer.cli", *SEARCH.split(), "--data", "folder:large"]
    surroundings = {name: value for name, value in environment(here).items() if name != "VITSCAPE_CACHE"}
    with subprocess.Popen(
        command, cwd=here, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_until_begun(root, process)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err == "interrupted: what is finished is kept, the same command continues\n"
    assert list((root.parent / ".vitscape").iterdir()) == []
    assert not (here / "a.db").exists()
    data = load_data("folder:large", 16)
    assert len(data.train_labels) + len(data.val_labels) == 80 * CORES
    assert len(list((root.parent / ".vitscape").iterdir())) == 1
