"""Write every rearrangement with the four calls XNNPACK delegates: reshape, permute, slice, cat.

flatten, squeeze, unsqueeze, select, transpose, unbind, chunk, split and roll each have a node of
their own in ATen, none of which the XNNPACK partitioner takes
(executorch/backends/xnnpack/partition/config): each would end a partition. A pad by nothing and an
expand whose users broadcast anyway are dropped.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import torch
from torch import fx

from exporters.prepare import merge_views
from exporters.prepare.editing import Editor, is_call, shape_of

__all__ = ["rewrite"]

aten = torch.ops.aten
_RESHAPES = (
    aten.flatten.using_ints,
    aten.reshape_as.default,
    aten.squeeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.unflatten.int,
    aten.unsqueeze.default,
    aten._unsafe_view.default,
    aten.view.default,
    aten.view_as.default,
)
_SPLITS = (
    aten.chunk.default,
    aten.split.Tensor,
    aten.split_with_sizes.default,
    aten.unbind.int,
)
_BROADCASTING = (
    aten.add.Tensor,
    aten.div.Tensor,
    aten.maximum.default,
    aten.minimum.default,
    aten.mul.Tensor,
    aten.sub.Tensor,
)


def rewrite(graph: fx.GraphModule) -> int:
    """Number of calls written another way."""
    sites = 0
    for node in list(graph.graph.nodes):
        change = _change(node)
        if change is not None and change(graph, node):
            sites += 1
    return sites + merge_views.rewrite(graph)


def _change(node: fx.Node) -> Callable[[fx.GraphModule, fx.Node], bool] | None:
    if is_call(node, *_RESHAPES):
        return _reshape
    if is_call(node, *_SPLITS):
        return _split
    others = {
        aten.expand.default: _drop_expand,
        aten.expand_as.default: _drop_expand,
        aten.mT.default: _transpose_last,
        aten.pad.default: _drop_pad,
        aten.roll.default: _roll,
        aten.select.int: _select,
        aten.slice.Tensor: _strided,
        aten.t.default: _transpose,
        aten.transpose.int: _transpose,
    }
    return others.get(node.target)  # type: ignore[call-overload,no-any-return]  # other nodes' targets are strings


def _reshape(graph: fx.GraphModule, node: fx.Node) -> bool:
    edit = Editor(graph, node)
    edit.replace(edit.call(aten.reshape.default, node.args[0], list(shape_of(node))))
    return True


def _transpose(graph: fx.GraphModule, node: fx.Node) -> bool:
    order = list(range(len(shape_of(node))))
    first, second = node.args[1:3] if len(node.args) > 1 else (0, len(order) - 1)
    order[first], order[second] = order[second], order[first]  # type: ignore[index]  # two axes
    edit = Editor(graph, node)
    edit.replace(edit.call(aten.permute.default, node.args[0], order))
    return True


def _transpose_last(graph: fx.GraphModule, node: fx.Node) -> bool:
    rank = len(shape_of(node))
    edit = Editor(graph, node)
    order = [*range(rank - 2), rank - 1, rank - 2]
    edit.replace(edit.call(aten.permute.default, node.args[0], order))
    return True


def _select(graph: fx.GraphModule, node: fx.Node) -> bool:
    source, axis, index = node.args
    sizes = shape_of(source)  # type: ignore[arg-type]  # a select's first argument is a node
    axis, index = axis % len(sizes), index % sizes[axis]  # type: ignore[operator,index]  # whole numbers
    edit = Editor(graph, node)
    row = edit.call(aten.slice.Tensor, source, axis, index, index + 1)
    edit.replace(edit.call(aten.reshape.default, row, list(shape_of(node))))
    return True


def _strided(graph: fx.GraphModule, node: fx.Node) -> bool:
    """Every n-th position: the first of each row of n, the last row filled up with zeros."""
    step = node.args[4] if len(node.args) > 4 else 1
    if not isinstance(step, int) or step == 1:
        return False
    source: Any = node.args[0]
    start: Any = node.args[2]
    end: Any = node.args[3]
    sizes = list(shape_of(source))
    axis = int(node.args[1]) % len(sizes)  # type: ignore[arg-type]  # an axis
    start, end, _ = slice(start, end).indices(sizes[axis])
    edit = Editor(graph, node)
    value = edit.call(aten.slice.Tensor, source, axis, start, end)
    count = -(-(end - start) // step)
    missing = count * step - (end - start)
    if missing:
        before = [0, 0] * (len(sizes) - 1 - axis)
        value = edit.call(aten.pad.default, value, [*before, 0, missing])
    rows = edit.call(aten.reshape.default, value, [*sizes[:axis], count, step, *sizes[axis + 1 :]])
    first = edit.call(aten.slice.Tensor, rows, axis + 1, 0, 1)
    edit.replace(edit.call(aten.reshape.default, first, list(shape_of(node))))
    return True


def _split(graph: fx.GraphModule, node: fx.Node) -> bool:
    """One slice per piece that is used; unbind's pieces lose the axis."""
    if not all(is_call(user, operator.getitem) for user in node.users):
        return False
    source = node.args[0]
    axis_at = 1 if is_call(node, aten.unbind.int) else 2
    axis = node.args[axis_at] if len(node.args) > axis_at else node.kwargs.get("dim", 0)
    axis = axis % len(shape_of(source))  # type: ignore[arg-type,operator]  # a node and an axis
    sizes = [1 if axis_at == 1 else int(piece.shape[axis]) for piece in node.meta["val"]]
    ends = list(accumulate(sizes))
    for user in list(node.users):
        index = int(user.args[1])  # type: ignore[arg-type]  # getitem(pieces, index)
        edit = Editor(graph, user)
        start = ends[index] - sizes[index]
        piece = edit.call(aten.slice.Tensor, source, axis, start, ends[index])
        if axis_at == 1:
            piece = edit.call(aten.reshape.default, piece, list(shape_of(user)))
        edit.replace(piece)
    graph.graph.erase_node(node)
    return True


def _roll(graph: fx.GraphModule, node: fx.Node) -> bool:
    """The end of each axis, then its beginning."""
    axes = node.args[2] if len(node.args) > 2 else []
    if not axes:
        return False  # rolls the flattened tensor
    value = node.args[0]
    edit = Editor(graph, node)
    for shift, axis in zip(node.args[1], axes, strict=True):  # type: ignore[arg-type]  # two lists
        size = shape_of(value)[axis]  # type: ignore[arg-type]  # a node
        if shift % size:
            cut = size - shift % size
            end = edit.call(aten.slice.Tensor, value, axis, cut, size)
            start = edit.call(aten.slice.Tensor, value, axis, 0, cut)
            value = edit.call(aten.cat.default, [end, start], axis)
    edit.replace(value)  # type: ignore[arg-type]  # a node
    return True


def _drop_pad(graph: fx.GraphModule, node: fx.Node) -> bool:
    if any(node.args[1]):  # type: ignore[arg-type]  # a list of sizes
        return False
    Editor(graph, node).replace(node.args[0])  # type: ignore[arg-type]  # a node
    return True


def _drop_expand(graph: fx.GraphModule, node: fx.Node) -> bool:
    """Only where each user gets the same shape without it."""
    source = node.args[0]
    for user in node.users:
        if not is_call(user, *_BROADCASTING):
            return False
        operands = [source if value is node else value for value in user.args[:2]]
        shapes = [shape_of(value) for value in operands if isinstance(value, fx.Node)]
        if tuple(torch.broadcast_shapes(*shapes)) != shape_of(user):  # type: ignore[no-untyped-call]  # torch's own
            return False
    Editor(graph, node).replace(source)  # type: ignore[arg-type]  # a node
    return True
