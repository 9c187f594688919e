"""The Ray engine on a cluster of several nodes, simulated here: kills, timing alone, proposals, early stopping."""

from __future__ import annotations

import gc
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from explorer import results
from explorer.record import TrialRecord
from explorer.search import driver
from explorer.search.session import SearchStopped
from explorer.storage import ATTRIBUTE, load_study
from tests.minis import MINI, environment, vitscape
from tests.nodes import AUTH, cluster, ended, logs, on, until
from tests.postgres import binaries, launched
from tests.studies import new_study

pytestmark = [
    pytest.mark.xdist_group("cluster"),  # they share the nodes
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # of Ray's and Optuna's own pools and processes
]
NODE = {"num_cpus": 2, "num_gpus": 1}
SHORT = ("--data", "digits", "--epochs", "1", "--gpus-per-trial", "1")
COUNTED = ("--objectives", "macs,params", "--sampler", "tpe", "--seed", "7")


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """Two nodes with a GPU each that is not there, one of them the target device."""
    with cluster(NODE, {**NODE, "resources": {"target": 1}}) as made:
        yield made


@pytest.fixture(autouse=True)
def _space(tmp_path: Path) -> Iterator[None]:
    (tmp_path / "mini.yaml").write_text(MINI)
    yield
    gc.collect()  # while the warnings of what is left open are of this test


def records(study: optuna.Study) -> dict[int, TrialRecord]:
    """The records of all trials that have one."""
    stored = {trial.number: trial.user_attrs.get(ATTRIBUTE) for trial in study.get_trials(deepcopy=False)}
    return {number: TrialRecord.model_validate(one) for number, one in stored.items() if one is not None}


def test_thirty_trials_outlive_a_lost_node_and_a_killed_driver_and_are_timed_one_at_a_time(tmp_path: Path) -> None:
    programs = binaries()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with launched(programs) as server, cluster(NODE, NODE, NODE) as made:
        url = server.url()
        words = (
            "tiny_32",
            "--study",
            "s",
            "--storage",
            url,
            "--trials",
            "30",
            "--max-macs",
            "1M",
            *SHORT,
            "--stopping",
            "none",
        )
        folder = tmp_path / "runs" / "logs" / "s"

        def finished() -> int:
            return sum("ends:" in line for lines in logs(folder).values() for line in lines)

        first = on(made, *words, cwd=tmp_path)
        until(lambda: finished() >= 8, first)
        first.kill()
        first.wait()
        second = on(made, *words, cwd=tmp_path)
        until(lambda: finished() >= 15, second)
        lost = next(node for node in made.list_all_nodes() if node is not made.head_node)
        made.remove_node(lost, allow_graceful=False)
        told = ended(second)
        study = load_study("s", url)
        frame = results.frame(study)
        found = records(study)
        states = {trial.state for trial in study.get_trials(deepcopy=False)}
        study._storage._backend.engine.dispose()  # type: ignore[attr-defined]
    complete = frame[frame["status"] == "complete"]
    assert "30 trials are done" in told
    assert len(complete) == 30
    assert complete["id"].is_unique
    assert not (frame["status"] == "failed").any()
    assert all(state.is_finished() for state in states)
    died = [number for number, lines in logs(folder).items() if any("its worker died" in line for line in lines)]
    assert died  # those on the lost node
    assert all(found[number].retries == 1 for number in died)
    assert (frame["status"] == "interrupted").sum() >= 1  # those of the killed driver
    latencies = [one.evaluation.latency for one in found.values() if one.evaluation and one.evaluation.latency]
    occasions = sorted((one.occasion for one in latencies if one.occasion), key=lambda one: one.began)
    assert len(occasions) >= 30
    assert len({one.place for one in occasions}) == 1  # the nodes are one machine
    assert all(one.ended <= other.began for one, other in pairwise(occasions))


def test_one_at_a_time_both_engines_propose_the_same(nodes: Any, tmp_path: Path) -> None:
    words = ("mini.yaml", "--trials", "14", *COUNTED)
    ended(on(nodes, *words, "--study", "ray", "--storage", "a.db", "--workers", "1", cwd=tmp_path))
    vitscape("search", *words, "--study", "local", "--storage", "a.db", "--device", "cpu", cwd=tmp_path, check=True)
    both = [load_study(name, str(tmp_path / "a.db")) for name in ("ray", "local")]
    proposed = [[trial.params for trial in study.get_trials(deepcopy=False)] for study in both]
    assert proposed[0] == proposed[1]
    assert len(proposed[0]) >= 14


def test_timing_is_sent_to_the_nodes_of_the_latency_resource(nodes: Any, tmp_path: Path) -> None:
    words = ("mini.yaml", "--study", "s", "--storage", "a.db", "--trials", "5", "--data", "digits", "--epochs", "1")
    ended(on(nodes, *words, "--latency-resource", "target", "--workers", "2", cwd=tmp_path))
    frame = results.frame(load_study("s", str(tmp_path / "a.db")))
    assert (frame["status"] == "complete").sum() == 5
    assert frame["latency_ms"].notna().all()
    lines = [line for lines in logs(tmp_path / "logs" / "s").values() for line in lines]
    timers = {re.findall(r"process \d+", line)[0] for line in lines if re.search("  timing", line)}
    trainers = {re.findall(r"process \d+", line)[0] for line in lines if "  epoch 1/1" in line}
    assert len(timers) == 1
    assert trainers
    assert not timers & trainers


def test_a_trial_whose_worker_is_killed_is_tried_again_and_at_last_recorded_as_failed(
    nodes: Any, tmp_path: Path
) -> None:
    words = ("mini.yaml", "--study", "s", "--storage", "a.db", "--trials", "3", "--data", "digits", "--epochs", "40")
    search = on(nodes, *words, "--workers", "1", "--max-retries", "1", "--log-dir", "logs", cwd=tmp_path)
    for death in (1, 2):

        def training() -> list[str]:
            told = logs(tmp_path / "logs").get(0, [])
            seen = [re.findall(r"process (\d+)  epoch", line) for line in told]
            return list(dict.fromkeys(pid for found in seen for pid in found))

        until(lambda death=death: len(training()) == death, search)  # type: ignore[misc]
        os.kill(int(training()[-1]), signal.SIGKILL)
    until(lambda: "ends: failed" in logs(tmp_path / "logs")[0][-1], search)
    search.send_signal(signal.SIGINT)
    search.communicate(timeout=60)
    first = records(load_study("s", str(tmp_path / "a.db")))[0]
    assert first.error is not None
    assert first.error.startswith("2 workers died over this trial, the last by ")
    assert first.retries == 2


def test_after_ctrl_c_the_same_command_goes_on_and_nothing_is_lost_or_doubled(nodes: Any, tmp_path: Path) -> None:
    where = ("--study", "s", "--storage", "a.db", "--log-dir", "logs")
    words = ("mini.yaml", *where, "--trials", "8", *SHORT, "--stopping", "none")
    first = on(nodes, *words, cwd=tmp_path)
    until(lambda: any("epoch" in line for lines in logs(tmp_path / "logs").values() for line in lines), first)
    first.send_signal(signal.SIGINT)
    _, err = first.communicate(timeout=60)
    assert first.returncode == 130, err
    assert "the same command continues" in err
    states = Counter(trial.state for trial in load_study("s", str(tmp_path / "a.db")).get_trials(deepcopy=False))
    assert not states[TrialState.RUNNING]
    assert states[TrialState.WAITING]
    ended(on(nodes, *words, cwd=tmp_path))
    frame = results.frame(load_study("s", str(tmp_path / "a.db")))
    complete = frame[frame["status"] == "complete"]
    assert len(complete) == 8
    assert complete["id"].is_unique


RULE = """
import sys
from pathlib import Path
from rich.console import Console
from explorer import Setup, results, search
from explorer.proxy.train import TrainSettings
from explorer.search.resources import Cluster
from search_spaces.space import parse_space

class OddOnesGoOn:
    def __init__(self):
        self.learnt = []
    def goes_on(self, number, so_far):
        return number % 2 == 1 or len(so_far.accuracy_by_epoch) < 2
    def learn(self, number, found):
        self.learnt.append(number)

found = search(
    parse_space(Path("mini.yaml").read_text()), study=sys.argv[1], storage="a.db", trials=6, data="digits",
    objectives=("accuracy", "macs"), setup=Setup("cpu"), settings=TrainSettings(epochs=4), stopping=OddOnesGoOn(),
    cluster=None if sys.argv[2] == "local" else Cluster(sys.argv[2]), console=Console(quiet=True),
)
"""


@pytest.mark.parametrize("engine", ["ray", "local"])
def test_a_rule_stops_trials_that_train(nodes: Any, tmp_path: Path, engine: str) -> None:
    (tmp_path / "rule.py").write_text(RULE)
    address = nodes.address if engine == "ray" else "local"
    root = str(Path(__file__).parent.parent)
    told = environment(tmp_path) | AUTH | {"PYTHONPATH": root}
    done = subprocess.run(
        [sys.executable, "rule.py", "s", address], cwd=tmp_path, env=told, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    study = load_study("s", str(tmp_path / "a.db"))
    own = {number: one for number, one in records(study).items() if one.status in ("complete", "stopped")}
    assert len(own) == 6
    for number, record in own.items():
        assert record.evaluation is not None
        assert record.status == ("complete" if number % 2 else "stopped")
        assert len(record.evaluation.accuracy_by_epoch) == (4 if number % 2 else 2)
        state = study.get_trials(deepcopy=False)[number].state
        assert state == (TrialState.COMPLETE if number % 2 else TrialState.PRUNED)
    front = results.front(results.frame(study))
    assert all(number % 2 for number in front["number"])


FORGETFUL = """
import os, signal, sys
from pathlib import Path
from rich.console import Console
from explorer import Setup, search
from explorer.proxy.train import TrainSettings
from explorer.search.resources import Cluster
from search_spaces.space import parse_space

class EndsWhatItKnows:
    def __init__(self):
        self.folder, self.learnt = Path.cwd(), []
    def goes_on(self, number, so_far):
        return len(self.learnt) < 3 and (self.folder / "killed").exists()
    def learn(self, number, found):
        self.learnt.append(number)
        with open(self.folder / f"learnt-{os.getpid()}", "a") as file:
            print(number, file=file)
        if len(self.learnt) == 3 and not (self.folder / "killed").exists():
            (self.folder / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)

search(
    parse_space(Path("mini.yaml").read_text()), study="s", storage="a.db", trials=9, data="digits",
    objectives=("accuracy", "macs"), setup=Setup("cpu"), settings=TrainSettings(epochs=200), stopping=EndsWhatItKnows(),
    gating=False, cluster=Cluster(sys.argv[1], workers=1), console=Console(quiet=True),
)
"""


def test_a_rule_whose_process_is_killed_is_taught_again_what_it_had_learnt(nodes: Any, tmp_path: Path) -> None:
    (tmp_path / "rule.py").write_text(FORGETFUL)
    told = environment(tmp_path) | AUTH | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    words = [sys.executable, "rule.py", nodes.address]
    done = subprocess.run(words, cwd=tmp_path, env=told, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    study = load_study("s", str(tmp_path / "a.db"))
    own = {number: one for number, one in records(study).items() if one.status in ("complete", "stopped")}
    assert [one.status for one in own.values()] == ["stopped"] * 9
    first, second = sorted(tmp_path.glob("learnt-*"), key=lambda file: file.stat().st_mtime)
    assert first.read_text().split() == [str(number) for number in sorted(own)[:3]]
    assert second.read_text().split()[:8] == [str(number) for number in sorted(own)[:8]]


def test_what_cannot_reach_the_front_is_not_trained_on_a_cluster_either(nodes: Any, tmp_path: Path) -> None:
    words = ("mini.yaml", "--study", "s", "--storage", "a.db", "--trials", "24", "--sampler", "random")
    how = ("--data", "digits", "--epochs", "1", "--latency-resource", "target", "--workers", "2")
    told = ended(on(nodes, *words, *how, cwd=tmp_path))
    found = records(load_study("s", str(tmp_path / "a.db"))).values()
    stopped = [one for one in found if one.status == "stopped"]
    assert sum(one.status == "complete" for one in found) + len(stopped) == 24
    assert any(one.stopped_after == 0 for one in stopped)
    for one in stopped:
        assert one.evaluation is not None
        assert one.evaluation.latency is not None  # it was timed, where that is done
        assert len(one.evaluation.accuracy_by_epoch) == one.stopped_after
        assert one.expected_accuracy is not None
    assert " 0 stopped early, " in told


def test_gpus_of_several_kinds_are_refused_until_one_is_chosen(tmp_path: Path) -> None:
    kinds = ({"accelerator_type:H200": 1}, {"accelerator_type:L4": 1})
    with cluster(*({**NODE, "resources": kind} for kind in kinds)) as made:
        command = [sys.executable, "-m", "explorer.cli", "search", "mini.yaml", "--engine", "ray", "--device", "cuda"]
        command += ["--address", made.address]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment(tmp_path) | AUTH, capture_output=True, text=True, timeout=90
        )
        assert done.returncode == 2, done.stderr
        (line,) = [one for one in done.stderr.splitlines() if one.startswith("error: ")]
        assert line.startswith("error: accelerator-type: the cluster has GPUs of 2 kinds, H200 (1), L4 (1), whose")
        words = (
            "mini.yaml",
            "--study",
            "s",
            "--storage",
            "a.db",
            "--trials",
            "2",
            "--accelerator-type",
            "L4",
            *COUNTED,
        )
        ended(on(made, *words, "--gpus-per-trial", "1", cwd=tmp_path))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--engine", "ray", "--workers", "0"), "workers=0: give at least 1"),
        (("--engine", "ray", "--gpus-per-trial", "1.5"), "gpus-per-trial=1.5: give a share of one below 1"),
        (("--engine", "ray", "--cpus-per-trial", "0"), "cpus-per-trial=0: give a share of one below 1"),
        (("--engine", "ray", "--max-retries", "-1"), "max-retries=-1: give 0 or more"),
        (("--engine", "ray", "--address", "ray://x:1"), "address=ray://x:1: a Ray client cannot search"),
        (("--workers", "2"), "workers=2: only of a cluster; give --engine ray with it"),
    ],
)
def test_an_option_that_cannot_be_is_one_line(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    done = vitscape("search", "mini.yaml", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {told}")
    assert len(done.stderr.splitlines()) == 1


def test_a_second_driver_is_told_who_holds_the_study_and_takes_over_one_that_is_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "BEAT_SECONDS", 0.4)
    monkeypatch.setattr(driver, "_is_sqlite", lambda study: False)  # as in a database that several machines reach
    study = new_study(tmp_path / "a.db")
    with driver.driving(study, {"engine": "ray"}, SearchStopped) as held:
        held.about |= {"host": "node-3", "machine": "node-3"}
        held.beat()
        with (
            pytest.raises(SearchStopped, match=f"process {os.getpid()} on node-3 is searching study 'tiny' already"),
            driver.driving(study, {}, SearchStopped),
        ):
            pass
        left = driver.claim(study._storage, study._study_id)
    assert left is not None
    ended_claim = driver.claim(study._storage, study._study_id)
    assert ended_claim is not None
    assert driver.has_ended(ended_claim)
    study._storage.set_study_system_attr(study._study_id, driver.CLAIM, left)  # as it was, and nobody beats any more
    began = time.monotonic()
    with driver.driving(study, {}, SearchStopped) as mine:
        assert time.monotonic() - began > driver.DEAD_BEATS * 0.4
        study._storage.set_study_system_attr(study._study_id, driver.CLAIM, left)  # it comes back after all
        mine.beat()
        assert mine.taken_by == f"process {os.getpid()} on node-3"


def test_what_a_worker_lacks_is_said_while_it_is_waited_for(nodes: Any) -> None:
    script = (
        "import sys, ray\n"
        "from explorer import Cluster\n"
        "from explorer.search.nodes import connected, says_what_is_missing, room\n"
        "cluster = Cluster(sys.argv[1], cpus_per_trial=64, latency_resource='target')\n"
        "with connected(cluster):\n"
        "    print(says_what_is_missing(cluster.of_trial('cpu')))\n"
        "    one = Cluster(sys.argv[1], gpus_per_trial=0.5, latency_resource='target')\n"
        "    print(room(cluster.of_trial('cpu')), room(one.of_trial('cuda')))\n"
        "    print(room(one.of_trial('cuda'), one.of_timer('cuda')))\n"
    )
    told = {**os.environ, **AUTH}
    done = subprocess.run(
        [sys.executable, "-c", script, nodes.address], env=told, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines() == [
        "waiting for a node with CPU 64; the cluster's 3 nodes have CPU 4",
        "0 4",  # two share each GPU
        "2",  # the target's GPU is the timer's
    ], done.stderr


def test_a_cluster_trains_at_a_fidelity_and_its_finalists_in_full_as_one_process_does(
    nodes: Any, tmp_path: Path
) -> None:
    words = ("mini.yaml", "--study", "s", "--trials", "2", "--data", "digits", "--objectives", "accuracy,macs")
    words += ("--epochs", "3", "--fidelity", "epochs=1,image_size=12,data=0.5", "--finalists", "2")
    told = ended(on(nodes, *words, "--storage", "ray.db", "--workers", "1", cwd=tmp_path))
    alone = environment(tmp_path) | {"OMP_NUM_THREADS": "1"}  # as many as a worker has: sums are in the same order
    command = [sys.executable, "-m", "explorer.cli", "search", *words, "--storage", "local.db", "--device", "cpu"]
    subprocess.run(command, cwd=tmp_path, env=alone, capture_output=True, check=True)
    frames = [results.frame(load_study("s", str(tmp_path / name))) for name in ("ray.db", "local.db")]
    assert "Finalists of s" in told
    assert frames[0]["id"].tolist() == frames[1]["id"].tolist()
    for column in ("accuracy", "final_accuracy"):
        assert frames[0][column].notna().all()
        assert frames[0][column].tolist() == frames[1][column].tolist()
    lines = [line for found in logs(tmp_path / "logs" / "s").values() for line in found]
    assert sum("epoch 3/3" in line for line in lines) == 2
