"""Write nearest-neighbour resizes as convolutions and products, which XNNPACK takes.

XNNPACK has no such resize, so each one ends a partition and is a pass in another memory layout
(GhostNetV2's attention, feature pyramids, U-Nets). By whole factors it is a transposed convolution
whose stride is its kernel, which copies each value into its block. Depthwise that is slow, since
each group is a matrix product of one column, and dense it multiplies zeros; groups of about 16
channels, a register of the matrix product, were the fastest (measured from 4 x 4 to 28 x 28 pixels
with 72 to 960 channels: half the time of the resize outside of the delegate, a quarter of
depthwise). By other factors a small image is multiplied with a constant matrix.
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import fx

from exporters.prepare.editing import Editor, is_call, shape_of

__all__ = ["rewrite"]

aten = torch.ops.aten
_TOGETHER = 16  # channels of a group
_MOST_TOGETHER = 32
_LARGEST_FACTOR = 4
_LARGEST_MATRIX = 1 << 14  # more would multiply more than the resize saves


def rewrite(graph: fx.GraphModule) -> int:
    """Number of resizes rewritten."""
    found = [node for node in graph.graph.nodes if is_call(node, aten.upsample_nearest2d.vec)]
    return sum(_transposed(graph, node) or _multiplied(graph, node) for node in found)


def _transposed(graph: fx.GraphModule, node: fx.Node) -> bool:
    source: Any = node.args[0]
    small, large = shape_of(source), shape_of(node)
    channels, together = small[1], _together(small[1])
    factors = [after // before for before, after in zip(small[2:], large[2:], strict=True)]
    whole = [factor * size for factor, size in zip(factors, small[2:], strict=True)]
    if together is None or whole != list(large[2:]) or max(factors) > _LARGEST_FACTOR:
        return False
    if node.args[2] is not None and any(factor % 1 for factor in node.args[2]):  # type: ignore[union-attr,operator]  # a list of floats
        return False  # it picks by the factor given, not by the sizes
    places = torch.arange(channels)
    weight = torch.zeros(channels, together, *factors, dtype=node.meta["val"].dtype)
    weight[places, places % together] = 1
    edit = Editor(graph, node)
    ones = edit.constant("copies", weight)
    geometry = (None, factors, [0, 0], [0, 0], channels // together)
    edit.replace(edit.call(aten.conv_transpose2d.input, source, ones, *geometry))
    return True


def _together(channels: int) -> int | None:
    """How many channels make a group: the divisor of `channels` nearest to 16, if one is near."""
    divisors = [n for n in range(1, _MOST_TOGETHER + 1) if channels % n == 0]
    best = min(divisors, key=lambda n: abs(n - _TOGETHER))
    return best if best >= _TOGETHER // 2 else None


def _multiplied(graph: fx.GraphModule, node: fx.Node) -> bool:
    source: Any = node.args[0]
    small, large = shape_of(source), shape_of(node)
    before, after = prod(small[2:]), prod(large[2:])
    if before * after > _LARGEST_MATRIX:
        return False
    images = torch.eye(before, dtype=node.meta["val"].dtype).reshape(1, before, *small[2:])
    target: Any = node.target
    matrix = target(images, *node.args[1:])[0].reshape(before, after).T
    edit = Editor(graph, node)
    flat = edit.call(aten.reshape.default, source, [*small[:2], before])
    picked = edit.call(aten.linear.default, flat, edit.constant("picks", matrix))
    edit.replace(edit.call(aten.reshape.default, picked, list(large)))
    return True
