"""Multiply-adds (MACs) and activations of a network, two independent ways: by fvcore's trace and by torch's counter.

MACs are those of convolutions, linear layers and matrix products; norms, pooling, softmax and everything elementwise
count as none, so that a closed form can equal them to the last integer. An operator that is neither given a formula
nor known to do no multiply-adds is an error, never a zero.
"""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from explorer.profile.operators import HANDLES, MISSING_IN_TORCH, MULTIPLY_FREE, UncountedOperator
from search_spaces.errors import InputError

with warnings.catch_warnings():
    # torch 2.13 deprecates torch.jit.script, with which fvcore compiles losses of its own as it is imported
    warnings.simplefilter("ignore", DeprecationWarning)
    from fvcore.nn.jit_analysis import JitModelAnalysis

__all__ = ["Counted", "UncountedOperator", "count", "count_with_torch"]


@dataclass(frozen=True)
class Counted:
    """What one forward pass of a batch of one costs. By module: its name, '' for the whole, its children included."""

    macs: int  # multiply-adds
    activations: int  # elements that convolutions, linear layers and matrix products put out
    macs_by_module: dict[str, int]
    activations_by_module: dict[str, int]


def count(model: nn.Module, image_size: int, in_channels: int = 3) -> Counted:
    """MACs and activations of one (1, in_channels, image_size, image_size) image, by fvcore's trace on the CPU.

    Attention through `F.scaled_dot_product_attention` counts as its two explicit matrix products would. The model is
    left as it was. What is computed and then thrown away is not in a trace, and not counted.
    """
    shell, example = _shell(model), _example(image_size, in_channels)
    analysis = JitModelAnalysis(shell, (example,)).set_op_handle(**HANDLES)
    analysis.set_op_handle(**{f"aten::{name}{in_place}": None for name in MULTIPLY_FREE for in_place in ("", "_")})
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    with torch.no_grad(), _explicit_attention_modules():
        by_module: dict[str, Counter[str]] = analysis.by_module_and_operator()
    for operator in analysis.unsupported_ops():
        raise _uncounted(operator, (name for name in by_module if operator in analysis.unsupported_ops(name)))
    macs = {name: counts["macs"] for name, counts in by_module.items()}
    activations = {name: counts["activations"] for name, counts in by_module.items()}
    return Counted(macs[""], activations[""], macs, activations)


def count_with_torch(model: nn.Module, image_size: int, in_channels: int = 3) -> int:
    """MACs of one (1, in_channels, image_size, image_size) image, by torch's FlopCounterMode on the CPU, halved.

    Shares no formula with `count`. FlopCounterMode alone takes attention on the CPU for nothing, without a word.
    """
    shell, example = _shell(model), _example(image_size, in_channels)
    counter = FlopCounterMode(display=False, custom_mapping=MISSING_IN_TORCH)
    # The counter is entered last: it gets every operator first, and hands on only what it cannot take apart.
    with torch.no_grad(), _explicit_attention_modules(), _RefuseUncounted(counter), counter:
        shell(example)
    return counter.get_total_flops() // 2


class _RefuseUncounted(TorchDispatchMode):
    """Raises at the first operator that `counter` has no formula for and that may do multiply-adds."""

    def __init__(self, counter: FlopCounterMode) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counter = counter

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        packet = func._overloadpacket
        name = packet.__name__
        if packet not in self.counter.flop_registry and not {name, name.removesuffix("_")} & MULTIPLY_FREE:
            parents = self.counter.mod_tracker.parents - {"Global"}
            raise _uncounted(f"aten::{name}", (parent.partition(".")[2] for parent in parents))
        return func(*args, **(kwargs or {}))


def _shell(model: nn.Module) -> nn.Module:
    """A copy in eval mode on the CPU that shares its weights with `model` where these are there already."""
    tensors = [*model.parameters(), *model.buffers()]
    # deepcopy takes what is in the memo for already copied: modules are copied, weights are not
    return copy.deepcopy(model, {id(tensor): _on_cpu(tensor) for tensor in tensors}).eval()


def _on_cpu(tensor: Tensor) -> Tensor:
    moved = tensor.detach().to("cpu", torch.float32 if tensor.is_floating_point() else tensor.dtype)
    return nn.Parameter(moved, requires_grad=False) if isinstance(tensor, nn.Parameter) else moved


def _example(image_size: int, in_channels: int) -> Tensor:
    for name, value in (("image_size", image_size), ("in_channels", in_channels)):
        if value < 1:
            raise InputError(f"{name}={value} is not a size; give a whole number of at least 1")
    return torch.zeros(1, in_channels, image_size, image_size)


@contextmanager
def _explicit_attention_modules() -> Iterator[None]:
    """nn.MultiheadAttention and nn.TransformerEncoderLayer operator by operator, not as one fused operator."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _uncounted(operator: str, modules: Iterable[str]) -> UncountedOperator:
    """The error for an operator that runs in all of `modules`, of which it names the innermost."""
    module = max(modules, key=lambda name: len(name.split(".")) if name else 0)
    where = f"module {module!r}" if module else "the outermost module"
    return UncountedOperator(
        f"{operator} in {where} has no formula for its multiply-adds; "
        "give it one in explorer/profile/operators.py, or name it there under MULTIPLY_FREE if it does none"
    )
