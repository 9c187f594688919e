"""scikit-learn's bundled handwritten digits: saturated by any network, good for smoke tests and as cues' shapes."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from explorer.proxy.dataset import Split, Wanted, stratified_split

VALIDATION = 0.3  # share of the digit images


def load(wanted: Wanted) -> Split:
    """The 1,797 digits, enlarged to the image size and grey in three channels, 30 % of each class for validation."""
    maps, labels = digit_maps()
    images = np.stack([_enlarge(digit, wanted.image_size) for digit in maps])  # (N, S, S)
    images = np.repeat(images[:, None], 3, axis=1)  # (N, 3, S, S)
    train, val = stratified_split(labels, VALIDATION, wanted.seed)
    return Split(images[train], labels[train], images[val], labels[val], classes=10)


def digit_maps() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """All bundled digits: ink (1797, 8, 8) in 0..1 and labels (1797,)."""
    from sklearn.datasets import load_digits  # half a second to import: only when digits are drawn

    bundled = load_digits()
    return cast(NDArray[np.float32], (bundled.images / 16).astype(np.float32)), bundled.target.astype(np.int64)


def _enlarge(digit: NDArray[np.float32], image_size: int) -> NDArray[np.uint8]:
    grey = Image.fromarray(np.round(digit * 255).astype(np.uint8))
    return np.asarray(grey.resize((image_size, image_size), Image.Resampling.BICUBIC))
