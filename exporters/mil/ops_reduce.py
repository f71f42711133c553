"""MIL reductions: iOS15.reduction, and cumsum.

https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
"""

from __future__ import annotations

from collections.abc import Callable

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
        x = a.tensor("x")
        return function(x, a.optional_integers("axes", list(range(x.dim()))), a.flag("keep_dims"))


for _name, _function in REDUCTIONS.items():
    _register(_name, _function)


def _register_arg(name: str, function: Callable[..., torch.Tensor]) -> None:
    @operation(
        name, required="x", optional={"axis": -1, "keep_dims": False, "output_dtype": "int32"}
    )
    def position(a: Arguments) -> torch.Tensor:
        """iOS17.reduction: output_dtype is int32 or uint16, which are carried alike."""
        if a.text("output_dtype") not in {"int32", "uint16"}:
            raise ValueError(f"output_dtype {a.text('output_dtype')!r} is unknown")
        return function(a.tensor("x"), a.integer("axis"), keepdim=a.flag("keep_dims"))


_register_arg("reduce_argmax", torch.argmax)
_register_arg("reduce_argmin", torch.argmin)


@operation("cumsum", required="x", optional={"axis": 0, "exclusive": False, "reverse": False})
def cumsum(a: Arguments) -> torch.Tensor:
    """iOS15.tensor_operation.cumsum; exclusive leaves out the element itself."""
    x, axis = a.tensor("x"), a.integer("axis")
    if a.flag("reverse"):
        x = x.flip(axis)
    total = x.cumsum(axis)
    if a.flag("exclusive"):
        total = total - x
    return total.flip(axis) if a.flag("reverse") else total
