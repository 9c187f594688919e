"""Tables and JSON of what the verbs find; every listing prints as either."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    import optuna
    import pandas as pd

    from explorer.profile import Profile

WIDE = 180  # columns, where the output is no terminal and nothing should wrap


def console() -> Console:
    """Standard output."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=WIDE)


def print_json(data: Any) -> None:
    """Data as JSON on standard output."""
    print(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False))


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A results frame as plain rows for JSON."""
    rows: list[dict[str, Any]] = json.loads(frame.to_json(orient="records", date_format="iso", double_precision=15))
    return rows


def print_rows(
    title: str, headings: Sequence[str], rows: Iterable[Sequence[str | Text]], footer: Sequence[str] = ()
) -> None:
    """A table of plain strings and styled Text; a leading `>` aligns a column to the right."""
    table = Table(
        title=escape(title), title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim"
    )
    for heading in headings:
        right = heading.startswith(">")
        table.add_column(heading.removeprefix(">"), justify="right" if right else "left", no_wrap=right)
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    out = console()
    out.print(table)
    for line in footer:
        out.print(line, style="dim", markup=False)


def print_trials(title: str, frame: pd.DataFrame, knee: int | None = None, footer: Sequence[str] = ()) -> None:
    """Trials with the metrics that were measured, latency with its spread, and what each architecture is."""
    import pandas as pd

    from explorer.metrics import METRICS

    shown = [metric for metric in METRICS.values() if frame[metric.column].notna().any()]
    mixed = bool((frame["status"] != "complete").any())
    headings = [">Trial", *(["Status"] if mixed else []), *(f">{metric.quantity}" for metric in shown), "Architecture"]
    rows: list[list[str | Text]] = []
    for _, row in frame.iterrows():
        cells = [str(row["number"]), *([str(row["status"])] if mixed else [])]
        for metric in shown:
            value = row[metric.column]
            text = "" if pd.isna(value) else metric.number(float(value))
            if metric.name == "latency" and text:
                half = (row["latency_hi_ms"] - row["latency_lo_ms"]) / 2
                text += f" ± {half:.2g}"
            cells.append(text)
        note = row["error"] if not pd.isna(row["error"]) else row["infeasible"]
        name = "" if pd.isna(row["preset"]) else f"{row['preset']}: "
        text = escape(name + ("" if pd.isna(row["what"]) else row["what"]))
        text += "" if pd.isna(note) else f"  [yellow]{escape(note)}[/]"
        text += "  [bold #D55E00]◆ knee[/]" if row["number"] == knee else ""
        rows.append([*cells, Text.from_markup(text)])
    print_rows(title, headings, rows, footer)


def print_front(study: optuna.Study, as_json: bool) -> None:
    """A study's front with its knee, the latency's conditions and the hypervolume."""
    from explorer import results
    from explorer.storage import study_objectives

    frame, objectives = results.frame(study), study_objectives(study)
    members, knee = results.front(frame, objectives), results.knee(frame, objectives)
    number = None if knee is None else int(knee["number"])
    if as_json:
        print_json([{**row, "knee": row["number"] == number} for row in rows_of(members)])
        return
    if members.empty:
        console().print(f"study {study.study_name}: no complete trial yet, so no front", markup=False)
        return
    volume = results.hypervolume(frame, objectives)
    reference = ", ".join(f"{name} {value:.4g}" for name, value in volume.attrs["reference"].items())
    footer = [results.conditions(frame), f"hypervolume {volume.iloc[-1]:.4g} to the reference {reference}"]
    print_trials(f"Pareto front of {study.study_name}: {' against '.join(objectives)}", members, number, footer)


def short_count(number: int) -> str:
    """A number of architectures: all its digits, or four of them where it has more than twelve."""
    return f"{number:,}" if number < 10**12 else f"{number:.3e}"


def print_profile(found: Profile, by: str) -> None:
    """A profile: totals, latency with its conditions, and where MACs and parameters are."""
    from explorer.metrics import METRICS

    out = console()
    out.print(f"[bold]{escape(found.name or found.id)}[/]  {found.image_size} × {found.image_size} px, id {found.id}")
    macs, params = METRICS["macs"], METRICS["params"]
    folded = "" if found.params_folded == found.params else f" ({found.params_folded:,} with BatchNorm folded)"
    out.print(f"  parameters   {found.params:,}{folded}")
    out.print(f"  MACs         {found.macs:,} (multiply-adds, one image)")
    out.print(f"  activations  {found.activations:,} elements, one image")
    if found.latency is not None:
        low, high = found.latency.ci95_ms
        where = found.latency.conditions
        threads = "" if where.threads is None else f", threads {where.threads}"
        out.print(
            f"  latency      {found.latency.median_ms:.4g} ms, 95 % interval {low:.4g} to {high:.4g} ms"
            f" ({found.latency.samples} passes; {found.latency.stop.replace('_', ' ')})"
        )
        out.print(
            f"               {where.device_name}, {where.runtime}, {where.precision}, batch {where.batch_size}{threads}"
        )
    if found.peak_memory_mb is not None:
        out.print(f"  peak memory  {found.peak_memory_mb:.1f} MiB, one forward pass")
    rows = [
        [name, macs.number(m), f"{100 * m / max(1, found.macs):.1f}", params.number(p), f"{a:,}"]
        for name, m, p, a in grouped(found, by)
    ]
    out.print()
    print_rows("", ["Part", f">{macs.quantity}", ">share (%)", f">{params.quantity}", ">Activations"], rows)


def grouped(found: Profile, by: str) -> list[tuple[str, int, int, int]]:
    """(name, macs, params, activations) by `layer`, or summed by `stage`."""
    groups: dict[str, tuple[int, int, int]] = {}
    for layer in found.layers:
        name = layer.name if by == "layer" else ".".join(layer.name.split(".")[:2])
        before = groups.get(name, (0, 0, 0))
        groups[name] = (before[0] + layer.macs, before[1] + layer.params, before[2] + layer.activations)
    return [(name, *sums) for name, sums in groups.items()]
