"""What a session has chosen, in its URL: study, trial, trials to compare; and how wide and how dark its page is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import streamlit as st

from dashboard.canvas import ThemeName

MOST_COMPARED = 6
NARROW = 560  # pixels of a chart, below which a page counts as narrow
STUDY, TRIAL, COMPARE, WIDTHS, UNKNOWN = "study", "trial", "compare", "_widths", "_unknown"


def restore(names: Sequence[str], first: str | None) -> None:
    """Takes the choices from the link that opened the session: of its study, else of `first`, or of the first."""
    for key in (TRIAL, COMPARE):
        if f"_{key}" not in st.session_state:
            st.session_state[f"_{key}"] = _numbers(st.query_params.get(key, ""))
    if st.session_state.get(STUDY) not in names:  # a new session, or its study was deleted
        asked = st.query_params.get(STUDY, first)
        st.session_state[STUDY] = asked if asked in names else names[0]
        if asked not in (None, *names):
            forget()
            st.session_state[UNKNOWN] = asked


def unknown() -> str | None:
    """The study of a link that the storage has not; None once another one was chosen."""
    asked: str | None = st.session_state.get(UNKNOWN)
    return asked


def in_link() -> dict[str, str]:
    """The choices as a link says them."""
    kept = {key: st.session_state.get(f"_{key}", []) for key in (TRIAL, COMPARE)}
    words = {key: ",".join(map(str, numbers)) for key, numbers in kept.items() if numbers}
    return words | ({STUDY: st.session_state[STUDY]} if STUDY in st.session_state else {})


def show() -> None:
    """Keeps the choices in the URL of every page; in one change, which is one step for the browser's way back."""
    wanted = in_link()
    if any(st.query_params.get(key) != text for key, text in wanted.items()):
        st.query_params.update(wanted)
    for key in (TRIAL, COMPARE):
        if key not in wanted and key in st.query_params:
            del st.query_params[key]


def forget() -> None:
    """Drops the choice of trials: their numbers mean nothing in another study."""
    st.session_state[f"_{TRIAL}"], st.session_state[f"_{COMPARE}"], st.session_state[UNKNOWN] = [], [], None


def trial() -> int | None:
    """The number of the chosen trial."""
    numbers = st.session_state.get(f"_{TRIAL}", [])
    return numbers[0] if numbers else None


def choose(number: int | None) -> None:
    """Chooses a trial for all pages; None for no trial."""
    _keep(TRIAL, [] if number is None else [int(number)])


def chosen() -> list[int]:
    """The numbers of the trials to compare, six at most."""
    return list(st.session_state.get(f"_{COMPARE}", []))


def set_chosen(numbers: Iterable[int]) -> None:
    """Chooses the trials to compare, the first six of these."""
    _keep(COMPARE, list(dict.fromkeys(int(number) for number in numbers))[:MOST_COMPARED])


def theme() -> ThemeName:
    """Whether the browser shows the page light or dark."""
    return "dark" if st.context.theme.type == "dark" else "light"


def width(chart: str | None = None) -> int | None:
    """Pixels that a chart (by its key) has, None before that is known; without a key, of a narrow page alone."""
    widths: dict[str, int] = st.session_state.get(WIDTHS, {})
    if chart is not None and chart in widths:
        return widths[chart]
    narrow = [pixels for pixels in widths.values() if pixels < NARROW]
    return narrow[-1] if narrow and len(narrow) == len(widths) else None


def set_width(chart: str, pixels: int) -> None:
    """Remembers the pixels that a chart has."""
    st.session_state[WIDTHS] = {**st.session_state.get(WIDTHS, {}), chart: pixels}


def _keep(key: str, numbers: list[int]) -> None:
    st.session_state[f"_{key}"] = numbers
    show()


def _numbers(text: str) -> list[int]:
    """The trial numbers of a link; what is no number is left out."""
    words = [word.strip() for word in text.split(",")]
    numbers = [int(word) for word in words if word.isascii() and word.isdecimal() and len(word) <= 9]
    return list(dict.fromkeys(numbers))[:MOST_COMPARED]
