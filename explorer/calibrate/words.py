"""What a report card means for a search, in words."""

from __future__ import annotations

import math

from explorer.calibrate.card import LAG, Card, Noise
from explorer.calibrate.correlation import Interval

GOAL = 0.7  # tau of one seed, from which a proxy ranks well: 85 % of the pairs of networks in the right order
FEW = 20  # networks, below which intervals are wider than what they are to tell


def warning(card: Card) -> str | None:
    """That counting parameters would do as well, where that cannot be excluded; else None."""
    lead = card.params.lead
    if lead is not None and lead.lo > 0:
        return None
    found = "the proxy is no better than counting parameters"
    if lead is not None and lead.value > 0:
        found = f"{len(card.networks)} networks cannot tell whether the proxy is better than counting parameters"
    return f"WARNING: {found}: tau {number(card.single.tau.value)} against {number(card.params.tau.value)}" + (
        "" if lead is None else f", a difference of {spelt(lead)}"
    )


def advice(card: Card, epochs: int) -> list[str]:
    """What to do, one sentence or two each; `epochs` is the length of the proxy's schedule."""
    lines = (_when_to_stop(card, epochs), _what_limits(card), _which_baseline(card), _how_sure(card))
    return [line for line in lines if line]


def _when_to_stop(card: Card, epochs: int) -> str:
    run, enough = len(card.epochs), card.enough
    longer = f"--stop-epoch beyond {run}" if run < epochs else f"--epochs beyond {epochs}"
    lead, tau = card.params.lead, card.epochs[enough - 1].single.value
    if lead is None or not lead.value > 0:
        return f"Train longer before trusting the order: {longer}."
    if run == 1:
        return f"Whether more epochs rank better: {longer}."
    if enough == run:
        return f"Train for {run} epochs or more: earlier ones rank worse. Whether later ones rank better: {longer}."
    best = card.epochs[card.best_epoch - 1].single.value
    return (
        f"Use --stop-epoch {enough}: tau {number(tau)}, which cannot be told from the best, {number(best)} after epoch"
        f" {card.best_epoch}, at {100 * enough / run:.0f} % of the training."
    )


def _what_limits(card: Card) -> str:
    tau, mean, seeds = card.single.tau.value, card.rankings[0].tau.value, len(card.networks[0].longs)
    if tau >= GOAL or math.isnan(tau):
        return ""
    if card.ceiling is None or card.proxy.between_seeds is None:
        return "Why it ranks no better cannot be told from one seed: --seeds 2."
    most = f"against the mean of {seeds} long trainings no proxy is expected above tau {number(card.ceiling.value)}"
    if max(tau, 0.0) > card.ceiling.value - LAG:  # what ranks worse than chance ranks as chance does
        return (
            f"Seeds limit what can be seen: {most}. A space whose networks differ more, harder data, or more --seeds"
            " would tell more."
        )
    besides = f" Besides, {most}: more --seeds raise that." if card.ceiling.value < GOAL else ""
    if mean - tau > LAG or _lost(card.proxy):
        return (
            f"Seeds blur the proxy: they differ by {card.proxy.between_seeds:.1f} points, the networks by"
            f" {card.proxy.between_networks:.1f}. Train longer, or retrain the front of a search with other seeds."
        ) + besides
    return (
        "Seeds are not what limits it: other networks lead early than late. Train longer; more seeds do not help it."
        + besides
    )


def _which_baseline(card: Card) -> str:
    best = max(card.baselines, key=lambda one: -2.0 if math.isnan(one.tau.value) else one.tau.value)
    if not best.tau.lo > 0:
        return "Nothing that costs no training ranks these networks better than chance."
    above = ", above the proxy's own." if best.lead is not None and best.lead.value < 0 else "."
    return f"Of what costs no training, {best.name} ranks best: tau {spelt(best.tau)}{above}"


def _how_sure(card: Card) -> str:
    if len(card.networks) >= FEW and warning(card) is None:
        return ""
    return f"{len(card.networks)} networks make intervals so wide: more --networks tell more."


def _lost(noise: Noise) -> bool:
    """Whether seeds differ by more than half of what networks do."""
    seeds, networks = noise.between_seeds, noise.between_networks
    return seeds is not None and networks is not None and seeds > networks / 2


def number(value: float) -> str:
    """A correlation: "0.71", "-0.05"; "?" where it is none."""
    return "?" if math.isnan(value) else f"{value:.2f}"


def spelt(interval: Interval) -> str:
    """A correlation with its interval: "0.71 (0.55 to 0.83)"."""
    if math.isnan(interval.lo):
        return number(interval.value)
    return f"{number(interval.value)} ({number(interval.lo)} to {number(interval.hi)})"
