"""Colours of heat: a scale of even steps in Oklab from paper to dark blue, told apart by lightness alone."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from explorer.explain.lattice import Floats

PAPER, INK, MUTED, RULE = "#ffffff", "#1b1f24", "#5b6570", "#d5dae0"
BLUE, VERMILION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#7A8B9E"

# Lightness falls evenly, so that the scale reads the same to every eye and in print; hue from yellow over green to blue
LIGHTNESS = 0.97, 0.27
HUE = 105.0, 265.0  # degrees
CHROMA = 0.115  # at the middle of the scale; at its ends less, where the screen's colours end
STEPS = 256


@lru_cache
def heat_scale() -> NDArray[np.uint8]:
    """(256, 3) colours of 0 to the highest."""
    t = np.linspace(0, 1, STEPS)
    lightness = LIGHTNESS[0] + (LIGHTNESS[1] - LIGHTNESS[0]) * t
    hue = np.deg2rad(HUE[0] + (HUE[1] - HUE[0]) * t**0.7)
    chroma = CHROMA * (0.35 + 0.65 * np.sin(np.pi * np.clip(t * 0.9 + 0.08, 0, 1)))
    return from_oklab(np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], -1))


def heat_colours(values: Floats) -> NDArray[np.uint8]:
    """(..., 3) colours of values in 0..1."""
    return heat_scale()[np.clip(values * (STEPS - 1) + 0.5, 0, STEPS - 1).astype(int)]


def from_oklab(lab: Floats) -> NDArray[np.uint8]:
    """(..., 3) lightness, green to red, blue to yellow -> 8-bit sRGB (Ottosson 2020), cut off at its gamut."""
    to_cones = np.array(
        [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.291485548]]
    )
    to_linear = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.707614701],
        ]
    )
    linear = np.clip((lab @ to_cones.T) ** 3 @ to_linear.T, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(encoded * 255).astype(np.uint8)
