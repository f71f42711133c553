"""MIL ordering and selecting: topk, argsort, non_zero, one_hot of iOS15 to iOS17.tensor_operation.

https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
Among equal elements the first comes first; the pages leave that open.
"""

from __future__ import annotations

import torch

from exporters.mil.optable import Arguments, operation


def _ordered(x: torch.Tensor, axis: int, *, ascending: bool) -> tuple[torch.Tensor, torch.Tensor]:
    result: tuple[torch.Tensor, torch.Tensor] = torch.sort(
        x, dim=axis, descending=not ascending, stable=True
    )
    return result


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
    """iOS17.tensor_operation.topk: values and their positions, sorted even where `sort` is false.

    k = -1 takes all; the positions are int32 or uint16, which are carried alike.
    """
    x, axis, k = a.tensor("x"), a.integer("axis"), a.integer("k")
    if a.text("output_indices_dtype") not in {"int32", "uint16"}:
        raise ValueError(f"output_indices_dtype {a.text('output_indices_dtype')!r} is unknown")
    count = x.shape[axis] if k == -1 else k
    values, places = _ordered(x, axis, ascending=a.flag("ascending"))
    values, places = values.narrow(axis, 0, count), places.narrow(axis, 0, count)
    return (values, places) if a.flag("return_indices") else (values,)


@operation("argsort", required="x", optional={"axis": -1, "ascending": False})
def argsort(a: Arguments) -> torch.Tensor:
    """iOS15.tensor_operation.argsort: int32 positions, the largest first unless ascending."""
    return _ordered(a.tensor("x"), a.integer("axis"), ascending=a.flag("ascending"))[1]


@operation("non_zero", required="x")
def non_zero(a: Arguments) -> torch.Tensor:
    """iOS15.tensor_operation.non_zero: positions as rows, int32 [count, rank]."""
    return a.tensor("x").nonzero()


@operation(
    "one_hot",
    required="indices one_hot_vector_size",
    optional={"axis": -1, "on_value": 1, "off_value": 0},
)
def one_hot(a: Arguments) -> torch.Tensor:
    """iOS15.tensor_operation.one_hot; an index outside the vector leaves all of it off_value."""
    indices, size = a.tensor("indices"), a.integer("one_hot_vector_size")
    axis = a.integer("axis") % (indices.dim() + 1)
    places = torch.arange(size).reshape([size, *[1] * (indices.dim() - axis)])
    given = [a.optional_tensor(name) for name in ("on_value", "off_value")]
    dtype = next((value.dtype for value in given if value is not None), torch.int32)
    on, off = (torch.tensor(a.number(name)).to(dtype) for name in ("on_value", "off_value"))
    return torch.where(indices.unsqueeze(axis) == places, on, off)
