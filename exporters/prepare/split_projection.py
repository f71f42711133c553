"""Split a linear or 1x1 convolution whose output is only ever used in slices into one per slice.

Query, key and value come out of one projection in most attention blocks, and gates out of one in
most gated blocks. On the phone the slices are copies; the rows of a weight matrix are free.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from exporters.prepare.editing import Editor, is_call, shape_of, weight_of

__all__ = ["rewrite"]

aten = torch.ops.aten


@dataclass(frozen=True)
class _Slice:
    """A slice of a projection: what to call on the projection before it, and which rows it takes.

    `axis` is the sliced axis of `shape`, the reshaped projection; `order` permutes it afterwards.
    """

    node: fx.Node
    shape: tuple[int, ...]
    order: tuple[int, ...]
    rows: torch.Tensor


def rewrite(graph: fx.GraphModule) -> int:
    """Number of projections split."""
    sites = 0
    for node in list(graph.graph.nodes):
        if not is_call(node, aten.linear.default, aten.conv2d.default):
            continue
        slices = _slices(node) if weight_of(graph, node.args[1]) is not None else None
        if slices:
            for part in slices:
                _project(graph, node, part)
            sites += 1
    graph.graph.eliminate_dead_code()
    return sites


def _slices(node: fx.Node) -> list[_Slice] | None:
    """All slices that the output ends in; None if something else reads it."""
    if is_call(node, aten.conv2d.default) and len(node.args) > 6 and node.args[6] != 1:
        return None  # groups: rows do not stand alone
    found: list[_Slice] = []
    sizes = shape_of(node)
    pending = [(node, sizes, tuple(range(len(sizes))))]
    while pending:
        value, shape, order = pending.pop()
        for user in value.users:
            if is_call(user, aten.slice.Tensor):
                part = _slice(node, user, shape, order)
                if part is None:
                    return None
                found.append(part)
            elif is_call(user, aten.reshape.default) and order == tuple(range(len(shape))):
                pending.append((user, shape_of(user), tuple(range(len(shape_of(user))))))
            elif is_call(user, aten.permute.default):
                rank = len(order)
                axes: Any = user.args[1]
                pending.append((user, shape, tuple(order[axis % rank] for axis in axes)))
            else:
                return None
    return found if len(found) > 1 else None


def _slice(
    node: fx.Node, user: fx.Node, shape: tuple[int, ...], order: tuple[int, ...]
) -> _Slice | None:
    """The rows that the slice `user` takes, if each position takes the same ones, in order."""
    given: Any = user.args
    if len(given) > 4 and given[4] != 1:
        return None
    sliced = order[given[1] % len(order)]
    start = slice(given[2] if len(given) > 2 else 0, None).indices(shape[sliced])[0]
    length = shape_of(user)[given[1]]
    rows, places = _rows(node, shape).narrow(sliced, start, length), shape_of(node)
    axis = _row_axis(node)
    unique: torch.Tensor = torch.unique(rows)
    smaller = list(places)
    smaller[axis] = len(unique)
    narrowed = [length if place == sliced else size for place, size in enumerate(shape)]
    if math.prod(smaller) != rows.numel():
        return None
    expected = _counting(smaller, axis, unique).reshape(narrowed)
    # same rows in the same places, and the other axes too: the reshape must not mix positions
    positions = torch.arange(math.prod(places)).reshape(shape).narrow(sliced, start, length)
    kept = torch.arange(math.prod(places)).reshape(places).index_select(axis, unique)
    if not torch.equal(expected, rows) or not torch.equal(kept.reshape(narrowed), positions):
        return None
    return _Slice(user, tuple(narrowed), order, unique)


def _row_axis(node: fx.Node) -> int:
    return 1 if is_call(node, aten.conv2d.default) else len(shape_of(node)) - 1


def _rows(node: fx.Node, shape: tuple[int, ...]) -> torch.Tensor:
    """For each element of the reshaped projection, the row of the weight that it comes from."""
    sizes, axis = shape_of(node), _row_axis(node)
    return _counting(list(sizes), axis, torch.arange(sizes[axis])).reshape(shape)


def _counting(sizes: list[int], axis: int, numbers: torch.Tensor) -> torch.Tensor:
    view = [1] * len(sizes)
    view[axis] = -1
    return numbers.reshape(view).expand(sizes)


def _project(graph: fx.GraphModule, node: fx.Node, part: _Slice) -> None:
    edit = Editor(graph, part.node)
    arguments = list(node.args)
    for place, hint in ((1, "rows"), (2, "row_bias")):
        tensor = weight_of(graph, arguments[place]) if len(arguments) > place else None
        if tensor is not None:
            arguments[place] = edit.constant(hint, tensor[part.rows])
    value = edit.call(node.target, *arguments, **node.kwargs)  # type: ignore[arg-type]  # an overload
    if shape_of(value) != part.shape:
        value = edit.call(aten.reshape.default, value, list(part.shape))
    if part.order != tuple(range(len(part.order))):
        value = edit.call(aten.permute.default, value, list(part.order))
    edit.replace(value)
