"""The trials that a chooser offers: the members of the front, read once for all sessions."""

from __future__ import annotations

from collections.abc import Hashable

import streamlit as st

from dashboard import data
from explorer import results

MOST = 200  # of a front, in a chooser


def front_members(view: data.View) -> tuple[int, ...]:
    """Numbers of the front's members by rising cost, 200 at most."""
    return _members(view.key, view)[0]


def first_choice(view: data.View) -> int | None:
    """The trial to show where none is chosen: the knee, else the first with an architecture; None where none has."""
    return _members(view.key, view)[1]


def own_front(view: data.View) -> frozenset[int]:
    """Numbers of all members of the study's own front, of all its objectives."""
    return _own_front(view.key, view)


@st.cache_resource(max_entries=16, show_spinner=False)
def _own_front(key: Hashable, _view: data.View) -> frozenset[int]:
    return frozenset(int(number) for number in results.front(_view.frame, _view.objectives)["number"])


@st.cache_resource(max_entries=16, show_spinner=False)
def _members(key: Hashable, _view: data.View) -> tuple[tuple[int, ...], int | None]:
    frame, objectives = _view.frame, _view.objectives
    members = tuple(int(number) for number in results.front(frame, objectives)["number"].head(MOST))
    knee = results.knee(frame, objectives) if members else None
    if knee is not None:
        return members, int(knee["number"])
    known = frame.loc[frame["id"].notna(), "number"].head(1)
    return members, None if known.empty else int(known.iloc[0])
