"""Words of a link: what a control has in the URL means that control alone, on whatever page it is opened."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import dashboard

ROOT = Path(dashboard.__file__).parent


def words_of_links() -> dict[str, list[str]]:
    """Where each word of a link is: the words that `key=` has beside `bind="query-params"`, also through a function."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(ROOT.rglob("*.py"))}
    calls = [(path, node) for path, tree in trees.items() for node in ast.walk(tree) if isinstance(node, ast.Call)]
    found: dict[str, list[str]] = defaultdict(list)
    for path, tree in trees.items():
        named = dict(_constants(tree))
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            given = [argument.arg for argument in function.args.args]
            for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
                options = {option.arg: option.value for option in call.keywords}
                if "bind" not in options:
                    continue
                key = options["key"]
                if isinstance(key, ast.Name) and key.id in given:
                    place = given.index(key.id)
                    for other, caller in calls:
                        mine = other == path or not function.name.startswith("_")
                        if mine and isinstance(caller.func, ast.Name) and caller.func.id == function.name:
                            word = caller.args[place]
                            assert isinstance(word, ast.Constant), f"{other.name}:{caller.lineno}"
                            found[str(word.value)].append(f"{other.name}:{caller.lineno}")
                    continue
                for word in (node for node in ast.walk(key) if isinstance(node, ast.Constant | ast.Name)):
                    text = word.value if isinstance(word, ast.Constant) else named.get(word.id)
                    if text is not None:
                        found[str(text)].append(f"{path.name}:{call.lineno}")
    return found


def _constants(tree: ast.Module) -> list[tuple[str, str]]:
    """Names of a module that are texts: NAME = "text", or several at once."""
    found = []
    for node in tree.body:
        if isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            values = value.elts if isinstance(value, ast.Tuple) else [value]
            for name, text in zip(names, values, strict=False):
                if isinstance(name, ast.Name) and isinstance(text, ast.Constant) and isinstance(text.value, str):
                    found.append((name.id, text.value))
    return found


def test_every_word_of_a_link_is_one_control() -> None:
    found = words_of_links()
    assert {"cost", "part_cost", "section", "used_on", "metric", "least", "most", "samples", "preset"} <= set(found)
    twice = {word: places for word, places in found.items() if len(places) > 1}
    assert not twice, twice
