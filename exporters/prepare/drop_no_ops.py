"""Drop calls that give back what they are given: alias, detach, clone, views of the same shape.

A converter without strides has no use for what only changes them (clone, contiguous).
"""

from __future__ import annotations

import torch
from torch import fx

from exporters.prepare.editing import is_call, shape_of

__all__ = ["rewrite"]

aten = torch.ops.aten
_ALWAYS = (
    aten.alias.default,
    aten.clone.default,
    aten.contiguous.default,
    aten.detach.default,
    aten.detach_.default,
    aten.dropout.default,
    aten.lift_fresh_copy.default,
)
_SAME_SHAPE = (
    aten.expand.default,
    aten.reshape.default,
    aten.squeeze.dim,
    aten.view.default,
)
_SAME_TYPE = (aten.to.dtype, aten._to_copy.default)


def rewrite(graph: fx.GraphModule) -> int:
    """Number of calls dropped."""
    sites = 0
    for node in list(graph.graph.nodes):
        if is_call(node, aten.view.default, aten._unsafe_view.default):
            node.target = aten.reshape.default  # what made its input contiguous may go
        if _changes_nothing(node):
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
            sites += 1
    return sites


def _changes_nothing(node: fx.Node) -> bool:
    if is_call(node, *_ALWAYS):
        return True
    if is_call(node, *_SAME_SHAPE):
        return shape_of(node) == shape_of(node.args[0])  # type: ignore[arg-type]  # a view's first argument is a node
    if is_call(node, *_SAME_TYPE):
        return bool(node.meta["val"].dtype == node.args[0].meta["val"].dtype)  # type: ignore[union-attr]  # likewise
    return False
