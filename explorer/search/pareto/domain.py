"""Where points come from: from what trials were asked, or from a space that is known beforehand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeAlias

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from explorer.search.pareto.tree import Decision, Node, Tree, count, external, is_new, left

Key: TypeAlias = frozenset[tuple[str, float]]
Wanted: TypeAlias = Mapping[str, Any]  # by column: the value as a trial sees it

STEP = 0.15  # of a continuous parameter, in parts of its range


@dataclass(frozen=True, eq=False)
class Point:
    """Decisions in the order in which a trial makes them, and what each was chosen from."""

    values: dict[str, float]  # by parameter, as Optuna stores them
    distributions: dict[str, BaseDistribution]

    @cached_property
    def key(self) -> Key:
        """What tells it from other points; once it is complete."""
        return frozenset(self.values.items())

    @cached_property
    def params(self) -> dict[str, Any]:
        """All values as a trial sees them; once it is complete."""
        return {name: external(self.distributions[name], value) for name, value in self.values.items()}


@dataclass(frozen=True)
class Facts:
    """What is known of a point for nothing."""

    values: tuple[float | None, ...] = ()  # objectives known exactly; None where only an evaluation tells
    constraints: Mapping[str, float] | None = None  # known exactly, feasible where <= 0
    features: tuple[float, ...] = ()  # numbers that objectives are likely to follow, as many for every point


def excess(constraints: Mapping[str, float] | None) -> float:
    """By how much constraints are violated, all together; 0 where none is."""
    return sum(max(0.0, value) for value in (constraints or {}).values())


class Domain(Protocol):
    """A space that is known beforehand."""

    def column(self, name: str) -> str:
        """What a parameter is a choice of: several parameters may be one choice under several conditions."""

    def complete(self, wanted: Wanted, rng: np.random.Generator) -> Point:
        """The point that has what is wanted as far as that is possible together, and something for all the rest."""

    def facts(self, params: Mapping[str, Any]) -> Facts:
        """What is known of the point with these parameters, as a trial sees them."""


class Learned:
    """The space as far as trials have shown it."""

    def __init__(self, tree: Tree, column: Callable[[str], str]) -> None:
        self.tree, self.column = tree, column

    def complete(self, wanted: Wanted, rng: np.random.Generator) -> Point:
        """The point that follows what is wanted wherever that leads to something new, and chance elsewhere."""
        node: Node | None = self.tree.root
        last: Decision | None = None
        point = Point({}, {})
        while (question := self.tree.next(node, last)) is not None and question[0] not in point.values:
            name, distribution = question
            value = choose(node, distribution, wanted.get(self.column(name), ABSENT), rng)
            point.values[name], point.distributions[name] = value, distribution
            node, last = (None if node is None else node.children.get(value)), (name, value)
        return point


class _Absent:
    """Of no value."""


ABSENT = _Absent()


def choose(node: Node | None, distribution: BaseDistribution, wanted: Any, rng: np.random.Generator) -> float:
    """The value wanted where that leads to something new, else one that does, near it where there is a scale."""
    target = internal(distribution, wanted)
    if target is not None and not isinstance(distribution, FloatDistribution) and is_new(node, target):
        return target
    values = left(node, distribution)
    if not values:  # too many to list, or all that lies behind is known
        return target if target is not None else draw(distribution, rng)
    if target is not None and target in values:
        return target
    if target is not None and len(values) > 1 and not isinstance(distribution, CategoricalDistribution):
        near = sorted(values, key=lambda value: abs(value - target))
        return near[int(rng.integers(min(2, len(near))))]
    return values[int(rng.integers(len(values)))]


def draw(distribution: BaseDistribution, rng: np.random.Generator) -> float:
    """A random value."""
    if isinstance(distribution, CategoricalDistribution):
        return float(rng.integers(len(distribution.choices)))
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    if distribution.log:
        value = float(np.exp(rng.uniform(np.log(distribution.low), np.log(distribution.high))))
    else:
        value = float(rng.uniform(distribution.low, distribution.high))
    return _onto_grid(distribution, value)


def moved(distribution: BaseDistribution, value: float, rng: np.random.Generator) -> float:
    """Another value: half the time a neighbour where there is a scale, else any."""
    if isinstance(distribution, FloatDistribution) and distribution.step is None:
        if distribution.log:
            span = np.log(distribution.high / distribution.low)
            return _onto_grid(distribution, float(value * np.exp(rng.normal(0, STEP * span))))
        span = distribution.high - distribution.low
        return _onto_grid(distribution, float(value + rng.normal(0, STEP * span)))
    size = int(count(distribution))
    if size < 2:
        return value
    if isinstance(distribution, CategoricalDistribution):
        numbers = [isinstance(choice, int | float) and not isinstance(choice, bool) for choice in distribution.choices]
        scale, low, step = all(numbers), 0.0, 1.0
    else:
        assert isinstance(distribution, IntDistribution | FloatDistribution)
        scale, low, step = True, float(distribution.low), float(distribution.step or 1)
    index = round((value - low) / step)
    near = [i for i in (index - 1, index + 1) if 0 <= i < size]
    if scale and near and rng.random() < 0.5:
        return low + step * near[int(rng.integers(len(near)))]
    other = int(rng.integers(size - 1))
    return low + step * (other + (other >= index))


def internal(distribution: BaseDistribution, wanted: Any) -> float | None:
    """A value as Optuna stores it; None where the distribution does not have it."""
    if wanted is ABSENT:
        return None
    try:
        value = distribution.to_internal_repr(wanted)
        if isinstance(distribution, CategoricalDistribution):  # 1 == True in Python, not here
            return value if type(distribution.choices[int(value)]) is type(wanted) else None
        return value if distribution._contains(value) else None
    except (ValueError, TypeError, OverflowError):
        return None


def _onto_grid(distribution: IntDistribution | FloatDistribution, value: float) -> float:
    if distribution.step is not None:
        value = distribution.low + round((value - distribution.low) / distribution.step) * distribution.step
    value = min(max(value, distribution.low), distribution.high)
    return float(round(value)) if isinstance(distribution, IntDistribution) else float(value)
