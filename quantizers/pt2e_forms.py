"""Exact rewrites of a float graph into operators that XNNPACK has in integers.

Each keeps the value of what it replaces to the last bits of float32.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from torch import fx

__all__ = ["Renamed", "constant", "tensor_of", "to_integer_forms"]

_INFERENCE_NORM = "aten._native_batch_norm_legit_no_training.default"
# Name that a value had -> the node that has the value now; None if it is no longer computed.
Renamed = dict[str, "fx.Node | None"]


def to_integer_forms(module: fx.GraphModule) -> Renamed:
    """Rewrite in place; what became of the values that are no longer under their own name."""
    renamed: Renamed = {}
    rewrites = _rewrites()
    for node in list(module.graph.nodes):
        if node.op != "call_function" or str(node.target) not in rewrites:
            continue
        with module.graph.inserting_before(node):
            made = rewrites[str(node.target)](module, node, renamed)
        if made is not None:
            _replace(module.graph, node, made, renamed)
    module.graph.eliminate_dead_code()
    return renamed


def tensor_of(module: fx.GraphModule, node: Any) -> Any:
    """The tensor that a `get_attr` node reads, detached; None for anything else."""
    if getattr(node, "op", "") != "get_attr":
        return None
    return operator.attrgetter(str(node.target))(module).detach()


def constant(module: fx.GraphModule, hint: str, value: Any, like: fx.Node) -> fx.Node:
    """`value` as a buffer called after `hint`, read at the graph's insertion point."""
    index = 0
    while hasattr(module, f"quantized_{hint}_{index}"):
        index += 1
    name = f"quantized_{hint}_{index}"
    module.register_buffer(name, value)
    node = module.graph.get_attr(name)
    node.meta["val"] = like.meta["val"].fake_mode.from_tensor(value, static_shapes=True)
    return node


def _rewrites() -> dict[str, Callable[[fx.GraphModule, fx.Node, Renamed], fx.Node | None]]:
    return {
        "aten.dropout.default": _identity,
        "aten.batch_norm.default": _batch_norm,
        _INFERENCE_NORM: _batch_norm,
        "aten.pad.default": _pad,
        "aten.constant_pad_nd.default": _pad,
        "aten.silu.default": _silu,
        "aten.hardsigmoid.default": _hard_sigmoid,
        "aten.relu6.default": _clamp,
        "aten.clamp.default": _clamp,
        "aten.mean.dim": _mean,
        "aten.add.Tensor": _scalar_operand,
        "aten.sub.Tensor": _scalar_operand,
        "aten.mul.Tensor": _scalar_operand,
    }


def _replace(graph: fx.Graph, node: fx.Node, made: fx.Node, renamed: Renamed) -> None:
    result, users = node, list(node.users)
    if str(node.target) == _INFERENCE_NORM:  # three values, of which the first is the output
        result = next(user for user in users if user.args[1] == 0)
    for name, known in renamed.items():
        if known is result:
            renamed[name] = made
    renamed[result.name] = made
    result.replace_all_uses_with(made)
    if result is not node:
        for user in users:
            graph.erase_node(user)
    graph.erase_node(node)


def _call(module: fx.GraphModule, at: fx.Node, target: Any, *args: Any) -> fx.Node:
    """A call with its value computed on fake tensors; provenance is that of `at`."""
    from torch import fx

    node = module.graph.call_function(target, args)
    given = fx.node.map_arg(args, lambda n: n.meta["val"])
    node.meta = {key: value for key, value in at.meta.items() if key != "val"}
    with at.meta["val"].fake_mode:
        node.meta["val"] = target(*given)
    return node


def _identity(_module: fx.GraphModule, node: fx.Node, _renamed: Renamed) -> fx.Node:
    return node.all_input_nodes[0]


def _batch_norm(module: fx.GraphModule, node: fx.Node, renamed: Renamed) -> fx.Node | None:
    """Folded into the convolution before it, which only it reads.

    Jacob et al., section 3.2, https://arxiv.org/abs/1712.05877.
    """
    from torch.nn.utils.fusion import fuse_conv_bn_weights

    source: Any = node.args[0]
    if str(source.target) not in ("aten.conv2d.default", "aten.conv1d.default"):
        return None
    weight, *rest = (tensor_of(module, value) for value in (source.args[1], *node.args[1:5]))
    scale, shift, mean, variance = rest
    if len(source.users) != 1 or weight is None or mean is None or variance is None:
        return None
    eps: Any = node.args[6 if str(node.target) == _INFERENCE_NORM else 7]
    bias = tensor_of(module, source.args[2]) if len(source.args) > 2 else None
    fused = fuse_conv_bn_weights(weight, bias, mean, variance, eps, scale, shift)
    with module.graph.inserting_before(source):
        made = [constant(module, "folded", value.detach(), source) for value in fused]
    source.args = (source.args[0], *made, *source.args[3:])
    renamed[source.name] = None
    return cast("fx.Node", source)


def _pad(_module: fx.GraphModule, node: fx.Node, renamed: Renamed) -> None:
    """Equal zeros on both sides become the padding of the convolution that reads them."""
    around: Any = node.args[1]
    left, right, top, bottom, *more = (*around, 0, 0)[: max(4, len(around))]
    zeros = all(item in ("constant", None, 0) for item in (*more, *node.args[2:]))
    even = left == right and top == bottom and min(left, top) >= 0
    kernel = next(iter(node.users))
    if len(node.users) != 1 or str(kernel.target) != "aten.conv2d.default" or not (zeros and even):
        return
    defaults = (None, None, None, [1, 1], [0, 0])
    given: list[Any] = [*kernel.args, *defaults[len(kernel.args) :]]
    rows, columns = given[4] if len(given[4]) == 2 else given[4] * 2
    given[0], given[4] = node.args[0], [rows + top, columns + left]
    kernel.args = tuple(given)
    renamed[node.name] = None


def _silu(module: fx.GraphModule, node: fx.Node, _renamed: Renamed) -> fx.Node:
    import torch

    source = node.args[0]
    gate = _call(module, node, torch.ops.aten.sigmoid.default, source)
    return _call(module, node, torch.ops.aten.mul.Tensor, source, gate)


def _hard_sigmoid(module: fx.GraphModule, node: fx.Node, _renamed: Renamed) -> fx.Node:
    import torch

    aten, rank = torch.ops.aten, node.meta["val"].ndim
    three, sixth = (
        constant(module, "hard_sigmoid", torch.full((1,) * rank, value), node)
        for value in (3.0, 1 / 6)
    )
    shifted = _call(module, node, aten.add.Tensor, node.args[0], three)
    bounded = _call(module, node, aten.hardtanh.default, shifted, 0.0, 6.0)
    return _call(module, node, aten.mul.Tensor, bounded, sixth)


def _clamp(module: fx.GraphModule, node: fx.Node, _renamed: Renamed) -> fx.Node | None:
    """As the two forms that XNNPACK fuses into what comes before."""
    import torch

    aten = torch.ops.aten
    source, low, high = (*node.args, None, None)[:3]
    if str(node.target) == "aten.relu6.default":
        low, high = 0.0, 6.0
    if low == 0 and high is None:
        return _call(module, node, aten.relu.default, source)
    if isinstance(low, (int, float)) and isinstance(high, (int, float)):
        return _call(module, node, aten.hardtanh.default, source, float(low), float(high))
    return None


def _mean(module: fx.GraphModule, node: fx.Node, _renamed: Renamed) -> fx.Node | None:
    """A mean over the picture keeps its axes, which are taken away after it."""
    import torch

    source, axes, *keep = node.args
    rank = source.meta["val"].ndim  # type: ignore[union-attr]  # a node
    over = sorted(axis % rank for axis in axes)  # type: ignore[union-attr]  # numbers
    if rank != 4 or over != [2, 3] or any(keep) or node.kwargs:
        return None
    kept = _call(module, node, torch.ops.aten.mean.dim, source, [2, 3], True)
    return _call(module, node, torch.ops.aten.flatten.using_ints, kept, 1)


def _scalar_operand(module: fx.GraphModule, node: fx.Node, _renamed: Renamed) -> None:
    """A number as an operand becomes a constant, which can be quantized."""
    import torch

    first, second = node.args[:2]
    value = node.meta["val"]
    if isinstance(second, (int, float)) and not node.kwargs and value.dtype == torch.float32:
        number = torch.full((1,) * value.ndim, float(second))
        node.args = (first, constant(module, "number", number, node))
