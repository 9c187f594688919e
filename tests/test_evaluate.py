"""The one function a trial is: cheap steps first, and nothing run that cannot matter."""

from __future__ import annotations

from pathlib import Path

import pytest

from explorer import Limits, Setup, evaluate
from explorer.proxy.data import load_data
from explorer.proxy.train import TrainSettings
from search_spaces import Architecture, cost
from search_spaces.architecture import parse_architecture
from search_spaces.document import parse_yaml
from search_spaces.errors import InputError
from tests.minis import ARCHITECTURE

SHORT = TrainSettings(epochs=2)
CPU = Setup(device="cpu", time_limit_s=0.2)


@pytest.fixture(autouse=True)
def _own_leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITSCAPE_LEASES", str(tmp_path))


@pytest.fixture
def architecture() -> Architecture:
    return parse_architecture(parse_yaml(ARCHITECTURE, "a.yaml"))


def test_an_evaluation_has_cost_latency_memory_and_accuracy_by_epoch(
    architecture: Architecture,
) -> None:
    found = evaluate(architecture, data="digits", setup=CPU, settings=SHORT)
    assert (found.macs, found.params) == (cost(architecture).macs, cost(architecture).params)
    assert found.latency is not None
    assert found.latency.ci95_ms[0] <= found.latency.median_ms <= found.latency.ci95_ms[1]
    assert found.latency.conditions.image_size == 16
    assert found.peak_memory_mb is not None
    assert len(found.accuracy_by_epoch) == 2
    assert found.accuracy == found.accuracy_by_epoch[-1]
    assert found.accuracy is not None
    assert found.accuracy > 15  # chance is 10 %
    assert found.infeasible is None


def test_the_same_seed_gives_the_same_accuracy_and_another_seed_another(architecture: Architecture) -> None:
    def accuracy(seed: int) -> tuple[float, ...]:
        found = evaluate(architecture, data="digits", setup=CPU, settings=SHORT, seed=seed, measure=("accuracy",))
        return found.accuracy_by_epoch

    assert accuracy(1) == accuracy(1)
    assert accuracy(1) != accuracy(2)


def test_over_a_cost_limit_nothing_is_built_timed_or_trained(architecture: Architecture) -> None:
    steps: list[str] = []
    found = evaluate(architecture, data="nosuch", setup=CPU, limits=Limits.parse(params="100"), on_step=steps.append)
    assert steps == []
    assert found.infeasible is not None
    assert found.infeasible.startswith("params")
    assert found.latency is None


def test_over_the_latency_limit_nothing_is_trained(architecture: Architecture) -> None:
    steps: list[str] = []
    found = evaluate(architecture, data="nosuch", setup=CPU, limits=Limits.parse(latency="1us"), on_step=steps.append)
    assert {step.partition(" again")[0] for step in steps} == {"timing"}  # again where it could not be trusted
    assert found.latency is not None
    assert found.accuracy is None
    assert found.infeasible is not None
    assert found.infeasible.startswith("latency")


def test_over_the_memory_limit_nothing_is_trained(architecture: Architecture) -> None:
    found = evaluate(architecture, data="nosuch", setup=CPU, limits=Limits.parse(memory=1e-6), measure=("accuracy",))
    assert found.infeasible is not None
    assert found.infeasible.startswith("memory")
    assert found.accuracy is None


def test_without_accuracy_wanted_no_data_is_needed(architecture: Architecture) -> None:
    found = evaluate(architecture, data="nosuch", setup=CPU, measure=("latency",))
    assert found.latency is not None
    assert found.accuracy is None


def test_training_ends_early_where_on_epoch_says_so(architecture: Architecture) -> None:
    found = evaluate(
        architecture,
        data="digits",
        setup=CPU,
        settings=SHORT,
        measure=("accuracy",),
        on_epoch=lambda so_far: False,
    )
    assert len(found.accuracy_by_epoch) == 1


def test_data_that_does_not_fit_the_architecture_is_an_error_with_the_way_out(architecture: Architecture) -> None:
    other = architecture.model_copy(update={"classes": 7})
    with pytest.raises(InputError, match="classes=7 does not fit the data digits, which has 10: set classes=10"):
        evaluate(other, data="digits", setup=CPU, measure=("accuracy",))
    with pytest.raises(InputError, match="image_size=16 does not fit"):
        evaluate(architecture, data=load_data("digits", 8), setup=CPU, measure=("accuracy",))


@pytest.mark.parametrize(
    ("name", "word", "value"),
    [
        ("latency", "2ms", 2.0),
        ("latency", "250us", 0.25),
        ("latency", "1.5 s", 1500.0),
        ("macs", "1G", 1e9),
        ("macs", "300m", 300e6),
        ("params", "5.5M", 5.5e6),
        ("memory", "1GiB", 1024.0),
        ("memory", "64", 64.0),
    ],
)
def test_limits_are_read_with_their_units(name: str, word: str, value: float) -> None:
    assert Limits.parse(**{name: word}).given() == {name: pytest.approx(value)}
