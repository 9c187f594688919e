"""What the sampler is told of a search space beforehand: which points it has, and what they cost in closed form."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from explorer.evaluate import count
from explorer.limits import Limits
from explorer.metrics import metric
from explorer.search.pareto.domain import Facts, Point, Wanted
from search_spaces.architecture import Architecture
from search_spaces.nodes import Leaf, Value
from search_spaces.space import SearchSpace, place_of

KNOWN = ("macs", "params")  # metrics that closed forms give exactly
REMEMBERED = 20_000  # points whose costs are kept

Key: TypeAlias = frozenset[tuple[str, Any, type]]


class SpaceDomain:
    """A search space as a sampler sees it (explorer/search/pareto/domain.py)."""

    def __init__(self, space: SearchSpace, objectives: tuple[str, ...], limits: Limits) -> None:
        self.space, self.objectives, self.limits = space, objectives, limits
        self._distributions: dict[str, BaseDistribution] = {}
        self._facts: dict[Key, Facts] = {}

    def column(self, name: str) -> str:
        """The place of a choice, whichever options are possible there."""
        return place_of(name)

    def complete(self, wanted: Wanted, rng: np.random.Generator) -> Point:
        """The point with what is wanted, or the nearest possible to it, and chance for what is not mentioned."""
        params: dict[str, Value] = {}
        point = Point({}, {})

        def decide(name: str, options: tuple[Value, ...], leaf: Leaf | None) -> Value:
            value = _near(wanted.get(self.column(name), _ANY), options, rng)
            distribution = self._distribution(name, options, leaf)
            params[name], point.distributions[name] = value, distribution
            point.values[name] = distribution.to_internal_repr(value)
            return value

        self._note(params, self.space.compose(decide))
        return point

    def facts(self, params: Mapping[str, Any]) -> Facts:
        """Objectives and limits known in closed form, and the logarithms of MACs, parameters and activations.

        Raises:
            KeyError: a point that is none of the space's.
        """
        key = _key(params)
        if key not in self._facts:
            self._note(params, self.space.compose(lambda name, options, leaf: params[name]))
        return self._facts[key]

    def _note(self, params: Mapping[str, Any], architecture: Architecture) -> None:
        key = _key(params)
        if key in self._facts:
            return
        if len(self._facts) >= REMEMBERED:
            self._facts.clear()
        counted = count(architecture, self.limits)
        self._facts[key] = Facts(
            values=tuple(metric(name).read(counted) if name in KNOWN else None for name in self.objectives),
            constraints={name: value for name, value in self.limits.constraints(counted).items() if name in KNOWN},
            features=tuple(math.log(max(n, 1)) for n in (counted.macs, counted.params, counted.activations)),
        )

    def _distribution(self, name: str, options: tuple[Value, ...], leaf: Leaf | None) -> BaseDistribution:
        """The distribution that `SearchSpace.suggest` asks a trial for."""
        if name not in self._distributions:
            ranged = leaf is not None and leaf.step is not None and options == leaf.options
            low, high = options[0], options[-1]
            if ranged and isinstance(low, int) and isinstance(high, int) and leaf is not None and leaf.step is not None:
                self._distributions[name] = IntDistribution(low, high, step=leaf.step)
            else:
                self._distributions[name] = CategoricalDistribution(options)
        return self._distributions[name]


_ANY = object()


def _near(wanted: Any, options: tuple[Value, ...], rng: np.random.Generator) -> Value:
    for option in options:
        if option == wanted and type(option) is type(wanted):
            return option
    numbers = [option for option in options if isinstance(option, int | float) and not isinstance(option, bool)]
    if numbers and isinstance(wanted, int | float) and not isinstance(wanted, bool):
        return min(numbers, key=lambda option: abs(option - wanted))
    return options[int(rng.integers(len(options)))]


def _key(params: Mapping[str, Any]) -> Key:
    return frozenset((name, value, type(value)) for name, value in params.items())  # 1 == True, and yet two choices
