"""The page that `python -m benchmarks.complexity` writes; every number in it is measured, counted or quoted here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.complexity import QK_DIM, Case, Found, Row, Timed, ratio
from explorer.record import Latency
from search_spaces import cost

# What papers say, beside which the page puts what it finds
STEM_GPU, STEM_CPU = 3.0, 2.8  # times: a 16x16 stem with three stages over a 4x4 stem with four (SHViT)
S4_THROUGHPUT = 14283  # images/s of SHViT-S4, A100, batch 256 (SHViT, table 2)
SWIN_T_MACS, S4_MACS = 4.5e9, 986e6  # as published


def write_page(found: Found, out: Path, command: str) -> None:
    """Writes the page in Markdown."""
    sections = [
        _opening(found, command),
        _law(),
        _claims(),
        *([] if found.plan.quick else [_figures(out)]),
        _by_side(found),
        _by_window(found),
        _by_width(found),
        _networks(found),
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def _opening(found: Found, command: str) -> str:
    first = found.by_side[0][0].latency
    where, state = first.conditions, first.state
    at = f"{where.device_name}, {where.threads} thread{'s' if where.threads != 1 else ''}" if where.threads else None
    load = "" if state is None or state.load_elsewhere is None else f"; other cores busy {state.load_elsewhere:.0%}"
    every = [row.latency for group in found.by_side + found.by_window + found.by_width for row in group]
    every += [one.latency for one in found.stems + found.published]
    rounds = len(found.by_side[0][0].rounds)
    doubtful = sum(one.verdict != "ok" for one in every)
    lines = [
        "# What attention costs, and what the papers say",
        "",
        f"Written by `{command}`.",
        "",
        f"Measured on {at or where.device_name}, torch {where.torch}, runtime {where.runtime}, {where.precision},"
        f" batch 1{load} while the first group was timed. Times are medians of single forward passes; ± is half of the"
        f" interval that a repeat falls into. The rows of one table were timed in turns, in {rounds} rounds: what slows"
        " the machine slows all of them, so their ratios hold where the times do not. A ratio is the median over the"
        " rounds, its least and its most in brackets; the times are those of the most trustworthy round.",
    ]
    if doubtful:
        lines += [
            "",
            f"**{doubtful} of {len(every)} timings have a verdict against them** (shown beside the time: `noisy`, or"
            " `shared` with other programs). Read their ratios, not their times.",
        ]
    if found.plan.quick:
        lines += ["", "**This is a quick run: maps this small show that the command works, and nothing else.**"]
    return "\n".join(lines)


def _law() -> str:
    return """\
## The law

A map has h x w tokens of C channels. Global attention compares every token with every other; window attention compares
the M x M tokens of each window with each other; shifted windows do the same on a map rolled by M // 2, with a mask;
single-head attention compares all tokens, but with 16 channels of q and k, and moves only p = 3 C // 14 channels of v.

| mixer | linear maps, MACs | attention itself, MACs |
|---|---|---|
| global | 4 hw C² | 2 (hw)² C |
| window, shifted window | 4 hw C² | 2 M² hw C |
| single-head | p (32 + p) hw + C² hw | (hw)² (16 + p) |

A MAC is one multiplication and addition. Maps that M does not divide are padded to the next multiple, and the padded
tokens are counted. Norms, softmax, masks, rolls and copies are no MACs: they take time that the law does not see. In
every row below fvcore counted the same number on the built block, to the last digit; the command fails otherwise."""


def _claims() -> str:
    """The arithmetic that papers quote, from the law."""
    whole, windows = Case("global", 56, 96, 7), Case("window", 56, 96, 7)
    large, large_windows = Case("global", 112, 128, 7), Case("window", 112, 128, 7)
    total, attention = whole.macs / windows.macs, whole.attending_macs / windows.attending_macs
    rows = [
        (
            "windows of 7 save at 56 x 56 x 96",
            f"{total:.1f}x",
            f"{whole.macs} against {windows.macs} MACs, linear maps included",
        ),
        (
            "of which in attention alone",
            f"{attention:.0f}x",
            f"{whole.attending_macs} against {windows.attending_macs} MACs: hw / M²",
        ),
        ("saved at 112 x 112 x 128", f"{large.macs - large_windows.macs}", "MACs, global less window of 7"),
    ]
    body = "\n".join(f"| {claim} | {value} | {how} |" for claim, value, how in rows)
    return f"""\
## The claims in multiply-adds

| claim | by the law | which is |
|---|---|---|
{body}

The {attention:.0f}x that is often quoted is of attention alone; the block as a whole does {total:.1f}x fewer \
multiply-adds, since the linear maps before and after attention stay. How much of it becomes time is measured below."""


def _figures(out: Path) -> str:
    name = out.stem
    shown = []
    for kind, alt in (("macs", "MACs"), ("time", "Time")):
        shown.append(
            f"""<picture>
  <source media="(prefers-color-scheme: dark)" srcset="{name}_{kind}_dark.svg">
  <img src="{name}_{kind}.svg" alt="{alt} of the four attention blocks by tokens a side" width="800">
</picture>"""
        )
    return "\n\n".join(shown)


def _by_side(found: Found) -> str:
    first = found.by_side[0][0].case
    parts = [
        f"## By map size, {first.width} channels, windows of {first.window}",
        "`x window` is how many times what window attention takes on the same map; GMAC/s is what was achieved, 10⁹"
        " multiply-adds a second. Memory is the peak of one pass, weights and input included; the scores are what the"
        " attention matrix of all heads would take in fp32 if it were kept, which a fused kernel does not do.",
    ]
    for group in found.by_side:
        parts.append(_table(group, group[1]))
    largest = found.by_side[-1]
    in_macs = [group[0].case.macs / group[1].case.macs for group in found.by_side]
    in_time = [ratio(group[0], group[1])[0] for group in found.by_side]
    sides = [group[0].case.side for group in found.by_side]
    rows = "\n".join(
        f"| {side} | {macs:.2f}x | {time:.2f}x |" for side, macs, time in zip(sides, in_macs, in_time, strict=True)
    )
    shift = [ratio(group[2], group[1])[0] for group in found.by_side]
    masked, plain = largest[2], largest[1]
    parts.append(
        f"""\
Global over window attention:

| tokens a side | in MACs | in time |
|---|---|---|
{rows}

{_why(in_macs, in_time, sides)} Shifting costs no MACs, but {min(shift):.2f} to {max(shift):.2f} times the time of \
windows without shift: two rolls are copies of the map, and the mask makes the bias as many times larger as there are \
windows ({masked.memory_mb:.1f} against {plain.memory_mb:.1f} MiB at {masked.case.side} x {masked.case.side})."""
    )
    alone = largest[3]
    if alone.memory_mb > alone.case.scores * 4 / 2**20:  # whatever the reason, it held them
        parts.append(
            f"Single-head attention holds its scores ({alone.memory_mb:.0f} MiB at {sides[-1]} x {sides[-1]}), where"
            " global attention does not: torch's fused kernel for a CPU wants q, k and v of equal width, and"
            f" single-head attention has {QK_DIM} channels of q and k and {alone.case.partial} of v. It then computes"
            " two products and a softmax, each through memory. On the maps of 8 x 8 tokens and fewer, where SHViT has"
            " it, this is of little weight; for fine maps it makes single-head attention dearer than its MACs tell."
        )
    return "\n\n".join(parts)


def _why(in_macs: Sequence[float], in_time: Sequence[float], sides: Sequence[int]) -> str:
    """How far ratios in time agree with those in MACs, in words."""
    lost = [side for side, macs, time in zip(sides, in_macs, in_time, strict=True) if time < 0.8 * macs]
    more = [side for side, macs, time in zip(sides, in_macs, in_time, strict=True) if time > 1.25 * macs]
    told = []
    if lost:
        told.append(
            f"At {_listed(lost)} tokens a side windows save less time than MACs. This may be because large matrix"
            " products run nearer to the device's peak than many small ones, and because cutting the map into windows"
            " and putting it together again are copies."
        )
    if more:
        told.append(
            f"At {_listed(more)} tokens a side windows save more time than MACs. This may be because the scores of"
            " global attention do not fit into the caches, and softmax over long rows is no MAC."
        )
    if not told:
        told.append("Time follows MACs to within a quarter at every size.")
    return " ".join(told)


def _by_window(found: Found) -> str:
    (group,) = found.by_window
    first = group[0].case
    base = next(row for row in group if row.case.kind == "window")
    return f"""\
## By window, {first.side} x {first.side} tokens of {first.width} channels

`x window` is against windows of {base.case.window} without shift.

{_table(group, base, window=True)}

Where M does not divide {first.side}, the map is padded to the next multiple of M, which is paid for."""


def _by_width(found: Found) -> str:
    side = found.by_width[0][0].case.side
    parts = [f"## By width, {side} x {side} tokens, windows of {found.by_width[0][0].case.window}"]
    parts += [_table(group, group[1]) for group in found.by_width]
    parts.append(
        "The linear maps grow with C², attention with C: the wider the block, the less windows save. Single-head"
        " attention has the fewest linear maps of all, one of C x C instead of four."
    )
    return "\n\n".join(parts)


def _networks(found: Found) -> str:
    stems, (swin, s4) = found.stems, found.published
    base, fine, equal = stems
    slower, equal_slower = ratio(fine, base), ratio(equal, base)
    device = base.latency.conditions.device
    claimed = STEM_GPU if device == "cuda" else STEM_CPU
    where = "a GPU" if device == "cuda" else "a CPU"
    batch = s4.latency.conditions.batch_size
    rate = 1000 * batch / s4.latency.median_ms
    between, in_macs = ratio(swin, s4), cost(swin.architecture).macs / cost(s4.architecture).macs
    widths, depths = (", ".join(str(getattr(s, f)) for s in equal.architecture.stages) for f in ("width", "depth"))
    finer = cost(fine.architecture).macs / cost(base.architecture).macs
    return f"""\
## Whole networks

Folded, random weights, batch {batch}, classes 1000, timed in turns.

### A 16x16 stem against a 4x4 stem

SHViT's paper says that a 16x16 stem with three stages is {STEM_GPU}x faster on a GPU and {STEM_CPU}x on a CPU than a
4x4 stem with four. Its pair is not rebuilt here. Compared are SHViT-S1; the same three stages behind a 4x4 stem; and a
network of four stages behind a 4x4 stem with about the multiply-adds of SHViT-S1 (widths {widths}; depths {depths};
single-head attention in the last two stages, each with the downsampling and the blocks of SHViT).

{_network_table(stems, base)}

{_agrees(equal_slower, claimed, where)} The same stages on the finer map, which is the stem alone, take
{slower[0]:.1f}x as long for {finer:.1f}x the MACs.

### Swin-T against SHViT-S4

{_network_table([s4, swin], s4)}

Swin-T takes {between[0]:.2f}x as long ({between[1]:.2f} to {between[2]:.2f}) for {in_macs:.2f}x the MACs
({SWIN_T_MACS / S4_MACS:.1f}x as published); top-1 is published as 81.2 % and 79.4 %. SHViT-S4 does {rate:.0f} images/s
here; the paper has {S4_THROUGHPUT} on an A100 at batch 256, {S4_THROUGHPUT / rate:.0f}x as many: another device and
batch size, so neither confirmed nor refuted here."""


def _agrees(found: tuple[float, float, float], claimed: float, where: str) -> str:
    middle, low, high = found
    told = f"At about equal MACs the 4x4 stem takes {middle:.2f}x as long ({low:.2f} to {high:.2f});"
    told += f" the paper has {claimed}x on {where}."
    if 0.9 * low <= claimed <= 1.1 * high:
        return f"{told} They agree to within 10 %."
    side = "less" if middle < claimed else "more"
    return (
        f"{told} They do not agree: it is {side} here. It may be the pair, which has equal MACs here and need not in"
        " the paper, or the device: what a finer map costs beyond MACs is moving activations, and how dear that is"
        " depends on caches and batch size."
    )


def _table(rows: list[Row], base: Row, window: bool = False) -> str:
    """Rows of one comparison, each beside `base`."""
    case = base.case
    head = "mixer" if window else f"{case.side} x {case.side} x {case.width}"
    lines = [
        f"| {head} | MACs | x window | time, ms | x window | GMAC/s | memory, MiB | scores, MiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        name = f"{row.case.kind}, M = {row.case.window}" if window else row.case.kind
        lines.append(
            f"| {name} | {row.counted} | {row.counted / base.counted:.2f} | {_ms(row.latency)} | {_ratio(row, base)}"
            f" | {row.counted / row.latency.median_ms / 1e6:.1f} | {row.memory_mb:.1f}"
            f" | {row.case.scores * 4 / 2**20:.1f} |"
        )
    return "\n".join(lines)


def _network_table(networks: list[Timed], base: Timed) -> str:
    lines = ["| network | image | maps | MACs | parameters | time, ms | x the first |", "|---|---|---|---|---|---|---|"]
    for one in networks:
        counts, net = cost(one.architecture), one.architecture
        maps = ", ".join(map(str, net.maps))
        lines.append(
            f"| {one.name} | {net.image_size} | {maps} | {counts.macs} | {counts.params}"
            f" | {_ms(one.latency)} | {_ratio(one, base)} |"
        )
    return "\n".join(lines)


def _ms(latency: Latency) -> str:
    low, high = latency.ci95_ms
    verdict = "" if latency.verdict == "ok" else f" {latency.verdict}"
    return f"{_short(latency.median_ms, 3)} ± {_short((high - low) / 2, 2)}{verdict}"


def _short(value: float, digits: int) -> str:
    """The number with that many digits that count, never as a power of ten."""
    return f"{float(f'{value:.{digits}g}'):.12g}"


def _ratio(row: Row | Timed, base: Row | Timed) -> str:
    """ "1.20 (1.18 - 1.23)"; 1 of the base itself; without brackets where there was one round."""
    if row is base:
        return "1"
    middle, low, high = ratio(row, base)
    return f"{middle:.2f}" + (f" ({low:.2f} - {high:.2f})" if len(row.rounds) > 1 else "")


def _listed(numbers: Sequence[int]) -> str:
    *rest, last = map(str, numbers)
    return f"{', '.join(rest)} and {last}" if rest else last
