"""The short training through `train`: it learns, repeats itself, stops where told, and says what is wrong."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from explorer.proxy.augment import crop, draw
from explorer.proxy.data import DataError, Dataset, load_data
from explorer.proxy.train import (
    TrainingDiverged,
    TrainSettings,
    evaluate_accuracy,
    learning_rate,
    parameter_groups,
    train,
    train_seed,
)

CPU = torch.device("cpu")


class Tiny(nn.Module):
    """A conv net of 10,000 parameters for 16 x 16 images, with batch norm and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.conv = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(32 * 16, 10)

    def forward(self, images: Tensor) -> Tensor:
        features = torch.relu(self.conv(torch.relu(self.norm(self.stem(images)))))
        return self.head(self.drop(features.flatten(1)))


def tiny(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return Tiny()


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load_data("digits", 16, cache_dir=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def few(digits: Dataset) -> Dataset:
    return replace(digits, train_images=digits.train_images[:200], train_labels=digits.train_labels[:200])


# --- learning ---


def test_a_small_network_learns_the_digits(digits: Dataset) -> None:
    result = train(tiny(), digits, TrainSettings(epochs=5), device="cpu", seed=0)
    assert result.accuracy > 80
    assert result.accuracy_by_epoch[0] < result.accuracy
    assert result.accuracy == result.accuracy_by_epoch[-1]
    assert result.images == 5 * 64 * (len(digits.train_labels) // 64)
    assert result.seconds > 0


def test_it_learns_cues_above_chance_in_one_epoch_of_a_long_schedule(tmp_path: Path) -> None:
    data = load_data("cues", 16, cache_dir=tmp_path)
    result = train(tiny(), data, TrainSettings(stop_epoch=1, batch_size=128), device="cpu", seed=0)
    assert result.accuracy > 14  # chance is 10, its deviation over 4,096 images .5


def test_evaluation_agrees_with_a_plain_count_in_any_batches(digits: Dataset) -> None:
    model = tiny().eval()
    scaled = (digits.val_images.float() / 255 - digits.mean[:, None, None]) / digits.std[:, None, None]
    guesses = torch.stack([model(image[None]).argmax() for image in scaled])
    right = int((guesses == digits.val_labels).sum())
    assert evaluate_accuracy(model, digits) == pytest.approx(100 * right / len(digits.val_labels), abs=0.2)


def test_bf16_learns_on_a_cpu_too(few: Dataset) -> None:
    result = train(tiny(), few, TrainSettings(epochs=8, batch_size=20), device="cpu", precision="bf16", seed=0)
    assert result.accuracy > 30


# --- the schedule ---


def test_the_rate_warms_up_peaks_at_lr_and_ends_at_zero() -> None:
    settings = TrainSettings(epochs=12, lr=1.0)
    assert learning_rate(settings, 0.0) == 0.01
    assert learning_rate(settings, 0.5) == 0.5
    assert learning_rate(settings, 1.0) == 1.0
    assert learning_rate(settings, 6.5) == pytest.approx(0.5)
    assert learning_rate(settings, 12.0) == pytest.approx(0.0)


def test_stopping_early_runs_the_first_epochs_of_the_same_long_schedule(few: Dataset) -> None:
    whole = train(tiny(), few, TrainSettings(epochs=6, batch_size=20), device="cpu", seed=0)
    cut = train(tiny(), few, TrainSettings(epochs=6, stop_epoch=3, batch_size=20), device="cpu", seed=0)
    short = train(tiny(), few, TrainSettings(epochs=3, batch_size=20), device="cpu", seed=0)
    assert cut.accuracy_by_epoch == whole.accuracy_by_epoch[:3]
    assert short.accuracy_by_epoch != cut.accuracy_by_epoch
    assert cut.images == whole.images / 2


def test_on_epoch_sees_every_accuracy_and_ends_the_training_by_answering_false(few: Dataset) -> None:
    seen: list[tuple[int, float]] = []

    def twice(epoch: int, accuracy: float) -> bool:
        seen.append((epoch, accuracy))
        return epoch < 2

    result = train(tiny(), few, TrainSettings(epochs=6, batch_size=20), device="cpu", seed=0, on_epoch=twice)
    assert seen == list(enumerate(result.accuracy_by_epoch, start=1))
    assert len(result.accuracy_by_epoch) == 2


@pytest.mark.parametrize("wrong", [{"stop_epoch": 13}, {"epochs": 0}, {"lr": 0}, {"warmup_epochs": 13}, {"unknown": 1}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        TrainSettings.model_validate(wrong)


# --- chance ---


def test_the_same_seed_gives_the_same_accuracies_whatever_was_drawn_before(few: Dataset) -> None:
    settings = TrainSettings(epochs=3, batch_size=20)
    first = train(tiny(), few, settings, device="cpu", seed=5)
    model = tiny()
    torch.rand(7)
    assert train(model, few, settings, device="cpu", seed=5).accuracy_by_epoch == first.accuracy_by_epoch
    assert train(tiny(), few, settings, device="cpu", seed=6).accuracy_by_epoch != first.accuracy_by_epoch


def test_the_same_seed_gives_the_same_accuracies_in_another_process(digits: Dataset) -> None:
    code = (
        "import sys, torch; sys.path.insert(0, 'tests'); from test_proxy_train import *\n"
        "print(two_epochs(load_data('digits', 16)))"
    )
    root = Path(__file__).parents[1]
    other = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == str(two_epochs(digits))


def two_epochs(data: Dataset) -> tuple[float, ...]:
    """Accuracies of two epochs on one thread, seeded as a trial of a study is."""
    threads, seed = torch.get_num_threads(), train_seed(3, "a1b2")
    torch.set_num_threads(1)
    try:
        return train(tiny(seed), data, TrainSettings(epochs=2), device="cpu", seed=seed).accuracy_by_epoch
    finally:
        torch.set_num_threads(threads)


def test_training_leaves_the_callers_random_state_alone(few: Dataset) -> None:
    model = tiny()
    before = torch.get_rng_state()
    train(model, few, TrainSettings(epochs=1, batch_size=20), device="cpu", seed=5)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_training_seed_depends_on_study_and_architecture_and_never_changes() -> None:
    assert train_seed(0, "a1b2") == 6739990154935732134
    assert len({train_seed(study, name) for study in range(10) for name in ("a", "b", "1a")}) == 30
    torch.manual_seed(train_seed(1, "a"))  # within what torch takes


# --- augmentation ---


def test_a_crop_moves_each_image_repeats_its_border_and_keeps_its_order() -> None:
    images = torch.arange(5 * 8 * 8 * 3).view(5, 8, 8, 3)
    draws = draw(5, padding=2, mirror=True, generator=torch.Generator().manual_seed(0), device=CPU)
    assert set(draws.order.tolist()) == set(range(5))
    assert draws.dy.abs().max() <= 2
    got = crop(images, draws, 1, 3)
    assert got.is_contiguous(memory_format=torch.channels_last)
    for place in range(3):
        source = images[draws.order[1 + place]].permute(2, 0, 1).float()
        padded = nn.functional.pad(source[None], (2, 2, 2, 2), mode="replicate")[0]
        top, left = 2 + int(draws.dy[1 + place]), 2 + int(draws.dx[1 + place])
        if draws.flip[1 + place]:
            left = 2 + int(draws.dx[1 + place])
            expected = padded[:, top : top + 8, left : left + 8].flip(2)
        else:
            expected = padded[:, top : top + 8, left : left + 8]
        assert torch.equal(got[place].float(), expected)


def test_shifts_cover_the_padding_evenly_and_half_the_images_are_mirrored() -> None:
    draws = draw(5000, padding=2, mirror=True, generator=torch.Generator().manual_seed(0), device=CPU)
    for shift in (draws.dy, draws.dx):
        assert (torch.bincount(shift + 2, minlength=5) / 5000 - 0.2).abs().max() < 0.03
    assert abs(draws.flip.float().mean() - 0.5) < 0.03
    still = draw(100, padding=0, mirror=False, generator=torch.Generator(), device=CPU)
    assert not still.flip.any()
    assert not still.dy.any()


# --- the optimiser ---


def test_norms_biases_and_tables_do_not_decay() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project = nn.Linear(4, 4)
            self.norm = nn.LayerNorm(4)
            self.relative_position_bias_table = nn.Parameter(torch.zeros(9, 2))
            self.position = nn.ParameterDict({"embedding": torch.zeros(1, 4, 3, 3)})
            self.frozen = nn.Parameter(torch.zeros(4, 4), requires_grad=False)

    block = Block()
    decayed, free = parameter_groups(block, 0.05)
    assert decayed["params"] == [block.project.weight]
    assert decayed["weight_decay"] == 0.05
    assert free["weight_decay"] == 0.0
    assert {id(parameter) for parameter in free["params"]} == {  # type: ignore[attr-defined]
        id(parameter)
        for parameter in (
            block.project.bias,
            block.norm.weight,
            block.norm.bias,
            block.relative_position_bias_table,
            block.position["embedding"],
        )
    }


# --- what goes wrong ---


class Poisoned(Tiny):
    """Gives NaN from its `after`-th batch of training on."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def forward(self, images: Tensor) -> Tensor:
        self.left -= self.training
        return super().forward(images) * (1.0 if self.left > 0 else float("nan"))


def test_a_loss_that_is_no_number_ends_the_training_and_names_the_epoch(few: Dataset) -> None:
    with pytest.raises(TrainingDiverged, match=r"^epoch 2: loss is nan; lower lr=0\.003$"):
        train(Poisoned(after=15), few, TrainSettings(epochs=5, batch_size=20), device="cpu", seed=0)


def test_a_batch_larger_than_the_data_is_refused(few: Dataset) -> None:
    with pytest.raises(DataError, match=r"^batch_size=201: more than the 200 training images; lower it$"):
        train(tiny(), few, TrainSettings(batch_size=201), device="cpu", seed=0)


def test_half_floats_on_a_cpu_are_refused(few: Dataset) -> None:
    with pytest.raises(ValueError, match=r"precision=fp16: .* choose"):
        train(tiny(), few, TrainSettings(), device="cpu", precision="fp16", seed=0)


@pytest.mark.parametrize("error", [KeyboardInterrupt, torch.OutOfMemoryError])
def test_interrupts_and_lack_of_memory_pass_through_unchanged(error: type[BaseException], few: Dataset) -> None:
    def fail(epoch: int, accuracy: float) -> bool:
        raise error

    with pytest.raises(error):
        train(tiny(), few, TrainSettings(batch_size=20), device="cpu", seed=0, on_epoch=fail)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_gpu_learns_in_every_precision(precision: str, digits: Dataset) -> None:
    result = train(tiny(), digits, TrainSettings(epochs=5), device="cuda", precision=precision, seed=0)  # type: ignore[arg-type]
    assert result.accuracy > 80
