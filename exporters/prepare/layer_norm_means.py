"""Write LayerNorm over the last axis as two means over it and plain arithmetic.

litert-torch writes it as a batch norm in training mode over a reshaped value, twice reshaped back,
with a scale of one and a shift of zero before its own. Scale and shift go into the linears that
follow, where nothing else reads the norm. The variance is that of the centred values: a difference
of squares would cancel. https://arxiv.org/abs/1607.06450
"""

from __future__ import annotations

from typing import Any

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
        sizes: Any = node.args[1] if is_call(node, aten.layer_norm.default) else ()
        if len(sizes) == 1:
            _write(graph, node)
            sites += 1
    return sites


def _write(graph: fx.GraphModule, node: fx.Node) -> None:
    given: tuple[Any, ...] = (*node.args, *(None, None, 1e-5)[len(node.args) - 2 :])
    source, _, scale, shift, epsilon = given[:5]
    constants = [weight_of(graph, value) for value in (scale, shift) if value is not None]
    if all(constant is not None for constant in constants) and fold_affine(
        graph, node, len(shape_of(node)) - 1, weight_of(graph, scale), weight_of(graph, shift)
    ):
        scale = shift = None
    edit = Editor(graph, node)
    mean = edit.call(aten.mean.dim, source, [-1], True)
    centred = edit.call(aten.sub.Tensor, source, mean)
    squares = edit.call(aten.mul.Tensor, centred, centred)
    variance = edit.call(aten.mean.dim, squares, [-1], True)
    root = edit.call(aten.rsqrt.default, edit.call(aten.add.Tensor, variance, float(epsilon)))
    value = edit.call(aten.mul.Tensor, centred, root)
    if scale is not None:
        value = edit.call(aten.mul.Tensor, value, scale)
    if shift is not None:
        value = edit.call(aten.add.Tensor, value, shift)
    edit.replace(value)
