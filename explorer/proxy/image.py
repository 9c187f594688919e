"""One image of any kind as square RGB bytes."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from search_spaces.errors import one_line


class Unreadable(ValueError):
    """This is no image, or a damaged one; says why."""


def decode(content: bytes, size: int) -> NDArray[np.uint8]:
    """(S, S, 3) of an image file's bytes: short side resized, cropped at the centre.

    Raises:
        Unreadable: it is no image that Pillow reads, it is torn, or it is far too large.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.draft("RGB", (size, size))  # a JPEG is decoded at the nearest larger eighth: much faster
            return _fitted(rgb(_upright(image)), size)
    except Exception as error:  # decoders raise errors of many types on damaged files
        raise Unreadable(_told(error)) from None


def as_square(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """(S, S, 3) of pixels (H, W, 3); themselves where they have the size."""
    if pixels.shape == (size, size, 3):
        return pixels
    return _fitted(Image.fromarray(np.ascontiguousarray(pixels)), size)


def rgb(image: Image.Image) -> Image.Image:
    """Any mode as 8-bit RGB: 16-bit grey scaled, float grey stretched, transparency over white."""
    if image.mode.startswith("I"):  # a plain conversion would clip instead of scaling
        return Image.fromarray((np.asarray(image).clip(0, 65535) // 256).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        grey = np.nan_to_num(np.asarray(image, np.float64), posinf=0, neginf=0)
        stretched = (grey - grey.min()) / max(float(np.ptp(grey)), 1e-12) * 255
        return Image.fromarray(stretched.astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:  # the colour stored under transparent pixels is arbitrary
        opaque = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), opaque).convert("RGB")
    return image.convert("RGB")


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF data say; as it is where these are damaged."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        image.load()  # where the image itself is damaged this says so
        return image


def _fitted(image: Image.Image, size: int) -> NDArray[np.uint8]:
    return np.asarray(ImageOps.fit(image, (size, size)))


def _told(error: BaseException) -> str:
    told = one_line(error)
    return "no image" if told.startswith("cannot identify image file") else told
