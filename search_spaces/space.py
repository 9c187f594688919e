"""A search space: an architecture file in which values may be lists of alternatives."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces.architecture import FORMAT, Architecture, ConvStem, PatchStem, check_format
from search_spaces.document import Document, Loc, parse_yaml, read_document
from search_spaces.nodes import Choice, Leaf, Mapping, Value, parse_nodes
from search_spaces.points import (
    count_stage,
    find_absent,
    find_part,
    find_stage,
    may_be_absent,
    parts,
    possible_mixer,
    possible_shifts,
    possible_widths,
    why_impossible,
)

if TYPE_CHECKING:
    import optuna

SPACE_FORMAT = "vitscape/space@1"
GLOBALS = ("image_size", "in_channels", "classes", "drop_path")

Decide = Callable[[str, tuple[Value, ...], "Leaf | None"], Value]  # (name, options, leaf) -> one of the options


class SearchSpace:
    """All architectures that a space file allows.

    >>> space = load_space("tiny_32")
    >>> architecture = space.suggest(trial)  # in an Optuna objective
    >>> space.contains(architecture), space.size
    (True, 79847424)

    A choice is named by its place, "stages.1.mixer.window.heads". Where an earlier choice leaves only some of the
    alternatives possible, the name says which, "stages.1.mixer.window.heads[3|6]": to Optuna these are different
    parameters, so that each has one fixed distribution and no impossible value is ever suggested.
    """

    def __init__(self, document: Document) -> None:
        check_format(document, SPACE_FORMAT, FORMAT)
        self.root = parse_nodes(document)
        self.data: dict[str, Any] = document.data
        self.name: str = document.data.get("name") or Path(document.source).stem
        self.description: str = document.data.get("description") or ""
        self._check(document)

    @property
    def image_sizes(self) -> tuple[int, ...]:
        """Image sizes to choose among, pixels."""
        return tuple(size for size in self.root.leaf("image_size").options if isinstance(size, int))

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of the stems to choose among, in pixels."""
        stems = parts(self._stem)
        return tuple(sorted({stem.stride for stem in stems if isinstance(stem, PatchStem | ConvStem)}))

    @property
    def most_stages(self) -> int:
        """How many stages its deepest networks have."""
        return len(self._stages)

    def with_classes(self, classes: int) -> SearchSpace:
        """The same space for so many classes: the head follows the data."""
        return SearchSpace(Document(self.name, {**self.data, "name": self.name, "classes": classes}))

    def suggest(self, trial: optuna.Trial) -> Architecture:
        """The architecture that an Optuna trial proposes; every choice made is one of the trial's parameters."""

        def decide(name: str, options: tuple[Value, ...], leaf: Leaf | None) -> Value:
            if leaf is not None and leaf.step is not None and options == leaf.options:
                return trial.suggest_int(name, *_bounds(leaf), step=leaf.step)
            value: Value = trial.suggest_categorical(name, options)
            return value

        return self.compose(decide)

    def sample(self, rng: random.Random) -> Architecture:
        """A random architecture: each choice uniform among what is possible."""
        return self.compose(lambda name, options, leaf: rng.choice(options))

    def params(self, architecture: Architecture) -> dict[str, Value]:
        """The choices that lead to an architecture, by name, as `suggest` makes them (for `study.enqueue_trial`).

        Raises:
            ValueError: the space does not contain it.
        """
        return {name: value for name, value, _ in self._decisions(self._assignment(architecture))}

    def neighbours(self, architecture: Architecture) -> list[Architecture]:
        """The other architectures of the space that differ in one choice, in the order of the file.

        Where that choice makes others impossible they move to the nearest possible value; choices that it brings
        into existence (of another mixer, of one more stage) take their first value.

        Raises:
            ValueError: the space does not contain the architecture.
        """
        assignment = self._assignment(architecture)
        found = {architecture.id: architecture}
        for name, value, options in self._decisions(assignment):
            place = place_of(name)
            for option in options:
                if option != value:
                    neighbour = self.compose(_following({**assignment, place: option}))
                    found.setdefault(neighbour.id, neighbour)
        return list(found.values())[1:]

    def contains(self, architecture: Architecture) -> bool:
        """Whether some choice leads to this network, however it is written."""
        return self._find(architecture) is not None

    @cached_property
    def size(self) -> int:
        """How many different networks the space contains, exactly."""
        plain = math.prod(len(self.root.leaf(name).options) for name in GLOBALS[1:]) * len(parts(self._head))
        return plain * sum(
            self._count(0, -(-image_size // stem.stride))
            for image_size in self.root.leaf("image_size").options
            for stem in parts(self._stem)
            if isinstance(image_size, int) and isinstance(stem, PatchStem | ConvStem)
        )

    def compose(self, decide: Decide) -> Architecture:
        """The architecture that comes of making every open choice by `decide(name, possible options, leaf)`."""
        data: dict[str, Any] = {name: _pick(name, self.root.leaf(name), decide) for name in GLOBALS}
        data["stem"] = self._part("stem", self._stem, decide)
        data["stages"] = []
        for i, choice in enumerate(self._stages):
            stage = self._stage(f"stages.{i}", choice, decide)
            if stage is None:
                break
            data["stages"].append(stage)
        data["head"] = self._part("head", self._head, decide)
        return Architecture.model_validate(data)

    @property
    def _stem(self) -> Choice:
        return self.root.choice("stem")

    @property
    def _head(self) -> Choice:
        return self.root.choice("head")

    @property
    def _stages(self) -> tuple[Choice, ...]:
        stages = self.root.fields["stages"]
        assert isinstance(stages, tuple)
        return stages

    def _part(self, name: str, choice: Choice, decide: Decide) -> dict[str, Value]:
        label, part = _alternative(name, choice, decide)
        return {field: _pick(f"{name}{label}.{field}", part.leaf(field), decide) for field in part.fields}

    def _stage(self, name: str, choice: Choice, decide: Decide) -> dict[str, Any] | None:
        label, part = _alternative(name, choice, decide)
        name += label
        depth = _pick(f"{name}.depth", part.leaf("depth"), decide)
        if depth == 0:
            return None
        width = _pick(f"{name}.width", part.leaf("width"), decide, possible_widths(part))
        mixers = part.choice("mixer")
        possible = tuple(i for i, mixer in enumerate(mixers.alternatives) if possible_mixer(mixer, width) is not None)
        label, mixer = _alternative(f"{name}.mixer", mixers, decide, possible)
        stage: dict[str, Any] = {"depth": depth, "width": width}
        stage["mixer"] = self._mixer(f"{name}.mixer{label}", mixer, width, decide)
        for field in part.fields:
            if field not in ("depth", "width", "mixer"):
                stage[field] = _pick(f"{name}.{field}", part.leaf(field), decide)
        return stage

    def _mixer(self, name: str, mixer: Mapping, width: Value, decide: Decide) -> dict[str, Value]:
        options = possible_mixer(mixer, width)
        assert options is not None
        chosen: dict[str, Value] = {}
        for field, leaf in mixer.fields.items():
            assert isinstance(leaf, Leaf)
            possible = options[field]
            if field == "shift":
                possible = possible_shifts(leaf, chosen["size"])
            chosen[field] = _pick(f"{name}.{field}", leaf, decide, possible)
        return chosen

    def _count(self, index: int, side: int) -> int:
        """Different sequences of stages from `index` on, the first of them on a map of side x side."""
        rest = self._count(index + 1, -(-side // 2)) if index + 1 < len(self._stages) else 1
        return count_stage(self._stages[index], side) * rest + int(may_be_absent(self._stages[index]))

    def _find(self, architecture: Architecture) -> dict[str, Value] | None:
        """The choices, by place, that lead to a network; None if none do."""
        target = architecture.canonical
        assignment: dict[str, Value] = {}
        for name in GLOBALS:
            if getattr(target, name) not in self.root.leaf(name).options:
                return None
            assignment[name] = getattr(target, name)
        for name, choice, wanted in (("stem", self._stem, target.stem), ("head", self._head, target.head)):
            found = find_part(name, choice, wanted)
            if found is None:
                return None
            assignment |= found
        if len(target.stages) > len(self._stages):
            return None
        for i, choice in enumerate(self._stages[: len(target.stages)]):
            found = find_stage(f"stages.{i}", choice, target.stages[i], target.maps[i], architecture.stages[i])
            if found is None:
                return None
            assignment |= found
        if len(target.stages) < len(self._stages):
            found = find_absent(f"stages.{len(target.stages)}", self._stages[len(target.stages)])
            if found is None:
                return None
            assignment |= found
        return assignment

    def _assignment(self, architecture: Architecture) -> dict[str, Value]:
        assignment = self._find(architecture)
        if assignment is None:
            raise ValueError(f"architecture {architecture.name or architecture.id} is not in space {self.name}")
        return assignment

    def _decisions(self, assignment: dict[str, Value]) -> list[tuple[str, Value, tuple[Value, ...]]]:
        made: list[tuple[str, Value, tuple[Value, ...]]] = []
        follow = _following(assignment)

        def decide(name: str, options: tuple[Value, ...], leaf: Leaf | None) -> Value:
            made.append((name, follow(name, options, leaf), options))
            return made[-1][1]

        self.compose(decide)
        return made

    def _check(self, document: Document) -> None:
        """Raise SpecError where a stage has no possible combination, or the downsampling is out of place."""
        for i, choice in enumerate(self._stages):
            for j, part in enumerate(choice.alternatives):
                loc: Loc = ("stages", i) if len(choice.alternatives) == 1 else ("stages", i, j)
                downsample = part.leaf("downsample").options
                if i == 0 and downsample != (None,):
                    raise document.error((*loc, "downsample"), "the stem precedes the first stage: leave it out")
                if i > 0 and None in downsample:
                    message = "downsample is missing; use patch_merging, inverted_residual, or a list of both"
                    raise document.error(loc, message)
                if not possible_widths(part):
                    field, message = why_impossible(part)
                    alone = len(part.choice("mixer").alternatives) == 1
                    raise document.error((*loc, "mixer", field) if field and alone else (*loc, "mixer"), message)


def load_space(space: str | Path) -> SearchSpace:
    """A search space by the name of one that is shipped, or from a YAML or JSON file; a preset is one point.

    Raises:
        SpecError: no such space or file, or what is wrong in it: one line, with the line in the file.
    """
    from search_spaces.shipped import find

    return SearchSpace(read_document(find(space, "spaces")))


def parse_space(text: str, source: str = "space") -> SearchSpace:
    """A search space from YAML text."""
    return SearchSpace(parse_yaml(text, source))


def _pick(name: str, leaf: Leaf, decide: Decide, possible: tuple[Value, ...] | None = None) -> Value:
    options = leaf.options if possible is None else possible
    if len(options) == 1:
        return options[0]
    if len(options) < len(leaf.options):
        name += f"[{'|'.join(map(str, options))}]"
    return decide(name, options, leaf)


def _alternative(
    name: str, choice: Choice, decide: Decide, possible: tuple[int, ...] | None = None
) -> tuple[str, Mapping]:
    """(".label" or "", the mapping) chosen."""
    if len(choice.alternatives) == 1:
        return "", choice.alternatives[0]
    labels = choice.labels if possible is None else tuple(choice.labels[i] for i in possible)
    label = _pick(name, Leaf(choice.labels), decide, labels)
    return f".{label}", choice.alternatives[choice.labels.index(str(label))]


@lru_cache(maxsize=10_000)
def place_of(name: str) -> str:
    """Where a choice is made: "stages.1.mixer.window.heads" of "stages.1.mixer.window.heads[3|6]"."""
    return name.split("[")[0]


def _bounds(leaf: Leaf) -> tuple[int, int]:
    low, high = leaf.options[0], leaf.options[-1]
    assert isinstance(low, int)
    assert isinstance(high, int)
    return low, high


def _following(assignment: dict[str, Value]) -> Decide:
    def decide(name: str, options: tuple[Value, ...], leaf: Leaf | None) -> Value:
        wanted = assignment.get(place_of(name))
        if wanted in options:
            return wanted
        if isinstance(wanted, int | float):
            return min(options, key=lambda o: abs(o - wanted) if isinstance(o, int | float) else math.inf)
        return options[0]

    return decide
