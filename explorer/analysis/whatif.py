"""What an architecture costs part by part, and what it would be with other choices: closed form, no torch.

Edits are named as the structure columns of a frame (explorer/structure.py): {"mixer@2": "conv", "stem_stride": 4}.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from explorer import structure
from search_spaces.architecture import Architecture, ConvMixer, SingleHeadMixer, WindowMixer
from search_spaces.cost import cost
from search_spaces.errors import InputError

if TYPE_CHECKING:
    from explorer.profile.predict import LatencyPredictor

COSTS = ("macs", "params", "activations")
MIXER_FIELDS = {  # of a token mixer: the structure columns that it has
    "window": ("window", "shift", "heads"),
    "global": ("heads",),
    "single_head": ("partial", "qk_dim"),
    "conv": ("kernel",),
    "none": (),
}
STAGE_FIELDS = ("width", "depth", "ffn_ratio", "norm", "activation", "local", "downsample")
SHIFTING = ("mixer", "window", "shift", "depth")  # choices of a stage on which its shift depends
STORED = {"window": "size", "partial": "partial_ratio"}  # where a mixer's field is called otherwise
HEAD_WIDTH = 32  # channels, of a head that nobody has chosen
PLACE = re.compile(r"^what-if: (?:stages\.(?P<stage>\d+)\.?)?(?P<field>[\w.]*?)(?:: )")


def cost_by_part(architecture: Architecture) -> pd.DataFrame:
    """One row a part in the order of the forward pass: macs (multiply-adds), params and activations for one image.

    `stage` is "stem", "stage 1", ..., "head"; `part` is stem, downsample, local, mixer, ffn or head; `blocks` says how
    many there are, each of this cost. The sum of blocks times cost is the network's.
    """
    rows = []
    for name, blocks, part in cost(architecture).parts:
        words = name.split(".")
        stage = f"stage {int(words[1]) + 1}" if words[0] == "stages" else words[0]
        rows.append((stage, words[-1], blocks, part.macs, part.params, part.activations))
    return pd.DataFrame(rows, columns=["stage", "part", "blocks", *COSTS])


def change(architecture: Architecture, edits: Mapping[str, Any]) -> Architecture:
    """The architecture with other choices, canonical, without name and remarks.

    A stage keeps what is not edited; a mixer of another kind begins with usual values (settings), and single-head
    attention keeps its share of the channels when the width changes.

    >>> change(preset("swin_t"), {"mixer@1": "conv", "kernel@1": 7}).stages[0].mixer.kernel
    7

    Raises:
        InputError: there is no such network, or no such choice; one line that says why not and what would do.
    """
    original = architecture.canonical
    data = original.to_dict()
    by_stage: dict[int, dict[str, Any]] = {}
    for column, value in edits.items():
        name, _, stage = column.partition("@")
        if stage.isdecimal() and 1 <= int(stage) <= len(original.stages):
            by_stage.setdefault(int(stage) - 1, {})[name] = value
        elif column == "image_size":
            data["image_size"] = value
        elif column in ("stem_kind", "stem_stride"):
            data["stem"] = _stem(data["stem"], column.removeprefix("stem_"), value)
        else:
            raise InputError(f"{column}: no such choice in a network of {len(original.stages)} stages")
    for index, asked in by_stage.items():
        data["stages"][index] = _stage(original, index, asked)
    try:
        return Architecture.from_dict(data, "what-if").canonical
    except InputError as error:
        raise InputError(PLACE.sub(_place, str(error), count=1)) from None


def settings(
    architecture: Architecture, index: int, kind: str, width: int, window: int | None = None
) -> dict[str, Any]:
    """The values of a mixer's structure columns in a stage: its own where it has this kind, usual ones else.

    Usual are heads of 32 channels, windows of 7 tokens, 3/14 of the channels attending, kernels of 3. A window of
    another size shifts by half of it where the stage's own did so, or has none.
    """
    stage, side = architecture.canonical.stages[index], architecture.maps[index]
    found: dict[str, Any] = {"window": min(7, side), "shift": min(7, side) // 2 if side > 7 else 0}
    found |= {"heads": nearest_divisor(width, width // HEAD_WIDTH), "partial": 3 / 14, "qk_dim": 16, "kernel": 3}
    if stage.mixer.kind == kind:
        match stage.mixer:
            case WindowMixer() as mixer:
                found |= {"window": mixer.size, "shift": mixer.shift_tokens}
            case SingleHeadMixer() as mixer:
                found |= {"partial": mixer.partial(stage.width) / stage.width, "qk_dim": mixer.qk_dim}
            case ConvMixer() as mixer:
                found |= {"kernel": mixer.kernel}
        found["heads"] = getattr(stage.mixer, "heads", found["heads"])
    if window is not None and window != found["window"]:
        found |= {"window": window, "shift": window // 2 if _by_half(stage.mixer) else found["shift"]}
    return {name: found[name] for name in MIXER_FIELDS[kind]}


def divisors(width: int) -> list[int]:
    """The numbers of heads that a width can have: its divisors, up to 64."""
    return [n for n in range(1, min(width, 64) + 1) if width % n == 0]


def nearest_divisor(width: int, heads: int) -> int:
    """The number of heads nearest to the one wanted that a width can have; of two the smaller."""
    return min(divisors(width), key=lambda n: (abs(n - heads), n))


def notes(original: Architecture, edits: Mapping[str, Any]) -> list[str]:
    """What of the edits takes no effect, or another one than asked for, each in a line."""
    changed, found = change(original, edits), []
    effect = structure.columns_of(changed.to_dict())
    for column, asked in edits.items():
        takes, (name, _, stage) = effect.get(column), column.partition("@")
        if takes is None:
            found.append(f"{structure.label(column)}: the mixer has none")
        elif name == "window" and takes != asked:
            found.append(f"stage {stage}: a window of {asked} covers the whole map: it shrinks to {takes}×{takes}")
        elif name == "shift" and takes != asked and effect[f"depth@{stage}"] > 1:
            found.append(f"stage {stage}: no shift, since the window covers the whole map")
    touched = {int(stage) for name, _, stage in (column.partition("@") for column in edits) if name in SHIFTING}
    for k in sorted(touched):
        if effect[f"mixer@{k}"] == "window" and effect[f"depth@{k}"] == 1:
            found.append(f"stage {k}: no shift, since one block alone cannot shift its windows")
    return found


def latency_predictor(
    frame: pd.DataFrame, architectures: Callable[[Iterable[int]], Mapping[int, dict[str, Any]]], name: str = "latency"
) -> LatencyPredictor:
    """The predictor of one latency of a study, learnt from at most 400 of its architectures.

    `architectures` gives the canonical forms of trials by number.

    Raises:
        PredictorError: too few measurements to learn from; one line.
    """
    from explorer.analysis.held_out import learnable
    from explorer.profile.predict import LEAST, PredictorError, from_frame

    rows = learnable(frame, name)
    if len(rows) < LEAST:
        raise PredictorError(f"{len(rows)} trusted measurements, a latency predictor needs {LEAST} or more")
    forms = architectures([int(number) for number in rows["number"]])
    rows = rows[rows["number"].isin(list(forms))]
    stored = pd.Series([forms[int(number)] for number in rows["number"]], index=rows.index, dtype=object)
    return from_frame(rows.assign(architecture=stored), name)


def _stem(stem: dict[str, Any], field: str, value: Any) -> dict[str, Any]:
    """The stem with one of its choices made anew; what the other kind has not is left out."""
    if field == "kind" and value != stem["kind"]:
        kept: dict[str, Any] = {name: stem[name] for name in ("stride", "position") if name in stem}
        return {**kept, "kind": value}
    return {**stem, field: value}


def _stage(original: Architecture, index: int, asked: Mapping[str, Any]) -> dict[str, Any]:
    """A stage as plain data with some of its choices made anew."""
    stage = original.stages[index]
    data = stage.model_dump(mode="json", exclude_none=True)
    kind = asked.get("mixer", stage.mixer.kind)
    if kind not in MIXER_FIELDS:
        raise InputError(f"stage {index + 1}: mixer={kind} is not known; use one of {', '.join(MIXER_FIELDS)}")
    for name, value in asked.items():
        if name in STAGE_FIELDS:
            data[name] = value
        elif name != "mixer" and name not in structure.STAGE:
            raise InputError(f"stage {index + 1}: {name} is no choice of a stage")
    mixer = data["mixer"] if kind == stage.mixer.kind else {"kind": kind}
    values = {name: asked[name] for name in MIXER_FIELDS[kind] if name in asked}
    width = data["width"]
    usable = type(width) is int and width >= 1
    if kind != stage.mixer.kind or (kind == "single_head" and "width" in asked):
        known = settings(original, index, kind, width if usable else stage.width)
        values = known | values
    if kind == "window" and "window" in asked and "shift" not in asked and _by_half(stage.mixer):
        values["shift"] = "half"
    if "partial" in values:
        mixer.pop("partial_channels", None)
    data["mixer"] = mixer | {STORED.get(name, name): value for name, value in values.items()}
    return data


def _by_half(mixer: object) -> bool:
    """Whether windows shift by half of their size, as those do that nobody has chosen."""
    return not isinstance(mixer, WindowMixer) or mixer.shift_tokens == mixer.size // 2


def _place(found: re.Match[str]) -> str:
    """Where something is wrong, for a person: "stage 2, heads: "."""
    field = found["field"].removeprefix("mixer.").removeprefix(".")
    stage = f"stage {int(found['stage']) + 1}" if found["stage"] else ""
    where = ", ".join(filter(None, [stage, field]))
    return f"{where}: " if where else ""
