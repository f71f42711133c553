"""Static activation ranges as quantize and dequantize operators in a flat `torch.fx` graph.

What comes out computes the fake-quantized network: the reference that files with static ranges
should equal, and a program that converters turn into their own quantized operators.
https://docs.pytorch.org/docs/stable/quantization-accuracy-debugging.html; affine integers:
Jacob et al., https://arxiv.org/abs/1712.05877.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from headtail.errors import ConversionFailed, UnknownName, UsageFault
from quantizers.plan import Plan, Range

if TYPE_CHECKING:
    from torch import Tensor, fx

__all__ = ["LIMITS", "affine", "fake_quantized", "part_of", "reference_graph", "with_ranges"]

_Steps = tuple[float, int, int, int]  # scale, zero point, lowest and highest integer
_Rounded = Callable[["fx.Node", _Steps], "fx.Node"]

# Lowest and highest integer; those of 16 bits are symmetric.
LIMITS = {"i8": (-128, 127), "i16": (-32767, 32767)}


def affine(found: Range, dtype: str = "i8") -> tuple[float, int]:
    """Scale (a float32 value) and zero point of integers that reach from `low` to `high`.

    `i8`: asymmetric, 255 steps; `i16`: symmetric, as LiteRT's kernels with 16-bit activations want
    it. A range of no width, that of a value which is always zero, gets the scale 1.
    """
    if not found.low <= 0.0 <= found.high:
        raise UsageFault(
            f"A range reaches from {found.low:g} to {found.high:g}.",
            expected="Zero lies inside, so that padding and ReLU are exact.",
            remedy="Widen the range to zero, or measure it again if a bound is not a number.",
        )
    if dtype == "i16":
        return float(np.float32(max(-found.low, found.high) / 32767)) or 1.0, 0
    scale = float(np.float32((found.high - found.low) / 255)) or 1.0
    return scale, max(-128, min(127, round(-128 - found.low / scale)))


def with_ranges(
    graph: fx.GraphModule, ranges: Mapping[str, Range], *, dtype: str = "i8"
) -> fx.GraphModule:
    """A copy of `graph` in which whoever reads a named value reads it quantized and dequantized.

    Keys of `ranges` are names of placeholders or calls with a float32 result, `dtype` is `i8` or
    `i16`. Weights are shared with `graph`, names and metadata kept; the calls that are added are
    named `<value>_quantized` and `<value>_dequantized`. What is named must be what should be
    rounded: the ReLU6 after a convolution, not the convolution. Raises `UnknownName` for a name or
    dtype that does not exist, and `UsageFault` for a value that is not float32.
    """
    from torch.ao.quantization.fx import _decomposed  # noqa: F401  # registers the operators

    return _rewired(graph, ranges, dtype, _as_operators)


def reference_graph(graph: fx.GraphModule, plan: Plan) -> fx.GraphModule:
    """What a file made by `plan` should equal, run by PyTorch in float32.

    `graph` is the plan's float program. Values are rounded by the definition, x / scale; torch's
    own operators multiply by 1 / scale, which falls on the other side of some halves. Raises
    `ConversionFailed` if a weight of it is not what the plan says: then it is another program, and
    nothing that is measured against it means anything.
    """
    for name, grid in plan.grids.items():
        held = _tensor(graph, name)
        if not np.array_equal(held, grid.values()):
            raise ConversionFailed(
                f"Weight {name!r} is not on its grid ({grid.storage}).",
                expected="The program's weights are exactly the values of the plan's grids.",
                remedy="Pass the program that the plan was solved with.",
            )
    if plan.recipe.activation_mode != "static":
        return graph
    return _rewired(graph, plan.ranges, plan.recipe.activations, _as_definition)


def part_of(plan: Plan, graph: fx.GraphModule, *, whole: bool = False) -> Plan:
    """`plan` for a head: the grids of the weights and the ranges of the values that `graph` has.

    `whole`: `graph` is no head, and raises `ConversionFailed` if it lacks anything of the plan.
    """
    names = {node.name for node in graph.graph.nodes}
    weights = {str(node.target) for node in graph.graph.nodes if node.op == "get_attr"}
    grids = {name: grid for name, grid in plan.grids.items() if name in weights}
    ranges = {name: found for name, found in plan.ranges.items() if name in names}
    lost = [name for name in (*plan.grids, *plan.ranges) if name not in {**grids, **ranges}]
    if whole and lost:
        raise ConversionFailed(
            f"{len(lost)} weights and values of {plan.recipe.name} are not in the program that is "
            f"converted, the first is {lost[0]!r}.",
            expected="Rewrites for a format keep the names that a plan is about.",
            remedy="Leave out the rewrite that changed it, or solve for the program it makes.",
        )
    return replace(plan, grids=grids, ranges=ranges)


def _rewired(
    graph: fx.GraphModule, ranges: Mapping[str, Range], dtype: str, rounded: _Rounded
) -> fx.GraphModule:
    """A copy of `graph` whose named values are read through what `rounded` puts behind them."""
    import torch
    from torch import fx

    if dtype not in LIMITS:
        raise UnknownName("dtype of static activations", dtype, LIMITS)
    copied = copy.deepcopy(graph.graph)  # names stay, tensors are not in it
    named = {n.name: n for n in copied.nodes if n.op in ("placeholder", "call_function")}
    for name, found in ranges.items():
        if name not in named:
            raise UnknownName("value of the graph", name, named)
        node = named[name]
        _check_float(node, torch.float32)
        readers = list(node.users)
        with copied.inserting_after(_last_placeholder(node)):
            read = rounded(node, (*affine(found, dtype), *LIMITS[dtype]))
        for reader in readers:
            reader.replace_input_with(node, read)
    return fx.GraphModule(graph, copied)


def _as_operators(node: fx.Node, steps: _Steps) -> fx.Node:
    import torch

    operators = torch.ops.quantized_decomposed
    dtype = torch.int8 if steps[2] == LIMITS["i8"][0] else torch.int16
    quantize, dequantize = (
        getattr(operators, name).default
        for name in ("quantize_per_tensor", "dequantize_per_tensor")
    )
    integers = _call(quantize, (node, *steps, dtype), f"{node.name}_quantized")
    value = node.meta["val"]
    integers.meta = node.meta | {"val": value.new_empty(value.shape, dtype=dtype)}
    with node.graph.inserting_after(integers):
        read = _call(dequantize, (integers, *steps, dtype), f"{node.name}_dequantized")
    read.meta = dict(node.meta)
    return read


def _as_definition(node: fx.Node, steps: _Steps) -> fx.Node:
    read = _call(fake_quantized, (node, *steps), f"{node.name}_dequantized")
    read.meta = dict(node.meta)
    return read


def fake_quantized(value: Tensor, scale: float, zero_point: int, low: int, high: int) -> Tensor:
    """A float32 value of any shape as affine integers from `low` to `high` hold it."""
    integers = (value / scale).round().add(zero_point).clamp(low, high)
    return (integers - zero_point) * scale


def _call(target: Callable[..., Any], args: tuple[Any, ...], name: str) -> fx.Node:
    node: fx.Node = args[0]
    return node.graph.create_node("call_function", target, args, name=name)


def _last_placeholder(node: fx.Node) -> fx.Node:
    """Where a call on `node` may stand: inputs come before every call."""
    while node.op == "placeholder" and node.next.op == "placeholder":
        node = node.next
    return node


def _check_float(node: fx.Node, float32: Any) -> None:
    value = node.meta.get("val")
    if getattr(value, "dtype", None) is not float32:
        kind = getattr(value, "dtype", type(value).__name__)
        raise UsageFault(
            f"Value {node.name!r} is {str(kind).removeprefix('torch.')}.",
            expected="Only float32 values are quantized.",
            remedy="Leave it out of the ranges.",
        )


def _tensor(graph: fx.GraphModule, name: str) -> Any:
    value: Any = graph
    for part in name.split("."):
        if not hasattr(value, part):
            known = [str(node.target) for node in graph.graph.nodes if node.op == "get_attr"]
            raise UnknownName("weight", name, known)
        value = getattr(value, part)
    return value.detach().cpu().numpy()
