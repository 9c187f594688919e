"""The report card of a proxy: how well it ranks networks, beside what costs nothing, and what limits it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from explorer.calibrate.correlation import Bootstrap, Floats, Interval

LAG = 0.1  # of tau, behind the best epoch's, that a cheaper one may have
TOLD_APART = 1.96 * 2**0.5  # standard deviations of a training, of the difference of two, at 95 %


@dataclass(frozen=True)
class Network:
    """What was found of one network of the sample."""

    id: str
    what: str  # in words
    macs: int
    params: int
    proxies: tuple[tuple[float, ...], ...]  # accuracy after each epoch, %, of each seed
    longs: tuple[float, ...]  # final accuracy, %, of each seed
    scores: Mapping[str, float]  # zero-cost, mean over the proxies' seeds


@dataclass(frozen=True)
class Ranking:
    """How one quantity ranks the networks, against the mean of the long trainings."""

    name: str
    tau: Interval  # Kendall's tau-b
    rho: Interval  # Spearman's
    lead: Interval | None  # tau of the proxy, one seed, less this one's; None of the proxy itself


@dataclass(frozen=True)
class Epoch:
    """How the proxy ranks where the search leaves it after so many epochs."""

    epoch: int
    mean: Interval  # tau, mean of the seeds
    single: Interval  # tau of one seed, the mean of their taus
    behind: Interval  # tau of the best epoch less this one's, of one seed


@dataclass(frozen=True)
class Noise:
    """Seeds against networks, in points of accuracy; None where there is one seed."""

    between_seeds: float | None  # standard deviation of one training
    between_networks: float | None  # of what the networks would reach on average, seed noise taken out
    apart: float | None  # difference of two networks, trained once each, that is no chance at 95 %


@dataclass(frozen=True)
class Card:
    """All that a calibration found."""

    networks: tuple[Network, ...]
    rankings: tuple[Ranking, ...]  # mean of the seeds, one seed, parameters, MACs, scores
    epochs: tuple[Epoch, ...]
    proxy: Noise
    long: Noise
    ceiling: Interval | None  # tau of a proxy that makes no mistake (ceiling()); None where there is one seed

    @property
    def single(self) -> Ranking:
        """The proxy as a search has it: one seed."""
        return self.rankings[1]

    @property
    def params(self) -> Ranking:
        """Counting parameters."""
        return self.rankings[2]

    @property
    def baselines(self) -> tuple[Ranking, ...]:
        """What costs no training."""
        return self.rankings[2:]

    @property
    def best_epoch(self) -> int:
        """The epoch of the highest tau, of one seed."""
        return max(self.epochs, key=lambda one: np.nan_to_num(one.single.value, nan=-2.0)).epoch

    @property
    def enough(self) -> int:
        """The first epoch whose tau is within 0.1 of the best one's, and cannot be told from it.

        Few networks can tell hardly anything, so that the interval alone would have every epoch do.
        """
        close = (one.epoch for one in self.epochs if one.behind.value <= LAG and one.behind.lo <= 0)
        return next(close, self.best_epoch)


def report_card(networks: Sequence[Network], *, seed: int = 0) -> Card:
    """The card of networks that have as many seeds and epochs, each; at least 3 of them.

    Intervals are of 95 %, from a bootstrap over networks. Where all values of a quantity are equal, its tau is NaN.
    """
    boot = Bootstrap(len(networks), seed=seed)
    curves = np.array([network.proxies for network in networks])  # (n, seeds, epochs)
    longs = np.array([network.longs for network in networks])  # (n, seeds)
    truth = longs.mean(axis=1)
    taus = [_of_seeds(boot, curves[:, :, epoch], truth) for epoch in range(curves.shape[2])]
    single = taus[-1]
    quantities: dict[str, Floats] = {
        "parameters": np.array([float(network.params) for network in networks]),
        "MACs": np.array([float(network.macs) for network in networks]),
    }
    for name in networks[0].scores:
        quantities[name] = np.array([network.scores[name] for network in networks])
    last = curves[:, :, -1]
    rhos = np.mean([boot.rho(last[:, i], truth) for i in range(last.shape[1])], axis=0)
    mean_tau, mean_rho = boot.tau(last.mean(axis=1), truth), boot.rho(last.mean(axis=1), truth)
    rankings = [
        Ranking("proxy, mean of seeds", boot.interval(mean_tau), boot.interval(mean_rho), None),
        Ranking("proxy, one seed", boot.interval(single), boot.interval(rhos), None),
    ]
    for name, values in quantities.items():
        tau, rho = boot.tau(values, truth), boot.rho(values, truth)
        lead = boot.interval(single - np.nan_to_num(tau))  # what orders nothing agrees as much as chance does
        rankings.append(Ranking(name, boot.interval(tau), boot.interval(rho), lead))
    epochs = _epochs(boot, curves, truth, taus)
    return Card(tuple(networks), tuple(rankings), epochs, noise(last), noise(longs), ceiling(boot, longs))


def noise(accuracies: Floats) -> Noise:
    """Seeds against networks, of accuracies (networks, seeds) in %."""
    seeds = accuracies.shape[1]
    if seeds < 2:
        return Noise(None, None, None)
    between_seeds = float(np.sqrt(accuracies.var(axis=1, ddof=1).mean()))
    of_means = float(accuracies.mean(axis=1).var(ddof=1))  # holds what is left of the seeds' noise, too
    between_networks = float(np.sqrt(max(0.0, of_means - between_seeds**2 / seeds)))
    return Noise(between_seeds, between_networks, TOLD_APART * between_seeds)


def ceiling(boot: Bootstrap, longs: Floats) -> Interval | None:
    """The tau, against the mean of long trainings (networks, seeds), of a proxy that knew what each reaches on average.

    The tau of two trainings, mean of all pairs, gives their correlation r = sin(pi tau / 2); that of the mean of k with
    what is reached on average is the root of k r / (1 + (k - 1) r) (Spearman 1910, Brown 1910), and that gives a tau
    again. What networks reach and the noise of seeds are taken to be normal, on some scale that keeps the order.
    """
    seeds = longs.shape[1]
    if seeds < 2:
        return None
    tau = np.mean([boot.tau(longs[:, i], longs[:, j]) for i, j in combinations(range(seeds), 2)], axis=0)
    single = np.sin(np.pi / 2 * np.clip(tau, 0, 1))
    reliability = seeds * single / (1 + (seeds - 1) * single)
    return boot.interval(2 / np.pi * np.arcsin(np.sqrt(reliability)))


def _of_seeds(boot: Bootstrap, accuracies: Floats, truth: Floats) -> Floats:
    """Mean over the seeds of each one's tau, of every draw."""
    found: Floats = np.mean([boot.tau(accuracies[:, i], truth) for i in range(accuracies.shape[1])], axis=0)
    return found


def _epochs(boot: Bootstrap, curves: Floats, truth: Floats, taus: list[Floats]) -> tuple[Epoch, ...]:
    best = max(taus, key=lambda tau: np.nan_to_num(tau[0], nan=-2.0))
    return tuple(
        Epoch(
            epoch,
            boot.interval(boot.tau(curves[:, :, epoch - 1].mean(axis=1), truth)),
            boot.interval(tau),
            boot.interval(best - tau),
        )
        for epoch, tau in enumerate(taus, 1)
    )
