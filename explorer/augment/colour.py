"""Operations on the colours of images, (B, 3, H, W) float32 in 0..255, as Pillow's of the same names on bytes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

GREY = (0.299, 0.587, 0.114)  # luma of red, green, blue (ITU-R 601)


def blend(image: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """`other` at factor 0, `image` at 1, beyond it above; (B,) factors, clipped to 0..255."""
    return (other + factor[:, None, None, None] * (image - other)).clamp(0, 255)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Towards black below a factor of 1."""
    return blend(images, torch.zeros_like(images), factor)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Towards the image's mean grey below a factor of 1."""
    return blend(images, grey(images).mean((1, 2, 3), keepdim=True).round(), factor)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Towards greys below a factor of 1."""
    return blend(images, grey(images), factor)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Towards a blurred image below a factor of 1; the border stays as it is."""
    kernel = images.new_tensor([[1, 1, 1], [1, 5, 1], [1, 1, 1]]).div(13).expand(3, 1, 3, 3)
    blurred = images.clone()
    if min(images.shape[2:]) > 2:
        blurred[:, :, 1:-1, 1:-1] = F.conv2d(images, kernel, groups=3)
    return blend(images, blurred, factor)


def grey(images: Tensor) -> Tensor:
    """(B, 1, H, W): what each pixel is as grey."""
    return torch.einsum("bchw,c->bhw", images, images.new_tensor(GREY))[:, None]


def autocontrast(images: Tensor) -> Tensor:
    """Each channel stretched to 0..255; one of a single value stays."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    stretched = (images - low) * (255 / (high - low).clamp(min=1e-6))
    return torch.where(high > low, stretched, images).clamp(0, 255)


def equalize(images: Tensor) -> Tensor:
    """Each channel with a histogram as flat as a table of 256 values makes it."""
    count, channels, height, width = images.shape
    levels = images.round().long().reshape(count * channels, height * width)  # (B x 3, H x W)
    histogram = levels.new_zeros(count * channels, 256).scatter_add_(1, levels, torch.ones_like(levels))
    last = histogram.gather(1, levels.amax(1, keepdim=True))  # pixels of the highest value there is
    step = (height * width - last) // 255
    table = ((histogram.cumsum(1) - histogram + step // 2) // step.clamp(min=1)).clamp(0, 255)
    table = torch.where(step > 0, table, torch.arange(256, device=images.device))
    return table.gather(1, levels).reshape(images.shape).to(images.dtype)


def invert(images: Tensor) -> Tensor:
    """The negative."""
    return 255 - images


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """The highest `bits` (B,) bits of each value, 0 to 8."""
    width = torch.pow(2.0, 8 - bits)[:, None, None, None]
    return (images.round() / width).floor() * width


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Values of at least `threshold` (B,) inverted."""
    return torch.where(images.round() >= threshold[:, None, None, None], 255 - images, images)


def solarize_add(images: Tensor, addend: Tensor) -> Tensor:
    """Values below 128 raised by `addend` (B,)."""
    return torch.where(images.round() < 128, (images + addend[:, None, None, None]).clamp(max=255), images)
