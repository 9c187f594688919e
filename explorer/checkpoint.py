"""Files of weights, read without running anything that they hold: safetensors, and checkpoints of torch.save."""

from __future__ import annotations

import argparse
import os
import pickle
import re
import shutil
import struct
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from search_spaces.document import short
from search_spaces.errors import InputError, one_line

FORMAT = "vitscape/weights@1"
WRAPPERS = ("model", "state_dict", "model_state_dict", "module")  # what training scripts wrap the weights in
AVERAGED = ("model_ema", "state_dict_ema", "ema", "ema_state_dict")  # their exponential moving average
POINTERS = {b"version https://git-lfs": "a Git LFS", b"/annex/objects/": "a git-annex"}
BROKEN = (  # what readers of torch and zipfile raise over bytes that are no checkpoint
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    RuntimeError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    OverflowError,
    MemoryError,
)


def read_weights(path: str | Path, *, averaged: bool = False) -> dict[str, Tensor]:
    """CPU tensors by name, of a .safetensors file or a checkpoint of torch.save; wrappers and prefixes taken off.

    Nothing in the file is executed: a checkpoint is read by torch's weights-only reader. Where the file holds the
    trained weights and their moving average, the trained ones are returned, or the average if `averaged`.

    Raises:
        InputError: no such file, none of these formats, damaged, or holding other things than tensors.
    """
    path = Path(path)
    head = _head(path)
    if head[8:9] == b"{" or (path.suffix == ".safetensors" and not head.startswith(b"PK")):
        found: object = _read_safetensors(path)[0]
    else:
        found = _read_checkpoint(path, head)
    return _bare(_unwrapped(found, path, averaged), path)


def told_by(path: str | Path) -> Mapping[object, object]:
    """What a file says beside its weights: the metadata of a .safetensors file, the whole of a checkpoint."""
    path = Path(path)
    head = _head(path)
    if head[8:9] == b"{":
        return {key: value for key, value in _read_safetensors(path, tensors=False)[1].items()}  # noqa: C416
    found = _read_checkpoint(path, head)
    return found if isinstance(found, Mapping) else {}


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """CRC-32 of names, types, shapes and bytes, 8 hexadecimal digits: safetensors itself notices no damage."""
    crc = 0
    for name in sorted(tensors):
        tensor = tensors[name]
        crc = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), crc)
        flat = tensor.contiguous().flatten().view(torch.uint8)
        crc = zlib.crc32(flat.numpy().data, crc)
    return f"{crc:08x}"


def _head(path: Path) -> bytes:
    """The first bytes of a file that may be a checkpoint."""
    try:
        with path.open("rb") as file:
            head = file.read(400)
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; give the checkpoint's file") from None
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise InputError(f"{short(str(path))} cannot be read: {error}") from None
    if not head:
        raise InputError(f"{path} is empty; download it again")
    for sign, what in POINTERS.items():
        if sign in head:
            raise InputError(f"{path} is {what} pointer, not the weights; fetch the file that it stands for")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise InputError(f"{path} is a web page, not a checkpoint; download the file that the page links to")
    return head


def _read_safetensors(path: Path, tensors: bool = True) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            told = file.metadata() or {}
            found = {key: file.get_tensor(key) for key in file.keys()} if tensors else {}  # noqa: SIM118
    except (SafetensorError, OSError, *BROKEN) as error:
        raise _damaged(path, "safetensors file", error) from None
    # damage may hit the checksum's own name: two of three other signs tell a file of ours, which has one
    ours = [told.get("format") == FORMAT, "id" in told, "architecture" in told].count(True) >= 2
    if tensors and (ours or "checksum" in told) and told.get("checksum") != checksum(found):
        raise InputError(f"{path} is damaged: its bytes are not those that were written; copy or download it again")
    return found, told


def _read_checkpoint(path: Path, head: bytes) -> object:
    """What a file of torch.save holds: tensors, numbers, text and containers of these."""
    if head[:1] == b"\x80" and head[1:2] > b"\x02":  # torch.save writes protocol 2
        raise InputError(f"{path} is a pickle that torch.save did not write; it may hold code and was not executed")
    try:
        if head.startswith(b"PK"):
            _check_sums(path)
        # the options of a training script, which many published files carry, are a bag of plain values
        safe = torch.serialization.safe_globals([argparse.Namespace])
        with path.open("rb") as file, safe, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, *BROKEN) as error:
        if "legacy .tar" in str(error):
            raise InputError(
                f"{path} has the tar format of torch before 0.1.10, which may hold code and was not executed;"
                " save its state dict again with a newer torch"
            ) from None
        if stranger := re.search(r"[Uu]nsupported (?:global: )?(?:GLOBAL|class) (\S+)", str(error)):
            perhaps = "" if head.startswith(b"PK") else " or is cut short or damaged,"  # old files have no checksums
            raise InputError(
                f"{path} holds other things than tensors ({short(stranger[1])}), which may be code,{perhaps} and was"
                " not executed. Where you trust it: torch.save(model.state_dict(), FILE) in the code that wrote it"
            ) from None
        raise _damaged(path, "checkpoint of torch.save", error) from None


def _check_sums(path: Path) -> None:
    """Raise BadZipFile where a part's bytes are not those that were written: torch's own reader does not look."""
    with zipfile.ZipFile(path) as archive:
        for part in archive.infolist():
            if part.CRC:  # 0 where torch was told to save without checksums
                with archive.open(part) as file, open(os.devnull, "wb") as nowhere:
                    shutil.copyfileobj(file, nowhere, 1 << 20)


def _damaged(path: Path, kind: str, error: BaseException) -> InputError:
    told = one_line(error).removesuffix(".")
    told = told.split("WeightsUnpickler error: ")[-1].split(" Check the documentation")[0]
    return InputError(f"{path} is no {kind}, or is cut short or damaged ({short(told)}); download it again")


def _unwrapped(found: object, path: Path, averaged: bool) -> Mapping[object, object]:
    """The innermost mapping of names to tensors in what a file holds."""
    wrappers = AVERAGED if averaged else (*WRAPPERS, *AVERAGED)
    for depth in range(8):  # deeper than anybody wraps; a mapping may hold itself
        if not isinstance(found, Mapping):
            kind = type(found).__name__
            raise InputError(
                f"{path} holds no weights but {kind}; give a file of a state dict, names and their tensors"
            )
        inner = [found[name] for name in wrappers if isinstance(found.get(name), Mapping)]
        if averaged and not depth:
            if not inner:
                raise InputError(f"{path} holds no moving average ({', '.join(AVERAGED)}); leave out --use-ema")
            wrappers = (*WRAPPERS, *AVERAGED)
        if not inner:
            return found
        found = inner[0]
    raise InputError(f"{path} wraps its weights more than 8 times; give a file of a state dict")


def _bare(found: Mapping[object, object], path: Path) -> dict[str, Tensor]:
    """Tensors under the names that the network itself gives them, without those of DDP and torch.compile around it."""
    weights: dict[str, Tensor] = {}
    strangers = []
    for key, value in found.items():
        if isinstance(key, str) and isinstance(value, Tensor) and _plain(value):
            weights[key.replace("_orig_mod.", "")] = value
        else:
            strangers.append(f"{short(str(key))} ({type(value).__name__})")
    if strangers:
        more = f" and {len(strangers) - 5} more" if len(strangers) > 5 else ""
        raise InputError(
            f"{path} holds entries that are no dense tensors: {', '.join(strangers[:5])}{more};"
            " save the state dict alone"
        )
    if not weights:
        raise InputError(f"{path} holds no tensors; give a file of a state dict")
    while all(key.startswith("module.") for key in weights):
        weights = {key.removeprefix("module."): value for key, value in weights.items()}
    if len(weights) < len(found):
        raise InputError(f"{path} holds weights twice under one name, with and without _orig_mod.; save them once")
    return weights


def _plain(value: Tensor) -> bool:
    return value.layout == torch.strided and not (value.is_meta or value.is_quantized or value.is_complex())
