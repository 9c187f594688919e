"""Plotly figures of results frames (explorer.results.frame): pure functions, no files, no app."""

from dashboard.figures.front import pareto_front
from dashboard.figures.history import hypervolume_history

__all__ = ["hypervolume_history", "pareto_front"]
