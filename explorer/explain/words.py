"""What the sheets say of a stage and of the weights, in words."""

from __future__ import annotations

from explorer.explain.lattice import Lattice
from explorer.explain.views import BlockView
from search_spaces.architecture import ConvMixer, GlobalMixer, NoMixer, SingleHeadMixer, Stage, WindowMixer

RANDOM = "Random weights: these pictures show where this network can look, not what a trained one looks at."


def mixer_words(stage: Stage) -> str:
    """ "window attention", "no token mixer": the mixer's kind."""
    match stage.mixer:
        case WindowMixer():
            return "window attention"
        case GlobalMixer():
            return "global attention"
        case SingleHeadMixer():
            return "single-head attention"
        case ConvMixer():
            return "depthwise convolution"
        case NoMixer():
            return "no token mixer"


def mixer_details(stage: Stage, views: list[BlockView]) -> list[str]:
    """Short phrases: windows, shift, heads, channels; that there is no attention, where there is none."""
    match stage.mixer:
        case WindowMixer() as mixer:
            grid = next(view.grid for view in views if view.grid is not None)
            shift = next((view.grid.shift_h for view in views if view.grid and view.shifted), 0)
            size = f"windows of {grid.window_h} x {grid.window_w} tokens"
            if grid.window_h == grid.h:
                return ["one window spans the map", _heads(mixer.heads, stage.width)]
            return [size, f"odd blocks shift by {shift}" if shift else "no shift", _heads(mixer.heads, stage.width)]
        case GlobalMixer() as mixer:
            return [_heads(mixer.heads, stage.width)]
        case SingleHeadMixer() as mixer:
            partial = mixer.partial(stage.width)
            return [f"{partial} of {stage.width} channels attend ({partial / stage.width:.0%})", "one head"]
        case ConvMixer() as mixer:
            return [f"kernel of {mixer.kernel} x {mixer.kernel} tokens", "no attention"]
        case NoMixer():
            return ["no attention"]


def map_words(lattice: Lattice) -> str:
    return f"{lattice.side} x {lattice.side} tokens of {lattice.stride} px"


def block_words(view: BlockView, kind: str) -> str:
    """ "block 1, windows shifted by 3": one block among those of its stage."""
    if view.grid is None or (view.grid.window_h, view.grid.window_w) == (view.grid.h, view.grid.w):
        return f"block {view.block}, {kind}"
    if not view.shifted:
        return f"block {view.block}, windows not shifted"
    return f"block {view.block}, windows shifted by {view.grid.shift_h} tokens"


def times_uniform(weights_highest: float, in_reach: int) -> str:
    """ "2.4x": the highest weight as a multiple of equal attention."""
    times = weights_highest * in_reach
    return f"{times:.0f}x" if times >= 10 else f"{times:.1f}x"


def _heads(heads: int, width: int) -> str:
    each = width // heads
    return f"{heads} {'head' if heads == 1 else 'heads'} of {each} {'channel' if each == 1 else 'channels'}"
