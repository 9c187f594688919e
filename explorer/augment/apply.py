"""A batch of bytes and its choices -> what the network is trained on."""

from __future__ import annotations

from torch import Tensor

from explorer.augment import colour
from explorer.augment.draws import Draws
from explorer.augment.geometry import moved, resized_crop
from explorer.augment.mix import erased, mixed
from explorer.augment.randaugment import randaugment


def augment(images: Tensor, draws: Draws, mean: Tensor, std: Tensor) -> Tensor:
    """(B, 3, H, W) float32, augmented, normalised and mixed, in the layout of `images`, from bytes on any device.

    In the order of timm's loader: crop, colours, RandAugment, normalisation, erasing, mixing. `mean` and `std` (3,) are
    of the training images in 0..1. `draws` are of just these images, on the CPU.
    """

    def here(values: Tensor | None) -> Tensor | None:
        return None if values is None else values.to(images.device, non_blocking=True)

    x, crop, shift, flip = images.float(), here(draws.crop), here(draws.shift), here(draws.flip)
    if crop is not None:
        x, flip = resized_crop(x, crop, flip), None
    x = moved(x, shift, flip)
    jitter = here(draws.jitter)
    if jitter is not None:
        for change, factor in zip(
            (colour.brightness, colour.contrast, colour.saturation), jitter.unbind(1), strict=True
        ):
            x = change(x, factor)
    if draws.operation is not None and draws.magnitude is not None:
        x = randaugment(x, draws.operation, draws.magnitude, 255 * mean)
    x = x * (1 / (255 * std))[:, None, None] - (mean / std)[:, None, None]
    if draws.erased is not None and draws.noise is not None:
        x = erased(x, draws.erased, draws.noise)
    return mixed(x, draws.mix)
