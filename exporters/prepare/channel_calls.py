"""Calls of a flat graph seen by what they do to channels: layers, norms, moves, pools."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import torch
from torch import fx

from exporters.prepare.editing import is_call, shape_of, weight_of

__all__ = [
    "CONVOLUTIONS", "MOVES", "NORMS", "PLACES", "Sole", "axes_of", "moved", "padded_with_numbers",
]  # fmt: skip

aten = torch.ops.aten
CONVOLUTIONS = (aten.conv1d.default, aten.conv2d.default, aten.conv3d.default)
# layer norm, RMS norm and group norm -> where their weight and bias are among the arguments
NORMS = {
    aten.layer_norm.default: (2, 3),
    aten.rms_norm.default: (2,),
    aten.group_norm.default: (2, 3),
}
# What gives elements of its input in another order or shape.
MOVES = (
    aten._unsafe_view.default, aten.alias.default, aten.chunk.default, aten.clone.default,
    aten.contiguous.default, aten.detach.default, aten.dropout.default, aten.expand.default,
    aten.flatten.using_ints, aten.flip.default, aten.permute.default, aten.pixel_shuffle.default,
    aten.reshape.default, aten.roll.default, aten.select.int, aten.slice.Tensor,
    aten.split.Tensor, aten.split_with_sizes.default, aten.squeeze.default, aten.squeeze.dim,
    aten.squeeze.dims, aten.transpose.int, aten.unbind.int, aten.unflatten.int,
    aten.unsqueeze.default, aten.view.default,
)  # fmt: skip
# What works over places, the same for every channel.
PLACES = (
    aten.adaptive_avg_pool1d.default, aten.adaptive_avg_pool2d.default, aten.amax.default,
    aten.avg_pool1d.default, aten.avg_pool2d.default, aten.constant_pad_nd.default,
    aten.max_pool1d.default, aten.max_pool2d.default, aten.mean.dim, aten.pad.default,
    aten.sum.dim_IntList, aten.upsample_bilinear2d.vec, aten.upsample_nearest2d.vec,
)  # fmt: skip


class Sole:
    """Whether weights belong to one call alone, so that they may change with it."""

    def __init__(self, graph: fx.GraphModule) -> None:
        self._graph = graph
        held = (node for node in graph.graph.nodes if node.op == "get_attr")
        self._uses = Counter(str(node.target) for node in held for _ in node.users)

    def __call__(self, node: fx.Node, places: Iterable[int]) -> bool:
        """Is every argument of `node` at these places a weight of its own, or absent?

        The first may not be absent.
        """
        given = [node.args[place] if place < len(node.args) else None for place in places]
        known = [value for value in given if value is not None]
        return given[0] is not None and all(
            weight_of(self._graph, value) is not None and self._uses[str(value.target)] == 1  # type: ignore[union-attr]  # a node, or it has no weight
            for value in known
        )


def axes_of(node: fx.Node) -> list[int]:
    """The axes over which a call of a pool, mean, pad or resize works."""
    rank = node.all_input_nodes[0].meta["val"].ndim
    if is_call(node, aten.mean.dim, aten.sum.dim_IntList, aten.amax.default):
        given = node.args[1] if len(node.args) > 1 else None
        return sorted(dim % rank for dim in given) if given else list(range(rank))  # type: ignore[union-attr]  # a list of axes
    if is_call(node, aten.pad.default, aten.constant_pad_nd.default):
        sides: Any = node.args[1]
        axes = range(len(sides) // 2)
        return [rank - 1 - axis for axis in axes if sides[2 * axis] or sides[2 * axis + 1]]
    return list(range(2, rank))


def moved(node: fx.Node, value: torch.Tensor) -> Any:
    """What a call of `MOVES` does to its input's elements, done to `value`."""
    if is_call(node, aten.dropout.default):
        return value
    if is_call(node, aten.view.default, aten._unsafe_view.default, aten.reshape.default):
        return value.reshape(shape_of(node))
    given: Any = node.target
    found = given(value, *node.args[1:], **node.kwargs)
    return tuple(found) if isinstance(found, list) else found


def padded_with_numbers(node: fx.Node) -> bool:
    """Is it a call of pad with something else than zeros?"""
    if not is_call(node, aten.pad.default, aten.constant_pad_nd.default):
        return False
    return any(isinstance(given, (int, float)) and given for given in node.args[2:])
