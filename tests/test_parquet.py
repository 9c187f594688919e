"""The source `parquet`: files as Hugging Face data sets have them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.proxy import parquet
from explorer.proxy.catalogue import Catalogue
from explorer.proxy.columns import columns_of, without_columns
from explorer.proxy.data import DataError, load_data, parse_source, with_options
from explorer.proxy.shards import shards
from tests.encoded import CLASSES, Item, items, metadata, reference, refused, table, write_folder, write_parquet
from tests.minis import Run, refuses

TRAIN, VAL = items(8), items(4, first=100)


def catalogue(path: Path) -> Catalogue:
    source = f"parquet:{path}"
    return parquet.catalogue(source, shards(source, str(path), ".parquet"), {})


def write_set(root: Path, under: str = "") -> Path:
    """Training images in two files of several row groups, and validation in one."""
    write_parquet(root / under / "train-00000-of-00002.parquet", table(TRAIN[:13]))
    write_parquet(root / under / "train-00001-of-00002.parquet", table(TRAIN[13:]), rows=3)
    write_parquet(root / under / "validation-00000-of-00001.parquet", table(VAL))
    return root


# --- what is read ---


@pytest.mark.parametrize("under", ["", "data"])
def test_images_and_labels_are_those_of_the_files_as_pillow_decodes_them(under: str, tmp_path: Path) -> None:
    data = load_data(f"parquet:{write_set(tmp_path / 'set', under)}", 12)
    for images, labels, expected in (
        (data.train_images, data.train_labels, TRAIN),
        (data.val_images, data.val_labels, VAL),
    ):
        assert labels.tolist() == [each.label for each in expected]
        np.testing.assert_array_equal(images.numpy(), np.stack([reference(each.content, 12) for each in expected]))
    assert (data.name, data.classes, data.mirror) == ("parquet", 3, True)


def test_the_fingerprint_is_that_of_a_folder_of_the_same_files(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", {"train": TRAIN, "val": VAL})
    data = load_data(f"parquet:{write_set(tmp_path / 'set')}", 12)
    assert data.fingerprint == load_data(f"folder:{folder}", 12).fingerprint


def test_subset_and_classes_choose_as_they_do_of_a_folder(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", {"train": TRAIN, "val": VAL})
    data = load_data(f"parquet:{write_set(tmp_path / 'set')},subset=0.5,classes=2", 12)
    assert np.bincount(data.train_labels).tolist() == [4, 4]
    assert data.fingerprint == load_data(f"folder:{folder},subset=0.5,classes=2", 12).fingerprint


def test_one_file_and_a_pattern_are_split_80_to_20_like_a_folder(tmp_path: Path) -> None:
    write_set(tmp_path / "set")
    folder = write_folder(tmp_path / "folder", {".": TRAIN})
    found = load_data(f"parquet:{tmp_path}/set/train-*.parquet", 12)
    assert found.fingerprint == load_data(f"folder:{folder}", 12).fingerprint
    found = load_data(f"parquet:{tmp_path}/set/train-0000{{0..1}}-of-00002.parquet", 12)
    assert found.fingerprint == load_data(f"folder:{folder}", 12).fingerprint
    one = load_data(f"parquet:{tmp_path}/set/validation-00000-of-00001.parquet", 12)
    assert (len(one.train_labels), len(one.val_labels)) == (9, 3)


@pytest.mark.parametrize("held", [{"validation", "test"}, {"test"}, set()])
def test_validation_is_held_out_before_test_and_a_part_of_training_where_there_is_neither(
    held: set[str], tmp_path: Path
) -> None:
    counts = {"validation": 3, "test": 5}
    write_parquet(tmp_path / "train-0.parquet", table(TRAIN))
    for name in held:
        write_parquet(tmp_path / f"{name}-0.parquet", table(items(counts[name], 50)))
    data = load_data(f"parquet:{tmp_path}", 8)
    assert len(data.val_labels) == (9 if "validation" in held else 15 if held else 6)


def test_a_test_part_without_labels_is_not_what_is_held_out(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train-0.parquet", table(TRAIN))
    write_parquet(tmp_path / "test-0.parquet", table(each._replace(label=-1) for each in VAL))
    data = load_data(f"parquet:{tmp_path}", 8)
    assert (len(data.train_labels), len(data.val_labels)) == (18, 6)


def test_a_folder_that_is_named_for_the_part_tells_it(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train" / "0000.parquet", table(TRAIN))
    write_parquet(tmp_path / "test" / "0000.parquet", table(VAL))
    assert len(load_data(f"parquet:{tmp_path}", 8).val_labels) == len(VAL)


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_images_may_be_plain_bytes(kind: pa.DataType, tmp_path: Path) -> None:
    plain = table(TRAIN, named=False, image=None, img=pa.array([each.content for each in TRAIN], kind))
    write_parquet(tmp_path / "plain.parquet", plain)
    write_parquet(tmp_path / "set" / "0.parquet", table(TRAIN))
    first = load_data(f"parquet:{tmp_path / 'plain.parquet'}", 12)
    assert first.fingerprint == load_data(f"parquet:{tmp_path / 'set'}", 12).fingerprint


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())])
def test_labels_may_be_texts_whose_classes_are_sorted(kind: pa.DataType, tmp_path: Path) -> None:
    mixed = random.Random(0).sample(TRAIN, len(TRAIN))
    names = pa.array([CLASSES[each.label or 0] for each in mixed], pa.string())
    write_parquet(tmp_path / "texts.parquet", table(mixed, named=False, label=names.cast(kind)))
    write_parquet(tmp_path / "numbers.parquet", table(mixed))
    first = load_data(f"parquet:{tmp_path / 'texts.parquet'}", 8)
    assert first.fingerprint == load_data(f"parquet:{tmp_path / 'numbers.parquet'}", 8).fingerprint
    assert tuple(catalogue(tmp_path / "texts.parquet").classes) == CLASSES


def test_class_names_are_those_of_the_schema_else_the_numbers(tmp_path: Path) -> None:
    write_parquet(tmp_path / "named.parquet", table(TRAIN))
    write_parquet(tmp_path / "plain.parquet", table(TRAIN, named=False))
    assert tuple(catalogue(tmp_path / "named.parquet").classes) == CLASSES
    assert list(catalogue(tmp_path / "plain.parquet").classes) == ["0", "1", "2"]


@given(order=st.lists(st.integers(0, 899), max_size=20), rows=st.sampled_from([7, 600]))
def test_rows_are_read_in_whatever_order_they_are_asked_for(
    order: list[int], rows: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / f"{rows} rows.parquet"
    if not file.exists():
        images = [str(index).encode() for index in range(900)]
        write_parquet(file, table([], named=False, image=images, label=[index % 2 for index in range(900)]), rows)
    part = catalogue(file).train
    assert [part.read(place) for place in order] == [str(place).encode() for place in order]


# --- what is left out ---


def test_rows_without_an_image_or_a_label_are_named_and_left_out(tmp_path: Path) -> None:
    content: list[Any] = [{"bytes": each.content, "path": "x.png"} for each in TRAIN]
    labels: list[Any] = [each.label for each in TRAIN]
    content[2], content[3], content[4] = None, {"bytes": None, "path": "/etc/hostname"}, {"bytes": b"", "path": None}
    content[9] = {"bytes": TRAIN[9].content[:60], "path": None}
    labels[5], labels[6], labels[20] = None, -1, 7
    write_parquet(tmp_path / "train-00000-of-00002.parquet", table([], image=content[:12], label=labels[:12]))
    write_parquet(tmp_path / "train-00001-of-00002.parquet", table([], image=content[12:], label=labels[12:]))
    write_parquet(tmp_path / "test-00000-of-00001.parquet", table(VAL))
    first, second = "train-00000-of-00002.parquet row", "train-00001-of-00002.parquet row"
    for _ in ("decoded", "from the cache"):
        with pytest.warns(UserWarning, match="7 unreadable images left out: ") as warned:
            data = load_data(f"parquet:{tmp_path}", 8)
        told = str(warned[0].message)
        expected = [f"{first} 5 (no label)", f"{first} 6 (no label)", f"{second} 8 (label 7 of 3 classes)"]
        assert all(each in told for each in [*expected, f"{first} 2 (no image)", f"{first} 3 (no image)"])
        assert len(data.train_labels) == len(TRAIN) - 7
    with pytest.raises(DataError, match=r"7 unreadable images: .*; mend or remove them"):
        load_data(f"parquet:{tmp_path}", 8, strict=True)


def test_of_a_file_with_a_damaged_row_group_the_others_are_used(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "train-0.parquet", table([*TRAIN, *items(8, 30), *TRAIN]), rows=24)
    write_parquet(tmp_path / "test-0.parquet", table(VAL))
    images = pq.ParquetFile(file).metadata.row_group(1).column(0)
    assert images.path_in_schema == "image.bytes"
    with file.open("r+b") as stream:
        stream.seek(images.dictionary_page_offset or images.data_page_offset)
        stream.write(b"\xff" * 200)
    with pytest.warns(UserWarning, match=r"24 unreadable images left out: train-0.parquet row 24 \("):
        data = load_data(f"parquet:{tmp_path}", 12)
    expected = [reference(each.content, 12) for each in TRAIN]
    np.testing.assert_array_equal(data.train_images.numpy(), np.stack(expected + expected))


# --- which columns ---


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, ("image", "label")),
        ({"image": None, "img": [b""], "label": None, "fine_label": [0], "coarse_label": [0]}, ("img", "fine_label")),
        ({"mask": [b""], "width": [3], "name": ["x"]}, ("image", "label")),
        ({"image": None, "photo": [b""], "label": None, "species": [3]}, ("photo", "species")),
        ({"label": None, "__index_level_0__": [3], "kind": [3]}, ("image", "kind")),
    ],
)
def test_columns_are_found_by_their_types_and_usual_names(change: dict[str, Any], found: tuple[str, str]) -> None:
    columns = {"image": [b""], "label": [0], **change}
    assert columns_of(table([], named=False, **columns).schema, {}, "parquet:x")[:2] == found


def test_of_several_columns_of_bytes_the_schema_tells_which_one_holds_images() -> None:
    features = {"photo": {"_type": "Image"}, "species": {"_type": "ClassLabel", "names": ["x", "y"]}}
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    columns = pa.table({"mask": [b""], "photo": [b""], "size": [3], "species": [1]}, metadata=about)
    assert columns_of(columns.schema, {}, "") == ("photo", "species", ("x", "y"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"img": [b""]}, "columns image, img could be the image; write ,image=image after the path"),
        ({"fine_label": [0]}, "columns label, fine_label could be the label; write ,label=label after the path"),
        ({"label": None, "one": [0], "two": [0]}, "columns one, two could be the label; write ,label=one"),
        ({"label": None, "title": ["x"]}, "no column of labels (integers or texts) is known; write ,label=title"),
        ({"label": None, "score": [0.5]}, "no column of labels (integers or texts) is known; it has image, score"),
        ({"image": None, "pixels": [[0, 1]]}, "no column of images (bytes) is known; it has label, pixels"),
    ],
)
def test_columns_that_could_be_meant_or_are_not_there_are_named(
    change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    columns = {"image": [b""], "label": [0], **change}
    write_parquet(tmp_path / "train.parquet", table([], named=False, **columns))
    assert words in refused(f"parquet:{tmp_path}")


def test_columns_are_chosen_in_the_source_whatever_stands_beside_them(tmp_path: Path) -> None:
    other = [1 - (each.label or 0) % 2 for each in TRAIN]
    write_parquet(tmp_path / "train.parquet", table(TRAIN, named=False, fine_label=other))
    for words in (",label=fine_label", ",subset=1,label=fine_label", ",image=image,label=fine_label,classes=2"):
        data = load_data(f"parquet:{tmp_path}{words}", 8)
        assert sorted([*data.train_labels.tolist(), *data.val_labels.tolist()]) == sorted(other)
    assert load_data(f"parquet:{tmp_path},label=label", 8).classes == 3  # not what was kept of the other column


def test_the_columns_stay_in_the_spelling_that_studies_keep() -> None:
    assert parse_source("parquet:/a,subset=0.5,label=y,image=x").path == "/a,label=y,image=x"
    assert with_options("parquet:/a,subset=0.5,label=y", None, 3) == "parquet:/a,label=y,subset=0.5,classes=3"
    assert parse_source("folder:/a,label=y").path == "/a,label=y"
    assert without_columns("/a,b,label=y,image=x", "") == ("/a,b", {"label": "y", "image": "x"})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (",label=nothing", "label=nothing: no such column of labels; those that can be are label"),
        (",image=label", "image=label: no such column of images; those that can be are image"),
        (",label=a,label=b", "label is there twice; give it once"),
    ],
)
def test_a_column_that_cannot_be_chosen_is_named(options: str, words: str, tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", table(TRAIN))
    assert words in refused(f"parquet:{tmp_path}{options}")


# --- what cannot be loaded ---


def write(root: Path, **files: pa.Table) -> None:
    for name, content in files.items():
        write_parquet(root / f"{name}.parquet", content)


def two_folders(root: Path) -> None:
    write(root / "fine", train=table(TRAIN))
    write(root / "coarse", train=table(TRAIN))


def with_label(label: Any) -> list[Item]:
    return [each._replace(label=label) for each in TRAIN]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: None, "no file *.parquet there; give a folder of .parquet files"),
        (lambda root: (root / "train.parquet").write_text("text"), "train.parquet is not readable"),
        (lambda root: (root / "train.parquet").write_bytes(b""), "train.parquet is not readable"),
        (
            lambda root: write(root, test=table(VAL), validation=table(VAL)),
            "no part named train among test, validation",
        ),
        (lambda root: write(root, train=table([], label=pa.array([], pa.int64()))), "class ant has no readable image"),
        (lambda root: write(root, train=table([], named=False, label=pa.array([], pa.int64()))), "no labelled image"),
        (lambda root: write(root, train=table(with_label(-1), named=False)), "no labelled image for training"),
        (lambda root: write(root, train=table(with_label(0), named=False)), "holds a single class, 0"),
        (
            lambda root: write(root, train=table([each._replace(label=10**9) for each in TRAIN], named=False)),
            "labels go up to 1000000000, but no image has label 0; number the classes from 0 without gaps",
        ),
        (
            lambda root: write(root, train=table(TRAIN, named=False), test=table(with_label(3), named=False)),
            "validation has classes that training lacks: 3",
        ),
        (
            lambda root: write(
                root, train=table(TRAIN, named=False, label=["x", "y"] * 12), test=table(VAL, named=False)
            ),
            "labels are texts in one part and numbers in another",
        ),
        (
            lambda root: write(
                root,
                train=table(TRAIN, named=False, label=["x", "y"] * 12),
                test=table(VAL, named=False, label=["x", "z"] * 6),
            ),
            "validation has classes that training lacks: z; leave them out",
        ),
        (
            lambda root: write(root, train_0=table(TRAIN), train_1=table(TRAIN, image=None, img=[b""] * len(TRAIN))),
            "train_1.parquet has the columns img and label, others image and label",
        ),
        (
            lambda root: write(
                root, train_0=table(TRAIN), train_1=table(TRAIN).replace_schema_metadata(metadata(names="xyz"))
            ),
            "train_1.parquet names other classes",
        ),
        (
            two_folders,
            "files of one part lie in ",
        ),
        (
            lambda root: write(root, train=table(TRAIN, label=pa.array([2**64 - 1] * len(TRAIN), pa.uint64()))),
            "train.parquet is not readable (Integer value 18446744073709551615",
        ),
    ],
)
def test_files_that_are_no_data_set_are_explained_in_one_line(
    make: Callable[[Path], None], words: str, tmp_path: Path
) -> None:
    (tmp_path / "set").mkdir()
    make(tmp_path / "set")
    assert words in refused(f"parquet:{tmp_path / 'set'}")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/nowhere", "no such file or folder; give a folder of .parquet files"),
        ("/nowhere/*.parquet", "no file *.parquet there"),
        ("/nowhere/train-{000..146}.parquet", "no such file: /nowhere/train-000.parquet"),
        ("/nowhere/train-{9..1}.parquet", "{9..1} counts down; write {1..9}"),
        ("/nowhere/train-{a,b}.parquet", "no such file: /nowhere/train-{a,b}.parquet; write a range"),
    ],
)
def test_a_path_of_no_files_is_explained_in_one_line(path: str, words: str) -> None:
    assert words in refused(f"parquet:{path}")


def test_the_command_line_refuses_them_with_status_2(run: Run, tmp_path: Path) -> None:
    told = refuses(run, "search", "tiny_32", "--data", "parquet:/nowhere", "--storage", "none.db")
    assert not (tmp_path / "none.db").exists()
    assert "parquet:/nowhere: no such file or folder" in told
