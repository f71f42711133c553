"""Write scaled_dot_product_attention as two products and a softmax.

Left alone it is decomposed with a guard for rows that are masked out entirely (eq, any, where):
five portable operators over all scores (https://docs.pytorch.org/docs/stable/generated/
torch.nn.functional.scaled_dot_product_attention.html). Without the guard such a row would be NaN
instead of zero, so only a mask that is a constant and leaves something in each row is taken; a
boolean or causal one is left alone.
"""

from __future__ import annotations

import math

import torch
from torch import fx

from exporters.prepare.editing import Editor, is_call, shape_of, weight_of

__all__ = ["rewrite"]

aten = torch.ops.aten


def rewrite(graph: fx.GraphModule) -> int:
    """Number of attentions written out."""
    sites = 0
    for node in list(graph.graph.nodes):
        if is_call(node, aten.scaled_dot_product_attention.default):
            sites += _expand(graph, node)
    return sites


def _expand(graph: fx.GraphModule, node: fx.Node) -> int:
    names = [argument.name for argument in node.target._schema.arguments]  # type: ignore[union-attr]  # an overload
    given = dict(zip(names, node.args, strict=False)) | dict(node.kwargs)
    query, key, value, mask = (given.get(n) for n in ("query", "key", "value", "attn_mask"))
    if given.get("is_causal") or given.get("enable_gqa") or given.get("dropout_p"):
        return 0
    if mask is not None and not _leaves_something(weight_of(graph, mask)):
        return 0
    rank = len(shape_of(key))  # type: ignore[arg-type]  # a node
    scale = given.get("scale")
    if scale is None:
        scale = 1 / math.sqrt(shape_of(query)[-1])  # type: ignore[arg-type]  # a node
    edit = Editor(graph, node)
    turned = edit.call(aten.permute.default, key, [*range(rank - 2), rank - 1, rank - 2])
    scaled = edit.call(aten.mul.Tensor, query, scale)
    scores = edit.call(aten.matmul.default, scaled, turned)
    if mask is not None:
        scores = edit.call(aten.add.Tensor, scores, mask)
    weights = edit.call(aten.softmax.int, scores, -1)
    edit.replace(edit.call(aten.matmul.default, weights, value))
    return 1


def _leaves_something(mask: torch.Tensor | None) -> bool:
    if mask is None or not mask.is_floating_point():
        return False
    return bool((mask > -math.inf).any(dim=-1).all())
