"""What runs on the nodes of a cluster: workers, which evaluate candidates, and the desk, where they report.

A worker is a long-lived process that owns its share of a device and does one thing at a time. It never sees the
storage.
"""

from __future__ import annotations

import os
import platform
import time
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
import ray
import torch

from explorer.proxy.dataset import Dataset, tensor_of
from explorer.record import Evaluation, TrialRecord
from explorer.search.attempt import Found, Images, Work, attempt
from explorer.search.place import Place
from explorer.search.stopping import Decision, Rule
from search_spaces.architecture import Architecture
from search_spaces.errors import InputError


class Hello(NamedTuple):
    """What a worker says of itself once it is there."""

    where: str  # "node-3, process 1234"
    node: str  # Ray's id of it
    place: Place | None  # the device that it measures on; None where it cannot
    reason: str  # why it cannot


class Note(NamedTuple):
    """A line of a trial's log."""

    number: int
    time: float  # seconds since 1970, by the worker's clock
    where: str
    text: str


class Heard(NamedTuple):
    """What the desk says when it is asked."""

    notes: list[Note]  # what has come since the last asking
    learnt: int  # records that the rule was taught, of all that there are


class Desk:
    """An actor beside the driver: collects what trials are at, and asks the stopping rule, in the order of arrival."""

    def __init__(self, rule: Rule | None) -> None:
        self.rule = rule
        self.kept: list[Note] = []
        self.learnt = 0

    def note(self, note: Note) -> None:
        self.kept.append(note)

    def hear(self) -> Heard:
        found, self.kept = self.kept, []
        return Heard(found, self.learnt)

    def decide(self, number: int, architecture: Architecture, so_far: Evaluation) -> Decision:
        return Decision() if self.rule is None else self.rule.decide(number, architecture, so_far)

    def learn(self, place: int, number: int, record: TrialRecord) -> None:
        """Teaches the rule a record, the one that has its turn: a desk that is begun again waits for the first one."""
        if self.rule is not None and place == self.learnt:
            self.learnt += 1
            self.rule.learn(number, record)


class Worker:
    """An actor that evaluates candidates, one after the other."""

    def __init__(self, work: Work, desk: Any, stops: bool) -> None:
        self.work, self.desk, self.stops = work, desk, stops
        self.where = f"{platform.node()}, process {os.getpid()}"
        self.parcels: dict[int, Any] = {}  # image size -> reference of its packed data
        self.images = Images(lambda image_size: unpack(ray.get(self.parcels[image_size])))

    def hello(self) -> Hello:
        node = ray.get_runtime_context().get_node_id()
        try:
            return Hello(self.where, node, Place.here(self.work.setup), "")
        except InputError as error:
            return Hello(self.where, node, None, str(error))

    def run(
        self,
        number: int,
        architecture: Architecture,
        known: Evaluation | None,
        profile_only: bool,
        parcels: dict[int, Any],
    ) -> Found | str:
        """What was found of a candidate; in words, where the set-up is at fault."""
        self.parcels = parcels

        def say(text: str) -> None:
            self.desk.note.remote(Note(number, time.time(), self.where, text))

        def decide(so_far: Evaluation) -> Decision:
            if not self.stops:
                return Decision()
            try:
                found: Decision = ray.get(self.desk.decide.remote(number, architecture, so_far))
            except ray.exceptions.RayActorError:  # the desk was killed, and is begun again
                return Decision()
            return found

        try:
            if self.work.trained and not profile_only:
                self.images.at(self.work.image_size(architecture))  # what Ray cannot fetch is not the candidate's fault
            return attempt(
                architecture,
                self.work,
                self.images,
                profile_only=profile_only,
                known=known,
                on_step=say,
                decide=decide,
            )
        except InputError as error:
            return f"on {self.where}: {error}"


IMAGES = ("train_images", "val_images")  # of a data set


def pack(dataset: Dataset) -> dict[str, Any]:
    """A data set as numpy arrays: Ray keeps those once a node, and all its workers read them in place."""
    found = {field.name: getattr(dataset, field.name) for field in fields(dataset)}
    for name in IMAGES:  # as they lie in memory: old versions of numpy pickle no other order without a copy
        found[name] = found[name].permute(0, 2, 3, 1)
    return {name: value.numpy() if isinstance(value, torch.Tensor) else value for name, value in found.items()}


def unpack(packed: dict[str, Any]) -> Dataset:
    """The data set again, its tensors in the memory of the arrays."""
    found: dict[str, Any] = {name: tensor_of(v) if isinstance(v, np.ndarray) else v for name, v in packed.items()}
    for name in IMAGES:
        found[name] = found[name].permute(0, 3, 1, 2)
    return Dataset(**found)
