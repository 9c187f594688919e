"""What the engines ask of whatever has architectures evaluated: a search, or its final stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias

from optuna.trial import FrozenTrial, Trial

from explorer.record import Evaluation
from explorer.search.attempt import Found
from explorer.search.driver import Driver
from search_spaces.architecture import Architecture


class Asked(Protocol):
    """What an engine evaluates: a candidate of a search, or a finalist."""

    @property
    def trial(self) -> Trial | FrozenTrial:
        """The trial that it is of."""

    @property
    def architecture(self) -> Architecture:
        """What is to be evaluated."""

    @property
    def origin(self) -> Mapping[str, Any]:
        """Where it comes from; "retries": how often it was tried before."""

    @property
    def known(self) -> Evaluation | None:
        """What is known of it already, so that only training is left."""


class Outcome(Protocol):
    """What an engine says of something that has ended."""

    @property
    def status(self) -> str:
        """In a word."""

    @property
    def error(self) -> str | None:
        """One line, where it failed."""

    @property
    def traceback(self) -> str | None:
        """Where in the program it failed."""


class Searching(Protocol):
    """A run over architectures under this process's claim on the study."""

    driver: Driver

    @property
    def under_way(self) -> Mapping[int, Any]:
        """What was asked for and has not ended, by trial."""

    @property
    def over(self) -> bool:
        """Whether nothing more is begun."""

    @property
    def ended(self) -> str | None:
        """Why nothing more is begun, in words."""

    def next(self) -> Any:
        """The next to evaluate, an Asked; None where none is to be begun, or not before another ends."""

    def says(self, number: int, step: str, where: str = "") -> None:
        """Keeps what one is at, for `vitscape status`."""

    def require_ours(self) -> None:
        """Raises SearchStopped where another process has taken the study over."""

    def finish(self, candidate: Any, found: Found) -> Outcome:
        """Writes what was found of one to the study."""


Begin: TypeAlias = Callable[..., AbstractContextManager[Searching]]  # as explorer.search.session.session
