"""The numbers behind the pictures, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from explorer.explain.scene import Scene
from search_spaces.architecture import GlobalMixer, SingleHeadMixer, Stage, WindowMixer


def scene_json(scene: Scene, stages: Sequence[int], files: Sequence[Path]) -> dict[str, Any]:
    """Numbers of each stage and block: where attention lies, how far it reaches, how well it was rebuilt."""
    rows = []
    for stage in stages:
        spec, lattice, views = scene.architecture.stages[stage], scene.lattices[stage], scene.views[stage]
        attending = [view for view in views if view.distance_px]
        blocks = [
            {
                "block": view.block,
                "window": None if view.grid is None else view.grid.window_h,
                "shift": None if view.grid is None else view.grid.shift_h,
                "distance_px": list(view.distance_px),
                "equal_attention_px": view.uniform_px,
                "rebuilt_within": view.error,
                "queries": [
                    {
                        "token": [heat.row, heat.column],
                        "in_reach": int((heat.reach > 0).sum()),
                        "masked": int((heat.reach < 0).sum()),
                        "highest": heat.weights.max((1, 2)).tolist(),
                    }
                    for heat in view.heats
                ],
            }
            for view in attending
        ]
        mean = sum(sum(v.distance_px) / len(v.distance_px) for v in attending) / len(attending) if attending else None
        rows.append(
            {
                "stage": stage,
                "mixer": spec.mixer.kind,
                "map": lattice.side,
                "token_px": lattice.stride,
                "heads": len(attending[0].distance_px) if attending else 0,
                "attending_channels": attending_channels(spec),
                "channels": spec.width,
                "distance_px": mean,
                "blocks": blocks,
            }
        )
    return {
        "architecture": scene.name,
        "id": scene.architecture.id,
        "image": scene.source,
        "image_size": scene.architecture.image_size,
        "weights": scene.weights or "random",
        "queries": [list(query) for query in scene.queries],
        "stages": rows,
        "files": [str(path) for path in files],
    }


def attending_channels(stage: Stage) -> int:
    """How many of its channels attend."""
    match stage.mixer:
        case SingleHeadMixer() as mixer:
            return mixer.partial(stage.width)
        case WindowMixer() | GlobalMixer():
            return stage.width
        case _:
            return 0
