"""Augmentation: its laws, the same choices for any slicing, and Pillow's results where Pillow has the operation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps
from pydantic import ValidationError
from torch import Tensor

from explorer.augment import Augmentation, colour
from explorer.augment.apply import augment
from explorer.augment.draws import ERASE_AREA, Draws, Mix, draw
from explorer.augment.geometry import moved, resized_crop
from explorer.augment.mix import erased, mixed, partners, soft_labels
from explorer.augment.randaugment import OPERATIONS, randaugment
from tests.training import EVERYTHING

SIDE, COUNT = 24, 16
MEAN, STD = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.25, 0.3])
UNGRADED = ("autocontrast", "equalize", "invert", "posterize")  # that change an image at magnitude 0, too

policies = st.builds(
    Augmentation,
    resized_crop=st.sampled_from([None, (0.08, 1.0), (1.0, 1.0)]),
    shift=st.sampled_from([0, 0.1, 0.5]),
    flip=st.sampled_from([None, True, False]),
    color_jitter=st.sampled_from([0, 0.4]),
    randaugment_ops=st.integers(0, 3),
    erase=st.sampled_from([0, 0.25, 1]),
    mixup=st.sampled_from([0, 0.01, 0.8]),
    cutmix=st.sampled_from([0, 1.0]),
    mix_probability=st.sampled_from([0.5, 1]),
)
seeds = st.integers(0, 2**31)


def pictures(count: int = COUNT, seed: int = 0) -> Tensor:
    """Bytes (count, 3, SIDE, SIDE) with slopes and noise, each other than the next."""
    generator = torch.Generator().manual_seed(seed)
    slope = torch.linspace(0, 150, SIDE).view(1, 1, 1, SIDE) + torch.linspace(0, 60, SIDE).view(1, 1, SIDE, 1)
    noise = torch.rand(count, 3, SIDE, SIDE, generator=generator) * 40
    return (slope + noise).byte().contiguous(memory_format=torch.channels_last)


def drawn(policy: Augmentation, seed: int, count: int = COUNT) -> Draws:
    return draw(policy, count, SIDE, mirror=True, generator=torch.Generator().manual_seed(seed))


def everything(seed: int = 0) -> Draws:
    return drawn(Augmentation.model_validate(EVERYTHING), seed)


# --- all of it ---


@given(policies, seeds)
def test_the_same_generator_makes_the_same_images_and_they_are_finite(policy: Augmentation, seed: int) -> None:
    images = augment(pictures(), drawn(policy, seed), MEAN, STD)
    assert images.shape == (COUNT, 3, SIDE, SIDE)
    assert images.dtype == torch.float32
    assert torch.isfinite(images).all()
    assert torch.equal(images, augment(pictures(), drawn(policy, seed), MEAN, STD))


@given(policies, seeds, st.sampled_from([2, 4, 8]))
def test_any_slicing_into_processes_makes_the_same_images(policy: Augmentation, seed: int, parts: int) -> None:
    images, draws = pictures(), drawn(policy, seed)
    slices = [slice(first, first + COUNT // parts) for first in range(0, COUNT, COUNT // parts)]
    whole = augment(images, draws, MEAN, STD)
    pieces = [augment(images[part], draws.part(part), MEAN, STD) for part in slices]
    torch.testing.assert_close(torch.cat(pieces), whole, rtol=0, atol=1e-4)


def test_nothing_turned_on_is_normalisation_alone() -> None:
    images = pictures()
    expected = (images.float() / 255 - MEAN[:, None, None]) / STD[:, None, None]
    draws = draw(Augmentation(), COUNT, SIDE, mirror=False, generator=torch.Generator())
    assert all(getattr(draws, field.name) is None for field in fields(draws))
    torch.testing.assert_close(augment(images, draws, MEAN, STD), expected)


def test_another_seed_makes_other_images() -> None:
    assert not torch.equal(augment(pictures(), everything(1), MEAN, STD), augment(pictures(), everything(2), MEAN, STD))


@pytest.mark.parametrize("wrong", [{"resized_crop": (0.9, 0.1)}, {"erase": 2}, {"mixup": -1}, {"strength": 3}])
def test_an_impossible_policy_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Augmentation(**wrong)


# --- crops and moves ---


def test_the_whole_image_as_a_crop_is_the_image() -> None:
    images = pictures().float()
    whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).repeat(COUNT, 1)
    torch.testing.assert_close(resized_crop(images, whole, None), images, rtol=0, atol=0.01)
    mirrored = resized_crop(images, whole, torch.ones(COUNT, dtype=torch.bool))
    torch.testing.assert_close(mirrored, images.flip(3), rtol=0, atol=0.01)


def test_a_crop_shows_its_rectangle() -> None:
    images = torch.zeros(1, 3, SIDE, SIDE)
    images[:, :, 6:12, 12:24] = 200  # a rectangle, and a margin so that bicubic overshoot of the edge stays outside
    inside = resized_crop(images, torch.tensor([[8 / SIDE, 15 / SIDE, 2 / SIDE, 6 / SIDE]]), None)
    assert (inside > 199).all()
    outside = resized_crop(images, torch.tensor([[14 / SIDE, 0.0, 10 / SIDE, 10 / SIDE]]), None)
    assert (outside < 1).all()


@given(seeds)
def test_crops_lie_inside_and_have_the_area_asked_for(seed: int) -> None:
    crop = drawn(Augmentation(resized_crop=(0.2, 0.6)), seed, 64).crop
    assert crop is not None
    top, left, height, width = crop.unbind(1)
    assert ((top >= 0) & (left >= 0) & (top + height <= 1 + 1e-6) & (left + width <= 1 + 1e-6)).all()
    area = height * width
    assert ((area > 0.2 * 0.85) & (area < 0.6 * 1.15)).all()  # sides are whole pixels


def test_moving_repeats_the_border() -> None:
    images = pictures().float()
    result = moved(images, torch.tensor([[2, -3]]).repeat(COUNT, 1), None)
    assert torch.equal(result[:, :, 2:, :-3], images[:, :, :-2, 3:])
    assert torch.equal(result[:, :, 0], result[:, :, 1])


# --- RandAugment ---


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name not in UNGRADED])
def test_an_operation_at_magnitude_zero_changes_nothing(name: str) -> None:
    images = pictures().float()
    result = OPERATIONS[name](images, torch.zeros(COUNT), MEAN * 255)
    torch.testing.assert_close(result, images, rtol=0, atol=0.01)


@pytest.mark.parametrize("name", list(OPERATIONS))
def test_an_operation_at_magnitude_nine_changes_the_image_and_stays_in_range(name: str) -> None:
    images = pictures().float()
    for sign in (1.0, -1.0):
        result = OPERATIONS[name](images, torch.full((COUNT,), 9.0 * sign), MEAN * 255)
        assert (result - images).abs().mean() > 1
        assert result.min() >= -1e-3
        assert result.max() <= 255 + 1e-3


def test_each_image_gets_its_own_operations_and_the_others_stay() -> None:
    images, numbers = pictures().float(), torch.full((COUNT, 2), -1)
    numbers[3, 0], numbers[5, 1] = list(OPERATIONS).index("invert"), list(OPERATIONS).index("rotate")
    result = randaugment(images, numbers, torch.full((COUNT, 2), 9.0), MEAN * 255)
    changed = (result != images).flatten(1).any(1).nonzero()[:, 0].tolist()
    assert changed == [3, 5]
    assert torch.equal(result[3], 255 - images[3])


def test_what_comes_in_from_outside_has_the_mean_colour() -> None:
    images = torch.zeros(1, 3, SIDE, SIDE)
    result = OPERATIONS["translate_x"](images, torch.tensor([10.0]), MEAN * 255)
    corner = result[0, :, 0, -1]
    torch.testing.assert_close(corner, MEAN * 255, rtol=0, atol=0.01)


def test_operations_are_drawn_as_often_as_asked() -> None:
    draws = drawn(Augmentation(randaugment_ops=2, randaugment_probability=0.5), 0, 4000)
    assert draws.operation is not None
    assert draws.magnitude is not None
    counts = torch.bincount(draws.operation.flatten() + 1, minlength=len(OPERATIONS) + 1) / 8000
    assert counts[0] == pytest.approx(0.5, abs=0.03)
    assert counts[1:].min() > 0.5 / len(OPERATIONS) * 0.7
    assert draws.magnitude.abs().mean() == pytest.approx(9, abs=0.1)
    assert (draws.magnitude < 0).float().mean() == pytest.approx(0.5, abs=0.05)


ENHANCE = {
    "brightness": ImageEnhance.Brightness,
    "contrast": ImageEnhance.Contrast,
    "saturation": ImageEnhance.Color,
    "sharpness": ImageEnhance.Sharpness,
}


def as_pillow(change: Callable[[Image.Image], Image.Image]) -> Tensor:
    changed = [np.asarray(change(Image.fromarray(image.permute(1, 2, 0).numpy()))) for image in pictures()]
    return torch.from_numpy(np.stack(changed)).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize("name", list(ENHANCE))
@pytest.mark.parametrize("factor", [0.1, 0.7, 1.9])
def test_colours_change_as_pillow_changes_them(name: str, factor: float) -> None:
    ours = getattr(colour, name)(pictures().float(), torch.full((COUNT,), factor))
    assert (ours - as_pillow(lambda image: ENHANCE[name](image).enhance(factor))).abs().max() < 2


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (colour.equalize, ImageOps.equalize),
        (colour.autocontrast, ImageOps.autocontrast),
        (colour.invert, ImageOps.invert),
        (lambda x: colour.posterize(x, torch.full((COUNT,), 3.0)), lambda image: ImageOps.posterize(image, 3)),
        (lambda x: colour.solarize(x, torch.full((COUNT,), 90.0)), lambda image: ImageOps.solarize(image, 90)),
    ],
    ids=["equalize", "autocontrast", "invert", "posterize", "solarize"],
)
def test_values_change_as_pillow_changes_them(
    ours: Callable[[Tensor], Tensor], theirs: Callable[[Image.Image], Image.Image]
) -> None:
    assert (ours(pictures().float()) - as_pillow(theirs)).abs().max() < 1.01  # Pillow cuts, we do not round


def test_a_positive_rotation_turns_as_pillow_turns() -> None:
    ours = OPERATIONS["rotate"](pictures().float(), torch.full((COUNT,), 5.0), MEAN * 255)
    theirs = as_pillow(lambda image: image.rotate(15, Image.Resampling.BILINEAR))
    middle = slice(SIDE // 4, -SIDE // 4)
    assert (ours - theirs)[:, :, middle, middle].abs().mean() < 2
    assert (ours - as_pillow(lambda image: image.rotate(-15)))[:, :, middle, middle].abs().mean() > 4


# --- erasing ---


@given(seeds)
def test_erased_areas_lie_inside_and_have_the_share_asked_for(seed: int) -> None:
    draws = drawn(Augmentation(erase=1), seed, 64)
    assert draws.erased is not None
    top, left, height, width = draws.erased.unbind(1)
    assert ((top >= 0) & (left >= 0) & (top + height <= SIDE) & (left + width <= SIDE)).all()
    share = height * width / SIDE**2
    assert (share > ERASE_AREA[0] * 0.6).all()  # sides are whole pixels
    assert (share < ERASE_AREA[1] * 1.15).all()


def test_a_quarter_of_the_images_loses_a_rectangle() -> None:
    draws = drawn(Augmentation(erase=0.25), 0, 4000)
    assert draws.erased is not None
    assert (draws.erased[:, 2] > 0).float().mean() == pytest.approx(0.25, abs=0.03)


def test_only_the_rectangle_becomes_noise_of_mean_zero() -> None:
    images, boxes = torch.full((4, 3, SIDE, SIDE), 7.0), torch.zeros(4, 4, dtype=torch.int64)
    boxes[2] = torch.tensor([3, 5, 10, 12])
    result = erased(images, boxes, torch.zeros(4, 2, dtype=torch.int64))
    assert torch.equal(result[[0, 1, 3]], images[[0, 1, 3]])
    assert (result[2] != 7).any(0).nonzero().amin(0).tolist() == [3, 5]
    assert (result[2] != 7).any(0).nonzero().amax(0).tolist() == [12, 16]
    noise = result[2, :, 3:13, 5:17]
    assert abs(float(noise.mean())) < 0.3
    assert float(noise.std()) == pytest.approx(1, abs=0.2)


# --- mixing ---


@given(policies, seeds, st.integers(2, 30), st.sampled_from([0.0, 0.1]))
def test_labels_sum_to_one_whatever_is_mixed(policy: Augmentation, seed: int, classes: int, smoothing: float) -> None:
    labels = torch.arange(COUNT) % classes
    targets = soft_labels(labels, classes, smoothing, drawn(policy, seed).mix)
    torch.testing.assert_close(targets.sum(1), torch.ones(COUNT))
    assert (targets >= 0).all()


@given(seeds)
def test_labels_are_mixed_by_the_share_of_pixels_that_cutmix_leaves(seed: int) -> None:
    mix = drawn(Augmentation(cutmix=1.0), seed).mix
    assert mix is not None
    assert mix.box is not None
    images = torch.arange(2.0).repeat(COUNT // 2)[:, None, None, None].expand(COUNT, 3, SIDE, SIDE)  # 0, 1, 0, 1, ...
    own = 1 - mixed(images, mix)[0].mean()
    assert float(own) == pytest.approx(mix.share, abs=1e-5)
    assert float(soft_labels(torch.tensor([0, 1]), 2, 0, mix)[0, 0]) == pytest.approx(mix.share, abs=1e-5)


def test_mixup_takes_the_neighbours_share() -> None:
    images = torch.tensor([0.0, 1.0, 10.0, 20.0])[:, None, None, None]
    assert mixed(images, Mix(0.75, None)).flatten().tolist() == [0.25, 0.75, 12.5, 17.5]
    assert partners(torch.arange(6)).tolist() == [1, 0, 3, 2, 5, 4]


def test_both_kinds_of_mixing_happen_and_their_shares_are_beta() -> None:
    mixes = [drawn(Augmentation(mixup=0.8, cutmix=1.0, mix_probability=0.9), seed, 2).mix for seed in range(2000)]
    done = [mix for mix in mixes if mix is not None]
    assert len(done) / len(mixes) == pytest.approx(0.9, abs=0.03)
    shares = torch.tensor([mix.share for mix in done if mix.box is None])
    assert len(shares) / len(done) == pytest.approx(0.5, abs=0.04)
    assert float(shares.mean()) == pytest.approx(0.5, abs=0.03)
    assert float(shares.var()) == pytest.approx(1 / (4 * (2 * 0.8 + 1)), abs=0.01)  # of Beta(.8, .8)
