"""The frame around every page: the study's chooser, what is new in the storage, and the pages."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboard import data, state
from dashboard.text import plain
from search_spaces.errors import InputError

DEFAULT = "explore"
WHOLE = "_whole"  # in the session's state while all of the page runs, not only what looks for news
HERE = Path(__file__).parent
PAGES = HERE / "screens"  # streamlit runs what is in a folder called pages by itself
STYLE = """
.stMainBlockContainer {padding-top: 3rem; padding-bottom: 3rem}
@media (max-width: 768px) {.stMainBlockContainer {padding-top: 4.5rem}}
"""  # less empty paper than streamlit's; on a phone its header covers the top
TITLES = {  # file: title, icon
    DEFAULT: ("Explore", ":material/scatter_plot:"),
    "overview": ("Overview", ":material/dashboard:"),
    "architecture": ("Architecture", ":material/account_tree:"),
    "compare": ("Compare", ":material/compare_arrows:"),
    "search": ("Search", ":material/trending_up:"),
    "design_space": ("Design space", ":material/landscape:"),
    "devices": ("Devices", ":material/memory:"),
    "trials": ("Trials", ":material/table_rows:"),
}


def main() -> None:
    st.set_page_config(layout="wide", page_icon=(HERE / "icon.svg").read_text(encoding="utf-8"))
    st.logo(str(HERE / "logo.svg"), size="large", icon_image=str(HERE / "icon.svg"))
    st.html(f"<style>{STYLE}</style>")
    pages = {
        name: st.Page(PAGES / f"{name}.py", title=title, icon=icon, url_path=name, default=name == DEFAULT)
        for name, (title, icon) in TITLES.items()
    }
    opened = st.session_state.setdefault("_opened", data.source().study is not None or bool(st.query_params.to_dict()))
    st.session_state["_opened"] = True
    page = st.navigation(list(pages.values()))
    names = _choose_study()
    if len(names) > 1 and not opened and page is pages[DEFAULT]:  # no study was asked for: say which there are
        st.switch_page(pages["overview"])
    state.show()
    st.session_state[WHOLE] = True
    if names:
        with st.sidebar:
            _news()
    else:
        _wait_for_studies()
    page.run()


@st.fragment(run_every=data.POLL_SECONDS)
def _wait_for_studies() -> None:
    """Looks every few seconds whether the storage has a study by now."""
    if data.studies()["readable"].any():
        st.rerun()


def _choose_study() -> list[str]:
    """Draws the chooser; the names of the studies that can be shown."""
    try:
        table = data.studies()
    except InputError as error:
        data.stop("The storage cannot be read.", plain(error))
    names = [str(name) for name in table.loc[table["readable"], "name"]]
    if not names:
        return []
    state.restore(names, data.source().study)
    with st.sidebar:
        st.selectbox("Study", names, key=state.STUDY, on_change=state.forget)
        st.text(data.source().storage.shown)
        if (unknown := state.unknown()) is not None:
            st.warning(f"This storage has no study {plain(unknown)}; another one is shown. Choose above.")
    return names


@st.fragment(run_every=data.POLL_SECONDS)
def _news() -> None:
    """Says how many trials there are, looking every few seconds, and offers the new ones."""
    whole = st.session_state.pop(WHOLE, False)
    try:
        counts = data.counts(data.chosen_study())
        new = data.behind()
    except InputError as error:
        st.warning(f"The storage cannot be read just now: {plain(error)}")
        return
    running = f" · {counts.running:,} running" if counts.running else ""
    st.caption(f"{counts.finished:,} finished{running}")
    follow = st.toggle(
        "Follow the search", key=data.FOLLOW, help="Show new trials as they come", persist_state="session"
    )
    waiting = data.waiting()  # there is nothing yet that could move under anyone's hands
    if new and (follow or waiting):
        data.refresh()
        if not whole:  # else the page is drawn next: a search may be quicker than one run after the other
            st.rerun()
    elif new and st.button(
        f"Show {new:,} new trial{'s' * (new > 1)}", icon=":material/refresh:", type="primary", key="news"
    ):
        data.refresh()
        st.rerun()


main()
