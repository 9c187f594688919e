"""The source `hf`: data sets of the `datasets` library. Nothing is loaded from the hub."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from explorer.proxy.data import load_data
from tests.encoded import CLASSES, Item, items, reference, refused, table, write_folder, write_parquet
from tests.minis import environment

datasets = pytest.importorskip("datasets")
TRAIN, VAL = items(8), items(4, first=100)


def as_dataset(content: list[Item], label: str = "label") -> Any:
    features = {"image": datasets.Image(), label: datasets.ClassLabel(names=list(CLASSES))}
    columns = {"image": [{"bytes": each.content, "path": None} for each in content]}
    labels = {label: [each.label for each in content]}
    return datasets.Dataset.from_dict({**columns, **labels}, features=datasets.Features(features))


def write_set(root: Path, **parts: list[Item]) -> Path:
    """As `save_to_disk` writes training images in two files, and validation images."""
    parts = parts or {"train": TRAIN, "validation": VAL}
    whole = datasets.DatasetDict({name: as_dataset(content) for name, content in parts.items()})
    whole.save_to_disk(str(root), num_shards=dict.fromkeys(parts, 2))
    return root


def test_images_and_labels_are_those_that_were_saved_as_pillow_decodes_them(tmp_path: Path) -> None:
    data = load_data(f"hf:{write_set(tmp_path / 'set')}", 12)
    for images, labels, expected in (
        (data.train_images, data.train_labels, TRAIN),
        (data.val_images, data.val_labels, VAL),
    ):
        assert labels.tolist() == [each.label for each in expected]
        np.testing.assert_array_equal(images.numpy(), np.stack([reference(each.content, 12) for each in expected]))
    assert (data.name, data.classes, data.mirror) == ("hf", 3, True)
    assert (tmp_path / "set" / ".vitscape").is_dir()


@pytest.mark.parametrize("options", ["", ",subset=0.5,classes=2"])
def test_the_fingerprint_is_that_of_a_folder_of_the_same_files(options: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", {"train": TRAIN, "val": VAL})
    data = load_data(f"hf:{write_set(tmp_path / 'set')}{options}", 12)
    assert data.fingerprint == load_data(f"folder:{folder}{options}", 12).fingerprint


def test_a_single_part_is_split_80_to_20_like_a_folder(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", {".": TRAIN})
    as_dataset(TRAIN).save_to_disk(str(tmp_path / "set"))
    first = load_data(f"hf:{tmp_path / 'set'}", 12)
    assert first.fingerprint == load_data(f"folder:{folder}", 12).fingerprint


def test_rows_that_were_chosen_and_shuffled_are_read_in_their_order(tmp_path: Path) -> None:
    shuffled = as_dataset(TRAIN).shuffle(seed=3).select(range(2, 22))
    datasets.DatasetDict({"train": shuffled, "test": as_dataset(VAL)}).save_to_disk(str(tmp_path / "set"))
    data = load_data(f"hf:{tmp_path / 'set'}", 12)
    expected = [
        reference(each["image"]["bytes"], 12) for each in shuffled.cast_column("image", datasets.Image(decode=False))
    ]
    np.testing.assert_array_equal(data.train_images.numpy(), np.stack(expected))
    assert data.train_labels.tolist() == list(shuffled["label"])


def test_a_set_that_is_saved_anew_is_decoded_anew(tmp_path: Path) -> None:
    first = load_data(f"hf:{write_set(tmp_path / 'set')}", 8)
    (tmp_path / "set" / ".vitscape").rename(tmp_path / "kept")
    shutil.rmtree(tmp_path / "set")
    write_set(tmp_path / "set", train=items(8, first=200), validation=VAL)
    (tmp_path / "kept").rename(tmp_path / "set" / ".vitscape")
    assert load_data(f"hf:{tmp_path / 'set'}", 8).fingerprint != first.fingerprint


def test_a_test_part_without_labels_is_not_what_is_held_out(tmp_path: Path) -> None:
    hidden = [each._replace(label=-1) for each in VAL]
    data = load_data(f"hf:{write_set(tmp_path / 'set', train=TRAIN, test=hidden)}", 8)
    assert (len(data.train_labels), len(data.val_labels)) == (18, 6)


def test_rows_without_an_image_or_a_label_are_named_and_left_out(tmp_path: Path) -> None:
    content = [*TRAIN, Item(TRAIN[0].content, "jpg", -1), Item(TRAIN[0].content, "jpg", None), Item(b"x", "png", 1)]
    root = write_set(tmp_path / "set", train=content, test=VAL)
    expected = r"train row 24 \(no label\), train row 25 \(no label\), train row 26 \(no image\)"
    with pytest.warns(UserWarning, match=f"3 unreadable images left out: {expected}"):
        assert len(load_data(f"hf:{root}", 8).train_labels) == len(TRAIN)


def test_the_label_may_be_chosen_among_the_columns(tmp_path: Path) -> None:
    both = as_dataset(TRAIN).add_column("fine_label", [index % 4 for index in range(len(TRAIN))])
    both.save_to_disk(str(tmp_path / "set"))
    assert "columns label, fine_label could be the label; write ,label=label" in refused(f"hf:{tmp_path / 'set'}")
    assert load_data(f"hf:{tmp_path / 'set'},label=fine_label", 8).classes == 4


@pytest.mark.parametrize("layout", ["parquet", "images"])
def test_a_set_is_loaded_by_its_name_and_decoded_once(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the library takes a folder of the name before the hub's set
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    folder = write_folder(tmp_path / "folder", {"train": TRAIN, "val": VAL})
    if layout == "parquet":
        write_parquet(tmp_path / "ann" / "birds" / "train-0.parquet", table(TRAIN))
        write_parquet(tmp_path / "ann" / "birds" / "validation-0.parquet", table(VAL))
    else:
        write_folder(tmp_path / "ann" / "birds", {"train": TRAIN, "validation": VAL})
    calls: list[int] = []
    for _ in range(2):
        data = load_data(
            "hf:ann/birds", 12, cache_dir=tmp_path / "cache", progress=lambda done, total: calls.append(total)
        )
        assert data.fingerprint == load_data(f"folder:{folder}", 12).fingerprint
    assert calls == [36] * 36


def test_what_is_no_saved_set_is_explained_in_one_line(tmp_path: Path) -> None:
    assert "no such folder; give one that save_to_disk wrote" in refused("hf:/nowhere")
    (tmp_path / "folder").mkdir()
    assert "save_to_disk did not write this folder; give one that it wrote" in refused(f"hf:{tmp_path / 'folder'}")
    (tmp_path / "folder" / "train.parquet").write_bytes(b"")
    assert f"; give parquet:{tmp_path / 'folder'}" in refused(f"hf:{tmp_path / 'folder'}")


@pytest.mark.parametrize("damage", ["no json", "other json", "no file", "torn"])
def test_a_damaged_set_is_explained_in_one_line(damage: str, tmp_path: Path) -> None:
    root = tmp_path / "set"
    as_dataset(TRAIN).save_to_disk(str(root))
    file = next(root.glob("*.arrow"))
    if damage == "no file":
        file.unlink()
    elif damage == "torn":
        file.write_bytes(file.read_bytes()[:500])
    else:
        (root / "state.json").write_text("{" if damage == "no json" else json.dumps([]))
    assert "damaged (" in refused(f"hf:{root}")


@pytest.mark.parametrize("name", ["a/b/c", "s3://bucket", "a b", "@config", "https://host/x"])
def test_what_is_no_name_of_a_data_set_is_explained_in_one_line(name: str) -> None:
    assert "no name of a data set; write hf:OWNER/NAME" in refused(f"hf:{name}")


def test_parts_without_a_training_part_are_named(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", validation=VAL, test=VAL)
    assert "no part named train among test, validation" in refused(f"hf:{root}")


def command(tmp_path: Path, source: str, **variables: str) -> str:
    """The error's one line, of a process of its own."""
    words = ["search", "tiny_32", "--data", source, "--trials", "1", "--storage", "none.db", "--device", "cpu"]
    environ = {**environment(tmp_path), "HF_HOME": str(tmp_path / "home"), "PYTHONPATH": str(Path.cwd()), **variables}
    done = subprocess.run(
        [sys.executable, "-m", "explorer.cli", *words],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (2, "")
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert done.stderr.splitlines()[-1] == lines[0]
    assert "Traceback" not in done.stderr
    return lines[0]


@pytest.mark.parametrize("name", ["ann/birds", "ann/birds@small"])
def test_without_the_hub_the_command_line_says_how_a_set_on_disk_is_used(name: str, tmp_path: Path) -> None:
    told = command(tmp_path, f"hf:{name}", HF_HUB_OFFLINE="1")
    assert f"data=hf:{name}: the hub is not reached for ann/birds" in told
    assert told.endswith('save it by load_dataset("ann/birds").save_to_disk("/path"), and give hf:/path')


def test_without_the_library_the_command_line_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "datasets.py").write_text("raise ModuleNotFoundError('none', name='datasets')\n")
    path = f"{tmp_path}:{Path.cwd()}"
    told = command(tmp_path, "hf:ann/birds", PYTHONPATH=path)
    assert told.endswith("needs datasets, which is not installed; pip install 'vitscape[data]'")
