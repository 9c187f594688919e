"""The structure of an architecture as columns of a frame: what a trial can be split, coloured or filtered by.

Of a stage each column ends in "@" and the stage's number from 1: mixer@3. A value is missing where a network has not
that stage, or where the stage's mixer has not that choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

GENERAL: dict[str, str] = {  # column -> dtype
    "stem": "category",  # kind and stride: "conv/4"
    "stem_kind": "category",  # patch, conv
    "stem_stride": "Int32",  # pixels
    "image_size": "Int32",  # pixels, square
    "stage_count": "Int32",
    "depth": "Int32",  # blocks of all stages
}
STAGE: dict[str, str] = {
    "width": "Int32",  # channels
    "depth": "Int32",  # blocks
    "mixer": "category",  # kind: window, global, single_head, conv, none
    "window": "Int32",  # tokens along a side, of window mixers
    "shift": "Int32",  # tokens, of window mixers
    "heads": "Int32",  # of window and global mixers
    "kernel": "Int32",  # of conv mixers
    "partial": "Float32",  # share of the channels that attend, of single_head mixers
    "qk_dim": "Int32",  # of single_head mixers
    "ffn_ratio": "Float32",  # hidden width / width
    "norm": "category",  # layer, batch
    "activation": "category",  # gelu, relu
    "local": "boolean",  # a depthwise 3x3 convolution before the mixer
    "downsample": "category",  # before the stage
}
MIXER = {"kind": pa.string()} | dict.fromkeys(
    ("size", "shift", "heads", "kernel", "partial_channels", "qk_dim"), pa.int64()
)
TYPE = pa.struct(  # of a canonical architecture, as far as it is read here
    {
        "image_size": pa.int64(),
        "stem": pa.struct({"kind": pa.string(), "stride": pa.int64()}),
        "stages": pa.list_(
            pa.struct(
                {
                    "width": pa.int64(),
                    "depth": pa.int64(),
                    "mixer": pa.struct(MIXER),
                    "ffn_ratio": pa.float64(),
                    "norm": pa.string(),
                    "activation": pa.string(),
                    "local": pa.bool_(),
                    "downsample": pa.string(),
                }
            )
        ),
    }
)
LABELS = {
    "stem_kind": "kind of stem",
    "stem_stride": "stem stride",
    "image_size": "image size",
    "stage_count": "number of stages",
    "depth": "blocks in all",
}
STAGE_LABELS = {
    "depth": "blocks",
    "window": "window size",
    "kernel": "kernel size",
    "partial": "attending share of channels",
    "qk_dim": "query width",
    "ffn_ratio": "FFN ratio",
    "local": "local convolution",
    "downsample": "downsampling",
}


def columns(stages: int) -> dict[str, str]:
    """Structure columns of networks of so many stages, with their dtypes, in the order of a frame."""
    return GENERAL | {f"{name}@{k}": dtype for k in range(1, stages + 1) for name, dtype in STAGE.items()}


def columns_of(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """The structure columns of one canonical architecture; None where it has not that choice.

    >>> columns_of(preset("swin_t").canonical.to_dict())["window@1"]
    7
    """
    stem, stages = architecture["stem"], architecture["stages"]
    found: dict[str, Any] = {
        "stem": f"{stem['kind']}/{stem['stride']}",
        "stem_kind": stem["kind"],
        "stem_stride": stem["stride"],
        "image_size": architecture["image_size"],
        "stage_count": len(stages),
        "depth": sum(stage["depth"] for stage in stages),
    }
    for k, stage in enumerate(stages, 1):
        found |= zip((f"{name}@{k}" for name in STAGE), _of_stage(stage), strict=True)
    return found


def _of_stage(stage: Mapping[str, Any]) -> tuple[Any, ...]:
    """The columns of one stage in the order of STAGE."""
    mixer = stage["mixer"]
    partial = mixer.get("partial_channels")
    return (
        stage["width"],
        stage["depth"],
        mixer["kind"],
        mixer.get("size"),
        mixer.get("shift"),
        mixer.get("heads"),
        mixer.get("kernel"),
        None if partial is None else partial / stage["width"],
        mixer.get("qk_dim"),
        stage.get("ffn_ratio"),
        stage.get("norm"),
        stage.get("activation"),
        stage.get("local"),
        stage.get("downsample"),  # the first stage has none
    )


class Architectures:
    """Many architectures at once, as Arrow holds them: the columns of columns_of, and explorer.frame.what."""

    def __init__(self, stored: pa.StructArray) -> None:
        self.stem_kind, self.stem_stride = (pc.struct_field(stored, ["stem", name]) for name in ("kind", "stride"))
        self.image_size = pc.struct_field(stored, ["image_size"])
        listed = pc.struct_field(stored, ["stages"])
        self.counts = pc.list_value_length(listed)
        lengths = np.asarray(pc.fill_null(self.counts, 0), dtype=np.int64)
        self.ends = np.cumsum(lengths)
        self.starts = self.ends - lengths
        stages = pc.list_flatten(listed)
        self.stage = {name: pc.struct_field(stages, [name]) for name in ("width", "depth", "norm", "local")}
        self.stage |= {name: pc.struct_field(stages, [name]) for name in ("activation", "ffn_ratio", "downsample")}
        self.mixer = {name: pc.struct_field(stages, ["mixer", name]) for name in MIXER}

    @property
    def readable(self) -> Any:
        """Whether each has all that a network needs to be told in words: (architectures,) booleans."""
        lacking = np.zeros(len(self.mixer["kind"]) + 1, dtype=np.int64)  # stages before each that lack something
        for column in (self.stage["width"], self.stage["depth"], self.mixer["kind"]):
            lacking[1:] += np.asarray(pc.is_null(column))
        total = np.cumsum(lacking)
        known = pc.and_(pc.is_valid(self.stem_kind), pc.is_valid(self.stem_stride))
        return np.asarray(known) & (self.starts < self.ends) & (total[self.starts] == total[self.ends])

    def columns(self) -> dict[str, pa.Array]:
        """The structure columns, of as many stages as the largest has."""
        found = {
            "stem": pc.binary_join_element_wise(self.stem_kind, pc.cast(self.stem_stride, pa.string()), "/"),
            "stem_kind": self.stem_kind,
            "stem_stride": self.stem_stride,
            "image_size": self.image_size,
            "stage_count": self.counts,
            "depth": self._sums(self.stage["depth"]),
        }
        kind, size = self.mixer["kind"], self.mixer["size"]
        width = pc.cast(self.stage["width"], pa.float64())
        of_stage = self.stage | {name: self.mixer[name] for name in ("shift", "heads", "kernel", "qk_dim")}
        of_stage |= {"mixer": kind, "window": size, "partial": pc.divide(self.mixer["partial_channels"], width)}
        for k in range(pc.max(self.counts).as_py() or 0):
            places = pa.array(self.starts + k, mask=self.starts + k >= self.ends)
            found |= {f"{name}@{k + 1}": pc.take(of_stage[name], places) for name in STAGE}
        return found

    def what(self) -> pa.StringArray:
        """Each architecture in a few words (explorer.frame.what)."""

        def text(values: pa.Array) -> pa.StringArray:
            return pc.cast(values, pa.string())

        size = pc.fill_null(text(pc.coalesce(self.mixer["size"], self.mixer["kernel"])), "")
        local = pc.if_else(pc.fill_null(self.stage["local"], False), "+dw", "")
        norm = pc.if_else(pc.fill_null(pc.equal(self.stage["norm"], "batch"), False), " bn", "")
        widths, depths = text(self.stage["width"]), text(self.stage["depth"])
        words = pc.binary_join_element_wise(widths, "×", depths, " ", self.mixer["kind"], size, local, norm, "")
        offsets = np.append(self.starts, self.ends[-1:]) if len(self.ends) else np.zeros(1, dtype=np.int64)
        stages = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), words), " · ")
        stem = pc.binary_join_element_wise(self.stem_kind, text(self.stem_stride), "/")
        return pc.binary_join_element_wise(stem, stages, " · ")

    def _sums(self, values: pa.Array) -> pa.Array:
        """The sum over each architecture's stages; null where it has none."""
        totals = np.append(0, np.cumsum(np.asarray(pc.fill_null(values, 0))))
        return pa.array(totals[self.ends] - totals[self.starts], mask=self.starts == self.ends)


def label(column: str) -> str:
    """The name of a structure column for a person.

    >>> label("mixer@3"), label("downsample@2"), label("stem_stride")
    ('mixer in stage 3', 'downsampling before stage 2', 'stem stride')
    """
    name, at, stage = column.partition("@")
    if not at:
        return LABELS.get(name, name)
    return f"{STAGE_LABELS.get(name, name)} {'before' if name == 'downsample' else 'in'} stage {stage}"


def splits(frame: pd.DataFrame) -> list[str]:
    """The structure columns that have more than one value in a frame, in its order."""
    return [name for name in map(str, frame.columns) if is_structure(name) and _varies(frame[name])]


def is_structure(column: str) -> bool:
    """Whether a frame's column is one of these: latency_ms@cuda_graph/b1 is none."""
    name, at, stage = column.partition("@")
    return name in STAGE and stage.isdecimal() if at else name in GENERAL


def _varies(values: pd.Series[Any]) -> bool:
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.cat.codes[values.cat.codes >= 0]
    known = values.dropna()
    return bool(len(known)) and bool(known.min() != known.max())
