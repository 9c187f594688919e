"""The samplers that can drive a search, by name."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIIISampler, NSGAIISampler, RandomSampler, TPESampler

from explorer.search.pareto import ParetoSampler
from explorer.search.pareto.domain import Domain
from search_spaces.errors import InputError

# Optuna's default of 50 starts selecting too late for searches of some hundred trials
POPULATION = 20


def _tpe(seed: int, domain: Domain | None) -> BaseSampler:
    # multivariate and grouped: parameters that exist together are sampled together
    return TPESampler(seed=seed, multivariate=True, group=True)


SAMPLERS: dict[str, Callable[[int, Domain | None], BaseSampler]] = {
    "pareto": lambda seed, domain: ParetoSampler(seed, domain=domain),
    "tpe": _tpe,
    "nsga2": lambda seed, domain: NSGAIISampler(seed=seed, population_size=POPULATION),
    "nsga3": lambda seed, domain: NSGAIIISampler(seed=seed, population_size=POPULATION),
    "gp": lambda seed, domain: GPSampler(seed=seed, warn_independent_sampling=False),
    "random": lambda seed, domain: RandomSampler(seed=seed),
}
DEFAULT = "pareto"  # by docs/benchmarks.md, "Search policy"


def make_sampler(name: str, seed: int, *, domain: Domain | None = None, begun: int = 0) -> BaseSampler:
    """The sampler of this name, for a study that has so many trials; `domain` is what is known of the space.

    Raises:
        InputError: no such sampler; one line with the names.
    """
    if name not in SAMPLERS:
        raise InputError(f"sampler={name}: not known; use one of {', '.join(SAMPLERS)}")
    if name != "pareto":  # begun again from their seed the others would repeat their first proposals
        seed = (seed + 1_000_003 * begun) % 2**32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return SAMPLERS[name](seed, domain)
