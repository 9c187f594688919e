"""What a link restores: the study, the trial and the comparison that it names, and nothing of another study."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pages import page


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from benchmarks.made_up import write_study

    path = tmp_path_factory.mktemp("link") / "two.db"
    for name in ("first", "second"):
        write_study(path, 20, ("accuracy", "latency"), seed=1, name=name)
    return path


def chooser(test: object) -> str:
    return str(test.sidebar.selectbox(key="study").value)  # type: ignore[attr-defined]


def test_a_link_opens_its_study_and_trial(storage: Path) -> None:
    test = page("explore", storage, study="second", trial="3", compare="3,4")
    assert (chooser(test), test.query_params["trial"], test.query_params["compare"]) == ("second", "3", "3,4")


def test_without_a_study_in_the_link_the_one_of_the_command_line_is_shown(storage: Path) -> None:
    assert chooser(page("explore", storage, "second")) == "second"


def test_a_link_without_a_study_names_the_one_that_is_shown(storage: Path) -> None:
    assert page("explore", storage, "second").query_params["study"] == "second"


def test_a_link_to_an_unknown_study_says_so_and_takes_nothing_else_of_it(storage: Path) -> None:
    test = page("explore", storage, study="![x](//evil)", trial="3")
    assert "has no study" in test.sidebar.warning[0].value
    assert "![" not in test.sidebar.warning[0].value
    assert "trial" not in test.query_params


def test_another_study_forgets_the_trials_chosen_in_the_first(storage: Path) -> None:
    test = page("explore", storage, study="first", trial="3", compare="3,4")
    test.sidebar.selectbox(key="study").select("second").run()
    assert test.query_params["study"] == "second"
    assert not {"trial", "compare"} & set(test.query_params)


def test_of_several_studies_none_asked_for_the_overview_opens(storage: Path) -> None:
    assert page("explore", storage).main.header[0].value == "Overview"
