"""MIL matrix products: iOS15.linear, and iOS18.transformers.scaled_dot_product_attention.

https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody reads at once

from exporters.mil.optable import Arguments, operation


@operation("linear", required="x weight", optional={"bias": None})
def linear(a: Arguments) -> torch.Tensor:
    """iOS15.linear.linear: x (..., d_in), weight (d_out, d_in), bias (d_out)."""
    return F.linear(a.tensor("x"), a.tensor("weight"), a.optional_tensor("bias"))


@operation("matmul", required="x y", optional={"transpose_x": False, "transpose_y": False})
def matmul(a: Arguments) -> torch.Tensor:
    """iOS15.linear.matmul, batched and broadcast; transposing swaps the last two axes."""
    x, y = a.tensor("x"), a.tensor("y")
    x = x.transpose(-1, -2) if a.flag("transpose_x") else x
    return x @ (y.transpose(-1, -2) if a.flag("transpose_y") else y)


@operation("einsum", required="values equation")
def einsum(a: Arguments) -> torch.Tensor:
    """iOS15.linear.einsum."""
    result: torch.Tensor = torch.einsum(a.text("equation"), *a.tensors("values"))
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
