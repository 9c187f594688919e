"""The recipes of deploy/: they load, they parse, and every `vitscape` command line in them is one."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main
import yaml

from explorer import cli
from search_spaces.shipped import names

ROOT = Path(__file__).parent.parent
DEPLOY, GUIDE = ROOT / "deploy", ROOT / "docs/cluster.md"
TEXTS = sorted(path for path in [*DEPLOY.rglob("*"), GUIDE] if path.is_file())
SCRIPTS = [path for path in TEXTS if path.suffix in (".sh", ".sbatch")]
YAMLS = [path for path in TEXTS if path.suffix in (".yaml", ".yml")]
PROMPT = re.compile(r'(?:"\$VENV/bin/vitscape"|(?<![\w./:-])vitscape)(?= [a-z]+ )')  # not a name, a path, an image
UsageError = typer.BadParameter.__bases__[0]  # click's, of which typer may carry its own copy
WORDS_OF = {"run.sh": "search", "search.sbatch": "search"}  # scripts that hand their words to a verb


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def commands(path: Path) -> Iterator[list[str]]:
    """The words of every `vitscape VERB ...` in a file, and of every call of a script that hands its words to one."""
    text = uncommented(path)
    for found in PROMPT.finditer(text):
        yield words(text[found.end() :])
    for script, verb in WORDS_OF.items():
        for found in re.finditer(rf"{re.escape(script)}(?= [a-z]\w*\s)", text):
            yield [verb, *words(text[found.end() :])]


def uncommented(path: Path) -> str:
    """A file's text with the marks of its comments gone, and what is folded or continued as one line."""
    if path.suffix in (".yaml", ".yml"):
        entries = "\n".join(entrypoint for entrypoint in entrypoints(list(yaml.safe_load_all(path.read_text()))))
        text = re.sub("^(?!#).*$", "", path.read_text(), flags=re.MULTILINE) + "\n" + entries
    else:
        text = path.read_text()
    return re.sub(r"\\\n[# ]*", "", re.sub("^# ?", "", text, flags=re.MULTILINE))


def entrypoints(node: Any) -> Iterator[str]:
    """The values of `entrypoint` anywhere in a document."""
    if isinstance(node, dict):
        yield from ([node["entrypoint"]] if "entrypoint" in node else [])
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else []:
        yield from entrypoints(child)


def words(text: str) -> list[str]:
    """The words of a command up to its end: a line's, a shell operator, a closing backtick or quote."""
    line = re.split(r"\n|`| &| \||;| [12]?>|(?<=\w)'(?=\s|$)|  #", text, maxsplit=1)[0]
    line = line.replace('"$@"', "tiny_32").replace("...", "")
    return shlex.split(re.sub(r"\$\{?\w+\}?", "1", line), comments=True)


def parse(given: list[str]) -> None:
    """Raises UsageError where a verb does not take these words; nothing is run."""
    application: Any = typer.main.get_command(cli.app)
    application.commands[given[0]].make_context(given[0], given[1:])


@pytest.mark.parametrize("path", YAMLS, ids=relative)
def test_every_yaml_loads(path: Path) -> None:
    documents = list(yaml.safe_load_all(path.read_text()))
    assert documents
    assert all(isinstance(document, dict) for document in documents)


@pytest.mark.parametrize("path", SCRIPTS, ids=relative)
def test_every_script_is_bash(path: Path) -> None:
    done = subprocess.run(["bash", "-n", path], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, "")
    assert path.read_text().startswith("#!/bin/bash\n")


@pytest.mark.parametrize("path", TEXTS, ids=relative)
def test_every_command_line_is_one_that_vitscape_takes(path: Path) -> None:
    for given in commands(path):
        parse(given)
        if given[0] == "search":
            assert {given[1], given[-1]} & set(names("spaces")), given


@pytest.mark.parametrize(
    ("recipe", "verb"),
    [
        ("deploy/README.md", "status"),
        ("deploy/one_box/run.sh", "search"),
        ("deploy/slurm/search.sbatch", "search"),
        ("deploy/ray_up/cluster.yaml", "search"),
        ("deploy/kubernetes/rayjob.yaml", "search"),
        ("docs/cluster.md", "search"),
    ],
)
def test_the_commands_of_every_recipe_are_found(recipe: str, verb: str) -> None:
    assert verb in {given[0] for given in commands(ROOT / recipe)}


def test_an_option_that_is_not_there_is_seen(tmp_path: Path) -> None:
    script = tmp_path / "some.sh"
    script.write_text('"$VENV/bin/vitscape" search "$@" \\\n    --gpus-per-trail 1 &\n')
    (given,) = commands(script)
    assert given == ["search", "tiny_32", "--gpus-per-trail", "1"]
    with pytest.raises(UsageError, match="--gpus-per-trail"):
        parse(given)


@pytest.mark.parametrize("path", sorted((DEPLOY / "ray_up").glob("*.yaml")), ids=relative)
def test_ray_up_takes_its_configurations(path: Path) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(yaml.safe_load(path.read_text()))
    validate_config(config)
    assert config["max_workers"] >= sum(kind["min_workers"] for kind in config["available_node_types"].values())


def test_the_timing_nodes_of_a_recipe_have_the_resource_that_its_search_asks_for() -> None:
    (job,) = yaml.safe_load_all((DEPLOY / "kubernetes/rayjob.yaml").read_text())
    groups = {group["groupName"]: group for group in job["spec"]["rayClusterSpec"]["workerGroupSpecs"]}
    has = json.loads(json.loads(groups["times"]["rayStartParams"]["resources"]))
    (asked,) = re.findall(r"--latency-resource (\w+)", job["spec"]["entrypoint"])
    assert has == {asked: 1}
    assert "resources" not in groups["trains"]["rayStartParams"]


def test_ray_start_is_given_text_alone() -> None:
    (job,) = yaml.safe_load_all((DEPLOY / "kubernetes/rayjob.yaml").read_text())
    cluster = job["spec"]["rayClusterSpec"]
    for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
        assert {type(value) for value in group["rayStartParams"].values()} <= {str}  # else KubeRay refuses the job


def test_only_the_head_is_given_the_password_and_the_data() -> None:
    (job,) = yaml.safe_load_all((DEPLOY / "kubernetes/rayjob.yaml").read_text())
    cluster = job["spec"]["rayClusterSpec"]
    workers = {group["groupName"]: json.dumps(group) for group in cluster["workerGroupSpecs"]}
    for secret in ("vitscape-postgres", "PASSWORD", "YOUR_DATA_CLAIM"):
        assert secret in json.dumps(cluster["headGroupSpec"])
        assert not [name for name, told in workers.items() if secret in told]


@pytest.mark.parametrize("path", TEXTS, ids=relative)
def test_no_recipe_names_a_host_to_download_from(path: Path) -> None:
    hosts = re.findall(r"https?://[\w.-]+|\b(?:docker|ghcr|quay|nvcr|gcr|pypi)\.\w+", path.read_text())
    assert not [host for host in hosts if not re.search(r"//(127\.0\.0\.1|localhost)$", host)]
