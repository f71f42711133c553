"""MIL slicing and gathering: iOS15.tensor_transformation.slice_*, iOS17.scatter_gather.gather*.

https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
Indices out of range are refused whatever `validate_indices` says: the page leaves them undefined.
"""

from __future__ import annotations

import torch

from exporters.mil.optable import IOS17_OPSET, Arguments, Default, operation

GATHER: dict[str, Default] = {"axis": 0, "validate_indices": False}


@operation(
    "slice_by_index",
    required="x begin end",
    optional={"stride": None, "begin_mask": None, "end_mask": None, "squeeze_mask": None},
)
def slice_by_index(a: Arguments) -> torch.Tensor:
    """iOS15.tensor_transformation.slice_by_index; a mask ignores begin or end of its axis."""
    x, begin, end = a.tensor("x"), a.integers("begin"), a.integers("end")
    none = [0] * x.dim()
    stride = a.optional_integers("stride", [1] * x.dim())
    masks = (a.optional_integers(f"{n}_mask", none) for n in ("begin", "end", "squeeze"))
    drop = []
    for axis, (b, e, s, from_start, to_end, single) in enumerate(
        zip(begin, end, stride, *masks, strict=True)
    ):
        if single:
            x = x.narrow(axis, _position(b, x.shape[axis]), 1)
            drop.append(axis)
            continue
        picked = range(x.shape[axis])[None if from_start else b : None if to_end else e : s]
        if s > 0:
            x = x[(*[slice(None)] * axis, slice(picked.start, picked.stop, s))]
        else:  # torch slices forwards only
            x = x.index_select(axis, torch.tensor(list(picked), dtype=torch.long))
    return x.squeeze(drop) if drop else x


@operation("slice_by_size", required="x begin size")
def slice_by_size(a: Arguments) -> torch.Tensor:
    """iOS15.tensor_transformation.slice_by_size; size -1 takes all that is left."""
    x = a.tensor("x")
    for axis, (begin, size) in enumerate(zip(a.integers("begin"), a.integers("size"), strict=True)):
        first = _position(begin, x.shape[axis])
        x = x.narrow(axis, first, x.shape[axis] - first if size == -1 else size)
    return x


def _position(index: int, size: int) -> int:
    return index + size if index < 0 else index


@operation("gather", required="x indices", optional={**GATHER, "batch_dims": 0})
def gather(a: Arguments) -> torch.Tensor:
    """iOS17.scatter_gather.gather: x.shape[:axis] + indices.shape[batch_dims:] + the rest."""
    x, axis = a.tensor("x"), a.integer("axis")
    axis = axis % x.dim()
    return _gather(x, _indices(a, x.shape[axis]), axis, a.integer("batch_dims"))


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
    return torch.gather(x, axis, _indices(a, x.shape[axis]))


@operation("gather_nd", required="x indices", optional={"batch_dims": 0, "validate_indices": False})
def gather_nd(a: Arguments) -> torch.Tensor:
    """iOS17.scatter_gather.gather_nd: the last axis of indices addresses axes of x."""
    return _gather_nd(a.tensor("x"), a.tensor("indices").long(), a.integer("batch_dims"))


def _gather_nd(x: torch.Tensor, indices: torch.Tensor, batch_dims: int) -> torch.Tensor:
    if batch_dims:
        pairs = zip(x, indices, strict=True)
        return torch.stack([_gather_nd(one, at, batch_dims - 1) for one, at in pairs])
    return x[tuple(indices.unbind(-1))]


def _indices(a: Arguments, size: int) -> torch.Tensor:
    """int64 indices; before iOS17 a negative one counts from the end, since then it is an error."""
    indices = a.tensor("indices").long()
    lowest = 0 if a.opset >= IOS17_OPSET else -size
    if indices.numel() and (indices.min() < lowest or indices.max() >= size):
        raise ValueError(f"indices reach from {indices.min()} to {indices.max()} for size {size}")
    return torch.where(indices < 0, indices + size, indices)


@operation("crop", required="x crop_height crop_width")
def crop(a: Arguments) -> torch.Tensor:
    """iOS15.image_resizing.crop: what to cut off before and after the last two axes."""
    (top, bottom), (left, right) = a.integers("crop_height"), a.integers("crop_width")
    x = a.tensor("x")
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


@operation(
    "topk",
    required="x",
    optional={
        "k": 1,
        "axis": -1,
        "ascending": False,
        "sort": True,
        "return_indices": True,
        "output_indices_dtype": "int32",
    },
)
def topk(a: Arguments) -> tuple[torch.Tensor, ...]:
    """iOS17.tensor_operation.topk: values and their int32 positions; the order of ties is open."""
    x, axis, k = a.tensor("x"), a.integer("axis"), a.integer("k")
    if a.text("output_indices_dtype") not in {"int32", "uint16"}:
        raise ValueError(f"output_indices_dtype {a.text('output_indices_dtype')!r} is unknown")
    count = x.shape[axis] if k == -1 else k
    values, places = x.topk(count, axis, largest=not a.flag("ascending"), sorted=a.flag("sort"))
    return (values, places) if a.flag("return_indices") else (values,)


@operation("argsort", required="x", optional={"axis": -1, "ascending": False})
def argsort(a: Arguments) -> torch.Tensor:
    """iOS15.tensor_operation.argsort: int32 positions, the largest first unless ascending."""
    return a.tensor("x").argsort(dim=a.integer("axis"), descending=not a.flag("ascending"))
