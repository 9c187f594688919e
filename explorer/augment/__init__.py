"""Augmentation of whole batches as tensor code, on the device where the images are.

    draws = draw(policy, count, image_size, generator)       # every random choice of a global batch, on the CPU
    images = augment(images, draws.part(mine), data)         # (B, 3, H, W) bytes -> normalised float32, mixed

Choices are drawn for a whole global batch from one generator on the CPU, and each process takes its slice: the images
are the same on every device and for any number of processes, and no step waits for the device to learn a choice.
"""

from explorer.augment.policy import Augmentation

__all__ = ["Augmentation"]
