"""The page of the design space, run without a browser: every part, at no, few and many trials."""

from __future__ import annotations

import time

import pytest

from dashboard.report import write_report
from explorer import structure
from explorer.analysis import cloud
from explorer.analysis.strongest import strongest_split
from explorer.reader import Storage
from tests.big import made_up_study
from tests.pages import page
from tests.studies import ARCHITECTURE, add, evaluation, new_study

PARTS = ("Distributions", "Trends", "Cloud", "Parallel")


@pytest.fixture(autouse=True)
def small_clouds(monkeypatch, tmp_path):
    monkeypatch.setattr(cloud, "FIRST", 300)
    monkeypatch.setattr(cloud, "NUMBER", 1200)
    monkeypatch.setenv("VITSCAPE_CACHE", str(tmp_path / "cache"))


def said(test):
    """All that a page says in words."""
    kinds = (test.header, test.text, test.markdown, test.caption, test.warning, test.error)
    return "\n".join(str(element.value) for kind in kinds for element in kind).replace("\\", "")


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    ("trials", "objectives"),
    [
        (1, ("accuracy", "latency")),
        (30, ("accuracy", "latency")),
        (300, ("accuracy",)),
        (300, ("accuracy", "latency", "macs")),
        (300, ("latency", "macs")),
    ],
)
def test_every_part_opens(part, trials, objectives):
    test = page("design_space", made_up_study(trials, objectives), part=part)
    assert not test.exception
    assert test.segmented_control(key="part").value == part


@pytest.mark.parametrize("part", PARTS)
def test_without_a_complete_trial_it_says_what_to_do_and_shows_the_space_alone(part, tmp_path):
    for storage in (made_up_study(0), made_up_study(30, failed=True)):
        test = page("design_space", storage, part=part)
        assert not test.exception
        if part == "Cloud":
            assert "the space has 79,847,424 different networks" in said(test)
        else:
            assert "0 complete trials of" in said(test)
            assert "Let the search run on, or look at the space itself under *Cloud*" in said(test)


def test_a_difference_is_said_in_words_with_its_interval():
    test = page("design_space", made_up_study(300), split="mixer in stage 1")
    assert test.selectbox(key="split").value == "mixer@1"
    words = said(test)
    assert "mixer in stage 1: " in words
    assert "has the best median Top-1 (proxy, 8 of 12 epochs)" in words
    assert "points above" in words
    assert "The trials of a search are none: its sampler follows the front" in words  # no unbiased sample
    (levels, pairs) = (test.dataframe[0].value, test.dataframe[1].value)
    assert list(levels.columns)[:3] == ["mixer in stage 1", "Trials", "Median Top-1 (proxy, 8 of 12 epochs), %"]
    assert len(pairs) == len(levels) * (len(levels) - 1) // 2


def test_few_trials_are_split_by_a_choice_that_can_be_told():
    test = page("design_space", made_up_study(30))
    assert "has the best median Top-1 (proxy, 8 of 12 epochs)" in said(test)


def test_latency_is_compared_at_an_accuracy_that_is_stated_and_can_be_set():
    test = page("design_space", made_up_study(300), metric="Latency eager/b1")
    assert test.selectbox(key="metric").value == "latency"
    least = test.number_input(key="least")
    assert "Top-1 (proxy, 8 of 12 epochs) at least, %" in least.label
    before = test.dataframe[0].value["Trials"].sum()
    least.set_value(float(least.value) + 3).run()
    assert not test.exception
    assert 0 < test.dataframe[0].value["Trials"].sum() < before


def test_a_link_restores_the_view():
    query = {"part": "Trends", "trend": "Latency eager/b1", "complexity": "Parameters", "split": "blocks in all"}
    test = page("design_space", made_up_study(300), **query)
    assert [test.selectbox(key=key).value for key in ("trend", "complexity", "split")] == [
        "latency",
        "Parameters",
        "depth",
    ]
    test = page("design_space", made_up_study(300), part="Parallel", axes="stem stride,MACs", shade="MACs")
    assert not test.exception
    test = page("design_space", made_up_study(300), part="nonsense", split="<b>", least="x")
    assert not test.exception


def test_the_space_says_how_much_of_it_is_within_the_limits():
    test = page("design_space", made_up_study(300), part="Cloud")
    assert "of the samples are within the study's limit, MACs at most" in said(test)
    assert test.selectbox(key="choice").value is not None
    test.selectbox(key="space_y").set_value("Share of architectures").run()
    assert not test.exception


def test_all_samples_come_from_another_process_and_are_kept():
    test = page("design_space", made_up_study(300), part="Cloud", samples="1,200")
    assert "of 1,200 sampled" in "".join(element.proto.text for element in test.get("progress"))
    until = time.monotonic() + 90
    while any(button.label == "Stop" for button in test.button) and time.monotonic() < until:
        time.sleep(0.5)
        test.run()
    assert not test.exception
    assert not test.warning
    assert len(list(cloud.cache_folder().rglob("*.parquet"))) == 1


def test_a_study_whose_space_cannot_be_read_says_so(tmp_path):
    study = new_study(tmp_path / "x.db")
    for k in range(12):
        add(study, "complete", evaluation(60.0 + k, 1.0 + k))
    test = page("design_space", tmp_path / "x.db", part="Cloud")
    assert not test.exception
    assert "no search space that can be sampled" in said(test)
    for part in ("Distributions", "Trends", "Parallel"):  # no choice varies in it
        assert not page("design_space", tmp_path / "x.db", part=part).exception


def test_parallel_coordinates_list_every_trial_and_compare_the_best():
    test = page("design_space", made_up_study(300), part="Parallel")
    shown = test.dataframe[0].value
    assert f"{len(shown)} of {len(shown)} trials, the best by Top-1 (proxy, 8 of 12 epochs) first:" in said(test)
    assert shown["Top-1 (proxy, 8 of 12 epochs), %"].is_monotonic_decreasing
    test.button(key="compare_found").click().run()
    assert not test.exception
    assert test.session_state["_compare"] == list(shown["Trial"].head(6))


def test_shares_that_differ_in_the_fourth_decimal_are_levels_of_their_own_here_and_in_the_report(tmp_path):
    study = new_study(tmp_path / "x.db")
    shares = [(27, 128), (17, 80), (109, 512), (82, 384), (48, 224)]
    for i in range(60):
        channels, width = shares[i % 5]
        mixer = {"kind": "single_head", "partial_channels": channels}
        stages = [ARCHITECTURE["stages"][0], ARCHITECTURE["stages"][1] | {"width": width, "mixer": mixer}]
        measured = evaluation(50.0 + i % 5 + i / 100, 1.0 + i)
        add(study, "complete", measured, id=f"{i}", architecture=ARCHITECTURE | {"stages": stages})
    test = page("design_space", tmp_path / "x.db", split=structure.label("partial@2"))
    assert not test.exception
    assert test.selectbox(key="split").value == "partial@2"
    wanted = ["0.2109", "0.2125", "0.2129", "0.2135", "0.2143"]
    assert list(test.dataframe[0].value.iloc[:, 0]) == wanted
    frame = Storage(str(tmp_path / "x.db")).read("tiny").frame
    assert strongest_split(frame, "accuracy") in ("partial@2", "width@2")
    assert write_report(str(tmp_path / "x.db"), None, tmp_path / "r.html").exists()
