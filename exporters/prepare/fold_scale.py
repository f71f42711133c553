"""Fold a multiplication by a number into the linear or convolution before it.

Attention scales its queries; after the projections are split the scale belongs to the rows of one
of them. Reshapes and permutes in between do not matter to a single number.
"""

from __future__ import annotations

import torch
from torch import fx

from exporters.prepare.editing import Editor, is_call, weight_of

__all__ = ["rewrite"]

aten = torch.ops.aten
_PROJECTIONS = (aten.linear.default, aten.conv2d.default)
_MOVES = (aten.reshape.default, aten.permute.default)


def rewrite(graph: fx.GraphModule) -> int:
    """Number of multiplications folded."""
    sites = 0
    for node in list(graph.graph.nodes):
        if is_call(node, aten.mul.Tensor, aten.div.Tensor):
            sites += _fold(graph, node)
    return sites


def _fold(graph: fx.GraphModule, node: fx.Node) -> int:
    value, number = node.args[:2]
    scale = _number(graph, number)
    if scale is None or not isinstance(value, fx.Node):
        return 0
    projection = value
    while is_call(projection, *_MOVES) and len(projection.users) == 1:
        projection = projection.args[0]  # type: ignore[assignment]  # a node
    if not is_call(projection, *_PROJECTIONS) or len(projection.users) > 1:
        return 0
    if weight_of(graph, projection.args[1]) is None:
        return 0
    scale = 1 / scale if is_call(node, aten.div.Tensor) else scale
    edit = Editor(graph, projection)
    arguments = list(projection.args)
    for place, hint in ((1, "scaled"), (2, "scaled_bias")):
        tensor = weight_of(graph, arguments[place]) if len(arguments) > place else None
        if tensor is not None:
            arguments[place] = edit.constant(hint, tensor * scale)
    projection.args = tuple(arguments)
    Editor(graph, node).replace(value)
    return 1


def _number(graph: fx.GraphModule, value: object) -> float | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) or None
    tensor = weight_of(graph, value)
    if tensor is None or tensor.numel() != 1 or tensor.ndim > 0:
        return None
    return float(tensor) or None
