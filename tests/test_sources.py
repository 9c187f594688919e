"""What every data source promises: the same seed, the same accuracy, whichever process decodes and trains."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from explorer.proxy.data import SOURCES
from tests import test_cifar, test_hub
from tests.encoded import items, members, table, write_folder, write_parquet, write_shard
from tests.minis import ARCHITECTURE

SCRIPT = """
import json, sys
from pathlib import Path
import torch, yaml
from explorer.evaluate import build_seeded
from explorer.proxy.data import load_data, parse_source
from explorer.proxy.train import TrainSettings, train
from search_spaces.architecture import Architecture

torch.set_num_threads(1)
found = {}
for source in json.loads(sys.argv[1]):
    data = load_data(source, 16, cache_dir=Path(sys.argv[2]))
    architecture = Architecture.from_dict(yaml.safe_load(sys.argv[3])).model_copy(update={"classes": data.classes})
    model = build_seeded(architecture, 3)
    result = train(model, data, TrainSettings(epochs=2, batch_size=8, warmup_epochs=0), device="cpu", seed=3)
    weights = torch.cat([value.flatten().double() for value in model.state_dict().values()])
    found[parse_source(source).kind] = [result.accuracy_by_epoch, weights.sum().item(), weights.std().item()]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A made-up set of every source, by kind."""
    root = tmp_path_factory.mktemp("sources")
    train, val = items(16), items(8, first=100)
    for kind in ("cifar10", "cifar100"):
        test_cifar.write(root / kind, test_cifar.files(kind, "binary"))
    write_parquet(root / "parquet" / "train-0.parquet", table(train))
    write_parquet(root / "parquet" / "validation-0.parquet", table(val))
    write_shard(root / "webdataset" / "train-0.tar", members(train))
    write_shard(root / "webdataset" / "val-0.tar", members(val))
    paths = {
        "folder": write_folder(root / "folder", {"train": train, "val": val}),
        "hf": test_hub.write_set(root / "hf", train=train, validation=val),
    }
    return {
        kind: f"{kind}:{paths.get(kind, root / kind)}" if SOURCES[kind].needs_path else f"{kind},subset=0.05"
        for kind in SOURCES
    }


def test_the_same_seed_gives_the_same_accuracy_in_two_processes_for_every_source(
    sources: dict[str, str], tmp_path: Path
) -> None:
    words = [json.dumps(list(sources.values())), ARCHITECTURE]
    commands = [[sys.executable, "-c", SCRIPT, words[0], str(tmp_path / name), words[1]] for name in ("a", "b")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    first, second = (json.loads(process.communicate(timeout=300)[0]) for process in running)
    assert first.keys() == SOURCES.keys()
    assert first == second
    same_files = [first[kind] for kind in ("folder", "parquet", "hf", "webdataset")]
    assert same_files == [first["folder"]] * 4
    assert len({json.dumps(value) for value in first.values()}) == len(SOURCES) - 3  # all others differ
