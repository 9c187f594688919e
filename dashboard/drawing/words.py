"""Returns the words of a network's drawing: short lines on stem, token mixers and cost."""

from __future__ import annotations

from search_spaces.architecture import (
    Architecture,
    ConvMixer,
    ConvStem,
    GlobalMixer,
    NoMixer,
    SingleHeadMixer,
    Stage,
    WindowMixer,
)
from search_spaces.cost import cost

NORMS = {"layer": "LayerNorm", "batch": "BatchNorm"}
ACTIVATIONS = {"gelu": "GELU", "relu": "ReLU"}
DOWNSAMPLES = {"patch_merging": "patch merging", "inverted_residual": "inverted residual"}


def mixer_lines(stage: Stage) -> list[str]:
    """The token mixer in up to three short lines."""
    match stage.mixer:
        case WindowMixer() as mixer:
            shift = f"shift {mixer.shift_tokens}" if mixer.shift_tokens else "no shift"
            return [f"window {mixer.size}×{mixer.size}", shift, heads(mixer.heads, stage.width)]
        case GlobalMixer() as mixer:
            return ["global attention", heads(mixer.heads, stage.width)]
        case SingleHeadMixer() as mixer:
            attending = f"{mixer.partial(stage.width)} of {stage.width} ch."
            return ["single head", attending, f"query width {mixer.qk_dim}"]
        case ConvMixer() as mixer:
            return [f"dw conv {mixer.kernel}×{mixer.kernel}"]
        case NoMixer():
            return ["no token mixer"]


def heads(heads: int, width: int) -> str:
    return f"{heads} head{'s' * (heads > 1)} × {width // heads}"


def stem_lines(network: Architecture) -> list[str]:
    """The stem in a few short lines."""
    stem = network.stem
    if isinstance(stem, ConvStem):
        widths = stem.widths(network.stages[0].width)
        steps = [f"{len(widths)}× conv 3×3", "stride 2 each", f"{widths[0]} to {widths[-1]} ch."]
        lines = steps if len(widths) > 1 else ["conv 3×3", f"{widths[0]} ch."]
    else:
        lines = [f"patch {stem.stride}×{stem.stride}", *([NORMS["layer"]] if stem.norm == "layer" else [])]
    return [*lines, f"stride {stem.stride}", *(["+ position"] if stem.position == "absolute" else [])]


def share(network: Architecture, index: int) -> tuple[str, str]:
    """The stage's MACs, its downsampling included, and their share: "1.24 G MACs", "28 % of all"."""
    counted = cost(network)
    name = f"stages.{index}."
    macs = sum(blocks * part.macs for layer, blocks, part in counted.parts if layer.startswith(name))
    number = f"{macs / 1e9:.2f} G" if macs >= 1e9 else f"{macs / 1e6:.3g} M"
    return f"{number} MACs", f"{100 * macs / max(counted.macs, 1):.0f} % of all"
