"""What a session has chosen, in its URL: the trial, the trials to compare; and how wide and how dark its page is."""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st

from dashboard.canvas import ThemeName

MOST_COMPARED = 6
NARROW = 560  # pixels of a chart, below which a page counts as narrow
TRIAL, COMPARE, WIDTHS = "trial", "compare", "_widths"


def restore() -> None:
    """Takes the choices from the link that opened the session, and keeps them in the URL of every page."""
    for key in (TRIAL, COMPARE):
        kept = f"_{key}"
        if kept not in st.session_state:
            st.session_state[kept] = _numbers(st.query_params.get(key, ""))
        _show(key)


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
    _show(key)


def _show(key: str) -> None:
    text = ",".join(map(str, st.session_state[f"_{key}"]))
    if text and st.query_params.get(key) != text:
        st.query_params[key] = text
    elif not text and key in st.query_params:
        del st.query_params[key]


def _numbers(text: str) -> list[int]:
    """The trial numbers of a link; what is no number is left out."""
    words = [word.strip() for word in text.split(",")]
    numbers = [int(word) for word in words if word.isascii() and word.isdecimal() and len(word) <= 9]
    return list(dict.fromkeys(numbers))[:MOST_COMPARED]
