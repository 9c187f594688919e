"""Figures as pure functions of a frame, and the pictures that the command writes."""

from __future__ import annotations

import base64
import io
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dashboard.canvas import CLASSES, THEMES, log_ticks
from dashboard.figures import hypervolume_history, pareto_front
from dashboard.figures.density import NEAREST, density_image, depth_below_front
from dashboard.figures.front import front_of
from dashboard.figures.landscape import landscape
from dashboard.picture import main
from explorer.metrics import MetricError
from explorer.results import COLUMNS, frame, front
from explorer.ties import WORTH_TELLING
from tests.studies import add, evaluation, new_study, table

POINTS = [(40.0, 0.5), (35.0, 0.7), (62.0, 1.0), (70.0, 2.1), (66.0, 3.0), (74.0, 8.0), (30.0, 9.0)]
ROWS = table(
    [
        {"accuracy": a, "latency_ms": c, "latency_lo_ms": c * 0.9, "latency_hi_ms": c * 1.2, "macs": int(c * 1e8)}
        for a, c in POINTS
    ]
)
chromium = pytest.mark.skipif(
    not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), reason="needs Chromium"
)


def traces(figure):
    return {trace.name: trace for trace in figure.data if trace.name}


def texts(figure):
    return [figure.layout.title.text or "", *(note.text for note in figure.layout.annotations)]


def test_every_complete_trial_is_a_point_once_and_the_front_has_its_interval():
    drawn = traces(pareto_front(ROWS))
    best = front(ROWS)
    assert list(drawn["Pareto front"].x) == list(best["latency_ms"])
    assert list(drawn["Pareto front"].y) == list(best["accuracy"])
    assert list(drawn["Pareto front"].error_x.array) == pytest.approx(list(best["latency_ms"] * 0.2))
    assert list(drawn["Pareto front"].error_x.arrayminus) == pytest.approx(list(best["latency_ms"] * 0.1))
    assert len(drawn["dominated"].x) + len(best) == len(ROWS)


def test_the_line_steps_at_a_cost_to_the_best_that_it_buys():
    line = next(trace for trace in pareto_front(ROWS).data if trace.mode == "lines")
    assert line.line.shape == "hv"
    assert line.x[-1] > line.x[-2]  # on to the edge: more time buys no more
    assert line.y[-1] == line.y[-2]


def test_axes_say_quantity_unit_scale_and_which_way_is_better():
    figure = pareto_front(ROWS)
    assert figure.layout.xaxis.title.text == "Latency, ms (log scale) · lower is better"
    assert "Top-1 (proxy), % · higher is better" in texts(figure)
    assert figure.layout.xaxis.type == "log"


def test_a_narrow_range_of_costs_is_linear():
    figure = pareto_front(ROWS[ROWS["latency_ms"].between(1, 2.5)])
    assert figure.layout.xaxis.type == "linear"
    assert "log" not in figure.layout.xaxis.title.text


def test_costs_are_displayed_in_their_unit():
    figure = pareto_front(ROWS, ("accuracy", "macs"))
    assert max(traces(figure)["dominated"].x) == pytest.approx(900)
    assert figure.layout.xaxis.title.text.startswith("MACs, M")


def test_the_cost_is_on_x_in_whatever_order_the_objectives_come():
    assert pareto_front(ROWS, ("latency", "accuracy")).layout.xaxis.title.text.startswith("Latency")


def test_two_costs_make_a_front_too():
    rows = table([{"latency_ms": c, "macs": m * 10**8} for c, m in [(1, 9), (2, 4), (4, 3), (5, 9)]])
    figure = pareto_front(rows, ("latency", "macs"))
    assert list(traces(figure)["Pareto front"].x) == pytest.approx([300, 400, 900])  # the line runs left to right
    assert list(traces(figure)["Pareto front"].y) == [4, 2, 1]
    assert "Latency, ms (log scale) · lower is better" in texts(figure)


def test_the_knee_is_ringed_and_says_its_numbers():
    figure = pareto_front(ROWS)
    assert list(traces(figure)["knee"].x) == [1.0]
    assert any("knee: 62.0 % at 1.00 ms" in text for text in texts(figure))


def test_a_front_of_two_has_no_knee_and_of_none_says_what_to_do():
    assert "knee" not in traces(pareto_front(ROWS[ROWS["number"].isin([0, 3])]))
    assert any("No complete trial" in text for text in texts(pareto_front(ROWS[:0])))
    assert any("No hypervolume yet" in text for text in texts(hypervolume_history(ROWS[:0])))


def test_published_models_are_diamonds_with_their_names():
    figure = pareto_front(ROWS.assign(preset=["swin_t", None, None, None, "shvit_s1", None, None]))
    assert traces(figure)["published"].marker.symbol == "diamond"
    assert {"swin_t", "shvit_s1"} <= set(texts(figure))


def test_the_subtitle_states_data_and_conditions(tmp_path):
    study = new_study(tmp_path / "x.db")
    add(study, "complete", evaluation(70.0, 1.0))
    title = pareto_front(frame(study), data="cues, 12 epochs").layout.title.text
    assert "cues, 12 epochs · AMD EPYC · threads 1 · eager · fp32 · batch 1" in title


def test_a_hostile_name_is_shown_as_text():
    name = "<a href='https://evil'>x</a>"
    figure = pareto_front(ROWS.assign(preset=name, what=name), data=name, title=name)
    shown = [*texts(figure), *traces(figure)["Pareto front"].hovertext]
    assert not any("<a" in text for text in shown)


@pytest.mark.parametrize("theme", list(THEMES))
def test_a_theme_colours_paper_and_text(theme):
    for figure in (pareto_front(ROWS, theme=theme), hypervolume_history(ROWS, theme=theme)):
        assert figure.layout.paper_bgcolor == THEMES[theme].paper
        assert figure.layout.font.color == THEMES[theme].ink


def test_hovering_says_what_a_point_is():
    (text,) = [text for text in traces(pareto_front(ROWS))["Pareto front"].hovertext if "trial 2<" in text]
    assert "conv/4 · 32×2 window4" in text
    assert "Top-1 (proxy): 62.0 %" in text
    assert "Latency: 1.00 ms [0.9, 1.2]" in text
    assert "Parameters" not in text  # not measured


def test_the_hypervolume_never_falls_and_its_reference_is_stated():
    figure = hypervolume_history(ROWS, reference={"accuracy": 0.0, "latency": 10.0})
    line = figure.data[0]
    assert list(line.y) == sorted(line.y)
    assert "reference point: accuracy 0 %, latency 10.0 ms" in figure.layout.title.text


def test_a_front_of_three_objectives_is_refused():
    with pytest.raises(MetricError, match="two objectives"):
        pareto_front(ROWS, ("accuracy", "latency", "macs"))


@given(st.floats(1e-3, 1e4), st.floats(3, 1e4), st.integers(6, 20))
def test_log_ticks_are_round_inside_and_not_too_many(low, factor, most):
    ticks = log_ticks(low, low * factor, most)
    assert all(low <= tick <= low * factor for tick in ticks)
    assert all(f"{tick:e}"[0] in "1235" for tick in ticks)
    assert 1 <= len(ticks) <= most or factor < 5 or factor > 10**5


@settings(max_examples=20)
@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(1e-3, 1e3), st.sampled_from([None, "swin_t"])), max_size=30),
    st.sampled_from([None, 320, 900]),
)
def test_any_frame_can_be_drawn(points, width):
    rows = table([{"accuracy": a, "latency_ms": c, "preset": p} for a, c, p in points])
    pareto_front(rows, width=width)
    hypervolume_history(rows, width=width)


# --- what a page adds ------------------------------------------------------------------------------------------------


def many(count, seed=0):
    """A frame of so many complete trials around a front."""
    generator = np.random.default_rng(seed)
    cost = np.exp(generator.normal(0.5, 0.7, count))
    accuracy = 92 - 20 / (1 + cost) - generator.gamma(2, 4, count)
    columns = {"accuracy": accuracy, "latency_ms": cost, "latency_lo_ms": cost * 0.97, "latency_hi_ms": cost * 1.04}
    usual = {"number": np.arange(count), "status": "complete", "duplicate": False, "what": "conv/4", "verdict": "ok"}
    return pd.DataFrame({**usual, **columns}).reindex(columns=list(COLUMNS)).astype(COLUMNS)


BESIDE = [
    {"status": "infeasible", "latency_ms": 4.0, "infeasible": "latency 4.00 ms > 3.00 ms"},
    {"status": "failed", "latency_ms": 5.0, "accuracy": 50.0, "error": "ValueError: <b>no</b>"},
    {"status": "infeasible", "macs": 10**9, "infeasible": "macs 1000 M > 900 M"},
]
MIXED = table([*ROWS[["accuracy", "latency_ms", "latency_lo_ms", "latency_hi_ms", "macs"]].to_dict("records"), *BESIDE])


def test_the_alternative_text_has_the_main_numbers():
    rows = ROWS.assign(preset=None)
    alt = pareto_front(rows, data="cues, 8 of 12 epochs").layout.meta["alt"]
    assert alt.startswith("Top-1 (proxy, 8 of 12 epochs) against Latency of 7 architectures.")
    assert "The Pareto front has 4, from 40.0 % at 0.500 ms to 74.0 % at 8.00 ms." in alt
    assert "Its knee is trial 2: 62.0 % at 1.00 ms." in alt
    within = front_of(landscape(ROWS), budget=2.5, under=front(ROWS).iloc[2]).layout.meta["alt"]
    assert within.endswith("Best under 2.50 ms: trial 3, 70.0 % at 2.10 ms.")


def test_the_accuracy_is_called_by_the_epochs_that_it_had():
    figure = pareto_front(ROWS, data="cues, 8 of 12 epochs")
    assert "Top-1 (proxy, 8 of 12 epochs), % · higher is better" in texts(figure)


def test_many_trials_are_a_picture_under_the_points_nearest_to_the_front():
    rows = many(5000)
    scene = landscape(rows)
    assert len(scene.dominated) == NEAREST
    assert len(scene.best) + len(scene.dominated) + len(scene.cloud) == scene.count == 5000
    figure = front_of(scene)
    assert len(traces(figure)["dominated"].x) == NEAREST
    (image,) = figure.layout.images
    assert image.source.startswith("data:image/png;base64,")
    assert (image.x, image.sizex) == (figure.layout.xaxis.range[0], np.ptp(figure.layout.xaxis.range))
    lost = scene.best["accuracy"].to_numpy()[-1] - scene.dominated["accuracy"]
    assert lost.max() < (scene.best["accuracy"].to_numpy()[-1] - scene.cloud[:, 1]).max()


def test_all_that_ties_with_the_front_is_a_point_beside_the_600_nearest():
    rows = many(5000)
    wide = rows["number"] % 5 == 0  # so far from the front that only their intervals reach it
    rows.loc[wide, "latency_lo_ms"] = rows["latency_ms"] * 0.02
    rows.loc[wide, "latency_hi_ms"] = rows["latency_ms"] * 50
    model = rows.index[wide & ~rows["number"].isin(front(rows)["number"])][0]
    rows.loc[model, "preset"] = "swin_t"
    best = rows.loc[rows["accuracy"].idxmax()]
    rows.loc[model, ["accuracy", "latency_ms"]] = [best["accuracy"] - 0.001, best["latency_ms"] * 1.5]
    rows.loc[model, ["latency_lo_ms", "latency_hi_ms"]] = rows.loc[model, "latency_ms"] * np.array([0.001, 1.1])
    scene = landscape(rows, sure=True)
    likely = set(scene.probability.index[scene.probability >= WORTH_TELLING]) - set(scene.best["number"])
    assert set(scene.tied["number"]) == likely
    assert model in likely
    assert len(likely) > 20
    assert len(scene.dominated) == NEAREST + len(likely)
    assert len(scene.best) + len(scene.dominated) + len(scene.cloud) == scene.count
    assert set(traces(front_of(scene))["ties with the front"].customdata) == likely
    front_of(scene, color="what").to_json()


def test_few_trials_are_points_each():
    scene = landscape(many(1500))
    assert not len(scene.cloud)
    assert not front_of(scene).layout.images


def test_the_frame_is_left_as_it_was():
    rows = many(3000)
    before = rows.copy(deep=True)
    front_of(landscape(rows, sure=True, also=("infeasible",)), color="latency_ms")
    pd.testing.assert_frame_equal(rows, before)


def test_trials_without_accuracy_stand_in_a_lane_and_those_with_it_at_their_place():
    scene = landscape(MIXED, also=("infeasible", "failed"))
    figure = front_of(scene)
    (lane,) = [trace for trace in figure.data if trace.yaxis == "y2"]
    assert (list(lane.x), list(lane.customdata)) == ([4.0], [7])
    assert "not trained: latency 4.00 ms &gt; 3.00 ms" in lane.hovertext[0]
    placed = traces(figure)["infeasible or failed"]
    assert (list(placed.x), list(placed.y)) == ([5.0], [50.0])
    assert "failed: ValueError: &lt;b&gt;no&lt;/b&gt;" in placed.hovertext[0]
    assert figure.layout.yaxis.domain[0] > figure.layout.yaxis2.domain[1]
    assert any("infeasible, Top-1 (proxy) not measured: 1" in text for text in texts(figure))
    assert not [trace for trace in pareto_front(MIXED).data if trace.yaxis == "y2"]  # on request alone


def test_published_models_stand_beside_the_chart_and_never_at_a_height_in_it():
    models = pd.DataFrame({"name": ["swin_t", "<i>x"], "value": [2e8, 3e9], "text": ["81.2 % top-1", "y"]})
    figure = front_of(landscape(ROWS, ("accuracy", "macs")), references=models)
    (lane,) = [trace for trace in figure.data if trace.yaxis == "y2"]
    assert list(lane.x) == pytest.approx([200, 3000])
    assert list(lane.hovertext) == ["81.2 % top-1", "y"]
    assert list(lane.text) == ["swin_t", "&lt;i&gt;x"]
    assert 10 ** figure.layout.xaxis.range[1] > 3000


def test_what_ties_with_the_front_is_open_and_says_how_likely_it_is():
    close = table(
        [
            {"accuracy": a, "latency_ms": c, "latency_lo_ms": c * 0.9, "latency_hi_ms": c * 1.1}
            for a, c in [(70.0, 1.0), (70.0, 1.05), (80.0, 3.0), (60.0, 2.9)]
        ]
    )
    figure = front_of(landscape(close, sure=True))
    tied = traces(figure)["ties with the front"]
    assert list(tied.customdata) == [1]
    assert tied.marker.symbol == "circle-open"
    assert "% of draws" in tied.hovertext[0]
    assert list(traces(figure)["dominated"].customdata) == [3]
    assert "ties with the front" not in traces(pareto_front(close))


def test_a_budget_is_a_line_and_the_best_under_it_has_a_ring():
    figure = front_of(landscape(ROWS), budget=2.5, under=front(ROWS).iloc[2])
    (line,) = [shape for shape in figure.layout.shapes if shape.type == "line"]
    assert (line.x0, line.x1) == (2.5, 2.5)
    assert any("budget 2.5 ms" in text for text in texts(figure))
    ring = traces(figure)["best under the budget"]
    assert (list(ring.x), list(ring.y), ring.marker.symbol) == ([2.1], [70.0], "square-open")


@pytest.mark.parametrize("budget", [0.0, 1e-9, 1e9])
def test_a_budget_outside_of_the_chart_draws_no_line(budget):
    figure = front_of(landscape(ROWS), budget=budget)
    assert not [shape for shape in figure.layout.shapes if shape.type == "line"]


def test_the_chosen_trial_has_a_star_unless_it_has_no_place():
    scene = landscape(MIXED)
    star = traces(front_of(scene, chosen=MIXED.iloc[4]))["chosen"]
    assert (list(star.x), list(star.y), star.marker.symbol) == ([3.0], [66.0], "star")
    assert "chosen" not in traces(front_of(scene, chosen=MIXED.iloc[9]))


def test_a_category_has_a_colour_and_a_shape_and_is_named_below():
    kinds = pd.Series(["conv", "window", "<b>", None, "conv", "window", "conv"], dtype="category")
    figure = front_of(landscape(ROWS.assign(kind=kinds)), color="kind", color_label="mixer in stage 1")
    named = {trace.name: trace.marker for trace in figure.data if trace.showlegend}
    assert set(named) == {"conv", "window", "&lt;b&gt;"}
    assert len({marker.color for marker in named.values()}) == len({marker.symbol for marker in named.values()}) == 3
    drawn = traces(figure)["Pareto front"]
    assert drawn.marker.color[0] == named["conv"].color
    assert drawn.marker.symbol[2] == "circle-open"  # trial 3 has no value
    assert figure.layout.legend.title.text == "mixer in stage 1"


def test_more_categories_than_colours_share_the_last():
    kinds = pd.Series([f"kind{i % 20}" for i in range(100)], dtype="category")
    figure = front_of(landscape(many(100).assign(kind=kinds)), color="kind")
    assert [trace.name for trace in figure.data if trace.showlegend][-1] == "others"
    assert len([trace for trace in figure.data if trace.showlegend]) == len(CLASSES)


def test_a_number_is_a_scale_of_colours_with_its_unit():
    figure = front_of(landscape(ROWS), color="macs", color_label="MACs, M")
    assert "MACs, M" in texts(figure)
    assert "900" in figure.layout.coloraxis.colorbar.ticktext or "500" in figure.layout.coloraxis.colorbar.ticktext
    assert len(set(traces(figure)["Pareto front"].marker.color)) == 4


@settings(max_examples=20)
@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(1e-3, 1e3), st.sampled_from(["complete", "failed"])), max_size=30),
    st.sampled_from([None, 320, 900]),
    st.sampled_from([None, "accuracy", "status"]),
    st.floats(0, 1e3),
)
def test_any_landscape_can_be_drawn(points, width, color, budget):
    rows = table([{"accuracy": a, "latency_ms": c, "status": s} for a, c, s in points])
    scene = landscape(rows, sure=True, also=("failed",))
    front_of(scene, width=width, color=color, budget=budget, theme="dark").to_json()


# --- density ---------------------------------------------------------------------------------------------------------


def opacity(image):
    """The picture's opacity, its first row the lower one."""
    data = base64.b64decode(image["source"].partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(data)).getchannel("A"))[::-1]


def test_a_picture_is_dark_where_the_points_are():
    points = np.array([0.05] * 50 + [0.95]), np.array([0.05] * 50 + [0.95])
    image = density_image(*points, (0, 1), (0, 1), "#7A8B9E", pixels=(200, 100))
    found = opacity(image)
    assert found.shape == (50, 100)
    assert found[:10, :20].max() > found[-10:, -20:].max() > 0
    assert found[:, 30:70].max() == 0
    assert (image["x"], image["y"], image["sizex"], image["sizey"]) == (0, 1, 1, 1)


def test_points_outside_of_the_ranges_and_missing_ones_are_left_out():
    points = np.array([-1.0, 2.0, np.nan, 0.5]), np.array([0.5, 0.5, 0.5, np.nan])
    assert opacity(density_image(*points, (0, 1), (0, 1), "#000000")).max() == 0
    assert opacity(density_image(np.array([]), np.array([]), (0, 1), (0, 1), "#000000")).max() == 0


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=8),
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=8),
)
def test_depth_is_the_shorter_of_the_two_ways_to_the_front(best, points):
    def ways(x, y):
        down = [y - b for a, b in best if a <= x]
        across = [x - a for a, b in best if b <= y]
        return min(max(down), max(across)) if any(a <= x and b <= y for a, b in best) else 0

    depth = depth_below_front(np.array(points, dtype=float), np.array(best, dtype=float))
    assert list(depth) == [ways(x, y) for x, y in points]


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def storage(tmp_path):
    study = new_study(tmp_path / "x.db")
    for a, c in POINTS:
        add(study, "complete", evaluation(a, c))
    return str(tmp_path / "x.db")


@chromium
@pytest.mark.parametrize(("name", "start"), [("front.svg", b"<svg"), ("front.png", b"\x89PNG")])
def test_a_picture_is_written_as_svg_and_png(storage, tmp_path, name, start):
    out = tmp_path / "made" / name
    assert main(["--storage", storage, "--out", str(out), "--dark"]) == 0
    assert out.read_bytes().startswith(start)


def test_a_page_holds_all_it_needs(storage, tmp_path, capsys):
    out = tmp_path / "front.html"
    assert main(["--storage", storage, "--study", "tiny", "--out", str(out)]) == 0
    page = out.read_text()
    assert "plotly.js v" in page
    assert "<script src=" not in page
    assert "<link" not in page


def test_what_cannot_be_drawn_is_one_line_and_status_two(storage, tmp_path, capsys):
    out = str(tmp_path / "front.html")
    blocked = tmp_path / "blocked"
    blocked.touch()
    for arguments, words in [
        (["--storage", "wrong.db", "--out", out], "does not exist"),
        (["--storage", storage, "--study", "other", "--out", out], "no study 'other'"),
        (["--storage", storage, "--out", str(tmp_path / "front.bmp")], "the ending is one of"),
        (["--storage", storage, "--out", str(blocked / "front.html")], "cannot write"),
        (["--storage", storage, "--out", out, "--objectives", "accuracy,speed"], "unknown metric 'speed'"),
        (["--storage", storage, "--out", out, "--objectives", "accuracy"], "two objectives"),
    ]:
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1


def test_a_missing_browser_is_one_line_and_status_two(storage, tmp_path):
    command = [sys.executable, "-m", "dashboard.picture", "--storage", storage, "--out", str(tmp_path / "x.png")]
    environment = os.environ | {"BROWSER_PATH": "/nonexistent"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 2
    assert "png needs Chromium or Chrome" in done.stderr
    assert done.stderr.count("\n") == 1


def test_importing_the_dashboard_loads_no_torch_and_no_streamlit():
    code = (
        "import dashboard, dashboard.figures, dashboard.picture, sys;"
        "assert not {'torch', 'streamlit', 'ray', 'kaleido'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-W", "error", "-c", code], timeout=60).returncode == 0
