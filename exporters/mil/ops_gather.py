"""MIL gathering: iOS15, iOS16 and iOS17.scatter_gather.gather*.

https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
Before iOS17 a negative index counts from the end; since iOS17 it is out of range. An index out of
range is refused whatever `validate_indices` says: the page leaves its result undefined.
"""

from __future__ import annotations

import torch

from exporters.mil.optable import IOS17_OPSET, Arguments, Default, operation

__all__ = ["checked"]

GATHER: dict[str, Default] = {"axis": 0, "validate_indices": False}


def checked(indices: torch.Tensor, size: int | torch.Tensor, opset: int) -> torch.Tensor:
    """`indices` as int64 in [0, size); `size` may be a vector that fits their last axis."""
    indices = indices.long()
    lowest = torch.zeros_like(indices) if opset >= IOS17_OPSET else -size * torch.ones_like(indices)
    if bool(((indices < lowest) | (indices >= size)).any()):
        raise ValueError(f"indices reach from {indices.min()} to {indices.max()} for size {size}")
    return torch.where(indices < 0, indices + size, indices)


@operation("gather", required="x indices", optional={**GATHER, "batch_dims": 0})
def gather(a: Arguments) -> torch.Tensor:
    """iOS17.scatter_gather.gather: x.shape[:axis] + indices.shape[batch_dims:] + the rest."""
    x = a.tensor("x")
    axis = a.integer("axis") % x.dim()
    indices = checked(a.tensor("indices"), x.shape[axis], a.opset)
    return _gather(x, indices, axis, a.integer("batch_dims"))


def _gather(x: torch.Tensor, indices: torch.Tensor, axis: int, batch_dims: int) -> torch.Tensor:
    if batch_dims:
        pairs = zip(x, indices, strict=True)
        return torch.stack([_gather(one, at, axis - 1, batch_dims - 1) for one, at in pairs])
    picked = x.index_select(axis, indices.flatten())
    return picked.reshape([*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]])


@operation("gather_along_axis", required="x indices", optional=GATHER)
def gather_along_axis(a: Arguments) -> torch.Tensor:
    """iOS17.scatter_gather.gather_along_axis, as numpy.take_along_axis."""
    x, axis = a.tensor("x"), a.integer("axis")
    return torch.gather(x, axis, checked(a.tensor("indices"), x.shape[axis], a.opset))


@operation("gather_nd", required="x indices", optional={"batch_dims": 0, "validate_indices": False})
def gather_nd(a: Arguments) -> torch.Tensor:
    """iOS17.scatter_gather.gather_nd: the last axis of indices addresses axes of x."""
    x, indices, batch_dims = a.tensor("x"), a.tensor("indices"), a.integer("batch_dims")
    addressed = torch.tensor(x.shape[batch_dims : batch_dims + indices.shape[-1]])
    return _gather_nd(x, checked(indices, addressed, a.opset), batch_dims)


def _gather_nd(x: torch.Tensor, indices: torch.Tensor, batch_dims: int) -> torch.Tensor:
    if batch_dims:
        pairs = zip(x, indices, strict=True)
        return torch.stack([_gather_nd(one, at, batch_dims - 1) for one, at in pairs])
    return x[tuple(indices.unbind(-1))]
