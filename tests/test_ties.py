"""How sure a front is: probabilities of being on it, and ties, as laws over random frames."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.results import front
from explorer.ties import front_probability, ties
from tests.studies import table

BOTH = ("accuracy", "latency")
choices = st.sampled_from([BOTH, ("accuracy", "latency", "macs"), ("latency", "macs"), ("latency",)])


@st.composite
def trials(draw: st.DrawFn, noisy: bool = True) -> dict[str, Any]:
    """Few distinct values, so that equal ones are common; an interval of some width, of none, or missing."""
    latency = 0.25 * draw(st.integers(1, 8))
    row: dict[str, Any] = {"accuracy": 12.5 * draw(st.integers(0, 8)), "latency_ms": latency}
    row |= {"macs": 10**8 * draw(st.integers(1, 5)), "duplicate": draw(st.sampled_from([False, False, False, True]))}
    if draw(st.booleans()):
        low, high = (1 - 0.1 * draw(st.integers(0, 8)), 1 + 0.1 * draw(st.integers(0, 8))) if noisy else (1, 1)
        row |= {"latency_lo_ms": latency * low, "latency_hi_ms": latency * high}
    return row


frames = st.lists(trials(), max_size=12).map(table)
exact_frames = st.lists(trials(noisy=False), max_size=12).map(table)


def row(accuracy: float, low: float, median: float, high: float, **more: Any) -> dict[str, Any]:
    return {"accuracy": accuracy, "latency_lo_ms": low, "latency_ms": median, "latency_hi_ms": high, **more}


# --- laws ------------------------------------------------------------------------------------------------------------


@given(exact_frames, choices)
def test_without_noise_the_front_has_probability_one_and_all_else_zero(rows, objectives):
    found = front_probability(rows, objectives, draws=5)
    members = set(front(rows, objectives)["number"])
    assert {number for number, value in found.items() if value == 1} == members
    assert set(found) <= {0.0, 1.0}
    assert ties(rows, objectives) == {}


@given(frames, choices)
def test_what_may_be_on_the_front_is_on_it_or_ties_with_a_member(rows, objectives):
    found, members = front_probability(rows, objectives, draws=40), set(front(rows, objectives)["number"])
    tied = ties(rows, objectives)
    assert found.between(0, 1).all()
    for number, value in found.items():
        if value > 0 and number not in members:
            assert tied[number]
    for number, others in tied.items():
        assert number not in others
        assert set(others) <= members


@given(frames, choices)
def test_dominated_beyond_all_intervals_is_never_on_the_front(rows, objectives):
    found, tied = front_probability(rows, objectives, draws=40), ties(rows, objectives)
    low, high = (rows[c].fillna(rows["latency_ms"]) for c in ("latency_lo_ms", "latency_hi_ms"))
    kept = rows[~rows["duplicate"]]
    for i in kept.index:
        for j in kept.index:
            accurate = "accuracy" not in objectives or rows["accuracy"][j] >= rows["accuracy"][i]
            small = "macs" not in objectives or rows["macs"][j] <= rows["macs"][i]
            if accurate and small and high[j] < low[i]:
                assert found[rows["number"][i]] == 0
                assert rows["number"][i] not in tied


@given(frames, choices, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(rows, objectives, random):
    order = list(rows.index)
    random.shuffle(order)
    pd.testing.assert_series_equal(
        front_probability(rows, objectives, draws=20), front_probability(rows.loc[order], objectives, draws=20)
    )
    assert ties(rows, objectives) == ties(rows.loc[order], objectives)


@given(st.lists(trials(), min_size=1, max_size=8), st.data())
def test_a_probability_rises_when_the_own_interval_moves_down(rows, data):
    index = data.draw(st.integers(0, len(rows) - 1))
    factor = data.draw(st.sampled_from([0.5, 0.9, 0.99]))
    columns = ("latency_ms", "latency_lo_ms", "latency_hi_ms")
    faster = [dict(r) for r in rows]
    faster[index] |= {c: rows[index][c] * factor for c in columns if c in rows[index]}
    faster[index]["duplicate"] = rows[index]["duplicate"] = False
    before, after = (front_probability(table(each), BOTH, draws=60)[index] for each in (rows, faster))
    assert after >= before


def test_noise_that_shrinks_makes_the_better_one_surer():
    found = []
    for width in (0.2, 0.1, 0.05, 0.03):
        rows = table([row(60, 1 - width, 1, 1 + width), row(60, 1.02 - width, 1.02, 1.02 + width)])
        found.append(front_probability(rows)[0])
    assert found == sorted(found)
    assert 0.5 < found[0] < 0.65
    assert found[-1] > 0.8


# --- examples --------------------------------------------------------------------------------------------------------


def test_two_of_one_accuracy_and_one_interval_share_the_front_evenly():
    rows = table([row(60, 0.9, 1, 1.1), row(60, 0.9, 1, 1.1), row(50, 0.2, 0.21, 0.22), row(40, 0.3, 0.31, 0.32)])
    found = front_probability(rows)
    assert found[0] == pytest.approx(0.5, abs=0.04)
    assert found[1] == pytest.approx(0.5, abs=0.04)
    assert (found[2], found[3]) == (1, 0)
    assert ties(rows) == {1: (0,)}


def test_members_whose_intervals_overlap_are_told_as_ties_of_each_other():
    rows = table([row(60, 0.95, 1, 1.05), row(61, 0.98, 1.02, 1.08), row(70, 2, 2.1, 2.2)])
    assert ties(rows) == {0: (1,), 1: (0,)}
    found = front_probability(rows)
    assert found[1] == found[2] == 1  # nothing is more accurate and could be faster
    assert 0.5 < found[0] < 1


def test_overlap_is_no_tie_where_a_third_is_better_than_both_could_be():
    rows = table([row(60, 0.95, 1, 1.05), row(60, 1.2, 1.3, 1.4), row(59, 1.03, 1.1, 1.25), row(80, 2, 2, 2)])
    assert set(ties(rows)) == {2}  # 1 is beyond 0's interval for certain
    assert front_probability(rows)[1] == 0


def test_nothing_is_drawn_from_beyond_an_interval():
    rows = table([row(60, 0.9, 1, 1.1), row(60, 1.101, 1.2, 1.3)])
    assert front_probability(rows, draws=20_000).tolist() == [1, 0]


def test_the_later_of_two_equal_ones_ties_with_nothing():
    rows = table([row(60, 1, 1, 1), row(60, 1, 1, 1), row(61, 0.9, 1.05, 1.2)])
    assert ties(rows) == {0: (2,), 2: (0,)}


def test_a_latency_of_another_runtime_has_intervals_of_its_own():
    name, columns = "latency@cuda_graph/b32", ("latency_ms", "latency_lo_ms", "latency_hi_ms")
    rows = table([row(60, 1, 1, 1), row(60, 5, 5, 5)])
    for column, values in zip(columns, ([3.0, 3.1], [2.8, 2.9], [3.2, 3.3]), strict=True):
        rows[f"{column}@cuda_graph/b32"] = values
    assert ties(rows) == {}
    assert ties(rows, ("accuracy", name)) == {1: (0,)}
    assert 0 < front_probability(rows, ("accuracy", name))[1] < 0.5
    assert ties(rows.drop(columns=[c for c in rows if c.startswith("latency_hi_ms@")]), ("accuracy", name)) == {}


def test_draws_follow_the_interval_s_log_normal():
    # P(a < b) with the logarithms' difference normal, its tails beyond 1.96 sigma cut off
    sigma = np.log(1.2) / 1.96
    rows = table([row(60, 1 / 1.2, 1, 1.2), row(60, 1.05, 1.05, 1.05)])
    inside = [z for z in np.random.default_rng(1).standard_normal(200_000) if abs(z) < 1.96]
    expected = float(np.mean(np.array(inside) * sigma < np.log(1.05)))
    assert front_probability(rows, draws=20_000)[0] == pytest.approx(expected, abs=0.015)


def test_an_empty_frame_has_neither():
    assert front_probability(table([])).empty
    assert ties(table([])) == {}


def test_a_thousand_trials_take_seconds():
    rng = np.random.default_rng(0)
    latencies = np.exp(rng.normal(size=1000))
    rows = table([row(60 + 10 * np.log(x) + rng.normal(), 0.97 * x, x, 1.04 * x) for x in latencies])
    started = time.monotonic()
    front_probability(rows)
    ties(rows)
    assert time.monotonic() - started < 10
