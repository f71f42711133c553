"""Static quantization in PT2E's representation: quantize and dequantize operators around floats.

https://docs.pytorch.org/ao/stable/pt2e_quantization/index.html says what the pairs mean. They are
placed here and not by executorch's `XNNPACKQuantizer`, which keeps 63 % of EfficientNet-Lite0's
answers on 256 photo crops (benchmarks/quant.py): it gives ReLU6 networks the range from before the
bound (only ReLU is fused), lets no scale be smaller than 2^-12 (channels with small weights lose
all their levels), and leaves hard swish and its like in float.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from headtail.errors import ConversionFailed
from headtail.tensors import Array
from quantizers.plan import Grid, Plan, Range
from quantizers.pt2e_forms import Renamed, constant, tensor_of
from quantizers.pt2e_values import LAYERS, Placement, is_padding, place
from quantizers.pt2e_weights import grid_of, store, store_bias, widened
from quantizers.static_graph import affine

if TYPE_CHECKING:
    from torch import fx

__all__ = ["quantize_static"]

_LIMITS = (-128, 127)
_HARD_SWISH = "aten.hardswish.default"


def quantize_static(
    module: fx.GraphModule,
    plan: Plan,
    calibration: Sequence[Sequence[Array]],
    *,
    renamed: Renamed,
) -> set[str]:
    """Quantize in place, with ranges of the plan or measured on `calibration`.

    Returns the names of the ranges that were used. `renamed`: what the module's rewrites made of
    values that the plan may name.
    """
    layers = [node for node in module.graph.nodes if str(node.target) in LAYERS]
    grids = {node: grid_of(module, node, plan) for node in layers}
    placement = place(module.graph, quantized=lambda node: grids[node] is not None)
    given = _by_node(module, plan.ranges, renamed)
    wanted = dict.fromkeys([*placement.integers.values(), *(v for v, _ in placement.reads)])
    missing = [node for node in wanted if node not in given]
    ranges = {node: given[node] for node in wanted if node in given}
    ranges |= _measured(module, missing, calibration)
    _clip(placement, ranges)
    for layer, grid in grids.items():
        if grid is not None:
            _quantize_weight(module, layer, grid, _input_scale(layer, placement, ranges))
    for value, leader in placement.integers.items():
        _insert(module, value, list(value.users), ranges[leader])
    for value, reader in placement.reads:
        leader = placement.integers[reader] if "cat" in str(reader.target) else value
        _insert(module, value, [reader], ranges[leader])
    module.graph.lint()
    module.recompile()
    return {node.name for node in wanted if node in given}


def _by_node(
    module: fx.GraphModule, ranges: Mapping[str, Range], renamed: Renamed
) -> dict[fx.Node, Range]:
    nodes: dict[str, fx.Node | None] = {node.name: node for node in module.graph.nodes}
    nodes |= renamed
    unknown = sorted(set(ranges) - set(nodes))
    if unknown:
        raise ConversionFailed(
            f"The plan has ranges for {', '.join(unknown[:3])}, which the program does not compute "
            f"({len(unknown)} of {len(ranges)} names).",
            expected="A range is of a value of the program, by its name in the graph.",
            remedy="Quantize the program that the plan was made with.",
        )
    found = {nodes[name]: given for name, given in ranges.items()}
    return {node: given for node, given in found.items() if node is not None}


def _measured(
    module: fx.GraphModule, nodes: Iterable[fx.Node], calibration: Sequence[Sequence[Array]]
) -> dict[fx.Node, Range]:
    """Lowest and highest value over the samples, zero included."""
    import torch
    from torch import fx

    found = dict.fromkeys(nodes, Range(0.0, 0.0))

    class Meter(fx.Interpreter):
        def run_node(self, node: fx.Node) -> Any:
            value = super().run_node(node)
            if node in found:
                known, (low, high) = found[node], torch.aminmax(value)
                found[node] = Range(min(known.low, low.item()), max(known.high, high.item()))
            return value

    if found:
        for sample in calibration:
            Meter(module).run(*(torch.from_numpy(array) for array in sample))
    return found


def _clip(placement: Placement, ranges: dict[fx.Node, Range]) -> None:
    """Hard swish of anything below -3 is 0, so no level is spent there."""
    for value, leader in placement.integers.items():
        users = list(value.users)
        if len(users) == 1 and str(users[0].target) == _HARD_SWISH and leader is value:
            found = ranges[value]
            ranges[value] = Range(max(found.low, -3.0), found.high)


def _input_scale(layer: fx.Node, placement: Placement, ranges: Mapping[fx.Node, Range]) -> float:
    source = layer.all_input_nodes[0]
    source = source.all_input_nodes[0] if is_padding(source) else source
    return affine(ranges[placement.integers.get(source, source)])[0]


def _quantize_weight(
    module: fx.GraphModule, layer: fx.Node, grid: Grid, input_scale: float
) -> None:
    axis = LAYERS[str(layer.target)]
    bias = tensor_of(module, layer.args[2]) if len(layer.args) > 2 else None
    if bias is not None:
        grid = widened(grid, bias.numpy(), input_scale, axis=axis)
        store_bias(module, layer, bias, input_scale * grid.scale.reshape(-1).astype(np.float64))
    store(module, layer, grid)


def _insert(
    module: fx.GraphModule, value: fx.Node, readers: Sequence[fx.Node], found: Range
) -> None:
    """Every reader gets a dequantization of its own: XNNPACK fuses it into the reader."""
    import torch

    operators, graph = torch.ops.quantized_decomposed, module.graph
    steps = (*affine(found), *_LIMITS, torch.int8)
    held = tensor_of(module, value)
    after = value
    while after.op == "placeholder" and after.next.op == "placeholder":
        after = after.next
    with graph.inserting_after(after):
        if held is None:
            integers = graph.call_function(operators.quantize_per_tensor.default, (value, *steps))
            integers.meta = dict(value.meta)
        else:
            rounded = operators.quantize_per_tensor(held, *steps)
            integers = constant(module, "levels", rounded, value)
    for reader in readers:
        with graph.inserting_before(reader):
            read = graph.call_function(operators.dequantize_per_tensor.default, (integers, *steps))
        read.meta = dict(value.meta)
        reader.replace_input_with(value, read)
