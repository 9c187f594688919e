"""Data sources through `load_data`, and the cues that `cues` draws."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from explorer.proxy import cues
from explorer.proxy.cache import Made, Writer, cached
from explorer.proxy.data import DataError, load_data
from explorer.proxy.dataset import Split, fingerprint

COLOURS = {"ant": (200, 30, 30), "bee": (30, 200, 30), "cat": (30, 30, 200)}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def small_cues(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cues.generate, "__defaults__", (96, 64))


def write_folder(root: Path, count: int = 10, size: tuple[int, int] = (20, 14)) -> Path:
    """root/CLASS/k.png of one colour a class, with `count` images a class."""
    for name, colour in COLOURS.items():
        (root / name).mkdir(parents=True)
        for index in range(count):
            Image.new("RGB", size, colour).save(root / name / f"{index}.png")
    return root


def small_split(value: int = 0) -> Split:
    images = np.full((4, 3, 8, 8), value, np.uint8)
    labels = np.arange(4) % 2
    return Split(images, labels, images[:2], labels[:2], classes=2)


# --- what every source promises ---


@pytest.mark.parametrize("source", ["cues", "digits", "folder"])
@pytest.mark.usefixtures("small_cues")
def test_a_source_gives_square_byte_images_whose_labels_lie_within_its_classes(
    source: str, tmp_path: Path, cache: Path
) -> None:
    if source == "folder":
        source += f":{write_folder(tmp_path / 'images')}"
    data = load_data(source, 16, cache_dir=cache)
    assert data.name == source.partition(":")[0]
    assert data.image_size == 16
    for images, labels in ((data.train_images, data.train_labels), (data.val_images, data.val_labels)):
        assert images.dtype == torch.uint8
        assert images.shape == (len(labels), 3, 16, 16)
        assert labels.dtype == torch.int64
        assert set(labels.tolist()) <= set(range(data.classes))
    assert set(data.train_labels.tolist()) == set(range(data.classes))


@pytest.mark.parametrize("source", ["cues", "digits", "folder"])
@pytest.mark.usefixtures("small_cues")
def test_loading_twice_gives_the_same_fingerprint_and_another_seed_gives_another(
    source: str, tmp_path: Path, cache: Path
) -> None:
    if source == "folder":
        root = write_folder(tmp_path / "images")
        for index, file in enumerate(sorted(root.rglob("*.png"))):  # else every split is the same
            Image.new("RGB", (20, 14), (index, 0, 0)).save(file)
        source += f":{root}"
    first = load_data(source, 16, cache_dir=cache)
    assert load_data(source, 16, cache_dir=cache).fingerprint == first.fingerprint
    assert load_data(source, 16, seed=1, cache_dir=cache).fingerprint != first.fingerprint


def test_mean_and_deviation_are_those_of_the_training_images(cache: Path) -> None:
    data = load_data("digits", 16, cache_dir=cache)
    scaled = data.train_images.double() / 255
    torch.testing.assert_close(data.mean.double(), scaled.mean((0, 2, 3)), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(data.std.double(), scaled.std((0, 2, 3), correction=0), rtol=1e-6, atol=1e-6)


def test_only_images_of_a_folder_may_be_mirrored(tmp_path: Path, cache: Path) -> None:
    assert not load_data("digits", 16, cache_dir=cache).mirror
    assert load_data(f"folder:{write_folder(tmp_path / 'images')}", 16, cache_dir=cache).mirror


def test_the_fingerprint_changes_with_one_pixel_one_label_and_the_number_of_classes() -> None:
    split = small_split()
    pixel, labels = split.train_images.copy(), split.val_labels.copy()
    pixel[0, 0, 0, 0] = 1
    labels[0] = 1
    changed = [
        Split(pixel, split.train_labels, split.val_images, split.val_labels, 2),
        Split(split.train_images, split.train_labels, split.val_images, labels, 2),
        Split(split.train_images, split.train_labels, split.val_images, split.val_labels, 3),
    ]
    assert len({fingerprint(each) for each in [split, *changed]}) == 4


# --- cues ---


def test_hue_agrees_in_30_percent_and_texture_in_40_percent_of_the_images() -> None:
    for drawn, tolerance in zip(cues.draw_cues(0), (0.02, 0.03), strict=True):  # 4 deviations of a binomial
        assert abs((drawn.hues == drawn.labels).mean() - 0.30) < tolerance
        assert abs((drawn.textures == drawn.labels).mean() - 0.40) < tolerance
        both = (drawn.hues == drawn.labels) & (drawn.textures == drawn.labels)
        assert abs(both.mean() - 0.12) < tolerance  # independent: no cue betrays whether the other is right


def test_a_wrong_cue_suggests_each_other_class_equally_often() -> None:
    drawn, _ = cues.draw_cues(0)
    for suggested in (drawn.hues, drawn.textures):
        away = (suggested - drawn.labels)[suggested != drawn.labels] % 10
        assert set(np.unique(away)) == set(range(1, 10))
        assert np.bincount(away)[1:].std() / len(away) < 0.01


def test_no_digit_image_is_in_both_training_and_validation() -> None:
    train, val = cues.draw_cues(0)
    assert not set(train.digits) & set(val.digits)
    assert len(set(train.digits)) > 1200
    assert len(set(val.digits)) > 500


def test_the_full_set_has_8192_and_4096_images_in_nearly_equal_classes() -> None:
    train, val = cues.draw_cues(0)
    assert (len(train.labels), len(val.labels)) == (8192, 4096)
    assert np.bincount(train.labels, minlength=10).min() > 700


def test_the_hue_is_seen_in_the_mean_colour_of_an_image() -> None:
    drawn, _ = cues.draw_cues(0, 512, 1)
    images = cues.generate(32, 0, 512, 1).train_images
    colour = images.mean(axis=(2, 3)) / 255 - 0.5
    colour -= colour.mean(axis=1, keepdims=True)
    tints = cues.HUES - cues.HUES.mean(axis=1, keepdims=True)
    nearest = (colour @ (tints / np.linalg.norm(tints, axis=1, keepdims=True)).T).argmax(axis=1)
    assert (nearest == drawn.hues).mean() > 0.9


def test_the_shape_stands_out_by_its_texture_more_than_by_its_brightness() -> None:
    images = cues.generate(32, 0, 512, 1).train_images.astype(np.float64) / 255
    centre, corner = images[:, :, 10:22, 10:22], images[:, :, :4, :4]
    brighter = abs(centre.mean() - corner.mean())
    assert centre.std(axis=(2, 3)).mean() > corner.std(axis=(2, 3)).mean() + brighter


@pytest.mark.parametrize("size", [8, 17, 48])
def test_cues_come_in_any_size(size: int) -> None:
    assert cues.generate(size, 0, 4, 2).train_images.shape == (4, 3, size, size)


# --- the cache ---


def test_a_kept_split_is_not_made_again(cache: Path) -> None:
    made = []

    def make(writer: Writer) -> Made:
        made.append(1)
        return writer.add_all(small_split())

    first, second = cached(cache / "a", 8, make), cached(cache / "a", 8, make)
    assert len(made) == 1
    assert fingerprint(first) == fingerprint(second) == fingerprint(small_split())
    assert [file.name for file in cache.iterdir()] == ["a"]


@pytest.mark.parametrize("damage", ["empty", "torn", "flipped byte", "labels", "no json", "another format", "nothing"])
def test_a_damaged_cache_is_made_again(damage: str, cache: Path) -> None:
    def make(value: int) -> Split:
        return cached(cache / "a", 8, lambda writer: writer.add_all(small_split(value)))

    make(7)
    images, about = cache / "a" / "train.images", cache / "a" / "about.json"
    kept = bytearray(images.read_bytes())
    kept[10] ^= 1
    for file, name, content in (
        (images, "empty", b""),
        (images, "torn", bytes(kept[: len(kept) // 2])),
        (images, "flipped byte", bytes(kept)),
        (cache / "a" / "labels", "labels", b""),
        (cache / "a" / "train.labels", "labels", bytes(8)),
        (about, "no json", b"{"),
        (about, "another format", about.read_bytes().replace(b"images@1", b"images@9")),
    ):
        if name == damage:
            file.write_bytes(content)
    expected = 7 if damage == "nothing" else 9
    assert make(9).train_images.max() == expected
    assert make(8).train_images.max() == expected
    assert [file.name for file in cache.iterdir()] == ["a"]


@pytest.mark.usefixtures("small_cues")
def test_two_processes_that_build_the_same_cache_at_once_both_get_what_a_third_draws(
    tmp_path: Path, cache: Path
) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from explorer.proxy import cues; from explorer.proxy.data import load_data\n"
        "cues.generate.__defaults__ = (96, 64)\n"
        "print(load_data('cues', 16, cache_dir=Path(sys.argv[1])).fingerprint)"
    )
    command = [sys.executable, "-c", code, str(cache)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [process.communicate()[0].strip() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert answers == [load_data("cues", 16, cache_dir=tmp_path / "own").fingerprint] * 2
    assert [file.name for file in cache.iterdir()] == ["cues-16-seed0-v1"]


@pytest.mark.usefixtures("small_cues")
def test_cues_that_cannot_be_kept_cost_a_warning_and_not_the_data(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="VITSCAPE_CACHE"):
        data = load_data("cues", 16, cache_dir=tmp_path / "file")
    assert data.fingerprint == load_data("cues", 16, cache_dir=cache).fingerprint


@pytest.mark.usefixtures("small_cues")
def test_the_cache_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITSCAPE_CACHE", str(tmp_path / "elsewhere"))
    load_data("cues", 16)
    load_data(f"folder:{write_folder(tmp_path / 'images')}", 16)
    assert [one.name.split("-")[0] for one in sorted((tmp_path / "elsewhere").iterdir())] == ["cues", "folder"]
    assert not (tmp_path / ".vitscape").exists()


def test_images_of_ones_own_are_kept_beside_them_and_moved_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VITSCAPE_CACHE", raising=False)
    write_folder(tmp_path / "here" / "images")
    first = load_data(f"folder:{tmp_path / 'here' / 'images'}", 16)
    assert len(list((tmp_path / "here" / ".vitscape").iterdir())) == 1
    assert sorted(one.name for one in (tmp_path / "here" / "images").iterdir()) == sorted(COLOURS)
    (tmp_path / "here").rename(tmp_path / "moved")
    calls: list[int] = []
    again = load_data(f"folder:{tmp_path / 'moved' / 'images'}", 16, progress=lambda done, total: calls.append(done))
    assert again.fingerprint == first.fingerprint
    assert calls == []


# --- folders ---


@pytest.mark.parametrize(
    ("mode", "suffix", "colour", "expected"),
    [
        ("RGB", "jpg", (200, 100, 50), (200, 100, 50)),
        ("L", "jpg", 90, (90, 90, 90)),
        ("CMYK", "jpg", (0, 0, 0, 0), (255, 255, 255)),
        ("L", "png", 90, (90, 90, 90)),
        ("1", "png", 1, (255, 255, 255)),
        ("P", "png", 0, (10, 20, 30)),
        ("P transparent", "png", 0, (255, 255, 255)),
        ("RGBA", "png", (10, 20, 30, 255), (10, 20, 30)),
        ("RGBA", "png", (10, 20, 30, 0), (255, 255, 255)),
        ("LA", "png", (10, 0), (255, 255, 255)),
        ("I;16", "png", 128 * 256, (128, 128, 128)),
    ],
)
def test_every_kind_of_image_becomes_rgb(
    mode: str, suffix: str, colour: int | tuple[int, ...], expected: tuple[int, ...], tmp_path: Path, cache: Path
) -> None:
    root = write_folder(tmp_path / "images", 2)
    image = Image.new(mode.partition(" ")[0], (30, 20), colour)
    if mode.startswith("P"):
        image.putpalette([10, 20, 30] * 256)
    for index in range(2):
        (root / "ant" / f"{index}.png").unlink()
        transparency = {"transparency": 0} if "transparent" in mode else {}
        image.save(root / "ant" / f"{index}.{suffix}", **transparency)
    data = load_data(f"folder:{root}", 8, cache_dir=cache)
    found = data.train_images[data.train_labels == 0][0].double().mean((1, 2))
    torch.testing.assert_close(found, torch.tensor(expected).double(), rtol=0, atol=3)


def test_the_short_side_is_resized_and_the_middle_is_kept(tmp_path: Path, cache: Path) -> None:
    root = write_folder(tmp_path / "images", 2)
    wide = np.zeros((10, 50, 3), np.uint8)
    wide[:, 20:30] = 255  # the middle fifth is white
    for index in range(2):
        Image.fromarray(wide).save(root / "ant" / f"{index}.png")
    data = load_data(f"folder:{root}", 10, cache_dir=cache)
    assert (data.train_images[data.train_labels == 0] == 255).all()


def test_a_folder_without_a_split_is_split_80_to_20_in_each_class(tmp_path: Path, cache: Path) -> None:
    data = load_data(f"folder:{write_folder(tmp_path / 'images')}", 8, cache_dir=cache)
    assert np.bincount(data.train_labels).tolist() == [8, 8, 8]
    assert np.bincount(data.val_labels).tolist() == [2, 2, 2]
    red_first = data.train_images[data.train_labels == 0].float().mean((0, 2, 3))
    assert red_first.argmax() == 0


def test_a_folder_with_its_own_split_keeps_it(tmp_path: Path, cache: Path) -> None:
    write_folder(tmp_path / "images" / "train", 4)
    write_folder(tmp_path / "images" / "val", 3)
    data = load_data(f"folder:{tmp_path / 'images'}", 8, cache_dir=cache)
    assert (len(data.train_labels), len(data.val_labels)) == (12, 9)


def test_corrupt_images_are_named_counted_and_left_out(tmp_path: Path, cache: Path) -> None:
    root = write_folder(tmp_path / "images")
    whole = (root / "ant" / "0.png").read_bytes()
    (root / "ant" / "0.png").write_bytes(whole[:50])
    (root / "bee" / "0.png").write_text("not an image")
    (root / "cat" / "0.jpg").write_bytes(b"")
    for _ in ("decoded", "from the cache"):
        with pytest.warns(UserWarning, match=r"3 unreadable images left out: .*ant/0\.png.*bee/0\.png.*cat/0\.jpg"):
            data = load_data(f"folder:{root}", 8, cache_dir=cache)
        assert len(data.train_labels) + len(data.val_labels) == 28


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_an_image_whose_exif_data_are_damaged_is_taken_as_it_is(suffix: str, tmp_path: Path, cache: Path) -> None:
    root = write_folder(tmp_path / "images")
    rng, image = np.random.default_rng(0), Image.new("RGB", (20, 14), "red")
    exif = image.getexif()
    exif[0x0112], exif[0x010E], exif[0x8825] = 6, "turned", {1: "N", 2: (1.0, 2.0, 3.0)}
    for index in range(60):  # many ways of damage
        file = root / "ant" / f"turned {index}.{suffix}"
        image.save(file, exif=exif)
        content = bytearray(file.read_bytes())
        start = content.find(b"Exif") + 6 if suffix == "jpg" else content.find(b"EXIF") + 8
        for place in rng.integers(start, start + 80, 4):
            content[place] = rng.integers(256)
        file.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some are no images at all now
        data = load_data(f"folder:{root}", 8, cache_dir=cache)
    assert len(data.train_labels) + len(data.val_labels) > 60


def test_two_folders_that_look_alike_from_outside_are_two_sets(tmp_path: Path, cache: Path) -> None:
    found = []
    for name, level in (("dark", 0), ("light", 255)):
        root = tmp_path / name / "images"
        for label in ("ant", "bee"):
            (root / label).mkdir(parents=True)
            for index in range(5):
                Image.new("RGB", (8, 8), (level,) * 3).save(root / label / f"{index}.bmp")
                os.utime(root / label / f"{index}.bmp", (0, 0))
        found.append(load_data(f"folder:{root}", 8, cache_dir=cache).train_images.float().mean().item())
    assert found == [0, 255]


def test_hidden_folders_within_a_class_are_passed_over(tmp_path: Path, cache: Path) -> None:
    root = write_folder(tmp_path / "images")
    for place in (".ipynb_checkpoints", "more/.thumbnails", "more"):
        (root / "ant" / place).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 14)).save(root / "ant" / place / "1.png")
    data = load_data(f"folder:{root}", 8, cache_dir=cache)
    assert len(data.train_labels) + len(data.val_labels) == 31


def test_a_class_that_is_added_without_images_is_noticed(tmp_path: Path, cache: Path) -> None:
    root = write_folder(tmp_path / "images")
    load_data(f"folder:{root}", 8, cache_dir=cache)
    (root / "dog").mkdir()
    with pytest.raises(DataError, match="class dog has no readable image"):
        load_data(f"folder:{root}", 8, cache_dir=cache)


def test_a_changed_folder_is_decoded_again(tmp_path: Path, cache: Path) -> None:
    root = write_folder(tmp_path / "images")
    before = load_data(f"folder:{root}", 8, cache_dir=cache)
    Image.new("RGB", (20, 14), "white").save(root / "ant" / "new.png")
    after = load_data(f"folder:{root}", 8, cache_dir=cache)
    assert len(after.train_labels) + len(after.val_labels) == 31
    assert after.fingerprint != before.fingerprint


def test_progress_counts_every_image_once_and_not_again_from_the_cache(tmp_path: Path, cache: Path) -> None:
    root, calls = write_folder(tmp_path / "images"), []
    for _ in range(2):
        load_data(f"folder:{root}", 8, cache_dir=cache, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(index + 1, 30) for index in range(30)]


# --- what cannot be loaded ---


@pytest.mark.parametrize(
    ("source", "size", "seed", "words"),
    [
        ("imagenet", 32, 0, "data=imagenet: no such source; choose one of cues, digits, folder:PATH"),
        ("", 32, 0, "choose one of"),
        ("cues:/x", 32, 0, "takes no path; write cues"),
        ("cues,subset=0", 32, 0, "subset='0': give a share above 0, and at most 1"),
        ("cues,subset=nan", 32, 0, "subset='nan': give a share"),
        ("cues,subset=.5,subset=.5", 32, 0, "subset is there twice"),
        ("digits,classes=1", 32, 0, "classes='1': give a whole number of at least 2"),
        ("digits,classes=11", 32, 0, "classes=11, it has 10; give 2 to 10"),
        ("folder", 32, 0, "no path; write folder:"),
        ("folder:", 32, 0, "no path; write folder:"),
        ("folder:/nowhere/at/all", 32, 0, "folder:/nowhere/at/all: no such folder"),
        ("folder:/" + "x" * 5000, 32, 0, "cannot be read"),
        ("folder:~nobody-of-this-name/x", 32, 0, "cannot be read"),
        ("digits,classes=" + "9" * 5000, 32, 0, "give a whole number of at least 2"),
        ("digits", 4, 0, "image_size=4"),
        ("digits", 32, -1, "seed=-1"),
    ],
)
def test_what_cannot_be_loaded_is_named_in_one_line(source: str, size: int, seed: int, words: str) -> None:
    with pytest.raises(DataError) as raised:
        load_data(source, size, seed=seed)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        ({}, "holds no class folders"),
        ({"ant/0.png": True}, "a single class, ant"),
        ({"ant/0.png": True, "bee/notes.txt": False}, "class bee has no readable image"),
        ({"ant/0.png": False, "bee/0.png": False}, "class ant has no readable image"),
        ({"ant/0.png": True, "bee/0.png": True}, "no readable image for validation"),
        ({"train/ant/0.png": True, "train/bee/0.png": True}, "no val/"),
        ({"train/ant/0.png": True, "train/bee/0.png": True, "val/ant/0.png": True, "val/cow/0.png": True}, "cow"),
    ],
)
def test_a_folder_that_is_no_data_set_is_explained_in_one_line(
    layout: dict[str, bool], words: str, tmp_path: Path, cache: Path
) -> None:
    root = tmp_path / "images"
    root.mkdir()
    for name, sound in layout.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if sound:
            Image.new("RGB", (9, 9)).save(root / name)
        else:
            (root / name).write_text("no image")
    with pytest.raises(DataError) as raised:
        load_data(f"folder:{root}", 8, cache_dir=cache)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not cache.exists() or not any(cache.iterdir())
