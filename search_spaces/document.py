"""Reading YAML and JSON files so that an error can name the line that is wrong."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from search_spaces.errors import InputError

Loc = tuple[str | int, ...]  # ("stages", 1, "mixer", "heads")

MAX_BYTES = 1_000_000
MAX_NODES = 50_000  # an alias bomb expands far beyond; the largest sensible space has some hundreds
MAX_DEPTH = 30
MAX_STAGES = 16


class SpecError(InputError):
    """A file, or a value in it, that cannot be an architecture or a search space. The message is one line."""

    def __init__(self, message: str) -> None:
        # a key or a path may hold anything; the line that a terminal gets holds no line breaks or control codes
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in message))


@dataclass(frozen=True)
class Document:
    """A parsed file: its plain data, and for every place in it the line where it stands."""

    source: str
    data: Any
    lines: dict[Loc, int] = field(default_factory=dict)

    def error(self, loc: Loc, message: str) -> SpecError:
        """A SpecError that names file, line and field, ready to raise."""
        line = next((self.lines[loc[:n]] for n in range(len(loc), -1, -1) if loc[:n] in self.lines), None)
        where = self.source if line is None else f"{self.source}, line {line}"
        return SpecError(": ".join(part for part in (where, ".".join(map(str, loc)), message) if part))

    def explain(
        self, error: ValidationError, at: Loc = (), known_at: Callable[[Loc], Iterable[str]] | None = None
    ) -> SpecError:
        """The SpecError for the first thing that pydantic found wrong.

        `known_at` says what may be written at a place: the fields there, or the kinds where none is chosen.
        """
        found = error.errors(include_url=False)
        if len(found) > 1:  # a list whose items are wrong is not too short besides
            found = [e for e in found if e["type"] != "too_short"]
        # a misspelt field is a missing one as well: name the spelling
        first = next((e for e in found if e["type"] == "extra_forbidden"), found[0])
        loc, kind, value = first["loc"], first["type"], first["input"]
        known = tuple(known_at(loc)) if known_at else ()
        context = first.get("ctx", {})
        message = first["msg"]
        if kind == "missing":
            message = "is missing"
        elif kind == "extra_forbidden":
            message = f"is not known here; {way_out(loc[-1], known)}"
        elif kind == "union_tag_not_found":
            message = f"`kind` is missing; use one of {', '.join(known)}"
        elif kind == "union_tag_invalid":
            kind = value["kind"]
            loc, message = (*loc, "kind"), f"{short(kind)} is not known; {way_out(kind, known)}"
        elif kind in ("model_type", "model_attributes_type", "dict_type"):
            message = not_a_mapping(value, known)
        elif kind == "tuple_type":
            message = f"{short(value)} is not a list of stages"
        elif kind in ("too_short", "too_long"):
            message = stage_count(value)
        elif kind != "impossible":
            message = f"{short(value)} is not allowed; {message[0].lower()}{message[1:]}"
            if isinstance(value, list) and known_at:
                message += "; only a search space (`format: vitscape/space@1`) has lists of alternatives"
        place = at + tuple(part for i, part in enumerate(loc) if not _is_tag(loc, i)) + tuple(context.get("field", ()))
        more = len(found) - 1
        return self.error(place, message + (f" (and {more} more)" if more else ""))


def read_document(path: str | Path) -> Document:
    """The data of a YAML or JSON file with the line of each value.

    Raises:
        SpecError: no such file, not readable as text, a syntax error, a repeated key.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise SpecError(f"{path}: no such file; give the path of a YAML or JSON file") from None
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror})") from None
    if len(raw) > MAX_BYTES:
        raise SpecError(f"{path}: over {MAX_BYTES} bytes, too long for an architecture or a space")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: not UTF-8 text (byte {error.start}); expected a YAML or JSON file") from None
    return parse_json(text, str(path)) if path.suffix == ".json" else parse_yaml(text, str(path))


def parse_json(text: str, source: str) -> Document:
    """The data of a JSON text; repeated keys are errors."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        for key in keys:
            if keys.count(key) > 1:
                raise SpecError(f"{source}: {key}: appears twice in one mapping; keep one")
        return dict(pairs)

    def whole(digits: str) -> int:
        if len(digits) > 20:
            raise SpecError(f"{source}: {short(digits)}: the number is too large")
        return int(digits)

    if not text.strip():
        raise SpecError(f"{source}: the file is empty; expected a mapping with `format:`")
    try:
        return Document(source, json.loads(text, object_pairs_hook=unique, parse_int=whole))
    except json.JSONDecodeError as error:
        raise SpecError(f"{source}, line {error.lineno}: not valid JSON ({error.msg})") from None
    except RecursionError:
        raise SpecError(f"{source}: nested deeper than any architecture") from None


def parse_yaml(text: str, source: str) -> Document:
    """The data of a YAML text (safe subset: plain data only) with the line of each value."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(part for part in (error.context, error.problem) if part)
        line = f", line {mark.line + 1}" if mark else ""
        raise SpecError(f"{source}{line}: not valid YAML ({what})") from None
    except RecursionError:
        raise SpecError(f"{source}: nested deeper than any architecture") from None
    except yaml.YAMLError as error:
        raise SpecError(f"{source}: not valid YAML ({' '.join(str(error).split())})") from None
    if root is None:
        raise SpecError(f"{source}: the file is empty; expected a mapping with `format:`")
    lines: dict[Loc, int] = {}
    data = _plain(root, (), lines, source, yaml.SafeLoader(""))
    return Document(source, data, lines)


def _plain(node: yaml.Node, loc: Loc, lines: dict[Loc, int], source: str, loader: yaml.SafeLoader) -> Any:
    line = node.start_mark.line + 1
    lines[loc] = line
    if len(lines) > MAX_NODES or len(loc) > MAX_DEPTH:
        raise SpecError(f"{source}, line {line}: too large or too deeply nested (aliases that repeat themselves?)")
    if isinstance(node, yaml.CollectionNode) and node.tag not in ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
        raise SpecError(f"{source}, line {line}: {_dotted(loc)}tag {_tag(node)} is not plain data; remove it")
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is None:
                raise SpecError(f"{source}, line {key_node.start_mark.line + 1}: a key must be a plain word")
            if key_node.tag == "tag:yaml.org,2002:merge":
                raise SpecError(
                    f"{source}, line {key_node.start_mark.line + 1}: <<: merging is not read here; write the fields out"
                )
            if key in mapping:
                raise SpecError(f"{source}, line {key_node.start_mark.line + 1}: {key}: appears twice; keep one")
            mapping[key] = _plain(value_node, (*loc, key), lines, source, loader)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*loc, i), lines, source, loader) for i, item in enumerate(node.value)]
    try:
        return loader.construct_object(node)
    except (yaml.YAMLError, ValueError, LookupError, AttributeError):  # what its constructors raise for "!!bool maybe"
        known = node.tag in loader.yaml_constructors
        message = (
            f"{short(node.value)} is no {_tag(node)}" if known else f"tag {_tag(node)} is not plain data; remove it"
        )
        raise SpecError(f"{source}, line {line}: {_dotted(loc)}{message}") from None


def _dotted(loc: Loc) -> str:
    return ".".join(map(str, loc)) + ": " if loc else ""


def _tag(node: yaml.Node) -> str:
    return str(node.tag).replace("tag:yaml.org,2002:", "!!")


def _is_tag(loc: Loc, i: int) -> bool:
    # pydantic puts the chosen member of a union into the location; the file does not have it
    return i > 0 and loc[i - 1] in ("stem", "mixer") and loc[i] in _TAGS


_TAGS = {"patch", "conv", "window", "global", "single_head", "none"}


def way_out(name: object, known: Iterable[str]) -> str:
    """What to write for a name that is none of those known."""
    known = tuple(known)
    close = difflib.get_close_matches(str(name), known, 1)
    return f"did you mean {close[0]}?" if close else f"use one of {', '.join(known)}"


def not_a_mapping(value: object, known: Iterable[str]) -> str:
    """The message for a value where a mapping of the fields known, or of one of the kinds known, belongs."""
    known = tuple(known)
    if isinstance(value, str) and value in known:
        return f"{short(value)} is not a mapping; write {{kind: {value}}}"
    return f"{short(value)} is not a mapping; expected here: {', '.join(known)}"


def stage_count(stages: list[object]) -> str:
    """The message for a list of stages that is too short or too long."""
    return f"{len(stages)} stages; use 1 to {MAX_STAGES}"


def short(value: object) -> str:
    """A value as an error shows it."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
