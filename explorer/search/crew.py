"""The workers of one kind that a search has in a cluster: hired as there is room, given work, missed when they die."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError

from explorer.record import Evaluation
from explorer.search.nodes import alive
from explorer.search.searching import Asked
from explorer.search.worker import Hello

MOST_FALSE_STARTS = 3  # workers that died before they said a word, one after another


@dataclass
class Job:
    """A candidate and how far it has come."""

    candidate: Asked
    known: Evaluation | None = None  # what timing has found, where that was done elsewhere
    seconds: float = 0.0  # that it took
    deaths: int = 0  # workers that died over it


@dataclass(eq=False)
class Member:
    """A worker."""

    actor: Any
    where: str = "not there yet"
    node: str = ""
    job: Job | None = None


@dataclass
class Crew:
    """Workers that are alike. `fits` says why one cannot be used, by what it says of itself; that one is left idle."""

    hire: Callable[[], Any]  # an actor
    room: Callable[[], int]
    fits: Callable[[Hello], str | None]
    missing: Callable[[], str]  # what another one would need, and what there is
    warn: Callable[[str], None]
    free: list[Member] = field(default_factory=list)
    unfit: list[Member] = field(default_factory=list)
    pending: dict[Any, Member] = field(default_factory=dict)  # by what is awaited of them
    false_starts: int = 0
    trouble: str = ""  # why the last worker died or was not fit
    had_one: bool = False  # that fits
    alone: float = field(default_factory=time.monotonic)  # since when there has been none

    @property
    def members(self) -> list[Member]:
        """Those that are there or were called."""
        return [*self.free, *self.unfit, *self.pending.values()]

    @property
    def size(self) -> int:
        """How many work or could."""
        return len(self.free) + sum(member.job is not None for member in self.pending.values())

    def fill(self) -> None:
        """Hires as many as there is room for, after missing those whose nodes are gone."""
        up = {node["NodeID"] for node in alive()}
        for kept in (self.free, self.unfit):
            kept[:] = [member for member in kept if member.node in up]
        if self.size:
            self.alone = time.monotonic()
        for _ in range(self.room() - len(self.members)):
            actor = self.hire()
            self.pending[actor.hello.remote()] = Member(actor)

    def lacks_for(self, seconds: float) -> bool:
        """Whether there has been none for so long."""
        return not self.size and time.monotonic() - self.alone > seconds

    def begin(self, job: Job, **how: Any) -> Member:
        """Gives a job to a worker that is free."""
        member = self.free.pop()
        member.job = job
        candidate = job.candidate
        asked = member.actor.run.remote(candidate.trial.number, candidate.architecture, job.known, **how)
        self.pending[asked] = member
        return member

    def ended(self, ready: Any) -> Iterator[tuple[Job, Any]]:
        """The job that a reference ends, with what was found or the RayError of its worker's death; none of a hello."""
        member = self.pending.pop(ready)
        job, member.job = member.job, None
        try:
            found = ray.get(ready)
        except RayError as error:
            self._miss(member, error)
            if job is None:
                self.false_starts += 1
            else:
                yield job, error
            return
        if job is not None:
            self.free.append(member)
            yield job, found
            return
        self.false_starts, member.where, member.node = 0, found.where, found.node
        reason = self.fits(found)
        if reason is None:
            self.free.append(member)
            self.had_one = True
            return
        # It keeps its place, lest another one is started there
        self.unfit.append(member)
        self.trouble = f"{found.where}: {reason}"
        self.warn(f"left idle: {self.trouble}")

    def dismiss(self) -> None:
        """Ends all."""
        for member in self.members:
            ray.kill(member.actor)
        self.free, self.unfit, self.pending = [], [], {}

    def _miss(self, member: Member, error: RayError) -> None:
        self.trouble = f"{member.where}: {died(error)}"
        ray.kill(member.actor)


def died(error: RayError) -> str:
    """Why a worker died, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = next((line for line in lines if line.startswith(("The actor died", "The actor is dead", "Worker"))), "")
    return f"{type(error).__name__}: {(told or (lines or [''])[0])[:200]}"
