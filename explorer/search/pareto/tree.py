"""What a study was asked so far, as a tree of decisions: which values lead to something new, and what comes next.

Optuna's studies are defined by running them: which parameter is asked for may depend on the values of those before it.
The tree is learned from the trials themselves, in the order in which each made its decisions.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

Decision: TypeAlias = tuple[str, float]  # (parameter, value as Optuna stores it: an index for a category)
Question: TypeAlias = tuple[str, BaseDistribution]

MOST_LISTED = 256  # values of a parameter


class Node:
    """A state of a trial: what was decided is the path from the root, `name` is what is asked for next."""

    __slots__ = ("children", "distribution", "done", "name")

    def __init__(self) -> None:
        self.name: str | None = None  # None: nothing more was asked for, as far as is known
        self.distribution: BaseDistribution | None = None
        self.children: dict[float, Node] = {}
        self.done = False  # every way on from here ends at a point that is known

    def asks(self, name: str, distribution: BaseDistribution) -> None:
        """Takes note that a trial went on from here."""
        if self.name != name or self.distribution != distribution:
            self.name, self.distribution, self.done = name, distribution, False

    def see(self) -> None:
        """Sees again whether anything new is left."""
        assert self.distribution is not None
        size = count(self.distribution)
        self.done = len(self.children) >= size and sum(child.done for child in self.children.values()) >= size


class Tree:
    """The decisions of all trials; `after` has what followed a decision wherever it was made."""

    def __init__(self) -> None:
        self.root = Node()
        self.after: dict[Decision | None, dict[str | None, tuple[int, BaseDistribution | None]]] = {}

    def add(self, path: list[tuple[str, float, BaseDistribution]], ended: bool) -> None:
        """Adds a trial's decisions, in their order; `ended`: it is known to ask for nothing more.

        Where it is not, and no other has gone on from there, it is taken to lead to nothing new all the same: of trials
        that ask at the same time each keeps off the others' ways.
        """
        node, nodes, last = self.root, [], None
        for name, value, distribution in path:
            node.asks(name, distribution)
            nodes.append(node)
            if ended:
                self._note(last, name, distribution)
            node, last = node.children.setdefault(value, Node()), (name, value)
        if ended:
            self._note(last, None, None)
        if node.name is None:
            node.done = bool(path)
        for passed in reversed(nodes):
            passed.see()

    def find(self, path: list[tuple[str, float, BaseDistribution]]) -> Node | None:
        """The node that these decisions lead to; None where no trial has been."""
        node: Node | None = self.root
        for name, value, _ in path:
            if node is None or node.name != name:
                return None
            node = node.children.get(value)
        return node

    def next(self, node: Node | None, last: Decision | None) -> Question | None:
        """What is asked for at a node, or where no trial has been: what mostly followed the last decision elsewhere."""
        if node is not None and node.name is not None:
            assert node.distribution is not None
            return node.name, node.distribution
        seen = self.after.get(last)
        if not seen or (node is not None and node.done):
            return None
        name, (_, distribution) = max(seen.items(), key=lambda one: one[1][0])
        return None if name is None or distribution is None else (name, distribution)

    def _note(self, last: Decision | None, name: str | None, distribution: BaseDistribution | None) -> None:
        seen = self.after.setdefault(last, {})
        seen[name] = (seen.get(name, (0, None))[0] + 1, distribution)


def path_of(trial: FrozenTrial) -> list[tuple[str, float, BaseDistribution]]:
    """A trial's decisions in the order in which it made them, which every storage keeps."""
    found = []
    for name, value in trial.params.items():
        distribution = trial.distributions[name]
        found.append((name, distribution.to_internal_repr(value), distribution))
    return found


def count(distribution: BaseDistribution) -> float:
    """How many values a distribution has."""
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return (distribution.high - distribution.low) // distribution.step + 1
    assert isinstance(distribution, FloatDistribution)
    if distribution.step is None:
        return 1 if distribution.single() else math.inf
    return math.floor((distribution.high - distribution.low) / distribution.step + 1e-9) + 1


def value_at(distribution: BaseDistribution, index: int) -> float:
    """The value of this index in a finite distribution, as Optuna stores it."""
    if isinstance(distribution, CategoricalDistribution):
        return float(index)
    if isinstance(distribution, IntDistribution):
        return float(distribution.low + index * distribution.step)
    assert isinstance(distribution, FloatDistribution)
    return distribution.low + index * (distribution.step or 0.0)


def left(node: Node | None, distribution: BaseDistribution) -> list[float] | None:
    """The values that lead to something new; None where there are too many to list, so that nearly all of them do."""
    values = _values(distribution)
    if values is None or node is None:
        return values
    done = {value for value, child in node.children.items() if child.done}
    return [value for value in values if value not in done] if done else values


_listed: dict[
    int, tuple[BaseDistribution, list[float] | None]
] = {}  # by identity: to hash one takes longer than to list


def _values(distribution: BaseDistribution) -> list[float] | None:
    known = _listed.get(id(distribution))
    if known is None or known[0] is not distribution:
        size = count(distribution)
        values = None if size > MOST_LISTED else [value_at(distribution, i) for i in range(int(size))]
        if len(_listed) > 10_000:
            _listed.clear()
        known = _listed[id(distribution)] = (distribution, values)
    return known[1]


def external(distribution: BaseDistribution, value: float) -> Any:
    """The value as a trial sees it."""
    return distribution.to_external_repr(value)
