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
Path: TypeAlias = list[tuple[str, float, BaseDistribution]]  # a trial's decisions in their order

Followers: TypeAlias = dict[str | None, tuple[int, BaseDistribution | None]]  # how often each followed; None: nothing

MOST_LISTED = 4096  # values of a parameter


class Node:
    """A state of a trial: what was decided is the path from the root, `name` is what is asked for next."""

    __slots__ = ("children", "distribution", "done", "ended", "held", "name")

    def __init__(self) -> None:
        self.name: str | None = None  # None: nothing more was asked for, as far as is known
        self.distribution: BaseDistribution | None = None
        self.children: dict[float, Node] = {}
        self.ended = False  # a trial had decided everything here
        self.held = False  # a trial under way is here, and nobody knows whether it has decided everything
        self.done = False  # every way on from here ends at a point that is known

    def see(self) -> None:
        """Sees again whether anything new is left."""
        if self.distribution is None:
            self.done = self.ended or self.held
            return
        size = count(self.distribution)
        self.done = len(self.children) >= size and sum(child.done for child in self.children.values()) >= size


class Tree:
    """The decisions of all trials; `after` has what followed a decision wherever it was made."""

    def __init__(self) -> None:
        self.root = Node()
        self.after: dict[
            Decision | str | None, Followers
        ] = {}  # a decision, a parameter whatever its value; None: at first
        self._held: list[list[Node]] = []

    def add(self, path: Path) -> None:
        """Adds the decisions of a trial that had made all of them, in their order."""
        last: Decision | None = None
        for name, value, distribution in path:
            self._note(last, name, distribution)
            last = (name, value)
        self._note(last, None, None)
        if path:
            nodes = self._walk(path)
            nodes[-1].ended = True
            _see(nodes)

    def hold(self, path: Path) -> None:
        """Keeps everybody else off the way of a trial that may have decided everything, until the next `release`."""
        if path:
            nodes = self._walk(path)
            nodes[-1].held = True
            self._held.append(nodes)
            _see(nodes)

    def release(self) -> None:
        """Forgets what is held."""
        for nodes in self._held:
            nodes[-1].held = False
            _see(nodes)
        self._held.clear()

    def _walk(self, path: Path) -> list[Node]:
        node, nodes = self.root, [self.root]
        for name, value, distribution in path:
            node.name, node.distribution = name, distribution
            node = node.children.setdefault(value, Node())
            nodes.append(node)
        return nodes

    def find(self, path: Path) -> Node | None:
        """The node that these decisions lead to; None where no trial has been."""
        node: Node | None = self.root
        for name, value, _ in path:
            if node is None or node.name != name:
                return None
            node = node.children.get(value)
        return node

    def followed(self, path: Path) -> tuple[bool, bool]:
        """Whether trials that answered the last question of a path otherwise had then decided everything; went on.

        Where none has answered it so far: trials that were asked it elsewhere.
        """
        *before, (name, value, _) = path
        node = self.find(before)
        children = {} if node is None or node.name != name else node.children
        others = [child for other, child in children.items() if other != value]
        known = [(child.ended, child.name is not None) for child in others if child.ended or child.name is not None]
        if known:
            return any(ended for ended, _ in known), any(went_on for _, went_on in known)
        followers = self.after.get(name, {})
        return None in followers, any(follower is not None for follower in followers)

    def next(self, node: Node | None, last: Decision | None) -> Question | None:
        """What is asked for at a node, or where no trial has been: what mostly followed the last decision elsewhere."""
        if node is not None and node.name is not None:
            assert node.distribution is not None
            return node.name, node.distribution
        if node is not None and node.done:
            return None
        seen = self.after.get(last) or (None if last is None else self.after.get(last[0]))
        if not seen:
            return None
        name, (_, distribution) = max(seen.items(), key=lambda one: one[1][0])
        return None if name is None or distribution is None else (name, distribution)

    def _note(self, last: Decision | None, name: str | None, distribution: BaseDistribution | None) -> None:
        for key in (last,) if last is None else (last, last[0]):
            seen = self.after.setdefault(key, {})
            seen[name] = (seen.get(name, (0, None))[0] + 1, distribution)


def _see(nodes: list[Node]) -> None:
    for node in reversed(nodes):
        node.see()


def path_of(trial: FrozenTrial) -> Path:
    """A trial's decisions in the order in which it made them, as storages keep it."""
    found = []
    for name, value in trial.params.items():
        distribution = trial.distributions[name]
        internal = distribution.to_internal_repr(value)
        if isinstance(distribution, FloatDistribution) and distribution.step is not None:
            index = round((internal - distribution.low) / distribution.step)  # 0.3 is not 3 * 0.1
            internal = value_at(distribution, index)
        found.append((name, internal, distribution))
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


def is_new(node: Node | None, value: float) -> bool:
    """Whether a value leads to something new."""
    child = None if node is None else node.children.get(value)
    return child is None or not child.done


def left(node: Node | None, distribution: BaseDistribution) -> list[float] | None:
    """The values that lead to something new; None where there are too many to list, so that nearly all of them do."""
    values = _values(distribution)
    if values is None or node is None:
        return values
    return [value for value in values if is_new(node, value)]


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
