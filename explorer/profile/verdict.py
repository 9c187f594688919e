"""Whether a measured latency can be trusted, and why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from explorer.profile.watch import POWER_CAP, QUOTA
from explorer.record import DeviceState, Verdict

MOST_DISTURBED = 0.25  # of the blocks
MOST_LOAD = 0.1  # of the bound cores' time, taken by others
MOST_LOAD_ELSEWHERE = 0.25  # of the other cores' time: caches, memory and power are shared with them
LOAD_SHARED = 0.05  # of the other cores, where the sentinel is slower as well
DRIFT_SHARED = 0.03
MOST_DRIFT = 0.1  # beyond it the correction itself is a few percent off
WIDEST = 2.5  # times the target


def judge(
    *,
    width: float,
    target: float,
    drift: float,
    blocks: int,
    disturbed: Sequence[str],
    state: DeviceState,
) -> tuple[Verdict, str]:
    """The verdict on a measurement, and the reason in words ("" where it is ok).

    `width` is the interval's half-width as a share of the median, `drift` the sentinel's (0.05: 5 % slower than at
    rest), `disturbed` has a word for each block that was not counted. The gravest cause is told, not the symptom:
    throttling, then others on the device, then noise of unknown origin.
    """
    causes = Counter(disturbed)
    interrupted = causes.pop("interrupted", 0)
    many = MOST_DISTURBED * blocks
    if causes and sum(causes.values()) > many:
        why = ", ".join(sorted(causes))
        return "throttled", f"{sum(causes.values())} of {blocks} blocks were throttled ({why})"
    if QUOTA in state.throttled_by:
        return "throttled", "the container used up its CPU quota"
    if state.processes:
        return "shared", f"{state.processes} other processes computed on the device"
    if (state.load or 0) > MOST_LOAD:
        return "shared", f"others took {state.load:.0%} of the time of the cores used"
    if interrupted > many:
        return "shared", f"{interrupted} of {blocks} blocks were interrupted by others"
    elsewhere = state.load_elsewhere or 0
    if elsewhere > MOST_LOAD_ELSEWHERE or (elsewhere > LOAD_SHARED and abs(drift) > DRIFT_SHARED):
        return "shared", f"others kept the machine's other cores busy for {elsewhere:.0%} of the time"
    if abs(drift) > MOST_DRIFT and POWER_CAP not in state.throttled_by:
        slower = "slower" if drift > 0 else "faster"
        return "noisy", f"the device was {abs(drift):.0%} {slower} than at rest, by the sentinel"
    if width > WIDEST * target:
        return "noisy", f"a repeat may differ by {width:.1%}"
    return "ok", ""
