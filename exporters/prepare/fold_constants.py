"""Compute once, here, what depends on no input: position tables, gathered biases, grids.

A window's relative position bias is a table indexed with constants, a sine embedding is arithmetic
on arange: per image they give the same values each time, with operators that phones delegate
badly (index, sin, cumsum). What is larger than 16 MiB stays computed, and integers stay integers:
dequantizing a weight is the runtime's to do.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from exporters.prepare.editing import Editor, weight_of

__all__ = ["rewrite"]

_MOST_BYTES = 16 << 20


def rewrite(graph: fx.GraphModule) -> int:
    """Number of computed values that became constants."""
    values = _values(graph)
    sites = 0
    for node, value in reversed(values.items()):
        if node.op == "get_attr":
            continue
        if _is_needed(node, value, values):
            edit = Editor(graph, node)
            node.replace_all_uses_with(edit.constant("folded", value.clone()))
            sites += 1
        if not node.users:
            graph.graph.erase_node(node)  # also assertions about constants, which hold
    graph.graph.eliminate_dead_code()
    return sites


def _values(graph: fx.GraphModule) -> dict[fx.Node, Any]:
    """Weights, and what only weights go into."""
    values: dict[fx.Node, Any] = {}
    for node in graph.graph.nodes:
        tensor = weight_of(graph, node)
        if tensor is not None:
            values[node] = tensor
        elif _is_constant(node, values):
            arguments = fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
            with torch.no_grad():
                values[node] = node.target(*arguments[0], **arguments[1])
    return values


def _is_constant(node: fx.Node, values: dict[fx.Node, Any]) -> bool:
    if node.op != "call_function":
        return False
    if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
        return False
    if getattr(node.target, "namespace", "") == "quantized_decomposed":
        return False
    return all(operand in values for operand in node.all_input_nodes)


def _is_needed(node: fx.Node, value: Any, values: dict[fx.Node, Any]) -> bool:
    """Whether what stays in the graph reads this value, and it is worth keeping."""
    if not isinstance(value, torch.Tensor) or value.nbytes > _MOST_BYTES:
        return False
    return any(user not in values for user in node.users)
