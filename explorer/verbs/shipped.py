"""What is shipped, and how large a space is."""

from __future__ import annotations

from typing import Annotated

import typer

from explorer.options import Json, Seed, whole_option
from explorer.show import print_json, print_rows, short_count
from search_spaces.errors import InputError


def spaces(json: Json = False) -> None:
    """The search spaces that are shipped, with their exact sizes."""
    from search_spaces.shipped import names
    from search_spaces.space import load_space

    found = [load_space(name) for name in names("spaces")]
    if json:
        print_json([{"name": s.name, "size": s.size, "description": s.description} for s in found])
    else:
        rows = [[s.name, short_count(s.size), s.description] for s in found]
        print_rows("", ["Space", ">Architectures", "What it is"], rows)


def presets(json: Json = False) -> None:
    """The published models that are shipped, with their published accuracy."""
    from search_spaces.cost import cost
    from search_spaces.shipped import names, preset

    rows = []
    for name in names("presets"):
        model, counts = preset(name), cost(preset(name))
        top1 = model.published.top1 if model.published else None
        source = model.published.source if model.published else None
        rows.append(
            {"name": name, "id": model.id, "image_size": model.image_size, "params": counts.params}
            | {"params_folded": counts.params_folded, "macs": counts.macs, "published_top1": top1, "source": source}
        )
    if json:
        print_json(rows)
    else:
        headings = ["Preset", ">Image (px)", ">Parameters", ">MACs", ">Top-1 (%)", "Published in"]
        cells = [
            [r["name"], r["image_size"], f"{r['params']:,}", f"{r['macs']:,}", r["published_top1"], r["source"]]
            for r in rows
        ]
        print_rows("", headings, [[str(cell) for cell in row] for row in cells])


def count(
    what: Annotated[str, typer.Argument(metavar="SPACE", help="A space, a preset, or a file of either.")],
    samples: Annotated[int, whole_option("Random architectures of which the spread is told.")] = 1000,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """How many architectures a space has, exactly, and how MACs and parameters spread over it; closed form."""
    import random
    from statistics import quantiles

    from search_spaces.cost import cost
    from search_spaces.space import load_space

    if not 1 <= samples <= 100_000:
        raise InputError(f"samples={samples}: give 1 to 100000")
    space, rng = load_space(what), random.Random(seed)
    drawn = [cost(space.sample(rng)) for _ in range(1 if space.size == 1 else samples)]
    spread = {}
    for name in ("macs", "params", "activations"):
        values = sorted(getattr(found, name) for found in drawn)
        cuts = quantiles(values, n=20, method="inclusive") if len(values) > 1 else [values[0]] * 19
        spread[name] = {"min": values[0], "p5": cuts[0], "median": cuts[9], "p95": cuts[18], "max": values[-1]}
    if json:
        print_json({"name": space.name, "size": space.size, "samples": len(drawn), "seed": seed, **spread})
        return
    if space.size == 1:
        totals = [[name, f"{row['median']:,.0f}"] for name, row in spread.items()]
        print_rows(f"{space.name}: one architecture", ["", ">one image"], totals)
        return
    rows = [[name, *(f"{value:,.0f}" for value in row.values())] for name, row in spread.items()]
    title = f"{space.name}: {short_count(space.size)} architectures"
    print_rows(
        title, ["", ">least", ">5 %", ">median", ">95 %", ">most"], rows, [f"of {len(drawn)} samples, seed {seed}"]
    )
