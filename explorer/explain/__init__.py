"""What a network looks at in an image: its attention, as computed, drawn as pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces.architecture import Architecture
from search_spaces.errors import InputError
from search_spaces.shipped import find

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from explorer.explain.scene import Scene

MOST_QUERIES = 6
OnStep = Callable[[str, int, int], None]  # what is being done, steps done, steps in all


@dataclass(frozen=True)
class Explanation:
    """The pictures written, and the numbers behind them."""

    scene: Scene
    stages: tuple[int, ...]
    files: tuple[Path, ...]  # the overview first

    def to_json(self) -> dict[str, Any]:
        """Plain data; distances in pixels of the network's input."""
        from explorer.explain.numbers import scene_json

        return scene_json(self.scene, self.stages, self.files)


def explain(
    architecture: Architecture | str | Path,
    image: str | Path,
    *,
    weights: str | Path | None = None,
    out: str | Path = "explained",
    queries: Sequence[tuple[int, int]] | None = None,
    stages: Sequence[int] | None = None,
    on_step: OnStep | None = None,
) -> Explanation:
    """Draws what a network attends to in an image into `out`: overview.png, and stage_N.png with every head.

    `image` is a file, or an item of embedded data such as "cues:7"; without `weights` they are random, from seed 0.
    `queries` are pixels (row, column) of the image at the network's size: by default the spot with most detail and one
    near the corner where shifted windows are masked.

    >>> explain("swin_t", "cat.jpg", weights="swin_t.safetensors").files[0]
    PosixPath('explained/overview.png')
    """
    from explorer.evaluate import build_seeded
    from explorer.explain.image import load_picture
    from explorer.explain.lattice import lattices
    from explorer.explain.overview import overview
    from explorer.explain.scene import Scene
    from explorer.explain.stage_sheet import stage_sheet
    from explorer.explain.views import look
    from explorer.weights import load_file, statistics_of

    name = str(architecture)
    if not isinstance(architecture, Architecture):
        path = find(architecture, "presets")
        architecture = Architecture.load(path)
        name = architecture.name or Path(path).stem
    else:
        name = architecture.name or architecture.id
    chosen = _stages(stages, len(architecture.stages))
    picture = load_picture(str(image), architecture, None if weights is None else statistics_of(weights))
    asked = _queries(queries, architecture.image_size) or auto_queries(picture.pixels)
    network = build_seeded(architecture, 0)
    if weights is not None:
        network = load_file(network, weights)
    network = network.eval()
    found = lattices(architecture)
    views = look(
        network,
        picture.tensor(architecture.in_channels),
        found,
        asked,
        None if on_step is None else lambda done, of: on_step("looking", done, of),
    )
    shown = None if weights is None else Path(weights).name
    scene = Scene(architecture, name, picture.pixels, picture.source, shown, asked, found, views)
    sheets = {"overview": partial(overview, scene, chosen)}
    sheets |= {f"stage_{stage}": partial(stage_sheet, scene, stage) for stage in chosen}
    files = []
    for done, (called, draw) in enumerate(sheets.items()):
        if on_step is not None:
            on_step("drawing", done, len(sheets))
        sheet, bottom = draw()
        files.append(Path(out) / f"{called}.png")
        sheet.save(files[-1], bottom)
    return Explanation(scene, tuple(chosen), tuple(files))


def auto_queries(pixels: NDArray[np.uint8]) -> tuple[tuple[int, int], ...]:
    """Two pixels of an image (S, S, 3): where most changes around in its middle, and near its lower right corner."""
    import numpy as np

    size = len(pixels)
    grey = pixels.astype(float).mean(-1)
    change = np.zeros_like(grey)
    change[:-1] += np.abs(np.diff(grey, axis=0))
    change[:, :-1] += np.abs(np.diff(grey, axis=1))
    reach = max(1, size // 8)
    total = np.pad(change.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    around = total[reach:, reach:] - total[:-reach, reach:] - total[reach:, :-reach] + total[:-reach, :-reach]
    low, high = size // 5, max(size // 5 + 1, size - size // 5 - reach)
    middle = around[low:high, low:high]
    row, column = np.unravel_index(int(middle.argmax()), middle.shape)
    corner = size - 1 - size // 24
    return (int(row) + low + reach // 2, int(column) + low + reach // 2), (corner, corner)


def _stages(asked: Sequence[int] | None, count: int) -> list[int]:
    if asked is None:
        return list(range(count))
    for stage in asked:
        if not 0 <= stage < count:
            raise InputError(f"stages={stage}: this network has stages 0 to {count - 1}")
    return sorted(set(asked))


def _queries(asked: Sequence[tuple[int, int]] | None, size: int) -> tuple[tuple[int, int], ...]:
    for row, column in asked or ():
        if not (0 <= row < size and 0 <= column < size):
            raise InputError(
                f"query={row},{column}: outside the image; give row,column from 0,0 to {size - 1},{size - 1}"
            )
    if asked and len(asked) > MOST_QUERIES:
        raise InputError(f"query: {len(asked)} given; give at most {MOST_QUERIES}")
    return tuple(asked or ())
