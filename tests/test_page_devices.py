"""The Devices page: what was measured, how far it agrees, what the wrong device costs, and the way to more."""

from __future__ import annotations

import pytest

from explorer.analysis.transfer import transfer
from explorer.measured import add_latencies
from explorer.results import frame
from explorer.storage import load_study
from tests.big import made_up_study
from tests.pages import page
from tests.studies import CONDITIONS, add, evaluation, new_study

POINTS = [(40.0, 0.5), (35.0, 0.7), (62.0, 1.0), (70.0, 2.1), (66.0, 3.0), (74.0, 8.0), (30.0, 9.0)]
HOSTILE = "![x](http://198.51.100.1/a.png) <b>"
GPU = CONDITIONS.model_copy(update={"device": "cuda", "device_name": HOSTILE, "precision": "fp16", "threads": None})


@pytest.fixture
def study(tmp_path):
    """Seven architectures with one latency."""
    found = new_study(tmp_path / "x.db")
    for accuracy, ms in POINTS:
        add(found, "complete", evaluation(accuracy, ms))
    return found


def said(test):
    parts = (test.text, test.markdown, test.caption, test.code, test.header, test.subheader)
    return "\n".join(str(element.value) for kind in parts for element in kind)


def fine(test):
    assert not test.exception, [error.value for error in test.exception]
    return test


def test_it_says_what_was_measured_of_how_many_and_under_what(tmp_path):
    found = new_study(tmp_path / "x.db", objectives=("accuracy",))
    for ms in [*(ms for _, ms in POINTS), None]:
        add(found, "complete", evaluation(50.0, ms))
    test = fine(page("devices", tmp_path / "x.db"))
    (row,) = test.dataframe[0].value.to_dict("records")
    assert row["Latency"] == "latency"
    assert row["Conditions"] == "AMD EPYC · threads 1 · eager · fp32 · batch 1"
    assert row["Measured, of 8 complete"] == 7


def test_one_latency_alone_tells_the_commands_that_give_another(tmp_path, study):
    test = fine(page("devices", tmp_path / "x.db"))
    text = said(test)
    assert f"vitscape export --all --study tiny --storage {tmp_path / 'x.db'} --out archs" in text
    assert "vitscape measure archs/*.yaml --device cuda" in text
    assert "vitscape attach gpu.parquet --study tiny" in text
    assert "vitscape search tiny_32 --runtime eager,onnxruntime" in text
    assert "latency is ranked by" in text  # MACs and parameters can be compared all the same


def test_no_latency_says_how_to_measure(tmp_path):
    found = new_study(tmp_path / "x.db", objectives=("accuracy", "macs"))
    add(found, "complete", evaluation(50.0, None))
    text = said(fine(page("devices", tmp_path / "x.db")))
    assert "No latency in this study." in text
    assert "vitscape measure" in text


def test_a_study_without_trials_is_no_error(tmp_path):
    new_study(tmp_path / "x.db")
    assert "No latency in this study." in said(fine(page("devices", tmp_path / "x.db")))


def test_several_latencies_are_compared_and_no_command_is_told():
    test = fine(page("devices", made_up_study(150)))
    text = said(test)
    assert len(test.dataframe[0].value) == 3
    assert "onnxruntime/b1 is ranked by MACs with tau 0." in text
    assert "vitscape attach" not in text


def test_a_link_restores_the_front_of_one_device_on_another():
    test = fine(page("devices", made_up_study(150), show="Fronts", chosen_by="MACs", used_on="onnxruntime/b1"))
    chosen = [test.selectbox(key=key).value for key in ("chosen_by", "used_on")]
    assert chosen == ["macs", "latency@onnxruntime/b1"]
    wanted = transfer(frame(load_study(None, str(made_up_study(150)))), "macs", "latency@onnxruntime/b1")
    shown = test.dataframe[1].value
    assert shown["Trial"].tolist() == wanted["number"].tolist()
    assert shown["Stays on the front"].tolist() == wanted["stays"].tolist()
    assert shown["Lost to it, points"].tolist() == pytest.approx(wanted["lost"].tolist())
    stay = (wanted["stays"] == "yes").sum()
    assert f"Of **{len(wanted)}** on the front of MACs, **{stay}** stay on the front of onnxruntime" in said(test)


def test_what_is_chosen_by_is_never_what_it_is_used_on():
    test = fine(page("devices", made_up_study(150), show="Fronts"))
    on = test.selectbox(key="used_on").value
    assert on not in test.selectbox(key="chosen_by").options
    other = next(name for name in test.selectbox(key="used_on").options if name != "eager/b1")
    test.selectbox(key="used_on").select(f"latency@{other}")
    fine(test.run())
    assert test.selectbox(key="chosen_by").value == "latency"


@pytest.mark.parametrize("section", ["Agreement", "Against", "Prediction", "Fronts"])
def test_every_section_has_something_to_say_of_any_study(section, tmp_path, study):
    test = fine(page("devices", tmp_path / "x.db", show=section))
    assert len(said(test)) > 100


def test_a_prediction_of_too_few_is_refused_with_the_number_that_it_needs(tmp_path, study):
    text = said(fine(page("devices", tmp_path / "x.db", show="Prediction")))
    assert "Refused: 7 trusted measurements of latency; a predictor needs 20, and 25 to be checked" in text


def test_predictions_are_drawn_with_their_error():
    test = fine(page("devices", made_up_study(60), show="Prediction"))
    assert "learnt from four fifths of the others" in said(test)
    assert "Refused" not in said(test)


def test_what_machines_call_themselves_is_shown_as_text(tmp_path, study):
    for number in range(len(POINTS)):
        latency = evaluation(1.0, 1.0 + number).latency
        assert latency is not None
        add_latencies(study, f"a{number}", [latency.model_copy(update={"conditions": GPU})])
    for section in ("Agreement", "Fronts", "Against"):
        test = fine(page("devices", tmp_path / "x.db", show=section))
        for element in (*test.markdown, *test.caption):
            assert "![x](" not in element.value
            assert "<b>" not in element.value
