"""Zero-cost scores: against cases reckoned by hand, and the promises that each of them makes."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import optuna
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from explorer.proxy.data import load_data
from explorer.record import Evaluation, TrialRecord
from explorer.scores import SCORES, scores
from explorer.scores.dss import attention_layers, dss, nuclear
from explorer.scores.naswot import agreements, log_determinant, naswot
from explorer.scores.screen import Screen
from explorer.scores.synflow import synflow
from explorer.scores.zico import consistency
from explorer.search.screening import Screened
from explorer.search.stopping import Decision, audited
from search_spaces import Architecture, build
from search_spaces.errors import InputError
from tests.minis import MINI, Run, refuses

MIXERS = {
    "window": {"kind": "window", "size": 2, "shift": 1, "heads": 2},
    "global": {"kind": "global", "heads": 2},
    "single_head": {"kind": "single_head", "partial_ratio": 0.5, "qk_dim": 8},
    "conv": {"kind": "conv", "kernel": 3},
    "none": {"kind": "none"},
}


def small(mixer: str = "global", norm: str = "layer", **more: object) -> Architecture:
    """Two stages of two blocks on 16 x 16 images, both kinds of downsampling's parts in the second's."""
    first = {"width": 8, "depth": 2, "mixer": MIXERS[mixer], "norm": norm, "local": True, **more}
    second = {**first, "downsample": "inverted_residual" if norm == "batch" else "patch_merging"}
    stem = {"kind": "conv" if norm == "batch" else "patch", "stride": 4}
    bare = {"format": "vitscape/architecture@1", "image_size": 16, "classes": 10, "drop_path": 0.2}
    return Architecture.from_dict({**bare, "stem": stem, "stages": [first, second], "head": {"norm": norm}})


def built(architecture: Architecture, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build(architecture)


def batch(count: int = 8, size: int = 16) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, size, size, generator=generator), torch.arange(count) % 10


# --- what each promises ---


@pytest.mark.parametrize("norm", ["layer", "batch"])
@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("name", SCORES)
def test_a_score_is_defined_for_every_mixer_and_norm(name: str, mixer: str, norm: str) -> None:
    assert math.isfinite(SCORES[name](built(small(mixer, norm)), *batch()))


@pytest.mark.parametrize("name", SCORES)
def test_a_score_leaves_the_network_and_the_generator_as_they_were(name: str) -> None:
    network = built(small("window", "batch")).train()
    images, labels = batch()
    F.cross_entropy(network(images), labels).backward()
    before = copy.deepcopy(network.state_dict())
    gradients = [None if one.grad is None else one.grad.clone() for one in network.parameters()]
    state = torch.get_rng_state()
    SCORES[name](network, images, labels)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in network.modules())
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())
    for parameter, gradient in zip(network.parameters(), gradients, strict=True):
        assert parameter.requires_grad
        assert gradient is None if parameter.grad is None else torch.equal(parameter.grad, gradient)


@pytest.mark.parametrize("name", SCORES)
def test_a_score_is_the_same_each_time_and_in_either_mode(name: str) -> None:
    network = built(small("single_head", "batch"))
    first = SCORES[name](network.train(), *batch())
    torch.manual_seed(5)
    assert SCORES[name](network.eval(), *batch()) == first


@pytest.mark.parametrize("count", [2, 3, 64])
@pytest.mark.parametrize("name", SCORES)
def test_a_score_takes_from_two_images_to_sixty_four(name: str, count: int) -> None:
    assert math.isfinite(SCORES[name](built(small("conv", "batch")), *batch(count)))


@pytest.mark.parametrize("name", SCORES)
def test_a_branch_that_begins_closed_counts(name: str) -> None:
    # BatchNorm's last weight of a branch begins at 0: what is in the branch would not matter
    shallow, deep = small("conv", "batch"), small("conv", "batch", depth=6)
    assert SCORES[name](built(deep), *batch()) > SCORES[name](built(shallow), *batch())


def test_scores_follow_their_seed_alone_on_the_data_s_own_images() -> None:
    data = load_data("digits", 16)
    first = scores(small(), data, seed=3)
    torch.manual_seed(9)
    assert scores(small(), data, seed=3) == first
    assert scores(small(), data, seed=4) != first
    assert set(first) == set(SCORES)


def test_a_score_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(InputError, match=r"gradnorm: no such score; choose one of synflow, naswot"):
        scores(small(), load_data("digits", 16), names=["gradnorm"])


# --- synflow ---


@given(st.integers(0, 1000), st.lists(st.integers(1, 6), min_size=3, max_size=5))
def test_synflow_of_a_linear_chain_is_its_closed_form(seed: int, widths: list[int]) -> None:
    torch.manual_seed(seed)
    layers = [nn.Linear(a, b) for a, b in pairwise(widths)]
    flow = torch.ones(1, widths[0], dtype=torch.float64)
    for layer in layers:
        flow = flow @ layer.weight.detach().double().abs().T
    # every layer conserves the flow: the sum over its weights is the sum of logits
    expected = math.log(len(layers) * float(flow.sum()))
    assert synflow(nn.Sequential(*layers), torch.zeros(2, widths[0])) == pytest.approx(expected, rel=1e-12)


def test_synflow_passes_norms_and_activations_of_either_kind() -> None:
    torch.manual_seed(0)
    first, last = nn.Linear(4, 6), nn.Linear(6, 3)
    plain = synflow(nn.Sequential(first, last), torch.zeros(2, 4))
    closed = nn.BatchNorm1d(6)
    nn.init.zeros_(closed.weight)
    for between in (nn.LayerNorm(6), closed, nn.GroupNorm(1, 6), nn.ReLU(), nn.GELU(), nn.Dropout(0.5)):
        assert synflow(nn.Sequential(first, between, last), torch.zeros(2, 4)) == plain


def test_synflow_does_not_look_at_the_images() -> None:
    network, (images, _) = built(small()), batch()
    assert synflow(network, images) == synflow(network, images * 0)


# --- naswot ---


def test_naswot_of_known_codes_is_the_determinant_by_hand() -> None:
    codes = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1]]).bool()
    kernel = agreements(codes)
    assert kernel.tolist() == [[4, 3, 0], [3, 4, 1], [0, 1, 4]]
    assert log_determinant(kernel) == pytest.approx(math.log(4 * (16 - 1) - 3 * 12))  # = ln 24


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.GELU(), nn.GELU(approximate="tanh")], ids=str)
def test_naswot_reads_the_sign_of_what_enters_an_activation(activation: nn.Module) -> None:
    # the codes above, as what enters: above 0 on, else off
    entering = torch.tensor([[2.0, 1, -1, -3], [1, -1, -2, 0], [-1, -2, 1, 5]])
    assert naswot(nn.Sequential(nn.Identity(), activation), entering) == pytest.approx(math.log(24))


def test_naswot_adds_up_the_layers_and_sees_functions_as_well_as_modules() -> None:
    class Twice(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(F.relu(x) - 1)

    entering = torch.tensor([[2.0, 0.5], [-1, 3]])
    # codes 1 1 | 1 0 and 0 1 | 0 1: they agree in one unit of four
    assert naswot(Twice(), entering) == pytest.approx(math.log(4 * 4 - 1 * 1))


def test_naswot_cannot_tell_a_network_that_sees_two_images_as_one() -> None:
    assert naswot(nn.ReLU(), torch.ones(2, 4)) == -math.inf


@given(st.integers(0, 1000), st.integers(2, 9), st.integers(1, 40))
def test_agreements_are_units_less_the_hamming_distance(seed: int, images: int, units: int) -> None:
    codes = torch.rand(images, units, generator=torch.Generator().manual_seed(seed)) > 0.5
    distance = (codes[:, None] != codes[None]).sum(-1)
    assert torch.equal(agreements(codes), (units - distance).double())


# --- dss, zico ---


@pytest.mark.parametrize("mixer", MIXERS)
def test_dss_knows_the_attention_of_every_mixer(mixer: str) -> None:
    for norm in ("layer", "batch"):
        found = attention_layers(built(small(mixer, norm)))
        # qkv and proj of four blocks; the stem has a `proj`, too, but no `qkv`
        assert len(found) == (0 if mixer in ("conv", "none") else 8), found
        assert not any(name.startswith("stem") for name in found)


def test_dss_of_layers_without_attention_is_their_saliency() -> None:
    network = nn.Linear(2, 2, bias=False)
    nn.init.zeros_(network.weight)
    network.weight.data[0, 0] = 1.0
    images, labels = torch.tensor([[1.0, 0], [1.0, 0]]), torch.tensor([0, 0])
    # logits (1, 0): the gradient of the only weight that is not 0 is softmax - 1
    assert dss(network, images, labels) == pytest.approx(math.log(1 - 1 / (1 + math.exp(-1))), rel=1e-6)


def test_the_nuclear_norm_is_the_sum_of_singular_values() -> None:
    assert nuclear(torch.diag(torch.tensor([3.0, -4.0]))) == pytest.approx(7)
    assert nuclear(torch.ones(2, 2, 1, 1)) == pytest.approx(2)  # a 1x1 convolution is a matrix


def test_zico_is_mean_over_deviation_of_gradients_that_vary() -> None:
    sizes = torch.tensor([[1.0, 2.0, 5.0], [3.0, 2.0, 5.0]])
    assert consistency(sizes) == pytest.approx(2 / 1)  # the second and the third are the same in both parts


# --- screening ---


def screen_of(seen: list[tuple[float, float]], **how: float) -> Screen:
    screen = Screen(**how)  # type: ignore[arg-type]
    for number, (cost, score) in enumerate(seen):
        screen.see(number, cost, score)
    return screen


def test_nothing_is_screened_before_enough_was_seen() -> None:
    seen = [(1e6, float(i)) for i in range(20)]
    assert not screen_of(seen[:19]).hopeless(1e6, -1.0)
    assert screen_of(seen).hopeless(1e6, -1.0)
    assert not Screen(least=0).hopeless(1e6, -1.0)


def test_the_lowest_thirty_per_cent_are_hopeless() -> None:
    screen = screen_of([(1e6, float(i)) for i in range(20)])
    assert [screen.hopeless(1e6, i + 0.5) for i in range(20)] == [True] * 5 + [False] * 15


def test_the_small_are_not_screened_for_scoring_less_than_the_large() -> None:
    screen = screen_of([(1e6, i / 10) for i in range(20)] + [(1e9, 100 + i / 10) for i in range(20)])
    assert not screen.hopeless(1.1e6, 1.5)  # below every large one
    assert screen.hopeless(0.9e9, 99.0)  # above every small one


def test_equal_scores_are_not_screened_and_what_cannot_be_told_is() -> None:
    assert not screen_of([(1e6, 1.0)] * 30).hopeless(1e6, 1.0)
    assert screen_of([(1e6, float(i)) for i in range(20)]).hopeless(1e6, -math.inf)


@given(st.lists(st.tuples(st.floats(1, 1e9), st.floats(-5, 5)), min_size=20, max_size=40), st.randoms())
def test_a_screen_does_not_depend_on_the_order_of_what_it_saw(seen: list[tuple[float, float]], rng: object) -> None:
    shuffle: Callable[[list[int]], None] = rng.shuffle  # type: ignore[attr-defined]
    numbers = list(range(len(seen)))
    shuffle(numbers)
    mixed = Screen()
    for number in numbers:
        mixed.see(number, *seen[number])
    for cost, score in seen:
        assert mixed.hopeless(cost, score) == screen_of(seen).hopeless(cost, score)


def test_a_share_that_would_screen_everything_is_refused() -> None:
    with pytest.raises(InputError, match=r"share=1: give a share"):
        Screen(share=1)


# --- screening a search ---


def scored(number: int, score: float | None, **more: object) -> TrialRecord:
    """The record of a trial of a million MACs with a NASWOT score."""
    known = {} if score is None else {"naswot": score}
    evaluation = Evaluation(macs=1_000_000, params=1, activations=1, params_folded=1, scores=known)
    return TrialRecord(id=str(number), architecture={}, status="stopped", evaluation=evaluation, **more)  # type: ignore[arg-type]


def decides(rule: Screened, number: int, score: float | None, architecture: Architecture | None = None) -> Decision:
    evaluation = scored(number, score).evaluation
    assert evaluation is not None
    return rule.decide(number, architecture or small(), evaluation)


def test_what_scores_low_is_not_trained_and_the_reason_says_so() -> None:
    rule = Screened("naswot")
    for number in range(20):
        assert decides(rule, number, -1.0).goes_on  # nothing is known yet
        rule.learn(number, scored(number, float(number)))
    assert pickle.loads(pickle.dumps(rule)) == rule  # a cluster asks it elsewhere
    low = decides(rule, 20, 2.5)
    assert not low.goes_on
    assert low.reason == "not trained: naswot 2.5, 15 % of the candidates of like MACs score as low"
    assert decides(rule, 20, 12.5).goes_on
    assert not decides(rule, 20, None).goes_on  # two images had one code
    many = [small(width=8 * width) for width in range(1, 200)]  # one in twenty is trained whatever it scores
    assert [decides(rule, 20, 2.5, one).goes_on for one in many] == [audited(one) for one in many]
    assert 0 < sum(map(audited, many)) < 25


def test_what_is_not_screened_the_other_rule_decides() -> None:
    class Refuses:
        learnt = 0

        def decide(self, number: int, architecture: Architecture, so_far: Evaluation) -> Decision:
            return Decision(False, 50.0, "hopeless")

        def learn(self, number: int, record: TrialRecord) -> None:
            self.learnt += 1

    first = Refuses()
    rule = Screened("naswot", first)
    assert decides(rule, 0, 5.0).reason == "hopeless"
    rule.learn(0, scored(0, 5.0))
    assert first.learnt == 1


SCREENED = "search mini.yaml --storage a.db --data digits --epochs 1 --objectives accuracy,macs --stopping none"


def test_a_search_records_the_scores_screens_by_them_and_continues_only_so(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mini.yaml").write_text(MINI)
    monkeypatch.setattr("explorer.scores.screen.Screen.hopeless", lambda screen, cost, score: len(screen.seen) == 2)
    words = SCREENED.split()
    status, _, err = run(*words, "--screen", "naswot", "--trials", "3")
    assert status == 0, err
    study = optuna.load_study(study_name="mini", storage="sqlite:///a.db")
    records = [trial.user_attrs["vitscape"] for trial in study.get_trials()]
    assert [record["status"] for record in records] == ["complete", "complete", "stopped"]
    assert all(record["evaluation"]["scores"]["naswot"] > 0 for record in records)
    assert records[2]["reason"].startswith("not trained: naswot")
    assert "train" not in records[2]["evaluation"]["seconds"]
    data = load_data("digits", 16)
    for record in records:
        again = scores(Architecture.from_dict(record["architecture"]), data, seed=0, names=["naswot"])
        assert again == record["evaluation"]["scores"]
    assert "screen=naswot, now None" in refuses(run, *words, "--trials", "4")
    assert "screen=size: no such score" in refuses(run, *words, "--screen", "size")
    only_macs = ("--objectives", "macs", "--screen", "dss")
    assert "screen=dss: nothing is trained" in refuses(run, "search", "mini.yaml", *only_macs)
