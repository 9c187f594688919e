"""Published weights into our naming, for the window and the image size that they are wanted for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from explorer.options import Json, whole_option
from explorer.show import console, print_json
from search_spaces.errors import InputError

if TYPE_CHECKING:
    from explorer.weights import Imported


def import_weights(
    what: Annotated[str, typer.Argument(metavar="ARCHITECTURE", help="A preset by name, or an architecture file.")],
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A .pth, .pt, .bin or .safetensors file.")],
    out: Annotated[Path, typer.Option(help="File to write: .safetensors, .pt or .pth.")],
    image_size: Annotated[int | None, whole_option("Pixels; position tables are interpolated.")] = None,
    window: Annotated[int | None, whole_option("Tokens along a window; bias tables are interpolated.")] = None,
    classes: Annotated[int | None, whole_option("Of the classifier; left fresh where the file's has others.")] = None,
    drop_head: Annotated[bool, typer.Option("--drop-head", help="Leave the classifier fresh.")] = False,
    use_ema: Annotated[bool, typer.Option("--use-ema", help="Take the moving average of the weights.")] = False,
    json: Json = False,
) -> None:
    """Read a published checkpoint of Swin, SHViT or DeiT (official, timm) and write its weights in our naming."""
    from explorer.export.config import rebuildable
    from explorer.weights import import_weights as read
    from explorer.weights import save_weights
    from explorer.whole import replacing
    from search_spaces.architecture import Architecture
    from search_spaces.shipped import find

    source = find(what, "presets")
    beside = out.with_suffix(".yaml")
    if out.resolve() == checkpoint.resolve():
        raise InputError(f"out={out} is the checkpoint itself; choose another file")
    found = read(
        source,
        checkpoint,
        image_size=image_size,
        window=window,
        classes=classes,
        drop_head=drop_head,
        averaged=use_ema,
    )
    changed = found.architecture.id != Architecture.load(source).id
    if changed and beside.resolve() == source.resolve():
        raise InputError(f"out={out}: the changed architecture would replace {source}; choose another name")
    about = {"source": checkpoint.name, "naming": found.naming}
    save_weights(out, found.network.state_dict(), architecture=found.architecture, about=about)
    if changed:
        with replacing(beside) as part:
            part.write_text(rebuildable(found.architecture, beside.name), encoding="utf-8")
    written = {"out": str(out), "architecture_file": str(beside) if changed else None}
    if json:
        sizes = [{"name": key, "from": a, "to": b} for key, (a, b) in found.resampled.items()]
        print_json(
            {"naming": found.naming, "placed": found.placed, "left_over": found.left_over}
            | {"fresh": list(found.fresh), "resampled": sizes}
            | {"id": found.architecture.id, "image_size": found.architecture.image_size, **written}
        )
        return
    for line in [*_told(found), f"written to {out}" + (f", its architecture to {beside}" if changed else "")]:
        console().print(line, markup=False, soft_wrap=True)


def _told(found: Imported) -> list[str]:
    """What became of the weights, a line a kind."""
    values = sum(parameter.numel() for parameter in found.network.parameters())
    lines = [f"{len(found.placed)} tensors placed, named as by {found.naming}; the network has {values:,} parameters"]
    for why, number in Counter(found.left_over.values()).items():
        names = [key for key, reason in found.left_over.items() if reason == why]
        more = f" and {number - 2} more" if number > 2 else ""
        lines.append(f"{number} left over, {why}: {', '.join(names[:2])}{more}")
    if found.fresh:
        lines.append(f"left as initialised, to be trained: {', '.join(found.fresh)}")
    tables: Counter[tuple[str, int, int]] = Counter()
    for key, (old, new) in found.resampled.items():
        stage = f"stage {key.split('.')[1]}" if key.startswith("stages.") else ""
        tables[stage, old, new] += 1
    for (stage, old, new), number in tables.items():
        if stage:
            many = f"{number} bias tables" if number > 1 else "1 bias table"
            lines.append(f"{stage}: {many} interpolated, window {old} to {new}")
        else:
            lines.append(f"position embedding interpolated, {old} x {old} tokens to {new} x {new}")
    return lines
