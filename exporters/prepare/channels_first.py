"""Take channels-last stretches between convolutions back to channels-first: linear as 1x1 conv.

ConvNeXt-like blocks permute to channels-last for LayerNorm and linear and back. XNNPACK keeps
convolutions channels-last in memory whatever the program says, but it does not see that such a
permute undoes its own: each one becomes two transposes of the whole image. As 1x1 convolutions the
same products need none. A stretch is the 4-D values that arithmetic, linears, slices and cats
connect; it is rewritten if more of its ends are permutes than are not.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import fx

from exporters.prepare.editing import Editor, is_call, shape_of, weight_of

__all__ = ["rewrite"]

aten = torch.ops.aten
_TO_LAST, _TO_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]
_FIRST_AXIS = {0: 0, 1: 2, 2: 3, 3: 1}  # where each channels-last axis is when channels are first
_UNARY = (
    aten.abs.default,
    aten.clamp.default,
    aten.elu.default,
    aten.exp.default,
    aten.gelu.default,
    aten.hardsigmoid.default,
    aten.hardswish.default,
    aten.hardtanh.default,
    aten.leaky_relu.default,
    aten.neg.default,
    aten.relu.default,
    aten.relu6.default,
    aten.rsqrt.default,
    aten.sigmoid.default,
    aten.silu.default,
    aten.sqrt.default,
    aten.tanh.default,
)
_BINARY = (
    aten.add.Tensor,
    aten.div.Tensor,
    aten.maximum.default,
    aten.minimum.default,
    aten.mul.Tensor,
    aten.sub.Tensor,
)


def rewrite(graph: fx.GraphModule) -> int:
    """Number of stretches rewritten."""
    sites = 0
    for stretch in _stretches(graph):
        if _gain(graph, stretch) > 0:
            _convert(graph, stretch)
            sites += 1
    graph.graph.eliminate_dead_code()
    return sites


def _belongs(graph: fx.GraphModule, node: fx.Node) -> bool:
    """Whether `node` is 4-D and does the same channels-first."""
    value = node.meta.get("val")
    if is_call(node, aten.mean.dim):
        return _is_spatial_mean(node)
    if not isinstance(value, torch.Tensor) or value.ndim != 4:
        return False
    if is_call(node, aten.linear.default):
        return weight_of(graph, node.args[1]) is not None
    if is_call(node, *_UNARY, aten.slice.Tensor, aten.cat.default):
        return True
    return is_call(node, *_BINARY) and all(
        weight_of(graph, operand) is not None or operand.meta["val"].ndim == 4
        for operand in node.all_input_nodes
    )


def _is_spatial_mean(node: fx.Node) -> bool:
    source = node.args[0]
    if len(shape_of(source)) != 4 or node.kwargs.get("dtype") is not None:  # type: ignore[arg-type]  # a node
        return False
    return sorted(axis % 4 for axis in node.args[1]) == [1, 2]  # type: ignore[union-attr,operator]  # a list of axes


def _stretches(graph: fx.GraphModule) -> Iterator[list[fx.Node]]:
    """Connected members, each stretch in the order of the graph."""
    members = [node for node in graph.graph.nodes if _belongs(graph, node)]
    unseen = set(members)
    for start in members:
        if start not in unseen:
            continue
        unseen.discard(start)
        pending, stretch = [start], {start}
        while pending:
            node = pending.pop()
            near = [*node.all_input_nodes, *node.users]
            for other in (value for value in near if value in unseen):
                # a mean ends a stretch: its own users are no images
                if not is_call(other, aten.mean.dim) or other in node.users:
                    unseen.discard(other)
                    stretch.add(other)
                    pending += [] if is_call(other, aten.mean.dim) else [other]
        yield [node for node in members if node in stretch]


def _gain(graph: fx.GraphModule, stretch: list[fx.Node]) -> int:
    """Permutes that go minus permutes that come."""
    inside = set(stretch)
    inputs = {
        value
        for node in stretch
        for value in node.all_input_nodes
        if value not in inside and weight_of(graph, value) is None
    }
    gain = sum(1 if _is_permute(value, _TO_LAST) else -1 for value in inputs)
    for node in stretch:
        outside = [user for user in node.users if user not in inside]
        back = [user for user in outside if _is_permute(user, _TO_FIRST)]
        if is_call(node, aten.mean.dim):
            continue
        gain += len(back) - (len(back) < len(outside))
    return gain


def _is_permute(node: fx.Node, order: list[int]) -> bool:
    return is_call(node, aten.permute.default) and [axis % 4 for axis in node.args[1]] == order  # type: ignore[union-attr,operator]  # a list of axes


def _convert(graph: fx.GraphModule, stretch: list[fx.Node]) -> None:
    first: dict[fx.Node, fx.Node] = {}  # the channels-first twin of a value
    for node in stretch:
        edit = Editor(graph, node)
        if not is_call(node, aten.mean.dim):
            for operand in node.all_input_nodes:
                if operand not in first and weight_of(graph, operand) is None:
                    first[operand] = _enter(edit, operand)
        else:
            first.setdefault(node.args[0], _enter(edit, node.args[0]))  # type: ignore[arg-type]  # a node
        first[node] = _twin(graph, edit, node, first)
    inside = set(stretch)
    for node in stretch:
        _leave(graph, node, first[node], inside)
    for node in reversed(stretch):
        graph.graph.erase_node(node)


def _enter(edit: Editor, value: fx.Node) -> fx.Node:
    if _is_permute(value, _TO_LAST):
        return value.args[0]  # type: ignore[return-value]  # a node
    return edit.call(aten.permute.default, value, _TO_FIRST)


def _leave(graph: fx.GraphModule, node: fx.Node, twin: fx.Node, inside: set[fx.Node]) -> None:
    outside = [user for user in node.users if user not in inside]
    if is_call(node, aten.mean.dim):
        node.replace_all_uses_with(twin)
        return
    for user in [user for user in outside if _is_permute(user, _TO_FIRST)]:
        Editor(graph, user).replace(twin)
        outside.remove(user)
    if outside:
        last = Editor(graph, node).call(aten.permute.default, twin, _TO_LAST)
        for user in outside:
            user.replace_input_with(node, last)


def _twin(
    graph: fx.GraphModule, edit: Editor, node: fx.Node, first: dict[fx.Node, fx.Node]
) -> fx.Node:
    """What `node` computes, channels-first."""
    if is_call(node, aten.linear.default):
        weight = weight_of(graph, node.args[1])
        assert weight is not None
        kernel = edit.constant("pointwise", weight[:, :, None, None])
        return edit.call(aten.conv2d.default, first[node.args[0]], kernel, *node.args[2:])  # type: ignore[index]  # a node
    if is_call(node, aten.mean.dim):
        image = edit.call(aten.mean.dim, first[node.args[0]], [2, 3], True)  # type: ignore[index]  # a node
        return edit.call(aten.reshape.default, image, list(shape_of(node)))
    if is_call(node, aten.slice.Tensor):
        axis = _FIRST_AXIS[int(node.args[1]) % 4]  # type: ignore[arg-type]  # an axis
        return edit.call(aten.slice.Tensor, first[node.args[0]], axis, *node.args[2:])  # type: ignore[index]  # a node
    if is_call(node, aten.cat.default):
        axis = _FIRST_AXIS[int(node.args[1] if len(node.args) > 1 else 0) % 4]  # type: ignore[arg-type]  # an axis
        parts = [first[part] for part in node.args[0]]  # type: ignore[union-attr,index]  # a list of nodes
        return edit.call(aten.cat.default, parts, axis)
    operands = [
        _operand(graph, edit, value, first) if isinstance(value, fx.Node) else value
        for value in node.args
    ]
    return edit.call(node.target, *operands, **node.kwargs)  # type: ignore[arg-type]  # an overload


def _operand(
    graph: fx.GraphModule, edit: Editor, value: fx.Node, first: dict[fx.Node, fx.Node]
) -> fx.Node:
    constant = weight_of(graph, value)
    if constant is None:
        return first[value]
    while constant.ndim < 4:
        constant = constant[None]
    return edit.constant("channels_first", constant.permute(_TO_FIRST))
