"""Average pools that XNNPACK's partitioner would leave, in a form that it takes.

XNNPACK's average pool leaves padding out of the count, so a padded `avg_pool2d` is taken only with
`count_include_pad=False`; PyTorch's default is a depthwise convolution with 1/n, exact with zero
padding (anti-aliased downsampling). `ceil_mode` is never taken, though it adds no output where the
strides divide the image evenly (ResNet-D's shortcuts): there it goes.
"""

from __future__ import annotations

import torch
from torch import fx

from exporters.prepare.editing import Editor, is_call, shape_of

__all__ = ["rewrite"]

aten = torch.ops.aten


def rewrite(graph: fx.GraphModule) -> int:
    """Number of pools rewritten."""
    pools = [node for node in graph.graph.nodes if is_call(node, aten.avg_pool2d.default)]
    return sum(_rewrite(node, graph) for node in pools)


def _rewrite(node: fx.Node, graph: fx.GraphModule) -> bool:
    changed = _drop_ceil(node)
    given = [*node.args, *[None] * 7][:7]
    source, kernel, stride, padding, ceil, counted, divisor = given
    if not padding or not any(padding) or ceil or counted is False or divisor is not None:  # type: ignore[arg-type]  # a list
        return changed
    if not isinstance(source, fx.Node) or len(shape_of(source)) != 4 or node.kwargs:
        return changed
    sizes, steps, margins = (_pair(value) for value in (kernel, stride or kernel, padding))
    channels = shape_of(source)[1]
    dtype = node.meta["val"].dtype
    weight = torch.full((channels, 1, *sizes), 1 / (sizes[0] * sizes[1]), dtype=dtype)
    edit = Editor(graph, node)
    arguments = (None, steps, margins, [1, 1], channels)
    edit.replace(edit.call(aten.conv2d.default, source, edit.constant("mean", weight), *arguments))
    return True


def _drop_ceil(node: fx.Node) -> bool:
    """Clear ceil_mode if the pool gives as much without."""
    if len(node.args) < 5 or not node.args[4] or node.kwargs:
        return False
    source, kernel, stride, padding = node.args[:4]
    sizes, steps, margins = (_pair(value) for value in (kernel, stride or kernel, padding))
    image = shape_of(source)[-2:]  # type: ignore[arg-type]  # a node
    for size, taps, step, margin in zip(image, sizes, steps, margins, strict=True):
        if (size + 2 * margin - taps) % step:
            return False
    node.update_arg(4, False)
    return True


def _pair(value: object) -> list[int]:
    sizes = [int(size) for size in value]  # type: ignore[attr-defined]  # a list of sizes
    return sizes * 2 if len(sizes) == 1 else sizes
