"""The samplers that can drive a search, by name."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIIISampler, NSGAIISampler, RandomSampler, TPESampler

from search_spaces.errors import InputError

# Optuna's default of 50 starts selecting too late for searches of some hundred trials
POPULATION = 20


def _tpe(seed: int) -> BaseSampler:
    # multivariate and grouped: parameters that exist together are sampled together
    return TPESampler(seed=seed, multivariate=True, group=True)


SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": _tpe,
    "nsga2": lambda seed: NSGAIISampler(seed=seed, population_size=POPULATION),
    "nsga3": lambda seed: NSGAIIISampler(seed=seed, population_size=POPULATION),
    "gp": lambda seed: GPSampler(seed=seed, warn_independent_sampling=False),
    "random": lambda seed: RandomSampler(seed=seed),
}


def make_sampler(name: str, seed: int) -> BaseSampler:
    """The sampler of this name.

    Raises:
        InputError: no such sampler; one line with the names.
    """
    if name not in SAMPLERS:
        raise InputError(f"sampler={name}: not known; use one of {', '.join(SAMPLERS)}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return SAMPLERS[name](seed)
