"""What the edits of a what-if make of a network, beside the original: costs, latency, and the trials nearest to it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pandas as pd
import streamlit as st

from dashboard import data, tables
from dashboard.canvas import called
from dashboard.figures.devices import short
from dashboard.figures.stages import short_number
from dashboard.text import plain
from explorer import results
from explorer.analysis.distribution import COMPLEXITY
from explorer.analysis.nearby import neighbours_measured
from explorer.analysis.whatif import latency_predictor, notes
from explorer.structure import columns_of, label
from search_spaces import Architecture, cost
from search_spaces.errors import InputError

if TYPE_CHECKING:
    from explorer.profile.predict import LatencyPredictor


def say_edits(original: Architecture, edits: Mapping[str, Any]) -> None:
    """What was changed, and what of it takes no effect."""
    if not edits:
        st.text("Change a choice, and see here at once what it costs.")
        return
    had = columns_of(original.to_dict())
    for column, value in edits.items():
        before = had.get(column)
        st.text(f"{label(column)}: {_word(value)}" + ("" if before is None else f" instead of {_word(before)}"))
    for line in notes(original, edits):
        st.caption(plain(line))


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def say_costs(original: Architecture, edited: Architecture) -> None:
    """MACs, parameters and activations with the difference to the original."""
    before, after = cost(original), cost(edited)
    for (name, metric), column in zip(COMPLEXITY.items(), st.columns(len(COMPLEXITY)), strict=True):
        old, new = (getattr(counted, name) * metric.scale for counted in (before, after))
        difference = (
            f"{'+' if new >= old else '-'}{short_number(abs(new - old))} {metric.unit} ({100 * (new / old - 1):+.1f} %)"
        )
        with column:
            st.metric(
                metric.label,
                f"{short_number(new)} {metric.unit}",
                difference if new != old else None,
                delta_color="inverse",
                help="Closed form, one image; lower is better",
            )


def say_latency(view: data.View, original: Architecture, edited: Architecture) -> None:
    """The predicted latency with its interval, or why there is none and what to do."""
    timed = results.latencies(view.frame)
    if not timed:
        st.text("No latency in this study, so none can be predicted: run vitscape measure and vitscape attach.")
        return
    name = timed[0]
    if len(timed) > 1:
        name = st.selectbox(
            "Predict", timed, key="predict", bind="query-params", format_func=lambda one: short(view.frame, str(one))
        )
    predictor, why = _predictor(view.key, name, view)
    if predictor is None:
        st.text(f"No predicted latency: {why}.")
        st.caption("Let the search run on, or measure more of its architectures and attach them: see the Devices page.")
        return
    told = predictor.predict([edited, original])
    words = [
        f"{m:.3g} ms [{lo:.3g}, {hi:.3g}]" for m, lo, hi in zip(told.median_ms, told.lo_ms, told.hi_ms, strict=True)
    ]
    with st.container(border=True):
        st.markdown(
            f"Predicted latency **{plain(words[0])}**, {told.median_ms[0] / told.median_ms[1]:.2f} times the original's"
        )
        st.caption(plain(f"original predicted {words[1]}; 95 % intervals for a measurement"))
        st.caption(plain(results.conditions(view.frame, name)))
        for inside, reason, whose in zip(told.in_domain, told.why, ("This", "The original"), strict=True):
            if not inside:
                st.warning(f"{whose} is outside of what was measured, do not rely on it: {plain(reason)}")
        st.caption(plain(predictor.validation.text()))


def neighbours(view: data.View, edited: Architecture) -> None:
    """The trials that are nearest to the edited network, with links."""
    found = neighbours_measured(view.frame, edited.to_dict())
    st.subheader("Neighbours already measured")
    if found.empty:
        st.text("No trial of this study has been measured yet: let the search run on.")
        return
    same = found[(found["id"] == edited.id).to_numpy(dtype=bool, na_value=False)]
    if len(same):
        st.text(f"Trial {same['number'].iloc[0]} is this very network.")
    wanted = ["accuracy", *results.latencies(view.frame), "macs", "params"]
    table = pd.DataFrame({"trial": [_link(view, int(number)) for number in found["number"]]})
    table["choices that differ"] = found["differs"].to_numpy()
    for metric in results.metrics_of(view.frame, wanted):
        heading = called(metric, view.data).quantity
        table[heading] = found[metric.column].to_numpy(dtype=float, na_value=float("nan")) * metric.scale
    table["what differs"] = [words or "nothing that is compared" for words in found["difference"]]
    columns = {"trial": st.column_config.LinkColumn(display_text=r"trial=(\d+)")}
    tables.show(table, key="neighbours", config=columns)
    st.caption(
        "Trials that differ in one choice, or the nearest where none does; norms of stem and head are not compared."
    )


def _link(view: data.View, number: int) -> str:
    return f"architecture?{urlencode({'study': view.name})}&trial={number}"


@st.cache_resource(max_entries=8, show_spinner="Learning to predict latencies")
def _predictor(key: Hashable, name: str, _view: data.View) -> tuple[LatencyPredictor | None, str]:
    """The predictor of a latency, or why there is none."""
    try:
        return latency_predictor(_view.frame, _view.architectures, name), ""
    except ModuleNotFoundError as error:
        return None, f"it needs {error.name}, which pip install 'vitscape[search]' brings"
    except InputError as error:
        return None, str(error)
