"""Resizing that Core ML's converter writes wrong or not at all: as gathers and constant matrices.

coremltools 9 ignores `antialias`, has no bicubic and no nearest-exact, computes nearest by its own
ratio when a scale factor is given, and refuses bilinear with a fractional one. Every resize is
linear and separable: along each axis it is a gather (nearest) or a matrix, which PyTorch tells when
it resizes the indices or the unit vectors. Plain sizes that the converter gets right stay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from exporters.prepare.editing import Editor, is_call, shape_of

__all__ = ["resize", "rewrite"]

aten = torch.ops.aten
_NEAREST = (aten.upsample_nearest2d.vec, aten._upsample_nearest_exact2d.vec)
_WEIGHTED = (
    aten.upsample_bilinear2d.vec,
    aten._upsample_bilinear2d_aa.vec,
    aten.upsample_bicubic2d.vec,
    aten._upsample_bicubic2d_aa.vec,
)


def rewrite(graph: fx.GraphModule) -> int:
    """Number of resizes written as gathers or matrices."""
    return resize(graph, _arrives)


def resize(graph: fx.GraphModule, arrives: Callable[[fx.Node], bool]) -> int:
    """Write the resizes of which `arrives` says no as gathers or matrices; their number."""
    sites = 0
    for node in list(graph.graph.nodes):
        if is_call(node, *_NEAREST) and not arrives(node):
            _write(Editor(graph, node), node, _picked)
            sites += 1
        elif is_call(node, *_WEIGHTED) and not arrives(node):
            _write(Editor(graph, node), node, _weighed)
            sites += 1
    return sites


def _arrives(node: fx.Node) -> bool:
    """Whether coremltools writes this call right: whole factors, or bilinear to a given size."""
    factors = node.args[-1]
    given = factors is not None and any(factor % 1 for factor in factors)  # type: ignore[union-attr, operator]  # a list of floats by the schema
    plain = is_call(node, aten.upsample_nearest2d.vec, aten.upsample_bilinear2d.vec)
    return plain and not given


def _write(
    editor: Editor, node: fx.Node, along: Callable[[Editor, fx.Node, fx.Node, int], fx.Node]
) -> None:
    source = node.args[0]
    assert isinstance(source, fx.Node)
    editor.replace(along(editor, node, along(editor, node, source, 2), 3))


def _picked(editor: Editor, node: fx.Node, source: fx.Node, axis: int) -> fx.Node:
    length = shape_of(source)[axis]
    index = _one_axis(node, torch.arange(length, dtype=torch.float32)[None], axis)[0]
    index = index.round().to(torch.int64)
    if torch.equal(index, torch.arange(length)):
        return source
    return editor.call(aten.index_select.default, source, axis, editor.constant("index", index))


def _weighed(editor: Editor, node: fx.Node, source: fx.Node, axis: int) -> fx.Node:
    matrix = _one_axis(node, torch.eye(shape_of(source)[axis]), axis)  # [in, out]
    if matrix.shape[0] == matrix.shape[1] and torch.equal(matrix, torch.eye(len(matrix))):
        return source
    if axis == 3:  # the last axis of NCHW
        return editor.call(aten.matmul.default, source, editor.constant("resize", matrix))
    return editor.call(aten.matmul.default, editor.constant("resize", matrix.T), source)


def _one_axis(node: fx.Node, lines: torch.Tensor, axis: int) -> torch.Tensor:
    """`lines` [n, length] resized along the axis of the call that `axis` names."""
    which = axis - 2
    size = shape_of(node)[axis]
    _, _, *options, factors = node.args
    factor = None if factors is None else [1.0, factors[which]]  # type: ignore[index]  # a list by the schema
    images = lines[:, None, None, :]
    target: Any = node.target
    resized: torch.Tensor = target(images, None if factor else [1, size], *options, factor)
    return resized[:, 0, 0, :]
