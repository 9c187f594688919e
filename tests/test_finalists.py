"""The final stage: which networks are trained in full, that nothing is trained twice, and what is said of it."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from explorer import Setup, results, search
from explorer.analysis.moves import moves
from explorer.finals import Final, add_final, finals
from explorer.proxy import train as trainings
from explorer.proxy.train import TrainSettings
from explorer.reader import Storage
from explorer.record import TrialRecord
from explorer.search.finalists import choose
from explorer.search.session import sole_searcher
from explorer.status import status_of
from explorer.storage import ATTRIBUTE, StorageError, load_study
from search_spaces.space import parse_space
from tests.minis import MINI, Run, refuses, refuses_search
from tests.studies import add, evaluation, new_study, table

CPU = Setup(device="cpu", time_limit_s=0.2)
SCHEDULE = TrainSettings(epochs=5)
BOTH = ("accuracy", "latency")
LARGE = MINI.replace("ffn_ratio: [1, 2]", f"ffn_ratio: {list(range(1, 33))}")  # more than a search of seconds gets to


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VITSCAPE_LEASES", str(tmp_path / "leases"))
    (tmp_path / "mini.yaml").write_text(MINI)


def find(console: Console | None = None, **options: object) -> optuna.Study:
    """A search of four trials that trains for two of five epochs, and three finalists."""
    options = {"objectives": ("accuracy", "macs"), "data": "digits", "trials": 4, "finalists": 3, **options}
    options = {"settings": SCHEDULE, "stopping": None, "console": console or Console(quiet=True), **options}
    space = parse_space(str(options.pop("space", MINI)))
    return search(space, storage="a.db", setup=CPU, **options)  # type: ignore[arg-type]


def measured(points: Sequence[tuple[float, float]]) -> Any:
    """A frame of trials with these accuracies and latencies."""
    return table([{"accuracy": accuracy, "latency_ms": ms} for accuracy, ms in points])


# --- which ones ------------------------------------------------------------------------------------------------------


@given(
    points=st.lists(st.tuples(st.floats(10, 90), st.floats(0.1, 10)), max_size=30),
    count=st.integers(1, 12),
)
def test_the_front_comes_first_with_its_ends_and_its_knee(points: list[tuple[float, float]], count: int) -> None:
    frame = measured(points)
    chosen, front = choose(frame, BOTH, count), results.front(frame, BOTH)
    assert len(chosen) == len(set(chosen)) == min(count, len(frame))
    members = set(front["number"])
    assert len(members & set(chosen)) == min(count, len(members))
    knee = results.knee(frame, BOTH)
    if knee is not None:
        assert knee["number"] in chosen
    if count >= 3 and len(front):
        assert {front["number"].iloc[0], front["number"].iloc[-1]} <= set(chosen)
    left = frame[~frame["number"].isin(members)]
    if count > len(members) and len(left):  # then the front of what is left comes next
        second = set(results.front(left, BOTH)["number"])
        assert len(second & set(chosen)) == min(count - len(members), len(second))


def test_a_large_front_is_thinned_evenly() -> None:
    turns = np.linspace(0, np.pi / 2, 17)  # a front that is a quarter of a circle where costs are logarithmic
    frame = measured([(20 + 40 * np.sin(turn), 16 ** (1 - np.cos(turn))) for turn in turns])
    assert choose(frame, BOTH, 1) == [8]  # the knee
    assert choose(frame, BOTH, 3) == [0, 8, 16]
    assert choose(frame, BOTH, 5) == [0, 4, 8, 12, 16]
    assert choose(frame, BOTH, 9) == list(range(0, 17, 2))


def test_only_complete_trials_are_chosen_each_architecture_once(tmp_path: Path) -> None:
    study = new_study(tmp_path / "x.db")
    add(study, "complete", evaluation(70.0, 1.0), id="a")
    add(study, "stopped", evaluation(90.0, 0.5), id="b")
    add(study, "failed", id="c")
    add(study, "complete", evaluation(70.0, 1.0), id="a")
    assert choose(results.frame(study), BOTH, 8) == [0]
    assert choose(results.frame(new_study(tmp_path / "y.db")), BOTH, 8) == []


# --- a search with a final stage -------------------------------------------------------------------------------------


def test_finalists_are_trained_in_full_as_the_search_began_them() -> None:
    said = io.StringIO()
    study = find(Console(file=said, width=150))
    told = " ".join(said.getvalue().split())
    assert "then 3 finalists in full, 5 epochs each; the search leaves the schedule after 2, 40%" in told
    assert "final stage: 3 architectures in full, 5 epochs each" in told
    frame, found = results.frame(study), finals(study)
    assert frame["final_accuracy"].notna().sum() == len(found) == 3
    for row in frame[frame["final_accuracy"].notna()].to_dict("records"):
        record = TrialRecord.model_validate(study.trials[row["number"]].user_attrs[ATTRIBUTE])
        final = found[row["id"]]
        assert record.evaluation is not None
        assert len(record.evaluation.accuracy_by_epoch) == 2
        assert final.accuracy_by_epoch[:2] == record.evaluation.accuracy_by_epoch  # the same training, gone on with
        assert len(final.accuracy_by_epoch) == 5
        assert row["final_accuracy"] == final.accuracy == final.accuracy_by_epoch[-1]
        assert row["accuracy"] == record.evaluation.accuracy
        assert final.settings == SCHEDULE.model_dump()


def test_the_same_call_trains_nothing_again_and_more_finalists_the_missing_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained: list[int] = []
    once = trainings.train

    def counting(*words: Any, **options: Any) -> Any:
        trained.append(words[2].epochs_run)
        return once(*words, **options)

    monkeypatch.setattr(trainings, "train", counting)
    find(finalists=1)
    assert trained == [2] * 4 + [5]
    find(finalists=1)
    find(finalists=3)
    assert trained == [2] * 4 + [5] * 3
    before = finals(find(finalists=3))
    find(finalists=3, trials=6)  # what the search finds next may take a finalist's place
    assert trained[7:9] == [2, 2]
    assert set(trained[9:]) <= {5}
    assert {name: final for name, final in finals(find(trials=6)).items() if name in before} == before


def test_an_interrupted_final_stage_goes_on_with_the_rest_and_searches_no_further(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    once, whole = trainings.train, list[int]()

    def interrupted(*words: Any, **options: Any) -> Any:
        if words[2].is_full:
            whole.append(1)
            if len(whole) == 2:
                raise KeyboardInterrupt
        return once(*words, **options)

    monkeypatch.setattr(trainings, "train", interrupted)
    settings = TrainSettings(epochs=2, stop_epoch=1, data_share=0.2)
    by_hours: dict[str, Any] = {"trials": None, "hours": 0.001, "settings": settings, "space": LARGE}
    with pytest.raises(KeyboardInterrupt):
        find(**by_hours)
    study = load_study(None, "a.db")
    trials, before = len(study.trials), finals(study)
    said = io.StringIO()
    after = finals(find(Console(file=said), **by_hours))
    assert "final stage: 3 architectures in full, 2 epochs each, 1 of them trained already" in said.getvalue()
    assert len(before) == 1
    assert len(after) == 3
    assert before.items() <= after.items()
    assert len(whole) == 4
    assert len(load_study(None, "a.db").trials) == trials
    find(**by_hours)  # the whole command again, since it had ended
    assert len(load_study(None, "a.db").trials) > trials


def test_a_finalist_that_fails_is_noted_the_others_go_on_and_the_same_call_tries_it_again(
    monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    once, broken = trainings.train, list[int]()

    def breaking(*words: Any, **options: Any) -> Any:
        if words[2].is_full and not broken:
            broken.append(1)
            raise RuntimeError("no room for\nall of it")
        return once(*words, **options)

    monkeypatch.setattr(trainings, "train", breaking)
    words = "search mini.yaml --data digits --objectives accuracy,macs --device cpu --storage a.db --trials 4"
    words += " --epochs 5 --finalists 3 --stopping none"
    status, out, err = run(*words.split())
    assert status == 0
    assert "failed: RuntimeError: no room for all of it" in " ".join(out.split())
    assert "✗" in err
    found = finals(load_study(None, "a.db"))
    assert sorted(final.status for final in found.values()) == ["complete", "complete", "failed"]
    (failed,) = (final for final in found.values() if final.status == "failed")
    assert "Traceback" in str(failed.traceback)
    assert results.frame(load_study(None, "a.db"))["final_accuracy"].notna().sum() == 2
    assert "failed" not in run(*words.split())[1]
    assert results.frame(load_study(None, "a.db"))["final_accuracy"].notna().sum() == 3


def test_a_finalist_that_always_fails_is_tried_once_more_and_then_keeps_no_search_from_going_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    once = trainings.train

    def breaking(*words: Any, **options: Any) -> Any:
        if words[2].is_full:
            raise RuntimeError("no room for all of it")
        return once(*words, **options)

    monkeypatch.setattr(trainings, "train", breaking)
    settings = TrainSettings(epochs=2, stop_epoch=1)
    by_hours: dict[str, Any] = {"trials": None, "hours": 0.0005, "finalists": 1, "settings": settings, "space": LARGE}
    many, tries = [], []
    for _ in range(3):
        study = find(**by_hours)
        many.append(len(study.trials))
        tries.append(max(final.tries for final in finals(study).values()))
    assert many[0] == many[1] < many[2]
    assert tries[:2] == [1, 2]


def test_the_command_line_shows_how_the_finalists_moved(run: Run) -> None:
    words = "search mini.yaml --data digits --objectives accuracy,macs --device cpu --trials 4 --epochs 5 --finalists 4"
    status, out, _ = run(*words.split(), "--stopping", "none")
    text = " ".join(out.split())
    assert status == 0
    assert "Finalists of mini: top-1 in the search (digits, 2 of 5 epochs) and in full" in text
    assert "Kendall's tau" in text
    assert "(4 networks, too few to tell)" in text
    assert "(final)" in run("front")[1]
    rows = json.loads(run("trials", "--json")[1])
    assert sum(row["final_accuracy"] is not None for row in rows) == 4
    by_final = json.loads(run("front", "--objectives", "final_accuracy,macs", "--json")[1])
    best = max(rows, key=lambda row: row["final_accuracy"] or 0)
    assert best["number"] in [row["number"] for row in by_final if row["on_front"]]
    written = run("export", "--front", "--objectives", "final_accuracy,macs", "--out", "o")[1].split()
    assert len(written) == sum(row["on_front"] for row in by_final)
    assert all(Path(file).exists() for file in written)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--finalists 0", "finalists=0: give at least 1"),
        ("--finalists 3 --objectives macs,params", "finalists=3: nothing is trained without accuracy"),
        ("--finalists 3 --epochs 4 --stop-epoch 4", "the search itself trains in full, all 4 epochs; raise --epochs"),
        ("--finalists 3 --epochs 4 --fidelity epochs=4", "the search itself trains in full, all 4 epochs"),
        ("--finalists 3 --epochs 1", "the search itself trains in full, all 1 epochs"),
        ("--objectives final_accuracy,macs", "final_accuracy: known after a search, of its --finalists alone"),
    ],
)
def test_finalists_that_cannot_be_are_one_line_and_leave_no_study(
    run: Run, tmp_path: Path, words: str, told: str
) -> None:
    assert told in refuses_search(run, tmp_path, words)


def test_a_search_that_is_cheaper_in_its_data_alone_may_run_the_whole_schedule() -> None:
    cheap = TrainSettings(epochs=2, stop_epoch=2, data_share=0.3)
    found = finals(find(settings=cheap, trials=2, finalists=1))
    assert [len(final.accuracy_by_epoch) for final in found.values()] == [2]
    assert [final.settings["data_share"] for final in found.values()] == [1.0]


def test_a_study_without_any_complete_trial_has_no_finalists(run: Run) -> None:
    words = "search mini.yaml --data digits --device cpu --trials 2 --epochs 5 --finalists 2 --max-latency 1us"
    status, _, err = run(*words.split(), "--time-limit", "0.2", "--storage", "a.db")
    assert status == 0
    assert "final stage: no complete trial to train in full" in err
    told = refuses(run, "front", "--objectives", "final_accuracy,latency", "--storage", "a.db")
    assert "no finalist was trained in full; vitscape search --finalists does" in told


# --- what changed ----------------------------------------------------------------------------------------------------


def test_moves_tell_ranks_tau_and_who_dominates_whom() -> None:
    rows = [
        {"accuracy": 50.0, "latency_ms": 1.0, "final_accuracy": 80.0},
        {"accuracy": 60.0, "latency_ms": 2.0, "final_accuracy": 70.0},
        {"accuracy": 70.0, "latency_ms": 3.0, "final_accuracy": 90.0},
        {"accuracy": 40.0, "latency_ms": 0.9},  # on the front, and no finalist
        {"accuracy": 45.0, "latency_ms": 1.5, "final_accuracy": 85.0},  # off the front
    ]
    found = moves(table(rows), [0, 1, 2, 4], BOTH).set_index("number")
    assert list(found.index) == [2, 4, 0, 1]
    assert found["rank"].to_dict() == {2: 1, 1: 2, 0: 3, 4: 4}
    assert found["final_rank"].to_dict() == {2: 1, 4: 2, 0: 3, 1: 4}
    assert found["on_front"].to_dict() == {0: True, 1: True, 2: True, 4: False}
    assert found["final_front"].to_dict() == {0: True, 1: False, 2: True, 4: True}
    assert found["dominated_by"][1] == 4  # 0 dominates it, too, and is less accurate
    assert found["dominated_by"].isna().sum() == 3
    assert found.attrs["n"] == 4
    assert found.attrs["tau"] == pytest.approx((3 - 3) / 6)  # of six pairs three agree


def test_moves_of_equal_accuracies_share_a_rank_and_have_no_correlation() -> None:
    rows = [{"accuracy": 50.0, "latency_ms": 1.0 + i, "final_accuracy": 80.0} for i in range(3)]
    found = moves(table(rows), [0, 1, 2], BOTH)
    assert set(found["rank"]) == set(found["final_rank"]) == {1}
    assert np.isnan(found.attrs["tau"])
    assert moves(table(rows), [], BOTH).empty


def test_what_cannot_be_read_is_said_in_one_line(tmp_path: Path) -> None:
    study = new_study(tmp_path / "x.db")
    add(study, "complete", evaluation(70.0, 1.0), id="a")
    add_final(study, Final(id="a", number=0, status="complete", accuracy=80.0))
    assert results.frame(study)["final_accuracy"].tolist() == [80.0]
    reading = Storage(str(tmp_path / "x.db")).read("tiny")
    add_final(study, Final(id="a", number=0, status="complete", accuracy=81.0))
    assert Storage(str(tmp_path / "x.db")).read("tiny", reading).frame["final_accuracy"].tolist() == [81.0]
    study.set_user_attr("vitscape_final:a", {"id": "a"})
    with pytest.raises(StorageError, match="vitscape_final:a: this training of the study cannot be read: number"):
        results.frame(study)


def test_status_tells_which_finalists_are_trained_now(tmp_path: Path) -> None:
    study = new_study(tmp_path / "x.db")
    add(study, "complete", evaluation(70.0, 1.0))
    storage = Storage(str(tmp_path / "x.db"))
    with sole_searcher(study, {"engine": "local", "finalists": 1}) as driver:
        driver.running[0] = {"step": "in full: epoch 3/5", "where": ""}
        driver.beat()
        claimed = study._storage.get_study_system_attrs(study._study_id)["vitscape_driver"]
        told = status_of(storage.read("tiny"), "x.db", claimed, time.time())
    assert [(one.number, one.step) for one in told.running] == [(0, "in full: epoch 3/5")]
