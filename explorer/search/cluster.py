"""The Ray engine: candidates evaluated on the nodes of a cluster, several at a time, the study written by this process.

Latency is timed alone. With a latency resource the workers on its nodes time, each on a device of its own, and others
train what is within the limits; without, a worker times where it then trains, holding that device's lease: trainings
that share the device pause meanwhile.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from explorer.record import Evaluation, TrialRecord
from explorer.search.attempt import Found, Images
from explorer.search.budget import Budget
from explorer.search.crew import MOST_FALSE_STARTS, Crew, Job, Member, died
from explorer.search.crews import Evaluator, crews
from explorer.search.interrupts import interrupts
from explorer.search.logs import TrialLogs
from explorer.search.progress import SearchProgress
from explorer.search.resources import Cluster
from explorer.search.searching import Begin, Searching
from explorer.search.session import SearchStopped, session
from explorer.search.stopping import Decision, Rule
from explorer.search.study import Plan
from explorer.search.worker import Desk, Heard, Note, Worker, pack
from search_spaces.architecture import Architecture
from search_spaces.errors import InputError

POLL_SECONDS = 0.5
HIRE_SECONDS = 3.0  # between two looks at how much room there is
PATIENCE_SECONDS = 30.0  # without a worker of a kind, before the progress says what they wait for
SHOWN = 3  # trials whose step the progress shows


def run(
    study: optuna.Study,
    plan: Plan,
    budget: Budget,
    presets: list[Architecture],
    progress: SearchProgress,
    rule: Rule | None = None,
    *,
    cluster: Cluster,
    log_dir: Path,
    worker: Evaluator = Worker,
    begin: Begin = session,
) -> str:
    """Why the search ended, in words, after evaluating candidates in a connected cluster until the budget is spent.

    As the local engine (explorer/search/local.py), whose study, proposals, limits and records it shares.

    Raises:
        SearchStopped: ten trials failed in a row, another process searches this study, or no worker can be started.
        InputError: the set-up cannot be used on the nodes; one line.
        KeyboardInterrupt: after the running trials were closed and enqueued again.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    # on our own node, so that it dies with us alone
    desk: Any = ray.remote(Desk).options(num_cpus=0, max_restarts=-1, scheduling_strategy=here).remote(rule)
    at_desk = _AtDesk(desk)
    with (
        interrupts() as check,
        begin(study, plan, budget, presets, progress, None if rule is None else at_desk, engine="ray") as search,
        crews(plan, cluster, desk, rule is not None, worker, progress) as (timers, trainers),
    ):
        engine = _Engine(search, plan, cluster, timers, trainers, progress, TrialLogs(log_dir, progress.warn))
        while engine.goes_on():
            check()
            search.require_ours()
            engine.hire()
            engine.begin()
            engine.collect()
            if engine.is_time_to_tell():
                engine.tell(at_desk.notes())
        engine.tell(at_desk.notes())
    return search.ended or "nothing was asked for"


class _AtDesk:
    """What is at the desk, as the driver knows it: notes, and a rule, which the session teaches."""

    def __init__(self, desk: Any) -> None:
        self.desk = desk
        self.taught: list[tuple[int, TrialRecord]] = []

    def notes(self) -> list[Note]:
        """What the workers have noted since the last asking; nothing where the desk was killed and is begun again.

        One that was begun again has forgotten what its rule had learnt, and is taught it again.
        """
        try:
            heard: Heard = ray.get(self.desk.hear.remote())
        except RayError:
            return []
        for place in range(heard.learnt, len(self.taught)):
            self.desk.learn.remote(place, *self.taught[place])
        return heard.notes

    def decide(self, number: int, architecture: Architecture, so_far: Evaluation) -> Decision:
        found: Decision = ray.get(self.desk.decide.remote(number, architecture, so_far))
        return found

    def learn(self, number: int, record: TrialRecord) -> None:
        self.desk.learn.remote(len(self.taught), number, record)
        self.taught.append((number, record))


class _Engine:
    """The loop's parts."""

    def __init__(
        self,
        search: Searching,
        plan: Plan,
        cluster: Cluster,
        timers: Crew | None,
        trainers: Crew,
        progress: SearchProgress,
        logs: TrialLogs,
    ) -> None:
        self.search, self.work, self.cluster, self.progress, self.logs = search, plan.work, cluster, progress, logs
        self.timers, self.trainers = timers, trainers
        self.crews = [trainers] if timers is None else [timers, *([trainers] if plan.work.trained else [])]
        self.new: deque[Job] = deque()  # to be timed, or all of it
        self.timed: deque[Job] = deque()  # to be trained
        self.images = Images.of(plan.work)
        self.parcels: dict[int, Any] = {}
        self.looked = self.told = -1e9  # at how much room there is; what the workers are at: by the clock

    def goes_on(self) -> bool:
        """Whether there is something under way or to begin."""
        return bool(self.search.under_way) or not self.search.over

    def hire(self) -> None:
        """Fills the crews, and stops where no worker comes to life."""
        now = time.monotonic()
        if now - self.looked < HIRE_SECONDS and all(crew.members for crew in self.crews):
            return
        self.looked = now
        for crew in self.crews:
            if crew.false_starts >= MOST_FALSE_STARTS and not crew.size:
                raise SearchStopped(f"no worker starts: {crew.trouble}")
            crew.fill()
            if crew.unfit and not crew.had_one and not crew.pending:
                raise InputError(f"no worker can be used: {crew.trouble}")

    def begin(self) -> None:
        """Gives work to all that are free; a candidate is chosen when there is somebody for it, and no earlier."""
        while self.timed and self.trainers.free:
            self._start(self.trainers, self.timed.popleft(), profile_only=False)
        first = self.trainers if self.timers is None else self.timers
        while first.free and (self.new or self._choose()):
            self._start(first, self.new.popleft(), profile_only=first is self.timers)

    def collect(self) -> None:
        """Waits a moment for something to end, and finishes it: one, so that its worker has work again at once."""
        awaited = {ready: crew for crew in self.crews for ready in crew.pending}
        if not awaited:
            time.sleep(POLL_SECONDS)
            return
        ready, _ = ray.wait(list(awaited), num_returns=1, timeout=POLL_SECONDS)
        for one in ready:
            for job, found in awaited[one].ended(one):
                self._ended(job, found, awaited[one])

    def is_time_to_tell(self) -> bool:
        """Whether the workers were last asked a while ago."""
        return time.monotonic() - self.told >= POLL_SECONDS

    def tell(self, notes: list[Note]) -> None:
        """Logs what the workers have noted, and shows what they are at."""
        self.told = time.monotonic()
        for note in notes:
            self.logs.write(note.number, note.text, note.where, note.time)
            if note.number in self.search.under_way:
                self.search.says(note.number, note.text, note.where)
        lacking = [crew.missing() for crew in self.crews if crew.lacks_for(PATIENCE_SECONDS)]
        if lacking:
            self.progress.step(lacking[0])
            return
        many = self._size()
        steps = [f"#{number} {told['step']}" for number, told in sorted(self.search.driver.running.items())]
        more = f", {len(steps) - SHOWN} more" if len(steps) > SHOWN else ""
        self.progress.step(f"{many} worker{'s' * (many != 1)}: " + ", ".join(steps[:SHOWN]) + more)

    def _size(self) -> int:
        """How many workers there are."""
        return sum(crew.size for crew in self.crews)

    def _choose(self) -> bool:
        """Puts one more candidate in the queue, unless as many are under way as there are workers."""
        if self.search.over or len(self.search.under_way) >= self._size():
            return False
        candidate = self.search.next()
        if candidate is None:
            return False
        self.search.says(candidate.trial.number, "waiting for a worker")
        self.new.append(Job(candidate, candidate.known))
        return True

    def _start(self, crew: Crew, job: Job, *, profile_only: bool) -> None:
        size = self.work.image_size(job.candidate.architecture)
        if self.work.trained and not profile_only and size not in self.parcels:
            self.parcels[size] = ray.put(pack(self.images.at(size)))
        member = crew.begin(job, profile_only=profile_only, parcels=self.parcels)
        self._note(job, f"begins{' timing' if profile_only else ''}", member)

    def _ended(self, job: Job, found: Found | str | RayError, crew: Crew) -> None:
        if isinstance(found, RayError):
            self._retry(job, died(found))
        elif isinstance(found, str):
            raise InputError(found)
        elif crew is self.timers and found["status"] == "complete" and self.work.trained:
            self.timed.append(replace(job, known=found["evaluation"], seconds=found["seconds"]))
            self.search.says(job.candidate.trial.number, "timed, waiting for a worker to train it")
        else:
            retries = job.candidate.origin.get("retries", 0) + job.deaths
            self._finish(job, found | {"seconds": job.seconds + found["seconds"], "retries": retries})

    def _retry(self, job: Job, reason: str) -> None:
        """Puts a job whose worker died first in its queue, unless too many have."""
        deaths = job.deaths + 1
        self._note(job, f"its worker died ({reason})")
        if deaths > self.cluster.max_retries:
            error = f"{deaths} workers died over this trial, the last by {reason}"
            retries = job.candidate.origin.get("retries", 0) + deaths
            self._finish(job, {"status": "failed", "error": error, "retries": retries})
            return
        queue = self.timed if job.known is not None else self.new
        queue.appendleft(replace(job, deaths=deaths))

    def _finish(self, job: Job, found: Found) -> None:
        number = job.candidate.trial.number
        record = self.search.finish(job.candidate, found)
        self.logs.write(number, f"ends: {record.status}" + (f", {record.error}" if record.error else ""))
        if record.traceback:
            self.logs.write(number, record.traceback)

    def _note(self, job: Job, text: str, member: Member | None = None) -> None:
        number, where = job.candidate.trial.number, "" if member is None else member.where
        self.search.says(number, text, where)
        self.logs.write(number, text, where)
