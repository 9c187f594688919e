"""Faster steps: tried where they are expected to pay, kept where they do, and left without a trace where they fail."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from explorer.proxy import faster
from explorer.proxy.data import Dataset, load_data
from explorer.proxy.experience import KEPT, PRIOR, Expected, Experience, worth_trying
from explorer.proxy.faster import TIMED, UNTIMED, Times
from explorer.proxy.train import TrainSettings, train
from search_spaces.errors import InputError

SETTINGS = TrainSettings(epochs=2, batch_size=32)


class Tiny(nn.Module):
    """A network with statistics and chance, which a step that failed must leave as they were."""

    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(768, 16), nn.BatchNorm1d(16)
        self.drop, self.head = nn.Dropout(dropout), nn.Linear(16, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.drop(torch.relu(self.norm(self.first(images.flatten(1))))))


class Failing(Tiny):
    """Fails once, in its first step after the eager ones that are timed, when statistics and chance have moved on."""

    fails = True

    def __init__(self, dropout: float) -> None:
        super().__init__(dropout)
        self.steps = 0

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        self.steps += self.training
        if self.fails and self.steps == UNTIMED + TIMED + 1:
            raise RuntimeError("not this one")
        return logits


class Sound(Failing):
    """The same without a fault."""

    fails = False


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load_data("digits", 16, cache_dir=tmp_path_factory.mktemp("cache"))


def network(kind: type[Tiny] = Tiny, dropout: float = 0.2) -> Tiny:
    torch.manual_seed(0)
    return kind(dropout)


# --- the decision ---


@pytest.mark.parametrize(
    ("step_ms", "left", "expected", "way"),
    [
        (4.0, 10_000, {"graph": Expected(2, 2.0), "compile": Expected(60, 1.3)}, "graph"),  # 17 s against none
        (40.0, 10_000, {"graph": Expected(2, 1.0), "compile": Expected(60, 1.3)}, "compile"),  # 92 - 90 s
        (40.0, 9_000, {"graph": Expected(2, 1.0), "compile": Expected(60, 1.3)}, None),
        (4.0, 1_000, {"graph": Expected(2, 2.0)}, None),  # 2 s at a cost of 2
        (4.0, 10_000, {"graph": Expected(2, 0.9)}, None),  # it was slower
        (4.0, 10_000, {}, None),
    ],
)
def test_what_is_expected_to_save_most_beyond_its_cost_is_tried(
    step_ms: float, left: int, expected: dict[str, Expected], way: str | None
) -> None:
    assert worth_trying(step_ms / 1e3, left, expected) == way


costs, speedups = st.floats(0, 1e3), st.floats(0.1, 10)


@given(st.floats(1e-4, 10), st.integers(0, 10**6), st.builds(Expected, costs, speedups), st.floats(1, 10))
def test_more_steps_or_a_lower_cost_never_speak_against_trying(
    step_s: float, left: int, one: Expected, more: float
) -> None:
    if worth_trying(step_s, left, {"graph": one}):
        assert worth_trying(step_s, int(left * more), {"graph": one})
        assert worth_trying(step_s, left, {"graph": Expected(one.cost_s / more, one.speedup)})
    assert worth_trying(step_s, 0, {"graph": one}) is None


def test_by_default_a_short_proxy_is_eager_and_a_graph_is_for_what_waits_for_the_host() -> None:
    def way(step_s: float, left: int, kind: str) -> str | None:
        return worth_trying(step_s, left, {name: PRIOR[f"{name}/{kind}"] for name in ("graph", "compile")})

    assert way(0.005, 12 * 128, "launch") is None
    assert way(0.005, 30_000, "launch") == "graph"
    assert way(0.005, 30_000, "compute") is None
    assert way(0.2, 30_000, "compute") == "compile"


def test_a_device_waits_for_the_host_where_issuing_a_step_takes_as_long_as_the_step() -> None:
    assert Times(device=4e-3, host=3.9e-3).kind == "launch"
    assert Times(device=4e-3, host=1e-3).kind == "compute"


# --- what is learned ---


def test_what_was_seen_is_expected_by_its_median_and_by_kind_and_device(tmp_path: Path) -> None:
    path = tmp_path / "new" / "speed.json"
    one = Experience("H200", path)
    assert one.expected("graph/launch") == PRIOR["graph/launch"]
    for cost, speedup in ((1.0, 2.0), (9.0, 1.5), (2.0, 3.0)):
        one.learn("graph/launch", Expected(cost, speedup))
    assert Experience("H200", path).expected("graph/launch") == Expected(2.0, 2.0)
    assert one.expected("graph/compute") == PRIOR["graph/compute"]
    assert Experience("A10", path).expected("graph/launch") == PRIOR["graph/launch"]
    for _ in range(KEPT):
        one.learn("graph/launch", Expected(5.0, 1.0))
    assert one.expected("graph/launch") == Expected(5.0, 1.0)
    assert [file.name for file in path.parent.iterdir()] == ["speed.json"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"format": "vitscape/training_speed@1"}',
        '{"format": "vitscape/training_speed@1", "devices": {"H200": {"graph/launch": [[1, 0]]}}}',
        '{"format": "vitscape/training_speed@1", "devices": {"H200": {"graph/launch": [[NaN, 1]]}}}',
        '{"format": "vitscape/training_speed@1", "devices": {"H200": {"graph/launch": [3]}}}',
        '{"format": "vitscape/training_speed@1", "devices": {"H200": 1}}',
    ],
)
def test_a_file_that_is_none_of_ours_is_ignored_and_written_anew(text: str, tmp_path: Path) -> None:
    path = tmp_path / "speed.json"
    path.write_text(text)
    one = Experience("H200", path)
    assert one.expected("graph/launch") == PRIOR["graph/launch"]
    one.learn("graph/launch", Expected(1.0, 2.0))
    assert one.expected("graph/launch") == Expected(1.0, 2.0)
    assert json.loads(path.read_text())["devices"] == {"H200": {"graph/launch": [[1.0, 2.0]]}}


def test_where_nothing_can_be_written_training_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    Experience("H200", tmp_path / "file" / "speed.json").learn("graph/launch", Expected(1.0, 2.0))


# --- training ---


def test_a_cpu_trains_eagerly_unless_asked(digits: Dataset) -> None:
    first = train(network(), digits, SETTINGS, device="cpu", seed=0)
    second = train(network(), digits, SETTINGS, device="cpu", seed=0, faster="off")
    assert first.ran == second.ran == "eager"
    assert first.accuracy_by_epoch == second.accuracy_by_epoch


def test_a_cpu_has_no_graphs(digits: Dataset) -> None:
    with pytest.raises(InputError, match=r"^faster=graph: a cpu device has no CUDA graphs; give auto, off or compile$"):
        train(network(), digits, SETTINGS, device="cpu", seed=0, faster="graph")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler's own code
def test_a_network_that_fails_compiled_trains_as_if_that_had_not_been_tried_and_says_so_once(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faster, "_told", set())
    first, second = network(Sound), network(Failing)
    expected = train(first, digits, SETTINGS, device="cpu", seed=0)
    with pytest.warns(RuntimeWarning, match=r"^compiled: .*; training goes on eagerly$"):
        result = train(second, digits, SETTINGS, device="cpu", seed=0, faster="compile")
    assert result.ran.startswith("eager: compiled failed (")
    assert result.accuracy_by_epoch == expected.accuracy_by_epoch
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        train(network(Failing), digits, SETTINGS, device="cpu", seed=0, faster="compile")


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.filterwarnings("default")  # the compiler's own
def test_a_compiled_network_learns_as_an_eager_one(digits: Dataset) -> None:
    expected = train(network(dropout=0), digits, SETTINGS, device="cpu", seed=0)
    result = train(network(dropout=0), digits, SETTINGS, device="cpu", seed=0, faster="compile")
    assert result.ran.startswith("compiled: ")
    assert result.ran.partition(": ")[2].count("ms a step instead of") == 1
    assert result.accuracy == pytest.approx(expected.accuracy, abs=2)


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@needs_gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_graph_trains_as_eager_steps_do(precision: str, digits: Dataset) -> None:
    settings = TrainSettings(epochs=4, batch_size=32)
    losses = {}
    for way in ("off", "graph"):
        model = network(dropout=0)
        result = train(model, digits, settings, device="cuda", precision=precision, seed=0, faster=way)  # type: ignore[arg-type]
        losses[way] = result
        assert all(one.isfinite().all() for one in model.parameters())
    assert losses["graph"].ran.startswith("CUDA graph: ")
    assert losses["graph"].accuracy == pytest.approx(losses["off"].accuracy, abs=3)


@needs_gpu
def test_dropout_differs_from_replay_to_replay(digits: Dataset) -> None:
    class Kept(Tiny):
        """Adds up what its dropout lets through."""

        def __init__(self, dropout: float) -> None:
            super().__init__(dropout)
            self.sums = nn.Buffer(torch.zeros(1000))
            self.place = nn.Buffer(torch.zeros(1, dtype=torch.int64))

        def forward(self, images: Tensor) -> Tensor:
            if self.training:
                kept = self.drop(torch.ones(512, device=images.device)).sum()
                self.sums.index_copy_(0, self.place, kept[None])
                self.place.add_(1)
            return super().forward(images)

    model = network(Kept, 0.5)
    result = train(model, digits, SETTINGS, device="cuda", seed=0, faster="graph")
    seen = model.get_buffer("sums")[: int(model.get_buffer("place"))].tolist()
    assert result.ran.startswith("CUDA graph: ")
    assert len(set(seen[-20:])) > 10


@needs_gpu
def test_a_network_that_reads_from_the_device_is_left_eager(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faster, "_told", set())

    class Reading(Tiny):
        """Does one of two things by a value."""

        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images if images.mean().item() > -100 else -images)

    with pytest.warns(RuntimeWarning, match="CUDA graph: "):
        result = train(network(Reading), digits, SETTINGS, device="cuda", seed=0, faster="graph")
    assert result.ran.startswith("eager: CUDA graph failed")
    assert result.accuracy > 50
