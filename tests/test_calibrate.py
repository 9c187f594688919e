"""The proxy's report card: its statistics against known cases, and `vitscape calibrate` through the front door."""

from __future__ import annotations

import importlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr

from explorer import calibrate, evaluate
from explorer.calibrate.card import Card, Network, ceiling, noise, report_card
from explorer.calibrate.correlation import Bootstrap
from explorer.calibrate.journal import Curve, Journal
from explorer.calibrate.sample import even_places, stratified
from explorer.calibrate.show import plain
from explorer.calibrate.words import advice, warning
from explorer.limits import Limits
from explorer.proxy.train import TrainSettings
from search_spaces import Architecture, load_space
from search_spaces.cost import cost
from search_spaces.errors import InputError
from search_spaces.space import parse_space
from tests.minis import MINI, Run, environment, refuses

QUICK = "calibrate mini.yaml --networks 5 --data digits --epochs 2 --stop-epoch 1 --long-epochs 2"

# --- statistics ---


@given(st.integers(0, 10_000), st.integers(5, 12), st.booleans())
def test_every_draw_has_scipy_s_correlations(seed: int, n: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    first, second = (np.round(rng.normal(size=n) * 2) if ties else rng.normal(size=n) for _ in range(2))
    boot = Bootstrap(n, draws=5, seed=seed)
    for row, tau, rho in zip(boot.weights.astype(int), boot.tau(first, second), boot.rho(first, second), strict=True):
        one, other = np.repeat(first, row), np.repeat(second, row)
        if len(set(one)) > 1 and len(set(other)) > 1:
            assert tau == pytest.approx(kendalltau(one, other).statistic)
            assert rho == pytest.approx(spearmanr(one, other).statistic)
        else:
            assert np.isnan(tau)


@given(st.integers(0, 1000))
def test_a_quantity_agrees_with_itself_and_leads_itself_by_nothing(seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=12)
    boot = Bootstrap(12, seed=seed)
    assert boot.interval(boot.tau(values, values)) == pytest.approx((1, 1, 1))
    assert boot.interval(boot.tau(values, values) - boot.tau(values, values)) == (0, 0, 0)


def test_what_orders_nothing_has_no_correlation_and_minus_infinity_is_the_least() -> None:
    boot = Bootstrap(6)
    assert np.isnan(boot.interval(boot.tau(np.ones(6), np.arange(6))).value)
    with_least = [-np.inf, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert boot.tau(with_least, np.arange(6))[0] == 1
    assert boot.rho(with_least, np.arange(6))[0] == pytest.approx(1)


def test_more_networks_make_a_narrower_interval() -> None:
    def width(n: int) -> float:
        rng = np.random.default_rng(0)
        truth = rng.normal(size=n)
        boot = Bootstrap(n)
        found = boot.interval(boot.tau(truth + rng.normal(size=n), truth))
        return found.hi - found.lo

    assert width(200) < width(50) < width(12)


def test_the_seeds_noise_is_told_from_what_networks_differ_by() -> None:
    rng = np.random.default_rng(0)
    accuracies = 60 + 10 * rng.normal(size=(2000, 1)) + 3 * rng.normal(size=(2000, 2))
    found = noise(accuracies)
    assert found.between_seeds == pytest.approx(3, rel=0.05)
    assert found.between_networks == pytest.approx(10, rel=0.05)
    assert found.apart == pytest.approx(1.96 * 2**0.5 * 3, rel=0.05)
    # of networks that are all alike nothing is left but the seeds'
    assert noise(50 + 3 * rng.normal(size=(2000, 2))).between_networks == pytest.approx(0, abs=0.7)
    assert noise(accuracies[:, :1]).between_seeds is None


# --- the card ---


def made_up(
    n: int = 24, seed: int = 0, *, early: float, late: float, sized: float, seeds: int = 2, long: float = 0.5
) -> Card:
    """A card of networks whose first and second epoch, size and end differ from the truth by so much noise, points."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(60, 10, size=n)
    networks = [
        Network(
            id=str(i),
            what="",
            macs=int(1e6 + i),
            params=int(1e6 * (100 + true + sized * rng.normal())),
            proxies=tuple((true + early * rng.normal(), true + late * rng.normal()) for _ in range(seeds)),
            longs=tuple(true + long * rng.normal() for _ in range(seeds)),
            scores={"naswot": float(rng.normal())},
        )
        for i, true in enumerate(truth)
    ]
    return report_card(networks, seed=0)


def test_a_proxy_that_ranks_well_is_told_from_counting_parameters() -> None:
    card = made_up(early=20, late=1, sized=50)
    assert card.single.tau.lo > 0.7
    assert card.params.lead is not None
    assert card.params.lead.lo > 0
    assert warning(card) is None
    assert card.ceiling is not None
    assert card.ceiling.value > 0.9


def test_counting_parameters_as_well_is_a_warning() -> None:
    card = made_up(early=20, late=8, sized=1)
    told = warning(card)
    assert told is not None
    assert told.startswith("WARNING: the proxy is no better than counting parameters")
    assert advice(card, 12)[0] == "Train longer before trusting the order: --stop-epoch beyond 2."


def test_too_few_networks_to_tell_is_a_warning_too_and_says_what_would_tell() -> None:
    card = made_up(8, early=5, late=3, sized=8)
    assert card.params.lead is not None
    assert card.params.lead.value > 0
    assert "8 networks cannot tell whether the proxy is better than counting parameters" in str(warning(card))
    assert "8 networks make intervals so wide" in advice(card, 12)[-1]


def test_the_first_epoch_that_cannot_be_told_from_the_best_is_enough() -> None:
    assert made_up(early=20, late=1, sized=50).enough == 2
    assert made_up(early=1, late=1, sized=50).enough == 1
    # that few networks can tell nothing does not make epochs alike
    few = made_up(6, early=10, late=3, sized=8)
    assert few.epochs[0].behind.lo <= 0 < few.epochs[0].behind.value
    assert few.enough == 2
    told = advice(made_up(early=1, late=1, sized=50), 12)
    assert told[0].startswith("Use --stop-epoch 1: tau 0.9")
    assert told[0].endswith("at 50 % of the training.")


@pytest.mark.parametrize("seeds", [2, 3])
@pytest.mark.parametrize("noisy", [0.3, 0.6, 1.0])
@pytest.mark.parametrize("spread", ["normal", "uniform"])
def test_a_proxy_that_makes_no_mistake_is_at_the_ceiling(spread: str, noisy: float, seeds: int) -> None:
    rng, boot = np.random.default_rng(0), Bootstrap(24, draws=200)
    above, over_the_end = [], []
    for _ in range(60):
        truth = rng.normal(size=24) if spread == "normal" else rng.uniform(-(3**0.5), 3**0.5, size=24)
        longs = truth[:, None] + noisy * rng.normal(size=(24, seeds))
        found, tau = ceiling(boot, longs), boot.tau(truth, longs.mean(axis=1))[0]
        assert found is not None
        above.append(tau - found.value)
        over_the_end.append(tau > found.hi)
    assert abs(np.mean(above)) < 0.05
    assert np.mean(over_the_end) <= 0.15


def test_long_trainings_that_agree_have_no_ceiling_and_those_that_do_not_have_one_of_nothing() -> None:
    boot, order = Bootstrap(12), np.arange(12.0)
    assert ceiling(boot, np.stack([order, order], axis=1)) == pytest.approx((1, 1, 1))
    against = ceiling(boot, np.stack([order, -order], axis=1))
    assert against is not None
    assert against.value == 0
    assert ceiling(boot, order[:, None]) is None


def test_a_bad_proxy_is_told_to_train_longer_however_noisy_the_long_trainings_are() -> None:
    for seed in range(5):
        card = made_up(seed=seed, early=40, late=25, sized=100, long=5)
        assert card.ceiling is not None
        assert card.ceiling.value > card.single.tau.value + 0.1
        told = " ".join(advice(card, 12))
        assert "Train longer" in told
        assert "Seeds limit" not in told


def test_seeds_limit_a_proxy_that_is_near_what_they_let_be_seen() -> None:
    card = made_up(early=40, late=0.5, sized=100, long=15)
    assert card.single.tau.value < 0.7
    assert any(line.startswith("Seeds limit what can be seen: against the mean of 2") for line in advice(card, 12))


def test_seeds_limit_what_can_be_seen_of_any_proxy_where_long_trainings_agree_by_chance_alone() -> None:
    for seed in range(20):
        card = made_up(6, seed=seed, early=40, late=40, sized=100, long=200)
        assert card.ceiling is not None
        if card.ceiling.value == 0 and card.single.tau.value < 0.7:
            assert any(line.startswith("Seeds limit what can be seen") for line in advice(card, 12))


def test_a_single_seed_says_what_it_cannot_tell() -> None:
    card = made_up(early=30, late=20, sized=50, seeds=1)
    assert card.ceiling is None
    assert card.proxy.between_seeds is None
    assert any("--seeds 2" in line for line in advice(card, 12))


# --- the sample ---


def test_the_sample_spreads_over_the_sizes_of_the_space_and_follows_its_seed() -> None:
    space = load_space("tiny_32")
    others, larger = sorted(cost(one).macs for one in stratified(space, 400, seed=3)), stratified(space, 32, seed=1)
    for n in (10, 24):
        sample = stratified(space, n, seed=1)
        assert sample == larger[:n]  # so that a larger one uses the smaller one's trainings
        assert len({one.id for one in sample}) == n
        # among other networks: no two strata without one, and no stratum with three, give or take chance
        places = np.searchsorted(others, sorted(cost(one).macs for one in sample)) / 400
        assert np.diff([0, *places, 1]).max() < 2 / n + 0.05
        assert (places[2:] - places[:-2]).min() > 1 / n - 0.05
    assert larger != stratified(space, 32, seed=2)


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(1, 54), st.integers(1, 54))
def test_samples_of_any_two_sizes_are_nested(seed: int, one: int, other: int) -> None:
    space, fewer = parse_space(MINI), min(one, other)
    assert stratified(space, max(one, other), seed=seed)[:fewer] == stratified(space, fewer, seed=seed)


@given(st.integers(1, 3000), st.floats(0, 1, exclude_max=True), st.data())
def test_places_are_taken_once_each_and_spread_evenly_whenever_one_stops(
    places: int, begin: float, data: st.DataObject
) -> None:
    order = list(even_places(places, begin))
    assert sorted(order) == list(range(places))
    n = data.draw(st.integers(1, max(1, places // 2)))
    taken, stratum = np.sort(order[:n]), places / n
    assert np.diff([0, *taken, places]).max() <= 2 * stratum + 1
    assert n < 3 or (taken[2:] - taken[:-2]).min() >= stratum - 1


def test_what_is_over_the_limit_is_not_sampled() -> None:
    limits = Limits.parse(macs="1.5M")
    assert max(cost(one).macs for one in stratified(load_space("tiny_32"), 10, limits=limits)) <= 1.5e6
    with pytest.raises(InputError, match=r"networks=10: space mini gave 0 within the limits"):
        stratified(parse_space(MINI), 10, limits=Limits.parse(macs="1"))


def test_a_whole_small_space_can_be_the_sample() -> None:
    space = parse_space(MINI)
    assert len({one.id for one in stratified(space, space.size)}) == space.size
    with pytest.raises(InputError, match=r"space mini has 54; give at most that"):
        stratified(space, space.size + 1)


def test_more_networks_than_are_ever_drawn_are_refused_at_once() -> None:
    with pytest.raises(InputError, match=r"networks=99999999: 2000 of a space are drawn; give at most that"):
        stratified(load_space("tiny_32"), 99_999_999)


# --- what is kept ---


def kept(path: Path) -> list[Curve]:
    return [Curve.model_validate_json(line) for line in path.read_text().splitlines()[1:]]


def test_a_line_that_a_kill_tore_is_dropped_and_the_next_is_whole(tmp_path: Path) -> None:
    first, second = Curve(id="a", seed=0, accuracy_by_epoch=(1.5, 2.5)), Curve(id="b", seed=1, error="diverged")
    with Journal(tmp_path, "j", {"torch": "1"}) as journal:
        journal.add(first)
    content = journal.path.read_bytes()
    for torn in (content + b'{"id": "b", "se', content + b'{"id": "\xc3', content):
        journal.path.write_bytes(torn)
        with Journal(tmp_path, "j", {"torch": "1"}) as again:
            assert again.kept == {("a", 0): first}
            again.add(second)
        assert kept(again.path) == [first, second]


def test_a_file_torn_in_its_first_line_begins_anew(tmp_path: Path) -> None:
    with Journal(tmp_path, "j", {"torch": "1"}) as journal:
        pass
    journal.path.write_bytes(journal.path.read_bytes()[:10])
    with Journal(tmp_path, "j", {"torch": "1"}) as again:
        again.add(Curve(id="a", seed=0))
    with Journal(tmp_path, "j", {"torch": "1"}) as third:
        assert third.kept == {("a", 0): Curve(id="a", seed=0)}


def test_other_conditions_have_another_file_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    with Journal(tmp_path, "j", {"torch": "1"}) as one, Journal(tmp_path, "j", {"torch": "2"}) as other:
        assert one.path != other.path
        one.add(Curve(id="a", seed=0))
    for damage in ("no json\n", '{"id": "a"}\n', "\n"):
        lines = one.path.read_text().splitlines(keepends=True)
        one.path.write_text(lines[0] + damage + lines[1])
        with pytest.raises(InputError, match=r"j-\w+\.jsonl:2: damaged"), Journal(tmp_path, "j", {"torch": "1"}):
            pass
        one.path.write_text("".join(lines))


def test_a_training_serves_every_schedule_that_is_left_before_it_ended(tmp_path: Path) -> None:
    whole = Curve(id="a", seed=0, accuracy_by_epoch=(1.5, 2.5, 3.5))
    with Journal(tmp_path, "j", {}) as journal:
        journal.add(whole)
        assert journal.curve(("a", 0), 3) == whole
        assert journal.curve(("a", 0), 1) == Curve(id="a", seed=0, accuracy_by_epoch=(1.5,))
        assert journal.curve(("a", 0), 4) is None
        assert journal.curve(("a", 1), 1) is None


def test_a_failure_is_one_of_every_schedule_that_goes_on_beyond_it(tmp_path: Path) -> None:
    begun, failed = Curve(id="a", seed=0, accuracy_by_epoch=(1.5,)), Curve(id="a", seed=0, error="diverged")
    with Journal(tmp_path, "j", {}) as journal:
        journal.add(begun)
        journal.add(failed)
    with Journal(tmp_path, "j", {}) as again:
        assert again.curve(("a", 0), 1) == begun
        beyond = again.curve(("a", 0), 2)
        assert beyond is not None
        assert beyond.error == "diverged"


# --- through the front door ---


def test_a_card_is_printed_written_and_continued(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mini.yaml").write_text(MINI)
    status, out, err = run(*QUICK.split(), "--out", "card.md")
    assert status == 0
    for said in ("How 1 of 2 epochs rank 5 networks of mini", "naswot", "ceiling", "Told apart from", "WARNING"):
        assert said in out
    assert "5 networks of mini, 20 trainings of 30 epochs in all" in err
    card = (tmp_path / "card.md").read_text()
    assert card.startswith("# How 1 of 2 epochs rank 5 networks of mini\n")
    assert "| parameters |" in card
    files = {path.name: path.read_bytes() for path in (tmp_path / "runs").iterdir()}
    assert len(files) == 2
    assert all(content.count(b"\n") == 11 for content in files.values())

    again = json.loads(run(*QUICK.split(), "--json")[1])
    assert {path.name: path.read_bytes() for path in (tmp_path / "runs").iterdir()} == files
    assert [row["name"] for row in again["rankings"]] == [
        *("proxy, mean of seeds", "proxy, one seed", "parameters", "MACs", "synflow", "naswot", "dss", "zico")
    ]
    assert again["conditions"]["space"] == "mini"
    assert len(again["networks"]) == 5
    assert "done" not in err
    # long trainings do not depend on the proxy's schedule
    elsewhere = QUICK.replace("--epochs 2 --stop-epoch 1", "--epochs 3 --stop-epoch 1").split()
    assert "5 trainings are done: continued" in run(*elsewhere, "--seeds", "1")[2]


def test_the_proxy_is_the_very_training_of_a_search_wherever_its_schedule_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VITSCAPE_LEASES", str(tmp_path))
    space = parse_space(MINI)

    def card(stop_epoch: int) -> Card:
        short = TrainSettings(epochs=3, stop_epoch=stop_epoch)
        how: dict[str, Any] = {"networks": 5, "seeds": 1, "data": "digits", "long_epochs": 2, "seed": 7}
        return calibrate(space, **how, settings=short, folder=tmp_path / "runs").card

    def files() -> dict[str, int]:
        return {path.name: path.read_bytes().count(b"\n") - 1 for path in (tmp_path / "runs").iterdir()}

    later = card(2)
    assert sorted(files().values()) == [5, 5]
    sooner = card(1)
    assert sorted(files().values()) == [5, 5]  # nothing was trained
    architecture = stratified(space, 5, seed=7)[2]
    one, other = (next(each for each in it.networks if each.id == architecture.id) for it in (sooner, later))
    searched = evaluate(
        architecture, data="digits", settings=TrainSettings(epochs=3, stop_epoch=1), seed=7, measure=("accuracy",)
    )
    assert one.proxies == (searched.accuracy_by_epoch,)
    assert other.proxies[0][:1] == one.proxies[0]
    assert len(other.proxies[0]) == 2
    assert one.longs == other.longs
    assert one.longs[0] != one.proxies[0][0]


def broken(monkeypatch: pytest.MonkeyPatch, *architectures: Architecture) -> None:
    """Has these networks find no memory."""
    module = importlib.import_module("explorer.evaluate")
    build, ids = module.build_seeded, {one.id for one in architectures}

    def building(architecture: Architecture, seed: int) -> Any:
        if architecture.id in ids:
            raise RuntimeError("CUDA out of memory:\n tried to allocate")
        return build(architecture, seed)

    monkeypatch.setattr(module, "build_seeded", building)


def test_what_fails_is_kept_left_out_and_said(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mini.yaml").write_text(MINI)
    broken(monkeypatch, stratified(parse_space(MINI), 5)[2])
    status, out, err = run(*QUICK.split(), "--seeds", "1")
    assert (status, out) == (1, "")
    assert "error: 1 of 5 networks could not be trained; left out: patch/4" in err
    assert "RuntimeError: CUDA out of memory: tried to allocate; to try again remove the lines with an error" in err
    assert lines_in(tmp_path) == 10
    status, out, err = run(*QUICK.split(), "--networks", "6", "--seeds", "1")
    assert status == 0
    assert "10 trainings are done: continued" in err
    assert "rank 5 networks" in out
    assert "left out: patch/4" in out
    assert lines_in(tmp_path) == 12


def test_a_report_names_the_limits_of_its_sample(tmp_path: Path, run: Run) -> None:
    (tmp_path / "mini.yaml").write_text(MINI)
    status, out, err = run(*QUICK.split(), "--seeds", "1", "--max-macs", "100M")
    assert status == 0, err
    assert "macs of at most 100 M; proxy: digits, 1 of 2 epochs" in out


def test_a_set_up_by_which_nothing_can_be_trained_ends_with_one_line_and_keeps_nothing(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mini.yaml").write_text(MINI)
    broken(monkeypatch, *stratified(parse_space(MINI), 5))
    status, out, err = run(*QUICK.split(), "--seeds", "1")
    assert (status, out) == (1, "")
    assert err.strip().splitlines()[-1] == (
        "error: 10 trainings failed in a row, the last with RuntimeError: CUDA out of memory: tried to allocate"
    )
    assert lines_in(tmp_path) == 0


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        ("--networks 4", "networks=4: give a whole number of at least 5"),
        ("--networks 60", "space mini has 54"),
        ("--networks 99999999", "networks=99999999: space mini has 54"),
        ("--fidelity data=0.01", "fidelity data=0.01: 10 training images are fewer than a batch of 64; raise it"),
        ("--fidelity image_size=24", "fidelity image_size=24: the space has images of 16 pixels"),
        ("--seeds 0", "seeds=0"),
        ("--jobs 0", "jobs=0"),
        ("--seed -1", "seed=-1"),
        ("--long-epochs 0", "long-epochs=0"),
        ("--epochs 12 --long-epochs 11", "long-epochs=11: no more than the proxy's 12 epochs"),
        ("--long-epochs 12", "long-epochs=12: no more than the proxy's"),
        ("--epochs 3 --stop-epoch 4", "stop_epoch=4"),
        ("--max-macs 0", "max-macs=0"),
        ("--out nowhere/card.md", "out=nowhere/card.md: no folder nowhere"),
        ("--data nosuch", "nosuch"),
        ("--device cuda:7", "cuda:7"),
    ],
)
def test_a_bad_option_is_one_line_before_anything_is_trained(
    run: Run, tmp_path: Path, words: str, fragment: str
) -> None:
    (tmp_path / "mini.yaml").write_text(MINI)
    assert fragment in refuses(run, "calibrate", "mini.yaml", "--data", "digits", *words.split())
    assert not list(tmp_path.glob("runs/*"))


def test_data_of_other_channels_than_the_space_is_one_line_before_anything_is_trained(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mini.yaml").write_text(MINI.replace("classes: 10", "classes: 10\nin_channels: 1"))
    told = refuses(run, "calibrate", "mini.yaml", "--data", "digits")
    assert "in_channels: the data digits has 3 channels; set in_channels: 3" in told


def begun(folder: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "explorer.cli", *QUICK.split(), *words]
    return subprocess.Popen(command, cwd=folder, env=environment(folder), stderr=subprocess.PIPE, text=True)


def lines_in(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") - 1 for path in folder.glob("runs/*.jsonl"))


def ended(process: subprocess.Popen[str], end: signal.Signals, folder: Path, lines: int) -> str:
    """Standard error of a calibration that gets a signal once so much is kept, after all its processes have ended."""
    deadline, children = time.monotonic() + 120, []
    while (lines_in(folder) < lines or len(children) < 2) and time.monotonic() < deadline:
        children = children_of(process.pid)
        time.sleep(0.01)
    assert len(children) >= 2
    process.send_signal(end)
    _, err = process.communicate(timeout=60)
    while any(alive(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [child for child in children if alive(child)]
    return err


def test_a_killed_calibration_takes_its_processes_along_and_goes_on_to_the_same_card(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mini.yaml").write_text(MINI)
    killed = begun(tmp_path, "--seeds", "1", "--jobs", "2")  # the card may not depend on the number of jobs
    ended(killed, signal.SIGKILL, tmp_path, lines=2)
    assert killed.returncode == -signal.SIGKILL
    kept_then = lines_in(tmp_path)
    assert 2 <= kept_then < 10
    interrupted = begun(tmp_path, "--seeds", "1", "--jobs", "2")
    err = ended(interrupted, signal.SIGINT, tmp_path, lines=kept_then)
    assert interrupted.returncode == 130, err
    assert "interrupted: what is finished is kept" in err
    assert "Traceback" not in err
    kept_then = lines_in(tmp_path)
    status, out, err = run(*QUICK.split(), "--seeds", "1", "--json")
    assert status == 0
    assert f"{kept_then} trainings are done: continued" in err
    assert lines_in(tmp_path) == 10
    short = TrainSettings(epochs=2, stop_epoch=1)
    how: dict[str, Any] = {"networks": 5, "seeds": 1, "data": "digits", "long_epochs": 2, "folder": tmp_path / "whole"}
    uninterrupted = plain(calibrate(parse_space(MINI), **how, settings=short))
    assert json.loads(out) == json.loads(json.dumps(uninterrupted))


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
