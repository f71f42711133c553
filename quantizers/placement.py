"""Which values of a network are integers when its activations are quantized statically.

The inputs and outputs of the operators that compute in integers. An activation function that
runtimes fuse into the operator before it (ReLU, ReLU6) bounds that operator's output, so that it is
the one that is quantized; values that were only reshaped share the range of what they were made of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from quantizers.plan import Range

if TYPE_CHECKING:
    from torch import fx

__all__ = ["carried", "integer_values", "result_of"]

_COMPUTED = frozenset(
    f"aten.{name}"
    for name in (
        "conv1d.default", "conv2d.default", "linear.default", "matmul.default", "bmm.default",
        "add.Tensor", "sub.Tensor", "mul.Tensor", "cat.default", "mean.dim",
        "adaptive_avg_pool2d.default", "avg_pool2d.default", "max_pool2d.default",
    )
)  # fmt: skip
_FUSED = frozenset(f"aten.{name}.default" for name in ("relu", "relu6", "hardtanh", "clamp"))
_RESHAPED = frozenset(
    f"aten.{name}"
    for name in (
        "view.default", "reshape.default", "flatten.using_ints", "permute.default",
        "transpose.int", "unsqueeze.default", "squeeze.dim", "squeeze.dims", "squeeze.default",
        "expand.default", "slice.Tensor", "select.int", "split_with_sizes.default",
        "split.Tensor", "chunk.default", "unbind.int", "pad.default", "constant_pad_nd.default",
        "dropout.default", "clone.default", "contiguous.default", "alias.default",
        "max_pool2d.default", "pixel_shuffle.default",
    )
)  # fmt: skip


def integer_values(graph: fx.GraphModule) -> list[str]:
    """Names of the values that get a range, in the graph's order: floats, no indices."""
    chosen = {
        value
        for node in graph.graph.nodes
        if str(node.target) in _COMPUTED
        for value in (result_of(node), *_operands(node))
    }
    return [node.name for node in graph.graph.nodes if node in chosen and _is_float(node)]


def carried(graph: fx.GraphModule, ranges: Mapping[str, Range]) -> dict[str, Range]:
    """`ranges`, and those of the values that are only moved, which are the same integers.

    For formats in which whatever reads a value wants it dequantized just before.
    """
    found = dict(ranges)
    for node in graph.graph.nodes:
        if node.name not in found and _moves(node):
            source = node.all_input_nodes[0].name
            found |= {node.name: found[source]} if source in found else {}
    return {n.name: found[n.name] for n in graph.graph.nodes if n.name in found and _is_float(n)}


def result_of(node: fx.Node) -> fx.Node:
    """The value that a computing operator leaves: behind the activation that runtimes fuse."""
    users = list(node.users)
    fused = len(users) == 1 and str(users[0].target) in _FUSED
    return _origin(users[0] if fused else node)


def _moves(node: fx.Node) -> bool:
    """Is its result elements of its input, and maybe zeros?"""
    import operator

    padded = "pad" in str(node.target) and any(isinstance(a, float) and a for a in node.args)
    return (str(node.target) in _RESHAPED or node.target is operator.getitem) and not padded


def _operands(node: fx.Node) -> Iterator[fx.Node]:
    for value in node.all_input_nodes:
        origin = _origin(value)
        if origin.op != "get_attr" and _is_float(origin):
            yield origin


def _origin(node: fx.Node) -> fx.Node:
    """The value that `node` is a part or another shape of."""
    import operator

    while str(node.target) in _RESHAPED or node.target is operator.getitem:
        node = node.all_input_nodes[0]
    return node


def _is_float(node: fx.Node) -> bool:
    value: Any = node.meta.get("val")
    return bool(getattr(value, "is_floating_point", lambda: False)())
