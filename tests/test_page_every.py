"""Every page without a browser, of a study that none of them was made for."""

from __future__ import annotations

import pytest

from explorer.record import TrialRecord
from search_spaces import preset
from tests.pages import APP, page
from tests.studies import evaluation, new_study

PAGES = sorted(path.stem for path in (APP.parent / "screens").glob("*.py"))
PARTS = [  # of pages, that a link opens
    *(("search", {"section": one}) for one in ("Saved", "Learning", "Importance", "Slices", "Timeline")),
    *(("devices", {"show": one}) for one in ("Against", "Prediction", "Fronts")),
    *(("design_space", {"part": one}) for one in ("Trends", "Cloud", "Parallel")),
    *(("architecture", {"about": one}) for one in ("What if", "Provenance")),
]
AIMS = [
    ("accuracy", "latency@onnxruntime/b8"),
    ("latency@onnxruntime/b8",),
    ("accuracy", "latency@nvidia_h200/eager/fp16/b1"),
]


@pytest.fixture(params=AIMS, ids=", ".join)
def unmeasured(request, tmp_path):
    """A study made by hand: one of its objectives is a latency that is the value of each trial and in no record."""
    study = new_study(tmp_path / "x.db", objectives=request.param)
    networks = [preset(name).canonical.to_dict() for name in ("shvit_s1", "shvit_s2")]
    for number in range(8):
        about = {"id": f"a{number}", "architecture": networks[number % 2], "seconds": 9.0}
        record = TrialRecord(status="complete", evaluation=evaluation(50.0 + number, 1.0 + number), **about)
        trial = study.ask()
        trial.set_user_attr("vitscape", record.model_dump(mode="json"))
        study.tell(trial, [50.0 + number, 2.0 + number][-len(request.param) :])
    return tmp_path / "x.db"


@pytest.mark.parametrize(("name", "query"), [*((name, {}) for name in PAGES), *PARTS])
def test_a_study_whose_objective_no_trial_has_measured_is_shown(unmeasured, name, query):
    test = page(name, unmeasured, **query)
    assert not test.exception, [error.value for error in test.exception]


def test_an_objective_that_no_trial_has_measured_leaves_the_measured_ones_to_look_at(unmeasured):
    test = page("explore", unmeasured)
    assert list(test.selectbox(key="cost").options) == ["Latency", "MACs", "Parameters"]
