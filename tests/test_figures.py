"""Figures as pure functions of a frame, and the pictures that the command writes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard.canvas import THEMES, log_ticks
from dashboard.figures import hypervolume_history, pareto_front
from dashboard.picture import main
from explorer.metrics import MetricError
from explorer.results import frame, front
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
