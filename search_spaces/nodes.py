"""A search space as a tree: what may be written at each place of an architecture file, checked where it stands.

The schema of `Architecture` decides which list is a choice: every one except `stages`, which is a sequence.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, TypeAlias

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from search_spaces.architecture import MIXERS, STEMS, Architecture, Head, Spec, Stage
from search_spaces.document import MAX_STAGES, Document, Loc, not_a_mapping, short, stage_count, way_out

Value: TypeAlias = int | float | str | bool | None

REMARKS = ("format", "name", "description", "published")  # of a file, not of the network
NESTED: dict[str, dict[str, type[Spec]]] = {"stem": STEMS, "mixer": MIXERS, "head": {"": Head}}
MAX_OPTIONS = 10_000


@dataclass(frozen=True)
class Leaf:
    """A value to choose: its alternatives in the order of the file, no two equal."""

    options: tuple[Value, ...]
    step: int | None = None  # of a range of integers


@dataclass(frozen=True, eq=False)
class Mapping:
    """A part of an architecture whose fields are chosen one by one."""

    model: type[Spec]
    fields: dict[str, Leaf | Choice | tuple[Choice, ...]]

    def leaf(self, name: str) -> Leaf:
        """The alternatives of a plain field."""
        found = self.fields[name]
        assert isinstance(found, Leaf)
        return found

    def choice(self, name: str) -> Choice:
        """The alternatives of a nested part."""
        found = self.fields[name]
        assert isinstance(found, Choice)
        return found


@dataclass(frozen=True, eq=False)
class Choice:
    """A part to choose among alternative mappings, each with choices of its own."""

    alternatives: tuple[Mapping, ...]
    labels: tuple[str, ...]  # the kinds; numbered where one kind has several alternatives


def parse_nodes(document: Document) -> Mapping:
    """The tree of a space file's data.

    Raises:
        SpecError: one line with file, line and field.
    """
    return _mapping(Architecture, document.data, (), document)


def _mapping(model: type[Spec], data: Any, loc: Loc, document: Document) -> Mapping:
    if not isinstance(data, dict):
        raise document.error(loc, not_a_mapping(data, model.model_fields))
    for key in data:
        if key not in model.model_fields:
            raise document.error((*loc, key), f"is not known here; {way_out(key, model.model_fields)}")
    fields: dict[str, Leaf | Choice | tuple[Choice, ...]] = {}
    for name, info in model.model_fields.items():
        here = (*loc, name)
        if loc == () and name in REMARKS:
            if name in data and name != "format":
                _options(info, [data[name]], here, document)
        elif name not in data:
            fields[name] = _default(name, info, here, document)
        elif name == "stages":
            fields[name] = _stages(data[name], here, document)
        elif name in NESTED:
            fields[name] = _choice(NESTED[name], data[name], here, document)
        else:
            fields[name] = _leaf(info, data[name], here, document)
    if data.get("partial_channels") is not None and data.get("partial_ratio") is not None:
        raise document.error((*loc, "partial_ratio"), "says the same thing as partial_channels; keep one")
    return Mapping(model, fields)


def _default(name: str, info: FieldInfo, loc: Loc, document: Document) -> Leaf | Choice:
    if info.is_required():
        raise document.error(loc, "is missing")
    return _choice(NESTED[name], {}, loc, document) if name in NESTED else Leaf((info.default,))


def _stages(data: Any, loc: Loc, document: Document) -> tuple[Choice, ...]:
    if not isinstance(data, list):
        raise document.error(loc, f"{short(data)} is not a list of stages")
    if not 1 <= len(data) <= MAX_STAGES:
        raise document.error(loc, stage_count(data))
    return tuple(_choice({"": Stage}, stage, (*loc, i), document) for i, stage in enumerate(data))


def _choice(kinds: dict[str, type[Spec]], data: Any, loc: Loc, document: Document) -> Choice:
    if data == []:
        raise document.error(loc, "an empty list leaves nothing to choose")
    items = [((*loc, i), item) for i, item in enumerate(data)] if isinstance(data, list) else [(loc, data)]
    alternatives, names = [], []
    for here, item in items:
        if not isinstance(item, dict):
            raise document.error(here, not_a_mapping(item, kinds[""].model_fields if "" in kinds else kinds))
        if "" in kinds:
            kind = ""
        elif "kind" not in item:
            raise document.error(here, f"`kind` is missing; use one of {', '.join(kinds)}")
        elif item["kind"] not in tuple(kinds):  # a list of kinds cannot be looked up
            raise document.error((*here, "kind"), f"{short(item['kind'])} is not known; {way_out(item['kind'], kinds)}")
        else:
            kind = item["kind"]
        alternatives.append(_mapping(kinds[kind], item, here, document))
        names.append(kind)
    labels = tuple(n if names.count(n) == 1 and n else f"{n}#{i}" for i, n in enumerate(names))
    return Choice(tuple(alternatives), labels)


def _leaf(info: FieldInfo, data: Any, loc: Loc, document: Document) -> Leaf:
    if isinstance(data, dict):
        return _range(info, data, loc, document)
    if data == []:
        raise document.error(loc, "an empty list leaves nothing to choose")
    listed = data if isinstance(data, list) else [data]
    return Leaf(_options(info, listed, loc, document, numbered=isinstance(data, list)))


def _options(
    info: FieldInfo, listed: list[Any], loc: Loc, document: Document, numbered: bool = False
) -> tuple[Value, ...]:
    # depth 0 leaves a stage out; only a space can say it
    depth = loc[-1] == "depth"
    annotation = info.annotation
    annotated: Any = Annotated[(annotation, *info.metadata)] if info.metadata else annotation
    adapter: TypeAdapter[Any] = TypeAdapter(annotated)
    options: list[Value] = []
    for i, item in enumerate(listed):
        here = (*loc, i) if numbered else loc
        if depth and item == 0 and item is not False and loc[:2] != ("stages", 0):
            value: Value = 0
        else:
            try:
                value = adapter.validate_python(item)
            except ValidationError as error:
                raise document.explain(error, here) from None
        if value in options:
            raise document.error(here, f"{short(value)} is listed twice; keep one")
        options.append(value)
    return tuple(options)


def _range(info: FieldInfo, data: dict[str, Any], loc: Loc, document: Document) -> Leaf:
    shape = "{from: 16, to: 64, step: 16}"
    if set(data) != {"from", "to", "step"}:
        raise document.error(loc, f"{short(data)} is no range; a range is written {shape}")
    for key, value in data.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) > 1e9:
            raise document.error((*loc, key), f"{short(value)} is not a number; a range is written {shape}")
    low, high, step = (Decimal(str(data[key])) for key in ("from", "to", "step"))
    if step <= 0 or high < low:
        raise document.error(loc, f"from {low} to {high} by {step} is empty; `to` must not be below `from`, `step` > 0")
    if (high - low) / step > MAX_OPTIONS:
        raise document.error(loc, f"from {low} to {high} by {step} is over {MAX_OPTIONS} values; take a larger step")
    if (high - low) % step:
        raise document.error(
            loc, f"from {low} by steps of {step} does not reach {high}; the last is {high - (high - low) % step}"
        )
    whole = all(isinstance(data[key], int) for key in data)
    values = [low + i * step for i in range(int((high - low) / step) + 1)]
    options = _options(info, [int(v) if whole else float(v) for v in values], loc, document)
    return Leaf(options, int(step) if whole else None)
