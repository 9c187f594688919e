"""What a front says to someone who has to choose, in words and tables."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard.figures.landscape import landscape
from dashboard.parts import decide
from dashboard.parts.filters import Filters, kept
from explorer import results
from tests.studies import table

ROWS = table(
    [
        {"accuracy": a, "latency_ms": c, "latency_lo_ms": c * 0.9, "latency_hi_ms": c * 1.2, "macs": int(c * 1e8)}
        for a, c in [(40.0, 0.5), (35.0, 0.7), (62.0, 1.0), (70.0, 2.1), (66.0, 3.0), (74.0, 8.0)]
    ]
)
DATA = "cues, 8 epochs"
SCENE = landscape(ROWS, data=DATA)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), max_size=20),
    st.integers(1, 9),
    st.sampled_from([("accuracy", "latency"), ("memory", "latency")]),
)
def test_the_best_under_a_budget_is_what_the_search_says_it_is(points, budget, objectives):
    rows = table([{"accuracy": a, "memory_mb": a + 1, "latency_ms": c} for a, c in points])
    found = decide.under(landscape(rows, objectives), float(budget))
    wanted = results.best_under(rows, objectives[0], latency=float(budget))
    assert (found is None) == (wanted is None)
    assert found is None or found["number"] == wanted["number"]


def test_the_headline_says_trial_and_numbers_with_their_interval():
    assert decide.headline(SCENE, 3.0) == (
        "Best under 3 ms: trial 3, 70.0 % top-1 (proxy, 8 epochs), 2.10 ms [1.89, 2.52]."
    )


def test_an_interval_that_reaches_beyond_the_budget_is_told():
    assert decide.headline(SCENE, 2.2).endswith("Its interval reaches beyond the budget.")


def test_a_budget_below_all_names_the_cheapest():
    said = decide.headline(SCENE, 0.1)
    assert said == "Nothing under 0.1 ms: the cheapest is trial 0 with 0.500 ms [0.450, 0.600]."


def test_a_budget_of_macs_is_told_in_its_unit():
    scene = landscape(ROWS, ("accuracy", "macs"))
    assert decide.headline(scene, 1.5e8).startswith("Best under 150 M MACs: trial 2, 62.0 %")
    assert decide.headline(scene, 1.5e8).endswith(", 100 M MACs.")


def test_the_landmarks_are_the_ends_and_the_knee():
    numbers = {name: int(row["number"]) for name, row in decide.landmarks(SCENE).items()}
    assert numbers == {"Cheapest": 0, "Knee": 2, "Most accurate": 5}
    assert list(decide.landmarks(landscape(ROWS[:1]))) == ["Cheapest"]


def test_the_table_has_front_and_ties_with_units_and_the_best_under_the_budget():
    rows = decide.table(landscape(ROWS, data=DATA, sure=True), 3.0)
    assert list(rows["Trial"]) == [0, 2, 3, 5]
    assert list(rows["Of note"]) == ["cheapest", "knee", "best under the budget", "most accurate"]
    assert "Top-1 (proxy, 8 epochs), %" in rows.columns
    assert list(rows["Latency from, ms (95 %)"]) == pytest.approx([0.45, 0.9, 1.89, 7.2])
    assert list(rows["Probability of being on the front"]) == [1, 1, 1, 1]


def test_a_verdict_that_is_not_ok_is_in_the_headline_and_in_the_table():
    rows = ROWS.assign(verdict=pd.Series(["ok", None, "noisy", "shared", "ok", None], dtype="string"))
    scene = landscape(rows, data=DATA)
    assert decide.headline(scene, 3.0) == (
        "Best under 3 ms: trial 3, 70.0 % top-1 (proxy, 8 epochs), 2.10 ms [1.89, 2.52] (verdict: shared)."
    )
    assert "verdict" not in decide.headline(scene, 0.6)  # it is ok
    assert "verdict" not in decide.headline(scene, 9.0)  # none was given
    assert list(decide.table(scene)["Verdict"]) == ["ok", "noisy", "shared", ""]
    assert "Verdict" not in decide.table(landscape(rows, ("accuracy", "macs")))
    device = "latency@cuda_graph/b1"
    both = rows.assign(**{f"{c}@cuda_graph/b1": rows[c] for c in ("latency_ms", "latency_lo_ms", "latency_hi_ms")})
    both["verdict@cuda_graph/b1"] = "ok"
    both.attrs["latency"] = "eager/b1"
    heads = decide.table(landscape(both, ("latency", device))).columns
    assert [name for name in heads if "Verdict" in name] == ["Verdict", "Verdict on Latency cuda_graph/b1"]


def test_what_is_told_to_tie_is_what_the_table_lists():
    rows = pd.concat([ROWS, ROWS[3:4].assign(number=9, id="9", latency_ms=2.2, preset="swin_t")], ignore_index=True)
    scene = landscape(rows, sure=True)
    assert "; 1 off it cannot be told from it." in decide.likely(scene)
    assert decide.table(scene).set_index("Trial")["Front"][9] == "ties with it"


@pytest.mark.parametrize(
    ("statuses", "words"),
    [
        ([], "No trials yet."),
        (["running", "waiting"], "No trial is finished yet: 2 begun."),
        (
            ["failed", "failed", "infeasible"],
            "No trial is complete: 2 of 3 failed. The most frequent reason: no memory.",
        ),
        (["infeasible", "running"], "No trial is complete: 1 of 2 are over a limit of the search."),
        (["interrupted"], "No trial is complete: 1 were interrupted."),
    ],
)
def test_a_study_without_a_front_says_why_and_what_to_do(statuses, words):
    rows = table([{"status": one, "error": "no memory" if one == "failed" else None} for one in statuses])
    why, step = decide.why_empty(rows)
    assert why == words
    assert step.endswith(".")
    assert decide.why_empty(ROWS) is None


def test_costs_and_heights_are_what_complete_trials_have():
    rows = pd.concat([ROWS, table([{"status": "infeasible", "memory_mb": 3.0, "number": 9}])])
    assert decide.costs(rows) == ["latency", "macs"]
    assert decide.heights(rows, "latency") == ["accuracy", "macs"]
    assert decide.costs(ROWS[:0]) == []


@pytest.mark.parametrize(
    ("objectives", "cost"),
    [
        (("accuracy", "latency"), "latency"),
        (("accuracy", "macs", "latency"), "macs"),
        (("accuracy",), "latency"),
        (("latency",), "macs"),
        (("accuracy", "latency@cuda_graph/b1"), "latency"),
        (("accuracy", "params"), "latency"),  # not measured here
    ],
)
def test_the_first_cost_is_the_studys_own(objectives, cost):
    assert decide.default_cost(ROWS, objectives) == cost


def test_published_models_are_marked_by_closed_form_costs_of_any_image_size_or_one():
    scene = landscape(ROWS, ("accuracy", "macs"))
    every = decide.references(scene, ROWS, None)
    assert len(every) == 9
    assert dict(zip(every["name"], every["value"], strict=True))["swin_t"] == 4490566656
    assert any("81.2 % top-1<br>(published, ImageNet-1k, other recipe)<br>4491 M MACs" in one for one in every["text"])
    assert list(decide.references(scene, ROWS, [256])["name"]) == ["shvit_s4"]
    assert decide.references(scene, ROWS, [32]).empty


def test_published_models_are_marked_by_latency_only_where_this_study_measured_it():
    assert decide.references(SCENE, ROWS, None).empty
    slow = {"preset": "swin_t", "status": "infeasible", "latency_ms": 9.0, "number": 9}
    found = decide.references(SCENE, pd.concat([ROWS, table([slow])]), None)
    assert found[["name", "value"]].values.tolist() == [["swin_t", 9.0]]
    assert "81.2 % top-1" in found["text"].iloc[0]


@pytest.mark.parametrize(
    ("cost", "more", "words"),
    [
        ("latency", {"latency_lo_ms": 8.8, "latency_hi_ms": 9.3}, "9.00 ms [8.80, 9.30], measured in this study"),
        ("latency", {}, "9.00 ms, measured in this study"),
        ("latency", {"verdict": "shared"}, "9.00 ms (verdict: shared), measured in this study"),
        ("memory", {}, "57.0 MiB peak memory, measured in this study"),
        ("macs", {}, "4491 M MACs, closed form"),
        ("params", {}, "M parameters, closed form"),
    ],
)
def test_the_number_of_a_published_model_has_its_unit_on_every_axis(cost, more, words):
    slow = {"preset": "swin_t", "status": "infeasible", "latency_ms": 9.0, "memory_mb": 57.0, "number": 9} | more
    rows = pd.concat([ROWS.assign(memory_mb=50.0, params=10**6), table([slow])], ignore_index=True)
    found = decide.references(landscape(rows, ("accuracy", cost)), rows, None).set_index("name")
    assert words in found["text"]["swin_t"]
    assert "nan" not in found["text"]["swin_t"]


def test_a_box_finds_the_complete_trials_in_it_the_best_first():
    rows = pd.concat([ROWS, ROWS[2:3].assign(number=9, duplicate=True)], ignore_index=True)
    box = {"x": (0.6, 3.0), "y": (30, 69)}
    count, found = decide.in_box(SCENE, rows, box)
    assert (count, list(found["number"])) == (3, [4, 2, 1])
    count, found = decide.in_box(SCENE, rows, box, most=2)
    assert (count, list(found["number"])) == (3, [4, 2])
    count, found = decide.in_box(SCENE, rows, box, among=(rows["number"] < 3).to_numpy())
    assert (count, list(found["number"])) == (2, [2, 1])


# --- filters ---------------------------------------------------------------------------------------------------------

KINDS = ROWS.assign(
    **{
        "mixer@1": pd.Series(["conv", "window", "window", None, "conv", "global"], dtype="category"),
        "width@1": pd.Series([16, 24, None, 32, 16, 24], dtype="Int32"),
        "local@1": pd.Series([True, False, True, None, True, False], dtype="boolean"),
        "ffn_ratio@1": pd.Series([2, 4, 2, 1.5, 2, None], dtype="Float32"),
        "verdict": pd.Series(["ok", None, "noisy", "shared", "ok", "ok"], dtype="string"),
    }
)


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [
        (Filters(levels=(("mixer@1", ("window", "global")),)), [1, 2, 5]),
        (Filters(levels=(("width@1", ("16",)),)), [0, 4]),
        (Filters(levels=(("local@1", ("yes",)),)), [0, 2, 4]),
        (Filters(levels=(("ffn_ratio@1", ("2", "1.5")),)), [0, 2, 3, 4]),
        (Filters(ranges=(("width@1", 20, 40),)), [1, 3, 5]),
        (Filters(verdicts=("verdict",)), [0, 1, 4, 5]),
        (Filters(levels=(("mixer@1", ("conv",)),), verdicts=("verdict",)), [0, 4]),
        (Filters(levels=(("mixer@1", ("gone",)),)), []),
    ],
)
def test_filters_keep_what_has_the_value(filters, numbers):
    mask = kept(KINDS, filters)
    assert list(KINDS["number"][mask]) == numbers
    assert set(landscape(KINDS, among=mask).best["number"]) <= set(numbers)


def test_no_filter_keeps_all():
    assert kept(KINDS, Filters()) is None
