"""The Explore page without a browser: from a study to the network to take."""

from __future__ import annotations

import re

import pytest

from dashboard import data
from dashboard.parts import panel
from dashboard.text import plain
from explorer.export import export
from explorer.storage import load_study
from search_spaces import Architecture, preset
from tests.pages import page
from tests.studies import add, evaluation, new_study

POINTS = [(40.0, 0.5), (35.0, 0.7), (62.0, 1.0), (70.0, 2.1), (66.0, 3.0), (74.0, 8.0)]
NETWORK = preset("shvit_s1").canonical.to_dict()


def fill(study, points=POINTS):
    for accuracy, latency in points:
        add(study, "complete", evaluation(accuracy, latency, macs=int(latency * 1e8)), architecture=NETWORK)
    return study


@pytest.fixture
def storage(tmp_path):
    study = fill(new_study(tmp_path / "x.db"))
    add(study, "infeasible", evaluation(None, None, infeasible="macs 900 M > 800 M"), architecture=NETWORK)
    add(study, "failed", architecture=NETWORK, error="RuntimeError: <b>out</b> ![of](http://198.51.100.1/a.png) memory")
    return tmp_path / "x.db"


def said(test):
    """All that the page says, without the marks that keep markdown away."""
    parts = [*test.markdown, *test.caption, *test.text, *test.warning, *test.error, *test.code]
    return re.sub(r"\\(.)", r"\1", "\n".join(str(part.value) for part in parts))


def test_the_page_opens_with_the_knee_and_the_ways_to_choose(storage):
    test = page("explore", storage)
    assert not test.exception
    assert "#### Trial 2" in said(test)
    assert "62.0 %** top-1 (proxy, 8 of 12 epochs)" in said(test)
    assert "1.00 ms** latency [0.980, 1.03]" in said(test)
    assert "AMD EPYC · threads 1 · eager · fp32 · batch 1" in said(test)
    names = [re.sub(r"\\(.)", r"\1", button.label) for button in test.button]
    assert names[:3] == ["Cheapest: 40.0 % · 0.500 ms", "Knee: 62.0 % · 1.00 ms", "Most accurate: 74.0 % · 8.00 ms"]


def test_a_budget_says_the_best_under_it_and_the_link_restores_it(storage):
    test = page("explore", storage)
    test.number_input(key="budget").set_value(2.5).run()
    words = "Best under 2.5 ms: trial 3, 70.0 % top-1 (proxy, 8 of 12 epochs), 2.10 ms [2.06, 2.16]."
    assert words in said(test)
    assert "#### Trial 3" in said(test)  # shown until another is chosen
    assert words in said(page("explore", storage, budget="2.5"))


def test_a_budget_is_forgotten_with_its_unit(storage):
    test = page("explore", storage, budget="2.5")
    test.selectbox(key="cost").select("macs").run()
    assert test.number_input(key="budget").value is None
    assert test.number_input(key="budget").label == "Budget, M"


def test_a_member_of_the_front_can_be_chosen_without_a_pointer(storage):
    test = page("explore", storage)
    test.selectbox(key="member").select(5).run()
    assert "#### Trial 5" in said(test)
    assert test.query_params["trial"] == "5"
    next(button for button in test.button if button.label.startswith("Cheapest")).click().run()
    assert "#### Trial 0" in said(test)
    assert test.selectbox(key="member").value == 0


def test_the_trial_of_a_link_is_shown_also_off_the_front(storage):
    test = page("explore", storage, trial="4")
    assert "#### Trial 4" in said(test)
    assert "Not on the front" in said(test)
    assert test.selectbox(key="member").value is None


def test_a_trial_that_is_not_there_is_told(storage):
    test = page("explore", storage, trial="99")
    assert not test.exception
    assert "Trial 99 is not in this study, which has 8 trials." in said(test)


def test_what_failed_says_why_and_is_never_markdown(storage):
    test = page("explore", storage, trial="7")
    (error,) = test.error
    assert error.value == "Failed: " + plain("RuntimeError: <b>out</b> ![of](http://198.51.100.1/a.png) memory")
    assert "Infeasible, so not trained: macs 900 M > 800 M." in said(page("explore", storage, trial="6"))


def test_the_file_that_is_offered_is_the_one_that_export_writes(storage, tmp_path):
    data.configure(str(storage))
    view = data.view("tiny")
    files = panel.exported(view, 3, panel.rows_of(view.frame, [3]))
    written = export(load_study("tiny", str(storage)), tmp_path / "out", trial=3, to=("yaml", "json"))
    assert dict(files.values()) == {path.name: path.read_bytes() for path in written}
    (tmp_path / "taken.yaml").write_bytes(files["yaml"][1])
    assert Architecture.load(tmp_path / "taken.yaml").id == preset("shvit_s1").id


def test_commands_name_the_trial_and_never_a_password(storage):
    data.configure(str(storage))
    view = data.view("tiny")
    first, second = panel.commands(view, 3, "tiny_0003.yaml")
    assert first == f"vitscape export --study tiny --storage {storage} --trial 3 --out pareto"
    assert second == "vitscape profile pareto/tiny_0003.yaml --by block"

    class Secret:
        url = "postgresql://ann:secret@db/studies"

    class Hidden:
        name, storage, source = "a b; rm -rf", "postgresql://ann:***@db/studies", Secret

    first, _ = panel.commands(Hidden, 3, "x.yaml")
    assert "secret" not in first
    assert """--study 'a b; rm -rf' --storage "$VITSCAPE_STORAGE" """ in first


def test_every_cost_and_colour_can_be_drawn(storage):
    test = page("explore", storage)
    for cost in test.selectbox(key="cost").options:
        test.selectbox(key="cost").set_value(cost).run()
        assert not test.exception
    for color in list(test.selectbox(key="color").options):
        test.selectbox(key="color").set_value(color).run()
        assert not test.exception


def test_infeasible_trials_without_the_cost_are_counted_and_those_without_any_cost_are_not_sent_to_it(storage):
    test = page("explore", storage, also="infeasible")
    assert "1 infeasible trial has no latency: choose MACs as the cost" in said(test)
    test = page("explore", storage, also="failed", cost="MACs")
    assert "1 failed trial has no MACs." in said(test)
    assert "choose MACs" not in said(test)


def test_of_three_objectives_a_front_of_two_is_not_called_the_studys_own(tmp_path):
    study = new_study(tmp_path / "x.db", objectives=("accuracy", "latency", "macs"))
    points = [(40.0, 0.5, 10), (62.0, 1.0, 20), (61.0, 2.0, 9), (50.0, 0.9, 30), (60.0, 1.5, 40)]
    for accuracy, latency, macs in points:
        add(study, "complete", evaluation(accuracy, latency, macs=macs * 10**6), architecture=NETWORK)
    text = said(page("explore", tmp_path / "x.db", trial="3"))  # the quickest so good, dominated by accuracy and MACs
    assert "The study's own front, of all 3 objectives, has 4 members." in text
    assert "On this front" in text
    text = said(page("explore", tmp_path / "x.db", trial="3", cost="MACs"))
    assert "Not on this front, but on the study's own front" in text
    text = said(page("explore", tmp_path / "x.db", trial="4", cost="MACs"))
    assert "Not on this front." in text
    assert "own front" in text


def test_of_two_objectives_the_front_drawn_is_the_studys_own_unless_another_cost_is_chosen(storage):
    text = said(page("explore", storage))
    assert "own front" not in text
    assert "On the front" in text
    text = said(page("explore", storage, cost="MACs"))
    assert "The study's own front, of Top-1 (proxy, 8 of 12 epochs) and Latency, has 4 members." in text


def test_the_probability_is_told_from_certainty():
    assert "in 100 % of draws" in panel.Sureness(True, 1.0).text()
    assert "in >99 % of draws" in panel.Sureness(True, 0.9991).text()
    assert "in <1 % of draws" in panel.Sureness(False, 0.001).text()


@pytest.mark.parametrize(
    "objectives", [("accuracy",), ("latency",), ("accuracy", "latency", "macs"), ("macs", "latency")]
)
def test_a_study_of_any_objectives_has_a_front(tmp_path, objectives):
    fill(new_study(tmp_path / "x.db", objectives=objectives))
    test = page("explore", tmp_path / "x.db")
    assert not test.exception
    assert "#### Trial" in said(test)
    assert ("This study has one objective" in said(test)) == (len(objectives) == 1)


def test_a_study_without_latency_is_drawn_against_what_it_has(tmp_path):
    study = new_study(tmp_path / "x.db", objectives=("accuracy", "macs"))
    for accuracy, macs in [(50.0, 10**7), (60.0, 2 * 10**7)]:
        add(study, "complete", evaluation(accuracy, None, macs=macs), architecture=NETWORK)
    test = page("explore", tmp_path / "x.db")
    assert not test.exception
    assert list(test.selectbox(key="cost").options) == ["MACs", "Parameters"]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (None, "No trials yet."),
        ("failed", "No trial is complete: 1 of 1 failed. The most frequent reason: ValueError: <x>."),
        ("infeasible", "No trial is complete: 1 of 1 are over a limit of the search."),
    ],
)
def test_a_study_without_a_front_says_the_next_step(tmp_path, status, words):
    study = new_study(tmp_path / "x.db")
    if status is not None:
        add(study, status, architecture=NETWORK, error="ValueError: <x>" if status == "failed" else None)
    test = page("explore", tmp_path / "x.db")
    assert not test.exception
    assert words in said(test)
    assert "vitscape search" in said(test) or "looser" in said(test)


def test_filters_that_leave_nothing_can_be_cleared(tmp_path):
    study = new_study(tmp_path / "x.db", objectives=("accuracy", "macs"))
    for i, (accuracy, latency) in enumerate(POINTS):
        architecture = preset(("shvit_s1", "shvit_s2")[i % 2]).canonical.to_dict()
        add(study, "complete", evaluation(accuracy, latency if i % 2 == 0 else None), architecture=architecture)
    test = page("explore", tmp_path / "x.db", cost="Latency")
    test.multiselect(key="filter").select("width@2").run()
    test.multiselect(key="width@2").select("308").run()
    assert not test.exception
    assert "The filters leave no complete trial with" in said(test)
    next(button for button in test.button if button.key == "clear").click().run()
    assert "#### Trial" in said(test)


def test_a_hostile_study_is_shown_as_text(tmp_path):
    name = "<img src=http://198.51.100.1/x> ![x](http://198.51.100.1/a.png)"
    study = fill(new_study(tmp_path / "x.db", name=name))
    add(study, "complete", evaluation(80.0, 4.0), architecture=NETWORK, preset=name)
    test = page("explore", tmp_path / "x.db", trial="6")
    assert not test.exception
    raw = "\n".join(str(part.value) for part in [*test.markdown, *test.caption, *test.warning, *test.error])
    assert plain(name) in raw
    assert not re.search(r"(?<!\\)(<img|!\[x)", raw)
