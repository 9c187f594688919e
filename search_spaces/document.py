"""Reading YAML and JSON files so that an error can name the line that is wrong."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

Loc = tuple[str | int, ...]  # ("stages", 1, "mixer", "heads")

MAX_BYTES = 1_000_000
MAX_NODES = 50_000  # an alias bomb expands far beyond; the largest sensible space has some hundreds
MAX_DEPTH = 30


class SpecError(ValueError):
    """A file, or a value in it, that cannot be an architecture or a search space. The message is one line."""


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

    def explain(self, error: ValidationError, at: Loc = ()) -> SpecError:
        """The SpecError for the first thing that pydantic found wrong."""
        found = error.errors(include_url=False)
        first = found[0]
        loc = at + tuple(part for part in first["loc"] if not _is_tag(part))
        loc += tuple(first.get("ctx", {}).get("field", ()))
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "missing":
            message = "is missing"
        elif first["type"] == "extra_forbidden":
            message = "is not a field here"
        elif first["type"] not in ("value_error", "impossible"):
            message = f"{_short(first['input'])} is not allowed; {message[0].lower()}{message[1:]}"
        more = len(found) - 1
        return self.error(loc, message + (f" (and {more} more)" if more else ""))


def read_document(path: str | Path) -> Document:
    """The data of a YAML or JSON file with the line of each value.

    Raises:
        SpecError: no such file, not readable as text, a syntax error, a repeated key.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise SpecError(f"{path}: no such file") from None
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror})") from None
    if len(raw) > MAX_BYTES:
        raise SpecError(f"{path}: {len(raw)} bytes is too long for an architecture or a space (limit {MAX_BYTES})")
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

    try:
        return Document(source, json.loads(text, object_pairs_hook=unique))
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
        line = f", line {mark.line + 1}" if mark else ""
        raise SpecError(f"{source}{line}: not valid YAML ({error.problem or error.context})") from None
    except (yaml.YAMLError, RecursionError) as error:
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
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is None:
                raise SpecError(f"{source}, line {key_node.start_mark.line + 1}: a key must be a plain word")
            if key in mapping:
                raise SpecError(f"{source}, line {key_node.start_mark.line + 1}: {key}: appears twice; keep one")
            mapping[key] = _plain(value_node, (*loc, key), lines, source, loader)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*loc, i), lines, source, loader) for i, item in enumerate(node.value)]
    try:
        return loader.construct_object(node)
    except (yaml.YAMLError, ValueError):
        raise SpecError(f"{source}, line {line}: {node.value!r} with tag {node.tag} is not plain data") from None


def _is_tag(part: str | int) -> bool:
    # pydantic puts the chosen member of a union into the location; the file does not have it
    return isinstance(part, str) and part in {"patch", "conv", "window", "global", "single_head", "none"}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
