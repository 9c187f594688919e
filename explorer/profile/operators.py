"""What one operator costs: formulas for fvcore's trace, formulas that torch's counter lacks, and the operators that do
no multiply-adds.

A new operator comes as one line: a formula, or a name in `MULTIPLY_FREE`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import prod
from typing import Any

import torch

from search_spaces.errors import InputError

# (inputs, outputs) of a node of a jit trace -> {"macs": ..., "activations": ...}
Handle = Callable[[list[Any], list[Any]], "Counter[str]"]


class UncountedOperator(InputError):
    """An operator that may do multiply-adds and has no formula here. One line, names the operator and its module."""


def _shape(value: Any) -> list[int]:
    sizes: list[int] = value.type().sizes()
    return sizes


def _cost(macs: Callable[[list[Any], list[Any]], int]) -> Handle:
    """A handle that counts `macs` and the elements of the first output, as fvcore's ActivationCountAnalysis does."""
    return lambda inputs, outputs: Counter(macs=macs(inputs, outputs), activations=prod(_shape(outputs[0])))


def _product(first: int) -> Handle:
    """A matrix product whose left operand is input `first`: an element put out sums over that operand's last axis."""
    # fvcore's own formula is wrong where the left operand is the one that is broadcast
    return _cost(lambda inputs, outputs: prod(_shape(outputs[0])) * _shape(inputs[first])[-1])


def _convolution_macs(inputs: list[Any], outputs: list[Any]) -> int:
    transposed = inputs[6].toIValue()
    return prod(_shape(inputs[0] if transposed else outputs[0])) * prod(_shape(inputs[1])[1:])


def _convolution_mode_macs(inputs: list[Any], outputs: list[Any]) -> int:
    # padding="same" and "valid" are traced as an operator of their own, which is never transposed
    return prod(_shape(outputs[0])) * prod(_shape(inputs[1])[1:])


def _einsum_macs(inputs: list[Any], outputs: list[Any]) -> int:
    return einsum_macs(inputs[0].toIValue(), [_shape(value) for value in inputs[1].node().inputs()])


def _attention_cost(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """Both matrix products: q (.., N, d) @ k^T (.., d, M) and weights (.., N, M) @ v (.., M, d_v)."""
    *batch_heads, queries, d_value = _shape(outputs[0])  # (B, heads, N, d_v)
    keys, d_key = _shape(inputs[1])[-2:]
    weights = prod(batch_heads) * queries * keys  # elements of the attention matrix
    return Counter(macs=weights * (d_key + d_value), activations=weights + prod(batch_heads) * queries * d_value)


HANDLES: dict[str, Handle] = {
    "aten::_convolution": _cost(_convolution_macs),
    "aten::_convolution_mode": _cost(_convolution_mode_macs),
    "aten::linear": _product(0),
    "aten::matmul": _product(0),
    "aten::mm": _product(0),
    "aten::bmm": _product(0),
    "aten::mv": _product(0),
    "aten::addmm": _product(1),
    "aten::baddbmm": _product(1),
    "aten::einsum": _cost(_einsum_macs),
    "aten::scaled_dot_product_attention": _attention_cost,
}


def einsum_macs(equation: str, shapes: list[list[int]]) -> int:
    """Exact multiply-adds of an einsum of one or two operands; 0 where nothing is summed over both of them.

    >>> einsum_macs("bnc,bmc->bnm", [[2, 5, 3], [2, 7, 3]])
    210
    """
    terms, _, result = equation.replace(" ", "").partition("->")
    operands = terms.split(",")
    if len(operands) > 2:
        raise UncountedOperator(f"aten::einsum {equation!r} depends on its path; write it as einsums of two operands")
    sizes: dict[str, int] = {}
    for operand, shape in zip(operands, shapes, strict=True):
        sizes_of = dict(zip(_indices(operand, len(shape)), shape, strict=True))
        for index, size in sizes_of.items():
            sizes[index] = max(size, sizes.get(index, 1))  # a size of 1 is broadcast
    letters = [set(_indices(operand, len(shape))) for operand, shape in zip(operands, shapes, strict=True)]
    kept = _result_indices(equation, operands, result, letters)
    contracted = set.intersection(*letters) - kept if len(letters) == 2 else set()
    # An index of one operand alone is summed before the product, and so multiplies nothing.
    return prod(sizes[index] for index in kept | contracted) if contracted else 0


def _indices(operand: str, rank: int) -> list[str]:
    """One name a dimension; those that "..." stands for are numbered from the right, as broadcasting aligns them."""
    before, dots, after = operand.partition("...")
    hidden = [f"...{place}" for place in range(rank - len(before) - len(after), 0, -1)] if dots else []
    return [*before, *hidden, *after]


def _result_indices(equation: str, operands: list[str], result: str, letters: list[set[str]]) -> set[str]:
    hidden = {index for names in letters for index in names if index.startswith("...")}
    if "->" in equation:
        return set(result.replace(".", "")) | (hidden if "..." in result else set())
    once = {letter for letter, times in Counter("".join(operands).replace(".", "")).items() if times == 1}
    return once | hidden


def _attention_flops(q: list[int], k: list[int], v: list[int], *_: Any, **__: Any) -> int:
    return 2 * prod(q[:3]) * k[2] * (q[3] + v[3])  # (B, heads, N, d), (B, heads, M, d), (B, heads, M, d_v)


def _matrix_vector_flops(matrix: list[int], *_: Any, **__: Any) -> int:
    return 2 * prod(matrix)


MISSING_IN_TORCH: dict[Any, Callable[..., int]] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
    torch.ops.aten.mv: _matrix_vector_flops,
    torch.ops.aten.dot: _matrix_vector_flops,
}

# By name, without "aten::" and without the "_" of the in-place form.
# fmt: off
MULTIPLY_FREE = frozenset({
    # elementwise
    "_prelu_kernel", "abs", "add", "addcdiv", "addcmul", "all", "any", "atan", "atan2", "bitwise_and", "bitwise_not",
    "bitwise_or", "ceil", "clamp", "clamp_max", "clamp_min", "clip", "cos", "div", "elu", "eq", "erf", "exp", "expm1",
    "fill", "floor", "floor_divide", "fmod", "ge", "gelu", "gt", "hardsigmoid", "hardswish", "hardtanh", "isfinite",
    "isinf", "isnan", "le", "leaky_relu", "lerp", "log", "log1p", "log2", "logical_and", "logical_not", "logical_or",
    "lt", "masked_fill", "maximum", "minimum", "mish", "mul", "ne", "neg", "pow", "prelu", "reciprocal", "relu",
    "relu6", "remainder", "round", "rsqrt", "rsub", "selu", "sigmoid", "sign", "silu", "sin", "softplus", "sqrt",
    "square", "sub", "tanh", "threshold", "tril", "triu", "true_divide", "where", "zero",
    # reductions and what is built of them
    "_log_softmax", "_safe_softmax", "_softmax", "amax", "amin", "argmax", "argmin", "argsort", "cumsum",
    "frobenius_norm", "linalg_vector_norm", "log_softmax", "logsumexp", "max", "mean", "min", "norm", "prod",
    "softmax", "sort", "std", "std_mean", "sum", "topk", "var", "var_mean",
    # norms and dropout
    "_fused_rms_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "batch_norm", "bernoulli",
    "cudnn_batch_norm", "dropout", "feature_dropout", "group_norm", "instance_norm", "layer_norm",
    "native_batch_norm", "native_dropout", "native_group_norm", "native_layer_norm", "rms_norm",
    # pooling
    "_adaptive_avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "avg_pool1d",
    "avg_pool2d", "max_pool1d", "max_pool2d", "max_pool2d_with_indices", "upsample_nearest2d",
    # shapes, copies, indices and what only looks at a tensor
    "Int", "ScalarImplicit", "__and__", "__or__", "_assert_async", "_assert_tensor_metadata", "_reshape_alias",
    "_shape_as_tensor", "_to_copy", "_unsafe_index", "_unsafe_view", "alias", "arange", "as_strided",
    "broadcast_tensors", "cat", "chunk", "clone", "constant_pad_nd", "contiguous", "copy", "detach", "diagonal",
    "embedding", "empty", "empty_like", "empty_permuted", "expand", "expand_as", "eye", "flatten", "flip", "full",
    "full_like", "gather", "im2col", "index", "index_put", "index_select", "is_same_size", "item", "lift_fresh",
    "linspace", "meshgrid", "movedim", "narrow", "new_empty", "new_full", "new_ones", "new_zeros", "nonzero", "numel",
    "ones", "ones_like", "pad", "permute", "pixel_shuffle", "pixel_unshuffle", "reflection_pad2d", "repeat",
    "repeat_interleave", "replication_pad2d", "reshape", "roll", "scalar_tensor", "scatter", "select",
    "select_scatter", "size", "slice", "slice_scatter", "split", "split_with_sizes", "squeeze", "stack", "swapaxes",
    "sym_numel", "sym_size", "t", "tensor_split", "tile", "to", "transpose", "type_as", "unbind", "unflatten",
    "unfold", "unsafe_chunk", "unsafe_split", "unsqueeze", "view", "view_as", "zeros", "zeros_like",
})
# fmt: on
