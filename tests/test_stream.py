"""Streamed images: the same batches as by indexing, whatever their size; errors arrive, and no thread stays behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from explorer.proxy import batches, stream
from explorer.proxy.data import Dataset, load_data
from explorer.proxy.stream import RING, Stream
from explorer.proxy.train import TrainSettings, evaluate_accuracy, train
from explorer.train.batches import batches_of, resident, streamed
from explorer.train.loop import slice_of
from tests.training import farthest, trained, weights

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "vitscape-images"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load_data("digits", 16, cache_dir=tmp_path_factory.mktemp("cache"))


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10))


def numbered(count: int) -> Tensor:
    return torch.arange(count * 12, dtype=torch.int32).view(count, 2, 2, 3)


# --- the stream itself ---


@given(st.integers(1, 40), st.integers(1, 45), st.integers(0, 2**31))
def test_its_batches_are_those_of_indexing(count: int, size: int, seed: int) -> None:
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    with Stream(numbered(count), order.split(size), CPU) as found:
        kept = list(found)  # all of them: no buffer is used again under a batch that was handed out
    assert len(kept) == -(-count // size)
    assert torch.equal(torch.cat(kept), numbered(count)[order])


def test_it_reads_a_read_only_file_that_is_mapped_into_memory(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3), np.uint8)
    pixels.tofile(tmp_path / "images")
    mapped = np.memmap(tmp_path / "images", np.uint8, "c", shape=pixels.shape)
    order = torch.randperm(20)
    with Stream(torch.from_numpy(mapped), order.split(6), CPU) as found:
        assert torch.equal(torch.cat(list(found)), torch.from_numpy(pixels)[order])


def test_an_error_in_the_thread_reaches_the_caller_after_the_batches_before_it() -> None:
    with Stream(numbered(4), torch.tensor([0, 1, 2, 3, 9, 1]).split(2), CPU) as found:
        batch = iter(found)
        assert torch.equal(torch.cat([next(batch), next(batch)]), numbered(4))
        with pytest.raises(IndexError, match="out of range"):
            next(batch)


@pytest.mark.parametrize("taken", [0, 1, RING + 2])
def test_leaving_early_ends_the_thread(taken: int) -> None:
    with Stream(numbered(1000), torch.arange(1000).split(2), CPU) as found:
        for _, _ in zip(range(taken), found, strict=False):
            pass


def test_it_is_never_more_than_a_ring_ahead() -> None:
    asked: list[int] = []

    class Rows:
        """Batches that note when they are gathered."""

        def __len__(self) -> int:
            return 20

        def __iter__(self) -> Iterator[Tensor]:
            for number in range(20):
                asked.append(number)
                yield torch.tensor([number])

    begun = Stream(numbered(20), Rows(), CPU)  # type: ignore[arg-type]
    asked.clear()  # it looked for the largest
    with begun as found:
        for taken, _ in enumerate(found, start=1):
            assert len(asked) <= taken + RING + 1


# --- training from it ---


@pytest.mark.parametrize("policy", [{}, {"randaugment_ops": 1, "erase": 0.5, "mixup": 0.4, "cutmix": 1.0}])
def test_streamed_images_train_and_evaluate_as_resident_ones(
    policy: dict[str, float], digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = TrainSettings.model_validate({"epochs": 2, "augmentation": policy or None})
    first, second = network(), network()
    here = train(first, digits, settings, device="cpu", seed=3)
    streams = []

    class Counted(Stream):
        def __init__(self, images: Tensor, rows: tuple[Tensor, ...], device: torch.device) -> None:
            streams.append(len(rows))
            super().__init__(images, rows, device)

    monkeypatch.setattr(batches, "is_on", lambda images, device: False)
    monkeypatch.setattr(batches, "Stream", Counted)
    there = train(second, digits, settings, device="cpu", seed=3)
    assert there.accuracy_by_epoch == here.accuracy_by_epoch
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))
    assert streams == 2 * [len(digits.train_labels) // 64, -(-len(digits.val_labels) // 512)]
    assert evaluate_accuracy(second, digits) == there.accuracy


def test_a_training_that_is_ended_midway_leaves_no_thread(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "is_on", lambda images, device: False)
    left = iter(range(3))

    def interrupt() -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(network(), digits, TrainSettings(), device="cpu", seed=0, between_steps=interrupt)


@pytest.mark.parametrize(("repeats", "accumulate", "count"), [(1, 1, 1), (3, 2, 1), (1, 2, 2)])
def test_a_training_in_earnest_reads_the_same_streamed_as_resident(
    repeats: int, accumulate: int, count: int, digits: Dataset
) -> None:
    data = replace(digits, train_labels=torch.arange(len(digits.train_labels)))
    parts = [slice_of(24, part, count - 1, accumulate, count) for part in range(accumulate)]
    one, other = resident(data, 24, repeats, 5), streamed(data, 24, repeats, 5, parts)
    assert one.steps == other.steps
    last = one.steps - 1
    # from the beginning, taken up in the midst of an epoch, over the end of one, and one step again
    for epoch, step in [(0, 0), (0, 1), (0, 7), (0, 8), (1, last - 1), (1, last), (2, 0), (2, 0)]:
        for part in parts:
            for a, b in zip(one.read(epoch, step, part), other.read(epoch, step, part), strict=True):
                assert torch.equal(a, b)
    for a, b in zip(one.read(4, 9, parts[-1]), other.read(4, 9, parts[-1]), strict=True):
        assert torch.equal(a, b)
    assert other.read(3, 0, parts[0])[0].is_contiguous(memory_format=torch.channels_last)
    other.close()
    assert batches_of(data, 24, repeats, 5, parts).steps == one.steps


def test_a_training_in_earnest_gives_the_same_weights_streamed(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(tmp_path / "here", data=digits, accumulate=2)
    for module in ("explorer.proxy.batches", "explorer.train.batches"):
        monkeypatch.setattr(f"{module}.is_on", lambda images, device: False)
    trained(tmp_path / "there", data=digits, accumulate=2)
    assert farthest(weights(tmp_path / "here"), weights(tmp_path / "there")) == 0


# --- what stays where ---


def test_nothing_is_copied_for_a_cpu(tmp_path: Path) -> None:
    data = load_data("cues", 8, cache_dir=tmp_path)  # a file mapped into memory
    there = data.to("cpu")
    for one, other in ((data.train_images, there.train_images), (data.val_images, there.val_images)):
        assert one.data_ptr() == other.data_ptr()
    assert batches.pixels(there.train_images, CPU).data_ptr() == data.train_images.data_ptr()
    with batches.in_order(there.val_images, 8, CPU) as parts:
        assert next(iter(parts)).data_ptr() == data.val_images.data_ptr()
    some = data.at_share(0.5, 0)
    assert batches.pixels(some.train_images, CPU).data_ptr() == some.train_images.data_ptr()


@pytest.mark.parametrize(("size", "fits"), [(25, True), (26, False)])
def test_images_lie_on_a_gpu_where_they_take_a_quarter_of_what_is_free(
    size: int, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (70, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 50)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 20)
    assert stream.has_room(torch.device("cuda"), size) is fits


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_trains_streamed_images_as_resident_ones(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = TrainSettings(epochs=2)
    here = train(network(), digits, settings, device="cuda", seed=3)
    monkeypatch.setattr("explorer.proxy.dataset.has_room", lambda device, size: False)
    kept = digits.to("cuda")
    assert (kept.train_images.device.type, kept.val_images.device.type) == ("cpu", "cpu")
    assert kept.train_labels.device.type == kept.mean.device.type == "cuda"
    there = train(network(), kept, settings, device="cuda", seed=3)
    assert there.accuracy == pytest.approx(here.accuracy, abs=3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_buffer_is_not_filled_again_before_its_copy_has_passed() -> None:
    images = torch.randint(0, 256, (4096, 64, 64, 3), dtype=torch.uint8)
    order = torch.randperm(4096)
    busy = torch.randn(4096, 4096, device="cuda")
    got = []
    with Stream(images, order.split(256), busy.device) as found:
        for batch in found:
            for _ in range(5):
                busy = (busy @ busy).clamp(-1, 1)
            got.append(batch.sum((1, 2, 3)))
    assert torch.equal(torch.cat(got).cpu(), images[order].sum((1, 2, 3)))
