"""Integer weights where activations stay floating point, or get their ranges at run time.

A layer that XNNPACK cannot compute so keeps its weight in float32 (on the plan's grid all the
same): kernels larger than one pixel with float activations, depthwise ones with dynamic ranges. The
audit of the file counts them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quantizers.plan import Grid, Plan
from quantizers.pt2e_forms import Renamed, constant, tensor_of
from quantizers.pt2e_values import LAYERS
from quantizers.pt2e_weights import grid_of, store
from quantizers.pt2e_xnnpack import is_pointwise

if TYPE_CHECKING:
    from torch import fx

__all__ = ["quantize_dynamic", "quantize_weights"]

_CHANNELS_LAST = ("aten.conv2d.default", "aten.max_pool2d.default", "aten.mean.dim")
_ANY_LAYOUT = frozenset(
    f"aten.{name}"
    for name in (
        "relu.default", "hardtanh.default", "hardswish.default", "sigmoid.default", "pad.default",
        "mul.Tensor", "add.Tensor", "adaptive_avg_pool2d.default", "gelu.default",
    )
)  # fmt: skip
_LINEAR, _CONVOLUTION = "aten.linear.default", "aten.conv2d.default"


def quantize_weights(module: fx.GraphModule, plan: Plan, renamed: Renamed) -> None:
    """Store weights as integers, in place; `renamed` hears of values that others have now."""
    for layer, grid in _layers(module, plan, dynamic=False):
        store(module, layer, grid)
        if len(layer.args) > 2 and layer.args[2] is not None:
            renamed[layer.name] = _add_bias(module, layer)
    module.graph.lint()
    module.recompile()


def quantize_dynamic(module: fx.GraphModule, plan: Plan) -> None:
    """Store weights as integers and quantize the inputs of these layers at run time, in place.

    A linear layer takes the range of each row of its input, a convolution that of the picture.
    """
    inputs: dict[tuple[fx.Node, str], tuple[Any, ...]] = {}
    for layer, grid in _layers(module, plan, dynamic=True):
        store(module, layer, grid)
        _quantize_input(module.graph, layer, inputs)
    module.graph.lint()
    module.recompile()


def _layers(module: fx.GraphModule, plan: Plan, *, dynamic: bool) -> list[tuple[fx.Node, Grid]]:
    layers = [node for node in module.graph.nodes if str(node.target) in LAYERS]
    grids = [(layer, grid_of(module, layer, plan)) for layer in layers]
    return [(n, g) for n, g in grids if g is not None and _computes(n, g, dynamic=dynamic)]


def _computes(layer: fx.Node, grid: Grid, *, dynamic: bool) -> bool:
    """Has XNNPACK a kernel for the layer with such weights?"""
    if grid.storage.block or grid.storage.dtype not in ("i8", "i4"):
        return False
    if str(layer.target) == _LINEAR:
        return True
    if str(layer.target) != _CONVOLUTION:
        return False
    defaults = (None, None, None, [1, 1], [0, 0], [1, 1], 1)
    given: Any = (*layer.args, *defaults[len(layer.args) :])
    if dynamic:
        # one input channel per group is depthwise to executorch: a stem of grey pictures is too
        spread = given[6] == 1 and grid.levels.shape[1] > 1
        return spread and grid.storage.dtype == "i8" and _has_its_layout(given[0])
    return is_pointwise(grid.levels.shape, given[3], given[4], given[6])


def _has_its_layout(source: fx.Node) -> bool:
    """Is it the network's input, or made by operators that leave pixels channels-last?

    Else executorch 1.5.1 changes the layout of some value far before `source`, and the file fails
    when it runs (`input_to_nhwc` in backends/xnnpack/_passes/channels_last_tagged_reshape_pass.py).
    """
    if source.op == "placeholder":
        return True
    while source.op == "call_function" and str(source.target) not in _CHANNELS_LAST:
        if str(source.target) not in _ANY_LAYOUT:
            return False
        source = source.all_input_nodes[0]
    return source.op == "call_function"


def _add_bias(module: fx.GraphModule, layer: fx.Node) -> fx.Node:
    """Add the bias behind the layer: XNNPACK's kernels for float activations and integer weights
    would multiply it by the weight's scale. What has the layer's value now."""
    import torch

    bias = tensor_of(module, layer.args[2])
    if str(layer.target) == _CONVOLUTION:
        bias = bias.reshape(1, -1, 1, 1)
    layer.update_arg(2, None)
    with module.graph.inserting_after(layer):
        added = module.graph.call_function(torch.ops.aten.add.Tensor, (layer,))
    added.meta = dict(layer.meta)
    layer.replace_all_uses_with(added)
    with module.graph.inserting_before(added):
        added.args = (layer, constant(module, "bias", bias, layer))
    return added


def _quantize_input(
    graph: fx.Graph, layer: fx.Node, inputs: dict[tuple[fx.Node, str], tuple[Any, ...]]
) -> None:
    source = layer.all_input_nodes[0]
    key = (source, str(layer.target))
    if key not in inputs:
        after = source
        while after.op == "placeholder" and after.next.op == "placeholder":
            after = after.next
        with graph.inserting_before(after.next):
            inputs[key] = _rounded(graph, source, by_row=str(layer.target) == _LINEAR)
    target, arguments = inputs[key]
    with graph.inserting_before(layer):
        read = graph.call_function(target, arguments)
    read.meta["val"] = source.meta["val"]
    layer.replace_input_with(source, read)


def _rounded(graph: fx.Graph, source: fx.Node, *, by_row: bool) -> tuple[Any, ...]:
    """What dequantizes `source` after its integers were made: an operator and its arguments."""
    import operator

    import torch

    operators, limits = torch.ops.quantized_decomposed, (-128, 127)
    asked: tuple[Any, ...] = (source, torch.int8)
    choose = operators.choose_qparams_per_token_asymmetric.default
    if not by_row:
        asked = (source, *limits, torch.finfo(torch.float32).eps, torch.int8)
        choose = operators.choose_qparams.tensor
    chosen = graph.call_function(choose, asked)
    steps = [graph.call_function(operator.getitem, (chosen, index)) for index in (0, 1)]
    given: tuple[Any, ...] = (*steps, *limits, torch.int8)
    if by_row:
        integers = graph.call_function(operators.quantize_per_token.default, (source, *given))
        return operators.dequantize_per_token.default, (integers, *given, torch.float32)
    integers = graph.call_function(operators.quantize_per_tensor.tensor, (source, *given))
    return operators.dequantize_per_tensor.tensor, (integers, *given)
