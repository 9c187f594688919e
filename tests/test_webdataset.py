"""The source `webdataset`: shards of tar files."""

from __future__ import annotations

import contextlib
import gzip
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.proxy import webdataset
from explorer.proxy.catalogue import Catalogue
from explorer.proxy.data import DataError, load_data
from explorer.proxy.shards import shards
from explorer.proxy.tar import members as members_of
from tests.encoded import items, members, reference, refused, write_folder, write_shard

TRAIN, VAL = items(8), items(4, first=100)


def catalogue(path: Path) -> Catalogue:
    source = f"webdataset:{path}"
    return webdataset.catalogue(source, shards(source, str(path), ".tar"))


def write_set(root: Path, **options: Any) -> Path:
    """Two shards of training images, and one for validation."""
    write_shard(root / "set-train-000000.tar", members(TRAIN[:11]), **options)
    write_shard(root / "set-train-000001.tar", members(TRAIN[11:], 11), **options)
    write_shard(root / "set-val-000000.tar", members(VAL), **options)
    return root


# --- what is read ---


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_images_and_labels_are_those_of_the_samples_as_pillow_decodes_them(kind: int, tmp_path: Path) -> None:
    data = load_data(f"webdataset:{write_set(tmp_path / 'set', format=kind)}", 12)
    for images, labels, expected in (
        (data.train_images, data.train_labels, TRAIN),
        (data.val_images, data.val_labels, VAL),
    ):
        assert labels.tolist() == [each.label for each in expected]
        np.testing.assert_array_equal(images.numpy(), np.stack([reference(each.content, 12) for each in expected]))
    assert (data.name, data.classes, data.mirror) == ("webdataset", 3, True)


@pytest.mark.parametrize("options", ["", ",subset=0.5,classes=2"])
def test_the_fingerprint_is_that_of_a_folder_of_the_same_files(options: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", {"train": TRAIN, "val": VAL})
    data = load_data(f"webdataset:{write_set(tmp_path / 'set')}{options}", 12)
    assert data.fingerprint == load_data(f"folder:{folder}{options}", 12).fingerprint


def test_a_range_and_a_pattern_of_shards_are_split_80_to_20_like_a_folder(tmp_path: Path) -> None:
    folder = load_data(f"folder:{write_folder(tmp_path / 'folder', {'.': TRAIN})}", 12)
    write_set(tmp_path / "set")
    for pattern in ("set-train-{000000..000001}.tar", "set-train-*.tar"):
        data = load_data(f"webdataset:{tmp_path}/set/{pattern}", 12)
        assert data.fingerprint == folder.fingerprint


def test_labels_may_be_numbers_of_a_json_file(tmp_path: Path) -> None:
    content: list[tuple[str, bytes]] = []
    for index, each in enumerate(TRAIN):
        about = {"label": each.label} if index % 2 else {"cls": each.label, "text": "a picture"}
        content += [(f"a/{index}.{each.suffix}", each.content), (f"a/{index}.json", json.dumps(about).encode())]
    write_shard(tmp_path / "json" / "0.tar", content)
    write_shard(tmp_path / "cls" / "0.tar", members(TRAIN))
    first = load_data(f"webdataset:{tmp_path / 'json'}", 12)
    assert first.fingerprint == load_data(f"webdataset:{tmp_path / 'cls'}", 12).fingerprint


def test_a_key_ends_at_the_first_dot_and_its_folder_belongs_to_it(tmp_path: Path) -> None:
    content: list[tuple[str, bytes]] = []
    for index, each in enumerate(TRAIN):  # all have the key 0, each in a folder of its own
        content += [
            (f"{index}.x/0.seg.png", b"no image: another extension"),
            (f"{index}.x/0.{each.suffix.upper()}", each.content),
            (f"{index}.x/0.cls", f" {each.label}\n".encode()),
        ]
    write_shard(tmp_path / "a" / "0.tar", content)
    write_shard(tmp_path / "b" / "0.tar", members(TRAIN))
    first = load_data(f"webdataset:{tmp_path / 'a'}", 12)
    assert first.fingerprint == load_data(f"webdataset:{tmp_path / 'b'}", 12).fingerprint


NAMES = st.lists(
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=90),
    min_size=1,
    max_size=3,
).map("/".join)


@given(
    content=st.lists(st.tuples(NAMES, st.integers(0, 1500)), max_size=5),
    kind=st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
def test_members_are_found_where_tarfile_finds_them(
    content: list[tuple[str, int]], kind: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "members.tar"
    write_shard(file, ((name, bytes(size)) for name, size in content), format=kind)
    with tarfile.open(file) as opened:
        expected = [(info.name, info.offset_data, info.size) for info in opened if info.isreg()]
    # tarfile takes the slashes at the end of a name away
    assert [(name.rstrip("/"), member.offset, member.size) for name, member in members_of(file)] == expected


def test_folders_and_links_among_the_members_are_passed_over(tmp_path: Path) -> None:
    file = write_shard(tmp_path / "0.tar", members(TRAIN))
    with tarfile.open(file, "a") as opened:
        for name, kind in (("folder", tarfile.DIRTYPE), ("0001.jpg", tarfile.SYMTYPE), ("0002.jpg", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/hostname"
            opened.addfile(info)
    assert len(load_data(f"webdataset:{tmp_path}", 8).train_labels) == 18


# --- what is left out ---


def test_samples_without_an_image_or_a_label_are_named_and_left_out(tmp_path: Path) -> None:
    content = [
        *members(TRAIN),
        ("a.jpg", TRAIN[0].content),
        ("b.cls", b"1"),
        ("c.jpg", TRAIN[0].content),
        ("c.cls", b"ant"),
        ("d.jpg", TRAIN[0].content),
        ("d.cls", b"-1"),
        ("e.jpg", TRAIN[0].content),
        ("e.json", b'{"label": true}'),
        ("f.jpg", TRAIN[0].content),
        ("f.json", b"[" * 100_000),
        ("g.jpg", TRAIN[0].content[:50]),
        ("g.cls", b"1"),
    ]
    write_shard(tmp_path / "set-train-0.tar", content)
    write_shard(tmp_path / "set-test-0.tar", members(VAL))
    left_out = catalogue(tmp_path).left_out
    shard = "set-train-0.tar:"
    assert left_out == (
        f"{shard} a (no label)",
        f"{shard} b (no image)",
        f"{shard} c (label 'ant')",
        f"{shard} d (label '-1')",
        f"{shard} e (label True)",
        f"{shard} f (no label: its .json is damaged)",
    )
    with pytest.warns(UserWarning, match="7 unreadable images left out: set-train-0.tar: a"):
        data = load_data(f"webdataset:{tmp_path}", 8)
    assert len(data.train_labels) == len(TRAIN)
    with pytest.raises(DataError, match="7 unreadable images"):
        load_data(f"webdataset:{tmp_path}", 8, strict=True)


def test_a_damaged_image_is_named_by_its_shard_and_member(tmp_path: Path) -> None:
    write_shard(tmp_path / "0.tar", [*members(TRAIN), ("x/7.png", b"no image"), ("x/7.cls", b"1"), ("a\nb.png", b"x")])
    with pytest.warns(
        UserWarning, match=r"2 unreadable images left out: 0.tar: 'a\\nb' \(no label\), 0.tar: x/7.png \(no image\)"
    ):
        load_data(f"webdataset:{tmp_path}", 8)


def cut(file: Path, at: int) -> None:
    file.write_bytes(file.read_bytes()[:at])


@pytest.mark.parametrize("where", ["content", "header", "end", "garbage"])
def test_of_a_torn_shard_the_whole_samples_are_used_and_it_is_named(where: str, tmp_path: Path) -> None:
    write_set(tmp_path)
    file = tmp_path / "set-train-000001.tar"
    with tarfile.open(file) as opened:
        last = opened.getmembers()[-2]  # the image of the last sample
    if where == "end":
        cut(file, (last.offset_data + last.size + 511) // 512 * 512)
    elif where == "garbage":
        content = bytearray(file.read_bytes())
        content[last.offset : last.offset + 512] = b"x" * 512
        file.write_bytes(content)
    else:
        cut(file, last.offset_data + 10 if where == "content" else last.offset + 100)
    with pytest.warns(UserWarning, match=r"set-train-000001\.tar \(torn at byte \d+\)"):
        data = load_data(f"webdataset:{tmp_path}", 8)
    assert len(data.train_labels) == len(catalogue(tmp_path).train.labels) == len(TRAIN) - 1
    assert len(data.val_labels) == len(VAL)


@given(at=st.integers(0, 30_000), byte=st.integers(0, 255), length=st.sampled_from([0, 1, 8, 700]))
def test_a_damaged_shard_is_read_or_refused_in_one_line(
    at: int, byte: int, length: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.getbasetemp() / "damaged"
    file = write_shard(root / "0.tar", members(TRAIN))
    content = bytearray(file.read_bytes())
    at %= len(content)
    if length:
        content[at : at + length] = bytes([byte]) * min(length, len(content) - at)
    else:
        del content[at:]
    file.write_bytes(content)
    with contextlib.suppress(DataError):  # whatever else is raised is a fault
        found = catalogue(root)
        for place in range(len(found.train.labels)):
            assert "\n" not in found.train.names(place)
            assert len(found.train.read(place)) <= len(content)


# --- what cannot be loaded ---


def number_from_one(root: Path) -> None:
    write_shard(root / "0.tar", members([each._replace(label=(each.label or 0) + 1) for each in TRAIN]))


def other_classes(root: Path) -> None:
    write_shard(root / "train.tar", members(TRAIN))
    write_shard(root / "val.tar", members([each._replace(label=3) for each in VAL]))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: None, "no file *.tar there; give a folder of .tar files"),
        (
            lambda root: (root / "a.tar").write_bytes(b"text"),
            "no sample has an image and a label (a.tar (no tar file))",
        ),
        (lambda root: (root / "a.tar").write_bytes(b""), "(a.tar (no tar file))"),
        (lambda root: (root / "a.tar.gz").write_bytes(gzip.compress(b"")), "a.tar.gz is compressed"),
        (lambda root: write_shard(root / "a.tar", []), "no sample has an image and a label; give shards of"),
        (lambda root: write_shard(root / "a.tar", [("1.jpg", b"x")]), "(a.tar: 1 (no label))"),
        (lambda root: write_shard(root / "a.tar", members(TRAIN[:5])), "holds a single class, 0"),
        (number_from_one, "labels go up to 3, but no image has label 0; number the classes from 0 without gaps"),
        (other_classes, "validation has classes that training lacks: 3; leave it out"),
        (
            lambda root: [write_shard(root / f"{name}.tar", members(VAL)) for name in ("val", "test")],
            "no part named train among test, validation",
        ),
    ],
)
def test_shards_that_are_no_data_set_are_explained_in_one_line(
    make: Callable[[Path], None], words: str, tmp_path: Path
) -> None:
    (tmp_path / "set").mkdir()
    make(tmp_path / "set")
    assert words in refused(f"webdataset:{tmp_path / 'set'}")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/nowhere", "no such file or folder; give a folder of .tar files"),
        ("/nowhere/train-{000000..000146}.tar", "no such file: /nowhere/train-000000.tar"),
        ("/nowhere/train-{000000..999999999999}.tar", "no such file: /nowhere/train-000000.tar"),
        ("/nowhere/train.tar.gz", "train.tar.gz is compressed, and cannot be read in parts; unpack it to .tar"),
    ],
)
def test_a_path_of_no_shards_is_explained_in_one_line(path: str, words: str) -> None:
    assert words in refused(f"webdataset:{path}")
