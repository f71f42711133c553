"""Moving the scale and shift of a norm into the linears and convolutions that read it."""

from __future__ import annotations

import torch
from torch import fx

from exporters.prepare.editing import Editor, is_call, shape_of, weight_of

__all__ = ["fold_affine"]

aten = torch.ops.aten
_CONVOLUTIONS = (aten.conv2d.default, aten.conv2d.padding)


def fold_affine(
    graph: fx.GraphModule,
    node: fx.Node,
    axis: int,
    scale: torch.Tensor | None,
    shift: torch.Tensor | None,
) -> bool:
    """Move `value * scale + shift` of the channels of `node` into the projections that read it.

    `axis` is where the channels are; `scale` and `shift` have one number for each. False, and
    nothing is changed, if anything but linears and convolutions with constant weights reads the
    value; padded convolutions take a scale and no shift, since their zeros would be shifted too.
    """
    if scale is None and shift is None:
        return False
    readers = _readers(graph, node, axis, shifted=shift is not None)
    for reader in readers:
        weight = weight_of(graph, reader.args[1])
        assert weight is not None  # _projects looked
        bias = weight_of(graph, reader.args[2]) if len(reader.args) > 2 else None
        edit = Editor(graph, reader)
        arguments = [
            *reader.args[:2],
            reader.args[2] if bias is not None else None,
            *reader.args[3:],
        ]
        if shift is not None:
            added = (weight.double() * _by_input(shift, weight)).flatten(1).sum(1)
            arguments[2] = edit.constant("shift", (added if bias is None else added + bias).float())
        if scale is not None:
            arguments[1] = edit.constant("scale", weight * _by_input(scale, weight))
        reader.args = tuple(arguments)
    return bool(readers)


def _by_input(value: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """One number per input channel, shaped to multiply a weight of (out, in, ...)."""
    return value.reshape(1, -1, *[1] * (weight.ndim - 2))


def _readers(graph: fx.GraphModule, node: fx.Node, axis: int, *, shifted: bool) -> list[fx.Node]:
    """The projections that read the norm, directly or moved; none if anything else reads it."""
    found: list[fx.Node] = []
    axes = {node: axis}  # where the channels are, in the norm and in moved copies of it
    pending = [node]
    while pending:
        value = pending.pop()
        for user in value.users:
            if _projects(graph, user, value, axes[value], shifted=shifted):
                found.append(user)
            elif user not in axes:
                moved = _moved_axis(user, axes[value], shifted=shifted)
                if moved is None:
                    return []
                axes[user] = moved
                pending.append(user)
    joins = [value for value in axes if is_call(value, aten.cat.default)]
    if any(part not in axes for join in joins for part in join.all_input_nodes):
        return []
    return list(dict.fromkeys(found))


def _projects(
    graph: fx.GraphModule, user: fx.Node, value: fx.Node, axis: int, *, shifted: bool
) -> bool:
    """Whether `user` multiplies the channels of `value` with constants, at each position alike."""
    if not is_call(user, aten.linear.default, *_CONVOLUTIONS) or user.args[0] is not value:
        return False
    if weight_of(graph, user.args[1]) is None:
        return False
    if is_call(user, aten.linear.default):
        return axis == len(shape_of(value)) - 1
    padded = len(user.args) > 4 and user.args[4] not in ([0], [0, 0], "valid")
    grouped = len(user.args) > 6 and user.args[6] != 1
    return axis == 1 and not grouped and not (padded and shifted)


def _moved_axis(node: fx.Node, axis: int, *, shifted: bool) -> int | None:
    """Where the channels are after a move of positions; None if it is something else."""
    if not shifted and is_call(node, aten.constant_pad_nd.default, aten.pad.default):
        return _padded(node, axis)
    move = _MOVES.get(node.target)  # type: ignore[call-overload]  # other nodes' targets are strings
    return None if move is None else move(node, shape_of(node.all_input_nodes[0]), axis)


def _padded(node: fx.Node, axis: int) -> int | None:
    """Zeros around the channels' positions are zeros whatever the scale."""
    value, sides, *how = node.args
    zeros = is_call(node, aten.constant_pad_nd.default) or (not how or how[0] == "constant")
    filled = how[-1] if how and not isinstance(how[-1], str) else 0
    reaches = len(shape_of(value)) - len(sides) // 2  # type: ignore[arg-type]  # a node and its list of sizes
    return axis if zeros and not filled and axis < reaches else None


def _permuted(node: fx.Node, sizes: tuple[int, ...], axis: int) -> int | None:
    order = [place % len(sizes) for place in node.args[1]]  # type: ignore[union-attr,operator]  # a list of axes
    return order.index(axis)


def _reshaped(node: fx.Node, sizes: tuple[int, ...], axis: int) -> int | None:
    after = shape_of(node)
    if axis == len(sizes) - 1 and after[-1] == sizes[-1]:
        return len(after) - 1
    return axis if after[: axis + 1] == sizes[: axis + 1] else None


def _sliced(node: fx.Node, sizes: tuple[int, ...], axis: int) -> int | None:
    return axis if shape_of(node)[axis] == sizes[axis] else None


def _joined(node: fx.Node, sizes: tuple[int, ...], axis: int) -> int | None:
    joined = int(node.args[1]) if len(node.args) > 1 else 0  # type: ignore[arg-type]  # an axis
    return axis if joined % len(sizes) != axis else None


def _pooled(node: fx.Node, sizes: tuple[int, ...], axis: int) -> int | None:
    """An average of shifted values is shifted as much, unless padded zeros are among them."""
    unpadded = len(node.args) < 4 or not any(node.args[3])  # type: ignore[arg-type]  # a list of sizes
    return axis if unpadded and axis == len(sizes) - 3 and not any(node.args[4:]) else None


_MOVES = {
    aten.avg_pool2d.default: _pooled,
    aten.cat.default: _joined,
    aten.permute.default: _permuted,
    aten.reshape.default: _reshaped,
    aten.slice.Tensor: _sliced,
}
