"""What a network looks at, as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from explorer.options import Json, listed
from explorer.show import console, print_json
from search_spaces.errors import InputError


def explain(
    architecture: Annotated[
        str, typer.Argument(metavar="ARCHITECTURE", help="A preset by name, or an architecture file.")
    ],
    image: Annotated[str, typer.Option(help="A file, or an item of embedded data: cues:7, digits:3.")],
    weights: Annotated[
        Path | None,
        typer.Option(help="A .safetensors file or a checkpoint of torch.save.", show_default="random ones"),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder to write into.")] = Path("explained"),
    query: Annotated[
        list[str] | None,
        typer.Option(
            help="ROW,COL: the token over that pixel of the image at the network's size; several times for several.",
            metavar="ROW,COL|auto",
            show_default="auto",
        ),
    ] = None,
    stages: Annotated[
        str | None, typer.Option(help="Such as 0,2; counted from 0.", metavar="LIST", show_default="all")
    ] = None,
    json: Json = False,
) -> None:
    """What a network looks at in an image: windows, attention of every head, how far it reaches; as pictures."""
    from rich.console import Console

    from explorer.explain import explain as draw
    from explorer.explain.words import RANDOM
    from explorer.show import progress_bar

    errors = Console(stderr=True, highlight=False)
    with progress_bar(errors, disable=not errors.is_terminal) as bar:
        task = bar.add_task("explain", total=None, step="building")

        def tell(step: str, done: int, of: int) -> None:
            bar.update(task, completed=done, total=of, step=step)

        found = draw(
            architecture,
            image,
            weights=weights,
            out=out,
            queries=parse_queries(query),
            stages=None if stages is None else parse_stages(stages),
            on_step=tell,
        )
    if weights is None:
        errors.print(f"{RANDOM} Give --weights.", soft_wrap=True)
    if json:
        print_json(found.to_json())
    else:
        for path in found.files:
            console().print(str(path), markup=False, soft_wrap=True)


def parse_queries(asked: list[str] | None) -> list[tuple[int, int]] | None:
    """[(row, column)] of "60,100"; None of auto, which may stand alone only."""
    if not asked or asked == ["auto"]:
        return None
    found = []
    for text in asked:
        try:
            row, column = (int(part) for part in listed(text))
        except ValueError:
            raise InputError(f"query={text}: give ROW,COL in pixels, such as 60,100, or auto alone") from None
        found.append((row, column))
    return found


def parse_stages(text: str) -> list[int]:
    """[0, 2] of "0,2"."""
    try:
        return [int(part) for part in listed(text)]
    except ValueError:
        raise InputError(f"stages={text}: give numbers separated by commas, such as 0,2") from None
