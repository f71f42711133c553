"""Write sums, means and norms along an axis as products with constants.

XNNPACK's one reduction is the mean of a 4-D value over its last two axes, kept
(executorch/backends/xnnpack/operators/op_mean_dim.py). Along the last axis a sum is a linear with
ones, along the one before it a bmm with ones; a Euclidean norm is the root of such a sum.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import fx

from exporters.prepare.editing import Editor, is_call, shape_of

__all__ = ["rewrite"]

aten = torch.ops.aten


def rewrite(graph: fx.GraphModule) -> int:
    """Number of reductions written out."""
    sites = 0
    for node in list(graph.graph.nodes):
        if is_call(node, aten.sum.dim_IntList, aten.mean.dim):
            sites += _sum(graph, node)
        elif is_call(node, aten.linalg_vector_norm.default):
            sites += _norm(graph, node)
    return sites


def _sum(graph: fx.GraphModule, node: fx.Node) -> int:
    source = node.args[0]
    axes = _axes(source, node.args[1])  # type: ignore[arg-type]  # a node
    kept = len(node.args) > 2 and bool(node.args[2])
    if node.kwargs.get("dtype") is not None or not source.meta["val"].is_floating_point():  # type: ignore[union-attr]  # a node
        return 0
    is_mean = is_call(node, aten.mean.dim)
    if is_mean and kept and axes == [2, 3] and len(shape_of(source)) == 4:  # type: ignore[arg-type]  # a node
        return 0
    edit = Editor(graph, node)
    value = _reduce(edit, source, axes, is_mean)  # type: ignore[arg-type]  # a node
    if value is None:
        return 0
    edit.replace(edit.call(aten.reshape.default, value, list(shape_of(node))))
    return 1


def _norm(graph: fx.GraphModule, node: fx.Node) -> int:
    source, order = node.args[0], node.args[1] if len(node.args) > 1 else 2
    along = node.args[2] if len(node.args) > 2 else None
    if order != 2 or along is None or node.kwargs.get("dtype") is not None:
        return 0
    edit = Editor(graph, node)
    squares = edit.call(aten.mul.Tensor, source, source)
    total = _reduce(edit, squares, _axes(squares, along), mean=False)
    if total is None:
        graph.graph.erase_node(squares)
        return 0
    root = edit.call(aten.sqrt.default, total)
    edit.replace(edit.call(aten.reshape.default, root, list(shape_of(node))))
    return 1


def _axes(source: fx.Node, given: Any) -> list[int]:
    rank = len(shape_of(source))
    axes = given if isinstance(given, (list, tuple)) else [given]
    return sorted(int(axis) % rank for axis in axes) or list(range(rank))


def _reduce(edit: Editor, source: fx.Node, axes: list[int], mean: bool) -> fx.Node | None:
    """The sum or mean over neighbouring `axes`, in some shape; None if they are not neighbours."""
    sizes = shape_of(source)
    first, last = axes[0], axes[-1]
    if axes != list(range(first, last + 1)):
        return None
    count = math.prod(sizes[first : last + 1])
    each = 1 / count if mean else 1.0
    if mean and len(sizes) == 4 and axes == [2, 3]:
        return edit.call(aten.mean.dim, source, [2, 3], True)
    before, after = math.prod(sizes[:first]), math.prod(sizes[last + 1 :])
    if after == 1:
        rows = [*sizes[:first], count] if first else [1, count]
        flat = edit.call(aten.reshape.default, source, rows)
        return edit.call(
            aten.linear.default, flat, edit.constant("ones", torch.full((1, count), each))
        )
    flat = edit.call(aten.reshape.default, source, [before, count, after])
    ones = edit.constant("ones", torch.full((before, 1, count), each))
    return edit.call(aten.bmm.default, ones, flat)
