"""Plotly figures of results frames and of what explorer.analysis makes of them: pure functions, no files, no app."""

from dashboard.figures.cloud import choice_shares, cloud_density, cloud_histogram
from dashboard.figures.compare import latency_dumbbells
from dashboard.figures.curve import learning_curve
from dashboard.figures.devices import rank_agreement
from dashboard.figures.edf import edf_curves
from dashboard.figures.front import pareto_front
from dashboard.figures.history import hypervolume_compared, hypervolume_history
from dashboard.figures.importance import importance_dots
from dashboard.figures.latencies import latency_scatter, predicted_measured
from dashboard.figures.learning import learning_curves
from dashboard.figures.parallel import parallel_coordinates
from dashboard.figures.slices import slice_strips
from dashboard.figures.stages import stage_costs, stage_shares
from dashboard.figures.timeline import timeline
from dashboard.figures.trends import complexity_trend

__all__ = [
    "choice_shares",
    "cloud_density",
    "cloud_histogram",
    "complexity_trend",
    "edf_curves",
    "hypervolume_compared",
    "hypervolume_history",
    "importance_dots",
    "latency_dumbbells",
    "latency_scatter",
    "learning_curve",
    "learning_curves",
    "parallel_coordinates",
    "pareto_front",
    "predicted_measured",
    "rank_agreement",
    "slice_strips",
    "stage_costs",
    "stage_shares",
    "timeline",
]
