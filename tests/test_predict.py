"""The latency predictor: what it reaches, what it admits, and where it says that it does not know."""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import latency_predictor
from explorer import results
from explorer.profile.features import features, kinds, work
from explorer.profile.predict import LatencyPredictor, PredictorError, cross_validate, from_frame
from search_spaces import Architecture, cost, load_space, preset
from search_spaces.shipped import names
from tests.minis import vitscape
from tests.studies import CONDITIONS, add, evaluation, new_study

NOISE = 0.02  # relative standard deviation of the made-up measurements
TINY = load_space("tiny_32")


def drawn(number: int, seed: int = 0) -> list[Architecture]:
    """Different random architectures of tiny_32."""
    rng = random.Random(seed)
    found: dict[str, Architecture] = {}
    while len(found) < number:
        architecture = TINY.sample(rng)
        found[architecture.id] = architecture
    return list(found.values())


def clock(architectures: list[Architecture], seed: int = 0, noise: float = NOISE) -> NDArray[np.float64]:
    """Made-up milliseconds: a price a call and an element by kind, some of it saturating, so that no sum is exact."""
    rng = np.random.default_rng(seed)
    ms = []
    for architecture in architectures:
        parts = work(architecture)
        total = sum((0.01 + 0.03 * (sum(map(ord, w.kind)) % 7)) * w.calls + w.elements * 2e-6 for w in parts)
        ms.append(total + sum(w.macs for w in parts) ** 0.9 * 1e-7)
    return np.array(ms) * np.exp(noise * rng.standard_normal(len(ms)))


@pytest.fixture(scope="module")
def predictor() -> LatencyPredictor:
    architectures = drawn(120)
    return LatencyPredictor.fit(architectures, clock(architectures))


def changed(**changes: Any) -> Architecture:
    """A plain tiny_32 network, with changes to all of its stages."""
    stage = {"width": 32, "depth": 2, "mixer": {"kind": "global", "heads": 2}, "ffn_ratio": 2.0} | changes
    return Architecture.model_validate(
        {
            "image_size": 32,
            "classes": 10,
            "stem": {"kind": "patch", "stride": 4},
            "stages": [stage, stage | {"downsample": "patch_merging"}],
        }
    )


@pytest.mark.parametrize("name", names("presets"))
def test_the_work_of_a_preset_has_the_multiply_adds_of_the_closed_form(name: str) -> None:
    assert sum(part.macs for part in work(preset(name))) == cost(preset(name)).macs


@pytest.mark.parametrize("name", names("spaces"))
def test_the_work_of_random_networks_has_the_multiply_adds_of_the_closed_form(name: str) -> None:
    rng, space = random.Random(3), load_space(name)
    for _ in range(40):
        architecture = space.sample(rng)
        assert sum(part.macs for part in work(architecture)) == cost(architecture).macs


def test_equal_networks_have_equal_features_however_they_are_written() -> None:
    for architecture in drawn(10):
        assert np.array_equal(features([architecture]), features([architecture.canonical]))


def test_attention_is_fused_only_where_values_are_as_wide_as_keys() -> None:
    fused = changed(mixer={"kind": "single_head", "partial_channels": 16, "qk_dim": 16})
    unfused = changed(mixer={"kind": "single_head", "partial_channels": 12, "qk_dim": 16})
    assert "unfused attention" not in kinds(fused)
    assert "unfused attention" in kinds(unfused)


def test_latencies_of_networks_never_seen_are_predicted_within_their_interval(predictor: LatencyPredictor) -> None:
    others = drawn(300, seed=1)
    truth, found = clock(others, seed=1), predictor.predict(others)
    error = np.abs(found.median_ms / truth - 1)
    assert error.mean() <= 0.05
    assert (error <= 0.1).mean() >= 0.95
    assert 0.90 <= ((found.lo_ms <= truth) & (truth <= found.hi_ms)).mean() <= 0.99
    assert found.in_domain.mean() >= 0.97
    assert all(bool(why) != inside for why, inside in zip(found.why, found.in_domain, strict=True))


def test_the_report_tells_the_error_on_networks_left_out(predictor: LatencyPredictor) -> None:
    report, others = predictor.validation, drawn(300, seed=1)
    error = np.abs(predictor.predict(others).median_ms / clock(others, seed=1) - 1)
    assert report.measurements == 120
    assert report.mape == pytest.approx(100 * error.mean(), abs=1.0)
    assert report.within_10 >= 95
    assert 90 <= report.coverage <= 99
    assert report.in_domain >= 95
    assert report.tau > 0.9
    assert not report.poor
    assert "POOR" not in report.text()


def test_the_same_measurements_give_the_same_predictor() -> None:
    architectures = drawn(40)
    assert cross_validate(architectures, clock(architectures)) == cross_validate(architectures, clock(architectures))


def test_one_wild_measurement_hardly_moves_the_predictions(predictor: LatencyPredictor) -> None:
    architectures = drawn(120)
    ms = clock(architectures)
    ms[7] *= 3
    wild, others = LatencyPredictor.fit(architectures, ms), drawn(100, seed=2)
    assert np.abs(wild.predict(others).median_ms / predictor.predict(others).median_ms - 1).mean() < 0.01


def test_a_doubtful_measurement_weighs_less() -> None:
    architectures = drawn(60)
    truth = clock(architectures, noise=0.0)
    ms = truth * np.where(np.arange(60) % 2, 1.2, 1.0)  # every other one disturbed
    told = LatencyPredictor.fit(architectures, ms, noise=np.where(np.arange(60) % 2, 0.5, 0.01))
    untold = LatencyPredictor.fit(architectures, ms)
    others = drawn(100, seed=2)
    exact = clock(others, noise=0.0)
    assert np.abs(told.predict(others).median_ms / exact - 1).mean() < 0.05
    assert np.abs(untold.predict(others).median_ms / exact - 1).mean() > 0.05


def test_a_predictor_of_noise_says_that_it_is_poor() -> None:
    architectures = drawn(60)
    ms = np.exp(np.random.default_rng(0).normal(size=60))
    report = cross_validate(architectures, ms)
    assert report.poor
    assert "POOR" in report.text()
    assert report.coverage >= 80  # and its intervals are as wide as they must be


def test_an_interval_is_wider_where_less_was_measured() -> None:
    architectures, others = drawn(120), drawn(50, seed=2)
    ms = clock(architectures)
    few, many = (LatencyPredictor.fit(architectures[:n], ms[:n]).predict(others) for n in (25, 120))
    assert np.median(few.hi_ms / few.lo_ms) > np.median(many.hi_ms / many.lo_ms)


def test_a_mixer_that_was_never_measured_is_outside_the_domain() -> None:
    seen = [a for a in drawn(150) if "conv mixer" not in kinds(a)]
    found = LatencyPredictor.fit(seen, clock(seen)).predict([changed(), changed(mixer={"kind": "conv", "kernel": 3})])
    assert found.in_domain.tolist() == [True, False]
    assert "conv mixer" in found.why[1]


def test_sizes_that_were_never_measured_are_outside_the_domain(predictor: LatencyPredictor) -> None:
    larger = changed().model_copy(update={"image_size": 64})
    more = changed().model_copy(update={"classes": 1000})
    found = predictor.predict([changed(), changed(width=320), changed(depth=20), larger, more, preset("swin_t")])
    assert found.in_domain.tolist() == [True, False, False, False, False, False]
    assert found.why[1] == "widest stage 320: measured were 32 to 64"
    assert found.why[2].startswith("blocks 40: measured were")
    assert found.why[3] == "image size 64: measured were 32 to 32"
    assert found.why[4] == "classes 1000: measured were 10 to 10"


def test_a_mix_of_operators_far_from_every_measured_one_is_outside_the_domain() -> None:
    """One network of 81 has some single-head attention: what that costs is hardly known, least of all in quantity."""
    seen = [a for a in drawn(400) if "single_head mixer" not in kinds(a)]
    one = changed(depth=1)
    mixed = one.model_copy(update={"stages": (one.stages[0], changed(mixer={"kind": "single_head"}).stages[1])})
    found = LatencyPredictor.fit([*seen[:80], mixed], clock([*seen[:80], mixed])).predict(
        [changed(), changed(width=64, mixer={"kind": "single_head"})]
    )
    assert found.in_domain.tolist() == [True, False]
    near, far = found.hi_ms / found.lo_ms
    assert far > 1.3 * near
    assert found.why[1].startswith("more of its time in one kind of operator than in any measured network: ")


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (np.ones(19), "measurements=19"),
        (np.r_[np.ones(29), 0.0], "ms=0"),
        (np.r_[np.ones(29), np.nan], "ms=nan"),
        (np.ones(31), "31 latencies of 30"),
    ],
)
def test_measurements_that_teach_nothing_are_refused_in_one_line(ms: NDArray[np.float64], words: str) -> None:
    with pytest.raises(PredictorError, match=words) as refusal:
        LatencyPredictor.fit(drawn(min(len(ms), 30)), ms)
    assert "\n" not in str(refusal.value)


def studied(path: Path, number: int, doubtful: int = 0) -> None:
    """A study with so many measured architectures, and doubtful ones that are 5 times too slow."""
    study = new_study(path)
    record = study.user_attrs["vitscape"] | {"space": TINY.data}
    study.set_user_attr("vitscape", record)
    architectures = drawn(number + doubtful)
    for i, (architecture, ms) in enumerate(zip(architectures, clock(architectures), strict=True)):
        measured = evaluation(50.0, float(ms) * (5 if i >= number else 1))
        assert measured.latency is not None
        verdict = measured.latency.model_copy(update={"verdict": "shared" if i >= number else "ok"})
        both = {"latency": verdict, "latencies": {"eager/b8": slower(verdict)}}
        add(
            study,
            "complete",
            measured.model_copy(update=both),
            id=architecture.id,
            architecture=architecture.canonical.to_dict(),
        )


def slower(latency: Any) -> Any:
    """The same with a batch of 8, that takes 4 times as long."""
    low, high = latency.ci95_ms
    return latency.model_copy(
        update={
            "median_ms": 4 * latency.median_ms,
            "ci95_ms": (4 * low, 4 * high),
            "conditions": CONDITIONS.model_copy(update={"batch_size": 8}),
        }
    )


def test_a_study_teaches_by_what_has_no_verdict_against_it(tmp_path: Path) -> None:
    from explorer.storage import load_study

    studied(tmp_path / "t.db", 40, doubtful=20)
    frame = results.frame(load_study("tiny", str(tmp_path / "t.db")))
    first, second = from_frame(frame), from_frame(frame, "latency@eager/b8")
    assert first.validation.measurements == 40
    assert first.validation.mape < 10
    others = drawn(20, seed=4)
    assert second.predict(others).median_ms == pytest.approx(4 * first.predict(others).median_ms, rel=1e-6)
    with pytest.raises(PredictorError, match="is no latency"):
        from_frame(frame, "macs")


def test_a_study_with_too_few_latencies_is_refused_in_one_line(tmp_path: Path) -> None:
    studied(tmp_path / "t.db", 12, doubtful=9)
    done = vitscape("predict", "--storage", "t.db", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "error: latency: 12 architectures measured (9 more have a verdict against them), a predictor needs 20 or more;"
        " search on, or attach measurements\n"
    )


def test_the_verb_reports_predicts_and_ranks(tmp_path: Path) -> None:
    studied(tmp_path / "t.db", 40)
    (tmp_path / "wide.yaml").write_text(changed(width=320).to_yaml())
    words = ("predict", "7", "wide.yaml", "--storage", "t.db", "--sample", "30", "--seed", "5")
    found = json.loads(vitscape(*words, "--json", cwd=tmp_path, check=True).stdout)
    assert found["validation"]["measurements"] == 40
    assert found["validation"]["mape"] < 10
    trial, wide, *sampled = found["predictions"]
    assert trial["name"] == "trial 7"
    assert trial["lo_ms"] < trial["median_ms"] < trial["hi_ms"]
    assert not wide["in_domain"]
    assert "widest stage 320" in wide["why"]
    assert len(sampled) == 30
    ranked = [row for row in sampled if row["in_domain"]]
    assert len(ranked) >= 25
    assert sampled[: len(ranked)] == ranked  # the others come last
    assert [row["rank"] for row in ranked] == list(range(1, len(ranked) + 1))
    assert [row["median_ms"] for row in ranked] == sorted(row["median_ms"] for row in ranked)
    assert Architecture.from_dict(ranked[0]["architecture"]).id == ranked[0]["id"]
    table = vitscape(*words, cwd=tmp_path, check=True).stdout
    assert "AMD EPYC" in table
    assert "40 measurements" in table
    assert "outside the domain: widest stage 320" in table


def test_predicting_loads_no_torch(tmp_path: Path) -> None:
    import subprocess
    import sys

    statement = (
        "from explorer.profile.predict import LatencyPredictor\nfrom search_spaces import load_space\nimport random\n"
        "s, r = load_space('tiny_32'), random.Random(0)\na = [s.sample(r) for _ in range(30)]\n"
        "LatencyPredictor.fit(a, [1.0] * 30).predict(a)\nimport sys\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", statement], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_benchmark_learns_from_what_it_measured_under_these_conditions_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VITSCAPE_LEASES", str(tmp_path / "leases"))
    data = tmp_path / "a.jsonl"
    options = argparse.Namespace(data=data, device="cpu", precision="fp32", runtime="eager", time_limit=0.05)
    (first,) = latency_predictor.measured("tiny_32", 1, options)
    assert latency_predictor.measured("tiny_32", 1, options) == [first]
    row = json.loads(data.read_text())
    for change in ({"device_name": "NVIDIA H200"}, {"torch": "1.0"}, {"precision": "fp16"}, {"runtime": "compile"}):
        other = row["latency"] | {"median_ms": 1e6, "conditions": row["latency"]["conditions"] | change}
        data.write_text(json.dumps(row | {"latency": other}) + "\n")
        ((_, found),) = latency_predictor.measured("tiny_32", 1, options)
        assert found.median_ms < 1e6
        assert len(data.read_text().splitlines()) == 2
