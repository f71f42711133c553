"""MIL matrix products: iOS15.linear, and iOS18.transformers.scaled_dot_product_attention.

https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody reads at once

from exporters.mil.optable import Arguments, operation


@operation("linear", required="x weight", optional={"bias": None})
def linear(a: Arguments) -> torch.Tensor:
    """iOS15/iOS17.linear.linear: x (..., d_in), weight (d_out, d_in), bias (d_out).

    Since iOS17 weights may have another type; the result has that of x, fractions dropped.
    """
    x, weight, bias = a.tensor("x"), a.tensor("weight"), a.optional_tensor("bias")
    if {t.dtype for t in (x, weight, bias) if t is not None} == {torch.float32}:
        return F.linear(x, weight, bias)
    exact = x.double() @ weight.double().T
    return (exact if bias is None else exact + bias.double()).to(x.dtype)


@operation("matmul", required="x y", optional={"transpose_x": False, "transpose_y": False})
def matmul(a: Arguments) -> torch.Tensor:
    """iOS15/iOS17.linear.matmul, batched and broadcast; transposing swaps the last two axes.

    Since iOS17 a constant may have another type than the other side, whose type the result has.
    """
    x, y = (_matrix(a, name) for name in ("x", "y"))
    if x.dtype == y.dtype:
        return x @ y
    exact = x.double() @ y.double()
    return exact.to(torch.float32) if a.gives_float else exact.to(torch.int32)


def _matrix(a: Arguments, name: str) -> torch.Tensor:
    tensor = a.tensor(name)
    turned = a.flag(f"transpose_{name}") and tensor.dim() > 1  # a vector has nothing to swap
    return tensor.transpose(-1, -2) if turned else tensor


@operation("einsum", required="values equation")
def einsum(a: Arguments) -> torch.Tensor:
    """iOS15.linear.einsum."""
    result: torch.Tensor = torch.einsum(a.text("equation").replace(" ", ""), *a.tensors("values"))
    return result


@operation("scaled_dot_product_attention", required="query key value", optional={"attn_mask": None})
def scaled_dot_product_attention(a: Arguments) -> torch.Tensor:
    """iOS18.transformers: softmax(q k^T / sqrt(d) + mask) v; a bool mask keeps what is true."""
    query, key = a.tensor("query"), a.tensor("key")
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    mask = a.optional_tensor("attn_mask")
    if mask is not None:
        keeps = mask.dtype == torch.bool
        scores = scores.masked_fill(~mask, -torch.inf) if keeps else scores + mask
    return torch.softmax(scores, -1) @ a.tensor("value")
