"""The cache of decoded images under what happens to it: two at once, a kill, a full disk, no permission."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from explorer.proxy.cache import CacheError, kept
from explorer.proxy.data import load_data

IMAGES = 240
SCRIPT = """
import sys, time
from pathlib import Path
from explorer.proxy.data import load_data

def tell(done, total):
    print(done, flush=True)
    time.sleep(float(sys.argv[3]))

wait = lambda pid: print(f"waits for {pid}", flush=True)
data = load_data(sys.argv[1], 16, cache_dir=Path(sys.argv[2]), progress=tell, on_wait=wait)
print("fingerprint", data.fingerprint)
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, rng = tmp_path_factory.mktemp("data") / "images", np.random.default_rng(0)
    for name in ("ant", "bee"):
        (root / name).mkdir(parents=True)
        for index in range(IMAGES // 2):
            pixels = rng.integers(0, 256, (20, 20, 3), np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index}.png")
    return root


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def start(images: Path, cache: Path, pause: float = 0.002) -> subprocess.Popen[str]:
    """A process that decodes the images, with a pause after each, and says how far it is."""
    words = [sys.executable, "-c", SCRIPT, f"folder:{images}", str(cache), str(pause)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def wait_for(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip().startswith(word):
            return
    raise AssertionError(f"ended with {process.wait()} before it said {word}")


def whole(images: Path, tmp_path: Path) -> str:
    """The fingerprint of a cache that nothing happened to."""
    return load_data(f"folder:{images}", 16, cache_dir=tmp_path / "undisturbed").fingerprint


def test_of_two_processes_that_want_the_same_images_one_decodes_them_and_the_other_waits(
    images: Path, cache: Path, tmp_path: Path
) -> None:
    first = start(images, cache, 0.01)
    wait_for(first, "1")
    second = start(images, cache)
    told = [process.communicate(timeout=120)[0].split("\n") for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0]
    assert told[0][-3:-1] == [str(IMAGES), f"fingerprint {whole(images, tmp_path)}"]
    assert told[1][:-1] == [f"waits for {first.pid}", told[0][-2]]
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_build_that_is_killed_leaves_nothing_half_done_and_the_next_one_is_clean(
    how: signal.Signals, images: Path, cache: Path, tmp_path: Path
) -> None:
    process = start(images, cache)
    wait_for(process, "50")
    process.send_signal(how)
    process.communicate(timeout=60)
    assert process.returncode != 0
    left = list(cache.iterdir())
    assert all(one.name.startswith(".folder-16-") for one in left)
    assert len(left) == (how is signal.SIGKILL)
    data = load_data(f"folder:{images}", 16, cache_dir=cache)
    assert data.fingerprint == whole(images, tmp_path)
    assert [one.name.startswith("folder-16-") for one in cache.iterdir()] == [True]


def test_one_that_waits_takes_over_where_the_first_is_killed(images: Path, cache: Path, tmp_path: Path) -> None:
    first = start(images, cache, 0.05)
    wait_for(first, "5")
    second = start(images, cache, 0)
    wait_for(second, "waits")
    first.kill()
    first.communicate()
    told, _ = second.communicate(timeout=120)
    assert told.split()[-1] == whole(images, tmp_path)
    assert len(list(cache.iterdir())) == 1


def test_two_hosts_that_share_a_folder_may_both_make_the_set(images: Path, cache: Path, tmp_path: Path) -> None:
    (cache / ".folder-16-abc-otherhost-12").mkdir(parents=True)  # one is at it
    first = load_data(f"folder:{images}", 16, cache_dir=cache)
    name = next(one for one in cache.iterdir() if one.name.startswith("folder-")).name
    (cache / ".folder-16-abc-otherhost-12").rename(cache / f".{name}-otherhost-12")
    shutil.rmtree(cache / name)
    assert load_data(f"folder:{images}", 16, cache_dir=cache).fingerprint == first.fingerprint
    assert (cache / f".{name}-otherhost-12").exists()


# --- a full disk ---


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """No file of this process grows beyond `size`: it fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = os.geteuid() == 0 and shutil.which("mount") is not None
    if not mounted or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]).returncode:
        pytest.skip("mounting a file system needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def refused(source: str, size: int, cache: Path) -> str:
    with pytest.raises(CacheError) as raised:
        load_data(source, size, cache_dir=cache)
    assert "\n" not in str(raised.value)
    assert "set VITSCAPE_CACHE to a folder that has room and can be written to" in str(raised.value)
    return str(raised.value)


def test_images_that_do_not_fit_on_the_disk_are_told_before_one_is_decoded(images: Path, small_disk: Path) -> None:
    told = refused(f"folder:{images}", 64, small_disk / "cache")
    assert os.strerror(errno.ENOSPC) in told
    assert "the images need 4 MB, and 2.1 MB are free" in told
    assert not any((small_disk / "cache").iterdir())
    assert len(load_data(f"folder:{images}", 16, cache_dir=small_disk / "cache").train_labels) == IMAGES * 0.8


def test_a_disk_that_fills_up_meanwhile_is_one_line_and_the_earlier_set_is_intact(
    images: Path, cache: Path, tmp_path: Path
) -> None:
    earlier = load_data(f"folder:{images}", 16, cache_dir=cache)
    with files_at_most(100_000):
        told = refused(f"folder:{images}", 32, cache)
    assert str(cache) in told
    assert len(list(cache.iterdir())) == 1
    calls: list[int] = []
    kept = load_data(f"folder:{images}", 16, cache_dir=cache, progress=lambda done, total: calls.append(done))
    assert (kept.fingerprint, calls) == (earlier.fingerprint, [])
    assert load_data(f"folder:{images}", 32, cache_dir=cache).image_size == 32


def test_a_set_that_cannot_be_written_where_it_was_to_be_is_one_line(images: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    refused(f"folder:{images}", 16, tmp_path / "file")


# --- several hosts ---


def test_a_sound_set_that_another_host_made_meanwhile_is_used_and_not_replaced(images: Path, cache: Path) -> None:
    load_data(f"folder:{images}", 16, cache_dir=cache.parent / "other host")
    elsewhere = next((cache.parent / "other host").iterdir())
    process, folder = start(images, cache, 0.02), cache / elsewhere.name
    wait_for(process, "5")
    shutil.copytree(elsewhere, folder)
    before = (folder / "train.images").stat().st_ino
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert told.split()[-1] == load_data(f"folder:{images}", 16, cache_dir=cache).fingerprint
    assert (folder / "train.images").stat().st_ino == before
    assert list(cache.iterdir()) == [folder]


# --- mapped into memory ---


def test_a_set_may_be_larger_than_the_memory(images: Path, cache: Path) -> None:
    load_data(f"folder:{images}", 16, cache_dir=cache)
    folder = next(cache.iterdir())
    about = json.loads((folder / "about.json").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    count = 4 * memory // (16 * 16 * 3)
    os.truncate(folder / "train.images", count * 16 * 16 * 3)  # a file with a hole: it takes no room
    os.truncate(folder / "train.labels", 0)
    with (folder / "train.labels").open("wb") as labels:
        labels.truncate(count * 8)
    (folder / "about.json").write_text(json.dumps(about | {"train": count}))
    split = kept(folder)
    assert split is not None
    assert split.train_images.nbytes > 3 * memory
    assert split.train_images[-1].max() == 0


def test_images_of_a_set_lie_in_its_file_and_not_in_the_process(images: Path, cache: Path) -> None:
    data = load_data(f"folder:{images}", 16, cache_dir=cache)
    file = next(cache.glob("folder-*/train.images"))
    assert data.train_images.permute(0, 2, 3, 1).is_contiguous()
    with file.open("r+b") as stream:  # nobody does that; but what is mapped shows it
        stream.seek(0)
        before = data.train_images[0, :, 0, 0].tolist()
        stream.write(bytes(255 - value for value in before))
    deadline = time.monotonic() + 10
    while data.train_images[0, :, 0, 0].tolist() == before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert data.train_images[0, :, 0, 0].tolist() == [255 - value for value in before]
