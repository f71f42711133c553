"""MIL slicing: iOS15.tensor_transformation.slice_*, .sliding_windows, iOS18 slice_update.

https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
"""

from __future__ import annotations

import torch

from exporters.mil.optable import Arguments, Default, operation

SLICE: dict[str, Default] = {
    "stride": None,
    "begin_mask": None,
    "end_mask": None,
    "squeeze_mask": None,
}


def _picked(a: Arguments, shape: torch.Size) -> list[range]:
    """The positions that begin, end, stride and the masks take along each axis of `shape`."""
    none = [0] * len(shape)
    stride = a.optional_integers("stride", [1] * len(shape))
    masks = (a.optional_integers(f"{n}_mask", none) for n in ("begin", "end", "squeeze"))
    taken = []
    for size, b, e, s, from_start, to_end, single in zip(
        shape, a.integers("begin"), a.integers("end"), stride, *masks, strict=True
    ):
        if single:
            first = 0 if from_start else b
            first += size if first < 0 else 0
            if not 0 <= first < size:
                raise ValueError(f"index {b} is outside an axis of size {size}")
            taken.append(range(first, first + 1))
        else:
            taken.append(range(size)[None if from_start else b : None if to_end else e : s])
    return taken


@operation("slice_by_index", required="x begin end", optional=SLICE)
def slice_by_index(a: Arguments) -> torch.Tensor:
    """iOS15.tensor_transformation.slice_by_index; a mask ignores begin or end of its axis."""
    x = a.tensor("x")
    for axis, taken in enumerate(_picked(a, x.shape)):
        if taken.step > 0:
            x = x[(*[slice(None)] * axis, slice(taken.start, taken.stop, taken.step))]
        else:  # torch slices forwards only
            x = x.index_select(axis, torch.tensor(list(taken), dtype=torch.long))
    drop = [axis for axis, s in enumerate(_squeezed(a)) if s]
    return x.squeeze(drop) if drop else x


def _squeezed(a: Arguments) -> list[int]:
    return a.optional_integers("squeeze_mask", [])


@operation("slice_update", required="x update begin end", optional=SLICE)
def slice_update(a: Arguments) -> torch.Tensor:
    """iOS18.tensor_transformation.slice_update: x with `update` where slice_by_index would read."""
    x, update = a.tensor("x").clone(), a.tensor("update")
    taken = _picked(a, x.shape)
    squeezed = _squeezed(a) or [0] * x.dim()
    read = [len(t) for t, drop in zip(taken, squeezed, strict=True) if not drop]
    if list(update.shape) != read:
        raise ValueError(f"update is {list(update.shape)} and the slice {read}")
    index = torch.meshgrid(*(torch.tensor(list(t), dtype=torch.long) for t in taken), indexing="ij")
    x[index] = update.reshape([len(t) for t in taken])
    return x


@operation("slice_by_size", required="x begin size")
def slice_by_size(a: Arguments) -> torch.Tensor:
    """iOS15.tensor_transformation.slice_by_size; size -1 takes all that is left."""
    x = a.tensor("x")
    for axis, (begin, size) in enumerate(zip(a.integers("begin"), a.integers("size"), strict=True)):
        first = begin + x.shape[axis] if begin < 0 else begin
        x = x.narrow(axis, first, x.shape[axis] - first if size == -1 else size)
    return x


@operation("sliding_windows", required="x axis size", optional={"stride": 1})
def sliding_windows(a: Arguments) -> torch.Tensor:
    """iOS15.tensor_transformation.sliding_windows: windows along `axis`, their elements after."""
    x = a.tensor("x")
    axis = a.integer("axis") % x.dim()
    return x.unfold(axis, a.integer("size"), a.integer("stride")).movedim(-1, axis + 1)
