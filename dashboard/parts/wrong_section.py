"""The Overview's last section: failures by reason, and whatever else a person should know, each with the next step."""

from __future__ import annotations

import shlex
from collections.abc import Hashable

import pandas as pd
import streamlit as st

from dashboard import data, tables
from dashboard.parts.findings import Finding, findings
from dashboard.text import plain
from explorer.analysis import faults


def show(view: data.View) -> None:
    """What is wrong, each with the next step."""
    st.subheader("What to know")
    _failures(view)
    for found in _findings(view.key, view):
        with st.container(border=True):
            icon = ":material/warning:" if found.grave else ":material/info:"
            st.markdown(f"{icon} **{plain(found.title)}**")
            st.text(found.text)
            st.markdown(found.step)
            if found.command:
                st.code(found.command, language="bash", wrap_lines=True)


def _failures(view: data.View) -> None:
    table = faults.failures(view.frame)
    if table.empty:
        st.text("No trial has failed.")
        return
    st.markdown(f":material/error: **{int(table['trials'].sum()):,} failed trials, by reason**")
    shown = table.assign(share=(100 * table["share"]).round(1))
    names = {
        "reason": "Reason (… for numbers)",
        "trials": "Trials",
        "share": "Share of failed, %",
        "example": "Example",
    }
    tables.show(shown.rename(columns=names), key="failures")
    with st.expander("Traceback", icon=":material/terminal:", key="traceback", on_change="rerun") as opened:
        if not opened.open:
            return
        place = st.selectbox(
            "Reason",
            range(len(table)),
            format_func=lambda i: f"{table['reason'].iloc[i]} (trial {table['example'].iloc[i]})",  # no markdown here
            key="reason",
        )
        number = int(table["example"].iloc[place or 0])
        record = view.trial_record(number)
        if record is None or not (record.traceback or record.error):
            st.text(f"Trial {number} left no record. Run the same vitscape search again and watch its output.")
            return
        st.code(record.traceback or record.error, language=None, wrap_lines=True)
        st.text("Mend what it names and run the same vitscape search: it continues; this architecture stays failed.")


@st.cache_resource(max_entries=8, show_spinner=False, ttl=60)  # whether a trial runs for too long is a matter of time
def _findings(key: Hashable, _view: data.View) -> list[Finding]:
    hidden = "***" in _view.storage
    storage = "" if hidden else f" --storage {shlex.quote(_view.storage)}"
    option = f" --study {shlex.quote(_view.name)}{storage}"
    now = pd.Timestamp.now("UTC")
    return findings(_view.frame, _view.objectives, _view.data, option, now, _view.trial_record)
