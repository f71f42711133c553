"""Calling one operator directly, with Python values as its inputs."""

from __future__ import annotations

from typing import Any

import torch

from exporters.mil.operators import OPERATIONS
from exporters.mil.optable import Arguments
from exporters.mil.values import TensorList, Value


def call(name: str, *, opset: int = 8, **inputs: Any) -> Any:
    """The result of MIL operator `name`; numbers and lists become tensors."""
    operator = OPERATIONS[name]
    assert operator.complaints(set(inputs)) == []
    return operator.compute(
        Arguments({key: value_of(value) for key, value in inputs.items()}, operator.optional, opset)
    )


def value_of(value: Any) -> Value:
    """A carried value: float32, int32, bool or a string; a tuple stays a tuple of tensors."""
    if isinstance(value, str | torch.Tensor | TensorList):
        return value
    if isinstance(value, tuple):
        return tuple(item if isinstance(item, str) else torch.as_tensor(item) for item in value)
    tensor = torch.tensor(value)
    return tensor.to(torch.int32) if tensor.dtype == torch.int64 else tensor


def image(*sizes: int) -> torch.Tensor:
    """0, 1, 2, ... in this shape, as float32."""
    return torch.arange(float(torch.Size(sizes).numel())).reshape(sizes)
