"""CIFAR archives in every published form, made up and small, through `load_data` and the command line."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import pickletools
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from explorer.proxy.data import DataError, Dataset, load_data
from explorer.proxy.plain_pickle import byte_array, read_plain, text
from tests.minis import MINI, Run, refuses

CLASSES = {"cifar10": 10, "cifar100": 100}
COUNTS = {"cifar10": (30, 20), "cifar100": (200, 100)}  # images of a training batch, and of the validation
FORMS = ["binary", "python 2", "pickle 2", "pickle 3", "pickle 4", "pickle 5"]
BOTH = [(kind, form) for kind in CLASSES for form in FORMS]

Batches = dict[str, tuple[NDArray[np.uint8], list[int]]]  # of each file: pixels (N, 3072), labels
Files = dict[str, bytes]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def made_up(kind: str) -> Batches:
    """Noise in the batches of a set, with the names of its Python files."""
    rng, classes, (train, val) = np.random.default_rng(7), CLASSES[kind], COUNTS[kind]
    names = [f"data_batch_{number}" for number in range(1, 6)] if kind == "cifar10" else ["train"]
    counts = dict.fromkeys(names, train) | {"test_batch" if kind == "cifar10" else "test": val}
    return {
        name: (rng.integers(0, 256, (count, 3072), np.uint8), rng.permutation(np.arange(count) % classes).tolist())
        for name, count in counts.items()
    }


def files(kind: str, form: str, batches: Batches | None = None) -> Files:
    """The files of a set in one form, with its folder's name."""
    batches, ten = batches or made_up(kind), kind == "cifar10"
    names = [f"class {label}" for label in range(CLASSES[kind])]
    if form == "binary":
        folder, meta = (
            ("cifar-10-batches-bin", "batches.meta.txt")
            if ten
            else (
                "cifar-100-binary",
                "fine_label_names.txt",
            )
        )
        made = {f"{name}.bin": records(*batch, coarse=not ten) for name, batch in batches.items()}
        made[meta] = "".join(f"{name}\n" for name in names).encode() + b"\n"
    else:
        folder, meta, prefix = (
            ("cifar-10-batches-py", "batches.meta", "")
            if ten
            else (
                "cifar-100-python",
                "meta",
                "fine_",
            )
        )
        spell = python2 if form == "python 2" else lambda table: pickle.dumps(table, protocol=int(form[-1]))
        made = {name: spell(table(*batch, key=f"{prefix}labels")) for name, batch in batches.items()}
        made[meta] = spell({"num_vis": 3072, f"{prefix}label_names": names})
    return {f"{folder}/{name}": content for name, content in made.items()}


def records(pixels: NDArray[np.uint8], labels: list[int], coarse: bool) -> bytes:
    return b"".join(
        bytes([label // 5, label] if coarse else [label]) + row.tobytes()
        for row, label in zip(pixels, labels, strict=True)
    )


def table(pixels: NDArray[np.uint8], labels: list[int], key: str) -> dict[str, Any]:
    return {
        "batch_label": "training batch 1 of 5",
        key: labels,
        "data": pixels,
        "filenames": [f"leptodactylus_s_{number:06}.png" for number in range(len(labels))],
    }


def python2(value: object) -> bytes:
    """A pickle as Python 2's cPickle writes it: every text a byte string, each followed by its place in the memo."""
    count = 0

    def put(code: bytes) -> bytes:
        nonlocal count
        count += 1
        return code + (b"q" + bytes([count]) if count < 256 else b"r" + struct.pack("<I", count))

    def byte_string(content: bytes) -> bytes:
        short = len(content) < 256
        return put((b"U" + bytes([len(content)]) if short else b"T" + struct.pack("<i", len(content))) + content)

    def spelt(one: object) -> bytes:
        if isinstance(one, str):
            return byte_string(one.encode())
        if isinstance(one, int):
            return b"K" + bytes([one]) if one < 256 else b"M" + struct.pack("<H", one)
        if isinstance(one, list):
            head, code = put(b"]"), b""
            for first in range(0, len(one), 1000):
                batch = [spelt(item) for item in one[first : first + 1000]]
                code += b"(" + b"".join(batch) + b"e" if len(batch) > 1 else batch[0] + b"a"
            return head + code
        if isinstance(one, dict):
            return put(b"}") + b"(" + b"".join(spelt(key) + spelt(item) for key, item in one.items()) + b"u"
        assert isinstance(one, np.ndarray)
        called = put(b"cnumpy.core.multiarray\n_reconstruct\n") + put(b"cnumpy\nndarray\n") + b"K\0\x85U\x01b\x87R"
        number = put(put(b"cnumpy\ndtype\n") + b"U\x02u1K\0K\x01\x87R")
        number += b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
        rows, columns = (spelt(size) for size in one.shape)
        return (
            put(called) + b"(K\x01" + rows + columns + b"\x86" + number + b"\x89" + byte_string(one.tobytes()) + b"tb"
        )

    return b"\x80\x02" + spelt(value) + b"."


def write(root: Path, made: Files) -> Path:
    for name, content in made.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def archive(path: Path, made: Files) -> Path:
    """The files as a .tar.gz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name, content in made.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def expected(kind: str, size: int) -> tuple[NDArray[np.uint8], list[int], NDArray[np.uint8], list[int]]:
    """Images (N, 3, S, S) and labels for training and for validation, decoded the plain way."""
    *train, val = made_up(kind).values()

    def images(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        planes = pixels.reshape(-1, 3, 32, 32)
        if size == 32:
            return planes
        smaller = [
            Image.fromarray(np.dstack(list(image))).resize((size, size), Image.Resampling.BICUBIC) for image in planes
        ]
        return np.stack([np.asarray(image) for image in smaller]).transpose(0, 3, 1, 2)

    return (
        images(np.concatenate([pixels for pixels, _ in train])),
        [label for _, labels in train for label in labels],
        images(val[0]),
        val[1],
    )


def check(data: Dataset, kind: str, size: int) -> None:
    train, train_labels, val, val_labels = expected(kind, size)
    assert data.classes == CLASSES[kind]
    assert np.array_equal(data.train_images.numpy(), train)
    assert np.array_equal(data.val_images.numpy(), val)
    assert data.train_labels.tolist() == train_labels
    assert data.val_labels.tolist() == val_labels


def refused(source: str, cache: Path) -> str:
    """The one line with which a source is refused; nothing is kept of it."""
    with pytest.raises(DataError) as raised:
        load_data(source, 32, cache_dir=cache)
    told = str(raised.value)
    assert "\n" not in told
    assert told.startswith(f"data={source.partition(':')[0]}:")
    assert len(told) < 600
    assert not cache.exists() or not any(cache.iterdir())
    return told


# --- every form ---


@pytest.mark.parametrize(("kind", "form"), BOTH)
def test_an_extracted_form_gives_the_images_that_are_in_it(kind: str, form: str, tmp_path: Path, cache: Path) -> None:
    root = write(tmp_path / "data", files(kind, form))
    check(load_data(f"{kind}:{root}", 32, cache_dir=cache), kind, 32)
    inner = next(root.iterdir())
    check(load_data(f"{kind}:{inner}", 16, cache_dir=cache), kind, 16)


@pytest.mark.parametrize(("kind", "form"), BOTH)
def test_an_archive_gives_the_images_that_are_in_it(kind: str, form: str, tmp_path: Path, cache: Path) -> None:
    name = f"cifar-{CLASSES[kind]}-{'binary' if form == 'binary' else 'python'}.tar.gz"
    path = archive(tmp_path / "data" / name, files(kind, form))
    data = load_data(f"{kind}:{path}", 32, cache_dir=cache)
    check(data, kind, 32)
    assert data.mirror
    assert load_data(f"{kind}:{path.parent}", 32, cache_dir=cache).fingerprint == data.fingerprint
    assert [file.name for file in path.parent.iterdir()] == [name]  # nothing was extracted


@pytest.mark.parametrize("kind", CLASSES)
def test_the_fingerprint_is_the_same_whichever_the_form(kind: str, tmp_path: Path, cache: Path) -> None:
    found = {
        load_data(f"{kind}:{write(tmp_path / form, files(kind, form))}", 32, cache_dir=cache).fingerprint
        for form in FORMS
    }
    assert len(found) == 1


def test_a_renamed_archive_and_an_unpacked_tar_are_read_too(tmp_path: Path, cache: Path) -> None:
    path = archive(tmp_path / "data" / "mine.tgz", files("cifar10", "python 2"))
    check(load_data(f"cifar10:{path}", 32, cache_dir=cache), "cifar10", 32)
    (tmp_path / "data" / "cifar-10-python.tar").write_bytes(gzip.decompress(path.read_bytes()))
    check(load_data(f"cifar10:{tmp_path / 'data'}", 32, cache_dir=cache), "cifar10", 32)


def test_binary_is_preferred_to_python_and_extracted_to_an_archive(tmp_path: Path, cache: Path) -> None:
    root = tmp_path / "data"
    archive(root / "cifar-10-binary.tar.gz", {"x/data_batch_1.bin": b"torn"})
    write(root, files("cifar10", "pickle 4"))
    check(load_data(f"cifar10:{root}", 32, cache_dir=cache), "cifar10", 32)
    write(root, {"cifar-10-batches-bin/data_batch_1.bin": b"torn"})
    with pytest.raises(DataError, match=r"cifar-10-batches-bin lacks data_batch_2\.bin"):
        load_data(f"cifar10:{root}", 32, cache_dir=cache)


def test_both_sets_may_lie_in_one_folder(tmp_path: Path, cache: Path) -> None:
    for kind in CLASSES:
        write(tmp_path / "data", files(kind, "binary"))
        archive(tmp_path / "data" / f"cifar-{CLASSES[kind]}-python.tar.gz", files(kind, "python 2"))
    for kind in CLASSES:
        check(load_data(f"{kind}:{tmp_path / 'data'}", 32, cache_dir=cache), kind, 32)


@pytest.mark.parametrize("form", ["binary", "python 2"])
def test_a_part_and_the_first_classes_are_the_same_images_in_both_forms(form: str, tmp_path: Path, cache: Path) -> None:
    root = write(tmp_path / "data", files("cifar10", form))
    data = load_data(f"cifar10:{root},subset=0.4,classes=5", 32, cache_dir=cache)
    assert data.classes == 5
    assert np.bincount(data.train_labels).tolist() == [6] * 5
    train, labels, _, _ = expected("cifar10", 32)
    known = {image.tobytes(): label for image, label in zip(train, labels, strict=True)}
    for image, label in zip(data.train_images.numpy(), data.train_labels.tolist(), strict=True):
        assert known[image.tobytes()] == label
    other = write(tmp_path / "other", files("cifar10", "binary" if form != "binary" else "python 2"))
    again = load_data(f"cifar10:{other},subset=0.4,classes=5", 32, cache_dir=cache)
    assert again.fingerprint == data.fingerprint


def test_no_names_of_classes_are_needed(tmp_path: Path, cache: Path) -> None:
    made = files("cifar10", "python 2")
    del made["cifar-10-batches-py/batches.meta"]
    check(load_data(f"cifar10:{write(tmp_path / 'data', made)}", 32, cache_dir=cache), "cifar10", 32)


def test_a_class_without_images_is_called_by_its_name(tmp_path: Path, cache: Path) -> None:
    batches = {name: (pixels, [label % 9 for label in labels]) for name, (pixels, labels) in made_up("cifar10").items()}
    for form in FORMS:
        root = write(tmp_path / form, files("cifar10", form, batches))
        assert "class class 9 has no readable image" in refused(f"cifar10:{root}", cache)


def test_images_are_kept_beside_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VITSCAPE_CACHE", raising=False)
    path = archive(tmp_path / "data" / "cifar-10-python.tar.gz", files("cifar10", "python 2"))
    first = load_data(f"cifar10:{path}", 32)
    calls: list[int] = []
    again = load_data(f"cifar10:{path}", 32, progress=lambda done, total: calls.append(done))
    assert (again.fingerprint, calls) == (first.fingerprint, [])
    assert sorted(file.name for file in path.parent.iterdir()) == [".vitscape", "cifar-10-python.tar.gz"]


# --- what is no such set ---


def without(made: Files, *names: str) -> Files:
    return {name: content for name, content in made.items() if name.rpartition("/")[2] not in names}


def with_first(made: Files, change: Callable[[bytes], bytes]) -> Files:
    """The files with the first one's content changed."""
    first = next(iter(made))
    return {**made, first: change(made[first])}


def other_table(**changes: object) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        changed = {**pickle.loads(content), **changes}
        return pickle.dumps({key: value for key, value in changed.items() if value is not None}, protocol=2)

    return change


PICKLED = files("cifar10", "pickle 2")
BINARY = files("cifar10", "binary")
WRONG: dict[str, tuple[Files, str]] = {
    "empty": ({"readme": b""}, "holds no CIFAR-10; give"),
    "the other, binary": (files("cifar100", "binary"), "CIFAR-100; write cifar100:"),
    "the other, python": (files("cifar100", "python 2"), "CIFAR-100; write cifar100:"),
    "no third batch": (without(BINARY, "data_batch_3.bin"), "lacks data_batch_3.bin"),
    "no validation": (without(PICKLED, "test_batch", "data_batch_2"), "lacks data_batch_2, test_batch"),
    "torn record": (
        with_first(BINARY, lambda content: content[:-1]),
        "92,189 bytes, which is no multiple of the 3,073",
    ),
    "no record": (with_first(BINARY, lambda _: b""), "data_batch_1.bin in"),
    "label of a record": (
        with_first(BINARY, lambda content: b"\x0a" + content[1:]),
        "label 10 of image 0, not in 0 to 9",
    ),
    "label": (with_first(PICKLED, other_table(labels=[3] * 29 + [10])), "label 10 of image 29, not in 0 to 9"),
    "label below": (with_first(PICKLED, other_table(labels=[3] * 29 + [-1])), "label -1; nothing of it was used"),
    "label of text": (with_first(PICKLED, other_table(labels=[3] * 29 + ["4"])), "label of type str"),
    "huge label": (with_first(PICKLED, other_table(labels=[2**2000] * 30)), "label 1148130695"),
    "fewer labels": (with_first(PICKLED, other_table(labels=[3] * 29)), "no list labels as long as its 30 images"),
    "no labels": (with_first(PICKLED, other_table(labels=None)), "no list labels"),
    "labels in a tuple": (with_first(PICKLED, other_table(labels=(3,) * 30)), "no list labels"),
    "no data": (with_first(PICKLED, other_table(data=None)), "no array where one has to be"),
    "floats": (with_first(PICKLED, other_table(data=np.zeros((30, 3072)))), "an array of other numbers than bytes"),
    "objects": (with_first(PICKLED, other_table(data=np.array([None]))), "an array of other numbers than bytes"),
    "other shape": (with_first(PICKLED, other_table(data=np.zeros((30, 3, 32, 32), np.uint8))), "(30, 3, 32, 32)"),
    "no image": (with_first(PICKLED, other_table(data=np.zeros((0, 3072), np.uint8), labels=[])), "data_batch_1 in"),
    "no dict": (with_first(PICKLED, lambda _: pickle.dumps([1])), "no dict"),
    "no pickle": (with_first(PICKLED, lambda _: b"no pickle"), "data_batch_1 in"),
    "no byte": (with_first(PICKLED, lambda _: b""), "data_batch_1 in"),
    "protocol 0": (with_first(PICKLED, lambda content: pickle.dumps(pickle.loads(content), 0)), "data does not need"),
    "nine names": (
        {**PICKLED, "cifar-10-batches-py/batches.meta": python2({"label_names": ["a"] * 9})},
        "batches.meta in",
    ),
    "names of numbers": (
        {**PICKLED, "cifar-10-batches-py/batches.meta": python2({"label_names": [1] * 10})},
        "no text where one has to be",
    ),
    "names that are no text": ({**BINARY, "cifar-10-batches-bin/batches.meta.txt": b"\xff" * 9}, "batches.meta.txt in"),
}


@pytest.mark.parametrize("packed", [False, True], ids=["extracted", "archive"])
@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_such_set_is_explained_in_one_line(case: str, packed: bool, tmp_path: Path, cache: Path) -> None:
    made, words = WRONG[case]
    path = archive(tmp_path / "data" / "a.tar.gz", made) if packed else write(tmp_path / "data", made)
    assert words in refused(f"cifar10:{path}", cache)


def test_cifar_10_is_no_cifar_100(tmp_path: Path, cache: Path) -> None:
    path = archive(tmp_path / "data" / "cifar-10-python.tar.gz", PICKLED)
    for asked in (path, path.parent, write(tmp_path / "extracted", PICKLED) / "cifar-10-batches-py"):
        assert "CIFAR-10; write cifar10:" in refused(f"cifar100:{asked}", cache)


@pytest.mark.parametrize("cut", [0, 1, 9, 100, 0.3, 0.9, -9, -1])
def test_a_torn_archive_is_one_line(cut: float, tmp_path: Path, cache: Path) -> None:
    path = archive(tmp_path / "data" / "cifar-10-python.tar.gz", PICKLED)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(cut * len(whole)) if isinstance(cut, float) else cut])
    told = refused(f"cifar10:{path}", cache)
    assert "cifar-10-python.tar.gz is torn, or no archive" in told


@pytest.mark.parametrize("place", [30, 0.5, -6], ids=["at the start", "in the middle", "of the check sum"])
def test_a_flipped_byte_of_an_archive_is_one_line(place: float, tmp_path: Path, cache: Path) -> None:
    path = archive(tmp_path / "data" / "cifar-10-python.tar.gz", PICKLED)
    whole = bytearray(path.read_bytes())
    whole[int(place * len(whole)) if isinstance(place, float) else place] ^= 255
    path.write_bytes(whole)
    assert "is torn, or no archive" in refused(f"cifar10:{path}", cache)


def test_no_path_of_an_archive_is_written_to(tmp_path: Path, cache: Path) -> None:
    made = {f"../../{name}": content for name, content in PICKLED.items()}
    path = archive(tmp_path / "a" / "b" / "x.tar.gz", {**made, "/etc/../../evil": b"x"})
    check(load_data(f"cifar10:{path}", 32, cache_dir=cache), "cifar10", 32)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "cache"]


def test_a_member_that_is_a_link_too_large_or_there_twice_is_refused(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "x.tar"
    for change, words in (
        ({"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "lacks data_batch_1"),
        ({"type": tarfile.LNKTYPE, "linkname": "test_batch"}, "lacks data_batch_1"),
        ({"type": tarfile.FIFOTYPE}, "lacks data_batch_1"),
        ({"size": 2**40}, "data_batch_1 has more than"),
        ({"name": "elsewhere/test_batch"}, "has test_batch twice"),
    ):
        with tarfile.open(path, "w") as tar:
            for name, content in reversed(PICKLED.items()):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                for field, value in change.items() if name.endswith("data_batch_1") else ():
                    setattr(member, field, value)
                tar.addfile(member, io.BytesIO(content) if member.size < 2**40 and member.isreg() else None)
        assert words in refused(f"cifar10:{path}", cache)


def test_an_archive_that_unpacks_to_far_too_much_is_refused(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "bomb.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as stream:
        for _ in range(33):
            stream.write(bytes(2**24))
    assert "more than 536,870,912 bytes" in refused(f"cifar10:{path}", cache)


def test_a_file_that_is_far_too_large_is_refused_before_it_is_read(tmp_path: Path, cache: Path) -> None:
    root = write(tmp_path / "data", BINARY)
    os.truncate(root / "cifar-10-batches-bin" / "data_batch_2.bin", 3073 * 10**8)
    assert "data_batch_2.bin has more than" in refused(f"cifar10:{root}", cache)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("nowhere", "no such file or folder; give cifar-10-binary.tar.gz or cifar-10-python.tar.gz"),
        ("/dev/zero", "neither a file nor a folder"),
        ("~nobody-of-this-name/x", "no such file or folder"),
        ("x" * 300, "cannot be read"),
        ("a.txt", "is torn, or no archive"),
    ],
)
def test_a_path_that_is_no_set_is_one_line(
    path: str, words: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("text " * 1000)
    with pytest.raises(DataError) as raised:
        load_data(f"cifar10:{path}", 32, cache_dir=cache)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_command_line_refuses_a_pickle_of_code_with_status_2_and_runs_none_of_it(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mini.yaml").write_text(MINI)
    made = with_first(PICKLED, lambda _: pickle.dumps({"data": Evil(f"touch {tmp_path / 'marker'}")}, protocol=2))
    write(tmp_path / "data", made)
    error = refuses(run, "search", "mini.yaml", "--data", "cifar10:data", "--trials", "1")
    assert f"data_batch_1 in data/cifar-10-batches-py: a call of '{os.system.__module__}.system'" in error
    assert not (tmp_path / "marker").exists()


# --- pickles that are programs ---


class Evil:
    """Its pickle runs a command when it is loaded."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (self.command,)


def programs(command: str) -> dict[str, bytes]:
    """Pickles that run the command when they are loaded, or would hang or fill the memory."""
    spelt = command.encode()
    text = b"X" + struct.pack("<I", len(spelt)) + spelt
    system = b"cposix\nsystem\n"
    array = b"cnumpy.core.multiarray\n_reconstruct\n"
    return {
        **{f"reduce {protocol}": pickle.dumps({"data": Evil(command)}, protocol=protocol) for protocol in range(6)},
        "reduce without a dict": b"\x80\x02" + system + text + b"\x85R.",
        "after the data": pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [0], "x": Evil(command)}, 4),
        "as a key": b"\x80\x02}" + system + text + b"\x85RK\x01s.",
        "by two strings": b"\x80\x04\x8c\x05posix\x8c\x06system\x93" + text + b"\x85R.",
        "INST": b"\x80\x02(" + text + b"iposix\nsystem\n.",
        "OBJ": b"\x80\x02(" + system + text + b"o.",
        "NEWOBJ": b"\x80\x02" + system + text + b"\x85\x81.",
        "NEWOBJ_EX": b"\x80\x04" + system + text + b"\x85}\x92.",
        "BUILD": b"\x80\x02" + array + b")R}" + text + b"K\x01sb.",
        "an extension": b"\x80\x02\x82\x01" + text + b"\x85R.",
        "a persistent id": b"\x80\x02" + text + b"Q.",
        "eval by a deeper name": b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93" + text + b"\x85R.",
        "a name of NumPy that runs": b"\x80\x02cnumpy.core.multiarray\nfromfile\n" + text + b"\x85R.",
        "a name of many letters": b"\x80\x02c" + b"x" * 10**6 + b"\n" + b"y" * 10**6 + b"\n.",
        "deep tuples": b"\x80\x02)" + b"\x85" * 300_000 + b".",
        "deep lists": b"\x80\x02" + b"](" * 300_000 + b"e" * 300_000 + b".",
        "deep calls": b"\x80\x02" + array + b"q\0" + b"h\0" * 200_000 + b")" + b"R\x85" * 200_000 + b"R.",
        "a text doubled again and again": b"\x80\x02" + text + b"q\0h\0\x86" * 10**5 + b".",
        "a key doubled again and again": b"\x80\x02}" + text + b"q\0h\0\x86" * 1000 + b"K\x01s.",
        "too many instructions": b"\x80\x02" + b"N" * 3_000_000 + b".",
        "only marks": b"(" * 10**5 + b".",
        "a text of 4 GB": b"\x80\x02X\xff\xff\xff\xff.",
        "bytes of an exabyte": b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b".",
        "bytes of more": b"\x80\x04\x8e" + struct.pack("<Q", 2**64 - 1) + b".",
        "a negative size": b"\x80\x02T" + struct.pack("<i", -5) + b".",
        "a number of 2 GB": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"1.",
        "nothing on the stack": b"\x80\x02.",
        "two on the stack": b"\x80\x02NN.",
        "an open mark": b"\x80\x02N(.",
        "nothing to append to": b"\x80\x02(NNe.",
        "nothing in the memo": b"\x80\x02h\x07.",
        "an unknown instruction": b"\x80\x02\xff.",
        "a list called": b"\x80\x02]N\x85R.",
        "a text named": b"\x80\x04NN\x93.",
        "a list that holds itself": b"\x80\x02]q\0h\0a.",
    }


@pytest.mark.parametrize("case", programs(""))
def test_a_pickle_that_is_a_program_is_refused_and_none_of_it_run(case: str, tmp_path: Path, cache: Path) -> None:
    program = programs(f"touch {tmp_path / 'marker'}")[case]
    root = write(tmp_path / "data", with_first(PICKLED, lambda _: program))
    assert "data_batch_1 in" in refused(f"cifar10:{root}", cache)
    assert not (tmp_path / "marker").exists()


def test_the_programs_do_run_when_they_are_unpickled(tmp_path: Path) -> None:
    made = programs(f"touch {tmp_path / 'marker'}")
    for case in ("reduce 2", "reduce 5", "reduce without a dict", "by two strings", "INST", "OBJ"):
        pickle.loads(made[case])
        (tmp_path / "marker").unlink()


def test_a_program_among_the_names_of_classes_is_refused(tmp_path: Path, cache: Path) -> None:
    program = pickle.dumps({"label_names": Evil(f"touch {tmp_path / 'marker'}")}, protocol=4)
    root = write(tmp_path / "data", {**PICKLED, "cifar-10-batches-py/batches.meta": program})
    assert "batches.meta in" in refused(f"cifar10:{root}", cache)
    assert not (tmp_path / "marker").exists()


# --- the reader of pickles ---

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**1000), 2**1000) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=20,
)


@given(PLAIN, st.integers(3, 5))
def test_plain_data_is_read_as_unpickling_reads_it(value: object, protocol: int) -> None:
    assert read_plain(pickle.dumps(value, protocol)) == value


@given(
    st.lists(st.integers(1, 7), min_size=1, max_size=3),
    st.integers(2, 5),
    st.sampled_from(["C", "F", "strided"]),
    st.integers(0, 2**32 - 1),
)
def test_an_array_of_bytes_is_read_as_unpickling_reads_it(
    shape: list[int], protocol: int, order: str, seed: int
) -> None:
    value = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    value = np.asfortranarray(value) if order == "F" else value[::-1] if order == "strided" else value
    assert np.array_equal(byte_array(read_plain(pickle.dumps(value, protocol))), value)


@given(st.binary(max_size=900), st.integers(2, 5))
def test_bytes_are_read_as_text_in_every_spelling(value: bytes, protocol: int) -> None:
    if value or protocol > 2:  # nobody writes an empty one
        assert text(read_plain(pickle.dumps(value, protocol))) == value.decode("latin-1")


SMALL = python2(table(np.full((2, 3072), 65, np.uint8), [1, 2], "labels"))
STARTS = (SMALL, *(pickle.dumps(pickle.loads(SMALL, encoding="latin1"), protocol) for protocol in range(2, 6)))


@given(st.data())
def test_a_damaged_pickle_is_a_value_error_or_plain_data(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(STARTS)))
    near = [place for _, _, place in pickletools.genops(bytes(content)) if place is not None]
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.sampled_from(near))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)) | st.none())
    try:
        read = read_plain(bytes(content[:cut]))
        if isinstance(read, dict):
            byte_array(read.get("data"))
    except ValueError:
        pass


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (b"N" * 2_000_001 + b".", "more than 2,000,000 instructions"),
        (b"N(N.", "do not fit together"),
        (b"c'\\(\nx\n.", "a call of"),
    ],
    ids=["too many", "an open mark", "a backslash in a name"],
)
def test_a_program_that_leaves_one_value_is_read_only_if_all_of_it_is_sound(program: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_plain(program)


def test_the_hand_made_pickle_is_what_python_2_writes() -> None:
    loaded = pickle.loads(SMALL, encoding="latin1")
    assert loaded["labels"] == [1, 2]
    assert np.array_equal(loaded["data"], np.full((2, 3072), 65))
    names = {opcode.name for opcode, _, _ in pickletools.genops(SMALL)}
    assert {"BINSTRING", "SHORT_BINSTRING", "BINPUT", "GLOBAL", "REDUCE", "BUILD"} <= names
    assert not {name for name in names if "UNICODE" in name or "BYTES" in name}
