"""What figures write can be read: whole words, shares that are not nothing, text apart from what is under it."""

from __future__ import annotations

import pandas as pd
import pytest

from dashboard.figures.compare import MARK, latency_dumbbells
from dashboard.figures.front import front_of
from dashboard.figures.hover import share_text
from dashboard.figures.landscape import landscape
from dashboard.figures.latencies import predicted_measured
from dashboard.figures.stages import PARTS, SHADES, _on, contrast
from explorer.frame import conditions
from explorer.reader import Storage
from tests.big import made_up_study
from tests.studies import table


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (1e-9, "<1 %"), (0.0049, "<1 %"), (0.006, "1 %"), (0.994, "99 %"), (0.999, ">99 %"), (1, "100 %")],
)
def test_nothing_and_everything_are_told_from_nearly(share: float, text: str) -> None:
    assert share_text(share) == text


@pytest.mark.parametrize("color", [*SHADES, "#7A8B9E", *(part[2] for part in PARTS.values())])
def test_text_in_a_bar_stands_out(color: str) -> None:
    assert contrast(color, _on(color)) >= 4.5
    assert _on("#009E73") == _on("#7A8B9E") == "#000000"


def test_a_front_of_some_of_the_objectives_is_called_by_its_axes() -> None:
    scene = landscape(table([{"accuracy": 50.0, "latency_ms": 1.0, "macs": 10**7}]), ("accuracy", "macs"))
    assert "1 of 1 architecture is on the Pareto front" in front_of(scene).layout.title.text
    figure = front_of(scene, whole=False)
    assert "1 of 1 architecture is on the front of Top-1 (proxy) and MACs" in figure.layout.title.text
    assert "Pareto" not in figure.layout.meta["alt"]
    assert not any("Pareto" in str(note.text) for note in figure.layout.annotations)


def test_conditions_of_an_attached_latency_are_spelt_as_those_of_the_others() -> None:
    name = "epyc/eager/fp32/b8/t4"
    frame = table([{"accuracy": 50.0}]).assign(**{f"latency_ms@{name}": [1.0]})
    assert conditions(frame, f"latency@{name}") == "epyc · eager · fp32 · batch 8 · threads 4"


@pytest.mark.parametrize(("width", "count"), [(390, 6), (390, 1), (960, 3)])
def test_names_of_rows_lie_on_no_marks(width: int, count: int) -> None:
    frame = Storage(str(made_up_study(60))).read("made_up").frame
    latencies = [name for name in frame.columns if str(name).startswith("latency_ms")]
    rows = frame[frame[latencies].notna().all(axis=1)].head(count)
    figure = latency_dumbbells(rows, width=width)
    low, high = figure.layout.yaxis.range
    margin = figure.layout.margin
    pixels = (figure.layout.height - margin.t - margin.b) / (high - low)
    marks = [y for trace in figure.data if trace.mode == "markers" for y in trace.y]
    notes = [note for note in figure.layout.annotations if note.xref == "paper"]
    assert len(notes) == len(latencies)
    for note in notes:
        bottom = note.y + note.yshift / pixels
        top = bottom + 16 * (note.text.count("<br>") + 1) / pixels
        assert top <= high + 1e-9
        assert not [y for y in marks if bottom < y + (MARK - 3) / pixels and y - (MARK - 3) / pixels < top]


def test_the_interval_of_a_prediction_is_inside_of_the_chart_and_its_name_on_paper() -> None:
    row = {"number": 1, "what": "x", "measured": 1.0, "lo": 0.9, "hi": 1.1, "predicted": 1.2, "error": 20.0}
    row |= {"predicted_lo": 0.2, "predicted_hi": 9.0, "inside": True, "in_domain": True, "why": ""}
    figure = predicted_measured(pd.DataFrame([row, row | {"number": 2, "measured": 2.0}]))
    low, high = (10**end if figure.layout.yaxis.type == "log" else end for end in figure.layout.yaxis.range)
    assert low < 0.2
    assert high > 9
    (name,) = [note for note in figure.layout.annotations if "trial" in note.text]
    assert name.bgcolor
