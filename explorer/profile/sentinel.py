"""The sentinel: one fixed network, timed in between, that tells how fast the device is at the moment.

Its times of earlier measurements on this machine are kept, so that today's can be compared with its time at rest, and
so that two searches weeks apart are measured against one yardstick.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import re
import time
from contextlib import suppress
from statistics import median, quantiles

import torch

from explorer.folders import state_folder
from explorer.profile.runtimes import Forward, example_images, prepare_eager
from explorer.profile.statistics import correction
from search_spaces.architecture import Architecture
from search_spaces.blocks.network import build

BATCH = {"cpu": 1, "cuda": 512, "mps": 64}  # so many that the device, not its host, is what is timed
KEPT = 100  # times of earlier measurements
BUSY = 0.1  # drift from which a time is not kept, or a busy day would become the yardstick
LASTING_S = 3600.0  # but so often, that a change which lasts is learnt
REST = 0.25  # the quantile of them that counts as at rest
USUAL_WANDER = 0.01  # relative, before there are enough of them to tell
UNLIKE = 0.25  # of a drift: standard deviation of what networks differ in from the sentinel (docs/benchmarks.md)
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

    def __init__(self, device_name: str, *conditions: object) -> None:
        # The machine's name, too: a home folder may be shared by many
        words = " ".join(map(str, (device_name, *conditions, platform.node(), SENTINEL.id, torch.__version__)))
        name = re.sub("[^a-z0-9]+", "-", device_name.lower()).strip("-")
        self.path = state_folder() / "sentinel" / f"{name}-{hashlib.sha256(words.encode()).hexdigest()[:12]}.json"
        self.entries = self._read()

    @property
    def times(self) -> list[float]:
        """The times kept, ms."""
        return [time_ms for _, time_ms in self.entries]

    def at_rest(self, now_ms: float) -> float:
        """The sentinel's time on the quiet device, ms: never more than it takes now."""
        if len(self.times) < 2:
            return min([now_ms, *self.times])
        return min(now_ms, quantiles(self.times, n=round(1 / REST), method="inclusive")[0])

    def apart(self, drift: float) -> float:
        """How far a repeat of a measurement may be from it in 95 % of cases, relative, for the device's sake alone.

        What the correction leaves of the drifts seen so far, and what of this and of a usual drift it gets wrong, since
        another network does not slow down quite as the sentinel does.
        """
        residual, usual = USUAL_WANDER, 0.0
        if len(self.times) >= ENOUGH:
            rest = self.at_rest(math.inf)
            shifts = [math.log(value / rest) for value in self.times]
            left = [shift - math.log(correction(math.expm1(shift))) for shift in shifts]
            # by medians: busy moments are not the rule
            residual = 1.4826 * median(abs(value - median(left)) for value in left)
            usual = median(abs(shift) for shift in shifts)
        return 1.96 * math.sqrt(2 * residual**2 + UNLIKE**2 * (math.log1p(drift) ** 2 + usual**2))

    def keep(self, now_ms: float) -> None:
        """Note a measurement's sentinel time; where the folder cannot be written to, nothing is kept."""
        now = time.time()
        busy = now_ms / self.at_rest(now_ms) - 1 > BUSY
        if busy and len(self.times) >= ENOUGH and now - self.entries[-1][0] < LASTING_S:
            return
        self.entries = [*self.entries, (now, now_ms)][-KEPT:]
        temporary = self.path.with_suffix(f".{os.getpid()}.{time.monotonic_ns()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            kept = {"sentinel": SENTINEL.id, "entries": "seconds since 1970, ms", "times": self.entries}
            temporary.write_text(json.dumps(kept))
            temporary.replace(self.path)
        except OSError:
            with suppress(OSError):
                temporary.unlink()

    def _read(self) -> list[tuple[float, float]]:
        try:
            entries = [(float(at), float(time_ms)) for at, time_ms in json.loads(self.path.read_text())["times"]]
        except (OSError, ValueError, KeyError, TypeError):
            return []
        return [(at, time_ms) for at, time_ms in entries if 0 < time_ms < math.inf][-KEPT:]
