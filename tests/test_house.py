"""The floors of the house: imports run downwards only, and light entrances stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "ray", "streamlit", "optuna", "fvcore")
MAY_IMPORT = {
    "search_spaces": {"search_spaces"},
    "explorer": {"explorer", "search_spaces"},
    "dashboard": {"dashboard", "explorer", "search_spaces"},
}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(path: Path, everywhere: bool = True) -> set[str]:
    """Top-level packages that a file imports; `everywhere` includes imports inside functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = ast.walk(tree) if everywhere else iter(tree.body)
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_imports_run_downwards_only(package: str) -> None:
    files = modules(package)
    assert files
    for path in files:
        upwards = (imported(path) & set(MAY_IMPORT)) - MAY_IMPORT[package]
        assert not upwards, f"{path.relative_to(ROOT)} imports {upwards}"


def test_the_bottom_floor_loads_torch_only_inside_blocks() -> None:
    for path in modules("search_spaces"):
        if "blocks" not in path.parts:
            assert "torch" not in imported(path), path


def test_the_dashboard_never_imports_torch() -> None:
    for path in modules("dashboard"):
        assert "torch" not in imported(path), path


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split("\n")[-2].split())


@pytest.mark.parametrize("statement", ["import search_spaces", "import explorer", "import explorer.cli"])
def test_light_entrances_load_nothing_heavy(statement: str) -> None:
    assert not loaded_by(statement) & set(HEAVY)


def test_importing_the_dashboard_loads_no_torch_ray_or_streamlit() -> None:
    assert not loaded_by("import dashboard") & {"torch", "ray", "streamlit"}


@pytest.mark.parametrize(
    "words", [["--help"], ["presets"], ["spaces"], ["count", "swin_t"], ["profile", "swin_t", "--no-latency"]]
)
def test_help_and_closed_form_verbs_load_nothing_heavy(words: list[str]) -> None:
    statement = (
        "import sys, contextlib, io\nfrom explorer.cli import main\n"
        f"sys.argv = ['vitscape', *{words!r}]\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()): main()"
    )
    assert not loaded_by(statement) & set(HEAVY)


def test_building_a_network_needs_torch_pydantic_and_yaml_alone() -> None:
    statement = "from search_spaces import build, preset\nbuild(preset('shvit_s1'))"
    assert not loaded_by(statement) & {"optuna", "ray", "fvcore", "streamlit", "pandas", "plotly", "explorer", "typer"}
