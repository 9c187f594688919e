"""A report card as tables on the terminal, as Markdown, and as plain data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from explorer.calibrate.card import Card, Noise
from explorer.calibrate.words import spelt
from explorer.show import console, print_rows


@dataclass(frozen=True)
class Table:
    """A title, headings (a leading `>` aligns to the right), rows of cells, and lines below."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    footer: Sequence[str] = ()


@dataclass(frozen=True)
class Report:
    """A card, what it was made of, and what it means."""

    card: Card
    conditions: dict[str, Any]
    title: str  # "How well 5 of 12 epochs rank 24 networks of tiny_32"
    told: str  # the conditions in words
    warning: str | None
    advice: tuple[str, ...]
    failed: tuple[str, ...]  # networks that could not be trained, and why


def tables(card: Card) -> list[Table]:
    """What is printed, in its order."""
    return [_rankings(card), _epochs(card), _noise(card), _networks(card)]


def print_report(report: Report) -> None:
    """The tables, then what they mean, on standard output."""
    out = console()
    out.print(report.title, style="bold", markup=False)
    out.print(report.told, style="dim", markup=False)
    for table in tables(report.card):
        out.print()
        print_rows(table.title, table.headings, table.rows, table.footer)
    out.print()
    if report.warning is not None:
        out.print(report.warning, style="bold #D55E00", markup=False)
    for line in (*report.advice, *report.failed):
        out.print(line, markup=False)


def markdown(report: Report) -> str:
    """The same as a page."""
    lines = [f"# {report.title}", "", report.told, ""]
    if report.warning is not None:
        lines += [f"**{report.warning}**", ""]
    lines += [*(f"- {line}" for line in (*report.advice, *report.failed)), ""]
    for table in tables(report.card):
        lines += [f"## {table.title}", "", _row([one.removeprefix(">") for one in table.headings])]
        lines += ["|" + "|".join("---:" if one.startswith(">") else "---" for one in table.headings) + "|"]
        lines += [*map(_row, table.rows), ""]
        lines += [line for text in table.footer for line in (text, "")]
    return "\n".join(lines).rstrip() + "\n"


def plain(report: Report) -> dict[str, Any]:
    """The report as data for JSON: what is no number is null."""
    found: dict[str, Any] = _finite(asdict(report.card))
    more = {"stop_epoch": report.card.enough, "warning": report.warning, "advice": list(report.advice)}
    return {"conditions": report.conditions, **found, **more, "failed": list(report.failed)}


def _rankings(card: Card) -> Table:
    rows = [
        [one.name, spelt(one.tau), spelt(one.rho), "" if one.lead is None else spelt(one.lead)] for one in card.rankings
    ]
    headings = ["Ranked by", ">Kendall's tau", ">Spearman's rho", ">Proxy's lead in tau"]
    footer = ["95 % intervals, from a bootstrap over networks; the lead is that of one seed, in pairs"]
    return Table("Rank correlation with the long trainings", headings, rows, footer)


def _epochs(card: Card) -> Table:
    rows = [[str(one.epoch), spelt(one.single), spelt(one.mean), spelt(one.behind)] for one in card.epochs]
    headings = [">Epoch", ">tau, one seed", ">tau, mean of seeds", f">behind epoch {card.best_epoch}"]
    return Table("If the proxy were left after", headings, rows)


def _noise(card: Card) -> Table:
    rows = [_noise_row("proxy", card.proxy), _noise_row("long", card.long)]
    headings = ["Training", ">Between seeds, points", ">Between networks, points", ">Told apart from, points"]
    footer = ["standard deviations of top-1, %; told apart: of two networks trained once each, no chance at 95 %"]
    if card.ceiling is None:
        footer = ["seeds are not told from networks with one seed: --seeds 2"]
    else:
        footer.append(
            f"ceiling: a proxy that made no mistake would rank by tau {spelt(card.ceiling)} against the mean of"
            f" {len(card.networks[0].longs)} long trainings, were what networks reach and the noise of seeds normal"
        )
    return Table("Seeds against networks", headings, rows, footer)


def _noise_row(name: str, noise: Noise) -> list[str]:
    known = (noise.between_seeds, noise.between_networks, noise.apart)
    return [name, *("?" if one is None else f"{one:.1f}" for one in known)]


def _networks(card: Card) -> Table:
    rows = [
        [
            " ".join(f"{top1:.1f}" for top1 in one.longs),
            " ".join(f"{curve[-1]:.1f}" for curve in one.proxies),
            f"{one.macs / 1e6:.3g}",
            f"{one.params / 1e6:.3g}",
            one.what,
        ]
        for one in sorted(card.networks, key=lambda one: -sum(one.longs))
    ]
    headings = [">Long, %", ">Proxy, %", ">MACs, M", ">Parameters, M", "Architecture"]
    return Table("The networks, by what they reach", headings, rows)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, tuple) and hasattr(data, "_asdict"):
        return _finite(data._asdict())
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
