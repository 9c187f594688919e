"""Devices by name: which one a word means, and what it calls itself."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

from search_spaces.errors import InputError


def resolve_device(text: str) -> torch.device:
    """The torch device that `text` names: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1", "mps".

    A CUDA device comes with its index. ValueError, one line, where it is not here.
    """
    here = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        here.append("mps")
    current = f"cuda:{torch.cuda.current_device()}" if "cuda:0" in here else "cuda"
    named = {"auto": current if "cuda:0" in here else "cpu", "cuda": current}.get(text, text)
    if named not in here:
        raise InputError(f"device={text!r} is not here; available: {', '.join(here)}")
    return torch.device(named)


def device_name(device: torch.device) -> str:
    """ "NVIDIA H200", "AMD EPYC": the device's own name for itself."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(filter(None, [*names, platform.processor(), platform.machine()]), "unknown")
