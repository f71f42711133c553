"""Write GroupNorm of one group over an image as means, convolutions and arithmetic.

group_norm is not delegated. With one group the mean of everything is the mean over space, which
XNNPACK has, and then over channels, which is a 1x1 convolution with weights 1/C. Scale and shift go
into the convolutions that follow where only they read the norm. More groups are left alone.
https://arxiv.org/abs/1803.08494
"""

from __future__ import annotations

import torch
from torch import fx

from exporters.prepare.affine_folding import fold_affine
from exporters.prepare.editing import Editor, is_call, shape_of, weight_of

__all__ = ["rewrite"]

aten = torch.ops.aten


def rewrite(graph: fx.GraphModule) -> int:
    """Number of norms written out."""
    sites = 0
    for node in list(graph.graph.nodes):
        if not is_call(node, aten.group_norm.default):
            continue
        if node.args[1] == 1 and len(shape_of(node)) == 4:
            _expand(graph, node)
            sites += 1
    return sites


def _expand(graph: fx.GraphModule, node: fx.Node) -> None:
    scale = weight_of(graph, node.args[2]) if len(node.args) > 2 else None
    shift = weight_of(graph, node.args[3]) if len(node.args) > 3 else None
    epsilon = float(node.args[4]) if len(node.args) > 4 else 1e-5  # type: ignore[arg-type]  # a number
    source, channels = node.args[0], shape_of(node)[1]
    if fold_affine(graph, node, 1, scale, shift):
        scale = shift = None
    edit = Editor(graph, node)
    mean = edit.constant("mean", torch.full((1, channels, 1, 1), 1 / channels))
    pooled = edit.call(aten.mean.dim, source, [2, 3], True)
    centred = edit.call(aten.sub.Tensor, source, edit.call(aten.conv2d.default, pooled, mean))
    squares = edit.call(aten.mul.Tensor, centred, centred)
    pooled = edit.call(aten.mean.dim, squares, [2, 3], True)
    offset = edit.constant("epsilon", torch.tensor([epsilon]))
    variance = edit.call(aten.conv2d.default, pooled, mean, offset)
    value = edit.call(aten.mul.Tensor, centred, edit.call(aten.rsqrt.default, variance))
    for target, tensor in ((aten.mul.Tensor, scale), (aten.add.Tensor, shift)):
        if tensor is not None:
            image = edit.constant("affine", tensor.reshape(1, channels, 1, 1))
            value = edit.call(target, value, image)
    edit.replace(value)
