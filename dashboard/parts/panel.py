"""The panel of one trial: its numbers with their conditions, its drawing, and the files that rebuild its network."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NoReturn, cast

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import state
from dashboard.canvas import called
from dashboard.data import View
from dashboard.drawing import drawing_alt, drawing_svg
from dashboard.figures.hover import share_text
from dashboard.parts.decide import phrase
from dashboard.text import plain
from explorer import results
from explorer.export import TARGETS, subject_of
from explorer.metrics import METRICS, Metric
from explorer.record import TrialRecord
from explorer.storage import ATTRIBUTE
from search_spaces.errors import InputError

if TYPE_CHECKING:
    import optuna

PAGES = Path(__file__).parent.parent / "screens"
DRAWING = 320  # pixels of width
MIME = {"yaml": "application/yaml", "json": "application/json"}
WITHOUT_RECORD = {  # status -> what to say of a trial that wrote nothing
    "running": "It is running now: its numbers come when it is done.",
    "waiting": "It waits to be run.",
    "interrupted": "Its process ended before it was done: `vitscape search` with the same options repeats it.",
}


@dataclass(frozen=True)
class Sureness:
    """What is known of a trial's place on the front that is drawn."""

    on_front: bool
    probability: float | None = None  # of being on it, None where it was not computed
    ties: tuple[int, ...] = ()  # members that it cannot be told from
    own: bool | None = None  # whether it is on the study's own front, None where that is the front drawn

    def text(self) -> str:
        """The same in a sentence."""
        which = "the" if self.own is None else "this"
        said = f"{'On' if self.on_front else 'Not on'} {which} front"
        if self.own and not self.on_front:
            said += ", but on the study's own front"
        if self.probability is not None:
            said += f"; on it in {share_text(self.probability)} of draws of the latencies from their intervals"
        if self.ties:
            members = ", ".join(map(str, self.ties[:6])) + (" and others" if len(self.ties) > 6 else "")
            said += f"; cannot be told from trial{'s' * (len(self.ties) > 1)} {members}"
        return said + "."


def show(view: View, number: int, sureness: Sureness | None = None) -> None:
    """Draws the panel of a trial; where there is no such trial says so."""
    table = rows_of(view.frame, [number])
    if table.empty:
        st.warning(f"Trial {number} is not in this study, which has {len(view.frame):,} trials. Choose another.")
        return
    row, record = table.iloc[0], view.trial_record(number)
    with st.container(border=True, key="panel"):
        st.markdown(f"#### Trial {number}" + (f" · {plain(row['preset'])}" if known(row["preset"]) else ""))
        if record is None:
            st.markdown(WITHOUT_RECORD.get(str(row["status"]), "It left no record."))
            return
        st.text(str(row["what"]))
        _say_status(row, record)
        metrics = measured(table)
        _numbers(view, table, metrics)
        if sureness is not None:
            st.caption(sureness.text())
        for line in conditions(table, metrics, record):
            st.caption(plain(line))
        _take_away(view, number, table, record)


def go(page: str) -> NoReturn:
    """Leaves for another page by the name of its file; what the widgets here have in the URL stays behind."""
    st.switch_page(PAGES / f"{page}.py", query_params=state.in_link())


def rows_of(frame: pd.DataFrame, numbers: Iterable[int]) -> pd.DataFrame:
    """The rows of these trials, in the frame's order; of unknown ones none."""
    return frame[np.isin(frame["number"].to_numpy(), list(numbers))]


def measured(table: pd.DataFrame) -> list[Metric]:
    """The metrics that a table of one trial has a value of."""
    names = dict.fromkeys([*METRICS, *results.latencies(table)])
    return [one for one in results.metrics_of(table, names) if known(table.iloc[0][one.column])]


def conditions(table: pd.DataFrame, metrics: Iterable[Metric], record: TrialRecord) -> list[str]:
    """Under what each number of one trial was measured, and whether to trust it, in lines."""
    lines = []
    for metric in metrics:
        if results.interval_columns(metric) is None:
            continue
        said = [f"{metric.label}: {results.conditions(table, metric.name)}"]
        verdict = table.iloc[0][results.verdict_column(metric)]
        if known(verdict):
            said.append(f"verdict {verdict}{_reason(record, float(table.iloc[0][metric.column]))}")
        lines.append(", ".join(said))
    return [*lines, "MACs and parameters: closed form, one image"]


def known(value: Any) -> bool:
    """Whether a cell has a value."""
    return not bool(pd.isna(value))


def _say_status(row: pd.Series[Any], record: TrialRecord) -> None:
    """Why a trial has no result, or whose it has."""
    if record.status == "failed":
        st.error(f"Failed: {plain(record.error or 'no reason was recorded')}", icon=":material/error:")
        if record.traceback:
            with st.expander("Traceback"):
                st.code(record.traceback, language=None, wrap_lines=True)
    if known(row["infeasible"]):
        st.warning(f"Infeasible, so not trained: {plain(row['infeasible'])}. A looser limit of the search admits it.")
    if record.duplicate_of is not None:
        st.caption(f"A repeat of trial {record.duplicate_of}, whose numbers it has.")


def _numbers(view: View, table: pd.DataFrame, metrics: Iterable[Metric]) -> None:
    """The measured numbers, each latency with its interval."""
    row = table.iloc[0]
    lines = []
    for metric in metrics:
        said, _, rest = phrase(row, called(metric, view.data)).partition(f" {metric.unit}")
        name = "latency " * (metric.name == "latency")  # the others say what they are
        lines.append(f"**{plain(f'{said} {metric.unit}')}** {name}{plain(rest)}")
    st.markdown("  \n".join(lines))


def _reason(record: TrialRecord, median_ms: float) -> str:
    """Why a latency's verdict is not ok, where it is the trial's own and not one attached later."""
    if record.evaluation is None:
        return ""
    own = [record.evaluation.latency, *record.evaluation.latencies.values()]
    found = next((one for one in own if one is not None and one.median_ms == median_ms), None)
    return f": {found.reason}" if found is not None and found.reason else ""


def _take_away(view: View, number: int, table: pd.DataFrame, record: TrialRecord) -> None:
    """Buttons to files and pages, the drawing, the file itself, and commands to copy."""
    try:
        files = exported(view, number, table)
    except InputError as error:
        st.error(f"This architecture cannot be exported: {plain(error)}")
        return
    with st.container(horizontal=True, gap="small"):
        for target, (name, content) in files.items():
            st.download_button(
                target.upper(),
                content,
                file_name=name,
                mime=MIME[target],
                key=f"take_{target}",
                icon=":material/download:",
                type="primary" if target == "yaml" else "secondary",
                on_click="ignore",
                help="The file rebuilds the network",
            )
        if st.button("Open architecture", key="take_open", icon=":material/account_tree:"):
            state.choose(number)
            go("architecture")
        others = [one for one in state.chosen() if one != number]
        label = f"Compare with {len(others)}" if others else "Compare"
        if st.button(label, key="take_compare", icon=":material/compare_arrows:"):
            state.set_chosen([*others[: state.MOST_COMPARED - 1], number])
            go("compare")
    drawing = drawing_svg(record.architecture, theme=state.theme(), width=DRAWING)
    st.image(drawing, width="stretch", alt=drawing_alt(record.architecture))
    name, content = files["yaml"]
    with st.expander("YAML", expanded=True, icon=":material/description:"):
        st.code(content.decode("utf-8"), language="yaml", height=320, wrap_lines=True)
    with st.expander("Commands", icon=":material/terminal:"):
        st.caption("The same file from the command line, and what it costs part by part on this machine:")
        st.code("\n".join(commands(view, number, name)), language="bash", wrap_lines=True)
        st.caption("In a training script of yours:")
        st.code(snippet(name), language="python", wrap_lines=True)


@dataclass(frozen=True)
class _Study:
    """As much of an Optuna study as naming an export reads."""

    study_name: str
    user_attrs: Mapping[str, Any]


def exported(view: View, number: int, table: pd.DataFrame) -> dict[str, tuple[str, bytes]]:
    """Name and content of each file that `vitscape export --trial NUMBER --to yaml,json` writes, by target."""
    row = table.iloc[0].copy()
    row["architecture"] = view.architecture(number)
    study = cast("optuna.Study", _Study(view.name, {ATTRIBUTE: view.record}))
    subject, files = subject_of(study, row), {}
    with TemporaryDirectory() as folder:
        for name in MIME:
            path = TARGETS[name].path(Path(folder), subject)
            TARGETS[name].write(subject, path)
            files[name] = (path.name, path.read_bytes())
    return files


def commands(view: View, number: int, name: str) -> list[str]:
    """Command lines that write the same file, and that tell its cost part by part; never with a password."""
    storage = shlex.quote(view.storage) if view.storage == view.source.url else '"$VITSCAPE_STORAGE"'
    return [
        f"vitscape export --study {shlex.quote(view.name)} --storage {storage} --trial {number} --out pareto",
        f"vitscape profile {shlex.quote(f'pareto/{name}')} --by block",
    ]


def snippet(name: str) -> str:
    """Lines of Python that rebuild the network of an exported file."""
    return (
        "from search_spaces import Architecture, build\n\n"
        f"network = build(Architecture.load({name!r}))  # randomly initialised: train it\n"
    )
