"""Drop an expand that only elementwise operators read: they broadcast by themselves.

The copy is work on every target. LiteRT's converter moves transposes through an expand with the
wrong axes and then refuses the operator after it ("operands don't have broadcast-compatible
shapes"): MobileViTv2's separable attention, `relu(value) * context.expand_as(value)`.
https://docs.pytorch.org/docs/stable/notes/broadcasting.html
"""

from __future__ import annotations

import torch
from torch import fx

from exporters.prepare.editing import is_call, shape_of

__all__ = ["rewrite"]

aten = torch.ops.aten
_EXPANDS = (aten.expand.default, aten.expand_as.default)
_ELEMENTWISE = (
    aten.add.Tensor,
    aten.sub.Tensor,
    aten.mul.Tensor,
    aten.div.Tensor,
    aten.maximum.default,
    aten.minimum.default,
)


def rewrite(graph: fx.GraphModule) -> int:
    """Number of expands dropped."""
    sites = 0
    for node in list(graph.graph.nodes):
        if is_call(node, *_EXPANDS) and _implied(node):
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
            sites += 1
    return sites


def _implied(node: fx.Node) -> bool:
    """Whether each reader's other operand already has the sizes that the result has."""
    return bool(node.users) and all(_broadcasts(user, node) for user in node.users)


def _broadcasts(user: fx.Node, node: fx.Node) -> bool:
    if not is_call(user, *_ELEMENTWISE):
        return False
    others = [arg for arg in user.args[:2] if isinstance(arg, fx.Node) and arg is not node]
    return len(others) == 1 and shape_of(others[0]) == shape_of(user)
