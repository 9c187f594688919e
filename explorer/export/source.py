"""The source of classes and functions of the block generator, with all that they use of it, as one text.

So an exported file is the very code that was measured and trained, not a second version of it.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from types import ModuleType
from typing import Any

PACKAGE = "search_spaces"


@dataclass
class Source:
    """Import lines and definitions, each definition after those that it uses."""

    imports: set[str] = field(default_factory=set)
    definitions: dict[str, str] = field(default_factory=dict)  # name -> its source
    given: frozenset[str] = frozenset()  # names that are defined elsewhere


def collect(roots: Iterable[Callable[..., Any]], given: Iterable[str] = ()) -> Source:
    """The definitions of the classes and functions `roots` and of what they use, but for the names `given`."""
    found = Source(given=frozenset(given))
    for root in roots:
        _define(root.__name__, sys.modules[root.__module__], found)
    return found


def _define(name: str, module: ModuleType, found: Source) -> None:
    """Add the definition of a name as it is known in a module, or the import that brings it."""
    if name in found.given:
        return
    text, statements = _parsed(module)
    for statement in statements:
        match statement:
            case ast.FunctionDef() | ast.ClassDef() if statement.name == name:
                break
            case ast.Assign(targets=[ast.Name(id=target)]) if target == name:
                break
            case ast.AnnAssign(target=ast.Name(id=target)) if target == name:
                break
            case ast.ImportFrom(module=origin, names=aliases) if (alias := _alias(aliases, name)) is not None:
                assert origin is not None
                if origin.startswith(PACKAGE):
                    _define(alias.name, sys.modules[origin], found)
                else:
                    found.imports.add(f"from {origin} import {ast.unparse(alias)}")
                return
            case ast.Import(names=aliases) if (alias := _alias(aliases, name)) is not None:
                found.imports.add(f"import {ast.unparse(alias)}")
                return
    else:
        return  # a builtin, or a name of the function's own
    if name in found.definitions:
        return
    found.definitions[name] = ""  # it may use itself
    for used in _names(statement):
        _define(used, module, found)
    del found.definitions[name]  # it comes after what it uses
    found.definitions[name] = _text(statement, text)


@lru_cache
def _parsed(module: ModuleType) -> tuple[str, list[ast.stmt]]:
    text = inspect.getsource(module)
    return text, ast.parse(text).body


def _alias(aliases: list[ast.alias], name: str) -> ast.alias | None:
    return next((alias for alias in aliases if (alias.asname or alias.name) == name), None)


def _names(statement: ast.stmt) -> list[str]:
    """Names that a statement reads, in the order of its text, annotations among them."""
    return list(dict.fromkeys(node.id for node in ast.walk(statement) if isinstance(node, ast.Name)))


def _text(statement: ast.stmt, text: str) -> str:
    """The lines of a statement with its decorators and remarks, without words for a type checker."""
    decorators = statement.decorator_list if isinstance(statement, ast.FunctionDef | ast.ClassDef) else []
    first = min([statement.lineno, *(decorator.lineno for decorator in decorators)])
    lines = text.splitlines()[first - 1 : statement.end_lineno]
    return "\n".join(re.sub(r"\s*# type: ignore\[.*?\]", "", line) for line in lines)
