"""The short training through `train`: it learns, repeats itself, stops where told, and says what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from explorer.augment import Augmentation
from explorer.proxy.augment import LIGHT, MIX, augmentation_named, crop, draw
from explorer.proxy.batches import epoch_batches, pixels
from explorer.proxy.data import DataError, Dataset, load_data
from explorer.proxy.step import Step
from explorer.proxy.train import (
    TrainingDiverged,
    TrainSettings,
    evaluate_accuracy,
    learning_rate,
    parameter_groups,
    train,
    train_seed,
)
from search_spaces.errors import InputError
from tests import training


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
    draws = draw(5, padding=2, mirror=True, generator=torch.Generator().manual_seed(0))
    assert draws.dy.abs().max() <= 2
    places = torch.tensor([4, 0, 4])
    got = crop(images, places, draws.part(slice(1, 4)))
    assert got.is_contiguous(memory_format=torch.channels_last)
    for place in range(3):
        source = images[places[place]].permute(2, 0, 1).float()
        padded = nn.functional.pad(source[None], (2, 2, 2, 2), mode="replicate")[0]
        top, left = 2 + int(draws.dy[1 + place]), 2 + int(draws.dx[1 + place])
        if draws.flip[1 + place]:
            left = 2 + int(draws.dx[1 + place])
            expected = padded[:, top : top + 8, left : left + 8].flip(2)
        else:
            expected = padded[:, top : top + 8, left : left + 8]
        assert torch.equal(got[place].float(), expected)


def test_shifts_cover_the_padding_evenly_and_half_the_images_are_mirrored() -> None:
    draws = draw(5000, padding=2, mirror=True, generator=torch.Generator().manual_seed(0))
    for shift in (draws.dy, draws.dx):
        assert (torch.bincount(shift + 2, minlength=5) / 5000 - 0.2).abs().max() < 0.03
    assert abs(draws.flip.float().mean() - 0.5) < 0.03
    still = draw(100, padding=0, mirror=False, generator=torch.Generator())
    assert not still.flip.any()
    assert not still.dy.any()


EVERYTHING = Augmentation.model_validate(training.EVERYTHING)


@pytest.mark.parametrize("policy", [LIGHT, MIX, EVERYTHING])
def test_a_policy_trains_otherwise_and_the_same_by_the_same_seed(policy: Augmentation, few: Dataset) -> None:
    plain = TrainSettings(epochs=2, batch_size=20)
    settings = plain.model_copy(update={"augmentation": policy})
    first, again, other = (train(tiny(), few, settings, device="cpu", seed=seed) for seed in (5, 5, 6))
    assert first.accuracy_by_epoch == again.accuracy_by_epoch != other.accuracy_by_epoch
    assert first.accuracy_by_epoch != train(tiny(), few, plain, device="cpu", seed=5).accuracy_by_epoch


def test_a_policy_that_only_moves_images_sees_the_labels_that_a_crop_does(digits: Dataset) -> None:
    settings = TrainSettings(epochs=4, augmentation=Augmentation(shift=1 / 16))
    moved = train(tiny(), digits, settings, device="cpu", seed=0)
    assert moved.accuracy > 75


def test_each_image_keeps_its_label_under_every_policy(few: Dataset) -> None:
    marked = replace(few, train_images=few.train_labels.to(torch.uint8)[:, None, None, None].expand(-1, 3, 16, 16))
    scale, shift = 255 * few.std[0], few.mean[0] / few.std[0]
    for policy in (None, Augmentation(shift=0.1), Augmentation(mixup=0.5)):
        settings = TrainSettings(batch_size=20, label_smoothing=0.0, augmentation=policy)
        images = pixels(marked.train_images, marked.train_labels.device)
        seen = 0
        for batch, targets in epoch_batches(images, marked, settings, torch.Generator().manual_seed(0)):
            values = (batch[:, 0, 0, 0] + shift) * scale
            means = targets.float() if policy is None else targets @ torch.arange(10.0)
            torch.testing.assert_close(values, means, atol=1e-3, rtol=0)
            seen += len(batch)
        assert seen == len(few.train_labels)


def test_policies_have_names_and_an_unknown_one_is_refused() -> None:
    assert augmentation_named("none") is None
    assert augmentation_named("light") == LIGHT
    assert augmentation_named("mix") == MIX
    with pytest.raises(InputError, match=r"^augment=heavy: not known; give one of none, light, mix$"):
        augmentation_named("heavy")


def test_settings_without_a_policy_are_recorded_as_before_there_were_any() -> None:
    assert "augmentation" not in TrainSettings().model_dump()
    assert "augmentation" not in TrainSettings().model_dump(mode="json")
    assert "augmentation" not in TrainSettings().model_dump_json()


@pytest.mark.parametrize("policy", [None, LIGHT, EVERYTHING])
def test_settings_come_back_from_a_record_as_they_were(policy: Augmentation | None) -> None:
    settings = TrainSettings(epochs=7, augmentation=policy)
    dumped = settings.model_dump()
    assert json.loads(json.dumps(dumped)) == dumped  # lists where it has tuples, lest a study not know itself again
    assert TrainSettings.model_validate(dumped) == settings
    assert TrainSettings.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"augmentation": LIGHT, "crop_padding": 3}, "crop_padding=3 beside an augmentation; set its shift instead"),
        ({"augmentation": LIGHT, "flip": True}, "flip=True beside an augmentation; set its flip instead"),
        ({"augmentation": MIX, "batch_size": 33}, "batch_size=33: mixup and cutmix pair the images of a batch"),
        ({"augmentation": Augmentation(label_smoothing=0.2)}, r"label_smoothing=0\.2 is the training's own"),
    ],
)
def test_what_a_policy_does_not_go_with_is_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        TrainSettings(**fields)


# --- waiting for the device ---


class Reads(TorchDispatchMode):
    """Counts how often a value is read from a tensor: on a GPU each of these waits for all that was begun."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("policy", [None, LIGHT])
def test_no_step_reads_a_value_from_the_device(policy: Augmentation | None, few: Dataset) -> None:
    seen: list[int] = []
    with Reads() as reads:
        settings = TrainSettings(epochs=3, batch_size=20, augmentation=policy)
        train(tiny(), few, settings, device="cpu", seed=0, between_steps=lambda: seen.append(reads.count))
    # ten steps and two batches of the evaluation an epoch; a read after each of both: the loss, the right answers
    assert seen == [0] * 10 + [1] * 2 + [2] * 10 + [3] * 2 + [4] * 10 + [5] * 2


# --- memory ---


class Small(nn.Module):
    """A linear network in float64 whose memory holds so many images; it has dropout, and a norm where asked."""

    def __init__(self, holds: int, *, norm: bool, drop: float = 0.0) -> None:
        super().__init__()
        self.holds, self.tried = holds, list[int]()
        norm_ = nn.BatchNorm1d(24) if norm else nn.LayerNorm(24)
        self.body = nn.Sequential(nn.Linear(768, 24), norm_, nn.ReLU(), nn.Dropout(drop), nn.Linear(24, 10)).double()

    def forward(self, images: Tensor) -> Tensor:
        logits = self.body(images.double().flatten(1))
        if self.training or not self.holds:
            self.tried.append(len(images))
            if len(images) > self.holds:
                raise torch.OutOfMemoryError(f"no memory for {len(images)} images")
        return logits


def small(holds: int, *, norm: bool = False, drop: float = 0.0) -> Small:
    torch.manual_seed(0)
    return Small(holds, norm=norm, drop=drop)


@pytest.mark.parametrize(("holds", "micro", "parts"), [(20, 20, 1), (10, 10, 2), (7, 5, 4), (1, 1, 20)])
def test_a_batch_that_does_not_fit_trains_in_parts_to_the_same_weights(
    holds: int, micro: int, parts: int, few: Dataset
) -> None:
    settings = TrainSettings(epochs=2, batch_size=20)
    whole, divided = small(20), small(holds)
    expected = train(whole, few, settings, device="cpu", seed=0)
    result = train(divided, few, settings, device="cpu", seed=0)
    assert (result.micro_batch, expected.micro_batch) == (micro, 20)
    assert result.accuracy_by_epoch == pytest.approx(expected.accuracy_by_epoch, abs=0.3)
    for one, other in zip(whole.parameters(), divided.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
    assert len([size for size in divided.tried if size <= holds]) == 20 * parts  # 20 steps
    assert len([size for size in divided.tried if size > holds]) == {1: 0, 2: 1, 4: 2, 20: 5}[parts]


def test_soft_labels_are_divided_as_their_images_are(few: Dataset) -> None:
    settings = TrainSettings(epochs=2, batch_size=20, augmentation=MIX)
    whole, divided = small(20), small(5)
    train(whole, few, settings, device="cpu", seed=0)
    train(divided, few, settings, device="cpu", seed=0)
    for one, other in zip(whole.parameters(), divided.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_a_step_that_failed_leaves_no_trace_in_statistics_or_chance(few: Dataset) -> None:
    settings = TrainSettings(epochs=2, batch_size=20)

    class Late(Small):
        """Lacks memory once, in the midst of training, after the statistics were changed and chance drawn from."""

        def forward(self, images: Tensor) -> Tensor:
            self.holds = 19 if len(self.tried) == 7 else 20
            return super().forward(images)

    torch.manual_seed(0)
    failed = Late(20, norm=True, drop=0.3)
    result = train(failed, few, settings, device="cpu", seed=0)
    assert result.micro_batch == 10
    assert failed.tried[:10] == [20] * 8 + [10, 10]

    class Told(Small):
        """Divides its batches itself from the same step on."""

        def forward(self, images: Tensor) -> Tensor:
            if self.training and len(self.tried) >= 7:
                self.tried.append(len(images))
                return torch.cat([self.body(part.double().flatten(1)) for part in images.split(10)])
            return super().forward(images)

    torch.manual_seed(0)
    told = Told(20, norm=True, drop=0.3)
    train(told, few, settings, device="cpu", seed=0)
    for one, other in zip(failed.state_dict().values(), told.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_an_image_that_does_not_fit_alone_is_an_error_as_before(few: Dataset) -> None:
    with pytest.raises(torch.OutOfMemoryError, match="no memory for 1 images"):
        train(small(0), few, TrainSettings(epochs=1, batch_size=20), device="cpu", seed=0)


@given(st.integers(1, 23), st.integers(1, 23), st.booleans())
def test_parts_of_any_size_add_up_to_the_gradient_of_the_whole(count: int, parts: int, soft: bool) -> None:
    network = small(count)
    step = Step(network, torch.optim.AdamW(network.parameters(), fused=True), "fp32", 0.1)
    images, targets = torch.rand(count, 3, 16, 16), torch.randint(10, (count,))
    targets = torch.rand(count, 10, dtype=torch.float64).softmax(1) if soft else targets
    loss = step.gradients(images, targets)
    whole = [one.grad for one in network.parameters()]
    step.parts = min(parts, count)
    torch.testing.assert_close(step.gradients(images, targets), loss)
    for before, one in zip(whole, network.parameters(), strict=True):
        assert before is not one.grad
        torch.testing.assert_close(one.grad, before, atol=1e-12, rtol=1e-9)


def test_an_optimizer_that_lacks_memory_for_its_first_step_begins_anew(few: Dataset) -> None:
    class Lacking(torch.optim.AdamW):
        """Has memory for some of its state only, the first time."""

        tries = 0

        def step(self, closure: Any = None) -> Any:
            self.tries += 1
            if self.tries == 1:
                self.state[next(network.parameters())]["step"] = torch.zeros(())
                raise torch.OutOfMemoryError
            return super().step(closure)

    network = small(20)
    step = Step(network, Lacking(network.parameters(), fused=True), "fp32", 0.0)
    loss = step(few.train_images[:20] / 255, few.train_labels[:20])
    assert loss.isfinite()
    assert step.micro_batch(20) == 10


def test_an_evaluation_that_does_not_fit_is_made_in_halves(digits: Dataset) -> None:
    class Narrow(Tiny):
        """Holds seven images."""

        def forward(self, images: Tensor) -> Tensor:
            if len(images) > 7:
                raise torch.OutOfMemoryError
            return super().forward(images)

    torch.manual_seed(0)
    narrow = Narrow()
    assert evaluate_accuracy(narrow, digits) == pytest.approx(evaluate_accuracy(tiny(), digits), abs=0.3)
    with pytest.raises(torch.OutOfMemoryError):
        evaluate_accuracy(small(0).eval(), digits)


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
