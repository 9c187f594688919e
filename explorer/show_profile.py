"""A profile as a table and as JSON: what an architecture costs, part by part, and where the time goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.text import Text

from explorer.metrics import METRICS
from explorer.profile.breakdown import Breakdown, Level, PartTime, part_of
from explorer.show import console, print_rows

if TYPE_CHECKING:
    from explorer.profile import Profile
    from explorer.record import Latency

MIXERS = {
    "window": "window attention",
    "global": "global attention",
    "single_head": "single-head attention",
    "conv": "convolutional mixing",
}


def grouped(found: Profile, by: Level) -> list[tuple[str, int, int, int]]:
    """(name, macs, params, activations) by `layer`, or summed by `block` or `stage`."""
    groups: dict[str, tuple[int, int, int]] = {}
    for layer in found.layers:
        name = part_of(layer.name, by)
        before = groups.get(name, (0, 0, 0))
        groups[name] = (before[0] + layer.macs, before[1] + layer.params, before[2] + layer.activations)
    return [(name, *sums) for name, sums in groups.items()]


def profile_json(found: Profile, by: Level) -> dict[str, Any]:
    """A profile as plain data; keys carry their units, and shares are in %."""
    data = found.model_dump(mode="json", exclude={"layers", "breakdown"})
    rows: list[dict[str, Any]] = [
        {"name": n, "macs": m, "params": p, "activations": a} for n, m, p, a in grouped(found, by)
    ]
    data["breakdown"] = None
    if found.breakdown is not None:
        data["breakdown"] = found.breakdown.model_dump(mode="json", exclude={"parts"}) | {"runtime": "eager"}
        for row, part in zip(rows, found.parts, strict=True):
            row |= {
                "time_ms": part.median_ms,
                "time_ci95_ms": list(part.ci95_ms),
                "time_percent": 100 * part.median_ms / found.breakdown.parts_ms,
                "moved_bytes": part.moved_bytes,
                "gmacs_per_s": part.gmacs_per_s,
                "floor_ms": part.floor_ms,
                "roofline_percent": 100 * part.roofline,
                "bound": part.bound,
            }
    data[f"by_{by}"] = rows
    return data


def print_profile(found: Profile, by: Level) -> None:
    """A profile: totals, latency with its conditions and verdict, and what each part costs."""
    out = console()
    out.print(f"[bold]{escape(found.name or found.id)}[/]  {found.image_size} × {found.image_size} px, id {found.id}")
    folded = "" if found.params_folded == found.params else f" ({found.params_folded:,} with BatchNorm folded)"
    out.print(f"  parameters   {found.params:,}{folded}")
    out.print(f"  MACs         {found.macs:,} (multiply-adds, one image)")
    out.print(f"  activations  {found.activations:,} elements, one image")
    if found.latency is not None:
        for line in _latency_lines(found.latency):
            out.print(line)
    if found.peak_memory_mb is not None:
        out.print(f"  peak memory  {found.peak_memory_mb:.1f} MiB, one forward pass")
    out.print()
    if found.breakdown is None:
        _print_counts(found, by)
    else:
        _print_times(found, found.breakdown)


def _latency_lines(latency: Latency) -> list[str]:
    """Markup: the median with its interval, what it was measured under, and whether to trust it."""
    low, high = latency.ci95_ms
    where = latency.conditions
    words = [where.device_name, where.runtime, where.precision, f"batch {where.batch_size}"]
    words += [] if where.threads is None else [f"threads {where.threads}"]
    words += [] if latency.cores is None else [f"bound to {', '.join(f'core {core}' for core in latency.cores)}"]
    words += [] if where.driver is None else [f"driver {where.driver}"]
    words += [f"{name} {version}" for name, version in {"torch": where.torch, **where.libraries}.items()]
    lines = [
        f"  latency      {latency.median_ms:.4g} ms, 95 % interval {low:.4g} to {high:.4g} ms"
        f" ({latency.samples} passes; {latency.stop.replace('_', ' ')})",
        f"               {escape(', '.join(words))}",
    ]
    if latency.verdict is not None:
        colour = "green" if latency.verdict == "ok" else "yellow"
        notes = [latency.reason] if latency.reason else []
        notes += [] if latency.drift is None else [f"sentinel {100 * latency.drift:+.1f} % from its time at rest"]
        notes += [] if latency.correction is None else [f"times divided by {latency.correction:.3f} for it"]
        lines.append(f"  verdict      [{colour}]{latency.verdict}[/]" + escape("".join(f", {note}" for note in notes)))
    return lines


def _print_counts(found: Profile, by: Level) -> None:
    macs, params = METRICS["macs"], METRICS["params"]
    rows = [
        [name, macs.number(m), f"{100 * m / max(1, found.macs):.1f}", params.number(p), f"{a:,}"]
        for name, m, p, a in grouped(found, by)
    ]
    print_rows("", ["Part", f">{macs.quantity}", ">share (%)", f">{params.quantity}", ">Activations"], rows)


def _print_times(found: Profile, breakdown: Breakdown) -> None:
    time, macs, params = METRICS["latency"], METRICS["macs"], METRICS["params"]
    slowest = max(breakdown.parts, key=lambda part: part.median_ms)
    rows: list[list[str | Text]] = []
    for (name, m, p, a), part in zip(grouped(found, breakdown.by), breakdown.parts, strict=True):
        half = (part.ci95_ms[1] - part.ci95_ms[0]) / 2
        spread = f"{half:.1g}" if half < 10 else f"{half:.0f}"
        share = f"{100 * part.median_ms / breakdown.parts_ms:.1f}"
        cells = [
            name,
            f"{time.number(part.median_ms)} ± {spread}",
            share,
            macs.number(m),
            params.number(p),
            f"{a:,}",
        ]
        cells += [f"{part.gmacs_per_s:,.1f}", f"{100 * part.roofline:.0f}"]
        mark = "  [bold #D55E00]◀ slowest[/]" if part is slowest else ""
        rows.append([*cells, Text.from_markup(part.bound + mark)])
    headings = ["Part", ">Time, ms", ">share (%)", f">{macs.quantity}", f">{params.quantity}", ">Activations"]
    print_rows("", [*headings, ">GMAC/s", ">Roofline (%)", "Bound by"], rows, _footer(found, breakdown))
    console().print(dominant(breakdown), markup=False)


def _footer(found: Profile, breakdown: Breakdown) -> list[str]:
    """How the parts were timed, what they leave over, and what the roofline is."""
    left, peaks = breakdown.whole_ms - breakdown.parts_ms, breakdown.peaks
    lines = [
        f"Times: medians of {breakdown.rounds} eager passes, ± half of the 95 % interval. They add up to"
        f" {breakdown.parts_ms:.4g} ms;",
        f"in turn with these, the untouched network took {breakdown.whole_ms:.4g} ms, the one with timed parts"
        f" {breakdown.stamped_ms:.4g} ms: {left:.2g} ms left over.",
    ]
    if found.latency is not None and found.latency.conditions.runtime != "eager":
        lines.append(
            f"The latency is {found.latency.conditions.runtime}'s, the parts' times are those of eager passes."
        )
    if breakdown.interrupted > 0.1:
        lines.append(
            f"Other programs interrupted {100 * breakdown.interrupted:.0f} % of the untouched passes;"
            " interrupted times do not count where six others remain."
        )
    lines += [
        f"Roofline, measured here: {peaks.gmacs_per_s:,.4g} GMAC/s ({peaks.by}), {peaks.gb_per_s:,.4g} GB/s"
        " (large copy, read + write).",
        "At 100 % a part takes no longer than its MACs, or the least bytes that it has to move.",
    ]
    if any(part.roofline > 1 for part in breakdown.parts):
        lines.append("Over 100 %: the peak was underestimated, or the data stayed in a cache, which the copy does not.")
    return lines


def dominant(breakdown: Breakdown) -> str:
    """One sentence: the stage that takes most of the time, what does so within it, and how far from the roofline.

    >>> dominant(profile("shvit_s1", by="layer").breakdown)
    '41 % of the time is in stages.2, 15 % in its 5 FFNs, at 37 % of the roofline (bound by compute)'
    """
    parts = _longest(breakdown.parts, lambda part: part_of(part.name, "stage"))
    stage = part_of(parts[0].name, "stage")
    sentence = f"{100 * _ms(parts) / breakdown.parts_ms:.0f} % of the time is in {stage}"
    if len(parts) > 1:
        parts = _longest(parts, _kind)
        kind, many = _kind(parts[0]), len(parts)
        words = kind if many == 1 else f"{many} {kind}s"
        sentence += f", {100 * _ms(parts) / breakdown.parts_ms:.0f} % in its {words}"
    mixer = parts[0].mixer
    sentence += f" ({MIXERS[mixer]})" if mixer in MIXERS else ""
    floor = sum(part.floor_ms for part in parts)
    bound = max(("compute", "memory"), key=lambda word: sum(part.floor_ms for part in parts if part.bound == word))
    return f"{sentence}, at {100 * floor / _ms(parts):.0f} % of the roofline (bound by {bound})"


def _longest(parts: Sequence[PartTime], key: Callable[[PartTime], str]) -> list[PartTime]:
    """Those of the parts with one key that together take longest."""
    groups: dict[str, list[PartTime]] = {}
    for part in parts:
        groups.setdefault(key(part), []).append(part)
    return max(groups.values(), key=_ms)


def _ms(parts: Sequence[PartTime]) -> float:
    return sum(part.median_ms for part in parts)


def _kind(part: PartTime) -> str:
    """ "block", "downsample", "mixer", "FFN" or "local convolution", of a part within a stage."""
    last = part.name.split(".")[-1]
    return {"ffn": "FFN", "local": "local convolution"}.get(last, "block" if last.isdigit() else last)
