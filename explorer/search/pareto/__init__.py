"""A sampler for studies of several objectives over categorical and integer parameters, conditional or not."""

from explorer.search.pareto.sampler import ParetoSampler

__all__ = ["ParetoSampler"]
