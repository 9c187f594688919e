"""Search spaces: exact size, suggestions that are always possible, neighbours, and errors that name the line."""

import json
import random
from collections import Counter

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import Architecture, SpecError, cost, load_space, preset
from search_spaces.shipped import names
from search_spaces.space import SearchSpace, parse_space
from tests.malformed import MALFORMED_ARCHITECTURES, MALFORMED_SPACES, SPACE
from tests.strategies import damaged, every_composition, points, samples

SPACES = ("tiny_32", "swin_224", "shvit_224", "hybrid_224")
PUBLISHED = ("swin_t", "swin_s", "swin_b", "shvit_s1", "shvit_s2", "shvit_s3", "shvit_s4")
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
optuna.logging.set_verbosity(optuna.logging.ERROR)


def tiny(stages: str, head: str = "") -> str:
    return f"format: vitscape/space@1\nname: tiny\n{head or GLOBALS}stages:\n{stages}"


GLOBALS = "image_size: 32\nstem: {kind: patch, stride: 4}\n"  # maps of 8, 4, 2, 1 tokens

# every trap of counting: each of these spaces can be enumerated
SMALL = {
    "one point": tiny("  - {width: 8, depth: 1, mixer: {kind: none}}\n"),
    "plain lists": tiny(
        "  - {width: [8, 16], depth: [1, 2], mixer: {kind: none}, local: [true, false], norm: [layer, batch],"
        " activation: [gelu, relu]}\n",
        "image_size: [32, 48]\nin_channels: [1, 3]\nclasses: [10, 20]\ndrop_path: [0, 0.1]\nstem: {kind: patch}\n",
    ),
    "ranges": tiny(
        "  - {width: {from: 8, to: 32, step: 8}, depth: {from: 1, to: 5, step: 2}, mixer: {kind: none},"
        " ffn_ratio: {from: 1, to: 2, step: 0.25}}\n"
        "  - {width: 8, depth: {from: 0, to: 2, step: 1}, mixer: {kind: none}, downsample: patch_merging}\n",
        "image_size: 32\ndrop_path: {from: 0, to: 0.3, step: 0.1}\nstem: {kind: patch}\n",
    ),
    "windows that shrink to the map": tiny(
        "  - width: 8\n    depth: [1, 2]\n"
        "    mixer: {kind: window, size: [4, 7, 8, 9, 14], shift: [0, 1, half], heads: [1, 2]}\n"
    ),
    "windows without bias that are global": tiny(
        "  - width: 8\n    depth: [1, 2]\n    mixer:\n"
        "      - {kind: window, size: [4, 8, 9], relative_position_bias: [true, false], heads: [1, 2]}\n"
        "      - {kind: global, heads: [2, 4]}\n"
    ),
    "windows on maps that depend on image and stem": tiny(
        "  - {width: 8, depth: 2, mixer: {kind: window, size: [2, 4, 7], shift: [0, half], heads: 1}}\n"
        "  - {width: 8, depth: 2, mixer: {kind: window, size: [2, 4, 7], shift: [0, half], heads: 1},"
        " downsample: [patch_merging, inverted_residual]}\n",
        "image_size: [16, 32, 60]\nstem:\n  - {kind: patch, stride: [4, 8], position: [none, absolute]}\n"
        "  - {kind: conv, stride: [4, 16]}\n",
    ),
    "shifts below some sizes only": tiny(
        "  - {width: 8, depth: [1, 3], mixer: {kind: window, size: [2, 3, 4], shift: [0, 1, 2, 3, half], heads: 1}}\n"
    ),
    "heads that divide some widths only": tiny(
        "  - {width: [6, 8, 9, 10], depth: 1, mixer: {kind: global, heads: [2, 3, 4]}}\n"
    ),
    "a range of heads of which some divide": tiny(
        "  - {width: [8, 12, 24], depth: 1, mixer: {kind: global, heads: {from: 1, to: 6, step: 1}}}\n"
    ),
    "widths that nothing divides": tiny("  - {width: [7, 8, 11], depth: 1, mixer: {kind: global, heads: [2, 4]}}\n"),
    "mixers possible at some widths only": tiny(
        "  - width: [6, 7, 8]\n    depth: 1\n    mixer:\n"
        "      - {kind: global, heads: [3, 4]}\n      - {kind: window, size: 4, heads: 7}\n"
        "      - {kind: single_head, partial_channels: [7, 8]}\n"
    ),
    "partial channels that say the same": tiny(
        "  - width: [8, 14, 28]\n    depth: 1\n    mixer:\n"
        "      - {kind: single_head, partial_ratio: [0.1, 0.2, 0.21428571428571427, 0.25], qk_dim: [8, 16]}\n"
        "      - {kind: single_head, partial_channels: [2, 3, 6]}\n"
        "      - {kind: single_head}\n"
    ),
    "the default share or a number": tiny(
        "  - {width: [4, 14, 28], depth: 1, mixer: {kind: single_head, partial_channels: [null, 3, 6]}}\n"
    ),
    "FFN ratios that round to one width": tiny(
        "  - {width: [4, 16], depth: 1, mixer: {kind: none}, ffn_ratio: [0.01, 0.1, 2.0, 2.02, 2.2]}\n"
    ),
    "three or four stages": tiny(
        "  - {width: [8, 16], depth: [1, 2], mixer: {kind: none}}\n"
        "  - {width: 8, depth: [1, 2], mixer: {kind: none}, downsample: patch_merging}\n"
        "  - {width: 8, depth: 1, mixer: {kind: none}, downsample: [patch_merging, inverted_residual]}\n"
        "  - {width: [8, 16], depth: [0, 1, 2], mixer: {kind: none}, downsample: patch_merging}\n"
    ),
    "one to four stages": tiny(
        "  - {width: 8, depth: 1, mixer: {kind: none}}\n"
        + "  - {width: [8, 16], depth: [0, 1, 2], mixer: {kind: none}, downsample: patch_merging}\n" * 3
    ),
    "stage alternatives that overlap": tiny(
        "  - - {width: [8, 16], depth: [1, 2], mixer: {kind: none}}\n"
        "    - {width: [16, 24], depth: [2, 3], mixer: {kind: none}, local: [true, false]}\n"
        "  - - {width: 8, depth: [0, 1], mixer: {kind: none}, downsample: patch_merging}\n"
        "    - {width: 8, depth: [0, 1, 2], mixer: [{kind: none}, {kind: conv}], downsample: patch_merging}\n"
    ),
    "mixer alternatives that overlap": tiny(
        "  - width: [8, 12]\n    depth: [1, 2]\n    mixer:\n"
        "      - {kind: window, size: [4, 8], heads: [1, 2], shift: [0, half]}\n"
        "      - {kind: window, size: [8, 14], heads: [2, 3]}\n"
        "      - {kind: conv, kernel: [3, 5]}\n      - {kind: conv, kernel: [5, 7]}\n      - {kind: none}\n"
    ),
    "stem and head alternatives that overlap": tiny(
        "  - {width: 8, depth: 1, mixer: {kind: none}}\n",
        "image_size: 32\nstem:\n  - {kind: patch, stride: [2, 4]}\n"
        "  - {kind: patch, stride: [4, 8], norm: [layer, none]}\n  - {kind: conv, stride: [2, 4]}\n"
        "head:\n  - {norm: layer}\n  - {norm: [layer, batch]}\n",
    ),
}


@pytest.fixture(scope="module")
def small() -> dict[str, SearchSpace]:
    return {name: parse_space(text) for name, text in SMALL.items()}


@pytest.fixture(scope="module")
def shipped() -> dict[str, SearchSpace]:
    return {name: load_space(name) for name in SPACES}


@pytest.mark.parametrize("name", SMALL)
def test_size_is_the_number_of_networks_found_by_trying_everything(small, name):
    space = small[name]
    ids = {architecture.id for architecture in every_composition(space)}
    assert space.size == len(ids)


def test_the_small_spaces_have_the_sizes_counted_by_hand(small):
    sizes = {name: space.size for name, space in small.items()}
    assert sizes["one point"] == 1
    assert sizes["plain lists"] == 2**9
    assert sizes["ranges"] == 4 * (4 * 3 * 5) * 3  # drop path, first stage, second stage absent or of 1 or 2 blocks
    # two heads; depth 1: windows of 4, 7, 8; depth 2: windows of 4 and 7 with three shifts each, and 8 with none
    assert sizes["windows that shrink to the map"] == 2 * 3 + 2 * (3 + 3 + 1)
    assert sizes["heads that divide some widths only"] == (2 + 2 + 1 + 1)
    assert sizes["one to four stages"] == 1 + 4 * (1 + 4 * (1 + 4))


@pytest.mark.parametrize("name", SMALL)
def test_whatever_is_composed_is_contained_and_found_again_by_its_params(small, name):
    space = small[name]
    for architecture in list(every_composition(space))[:400]:
        assert space.contains(architecture)
        assert space.contains(architecture.canonical)
        assert space.suggest(optuna.trial.FixedTrial(space.params(architecture))).id == architecture.id
        assert space.suggest(optuna.trial.FixedTrial(space.params(architecture.canonical))).id == architecture.id


def test_sizes_of_the_shipped_spaces(shipped):
    # golden: a change of a shipped space invalidates everybody's studies of it, and must be meant
    assert {name: space.size for name, space in shipped.items()} == {
        "tiny_32": 79_847_424,
        "swin_224": 97_312_106_397_600,
        "shvit_224": 705_438_720,
        "hybrid_224": 106_812_237_488_741_546_065_920,
    }


@pytest.mark.parametrize("name", SPACES)
@settings(max_examples=60)
@given(data=st.data())
def test_every_point_of_a_shipped_space_is_contained_and_its_params_lead_back(shipped, name, data):
    space = shipped[name]
    architecture = data.draw(points(space))
    assert space.contains(architecture)
    assert space.suggest(optuna.trial.FixedTrial(space.params(architecture))).id == architecture.id
    assert Architecture.from_dict(architecture.to_dict()) == architecture


@pytest.mark.parametrize("name", SPACES)
def test_the_same_seed_gives_the_same_samples_and_they_differ_among_each_other(shipped, name):
    first, again, other = (samples(shipped[name], 50, seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert len({architecture.id for architecture in first}) > 45
    assert all(shipped[name].contains(architecture) for architecture in first)


def test_samples_reach_every_choice_of_the_demo(shipped):
    space = shipped["tiny_32"]
    seen = Counter(choice for a in samples(space, 600) for choice in space.params(a).items())
    trials = {name.split("[")[0] for name, _ in seen}
    for kind in ("window", "global", "single_head", "conv", "none"):
        assert 60 < seen["stages.0.mixer", kind] < 180
    assert "stages.0.mixer.window.heads" in trials
    assert "stages.1.depth" in trials


SAMPLERS = {
    "random": lambda: optuna.samplers.RandomSampler(seed=0),
    "tpe": lambda: optuna.samplers.TPESampler(seed=0, n_startup_trials=8),
    "tpe multivariate": lambda: optuna.samplers.TPESampler(
        seed=0, n_startup_trials=8, multivariate=True, group=True, constant_liar=True
    ),
    "nsga2": lambda: optuna.samplers.NSGAIISampler(seed=0, population_size=8),
    "nsga3": lambda: optuna.samplers.NSGAIIISampler(seed=0, population_size=8),
}


def search(space: SearchSpace, sampler: optuna.samplers.BaseSampler, number: int) -> optuna.Study:
    """A study of the closed-form cost; each architecture suggested is checked to be possible and in the space."""
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=sampler)

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        architecture = space.suggest(trial)  # raises where a combination is impossible
        assert space.contains(architecture)
        found = cost(architecture)
        return float(found.macs), float(found.params)

    study.optimize(objective, n_trials=number)
    return study


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("name", SPACES)
def test_optuna_samplers_never_meet_an_impossible_combination(shipped, name, sampler):
    study = search(shipped[name], SAMPLERS[sampler](), 24)
    assert [trial.state for trial in study.trials] == [optuna.trial.TrialState.COMPLETE] * 24


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_optuna_samplers_never_meet_an_impossible_combination_where_most_are(small, sampler):
    for name in (
        "shifts below some sizes only",
        "mixers possible at some widths only",
        "a range of heads of which some divide",
        "one to four stages",
        "ranges",
    ):
        study = search(small[name], SAMPLERS[sampler](), 24)
        assert len({trial.number for trial in study.trials}) == 24


def test_a_parameter_exists_only_under_the_choice_that_needs_it(shipped):
    study = search(shipped["tiny_32"], SAMPLERS["random"](), 40)
    kinds = ("window", "global", "single_head", "conv", "none")
    for trial in study.trials:
        for stage in ("stages.0", "stages.1"):
            chosen = trial.params[f"{stage}.mixer"]
            for kind in kinds:
                own = [name for name in trial.params if name.startswith(f"{stage}.mixer.{kind}.")]
                assert bool(own) == (kind == chosen != "none")


def test_a_name_has_one_distribution_in_all_trials(shipped, small):
    # Optuna raises, or a sampler learns nonsense, where one name means different choices
    for space in (*shipped.values(), *small.values()):
        study = search(space, SAMPLERS["random"](), 30)
        known: dict[str, object] = {}
        for trial in study.trials:
            for name, distribution in trial.distributions.items():
                assert known.setdefault(name, distribution) == distribution


def test_a_range_of_integers_is_one_to_optuna():
    space = parse_space(SMALL["ranges"])
    trial = optuna.create_study().ask()
    space.suggest(trial)
    assert trial.distributions["stages.0.depth"] == optuna.distributions.IntDistribution(1, 5, step=2)
    assert trial.distributions["stages.0.width"] == optuna.distributions.IntDistribution(8, 32, step=8)


def test_enqueued_presets_come_back_as_themselves(shipped):
    study = optuna.create_study(directions=["minimize", "minimize"])
    for name in PUBLISHED:
        study.enqueue_trial(shipped["hybrid_224"].params(preset(name)))
    for name in PUBLISHED:
        assert shipped["hybrid_224"].suggest(study.ask()).id == preset(name).id


@pytest.mark.parametrize("name", PUBLISHED)
def test_hybrid_224_contains_the_published_models(shipped, name):
    assert shipped["hybrid_224"].contains(preset(name))
    family = "swin_224" if name.startswith("swin") else "shvit_224"
    assert shipped[family].contains(preset(name))
    assert not shipped["tiny_32"].contains(preset(name))


def test_contains_refuses_what_is_nearly_inside(shipped):
    space = shipped["hybrid_224"]
    inside = preset("swin_t").to_dict()
    changes = [
        lambda a: a.update(image_size=225),
        lambda a: a.update(classes=10),
        lambda a: a.update(in_channels=1),
        lambda a: a.update(drop_path=0.15),
        lambda a: a["stem"].update(stride=2),
        lambda a: a["stem"].update(norm="none"),
        lambda a: a["stages"][0].update(width=120),
        lambda a: a["stages"][3].update(depth=4),
        lambda a: a["stages"][1].update(ffn_ratio=1.0),
        lambda a: a["stages"][2]["mixer"].update(size=5),
        lambda a: a["stages"][2]["mixer"].update(shift=2),
        lambda a: a["stages"].pop(),  # three stages are allowed
        lambda a: a["stages"].append({**a["stages"][3], "depth": 1}),
    ]
    for i, change in enumerate(changes):
        architecture = json.loads(json.dumps(inside))
        change(architecture)
        assert space.contains(Architecture.from_dict(architecture)) == (i == 11)


def test_params_and_neighbours_of_a_stranger_are_an_error_that_names_both(shipped):
    for ask in (shipped["tiny_32"].params, shipped["tiny_32"].neighbours):
        with pytest.raises(ValueError, match="swin_t is not in space tiny_32"):
            ask(preset("swin_t"))


@pytest.mark.parametrize("name", names("presets"))
def test_an_architecture_file_is_a_space_of_one(name):
    space = load_space(name)
    assert space.size == 1
    assert space.sample(random.Random(0)).id == preset(name).id
    assert space.suggest(optuna.trial.FixedTrial({})).id == preset(name).id
    assert space.params(preset(name)) == {}
    assert space.neighbours(preset(name)) == []


# neighbours


def changed(one: dict, other: dict) -> set[str]:
    """Places of choices that are made in both and differ."""
    one, other = ({name.split("[")[0]: value for name, value in params.items()} for params in (one, other))
    return {place for place in one.keys() & other.keys() if one[place] != other[place]}


def appeared(one: dict, other: dict) -> set[str]:
    """Places of choices that are made in one of the two only."""
    one, other = ({name.split("[")[0] for name in params} for params in (one, other))
    return one ^ other


@pytest.mark.parametrize("name", SMALL)
def test_neighbours_are_inside_and_distinct_and_others(small, name):
    space = small[name]
    everything = list({a.id: a for a in every_composition(space)}.values())
    for architecture in everything[:: max(1, len(everything) // 12)]:
        found = [neighbour.id for neighbour in space.neighbours(architecture)]
        assert len(found) == len(set(found))
        assert architecture.id not in found
        assert set(found) <= {a.id for a in everything}


def test_where_no_choice_depends_on_another_the_neighbours_are_those_one_choice_away(small):
    space = small["plain lists"]
    everything = list(every_composition(space))
    for architecture in everything[::37]:
        params = space.params(architecture)
        expected = {a.id for a in everything if sum(params[k] != v for k, v in space.params(a).items()) == 1}
        assert {neighbour.id for neighbour in space.neighbours(architecture)} == expected
        assert len(expected) == 9


@pytest.mark.parametrize("name", SPACES)
def test_a_neighbour_differs_in_one_choice_and_in_what_that_choice_decides(shipped, name):
    space = shipped[name]
    for architecture in samples(space, 6, seed=3):
        params = space.params(architecture)
        neighbours = space.neighbours(architecture)
        assert len(neighbours) >= len(params)
        assert len({n.id for n in neighbours} | {architecture.id}) == len(neighbours) + 1
        for neighbour in neighbours:
            assert space.contains(neighbour)
            differences = one_change_apart(architecture, neighbour)
            assert differences is None, differences


def one_change_apart(one: Architecture, other: Architecture) -> str | None:
    """None if one choice explains every difference, else what differs: stages, or what outside of them."""
    a, b = one.canonical.to_dict(), other.canonical.to_dict()
    outside = [key for key in a if key != "stages" and a[key] != b[key]]
    if outside:  # image size or stem may shrink windows or let them grow, nothing else
        for s, t in zip(a["stages"], b["stages"], strict=True):
            for stage in (s, t):
                stage["mixer"] = {k: v for k, v in stage["mixer"].items() if k == "heads"}
        return None if len(outside) == 1 and a["stages"] == b["stages"] else f"{outside} and stages"
    common = min(len(a["stages"]), len(b["stages"]))
    differing = [i for i in range(common) if a["stages"][i] != b["stages"][i]]
    if len(a["stages"]) != len(b["stages"]):
        return None if not differing else f"number of stages and stages {differing}"
    if len(differing) != 1:
        return f"stages {differing}"
    s, t = a["stages"][differing[0]], b["stages"][differing[0]]
    fields = {field for field in s if s[field] != t.get(field)}
    if fields <= {"width", "mixer", "ffn_ratio"} and "width" in fields:  # heads, channels and rounding follow the width
        return None if s["mixer"]["kind"] == t["mixer"]["kind"] else "width and kind of mixer"
    if fields == {"depth", "mixer"}:  # the shift shows from the second block on
        same = {**s["mixer"], "shift": 0} == {**t["mixer"], "shift": 0}
        return None if same and 1 in (s["depth"], t["depth"]) else "depth and mixer"
    if fields == {"mixer"} and s["mixer"]["kind"] == t["mixer"]["kind"]:
        within = {field for field in s["mixer"] if s["mixer"][field] != t["mixer"].get(field)}
        return None if len(within) == 1 or within == {"size", "shift"} else f"mixer: {within}"
    return None if len(fields) == 1 else f"stage: {fields}"


def test_a_choice_that_becomes_impossible_moves_to_the_nearest_possible_one():
    space = parse_space(tiny("  - {width: [12, 16], depth: 1, mixer: {kind: global, heads: [1, 6, 8]}}\n"))
    six_heads = next(a for a in every_composition(space) if a.stages[0].mixer.heads == 6)
    wider = [n.stages[0] for n in space.neighbours(six_heads) if n.stages[0].width == 16]
    assert [stage.mixer.heads for stage in wider] == [8]


@pytest.mark.parametrize("name", SPACES)
def test_neighbours_lead_back(shipped, name):
    """Walking to a neighbour by a plain field and back again is possible."""
    space = shipped[name]
    architecture = samples(space, 1, seed=5)[0]
    for neighbour in space.neighbours(architecture)[:10]:
        there, back = space.params(architecture), space.params(neighbour)
        if not appeared(there, back) and len(changed(there, back)) == 1:
            assert architecture.id in {n.id for n in space.neighbours(neighbour)}


def test_every_network_of_a_space_can_be_reached_by_walking(small):
    for name, space in small.items():
        if name == "mixer alternatives that overlap":
            continue  # its second `conv` is entered at a kernel that the first has as well, and is not left from there
        start = space.sample(random.Random(0))
        reached, frontier = {start.id}, [start]
        while frontier:
            for neighbour in space.neighbours(frontier.pop()):
                if neighbour.id not in reached:
                    reached.add(neighbour.id)
                    frontier.append(neighbour)
        assert len(reached) == space.size


# files


@pytest.mark.parametrize("malformed", MALFORMED_SPACES, ids=lambda malformed: malformed.id)
def test_a_malformed_space_is_one_line_that_says_where_and_what(tmp_path, malformed):
    path = malformed.write(tmp_path)
    with pytest.raises(SpecError) as error:
        load_space(path)
    message = str(error.value)
    assert message.startswith(f"{path}, line {malformed.line}: " if malformed.line else f"{path}: ")
    assert [fragment for fragment in malformed.fragments if fragment not in message] == []
    assert message.isprintable()
    assert len(message) < len(str(path)) + 250


@settings(max_examples=150)
@given(damaged(SPACE))
def test_a_damaged_file_is_a_space_still_or_one_line(text):
    try:
        found = parse_space(text, "damaged.yaml")
    except SpecError as error:
        found = str(error)
    if isinstance(found, str):
        assert found.isprintable()
        assert found.startswith("damaged.yaml")
    else:
        assert found.contains(found.sample(random.Random(0)))
        assert found.size > 0


ALTERNATIVES = {"width_a_list", "width_a_range", "image_size_a_pair", "depth_zero_later", "a_space"}  # fine in a space


@pytest.mark.parametrize("malformed", MALFORMED_ARCHITECTURES, ids=lambda malformed: malformed.id)
def test_a_malformed_architecture_is_no_space_either(tmp_path, malformed):
    path = malformed.write(tmp_path)
    if malformed.id in ALTERNATIVES:
        assert load_space(path).size > 0
        return
    with pytest.raises(SpecError) as error:
        load_space(path)
    message = str(error.value)
    assert message.startswith(f"{path}, line {malformed.line}" if malformed.line else str(path))
    assert message.isprintable()


def test_there_are_enough_malformed_spaces():
    cases = [case.id for case in MALFORMED_SPACES]
    assert len(cases) == len(set(cases)) >= 60


@pytest.mark.parametrize(
    ("name", "hint"),
    [("tiny_23", "did you mean tiny_32"), ("imagenet", "tiny_32"), ("", "tiny_32"), ("x" * 300, "tiny_32")],
)
def test_an_unknown_space_names_those_that_exist(name, hint):
    with pytest.raises(SpecError, match=hint) as error:
        load_space(name)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("path", ["nothing.yaml", "nothing/at/all"])
def test_a_path_to_nothing_is_said_to_be_one(path):
    with pytest.raises(SpecError, match="no such file"):
        load_space(path)


def test_a_space_file_can_be_json(tmp_path, shipped):
    path = tmp_path / "demo.json"
    path.write_text(json.dumps(shipped["tiny_32"].data))
    assert load_space(path).size == shipped["tiny_32"].size


@pytest.mark.parametrize("name", SPACES)
def test_a_shipped_space_says_what_it_is_for(shipped, name):
    assert shipped[name].name == name
    assert len(shipped[name].description) > 20
