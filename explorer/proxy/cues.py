"""`cues`: ten classes told by hue, texture and shape, in that order of rising range and reliability (docs/cues.md).

Plain digits saturate: every network reaches 98 %. Here a cue that one pixel shows (hue) is right in 30 % of the images,
one that a few pixels show (orientation and frequency of the texture) in 40 %, and only the global shape, a digit drawn
in texture of small mean over clutter and noise, is always right. So accuracy tells how far a network can see.

Only + - * / and tables rounded to six decimals are used, never numpy's own sine or a BLAS: the same seed is to give the
same bytes, and so the same fingerprint, on any machine.
"""

from __future__ import annotations

import colorsys
import math
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.folders import cache_folder
from explorer.proxy.cache import CacheError, cached
from explorer.proxy.dataset import Split, Wanted, stratified_split
from explorer.proxy.digits import VALIDATION, digit_maps

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

VERSION = 1  # raise it when the images change, so that older caches are made again
CLASSES = 10
TRAIN_IMAGES, VAL_IMAGES = 8192, 4096

HUE_AGREES, TEXTURE_AGREES = 0.30, 0.40  # share of the images whose cue is the class's own
ORIENTATIONS, CYCLES = 5, (6.0, 10.0)  # texture class = 5 orientations x 2 frequencies, in cycles across the image
TILT, SCALE, SHEAR, SHIFT = 0.04, (0.75, 1.0), 0.15, 0.1  # the shape's affine map: turns, and shares of the image
SHAPE_CONTRAST = 0.8  # of the shape's texture, peak to peak; the image's range is 0..1 and its grey is .5
SHAPE_MEAN = 0.5  # mean of the shape's texture as a share of its amplitude, half the contrast
STROKES, STROKE_CONTRAST = 2, 0.7  # clutter: lines drawn in textures of no meaning
TINT = 0.10  # amplitude of the hue
NOISE = 0.25  # amplitude of triangular noise a pixel and channel
CHUNK = 256  # images rendered at once: bounds memory at 224 pixels

TURN = 1024  # entries of the sine table in a full turn
SINE = np.array([round(math.sin(2 * math.pi * k / TURN), 6) for k in range(TURN)], np.float32)
HUES = np.array([[round(part - 0.5, 6) for part in colorsys.hsv_to_rgb(k / CLASSES, 1, 1)] for k in range(CLASSES)])


@dataclass(frozen=True)
class Cues:
    """What was drawn for each image: its class, the digit that gives the shape, and the classes its cues suggest."""

    labels: Ints  # (N,)
    digits: Ints  # (N,) index into the bundled digits
    hues: Ints  # (N,) class that the hue suggests
    textures: Ints  # (N,) class that the texture suggests


def load(wanted: Wanted) -> Split:
    """8,192 images for training and 4,096 for validation, generated once for each size and seed."""
    size, seed = wanted.image_size, wanted.seed
    folder = (wanted.cache_dir or cache_folder()) / f"cues-{size}-seed{seed}-v{VERSION}"
    try:
        return cached(folder, size, lambda writer: writer.add_all(generate(size, seed)), on_wait=wanted.on_wait)
    except CacheError as error:
        warnings.warn(f"{error}; the images are drawn in memory", stacklevel=3)
        return generate(size, seed)


def generate(image_size: int, seed: int, train_images: int = TRAIN_IMAGES, val_images: int = VAL_IMAGES) -> Split:
    """The images themselves; training and validation share no digit image."""
    train, val = draw_cues(seed, train_images, val_images)
    maps, _ = digit_maps()
    return Split(
        train_images=render(train, maps, image_size, np.random.default_rng([seed, 1])),
        train_labels=train.labels,
        val_images=render(val, maps, image_size, np.random.default_rng([seed, 2])),
        val_labels=val.labels,
        classes=CLASSES,
    )


def draw_cues(seed: int, train_images: int = TRAIN_IMAGES, val_images: int = VAL_IMAGES) -> tuple[Cues, Cues]:
    """The cues of (training, validation); the digit images are split first, so that no shape is in both."""
    _, labels = digit_maps()
    train, val = stratified_split(labels, VALIDATION, seed)
    rng = np.random.default_rng([seed, 0])
    return _draw(train, labels, train_images, rng), _draw(val, labels, val_images, rng)


def _draw(pool: Ints, labels: Ints, count: int, rng: np.random.Generator) -> Cues:
    digits = rng.choice(pool, count)
    own = labels[digits]
    return Cues(own, digits, _suggest(own, HUE_AGREES, rng), _suggest(own, TEXTURE_AGREES, rng))


def _suggest(labels: Ints, agrees: float, rng: np.random.Generator) -> Ints:
    """The own class in `agrees` of the images, else one of the nine others."""
    other = (labels + rng.integers(1, CLASSES, len(labels))) % CLASSES
    return np.where(rng.random(len(labels)) < agrees, labels, other)


def render(cues: Cues, maps: Floats, image_size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Images (N, 3, S, S) of the cues drawn; place, angle, size, clutter and noise come from `rng`."""
    images = np.empty((len(cues.labels), 3, image_size, image_size), np.uint8)
    for first in range(0, len(images), CHUNK):
        part = slice(first, first + CHUNK)
        chunk = Cues(cues.labels[part], cues.digits[part], cues.hues[part], cues.textures[part])
        images[part] = _render(chunk, maps, image_size, rng)
    return images


def _render(cues: Cues, maps: Floats, image_size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    count = len(cues.labels)
    axis = ((np.arange(image_size) + 0.5) / image_size - 0.5).astype(np.float32)  # -.5 .. .5 at every size
    y, x = axis[None, :, None], axis[None, None, :]

    ink = _shape(maps[cues.digits], y, x, rng)  # (B, S, S) in 0..1
    grey = np.zeros_like(ink)
    for _ in range(STROKES):
        stroke = _stroke(count, y, x, rng)
        texture = _texture(rng.integers(0, CLASSES, count), y, x, rng)
        grey = grey * (1 - stroke) + stroke * texture * np.float32(STROKE_CONTRAST / 2)
    texture = _texture(cues.textures, y, x, rng) + np.float32(SHAPE_MEAN)
    grey = grey * (1 - ink) + ink * texture * np.float32(SHAPE_CONTRAST / 2)

    strength = _uniform(rng, 0.6, 1.4, count)[..., None] * np.float32(TINT)
    colour = HUES[cues.hues].astype(np.float32)[:, :, None, None] * strength  # (B, 3, 1, 1)
    noise = rng.integers(0, 256, (2, count, 3, image_size, image_size), np.uint8).astype(np.float32)
    noise = (noise[0] - noise[1]) * np.float32(NOISE / 255)  # triangular: a normal's tail needs a logarithm
    image: Floats = (grey[:, None] + colour + noise + np.float32(0.5)) * 255
    return image.clip(0, 255).astype(np.uint8)


def _shape(maps: Floats, y: Floats, x: Floats, rng: np.random.Generator) -> Floats:
    """Ink (B, S, S) of the 8 x 8 digits (B, 8, 8) under a random affine map, bilinear with a sharpened edge."""
    count = len(maps)
    cosine, sine = _direction(_uniform(rng, -TILT, TILT, count))
    scale, shear = _uniform(rng, *SCALE, count), _uniform(rng, -SHEAR, SHEAR, count)
    down, right = y - _uniform(rng, -SHIFT, SHIFT, count), x - _uniform(rng, -SHIFT, SHIFT, count)
    u = (cosine * right + sine * down) / scale
    v = (cosine * down - sine * right) / scale + shear * u
    column, row = (u * 8 + np.float32(4.5)).clip(0, 8.999), (v * 8 + np.float32(4.5)).clip(0, 8.999)  # in a border of 1
    left, top = column.astype(np.int64), row.astype(np.int64)
    across, along = column - left, row - top
    framed = np.pad(maps, ((0, 0), (1, 1), (1, 1))).reshape(-1)
    corner = np.arange(count)[:, None, None] * 100 + top * 10 + left
    upper = framed[corner] * (1 - across) + framed[corner + 1] * across
    lower = framed[corner + 10] * (1 - across) + framed[corner + 11] * across
    ink: Floats = (upper * (1 - along) + lower * along - np.float32(0.3)) * 4
    return ink.clip(0, 1)


def _texture(classes: Ints, y: Floats, x: Floats, rng: np.random.Generator) -> Floats:
    """Gratings (B, S, S) in -1..1 with the classes' orientation and frequency, jittered, at a random phase."""
    count = len(classes)
    turn = (classes % ORIENTATIONS / (2 * ORIENTATIONS)).astype(np.float32)[:, None, None]
    cosine, sine = _direction(turn + _uniform(rng, -0.02, 0.02, count))
    cycles = np.array(CYCLES, np.float32)[classes // ORIENTATIONS][:, None, None] * _uniform(rng, 0.92, 1.08, count)
    phase = (x * cosine + y * sine) * cycles + _uniform(rng, 0, 1, count)
    texture: Floats = SINE[(phase * TURN).astype(np.int64) % TURN]
    return texture


def _stroke(count: int, y: Floats, x: Floats, rng: np.random.Generator) -> Floats:
    """Coverage (B, S, S) in 0..1 of one straight stroke an image, about as wide as a digit's."""
    cosine, sine = _direction(_uniform(rng, 0, 1, count))
    right, down = x - _uniform(rng, -0.5, 0.5, count), y - _uniform(rng, -0.5, 0.5, count)
    along, across = right * cosine + down * sine, down * cosine - right * sine
    length, width = _uniform(rng, 0.1, 0.25, count), _uniform(rng, 0.03, 0.06, count)  # half of each
    inside: Floats = np.minimum(length - np.abs(along), width - np.abs(across)) * 30 + np.float32(0.5)
    return inside.clip(0, 1)


def _direction(turn: Floats) -> tuple[Floats, Floats]:
    """(cosine, sine) of an angle in turns."""
    step = (turn * TURN).astype(np.int64)
    return SINE[(step + TURN // 4) % TURN], SINE[step % TURN]


def _uniform(rng: np.random.Generator, low: float, high: float, count: int) -> Floats:
    return (np.float32(low) + rng.random((count, 1, 1), np.float32) * np.float32(high - low)).astype(np.float32)
