"""Write matmul of more than two axes as bmm over one batch axis, and softmax over three axes.

XNNPACK takes aten.bmm, which has exactly three axes; left alone, aten.matmul is decomposed into
expands and views around it that end the partition. A product with a constant matrix is a linear.

A softmax of four axes is worse than slow: where the delegate keeps 4-D values channels-last (behind
a convolution, as in talking-heads attention), it normalises over the channels, without a word
(executorch 1.5.1, backends/xnnpack/operators/op_softmax.py). A reshape to three axes cannot be kept
channels-last, so it is exact.
"""

from __future__ import annotations

import math

import torch
from torch import fx

from exporters.prepare import merge_views
from exporters.prepare.editing import Editor, is_call, shape_of, weight_of

__all__ = ["rewrite"]

aten = torch.ops.aten


def rewrite(graph: fx.GraphModule) -> int:
    """Number of products and softmaxes written another way."""
    sites = 0
    for node in list(graph.graph.nodes):
        if is_call(node, aten.matmul.default):
            sites += _matmul(graph, node)
        elif is_call(node, aten.softmax.int, aten._softmax.default):
            sites += _softmax(graph, node)
    if sites:
        for node in list(graph.graph.nodes):
            _reshape_later(graph, node)
        merge_views.rewrite(graph)
    return sites


def _matmul(graph: fx.GraphModule, node: fx.Node) -> int:
    left, right = node.args
    sizes_left, sizes_right = shape_of(left), shape_of(right)  # type: ignore[arg-type]  # nodes
    constant = weight_of(graph, right)
    if constant is not None and constant.ndim == 2 and len(sizes_left) >= 2:
        edit = Editor(graph, node)
        edit.replace(edit.call(aten.linear.default, left, edit.constant("matrix", constant.mT)))
        return 1
    batch = sizes_left[:-2]
    if len(sizes_left) < 3 or len(sizes_right) < 3 or batch != sizes_right[:-2]:
        return 0
    edit = Editor(graph, node)
    count = math.prod(batch)
    flat = [
        edit.call(aten.reshape.default, value, [count, *sizes[-2:]])
        for value, sizes in ((left, sizes_left), (right, sizes_right))
    ]
    product = edit.call(aten.bmm.default, *flat)
    edit.replace(edit.call(aten.reshape.default, product, list(shape_of(node))))
    return 1


def _softmax(graph: fx.GraphModule, node: fx.Node) -> int:
    """Over the last axis, of three axes in all; another axis is moved there and back."""
    source, sizes = node.args[0], shape_of(node)
    axis = int(node.args[1]) % len(sizes)  # type: ignore[arg-type]  # a whole number
    last = len(sizes) - 1
    if len(sizes) <= 3 and axis == last:
        return 0
    edit = Editor(graph, node)
    order = [*range(axis), *range(axis + 1, last + 1), axis]
    value = source
    if axis != last:
        value = edit.call(aten.permute.default, value, order)
    moved = [sizes[place] for place in order]
    flat = [math.prod(moved[:-2]), moved[-2], moved[-1]] if len(moved) > 3 else moved
    value = edit.call(aten.reshape.default, value, flat)
    value = edit.call(aten.softmax.int, value, -1)
    value = edit.call(aten.reshape.default, value, moved)
    if axis != last:
        back = [order.index(place) for place in range(last + 1)]
        value = edit.call(aten.permute.default, value, back)
    edit.replace(value)
    return 1


def _reshape_later(graph: fx.GraphModule, node: fx.Node) -> None:
    """f(reshape(x)) becomes reshape(f(x)) for a scale or a bias of attention scores.

    The reshape then meets the one before softmax and both go: each copies all scores.
    """
    if not is_call(node, aten.mul.Tensor, aten.add.Tensor, aten.div.Tensor) or node.kwargs:
        return
    view, other = node.args
    if not is_call(view, aten.reshape.default) or len(view.users) > 1:  # type: ignore[union-attr]  # a node
        return
    inner = view.args[0]  # type: ignore[union-attr]  # a node
    if not is_call(inner, aten.bmm.default, aten.add.Tensor, aten.mul.Tensor):
        return
    edit = Editor(graph, node)
    constant = weight_of(graph, other)
    if constant is not None and constant.numel() == math.prod(shape_of(inner)):  # type: ignore[arg-type]  # a node
        other = edit.constant("bias", constant.reshape(shape_of(inner)))  # type: ignore[arg-type]  # a node
    elif isinstance(other, fx.Node) and (constant is None or constant.numel() > 1):
        return
    result = edit.call(node.target, inner, other)  # type: ignore[arg-type]  # is_call says an overload
    edit.replace(edit.call(aten.reshape.default, result, list(shape_of(node))))
