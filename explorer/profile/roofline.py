"""The roofline of a device: what it reaches at best, and the least bytes that a network's parts must move.

A part takes at least the longer of its multiply-adds at the peak rate and its bytes at the peak bandwidth (Williams et
al. 2009). The peaks are measured where and as the network is timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from explorer.record import Precision, Record
from search_spaces.architecture import Architecture, GlobalMixer, SingleHeadMixer, Stage, WindowMixer
from search_spaces.cost import cost

if TYPE_CHECKING:
    import torch

LARGE_S = 0.01  # a product or convolution that takes this long is large enough to be at the peak
REPEATS = 5
REPEATS_S = 0.1  # no further repeat after that
MOST_SIDE = 8192  # of a matrix
MOST_IMAGES = 256
COPIED_BYTES = {"cpu": 2**27, "cuda": 2**29, "mps": 2**28}  # more than its caches hold


class Peaks(Record):
    """What a device reached at one precision and number of threads."""

    gmacs_per_s: float  # 10^9 multiply-adds a second
    by: Literal["matrix product", "convolution"]  # the faster of the two
    gb_per_s: float  # 10^9 bytes a second, read and written, of a large copy


def elements_moved(architecture: Architecture) -> dict[str, int]:
    """Elements that the convolutions, linear layers and attentions of each layer read and write; one image, no weights.

    Input + 2 x (activations - attention scores) - output, of the layer: each operator reads its inputs once, writes its
    outputs once, and attention keeps its scores to itself. What is elementwise, norms, pooling and copies would come on
    top where they are not fused, as would whatever is read twice: a lower bound.
    """
    stages, maps = architecture.stages, architecture.maps
    tokens = [stage.width * side**2 for stage, side in zip(stages, maps, strict=True)]  # elements of each stage's map
    moved = {}
    for layer in cost(architecture).layers:
        match layer.name.split("."):
            case ["stem"]:
                read, written, scores = architecture.in_channels * architecture.image_size**2, tokens[0], 0
            case ["stages", i, "downsample"]:
                read, written, scores = tokens[int(i) - 1], tokens[int(i)], 0
            case ["head"]:
                read, written, scores = tokens[-1], architecture.classes, 0
            case ["stages", i, "blocks", _, kind]:
                read = written = tokens[int(i)]
                scores = _scores(stages[int(i)], maps[int(i)]) if kind == "mixer" else 0
        moved[layer.name] = read + 2 * (layer.activations - scores) - written
    return moved


def _scores(stage: Stage, side: int) -> int:
    """Elements of a block's attention matrices, which the activations count and a fused attention never stores."""
    match stage.mixer:
        case WindowMixer() as mixer:
            window = min(mixer.size, side)
            return (-(-side // window) * window) ** 2 * window**2 * mixer.heads
        case GlobalMixer() as mixer:
            return side**4 * mixer.heads
        case SingleHeadMixer():
            return side**4
    return 0


def measure_peaks(device: torch.device, precision: Precision) -> Peaks:
    """What `device` reaches with torch's present number of threads; measured once a process, in about half a second.

    The caller holds the device's lease.
    """
    import torch

    return _measure_peaks(device, precision, torch.get_num_threads())


@lru_cache
def _measure_peaks(device: torch.device, precision: Precision, threads: int) -> Peaks:
    import torch

    product, convolution = _product_rate(device, precision), _convolution_rate(device, precision)
    if device.type == "cuda" and precision == "fp32" and torch.backends.cudnn.allow_tf32:
        convolution = 0.0  # in TF32, which products do not use: their floor would be out of reach
    return Peaks(
        gmacs_per_s=max(product, convolution) / 1e9,
        by="matrix product" if product >= convolution else "convolution",
        gb_per_s=_copy_rate(device, precision) / 1e9,
    )


def _product_rate(device: torch.device, precision: Precision) -> float:
    """MACs a second of square matrix products, made larger until they are large enough."""
    import torch

    from explorer.profile.runtimes import DTYPES

    best, side, seconds = 0.0, 256, 0.0
    while side <= MOST_SIDE and seconds < LARGE_S:
        left, right = (torch.randn(side, side).to(device, DTYPES[precision]) for _ in range(2))
        seconds = _fastest_s(lambda a=left, b=right: a @ b, device)  # type: ignore[misc]
        best, side = max(best, side**3 / seconds), 2 * side
    return best


def _convolution_rate(device: torch.device, precision: Precision) -> float:
    """MACs a second of 3x3 convolutions of 128 channels on maps of 56 x 56, of ever more images."""
    import torch
    from torch.nn import functional as F

    from explorer.profile.runtimes import DTYPES

    width, side = 128, 56

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape).to(device, DTYPES[precision], memory_format=torch.channels_last)

    weight = noise(width, width, 3, 3)
    best, images, seconds = 0.0, 1, 0.0
    while images <= MOST_IMAGES and seconds < LARGE_S:
        x = noise(images, width, side, side)
        seconds = _fastest_s(lambda x=x: F.conv2d(x, weight, padding=1), device)  # type: ignore[misc]
        best, images = max(best, images * side**2 * width**2 * 9 / seconds), 2 * images
    return best


def _copy_rate(device: torch.device, precision: Precision) -> float:
    """Bytes a second, read and written, of a copy too large for the caches."""
    import torch

    from explorer.profile.runtimes import DTYPES

    size, dtype = COPIED_BYTES[device.type], DTYPES[precision]
    source = torch.ones(size // dtype.itemsize, dtype=dtype, device=device)
    target = torch.empty_like(source)
    return 2 * size / _fastest_s(lambda: target.copy_(source), device)


def _fastest_s(work: Callable[[], Any], device: torch.device) -> float:
    """Seconds of the fastest of some runs, after one that is not counted."""
    import torch

    synchronize: dict[str, Callable[[], None]] = {
        "cuda": lambda: torch.cuda.synchronize(device),
        "mps": torch.mps.synchronize,
    }
    finish = synchronize.get(device.type, lambda: None)
    times: list[float] = []
    with torch.inference_mode():
        work()
        finish()
        while len(times) < REPEATS and sum(times) < REPEATS_S:
            start = time.perf_counter()
            work()
            finish()
            times.append(time.perf_counter() - start)
    return min(times)
