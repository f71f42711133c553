"""MIL operators that build and rearrange tensors: iOS15.tensor_transformation, .tensor_operation.

https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
"""

from __future__ import annotations

import torch

from exporters.mil.optable import IOS17_OPSET, Arguments, operation


@operation("reshape", required="x shape")
def reshape(a: Arguments) -> torch.Tensor:
    """iOS15/iOS17.tensor_transformation.reshape; -1 is inferred, 0 keeps the size of x.

    From iOS17 a 0 is matched counting from the right, and is 1 beyond the rank of x.
    """
    x, shape = a.tensor("x"), a.integers("shape")
    if 0 in shape and len(shape) != x.dim() and a.opset < IOS17_OPSET:
        raise ValueError(f"shape {shape} has a 0 and another rank than x {list(x.shape)}")
    sizes = [*[1] * max(0, len(shape) - x.dim()), *x.shape][-len(shape) :] if shape else []
    return x.reshape([size or kept for size, kept in zip(shape, sizes, strict=True)])


@operation("transpose", required="x perm")
def transpose(a: Arguments) -> torch.Tensor:
    """iOS15.tensor_transformation.transpose."""
    return a.tensor("x").permute(a.integers("perm"))


@operation("expand_dims", required="x axes")
def expand_dims(a: Arguments) -> torch.Tensor:
    """iOS15.tensor_transformation.expand_dims; axes are positions in the result."""
    x, axes = a.tensor("x"), a.integers("axes")
    rank = x.dim() + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


@operation("squeeze", required="x", optional={"axes": None})
def squeeze(a: Arguments) -> torch.Tensor:
    """iOS15.tensor_transformation.squeeze; all axes by default; those not of size 1 stay."""
    x = a.tensor("x")
    axes = {axis % x.dim() for axis in a.optional_integers("axes", list(range(x.dim())))}
    return x.squeeze(sorted(axis for axis in axes if x.shape[axis] == 1))


@operation("flatten2d", required="x", optional={"axis": 1})
def flatten2d(a: Arguments) -> torch.Tensor:
    """iOS15.tensor_transformation.flatten2d: axes before `axis` and from it on become two."""
    x, axis = a.tensor("x"), a.integer("axis")
    return x.reshape(x.shape[:axis].numel(), x.shape[axis:].numel())


@operation("tile", required="x reps")
def tile(a: Arguments) -> torch.Tensor:
    """iOS15.tensor_operation.tile; one count per axis."""
    return a.tensor("x").repeat(a.integers("reps"))


@operation("reshape_like", required="x ref_tensors begins ends end_masks")
def reshape_like(a: Arguments) -> torch.Tensor:
    """iOS16.tensor_transformation.reshape_like: to sizes begin to end (or all) of each ref."""
    shape: list[int] = []
    names = ("ref_tensors", "begins", "ends", "end_masks")
    for ref, begin, end, to_end in zip(*(a.tensors(name) for name in names), strict=True):
        shape += ref.shape[int(begin) : None if to_end else int(end)]
    return a.tensor("x").reshape(shape)


@operation("reverse", required="x", optional={"axes": None})
def reverse(a: Arguments) -> torch.Tensor:
    """iOS15.tensor_transformation.reverse; all axes by default."""
    x = a.tensor("x")
    return x.flip(a.optional_integers("axes", list(range(x.dim()))))


@operation("reverse_sequence", required="x lengths", optional={"seq_axis": 0, "batch_axis": 0})
def reverse_sequence(a: Arguments) -> torch.Tensor:
    """iOS15.tensor_transformation.reverse_sequence: the first lengths[i] elements of batch i."""
    x = a.tensor("x").movedim((a.integer("batch_axis"), a.integer("seq_axis")), (0, 1))
    at = torch.arange(x.shape[1]).repeat(x.shape[0], 1)
    lengths = a.tensor("lengths").long().unsqueeze(1)
    at = torch.where(at < lengths, lengths - 1 - at, at)
    turned = torch.stack([row.index_select(0, order) for row, order in zip(x, at, strict=True)])
    return turned.movedim((0, 1), (a.integer("batch_axis"), a.integer("seq_axis")))


@operation("concat", required="values axis", optional={"interleave": False})
def concat(a: Arguments) -> torch.Tensor:
    """iOS15.tensor_operation.concat; scalars join into a vector."""
    values, axis = (
        [v.reshape(1) if v.dim() == 0 else v for v in a.tensors("values")],
        a.integer("axis"),
    )
    if not a.flag("interleave"):
        return torch.cat(values, axis)
    axis %= values[0].dim()
    return torch.stack(values, axis + 1).flatten(axis, axis + 1)


@operation("stack", required="values axis")
def stack(a: Arguments) -> torch.Tensor:
    """iOS15.tensor_operation.stack."""
    return torch.stack(a.tensors("values"), a.integer("axis"))


@operation("split", required="x axis", optional={"num_splits": None, "split_sizes": None})
def split(a: Arguments) -> tuple[torch.Tensor, ...]:
    """iOS15.tensor_operation.split into equal parts or the given sizes."""
    x, axis = a.tensor("x"), a.integer("axis")
    sizes = a.optional_integers("split_sizes", [])
    if not sizes:
        count = a.integer("num_splits")
        if x.shape[axis] % count:
            raise ValueError(f"size {x.shape[axis]} cannot be split into {count} equal parts")
        sizes = [x.shape[axis] // count] * count
    return tuple(torch.split_with_sizes(x, sizes, axis))


@operation("pad", required="x pad", optional={"mode": "constant", "constant_val": 0.0})
def pad(a: Arguments) -> torch.Tensor:
    """iOS15.tensor_operation.pad of the last len(pad) / 2 axes, before and after each."""
    x, sizes, mode = a.tensor("x"), a.integers("pad"), a.text("mode")
    pairs = list(zip(sizes[::2], sizes[1::2], strict=True))
    if mode == "constant":
        flat = [size for pair in reversed(pairs) for size in pair]
        return torch.nn.functional.pad(x, flat, value=a.number("constant_val"))
    if mode not in {"reflect", "replicate"}:
        raise ValueError(f"mode {mode!r} is unknown")
    for axis, (before, after) in zip(range(-len(pairs), 0), pairs, strict=True):
        last = x.shape[axis] - 1
        at = torch.arange(-before, last + 1 + after)
        if mode == "reflect":  # the edge is not repeated
            if max(before, after) > last:
                raise ValueError(
                    f"reflecting {before}, {after} needs more than {last + 1} elements"
                )
            at = last - (last - at.abs()).abs()
        x = x.index_select(axis, at.clamp(0, last))
    return x


@operation("band_part", required="x", optional={"lower": -1, "upper": -1})
def band_part(a: Arguments) -> torch.Tensor:
    """iOS15.tensor_operation.band_part of the last two axes; -1 keeps the whole triangle."""
    x, lower, upper = a.tensor("x"), a.integer("lower"), a.integer("upper")
    x = x if lower < 0 else x.triu(-lower)
    return x if upper < 0 else x.tril(upper)
