"""An architecture as data: what a network is, read from YAML or JSON, frozen, with one id per network."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from search_spaces.document import MAX_STAGES, Document, Loc, read_document, short
from search_spaces.errors import InputError

FORMAT: Literal["vitscape/architecture@1"] = "vitscape/architecture@1"

Count: TypeAlias = Annotated[int, Field(strict=True, ge=1, le=65536)]
Ratio: TypeAlias = Annotated[float, Field(strict=True, gt=0, le=32, allow_inf_nan=False)]


class Spec(BaseModel):
    """Base of the parts of an architecture: frozen, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PatchStem(Spec):
    """One strided convolution over non-overlapping patches (ViT; Swin, section 3.1)."""

    kind: Literal["patch"] = "patch"
    stride: Literal[2, 4, 8, 16] = 4
    norm: Literal["layer", "none"] = "layer"  # LayerNorm after it: Swin has it, DeiT has not
    position: Literal["none", "absolute"] = "none"  # learned absolute position embedding


class ConvStem(Spec):
    """log2(stride) 3x3 stride-2 Conv-BN steps with ReLU between them (SHViT, section 3.1)."""

    kind: Literal["conv"] = "conv"
    stride: Literal[2, 4, 8, 16] = 16
    position: Literal["none", "absolute"] = "none"

    def widths(self, width: int) -> list[int]:
        """Channels after each step: they double up to the first stage's `width`."""
        steps = self.stride.bit_length() - 1
        return [max(1, width >> (steps - 1 - i)) for i in range(steps)]


def _shift(value: Any) -> Any:
    if value == "half" or (type(value) is int and value >= 0):
        return value
    raise _impossible(f"{short(value)} is not allowed; use 0 to size - 1, or half")


class WindowMixer(Spec):
    """Window attention; odd blocks of the stage shift their windows (Swin, section 3.2)."""

    kind: Literal["window"] = "window"
    size: Count = 7  # tokens along one side
    shift: Annotated[int | Literal["half"], BeforeValidator(_shift)] = "half"  # tokens; half is size // 2
    heads: Count = 3
    relative_position_bias: Annotated[bool, Field(strict=True)] = True

    @property
    def shift_tokens(self) -> int:
        """The shift of odd blocks in tokens, before the map is known."""
        return self.size // 2 if self.shift == "half" else self.shift

    @model_validator(mode="after")
    def _shift_below_size(self) -> WindowMixer:
        if self.shift_tokens >= self.size:
            message = f"shift={self.shift} is not below size={self.size}; use 0 to {self.size - 1}, or half"
            raise _impossible(message, "shift")
        return self


class GlobalMixer(Spec):
    """Multi-head self-attention over the whole map (ViT)."""

    kind: Literal["global"] = "global"
    heads: Count = 3


class SingleHeadMixer(Spec):
    """Single-head self-attention over the first channels; the others pass (SHViT, section 3.2)."""

    kind: Literal["single_head"] = "single_head"
    partial_channels: Count | None = None  # attending channels; or
    partial_ratio: Annotated[float, Field(strict=True, gt=0, le=1)] | None = None  # their share; default 3/14
    qk_dim: Count = 16

    def partial(self, width: int) -> int:
        """How many of `width` channels attend."""
        if self.partial_channels is not None:
            return self.partial_channels
        if self.partial_ratio is not None:
            return max(1, int(self.partial_ratio * width + 1e-9))
        return max(1, 3 * width // 14)  # the published choice

    @model_validator(mode="after")
    def _one_spelling(self) -> SingleHeadMixer:
        if self.partial_channels is not None and self.partial_ratio is not None:
            raise _impossible(
                f"partial_channels={self.partial_channels} and partial_ratio={self.partial_ratio} say the same"
                " thing twice; keep one",
                "partial_ratio",
            )
        return self


class ConvMixer(Spec):
    """Depthwise convolution as token mixer."""

    kind: Literal["conv"] = "conv"
    kernel: Literal[3, 5, 7, 9, 11, 13] = 3


class NoMixer(Spec):
    """No token mixing: the block is its local convolution, if any, and its FFN."""

    kind: Literal["none"] = "none"


Stem: TypeAlias = Annotated[PatchStem | ConvStem, Field(discriminator="kind")]
Mixer: TypeAlias = Annotated[
    WindowMixer | GlobalMixer | SingleHeadMixer | ConvMixer | NoMixer, Field(discriminator="kind")
]
STEMS: dict[str, type[Spec]] = {"patch": PatchStem, "conv": ConvStem}
MIXERS: dict[str, type[Spec]] = {
    "window": WindowMixer,
    "global": GlobalMixer,
    "single_head": SingleHeadMixer,
    "conv": ConvMixer,
    "none": NoMixer,
}


class Stage(Spec):
    """`depth` equal blocks at one resolution: optional local convolution, token mixer, FFN; each a residual."""

    width: Count  # channels
    depth: Annotated[int, Field(strict=True, ge=1, le=256)]  # blocks
    mixer: Mixer
    downsample: Literal["patch_merging", "inverted_residual"] | None = None  # before it; the first has none
    local: Annotated[bool, Field(strict=True)] = False  # depthwise 3x3 residual before the mixer
    ffn_ratio: Ratio = 4.0  # hidden width / width
    norm: Literal["layer", "batch"] = "layer"  # pre-LayerNorm with biased linears, or Conv-BN without pre-norm
    activation: Literal["gelu", "relu"] = "gelu"

    @property
    def hidden(self) -> int:
        """Hidden width of the FFN."""
        return max(1, round(self.ffn_ratio * self.width))

    @model_validator(mode="after")
    def _mixer_fits_width(self) -> Stage:
        mixer = self.mixer
        if isinstance(mixer, WindowMixer | GlobalMixer) and self.width % mixer.heads:
            divisors = [n for n in range(1, min(self.width, 64) + 1) if self.width % n == 0]
            message = f"heads={mixer.heads} does not divide width={self.width}; use one of {divisors}"
            raise _impossible(message, "mixer", "heads")
        if isinstance(mixer, SingleHeadMixer) and mixer.partial(self.width) > self.width:
            message = f"partial_channels={mixer.partial_channels} is above width={self.width}; use 1 to {self.width}"
            raise _impossible(message, "mixer", "partial_channels")
        return self


class Head(Spec):
    """Mean over tokens and a linear classifier: LayerNorm before the mean (Swin) or BatchNorm after it (SHViT)."""

    norm: Literal["layer", "batch"] = "layer"


class Published(Spec):
    """What the paper reports for a preset, by its own training recipe; no part of the network."""

    top1: Annotated[float, Field(strict=True, ge=0, le=100)]  # ImageNet-1k top-1, %
    source: str


class Architecture(Spec):
    """A whole network as plain data.

    >>> from search_spaces import Architecture, preset
    >>> Architecture.load("pareto/knee.yaml").id == preset("swin_t").id
    False
    """

    format: Literal["vitscape/architecture@1"] = FORMAT
    name: str | None = None
    description: str | None = None
    published: Published | None = None
    image_size: Annotated[int, Field(strict=True, ge=1, le=8192)]  # pixels, square
    in_channels: Count = 3
    classes: Count = 1000
    drop_path: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.0  # of the last block; linear from 0
    stem: Stem
    stages: Annotated[tuple[Stage, ...], Field(min_length=1, max_length=MAX_STAGES)]
    head: Head = Head()

    @model_validator(mode="after")
    def _downsampling(self) -> Architecture:
        if self.stages[0].downsample is not None:
            message = f"downsample={self.stages[0].downsample} before the first stage; the stem does that: leave it out"
            raise _impossible(message, "stages", 0, "downsample")
        for i, stage in enumerate(self.stages[1:], 1):
            if stage.downsample is None:
                message = "downsample is missing; use patch_merging or inverted_residual"
                raise _impossible(message, "stages", i)
        return self

    @property
    def maps(self) -> tuple[int, ...]:
        """Tokens along one side of the map in each stage; odd maps round up."""
        sides = [-(-self.image_size // self.stem.stride)]
        for _ in self.stages[1:]:
            sides.append(-(-sides[-1] // 2))
        return tuple(sides)

    def at_size(self, image_size: int) -> Architecture:
        """The same network for square images of another size in pixels: its maps follow, and windows shrink to them.

        Raises:
            InputError: a size that its strides cannot serve; one line.
        """
        require_size(image_size, self.stem.stride, len(self.stages))
        return Architecture.model_validate({**self.to_dict(), "image_size": image_size})

    @cached_property
    def canonical(self) -> Architecture:
        """The one spelling of this network: every field as it takes effect, without name and remarks."""
        stages = tuple(canonical_stage(stage, side) for stage, side in zip(self.stages, self.maps, strict=True))
        bare: dict[str, None] = {"name": None, "description": None, "published": None}
        drop_path = abs(self.drop_path)  # -0.0 is 0.0
        return self.model_copy(update={**bare, "stages": stages, "drop_path": drop_path})

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits, equal for equal networks however they are written."""
        text = json.dumps(self.canonical.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Plain data of what is set, ready for JSON."""
        return self.model_dump(mode="json", exclude_none=True)

    def to_yaml(self) -> str:
        """The architecture file's text."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True, width=120)

    @classmethod
    def from_dict(cls, data: Any, source: str = "architecture") -> Architecture:
        """The architecture that plain data describes.

        Raises:
            SpecError: the data is no architecture; one line, naming the field.
        """
        return parse_architecture(Document(source, data))

    @classmethod
    def load(cls, path: str | Path) -> Architecture:
        """The architecture in a YAML or JSON file.

        Raises:
            SpecError: the file is no architecture; one line, naming file, line and field.
        """
        return parse_architecture(read_document(path))


def parse_architecture(document: Document) -> Architecture:
    """The architecture in a document already read."""
    check_format(document, FORMAT)
    try:
        return Architecture.model_validate(document.data)
    except ValidationError as error:
        raise document.explain(error, known_at=_known_at) from None


def _known_at(loc: Loc) -> tuple[str, ...]:
    """The fields that may be written at a place in pydantic's terms, or the kinds where none is chosen."""
    for part, kinds in (("mixer", MIXERS), ("stem", STEMS)):
        if part in loc:
            chosen = loc[loc.index(part) + 1 : loc.index(part) + 2]
            return tuple(kinds[str(chosen[0])].model_fields) if chosen else tuple(kinds)
    parts: dict[str, type[Spec]] = {"stages": Stage, "head": Head, "published": Published}
    within = len(loc) > 1 or loc in (("head",), ("published",))
    return tuple((parts.get(str(loc[0]), Architecture) if within else Architecture).model_fields)


def check_format(document: Document, *accepted: str) -> None:
    """Raise SpecError unless the document says that it has one of the formats."""
    if not isinstance(document.data, dict):
        raise document.error((), f"expected a mapping with `format: {accepted[0]}`")
    found = document.data.get("format")
    if found is None:
        raise document.error((), f"`format` is missing; begin the file with `format: {accepted[0]}`")
    if found not in accepted:
        raise document.error(("format",), f"{found!r} is not known here; this version reads {' or '.join(accepted)}")


def require_size(image_size: int, stride: int, stages: int) -> None:
    """Raise InputError unless a stem of this stride divides images of this size, and no map falls below one token."""
    coarsest = stride << (stages - 1)
    if image_size < coarsest:
        raise InputError(
            f"image_size={image_size}: a token of the last stage spans {coarsest} pixels; give at least {coarsest}"
        )
    if image_size % stride:
        near = image_size // stride * stride
        raise InputError(
            f"image_size={image_size}: the stem's stride {stride} does not divide it; give {near} or {near + stride}"
        )


def squeeze_width(width: int) -> int:
    """Channels inside the squeeze-excite of `inverted_residual`: a quarter of 4x the width, to a multiple of 8."""
    return max(8, (width + 4) // 8 * 8)


def canonical_stage(stage: Stage, side: int) -> Stage:
    """The one spelling of a stage on a map of side x side tokens."""
    mixer = canonical_mixer(stage.mixer, stage.width, stage.depth, side)
    return stage.model_copy(update={"mixer": mixer, "ffn_ratio": stage.hidden / stage.width})


def canonical_mixer(mixer: Mixer, width: int, depth: int, side: int) -> Mixer:
    """The mixer as it takes effect: windows shrink to the map, and only a second block can shift."""
    if isinstance(mixer, SingleHeadMixer):
        return SingleHeadMixer(partial_channels=mixer.partial(width), qk_dim=mixer.qk_dim)
    if not isinstance(mixer, WindowMixer):
        return mixer
    if mixer.size >= side and not mixer.relative_position_bias:
        return GlobalMixer(heads=mixer.heads)
    shift = 0 if mixer.size >= side or depth == 1 else mixer.shift_tokens
    return mixer.model_copy(update={"size": min(mixer.size, side), "shift": shift})


def _impossible(message: str, *field: str | int) -> PydanticCustomError:
    return PydanticCustomError("impossible", "{message}", {"message": message, "field": field})
