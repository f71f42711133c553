"""MIL operators that make tensors: fill, fill_like, range_1d, shape of iOS15/16.tensor_operation.

https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
"""

from __future__ import annotations

import numpy as np
import torch

from exporters.mil.optable import Arguments, operation


@operation("fill", required="shape", optional={"value": 0.0})
def fill(a: Arguments) -> torch.Tensor:
    """iOS15.tensor_operation.fill: a tensor of `shape` in the type of `value`."""
    value = a.optional_tensor("value")
    return torch.full(a.integers("shape"), a.number("value"), dtype=_dtype(value))


@operation("fill_like", required="ref_tensor", optional={"value": 0.0})
def fill_like(a: Arguments) -> torch.Tensor:
    """iOS16.tensor_operation.fill_like: the shape of ref_tensor, the type of `value`."""
    value = a.optional_tensor("value")
    return torch.full(a.tensor("ref_tensor").shape, a.number("value"), dtype=_dtype(value))


def _dtype(value: torch.Tensor | None) -> torch.dtype:
    return torch.float32 if value is None else value.dtype


@operation("range_1d", required="start end step")
def range_1d(a: Arguments) -> torch.Tensor:
    """iOS15.tensor_operation.range_1d: start, start + step, ... before end."""
    start, end, step = (a.tensor(name) for name in ("start", "end", "step"))
    numbers = np.arange(start.item(), end.item(), step.item())  # torch refuses an empty range
    return torch.from_numpy(numbers).to(start.dtype)


@operation("shape", required="x")
def shape(a: Arguments) -> torch.Tensor:
    """iOS15.tensor_operation.shape as int32."""
    return torch.tensor(a.tensor("x").shape, dtype=torch.int32)
