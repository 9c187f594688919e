"""What an objective depends on: importance by a forest, slices by value, and their figures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dashboard.figures.importance import importance_dots
from dashboard.figures.slices import MOST_POINTS, slice_strips
from explorer import results
from explorer.analysis import importance as room
from explorer.analysis import slices
from explorer.analysis.importance import ImportanceError, importance
from tests.studies import table

rng = np.random.default_rng(3)


def space(n: int, effect) -> pd.DataFrame:
    """Trials of a conditional space: a window size is there only where the mixer is a window."""
    mixer = rng.choice(["window", "conv", "none"], n)
    window = np.where(mixer == "window", rng.choice([2, 4, 7], n), -1)
    width = rng.choice([32, 64, 96], n)
    frame = table([{} for _ in range(n)])
    frame["mixer@1"] = pd.Categorical(mixer)
    frame["window@1"] = pd.array(np.where(window < 0, None, window), dtype="Int32")
    frame["width@1"] = pd.array(width, dtype="Int32")
    frame["norm@1"] = pd.Categorical(rng.choice(["layer", "batch"], n))
    frame["accuracy"] = effect(mixer, window, width) + rng.normal(0, 0.3, n)
    frame["latency_ms"] = width / 32 * np.exp(rng.normal(0, 0.05, n))
    return frame


WINDOWS = space(400, lambda mixer, window, width: 50 + 3.0 * (window == 7) - 3.0 * (window == 2))
KINDS = space(400, lambda mixer, window, width: 50 + 6.0 * (mixer == "conv") + 0.01 * width)


def of(found, column):
    return found.table.set_index("column").loc[column]


def test_what_decides_is_first_and_what_does_not_is_told_from_it():
    found = importance(KINDS, "accuracy")
    assert found.table["column"].iloc[0] == "mixer@1"
    assert of(found, "mixer@1")["low"] > 0.5
    assert abs(of(found, "norm@1")["importance"]) < 0.02
    assert found.r2[0] > 0.8
    assert found.table["choice"].iloc[0] == "mixer in stage 1"


def test_a_choice_that_only_some_networks_have_counts_by_its_own_effect():
    found = importance(WINDOWS, "accuracy")
    assert of(found, "window@1")["low"] > 0.5
    assert of(found, "window@1")["trials"] == (WINDOWS["mixer@1"] == "window").sum()
    # which kind it is does not matter by itself; it is permuted with the sizes it brings, so it has their worth
    assert of(found, "mixer@1")["importance"] >= of(found, "window@1")["importance"] * 0.8


def test_permuting_a_conditional_choice_asks_about_no_network_that_could_not_be(monkeypatch):
    asked = []
    real = room._permuted

    def watched(*given):
        asked.append((given[2], real(*given)))
        return asked[-1][1]

    monkeypatch.setattr(room, "_permuted", watched)
    importance(WINDOWS[:60], "accuracy")
    order = ["mixer@1"] * 3 + ["window@1", "width@1"] + ["norm@1"] * 2  # conv, none, window; a column each
    window, has = order.index("window@1"), 2
    for _, inputs in asked:
        assert ((inputs[:, has] == 1) == (inputs[:, window] > 0)).all()


def test_the_same_trials_give_the_same_importance():
    first, second = importance(KINDS, "latency"), importance(KINDS, "latency")
    pd.testing.assert_frame_equal(first.table, second.table)
    assert first.table["column"].iloc[0] == "width@1"


def test_columns_that_always_change_together_are_one():
    twins = KINDS.assign(**{"width@2": KINDS["width@1"] * 2})
    found = importance(twins, "latency")
    assert "width@2" not in set(found.table["column"])
    assert found.table["choice"].iloc[0] == "width in stage 1 = width in stage 2"


def stages(n: int) -> pd.DataFrame:
    """Networks of two or three stages, whose accuracy depends on the heads of the first where that has any."""
    mixer, count = rng.choice(["global", "none"], n), rng.choice([2, 3], n)
    heads = np.where(mixer == "global", rng.choice([1, 2, 4], n), 0)
    frame = table([{"id": str(i)} for i in range(n)])
    frame["stage_count"] = pd.array(count, dtype="Int32")
    frame["mixer@1"] = pd.Categorical(mixer)
    frame["heads@1"] = pd.array(np.where(heads == 0, None, heads), dtype="Int32")
    frame["width@3"] = pd.array(np.where(count == 3, rng.choice([64, 96], n), None), dtype="Int32")
    frame["accuracy"] = 50 + 3.0 * heads + rng.normal(0, 0.3, n)
    return frame


def test_the_number_of_stages_has_no_worth_that_a_choice_of_the_first_stage_has():
    frame = stages(300)
    found = importance(frame, "accuracy")
    assert of(found, "heads@1")["importance"] > 0.2
    assert abs(of(found, "stage_count")["importance"]) < 0.02
    depends = frame.assign(accuracy=50.0 + frame["width@3"].astype("float64").fillna(0) / 10)
    assert of(importance(depends, "accuracy"), "stage_count")["importance"] > 0.5


def test_trials_without_an_architecture_that_can_be_read_are_left_out():
    frame = stages(60)
    frame.loc[frame.index < 20, [c for c in frame if "@" in c or c == "stage_count"]] = None
    found = importance(frame, "accuracy")
    assert (found.trials, found.of) == (40, 40)


def test_a_full_dot_has_all_refits_above_0_by_more_than_their_spread():
    found = importance(KINDS, "accuracy")
    (metric,) = results.metrics_of(KINDS, ["accuracy"])
    columns = found.table["column"]
    wavering = replace(
        found,
        table=found.table.assign(importance=[0.3, 0.03, *[0.0] * (len(columns) - 2)], low=0.001, high=0.4),
        deviation=pd.Series(0.02, index=columns),
    )
    full, hollow = importance_dots(wavering, metric).data
    assert (list(full.x), full.name) == ([0.3], "all refits above 0")
    assert 0.03 in list(hollow.x)
    assert found.deviation[columns.iloc[0]] < 0.2 * found.table["importance"].iloc[0]


def test_many_trials_are_sampled_and_both_numbers_told():
    frame = pd.concat([KINDS] * 6, ignore_index=True)
    frame["number"] = range(len(frame))
    found = importance(frame, "accuracy")
    assert (found.trials, found.of) == (room.MOST, 2400)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (KINDS[:29], "at least 30 complete trials with Top-1 \\(proxy\\); there are 29"),
        (KINDS.assign(accuracy=50.0), "nothing to explain"),
        (KINDS.drop(columns=["mixer@1", "window@1", "width@1", "norm@1"]), "nothing to explain"),
    ],
)
def test_too_little_says_what_is_missing(frame, words):
    with pytest.raises(ImportanceError, match=words):
        importance(frame, "accuracy")


def test_without_scikit_learn_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(room, "find_spec", lambda name: None)
    with pytest.raises(ImportanceError, match=r"pip install 'vitscape\[search\]'"):
        importance(KINDS, "accuracy")


def test_the_figure_has_whiskers_and_says_how_far_the_forest_can_be_trusted():
    found = importance(KINDS, "accuracy")
    (metric,) = results.metrics_of(KINDS, ["accuracy"])
    figure = importance_dots(found, metric)
    told, untold = figure.data
    assert told.marker.symbol == "circle"
    assert untold.marker.symbol == "circle-open"
    assert min(told.error_x.array) >= 0
    assert f"{found.r2[1]:.2f}" in figure.layout.title.text
    assert "mixer in stage 1" in figure.layout.meta["alt"]
    noise = KINDS.assign(accuracy=rng.normal(50, 1, len(KINDS)))
    weak = importance_dots(importance(noise, "accuracy"), metric, width=390)
    assert any("explains little" in note.text for note in weak.layout.annotations)


# --- slices ----------------------------------------------------------------------------------------------------------


def test_a_level_has_its_count_and_quartiles_and_the_absent_are_a_level_of_their_own():
    frame = table([{"accuracy": float(a)} for a in (10, 20, 30, 90)])
    frame["window@1"] = pd.array([4, 4, 4, None], dtype="Int32")
    found = slices.by_level(frame, "window@1", "accuracy")
    assert list(found["level"]) == ["4", slices.ABSENT]
    assert found.iloc[0][["trials", "least", "median", "most"]].tolist() == [3, 10, 20, 30]
    assert found["trials"].sum() == 4


def test_numbers_are_in_order_and_many_of_them_in_bins():
    frame = table([{"accuracy": 50.0} for _ in range(400)])
    frame["width@1"] = pd.array(np.arange(400) + 1, dtype="Int32")
    found = slices.by_level(frame, "width@1", "accuracy")
    assert len(found) == slices.BINS
    assert found["level"].iloc[0] == "1 to 50"
    assert found["trials"].tolist() == [50] * 8
    frame["width@1"] = pd.array([100, 20] * 200, dtype="Int32")
    assert list(slices.by_level(frame, "width@1", "accuracy")["level"]) == ["20", "100"]


def test_booleans_and_kinds_are_levels_in_words():
    frame = table([{"accuracy": 50.0} for _ in range(3)])
    frame["local@1"] = pd.array([True, False, None], dtype="boolean")
    assert list(slices.by_level(frame, "local@1", "accuracy")["level"]) == ["no", "yes", slices.ABSENT]


def test_a_slice_draws_all_as_boxes_and_few_as_points_with_the_best_among_them():
    frame = pd.concat([KINDS] * 4, ignore_index=True)
    frame["number"] = range(len(frame))
    figure = slice_strips(frame, "mixer@1", "accuracy", data="cues, 8 epochs")
    points, boxes = figure.data
    assert len(points.x) <= MOST_POINTS < len(frame)
    assert max(points.y) == pytest.approx(frame["accuracy"].max())
    assert list(boxes.median) == pytest.approx(list(frame.groupby("mixer@1", observed=True)["accuracy"].median()))
    assert [text.split("<br>")[0] for text in figure.layout.xaxis.ticktext] == ["conv", "none", "window"]
    assert "Top-1 (proxy, 8 epochs)" in figure.layout.meta["alt"]


def test_a_slice_of_nothing_says_so():
    figure = slice_strips(KINDS[:0], "mixer@1", "accuracy")
    assert "No complete trial" in figure.layout.annotations[0].text
