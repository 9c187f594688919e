"""The Compare page: only what differs, the best of each row by more than colour, files that rebuild the networks."""

from __future__ import annotations

import io
import re
import zipfile
from dataclasses import replace

import pandas as pd
import pytest
import yaml

from dashboard import data
from dashboard.figures.compare import latency_dumbbells, latency_table
from dashboard.figures.stages import shares_table, stage_shares
from dashboard.parts.comparison import BEST, TIES, Candidate, best, differences, numbers
from dashboard.parts.files import archive
from explorer.analysis.whatif import cost_by_part
from explorer.results import frame
from search_spaces import Architecture, preset
from tests.pages import page
from tests.studies import CONDITIONS, add, evaluation, new_study, table
from tests.test_page_architecture import HOSTILE, fill, fine, said

SWIN, SHVIT = preset("swin_t"), preset("shvit_s1")


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    path = tmp_path_factory.mktemp("compare") / "x.db"
    return path, fill(path, 12)


def candidate(name: str, row: pd.DataFrame | None = None) -> Candidate:
    return Candidate(name, preset(name).canonical.to_dict(), table([]) if row is None else row)


def timed(low: float, middle: float, high: float, accuracy: float = 50.0) -> pd.DataFrame:
    return table([{"latency_ms": middle, "latency_lo_ms": low, "latency_hi_ms": high, "accuracy": accuracy}])


def test_only_the_choices_that_differ_are_listed():
    found = differences([candidate("swin_t"), candidate("swin_s")]).set_index("choice")
    assert list(found.index) == ["blocks in all", "blocks in stage 3"]  # Swin-S is a deeper Swin-T
    assert list(found.loc["blocks in stage 3"]) == ["6", "18"]
    assert differences([candidate("swin_t"), candidate("swin_t")]).empty


def test_what_one_network_has_not_is_a_dash_and_norms_of_stem_and_head_are_compared():
    found = differences([candidate("swin_t"), candidate("shvit_s1")]).set_index("choice")
    assert list(found.loc["mixer in stage 4"]) == ["window", "—"]
    assert list(found.loc["norm of the head"]) == ["layer", "batch"]
    assert list(found.loc["number of stages"]) == ["4", "3"]


def test_the_best_of_a_row_is_marked_in_words_and_overlapping_intervals_tie():
    assert best([1, 5], [1, 5], [1, 5], maximize=False) == [BEST, ""]
    assert best([1, 5], [1, 5], [1, 5], maximize=True) == ["", BEST]
    assert best([0.9, 1.05, 3.0], [1.0, 1.15, 3.1], [1.1, 1.25, 3.2], maximize=False) == [TIES, TIES, ""]
    assert best([1, 1], [1, 1], [1, 1], maximize=False) == ["", ""]
    assert best([1, float("nan")], [1, float("nan")], [1, float("nan")], maximize=False) == [BEST, ""]


def test_the_numbers_have_units_directions_and_intervals():
    some = [candidate("swin_t", timed(1.9, 2.0, 2.1, 80.0)), candidate("shvit_s1", timed(0.9, 1.0, 1.1))]
    rows = pd.concat([one.row for one in some], ignore_index=True)
    found = numbers(some, rows, "cues, 8 of 12 epochs").set_index("metric")
    assert found.loc["Top-1 (proxy, 8 of 12 epochs), % ↑", "swin_t"] == f"80.0 {BEST}"
    assert found.loc["Latency, ms ↓ · latency", "shvit_s1"] == f"1.00 [0.900, 1.10] {BEST}"
    assert found.loc["Latency, ms ↓ · latency", "swin_t"] == "2.00 [1.90, 2.10]"
    assert found.loc["MACs, M ↓", "shvit_s1"] == f"241 {BEST}"


def test_a_latency_that_its_verdict_shifts_says_it_and_is_not_the_best():
    def found(*verdicts: str | None) -> list[str]:
        times = zip((3.0, 2.0, 1.0), verdicts, strict=True)
        some = [candidate("swin_t", timed(ms * 0.9, ms, ms * 1.1).assign(verdict=verdict)) for ms, verdict in times]
        named = [replace(one, label=str(i)) for i, one in enumerate(some)]
        rows = pd.concat([one.row for one in some], ignore_index=True).astype({"verdict": "string"})
        return list(numbers(named, rows, "").set_index("metric").loc["Latency, ms ↓ · latency"])

    assert found("ok", None, "shared") == [
        "3.00 [2.70, 3.30]",
        f"2.00 [1.80, 2.20] {BEST}",
        "1.00 [0.900, 1.10] shared",
    ]
    assert found("ok", "ok", "noisy")[2] == f"1.00 [0.900, 1.10] noisy {BEST}"  # wider, not shifted
    assert not any(BEST in cell for cell in found("ok", "shared", "throttled"))  # one is left: nothing to compare
    assert not any(BEST in cell for cell in found("shared", "shared", "throttled"))


def test_a_row_of_the_dumbbells_is_a_latency_and_a_mark_an_architecture(tmp_path):
    study = new_study(tmp_path / "x.db")
    gpu = CONDITIONS.model_copy(update={"device": "cuda", "device_name": HOSTILE, "threads": None})
    for ms in (1.0, 2.0, 4.0):
        measured = evaluation(50.0, ms)
        other = measured.latency.model_copy(
            update={"conditions": gpu, "median_ms": ms / 10, "ci95_ms": (ms / 11, ms / 9)}
        )
        add(study, "complete", measured.model_copy(update={"latencies": {"cuda_graph/b1": other}}))
    rows = frame(study).head(2)
    found = latency_table(rows)
    assert list(found["latency"].unique()) == ["latency", "latency@cuda_graph/b1"]
    assert list(found["median_ms"]) == pytest.approx([1.0, 2.0, 0.1, 0.2])
    figure = latency_dumbbells(rows)
    marks = [trace for trace in figure.data if trace.mode == "markers"]
    assert [list(trace.x) for trace in marks] == [pytest.approx([1.0, 0.1]), pytest.approx([2.0, 0.2])]
    assert [set(trace.customdata) for trace in marks] == [{0}, {1}]
    assert len({(trace.marker.color, trace.marker.symbol) for trace in marks}) == 2
    assert marks[0].error_x.array[0] == pytest.approx(0.03)
    assert figure.layout.xaxis.type == "log"
    assert "lower is better" in figure.layout.xaxis.title.text
    assert "<script" not in figure.to_json()
    assert "2 architectures under 2 sets of conditions" in figure.layout.meta["alt"]


def test_without_a_latency_the_dumbbells_say_the_next_step():
    figure = latency_dumbbells(table([{"accuracy": 1.0}]))
    assert "vitscape measure" in re.sub("<br>", " ", figure.layout.annotations[0].text)


def test_the_shares_of_each_architecture_add_up_to_all_of_it():
    parts = {"swin_t": cost_by_part(SWIN), "shvit_s1": cost_by_part(SHVIT)}
    figure = stage_shares(parts, "params")
    for i in range(2):
        assert sum(trace.x[i] for trace in figure.data) == pytest.approx(100)
    assert [trace.name for trace in figure.data] == ["stem", "stage 1", "stage 2", "stage 3", "stage 4", "head"]
    numbers_ = shares_table(parts, "macs").set_index(["architecture", "stage"])
    assert numbers_.loc[("swin_t", "stage 3"), "share_%"] == pytest.approx(48.6, abs=0.1)


def test_the_archive_has_a_file_of_each_that_rebuilds_its_network(storage):
    path, networks = storage
    data.configure(str(path))
    view = data.view("tiny")
    rows = [view.frame[view.frame["number"] == number] for number in (3, 5)]
    some = [Candidate(f"trial {n}", view.architecture(n), row) for n, row in zip((3, 5), rows, strict=True)]
    with zipfile.ZipFile(io.BytesIO(archive(view, [*some, candidate("swin_t")]))) as zipped:
        texts = {name: zipped.read(name).decode() for name in zipped.namelist()}
    assert list(texts) == ["tiny_0003.yaml", "tiny_0005.yaml", "swin_t.yaml"]
    ids = [Architecture.from_dict(yaml.safe_load(text)).id for text in texts.values()]
    assert ids == [networks[3].id, networks[5].id, SWIN.id]


def test_a_link_of_several_trials_shows_them_side_by_side(storage):
    test = fine(page("compare", storage[0], compare="3,5"))
    measured, choices = (test.dataframe[i].value for i in (0, 1))
    assert list(measured.columns) == ["metric", "trial 3", "trial 5"]
    assert list(choices.columns) == ["choice", "trial 3", "trial 5"]
    assert measured.set_index("metric").loc["Top-1 (proxy, 8 of 12 epochs), % ↑", "trial 5"] == f"55.0 {BEST}"
    assert test.query_params["compare"] == "3,5"


def test_published_models_stand_beside_trials_with_their_costs_alone(storage):
    test = fine(page("compare", storage[0], compare="3", models="swin_t"))
    assert "Without any latency in this study, so not drawn: swin_t." in said(test).replace("\\", "")
    measured = test.dataframe[0].value.set_index("metric")
    assert measured.loc["MACs, M ↓", "swin_t"] == "4491"
    assert measured.loc["Latency, ms ↓ · latency", "swin_t"] == "—"


def test_choosing_trials_is_in_the_link(storage):
    test = page("compare", storage[0])
    assert "choose up to six trials" in said(fine(test))
    test.button(key="take_front").click().run()
    chosen = test.query_params["compare"].split(",")
    assert 1 < len(chosen) <= 6
    test.multiselect(key="_compared").set_value(chosen[:2]).run()
    assert test.query_params["compare"] == ",".join(chosen[:2])
    assert list(fine(test).dataframe[0].value.columns) == ["metric", *(f"trial {number}" for number in chosen[:2])]


def test_no_more_than_six_fit_and_what_is_left_out_is_told(storage):
    test = page("compare", storage[0], compare="0,1,2,3,4,5,6,7")
    test.multiselect(key="models").set_value(["swin_t", "deit_ti"]).run()
    assert len(fine(test).dataframe[0].value.columns) == 1 + 6
    assert "The first 4 trials" in said(test)


def test_a_trial_that_is_not_there_is_left_out_and_told(storage):
    test = fine(page("compare", storage[0], compare="3,999"))
    assert "Trial 999 is left out" in said(test)
    assert list(test.dataframe[0].value.columns) == ["metric", "trial 3"]


def test_a_study_without_trials_says_the_next_step(tmp_path):
    new_study(tmp_path / "x.db")
    assert "Nothing to compare yet" in said(fine(page("compare", tmp_path / "x.db")))


def test_trials_without_latency_say_how_to_measure(tmp_path):
    fill(tmp_path / "x.db", 3, latency=False)
    assert "run vitscape measure" in said(fine(page("compare", tmp_path / "x.db", compare="0,1")))


def test_a_studys_name_is_text_and_not_markup(tmp_path):
    fill(tmp_path / "x.db", 2, name=HOSTILE)
    test = fine(page("compare", tmp_path / "x.db", HOSTILE, compare="0,1"))
    shown = [str(one.value) for kind in (test.markdown, test.caption, test.warning) for one in kind]
    assert not any("![x](" in text or "<script" in text for text in shown)
