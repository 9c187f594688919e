"""The sentinel: one fixed network, timed in between, that tells how fast the device is at the moment.

Its times of earlier measurements on this machine are kept, so that today's can be compared with its time at rest, and
so that two searches weeks apart are measured against one yardstick.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from statistics import median, quantiles

import torch

from explorer.folders import state_folder
from explorer.profile.runtimes import Forward, example_images, prepare_eager
from search_spaces.architecture import Architecture
from search_spaces.blocks.network import build

BATCH = {"cpu": 1, "cuda": 512, "mps": 64}  # so many that the device, not its host, is what is timed
KEPT = 100  # times of earlier measurements
REST = 0.25  # the quantile of them that counts as at rest
USUAL_WANDER = 0.02  # relative, before there are enough of them to tell
ENOUGH = 8
SENTINEL = Architecture.from_dict(
    {
        "format": "vitscape/architecture@1",
        "image_size": 64,
        "classes": 10,
        "stem": {"kind": "conv", "stride": 4},
        "stages": [
            {"width": 48, "depth": 1, "mixer": {"kind": "conv", "kernel": 3}},
            {"width": 96, "depth": 2, "mixer": {"kind": "global", "heads": 3}, "downsample": "patch_merging"},
        ],
    },
    "sentinel",
)


def build_sentinel(device: torch.device) -> Forward:
    """One forward pass of the sentinel on a device, eager, fp32; the weights are the same everywhere."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build(SENTINEL).fuse()
    return prepare_eager(network, example_images(BATCH[device.type], 3, SENTINEL.image_size, device), "fp32")


class Yardstick:
    """The sentinel's times of earlier measurements under the same conditions, ms, kept in the state folder."""

    def __init__(self, *conditions: object) -> None:
        words = " ".join(str(word) for word in (*conditions, SENTINEL.id, torch.__version__))
        name = re.sub("[^a-z0-9]+", "-", str(conditions[0]).lower()).strip("-")
        self.path = state_folder() / "sentinel" / f"{name}-{hashlib.sha256(words.encode()).hexdigest()[:12]}.json"
        self.times = self._read()

    def at_rest(self, now_ms: float) -> float:
        """The sentinel's time on the quiet device, ms: never more than it takes now."""
        if len(self.times) < 2:
            return min([now_ms, *self.times])
        return min(now_ms, quantiles(self.times, n=round(1 / REST), method="inclusive")[0])

    @property
    def wander(self) -> float:
        """Relative standard deviation of the sentinel's time between measurements; robust against busy moments."""
        if len(self.times) < ENOUGH:
            return USUAL_WANDER
        logs = [math.log(value) for value in self.times]
        middle = median(logs)
        return 1.4826 * median(abs(value - middle) for value in logs)

    def keep(self, now_ms: float) -> None:
        """Note a measurement's sentinel time; where the folder cannot be written to, nothing is kept."""
        self.times = [*self.times, now_ms][-KEPT:]
        temporary = self.path.with_suffix(f".{os.getpid()}.{time.monotonic_ns()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps({"sentinel": SENTINEL.id, "unit": "ms", "times": self.times}))
            temporary.replace(self.path)
        except OSError:
            with suppress(OSError):
                temporary.unlink()

    def _read(self) -> list[float]:
        try:
            times = json.loads(Path(self.path).read_text())["times"]
            return [float(value) for value in times if 0 < float(value) < math.inf][-KEPT:]
        except (OSError, ValueError, KeyError, TypeError):
            return []
