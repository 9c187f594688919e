"""Samples of a search space on a page: the first are there at once, all of them when they are wanted and sampled."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard.text import plain
from explorer.analysis import cloud
from search_spaces.space import SearchSpace

KEPT = 4  # whole clouds that the server keeps in memory
SAMPLES = "samples"  # key of the page's control


def sizes() -> list[str]:
    """How many samples can be had: at once, and in all."""
    return [f"{number:,}" for number in (cloud.FIRST, cloud.NUMBER)]


def choose_samples() -> bool:
    """Whether all samples are wanted."""
    few, many = sizes()
    chosen = st.segmented_control(
        "Samples of the space",
        [few, many],
        default=few,
        required=True,
        key=SAMPLES,
        bind="query-params",
        help=f"{many} take 15 to 60 s of one core the first time and are kept: wait where a search on this machine"
        " is measuring latencies.",
    )
    return chosen == many


def samples(space: SearchSpace, whole: bool) -> pd.DataFrame:
    """The first samples of the space, or all where they are wanted and there; meanwhile how far they are."""
    stamp = cloud.stamp(space, cloud.FIRST)
    first = _first(stamp, space)
    if not whole:
        return first
    clouds, stamp = _clouds(), cloud.stamp(space, cloud.NUMBER)
    if stamp not in clouds:
        if len(clouds) >= KEPT:
            clouds.pop(next(iter(clouds)))
        kept = cloud.kept(space, cloud.NUMBER)
        clouds[stamp] = cloud.Sampling(space, cloud.NUMBER) if kept is None else kept
    found = clouds[stamp]
    if isinstance(found, pd.DataFrame):
        return found
    if not found.running:
        kept = cloud.kept(space, cloud.NUMBER)
        if kept is not None:
            clouds[stamp] = kept
            return kept
        st.warning(f"The sampling ended early: {plain(found.error)}. Below the first {cloud.FIRST:,}.")
        st.button("Sample again", icon=":material/refresh:", key="again", on_click=_forget, args=(found,))
        return first
    st.fragment(_wait, run_every=1.0)(found)
    return first


def _wait(sampling: cloud.Sampling) -> None:
    """How far the sampling is; the page anew when it has ended."""
    if not sampling.running:
        st.rerun()
    share = min(sampling.sampled / sampling.number, 1.0)
    st.progress(share, f"{sampling.sampled:,} of {sampling.number:,} sampled; below the first {cloud.FIRST:,}")
    st.button("Stop", icon=":material/stop:", key="stop", on_click=_stop, args=(sampling,))


def _stop(sampling: cloud.Sampling) -> None:
    sampling.stop()
    _forget(sampling)
    st.session_state[SAMPLES] = sizes()[0]


def _forget(sampling: cloud.Sampling) -> None:
    clouds = _clouds()
    for stamp in [stamp for stamp, found in clouds.items() if found is sampling]:
        clouds.pop(stamp, None)


@st.cache_resource(max_entries=4, show_spinner="Sampling the space")
def _first(stamp: str, _space: SearchSpace) -> pd.DataFrame:
    return cloud.cloud(_space, cloud.FIRST)


@st.cache_resource(show_spinner=False)
def _clouds() -> dict[str, pd.DataFrame | cloud.Sampling]:
    """Whole clouds, sampled or being sampled, by their stamp."""
    return {}
