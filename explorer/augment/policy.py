"""What is done to training images: plain data, checked once; part of a recipe."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from explorer.record import Record

Share = Annotated[float, Field(ge=0, le=1)]


class Augmentation(Record):
    """How training images are varied. Everything is off by default; a recipe turns it on."""

    resized_crop: tuple[Share, Share] | None = None  # share of the area that a crop has, resized to the whole
    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.0  # share of the side by which an image is moved at most
    flip: bool | None = None  # mirror half of the images; None: where a mirrored image keeps its class
    color_jitter: Share = 0.0  # brightness, contrast and saturation, each by a factor from 1 - this to 1 + this
    randaugment_ops: Annotated[int, Field(ge=0, le=10)] = 0  # operations an image (Cubuk et al. 2020)
    randaugment_magnitude: Annotated[float, Field(ge=0, le=10)] = 9.0
    randaugment_noise: Annotated[float, Field(ge=0, le=10)] = 0.5  # deviation of the magnitude
    randaugment_probability: Share = 0.5  # of each operation
    erase: Share = 0.0  # share of the images that lose a rectangle to noise (Zhong et al. 2020)
    mixup: Annotated[float, Field(ge=0, le=100)] = 0.0  # alpha of the Beta distribution (Zhang et al. 2018); 0: none
    cutmix: Annotated[float, Field(ge=0, le=100)] = 0.0  # likewise (Yun et al. 2019)
    mix_probability: Share = 1.0  # of a batch being mixed at all
    cutmix_probability: Share = 0.5  # of cutmix rather than mixup, where there are both
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _crop_in_order(self) -> Augmentation:
        if self.resized_crop is not None and not 0 < self.resized_crop[0] <= self.resized_crop[1]:
            raise ValueError("resized_crop is the smallest and the largest share of the area, such as [0.08, 1.0]")
        return self

    @property
    def mixes(self) -> bool:
        """Whether a batch is ever mixed."""
        return self.mix_probability > 0 and (self.mixup > 0 or self.cutmix > 0)
