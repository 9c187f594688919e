"""Fidelity: fewer epochs, smaller images, a part of the data; through `evaluate`, `search` and the command line."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from explorer import Setup, evaluate, results, search
from explorer.evaluate import build_seeded
from explorer.proxy.data import load_data
from explorer.proxy.dataset import DataError, Split, as_dataset
from explorer.proxy.train import TrainSettings, train, train_seed
from explorer.search.study import StudyMismatch
from explorer.storage import ATTRIBUTE, study_data
from search_spaces import Architecture, build, cost, load_space
from search_spaces.architecture import parse_architecture
from search_spaces.document import parse_yaml
from search_spaces.errors import InputError
from search_spaces.space import parse_space
from tests.minis import ARCHITECTURE, MINI, Run, refuses_search

CPU = Setup(device="cpu", time_limit_s=0.2)
SHORT = TrainSettings(epochs=2)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VITSCAPE_LEASES", str(tmp_path / "leases"))
    (tmp_path / "mini.yaml").write_text(MINI)


@pytest.fixture
def architecture() -> Architecture:
    return parse_architecture(parse_yaml(ARCHITECTURE, "a.yaml"))


def accuracies(architecture: Architecture, data: str = "digits", seed: int = 0, **fidelity: object) -> list[float]:
    found = evaluate(
        architecture,
        data=data,
        setup=CPU,
        settings=SHORT.model_copy(update=fidelity),
        seed=seed,
        measure=("accuracy",),
    )
    return list(found.accuracy_by_epoch)


def find(console: Console | None = None, **options: object) -> optuna.Study:
    options = {"objectives": ("accuracy", "macs"), "data": "digits", "settings": SHORT, "trials": 2, **options}
    quiet = console or Console(quiet=True)
    return search(parse_space(MINI), storage="a.db", setup=CPU, console=quiet, **options)  # type: ignore[arg-type]


# --- the data's share ------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=60),
    shares=st.tuples(st.floats(0.001, 1), st.floats(0.001, 1)).map(sorted),
    seed=st.integers(0, 2**31 - 1),
)
def test_smaller_shares_are_parts_of_larger_ones_and_hold_their_share_of_each_class(
    labels: list[int], shares: list[float], seed: int
) -> None:
    images = np.zeros((len(labels), 3, 8, 8), np.uint8)
    images[:, 0, 0, 0] = np.arange(len(labels))  # which one it is
    split = Split(images, np.array(labels), images[:1], np.array(labels[:1]), classes=5)
    whole = as_dataset(split, name="made up", mirror=False)
    few, many = (whole.at_share(share, seed) for share in shares)
    kept = [set(part.train_images[:, 0, 0, 0].tolist()) for part in (few, many)]
    assert kept[0] <= kept[1]
    for share, part in zip(shares, (few, many), strict=True):
        assert part.share == share
        assert part.train_labels.tolist() == [labels[i] for i in sorted(part.train_images[:, 0, 0, 0].tolist())]
        for label in set(labels):
            count = labels.count(label)
            assert abs(int((part.train_labels == label).sum()) - share * count) <= max(0.5, 1 - share * count) + 1e-9
        assert torch.equal(part.mean, whole.mean)
        assert len(part.val_images) == len(whole.val_images)


def test_one_seed_gives_one_part_and_another_seed_another() -> None:
    whole = load_data("digits", 8)
    assert torch.equal(whole.at_share(0.3, 5).train_images, whole.at_share(0.3, 5).train_images)
    assert not torch.equal(whole.at_share(0.3, 5).train_images, whole.at_share(0.3, 6).train_images)
    with pytest.raises(DataError, match=r"a share of 0\.3 already"):
        whole.at_share(0.3, 5).at_share(0.2, 5)


def test_a_training_on_other_data_than_its_settings_say_is_refused(architecture: Architecture) -> None:
    whole = load_data("digits", 16)
    with pytest.raises(DataError, match=r"data_share=0\.5: the data given is a share of 1"):
        train(build(architecture), whole, TrainSettings(data_share=0.5), device="cpu", seed=0)
    with pytest.raises(DataError, match=r"image_size=8: the images given have 16 pixels"):
        train(build(architecture), whole, TrainSettings(image_size=8), device="cpu", seed=0)


# --- one architecture ------------------------------------------------------------------------------------------------


def test_what_a_network_costs_is_that_of_its_own_image_size(architecture: Architecture) -> None:
    cheap = SHORT.model_copy(update={"image_size": 8, "data_share": 0.2})
    found = evaluate(architecture, data="digits", setup=CPU, settings=cheap)
    assert (found.macs, found.params) == (cost(architecture).macs, cost(architecture).params)
    assert found.latency is not None
    assert found.latency.conditions.image_size == 16
    assert len(found.accuracy_by_epoch) == 2


def test_a_network_learns_from_smaller_and_fewer_images(architecture: Architecture) -> None:
    full = accuracies(architecture)
    assert accuracies(architecture, image_size=16, data_share=1.0) == full
    assert accuracies(architecture, stop_epoch=1) == full[:1]
    smaller, fewer = accuracies(architecture, image_size=12), accuracies(architecture, data_share=0.4)
    assert len({tuple(found) for found in (full, smaller, fewer)}) == 3
    assert min(smaller[-1], fewer[-1]) > 11  # chance is 10 %
    own = train_seed(0, architecture.id)  # of the architecture as it is, not of the smaller one
    network, images = build_seeded(architecture.at_size(12), own), load_data("digits", 12)
    assert list(train(network, images, SHORT, device="cpu", seed=own).accuracy_by_epoch) == smaller
    assert accuracies(architecture, data_share=0.4) == fewer
    assert accuracies(architecture, data=load_data("digits", 16).at_share(0.4, 0), data_share=0.4) == fewer  # type: ignore[arg-type]


def test_windows_shrink_to_the_smaller_map() -> None:
    written = ARCHITECTURE.replace("{kind: global, heads: 2}", "{kind: window, size: 4, shift: 2, heads: 2}")
    architecture = parse_architecture(parse_yaml(written, "a.yaml"))
    small = architecture.at_size(8)
    assert small.canonical.stages[0].mixer.size == 2  # type: ignore[union-attr]
    assert small.id != architecture.id
    assert build(small)(torch.zeros(1, 3, 8, 8)).shape == (1, 10)
    assert len(accuracies(architecture, image_size=8)) == 2


@pytest.mark.parametrize(
    ("size", "told"),
    [(14, "image_size=14: the stem's stride 4 does not divide it; give 12 or 16"), (32, "has images of 16 pixels")],
)
def test_a_size_that_an_architecture_cannot_be_trained_at_is_one_line(
    architecture: Architecture, size: int, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        accuracies(architecture, image_size=size)


def test_a_map_never_falls_below_one_token() -> None:
    deep = load_space("swin_t").suggest(optuna.trial.FixedTrial({}))
    assert deep.at_size(32).maps == (8, 4, 2, 1)
    with pytest.raises(InputError, match="image_size=28: a token of the last stage spans 32 pixels; give at least 32"):
        deep.at_size(28)


# --- a search --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", ["cues", "folder:photos"])
def test_a_search_of_any_data_says_at_which_fidelity_it_trains(data: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("round", "square"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(60):
            pixels = rng.integers(0, 255, (20, 20, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    said = io.StringIO()
    cheap = TrainSettings(epochs=5, stop_epoch=1, image_size=8, data_share=0.4, batch_size=16)
    study = find(Console(file=said, width=150), data=data, settings=cheap, trials=1)
    told = f"{data} at 8 px, 40 % of the images, 1 of 5 epochs"
    assert study_data(study) == told
    assert f"trained on {told}" in " ".join(said.getvalue().split())
    frame = results.frame(study)
    assert frame["accuracy"].notna().all()
    space = parse_space(MINI).with_classes(10 if data == "cues" else 2)
    assert frame["macs"][0] == cost(space.suggest(optuna.trial.FixedTrial(study.trials[0].params))).macs


def test_all_candidates_train_on_the_same_part_that_the_study_s_seed_draws() -> None:
    cheap = SHORT.model_copy(update={"data_share": 0.3})
    study = find(settings=cheap, seed=7)
    for trial, row in zip(study.trials, results.frame(study).to_dict("records"), strict=True):
        architecture = parse_space(MINI).suggest(optuna.trial.FixedTrial(trial.params))
        assert accuracies(architecture, seed=7, data_share=0.3)[-1] == row["accuracy"]


def test_a_share_is_held_against_the_memory_at_the_size_that_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    images = load_data("digits", 8).train_images.nbytes  # at 16 px four times that
    sizes = {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": 2 * images}
    real = os.sysconf
    monkeypatch.setattr(os, "sysconf", lambda name: sizes.get(name) or real(name))
    with pytest.raises(DataError, match="GB of images are copied, more than half of the memory; take --subset"):
        find(settings=SHORT.model_copy(update={"data_share": 0.5}))
    assert len(find(settings=SHORT.model_copy(update={"data_share": 0.5, "image_size": 8})).trials) == 2


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"data_share": 0.5}, "proxy.data_share=1.0, now 0.5"),
        ({"image_size": 12}, "proxy.image_size=None, now 12"),
        ({"stop_epoch": 1}, "proxy.stop_epoch=None, now 1"),
    ],
)
def test_a_study_is_not_continued_at_another_fidelity(change: dict[str, object], told: str) -> None:
    find(trials=1)
    with pytest.raises(StudyMismatch, match=told):
        find(settings=SHORT.model_copy(update=change))


def test_a_study_from_before_there_were_fidelities_is_continued_in_full() -> None:
    study = find(trials=1)
    stored = study.user_attrs[ATTRIBUTE]
    early = {key: value for key, value in stored["proxy"].items() if key not in ("data_share", "image_size")}
    study.set_user_attr(ATTRIBUTE, stored | {"proxy": early})
    assert study_data(study) == "digits, 2 epochs"
    with pytest.raises(StudyMismatch, match=r"proxy.data_share=1.0, now 0.5"):
        find(settings=SHORT.model_copy(update={"data_share": 0.5}))
    in_other_words = SHORT.model_copy(update={"stop_epoch": 2, "image_size": 16})
    assert len(find(settings=in_other_words).trials) == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--fidelity epoch=5", "'epoch=5' is not understood"),
        ("--fidelity epochs", "'epochs' is not understood"),
        ("--fidelity data=0.5,data=0.5", "'data=0.5' is not understood; give each once"),
        ("--fidelity data=0", "data=0: give a share above 0"),
        ("--fidelity data=nan", "data=nan: give a share above 0"),
        ("--fidelity data=1.5", "data=1.5: give a share above 0, and at most 1"),
        ("--fidelity data=half", "data=half is not a number"),
        ("--fidelity epochs=2.5", "epochs=2.5 is not a whole number"),
        ("--fidelity epochs=0", "epochs=0: give at least 1"),
        ("--fidelity epochs=9 --epochs 5", "epochs=9 lies beyond --epochs 5"),
        ("--fidelity epochs=3 --stop-epoch 2", "stop-epoch=2 and fidelity epochs=3 say two things"),
        ("--fidelity image_size=4", "image_size=4: give at least 8 pixels"),
        ("--fidelity image_size=32", "image_size=32: the space has images of 16 pixels"),
        ("--fidelity image_size=14", "image_size=14: the stem's stride 4 does not divide it; give 12 or 16"),
        ("--fidelity data=0.01", "fidelity data=0.01: 10 training images are fewer than a batch of 64; raise it"),
    ],
)
def test_a_fidelity_that_cannot_be_is_one_line_and_leaves_no_study(
    run: Run, tmp_path: Path, words: str, told: str
) -> None:
    assert told in refuses_search(run, tmp_path, words)


def test_the_command_line_takes_a_fidelity_and_the_stop_epoch_beside_it(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mini.yaml").write_text(MINI)
    words = (
        "search mini.yaml --data digits --trials 1 --epochs 4 --storage a.db --objectives accuracy,macs --device cpu"
    )
    fidelity = "--fidelity epochs=2,image_size=12,data=0.5 --stop-epoch 2"
    status, _, err = run(*words.split(), *fidelity.split())
    assert status == 0
    assert "digits at 12 px, 50 % of the images, 2 of 4 epochs" in " ".join(err.split())
