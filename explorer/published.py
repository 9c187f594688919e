"""Returns what is published of the models that ship as presets, beside their closed-form cost: torch-free."""

from __future__ import annotations

from functools import cache

import pandas as pd

from search_spaces import cost, preset
from search_spaces.shipped import names

COLUMNS: dict[str, str] = {  # column -> dtype
    "name": "string",
    "image_size": "int64",  # pixels, square
    "macs": "int64",  # multiply-adds, batch 1, closed form
    "params": "int64",
    "activations": "int64",  # elements, batch 1
    "top1": "float64",  # as published: ImageNet-1k, by the paper's own recipe, %
    "source": "string",  # table and recipe
}
RECIPE = "published, ImageNet-1k, other recipe"  # said wherever a published accuracy is shown


def published(image_size: int | None = None) -> pd.DataFrame:
    """One row a published model by rising MACs, with the columns and dtypes of COLUMNS; of one image size, or of all.

    What a model costs depends on the size of its images, so models of another size compare only loosely. Their
    accuracy is of another training and other data than a study's and is never to be put on one scale with it.

    >>> list(published(256)["name"])
    ['shvit_s4']
    """
    table = _all()
    return table.copy() if image_size is None else table[table["image_size"] == image_size].reset_index(drop=True)


@cache
def _all() -> pd.DataFrame:
    rows = []
    for name in names("presets"):
        architecture = preset(name)
        counted, said = cost(architecture), architecture.published
        row = {"name": name, "image_size": architecture.image_size, "macs": counted.macs, "params": counted.params}
        row |= {"activations": counted.activations}
        rows.append(row | ({"top1": said.top1, "source": said.source} if said is not None else {}))
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    return table.sort_values("macs", kind="stable").reset_index(drop=True)
