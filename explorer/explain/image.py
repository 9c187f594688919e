"""The image to look at: a file of any kind that Pillow reads, or one of a data source's, as a network takes it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from explorer.proxy import cues
from explorer.proxy.data import SOURCES
from explorer.proxy.dataset import channel_statistics, stratified_split
from explorer.proxy.digits import VALIDATION, digit_maps
from explorer.proxy.image import rgb
from explorer.weights import IMAGENET, Statistics
from search_spaces.architecture import Architecture
from search_spaces.document import short
from search_spaces.errors import InputError

MOST_PIXELS = 100_000_000  # of a file; 300 MB once decoded
LARGEST_DRAWN = 512  # pixels of an image of cues: 256 are drawn to get one


@dataclass(frozen=True)
class Picture:
    """A square image, and what it is normalised by."""

    pixels: NDArray[np.uint8]  # (S, S, 3)
    source: str  # "cat.png, 640 x 480", "cues, image 7"
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def tensor(self, channels: int = 3) -> Tensor:
        """(1, channels, S, S) float32 as training feeds it; of one channel the mean of the three."""
        scaled = self.pixels.astype(np.float32) / 255
        normal = (scaled - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        image = torch.from_numpy(normal.transpose(2, 0, 1)[None].copy())
        return image if channels == 3 else image.mean(1, keepdim=True)


def load_picture(image: str, architecture: Architecture, seen: Statistics | None = None) -> Picture:
    """The picture that `--image` means, at the network's size.

    A file is normalised as images in training were, `seen`, else as those of published weights; an item of embedded
    data as that data is.

    Raises:
        InputError: there is no such image, it cannot be read, or the network takes none.
    """
    if architecture.in_channels not in (1, 3):
        raise InputError(f"in_channels={architecture.in_channels}: no image has that many; explain needs 1 or 3")
    name, _, item = image.partition(":")
    if name in SOURCES and not Path(image).exists():
        return _item(image, name, item, architecture.image_size)
    return _file(image, architecture.image_size, seen or IMAGENET)


def _file(image: str, size: int, seen: Statistics) -> Picture:
    path, image = Path(image), image if image.isprintable() else short(image)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, and of a size that is bounded here
            with Image.open(path) as opened:
                width, height = opened.size
                if width * height > MOST_PIXELS:
                    raise InputError(f"image={image}: {width} x {height} pixels; give one of at most 100 megapixels")
                opened.draft("RGB", (size, size))  # a JPEG is decoded at the nearest larger eighth
                upright = rgb(ImageOps.exif_transpose(opened))
    except FileNotFoundError:
        hint = "give a file, or an item of embedded data such as cues:7"
        raise InputError(f"image={image}: no such file; {hint}") from None
    except IsADirectoryError:
        raise InputError(f"image={image} is a folder; give one image in it") from None
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError(f"image={image}: no image that Pillow can read; give a PNG, JPEG, WebP, TIFF, ...") from None
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError, Image.DecompressionBombError) as error:
        told = " ".join(str(error).split()).replace(image, "") or type(error).__name__
        raise InputError(f"image={image} cannot be read: {told}; give another") from None
    pixels = np.asarray(ImageOps.fit(upright, (size, size)))
    return Picture(pixels, f"{path.name}, {width} x {height}", *seen)


def _item(image: str, source: str, item: str, size: int) -> Picture:
    """Validation image number `item` of embedded data, as `load_data` gives it with seed 0."""
    if source not in ("cues", "digits"):
        raise InputError(f"image={image}: of images of one's own give the file itself: --image /path/to/image.jpg")
    held = stratified_split(digit_maps()[1], VALIDATION, 0)[1]
    last = (cues.VAL_IMAGES if source == "cues" else len(held)) - 1
    if not (item.isascii() and item.isdecimal() and int(item) <= last):
        raise InputError(f"image={short(image)}: give {source}:N, N from 0 to {last}, such as {source}:7")
    number = int(item)
    picture = _cue(number, size) if source == "cues" else _digit(int(held[number]), size)
    return replace(picture, source=f"{source}, image {number}")


def _cue(number: int, size: int) -> Picture:
    """The image, and the statistics of those drawn along with it."""
    if size > LARGEST_DRAWN:
        raise InputError(f"image=cues:{number}: not drawn above {LARGEST_DRAWN} pixels, this network has {size}")
    drawn = cues.draw_cues(0)[1]
    maps, rng = digit_maps()[0], np.random.default_rng([0, 2])  # the stream of the validation images, from its start
    for first in range(0, number + 1, cues.CHUNK):
        part = slice(first, first + cues.CHUNK)
        own = cues.Cues(drawn.labels[part], drawn.digits[part], drawn.hues[part], drawn.textures[part])
        images = cues.render(own, maps, size, rng)
    mean, std = channel_statistics(images)
    return Picture(images[number % cues.CHUNK].transpose(1, 2, 0), "", tuple(mean.tolist()), tuple(std.tolist()))


def _digit(index: int, size: int) -> Picture:
    """The digit, enlarged as training sees it, and the statistics of all digits."""
    maps = digit_maps()[0]
    grey = Image.fromarray(np.round(maps[index] * 255).astype(np.uint8))
    pixels = np.asarray(grey.resize((size, size), Image.Resampling.BICUBIC).convert("RGB"))
    return Picture(pixels, "", (float(maps.mean()),) * 3, (float(maps.std()),) * 3)
