"""Looking at a search: who searches a study, how far it is, what it found, what it is at."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from explorer.options import Json, Storage, Study, number
from explorer.show import console, print_json, span, trainings_said
from explorer.verbs.of_study import load
from search_spaces.errors import InputError

if TYPE_CHECKING:
    from explorer.status import Front, Searcher, Status

LINES = 12  # running trials that are shown
REASONS = 3  # of failures that are shown
COLORS = {"complete": "green", "failed": "red", "interrupted": "red", "infeasible": "yellow", "stopped": "yellow"}


def status(
    study: Study = None,
    storage: Storage = None,
    watch: Annotated[
        float | None,
        typer.Option(
            help="Look again every so many seconds, until the search ends.",
            parser=number,
            metavar="SECONDS",
            show_default="once",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """What a search is at, from its storage alone: from any machine, also while it runs."""
    from explorer.last import recall
    from explorer.status import Look

    if watch is not None and not 0 < watch < 1e6:
        raise InputError(f"watch={watch:g}: give seconds above 0, such as 5")
    if watch is not None and json:
        raise InputError("watch: with --json it would be many objects; give one of the two")
    _, url = recall(study, storage)
    look = Look(load(study, storage), url)
    if json:
        print_json(look.status().plain())
    elif watch is None:
        console().print(drawn(look.status()))
    else:
        _watch(look.status, watch)


def _watch(look: Callable[[], Status], seconds: float) -> None:
    """Draws what each look finds in the place of the one before, until the search ends."""
    found = look()
    with Live(drawn(found), console=console(), auto_refresh=False) as live:
        while not found.over:
            time.sleep(seconds)
            found = look()
            live.update(drawn(found), refresh=True)


def drawn(found: Status) -> RenderableType:
    """A status as lines: study, who searches it, then a line or a few for each thing there is."""
    about = [f"space {found.space}", " against ".join(found.objectives), *filter(None, [found.data])]
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("Search", _who(found.searcher))
    for label, cell in _rows(found):
        table.add_row(label, cell)
    head = Text.assemble((found.study, "bold"), f" in {found.storage}")
    return Group(head, Text(", ".join(about), style="dim"), table)


def _rows(found: Status) -> Iterator[tuple[str, RenderableType]]:
    if not sum(found.trials.values()):
        yield "Trials", Text("none yet" + ("" if found.trials_asked is None else f" of {found.trials_asked}"))
        return
    yield "Done", _done(found)
    yield "Trials", _counts(found.trials)
    if found.trials_per_hour is not None:
        yield "Pace", _pace(found)
    if (left := _left(found)) is not None:
        yield "Left", left
    if (trained := _trainings(found)) is not None:
        yield "Training", trained
    if found.front is None:
        yield "Front", Text(_no_front(found.trials))
    else:
        yield from _front(found.front, found.objectives)
    yield from _under_way(found)
    total = found.trials["failed"]
    for place, one in enumerate(found.failures[:REASONS]):
        many = (
            f"{one.trials} of {total}, the last trial {one.last_trial}" if one.trials > 1 else f"trial {one.last_trial}"
        )
        yield "" if place else "Failures", Text.assemble(one.reason, (f"  {many}", "dim"))
    if more := found.failures[REASONS:]:
        yield "", Text(f"{sum(one.trials for one in more)} more, of other reasons: vitscape trials", style="dim")


def _who(searcher: Searcher | None) -> Text:
    if searcher is None:
        return Text("none that is known: never begun, or by a Vitscape that told nobody", style="dim")
    who = f"process {searcher.pid} on {searcher.host}" + (f" ({searcher.engine})" if searcher.engine else "")
    since = f", since {_clock(searcher.began_at)}" if searcher.began_at else ""
    ago = "" if searcher.heard_seconds_ago is None else f"{span(max(searcher.heard_seconds_ago, 0))} ago"
    life = searcher.life
    if life == "running":
        return Text.assemble(("running", "bold green"), f": {who}{since}", (f", last heard {ago}" * bool(ago), "dim"))
    if life == "elsewhere":
        heard = (f"last heard {ago}", "bold") if ago else ("begun", "bold")
        return Text.assemble(heard, (", if its clock and this one's agree", "dim"), f": {who}, another machine{since}")
    if life == "ended":
        return Text.assemble(("ended", "bold"), f" {_clock(searcher.ended_at)}: {who}{since}")
    if life == "quiet":
        why = "stopped, without its storage, or another process of that number"
        return Text.assemble(("silent", "bold yellow"), f": {who}{since}, last heard {ago}; {why}")
    return Text.assemble(
        ("dead", "bold red"), f": {who}{since}, last heard {ago or 'never'}; the same search command goes on"
    )


def _done(found: Status) -> RenderableType:
    asked = found.trials_asked
    if not asked:
        return Text(f"{found.evaluated} evaluated")
    text = Text(f"{found.evaluated} of {asked} evaluated, {100 * found.evaluated / asked:.0f} %")
    row = Table.grid(padding=(0, 2))
    row.add_row(text, ProgressBar(total=asked, completed=min(found.evaluated, asked), width=24))
    return row


def _counts(trials: dict[str, int]) -> Text:
    names = {status: "duplicates" if status == "duplicate" and many > 1 else status for status, many in trials.items()}
    parts = [(f"{many} {names[status]}", COLORS.get(status, "")) for status, many in trials.items() if many]
    return Text(", ").join(Text(*part) for part in parts)


def _pace(found: Status) -> Text:
    recent = "" if found.recent_trials_per_hour is None else f"{_rate(found.recent_trials_per_hour)} lately, "
    return Text.assemble(
        f"{recent}{_rate(found.trials_per_hour or 0)} in all ",
        (f"(evaluated trials an hour; {span(3600 * found.hours_searched)} searched)", "dim"),
    )


def _left(found: Status) -> Text | None:
    """What is left of the trials and of the hours asked for; None where nothing is asked for, or nothing is left."""
    parts = []
    trials = max((found.trials_asked or 0) - found.evaluated, 0)
    if trials:
        hours = found.hours_left_for_trials
        rate = "" if hours is None else f", {span(3600 * hours)} at the recent pace"
        parts.append(f"{trials} trials{rate}")
    if found.hours_left_of_run is not None:
        parts.append(f"{span(3600 * found.hours_left_of_run)} of the {found.hours_asked:g} h asked for")
    return Text("; ".join(parts) + (", when it goes on" if found.over else "")) if parts else None


def _trainings(found: Status) -> Text | None:
    """What was trained and what was not; None where every training ran to its end and no budget is set."""
    if found.trainings is None:
        return None
    told, asked = trainings_said(found.trainings), found.train_seconds_asked
    spent = "" if asked is None else f"{found.trainings.seconds:.0f} of {asked:g} seconds spent"
    return Text("; ".join(filter(None, [spent, told]))) if spent or told else None


def _no_front(trials: dict[str, int]) -> str:
    ended = {status: many for status, many in trials.items() if many and status not in ("running", "waiting")}
    why = f": all {ended['failed']} have failed" if ended.keys() == {"failed"} else ""
    return f"no complete trial yet{why}"


def _front(front: Front, objectives: tuple[str, ...]) -> Iterator[tuple[str, Text]]:
    from explorer.metrics import METRICS, metric

    rows = [metric(name) for name in objectives]
    reference = ", ".join(f"{row.name} {row.text(front.reference[row.column])}" for row in rows)
    one = "network" if front.size == 1 else "networks"
    yield "Front", Text(f"{front.size} {one}, hypervolume {front.hypervolume:.4g} to the reference {reference}")

    def point(found: dict[str, Any], before: str) -> Text:
        values = ", ".join(row.text(found[row.column]) for row in rows if found[row.column] is not None)
        return Text.assemble(f"{before}trial {found['number']}: {values}  ", (found["what"], "dim"))

    yield "  knee", point(front.knee, "")
    for row in (row for row in METRICS.values() if row.column in front.limit):
        limit, best = f"{row.name} ≤ {row.text(front.limit[row.column])}: ", front.best_under_limit
        yield "  best", Text(f"{limit}none") if best is None else point(best, limit)


def _under_way(found: Status) -> Iterator[tuple[str, Text]]:
    """A line a running trial: its number, what it is at, where, for how long."""
    label = "Left behind" if found.over and found.searcher is not None else "Running"
    for place, one in enumerate(found.running[:LINES]):
        spent = None if one.seconds is None else f"for {span(one.seconds)}"
        step = f": {one.step}" if one.step else ""
        beside = ", ".join(filter(None, [one.where, spent]))
        yield "" if place else label, Text.assemble(f"trial {one.number}{step}  ", (beside, "dim"))
    if more := found.running[LINES:]:
        yield "", Text(f"{len(more)} more", style="dim")


def _clock(at: datetime | None) -> str:
    """A time as this machine's clock shows it; with its day where that is not today."""
    if at is None:
        return ""
    here = at.astimezone()
    return f"{here:%H:%M}" if here.date() == datetime.now().date() else f"{here:%Y-%m-%d %H:%M}"


def _rate(per_hour: float) -> str:
    return f"{per_hour:.3g}" if per_hour < 100 else f"{per_hour:,.0f}"
