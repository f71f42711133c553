"""Make one reshape of several, one permute of several, and none of those that change nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from exporters.prepare.editing import Editor, is_call, shape_of

__all__ = ["rewrite"]

aten = torch.ops.aten
_RESHAPES = (aten.reshape.default, aten.view.default)


def rewrite(graph: fx.GraphModule) -> int:
    """Number of reshapes and permutes that went."""
    sites = 0
    for node in list(graph.graph.nodes):
        if is_call(node, *_RESHAPES):
            sites += _merge_reshape(graph, node)
        elif is_call(node, aten.permute.default):
            sites += _merge_permute(graph, node)
    graph.graph.eliminate_dead_code()
    return sites


def _merge_reshape(graph: fx.GraphModule, node: fx.Node) -> int:
    source = node.args[0]
    if is_call(source, *_RESHAPES):
        source = source.args[0]  # type: ignore[union-attr]  # is_call says it is a node
    edit = Editor(graph, node)
    if shape_of(node) == shape_of(source):  # type: ignore[arg-type]  # a node
        edit.replace(source)  # type: ignore[arg-type]  # a node
        return 1
    if source is node.args[0]:
        return 0
    edit.replace(edit.call(aten.reshape.default, source, list(shape_of(node))))
    return 1


def _merge_permute(graph: fx.GraphModule, node: fx.Node) -> int:
    source, order = node.args[0], _order(node)
    if is_call(source, aten.permute.default):
        inner = _order(source)  # type: ignore[arg-type]  # is_call says it is a node
        source, order = source.args[0], [inner[axis] for axis in order]  # type: ignore[union-attr]  # a node
    edit = Editor(graph, node)
    if order == sorted(order):
        edit.replace(source)  # type: ignore[arg-type]  # a node
        return 1
    if _keeps_memory(shape_of(source), order):  # type: ignore[arg-type]  # a node
        edit.replace(edit.call(aten.reshape.default, source, list(shape_of(node))))
        return 1
    if source is node.args[0]:
        return 0
    edit.replace(edit.call(aten.permute.default, source, order))
    return 1


def _order(node: fx.Node) -> list[int]:
    rank = len(shape_of(node))
    axes: Any = node.args[1]
    return [axis % rank for axis in axes]


def _keeps_memory(sizes: tuple[int, ...], order: list[int]) -> bool:
    """Whether only axes of size 1 change places."""
    moved = [axis for axis in order if sizes[axis] != 1]
    return moved == sorted(moved)
