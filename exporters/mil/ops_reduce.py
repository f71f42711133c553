"""MIL reductions: iOS15.reduction, and cumsum.

https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from exporters.mil.optable import Arguments, operation

Reduce = Callable[[torch.Tensor, list[int], bool], torch.Tensor]


def _product(x: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
    for axis in sorted((axis % x.dim() for axis in axes), reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


# iOS15.reduction: over `axes` (all by default); the axes stay with size 1 if keep_dims.
REDUCTIONS: dict[str, Reduce] = {
    "reduce_l1_norm": lambda x, axes, keep: x.abs().sum(axes, keepdim=keep),
    "reduce_l2_norm": lambda x, axes, keep: x.square().sum(axes, keepdim=keep).sqrt(),
    "reduce_log_sum": lambda x, axes, keep: x.sum(axes, keepdim=keep).log(),
    "reduce_log_sum_exp": lambda x, axes, keep: x.logsumexp(axes, keepdim=keep),
    "reduce_max": lambda x, axes, keep: x.amax(axes, keepdim=keep),
    "reduce_mean": lambda x, axes, keep: x.mean(axes, keepdim=keep),
    "reduce_min": lambda x, axes, keep: x.amin(axes, keepdim=keep),
    "reduce_prod": _product,
    "reduce_sum": lambda x, axes, keep: x.sum(axes, keepdim=keep),
    "reduce_sum_square": lambda x, axes, keep: x.square().sum(axes, keepdim=keep),
}


def _register(name: str, function: Reduce) -> None:
    @operation(name, required="x", optional={"axes": None, "keep_dims": False})
    def reduction(a: Arguments) -> torch.Tensor:
        x, keep = a.tensor("x"), a.flag("keep_dims")
        axes = a.optional_integers("axes", list(range(x.dim())))
        if not axes:  # torch takes no axes for all of them
            x, axes, keep = x.unsqueeze(0), [0], False
        if x.is_floating_point():
            return function(x, axes, keep)
        return function(x.double(), axes, keep).to(x.dtype)  # fractions are dropped


for _name, _function in REDUCTIONS.items():
    _register(_name, _function)


def _register_arg(name: str, function: Callable[..., Any]) -> None:
    @operation(
        name, required="x", optional={"axis": -1, "keep_dims": False, "output_dtype": "int32"}
    )
    def position(a: Arguments) -> torch.Tensor:
        """iOS17.reduction: output_dtype is int32 or uint16, which are carried alike."""
        if a.text("output_dtype") not in {"int32", "uint16"}:
            raise ValueError(f"output_dtype {a.text('output_dtype')!r} is unknown")
        axis = a.integer("axis")  # of equal elements the first one counts, as in numpy
        place = function(a.tensor("x").numpy(), axis=axis, keepdims=a.flag("keep_dims"))
        return torch.from_numpy(np.asarray(place))


_register_arg("reduce_argmax", np.argmax)
_register_arg("reduce_argmin", np.argmin)


@operation("cumsum", required="x", optional={"axis": 0, "exclusive": False, "reverse": False})
def cumsum(a: Arguments) -> torch.Tensor:
    """iOS15.tensor_operation.cumsum; exclusive leaves out the element itself."""
    x, axis = a.tensor("x"), a.integer("axis")
    if a.flag("reverse"):
        x = x.flip(axis)
    if a.flag("exclusive") and x.shape[axis]:
        first = x.narrow(axis, 0, 1)
        x = torch.cat([torch.zeros_like(first), x.narrow(axis, 0, x.shape[axis] - 1)], axis)
    total = x.cumsum(axis)
    return total.flip(axis) if a.flag("reverse") else total
