"""What timed blocks say: a median, an interval that holds the median of a repeat, and the device's drift."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from statistics import median

from search_spaces.errors import InputError

SENTINEL_NOISE = 0.05  # relative: a drift well below it is the sentinel's own noise, one well above it is the device's
SMOOTHED_OVER = 5  # sentinel blocks around a block


def median_ci(samples: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Median, and the lower and upper end of its distribution-free confidence interval, in the samples' unit.

    The ends are order statistics. Of n independent samples, the number below the true median is binomial (n, 1/2): the
    k-th smallest and k-th largest hold it with probability 1 - 2 P(binomial < k), for whatever distribution.

    >>> median_ci([5.0, 1.0, 2.0, 4.0, 3.0, 6.0])
    (3.5, 1.0, 6.0)
    """
    if not 0 < confidence < 1:
        raise InputError(f"confidence={confidence!r}: give a probability between 0 and 1, such as 0.95")
    ordered = sorted(samples)
    rank = _rank(len(ordered), (1 - confidence) / 2)
    if rank == 0:
        raise InputError(
            f"{len(ordered)} samples are too few for a {confidence:.0%} interval of their median; take more"
        )
    return median(ordered), ordered[rank - 1], ordered[-rank]


def repeat_interval(blocks: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float] | None:
    """Median of successive blocks' times, and an interval that holds the median of a repeat; None for too few blocks.

    Like `median_ci`, for as many independent samples as the blocks are worth: successive blocks are alike, which their
    autocorrelation tells, and a repeat is as uncertain as this measurement, which halves the number again.
    """
    n = len(blocks)
    worth = int(n / correlation_time(blocks) / 2) if n else 0
    rank = _rank(worth, (1 - confidence) / 2) if worth else 0
    if rank == 0:
        return None
    ordered = sorted(blocks)
    # the ends are the quantiles that they would be among `worth` samples
    below = max(1, math.floor((rank - 0.5) / worth * n + 0.5))
    return median(ordered), ordered[below - 1], ordered[-below]


def correlation_time(series: Sequence[float]) -> float:
    """How many successive values are worth one independent value, at least 1 (Geyer 1992, initial positive sequence).

    On ranks, so that single outliers do not hide it.
    """
    n = len(series)
    ordered = sorted(series)
    # equals share their mean rank
    ranks = [(bisect_left(ordered, value) + bisect_right(ordered, value) - n) / 2 for value in series]
    variance = sum(value * value for value in ranks)
    if variance == 0:
        return 1.0
    time = 1.0
    for lag in range(1, n // 2, 2):
        pair = sum(_product(ranks, further) for further in (lag, lag + 1)) / variance
        if pair <= 0:
            break
        time += 2 * pair
    return time


def _product(values: Sequence[float], lag: int) -> float:
    return sum(a * b for a, b in zip(values, values[lag:], strict=False))


def smoothed(series: Sequence[float | None]) -> list[float | None]:
    """The running median of a series with gaps, over SMOOTHED_OVER values around each; None where all are missing."""
    half = SMOOTHED_OVER // 2
    around = ([v for v in series[max(0, i - half) : i + half + 1] if v is not None] for i in range(len(series)))
    return [median(values) if values else None for values in around]


def correction(drift: float) -> float:
    """What to divide a time by, where the sentinel took (1 + drift) times as long as at rest.

    The sentinel has noise of its own: of a small drift little is believed, of a large one nearly all (Wiener's filter:
    signal over signal and noise).

    >>> [round(correction(drift), 3) for drift in (0.01, 0.05, 0.3)]
    [1.0, 1.02, 1.287]
    """
    shift = math.log1p(drift)
    return math.exp(shift * shift**2 / (shift**2 + SENTINEL_NOISE**2))


def _rank(n: int, tail: float) -> int:
    """The largest k with P(binomial(n, 1/2) < k) <= tail."""
    # Ten standard deviations below the mean nothing is left to sum, and beyond n = 1074 2**-n is no float any more
    k = max(0, int(n / 2 - 5 * math.sqrt(n)))
    term = math.exp(math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2))  # P(= k)
    below = term
    while below <= tail:
        term *= (n - k) / (k + 1)
        k += 1
        below += term
    return k
